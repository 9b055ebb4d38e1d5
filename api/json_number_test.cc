#include "api/json_number.h"

#include <cmath>

#include <gtest/gtest.h>

namespace skiff::api {
namespace {

TEST(JsonNumber, IntegersOfAnyText) {
  const auto of = [](const char* text) { return IntegerOf(nlohmann::json::parse(text)); };
  EXPECT_EQ(of("7"), 7);
  EXPECT_EQ(of("-7.9"), -7);
  EXPECT_EQ(of("18446744073709551615"), INT64_MAX);
  EXPECT_EQ(of("9223372036854775808.0"), INT64_MAX);
  EXPECT_EQ(of("-9223372036854775808.0"), INT64_MIN);
  EXPECT_EQ(of("-1e300"), INT64_MIN);
  EXPECT_EQ(of("1e300"), INT64_MAX);
  EXPECT_EQ(of("\"7\""), 0);
  EXPECT_EQ(IntegerOf(nlohmann::json(std::nan(""))), 0);
}

}  // namespace
}  // namespace skiff::api
