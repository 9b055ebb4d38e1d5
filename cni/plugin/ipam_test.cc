#include "cni/plugin/ipam.h"

#include <stdlib.h>

#include <fstream>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace skiff::cni {
namespace {

class IpamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/skiff-ipam-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    dir_ = path;
  }
  void TearDown() override { EXPECT_TRUE(RemoveAll(dir_).ok()); }
  Ipam Open(std::string boot = "boot-1") { return *Ipam::Open(dir_, "net", std::move(boot)); }
  StatusOr<std::string> Take(const std::string& id, const std::string& boot = "boot-1") {
    auto ip = Open(boot).Allocate(range_, {id, "eth0"});
    if (!ip.ok()) return ip.status();
    return ip->ToString();
  }
  void Free(const std::string& id) {
    const Ipam ipam = Open();
    ASSERT_TRUE(ipam.Free(*ipam.Find({id, "eth0"})).ok());
  }

  std::string dir_;
  Prefix range_ = *Prefix::Parse("10.1.0.0/24");
};

TEST_F(IpamTest, GivesAddressesInTurnAndTheSameToARepeatedCall) {
  EXPECT_EQ(*Take("a"), "10.1.0.2");
  EXPECT_EQ(*Take("b"), "10.1.0.3");
  EXPECT_EQ(*Take("a"), "10.1.0.2");
  Free("a");
  EXPECT_EQ(*Take("c"), "10.1.0.4") << "a freed address is not given again at once";
}

TEST_F(IpamTest, IpExhaustion_ClearErrorAndFreedAddressesComeBack) {
  for (int i = 0; i < 253; ++i) ASSERT_TRUE(Take(absl::StrCat("c", i)).ok()) << i;
  const auto full = Take("one-more");
  EXPECT_EQ(full.status().message(), "no IP addresses available in range 10.1.0.0/24 (253 of 253 in use)");
  EXPECT_EQ(full.status().code(), absl::StatusCode::kResourceExhausted);
  Free("c77");
  EXPECT_EQ(*Take("one-more"), "10.1.0.79");
}

TEST_F(IpamTest, NodeReboot_AddressesOfAnEarlierBootAreFree) {
  for (int i = 0; i < 253; ++i) ASSERT_TRUE(Take(absl::StrCat("c", i)).ok());
  ASSERT_TRUE(Take("new", "boot-2").ok());
  EXPECT_EQ(Open("boot-2").Find({"c5", "eth0"})->size(), 0u);
}

TEST_F(IpamTest, WhatIsNotInTheListIsUnlisted) {
  ASSERT_TRUE(Take("old", "boot-0").ok() && Take("a").ok() && Take("b").ok());
  const auto unlisted = Open().Unlisted({{"a", "eth0"}});
  ASSERT_TRUE(unlisted.ok());
  ASSERT_EQ(unlisted->size(), 1u) << "an ADD frees what it meets of an earlier boot";
  EXPECT_EQ(unlisted->at(0).owner.container_id, "b");
}

TEST_F(IpamTest, HostPortsAreKeptWithTheAddressAndGoWithIt) {
  ASSERT_TRUE(Take("a").ok() && Take("b").ok());
  const PortMapping any = *PortMapping::Parse("tcp * 8080 80"), one = *PortMapping::Parse("udp 10.0.0.7 53 5353"),
                    other_family = *PortMapping::Parse("tcp ::1 1 1");
  ASSERT_TRUE(Open().Claim({"b", "eth0"}, {any, one, other_family}).ok());
  auto ports = *Open().HostPorts();
  ASSERT_EQ(ports.size(), 2u);
  EXPECT_EQ(ports[0].pod.ToString(), "10.1.0.3");
  EXPECT_EQ(ports[0].owner.container_id, "b");
  EXPECT_EQ(ports[0].mapping, any);
  EXPECT_EQ(ports[1].mapping, one);
  EXPECT_EQ(Open("boot-2").HostPorts()->size(), 0u) << "of an earlier boot";
  Free("b");
  EXPECT_EQ(Open().HostPorts()->size(), 0u);
}

TEST_F(IpamTest, HalfWrittenAndForeignFilesAreNoAddresses) {
  ASSERT_TRUE(Take("a").ok());
  std::ofstream(dir_ + "/net/new.10.1.0.3") << "cut";
  std::ofstream(dir_ + "/net/10.1.0.4") << "";  // no owner: free
  std::ofstream(dir_ + "/net/last.v4") << "garbage";
  EXPECT_EQ(*Take("b"), "10.1.0.3");
  EXPECT_EQ(*Take("c"), "10.1.0.4");
}

TEST_F(IpamTest, CallsSideBySideNeverShareAnAddress) {
  std::vector<std::string> got(64);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = t * 16; i < t * 16 + 16; ++i) got[i] = Take(absl::StrCat("c", i)).value_or("");
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 64u);
  EXPECT_EQ(std::count(got.begin(), got.end(), ""), 0);
}

TEST_F(IpamTest, SixWorksAsFour) {
  range_ = *Prefix::Parse("fd00:1::/64");
  EXPECT_EQ(*Take("a"), "fd00:1::2");
  EXPECT_EQ(*Take("b"), "fd00:1::3");
}

}  // namespace
}  // namespace skiff::cni
