#include "cni/plugin/ip.h"

#include <gtest/gtest.h>

namespace skiff::cni {
namespace {

TEST(IpTest, ParsesBothFamiliesAndRefusesTheRest) {
  EXPECT_EQ(Ip::Parse("10.0.0.1")->ToString(), "10.0.0.1");
  EXPECT_EQ(Ip::Parse("FD00::0001")->ToString(), "fd00::1");
  for (const char* bad : {"", "10.0.0", "10.0.0.256", "1.2.3.4/8", "x", "::g"})
    EXPECT_FALSE(Ip::Parse(bad).ok()) << bad;
  for (const char* bad : {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "::/129"})
    EXPECT_FALSE(Prefix::Parse(bad).ok()) << bad;
}

TEST(IpTest, Arithmetic) {
  EXPECT_EQ(Ip::Parse("10.0.0.255")->Plus(1).ToString(), "10.0.1.0");
  EXPECT_EQ(Ip::Parse("fd00::ffff:ffff")->Plus(1).ToString(), "fd00::1:0:0");
  const Prefix p = *Prefix::Parse("10.1.2.130/25");
  EXPECT_EQ(p.First().ToString(), "10.1.2.128");
  EXPECT_EQ(p.Last().ToString(), "10.1.2.255");
  EXPECT_TRUE(p.Contains(*Ip::Parse("10.1.2.200")));
  EXPECT_FALSE(p.Contains(*Ip::Parse("10.1.2.127")));
  EXPECT_FALSE(p.Contains(*Ip::Parse("::")));
}

}  // namespace
}  // namespace skiff::cni
