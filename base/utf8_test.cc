#include "base/utf8.h"

#include <gtest/gtest.h>

namespace skiff {
namespace {

TEST(Utf8, BytesOfNoSequenceAreReplacedOneByOne) {
  for (const char* good : {"", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xef\xbf\xbd"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
    EXPECT_EQ(ToUtf8(good), good);
  }
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(ToUtf8("a\xff"
                   "b"),
            "a" + bad + "b");
  EXPECT_EQ(ToUtf8("cut \xe2\x82"), "cut " + bad + bad);
  EXPECT_EQ(ToUtf8("\xc0\x80"), bad + bad) << "overlong";
  EXPECT_EQ(ToUtf8("\xed\xa0\x80"), bad + bad + bad) << "half a surrogate pair";
  EXPECT_FALSE(IsUtf8(std::string_view("ok\0\xf5", 4)));
}

}  // namespace
}  // namespace skiff
