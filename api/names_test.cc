#include "api/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/errors.h"
#include "api/int_or_string.h"

namespace skiff::api {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Names, TablesOfGoodAndBad) {
  for (const char* good : {"a", "a-b", "0", "a1"}) EXPECT_THAT(IsDns1123Label(good), IsEmpty()) << good;
  for (const char* bad : {"", "-a", "a-", "A", "a_b", "\xc3\xa9"}) EXPECT_EQ(IsDns1123Label(bad).size(), 1u) << bad;
  EXPECT_THAT(IsDns1123Label("a.b"), ElementsAre("must not contain dots"));
  EXPECT_THAT(IsDns1123Label(std::string(64, 'a')), ElementsAre("must be no more than 63 characters"));
  for (const char* good : {"a.b", "a-b.c1", "x"}) EXPECT_THAT(IsDns1123Subdomain(good), IsEmpty()) << good;
  for (const char* bad : {"", ".a", "a..b", "a.-b", "A.b"}) EXPECT_FALSE(IsDns1123Subdomain(bad).empty()) << bad;
  for (const char* good : {"a", "a/b", "x.y/A_b.c", "1"}) EXPECT_THAT(IsQualifiedName(good), IsEmpty()) << good;
  EXPECT_THAT(IsQualifiedName("/a"), ElementsAre("prefix part must be non-empty"));
  EXPECT_EQ(IsQualifiedName("a/").size(), 2u);
  EXPECT_EQ(IsQualifiedName("a/b/c").size(), 1u);
  for (const char* good : {"", "a", "A-b_c.d", "1"}) EXPECT_THAT(IsValidLabelValue(good), IsEmpty()) << good;
  for (const char* bad : {"-", "a-", "a b", "a/b"}) EXPECT_FALSE(IsValidLabelValue(bad).empty()) << bad;
  EXPECT_THAT(IsValidPortName("http"), IsEmpty());
  EXPECT_THAT(IsValidPortName("1234"), ElementsAre("must contain at least one letter (a-z)"));
  EXPECT_THAT(IsValidPortName("a--b"), ElementsAre("must not contain consecutive hyphens"));
  EXPECT_THAT(IsValidPortNum(0), ElementsAre("must be between 1 and 65535, inclusive"));
  EXPECT_THAT(IsConfigMapKey(".."), ElementsAre("must not be '..'"));
  EXPECT_THAT(IsConfigMapKey("a.b"), IsEmpty());
  EXPECT_THAT(IsPathSegmentName("a/b"), ElementsAre("may not contain '/'"));
  EXPECT_THAT(IsPathSegmentName("system:a"), IsEmpty());
  EXPECT_FALSE(IsEnvVarName("a=b").empty());
  EXPECT_THAT(IsEnvVarName("a b-c"), IsEmpty());
  EXPECT_FALSE(IsValidIp("1.2.3").empty());
  for (const char* ambiguous : {"01.2.3.4", "1.2.3.004", "::ffff:010.0.0.1"})
    EXPECT_THAT(IsValidIp(ambiguous), ElementsAre("must not have leading 0s")) << ambiguous;
  EXPECT_FALSE(IsValidIp("0256.2.3.4").empty());
  EXPECT_THAT(IsValidIp("0.0.0.0"), IsEmpty());
  EXPECT_THAT(IsValidIp("fe80::1"), IsEmpty());
}

TEST(IntOrString, Scales) {
  EXPECT_EQ(*ScaledIntOrPercent(FromString("25%"), 3, true), 1);
  EXPECT_EQ(*ScaledIntOrPercent(FromString("25%"), 3, false), 0);
  EXPECT_EQ(*ScaledIntOrPercent(FromInt(7), 3, false), 7);
  EXPECT_FALSE(ScaledIntOrPercent(FromString("x"), 3, false).ok());
  EXPECT_EQ(IntValue(FromString("80")), 80);
  EXPECT_EQ(ToString(FromString("http")), "http");
}

TEST(Errors, CarryTheApiStatus) {
  const Status error = ConflictError({"apps", "deployments", "d"}, "why");
  EXPECT_EQ(error.message(), "Operation cannot be fulfilled on deployments.apps \"d\": why");
  EXPECT_EQ(error.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(error), "Conflict");
  EXPECT_EQ(HttpCodeOf(error), 409);
  EXPECT_EQ(ToStatusMessage(error).details().group(), "apps");
  EXPECT_EQ(HttpCodeOf(absl::OkStatus()), 200);
  EXPECT_EQ(HttpCodeOf(Internal("x")), 500);
  EXPECT_EQ(NotFoundError({"", "pods", "p"}).message(), "pods \"p\" not found");
}

}  // namespace
}  // namespace skiff::api
