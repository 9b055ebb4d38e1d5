#include "base/go_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace skiff {
namespace {

TEST(GoText, QuotesAsStrconv) {
  EXPECT_EQ(GoQuote(""), "\"\"");
  EXPECT_EQ(GoQuote("a\"b\\c\n\t\x01\x7f"), R"("a\"b\\c\n\t\x01\x7f")");
  EXPECT_EQ(GoQuote("h\xc3\xa9\xe2\x82\xac"), "\"h\xc3\xa9\xe2\x82\xac\"");
  EXPECT_EQ(GoQuote("\xff\xc0\xaf"), R"("\xff\xc0\xaf")");
  EXPECT_EQ(GoQuote("\xc2\x80"), R"("\u0080")");
}

TEST(GoText, FloatsAsPrometheusPrintsThem) {
  const std::pair<double, const char*> cases[] = {{0, "0"},
                                                  {1, "1"},
                                                  {-1, "-1"},
                                                  {20000, "20000"},
                                                  {999999, "999999"},
                                                  {1e6, "1e+06"},
                                                  {44661771, "4.4661771e+07"},
                                                  {1.44498688e9, "1.44498688e+09"},
                                                  {0.005, "0.005"},
                                                  {0.0001, "0.0001"},
                                                  {0.00001, "1e-05"},
                                                  {81.26, "81.26"},
                                                  {18446744073709551615.0, "1.8446744073709552e+19"},
                                                  {1e100, "1e+100"},
                                                  {123456.5, "123456.5"},
                                                  {-0.0, "-0"},
                                                  {1234567.5, "1.2345675e+06"},
                                                  {5e-324, "5e-324"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(GoFloat(value), text);
  EXPECT_EQ(GoFloat(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(GoFloat(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(GoFloat(std::nan("")), "NaN");
}

TEST(GoText, ParsesNumbersWithGosErrors) {
  EXPECT_EQ(*GoParseInt("0x10"), 16);
  EXPECT_EQ(*GoParseInt("-0b11"), -3);
  EXPECT_EQ(*GoParseInt("0o17"), 15);
  EXPECT_EQ(*GoParseInt("017"), 15);
  EXPECT_EQ(*GoParseInt("0"), 0);
  EXPECT_EQ(*GoParseInt("-9223372036854775808"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(GoParseInt("a").status().message(), "strconv.ParseInt: parsing \"a\": invalid syntax");
  EXPECT_EQ(GoParseInt("").status().message(), "strconv.ParseInt: parsing \"\": invalid syntax");
  EXPECT_EQ(GoParseInt("1.5").status().message(), "strconv.ParseInt: parsing \"1.5\": invalid syntax");
  EXPECT_EQ(GoParseInt("2147483648", 32).status().message(),
            "strconv.ParseInt: parsing \"2147483648\": value out of range");
  EXPECT_EQ(*GoParseFloat("1.5"), 1.5);
  EXPECT_EQ(*GoParseFloat("1e-400"), 0);
  EXPECT_FALSE(GoParseFloat("1e400").ok());
  EXPECT_FALSE(GoParseFloat("+-1").ok());
  EXPECT_TRUE(*GoParseBool("True"));
  EXPECT_EQ(GoParseBool("yes").status().message(), "strconv.ParseBool: parsing \"yes\": invalid syntax");
}

TEST(GoText, JsonStrings) {
  std::string out;
  AppendJsonString(&out, "a\"\n\x01\xff");
  EXPECT_EQ(out, R"("a\"\n\u0001\ufffd")");
}

}  // namespace
}  // namespace skiff
