#include "api/quantity.h"

#include <gtest/gtest.h>

namespace skiff::api {
namespace {

TEST(Quantity, CanonicalTextIsUpstreams) {
  static constexpr struct {
    const char *text, *canonical;
  } kCases[] = {
      {"0", "0"},
      {"0m", "0"},
      {"1000m", "1"},
      {".5", "500m"},
      {"1e3", "1e3"},
      {"1024Ki", "1Mi"},
      {"1073741824", "1073741824"},
      {"1.5", "1500m"},
      {"0.5Gi", "512Mi"},
      {"1500Mi", "1500Mi"},
      {"1536Mi", "1536Mi"},
      {"2048Mi", "2Gi"},
      {"1000", "1k"},
      {"1500", "1500"},
      {"100k", "100k"},
      {"1000k", "1M"},
      {"1Ei", "1Ei"},
      {"-5", "-5"},
      {"+5", "+5"},
      {"005", "005"},
      {"1.500", "1.500"},
      {"0.1n", "1n"},
      {"1.0000000001", "1000000001n"},
      {"12E", "12E"},
      {"1E6", "1E6"},
      {"1e6", "1e6"},
      {"10e5", "1e6"},
      {"100Ki", "100Ki"},
      {"0.5Ki", "512"},
      {"1Ki", "1Ki"},
      {"1000Ki", "1000Ki"},
      {"3.7Mi", "3879731200m"},
      {"123456789012345678901", "123456789012345678901"},
      {"9223372036854775808", "9223372036854775808"},
      {"10000000000Gi", "9223372036854775807"},
      {" 1 ", "1"},
  };
  for (const auto& c : kCases) {
    const auto got = Quantity::Canonicalize(c.text);
    ASSERT_TRUE(got.ok()) << c.text << got.status();
    EXPECT_EQ(*got, c.canonical) << c.text;
    // Canonical text stays as it is, and keeps the value.
    EXPECT_EQ(*Quantity::Canonicalize(*got), *got) << c.text;
    EXPECT_EQ(Quantity::Of(*got), Quantity::Of(*got == c.canonical ? c.canonical : c.text)) << c.text;
  }
}

TEST(Quantity, BadTextIsRefusedInUpstreamsWords) {
  for (const char* text : {"abc", "", "1.1.1", "1 k", "1+", "--1", "0x10", "1k1k", "1.5.Gi", "\xff"}) {
    const auto got = Quantity::Parse(text);
    ASSERT_FALSE(got.ok()) << text;
  }
  EXPECT_EQ(Quantity::Parse("abc").status().message(),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(Quantity::Parse("1kk").status().message(), "unable to parse quantity's suffix");
  EXPECT_EQ(Quantity::Parse("1e").status().message(), "unable to parse quantity's suffix");
}

TEST(Quantity, ValuesRoundAwayFromZeroAndSaturate) {
  EXPECT_EQ(Quantity::Of("1.1").Value(), 2);
  EXPECT_EQ(Quantity::Of("-1.1").Value(), -2);
  EXPECT_EQ(Quantity::Of("1m").Value(), 1);
  EXPECT_EQ(Quantity::Of("1u").MilliValue(), 1);
  EXPECT_EQ(Quantity::Of("250m").MilliValue(), 250);
  EXPECT_EQ(Quantity::Of("2").MilliValue(), 2000);
  EXPECT_EQ(Quantity::Of("1Gi").Value(), 1 << 30);
  EXPECT_EQ(Quantity::Of("1e30").Value(), INT64_MAX);
  EXPECT_EQ(Quantity::Of("-1e30").Value(), INT64_MIN);
  EXPECT_EQ(Quantity::Of("1e1000000").Value(), INT64_MAX);
  EXPECT_DOUBLE_EQ(Quantity::Of("1500m").AsDouble(), 1.5);
}

TEST(Quantity, ComparesAndAdds) {
  EXPECT_EQ(Quantity::Of("1000m"), Quantity::Of("1"));
  EXPECT_EQ(Quantity::Of("1Gi"), Quantity(1 << 30));
  EXPECT_LT(Quantity::Of("999m"), Quantity::Of("1"));
  EXPECT_LT(Quantity::Of("-1"), Quantity::Of("1n"));
  EXPECT_GT(Quantity::Of("1e30"), Quantity::Of("9E"));
  EXPECT_LT(Quantity::Of("-1e30"), Quantity::Of("-9E"));
  EXPECT_EQ((Quantity::Of("100m") + Quantity::Of("1")).ToString(), "1100m");
  EXPECT_EQ((Quantity() + Quantity::Of("1Gi")).ToString(), "1Gi");
  EXPECT_EQ((Quantity::Of("1Gi") + Quantity::Of("1Gi")).ToString(), "2Gi");
  EXPECT_EQ((Quantity::Of("1") - Quantity::Of("1")).ToString(), "0");
  EXPECT_EQ((Quantity::Of("1Gi") - Quantity::Of("512Mi")).ToString(), "512Mi");
  EXPECT_EQ((-Quantity::Of("1k")).ToString(), "-1k");
  EXPECT_EQ(Quantity::Bytes(1025).ToString(), "1025");
  EXPECT_EQ(Quantity::Milli(1500).ToString(), "1500m");
  Quantity big = Quantity::Of("1e37");
  for (int i = 0; i < 50; ++i) big += big;  // saturates, does not overflow
  EXPECT_GT(big, Quantity::Of("1e37"));
}

}  // namespace
}  // namespace skiff::api
