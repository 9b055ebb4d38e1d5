#include "cni/agent/host_port_repair.h"

#include <fcntl.h>
#include <linux/netfilter.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/files.h"
#include "cni/agent/nft_table.h"
#include "cni/plugin/ipam.h"

namespace skiff::cni {
namespace {

class ROOT_HostPortRepairTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (system("command -v nft >/dev/null") != 0) GTEST_SKIP() << "needs nft";
    char path[] = "/tmp/skiff-cni-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    dir_ = path;
    home_ = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
  }
  void TearDown() override {
    if (home_.valid()) EXPECT_EQ(setns(home_.get(), CLONE_NEWNET), 0);
    if (!dir_.empty()) EXPECT_TRUE(RemoveAll(dir_).ok());
  }
  bool TableIsThere() { return *FindTable(NFPROTO_INET, "skiff-hostports-skiff") != std::nullopt; }

  std::string dir_;
  Fd home_;
};

TEST_F(ROOT_HostPortRepairTest, LoadsWhatSomebodyFlushed) {
  EXPECT_TRUE(RepairHostPorts(dir_).ok());
  EXPECT_FALSE(Exists(dir_ + "/skiff")) << "a node without pods";
  {
    Ipam ipam = *Ipam::Open(dir_, "skiff", *ReadFile("/proc/sys/kernel/random/boot_id"));
    ASSERT_TRUE(ipam.Allocate(*Prefix::Parse("10.9.0.0/24"), {"c1", "eth0"}).ok());
    ASSERT_TRUE(ipam.Allocate(*Prefix::Parse("10.9.0.0/24"), {"c2", "eth0"}).ok());
  }
  EXPECT_TRUE(RepairHostPorts(dir_).ok());
  EXPECT_FALSE(TableIsThere()) << "a node without host ports";
  {
    const Ipam ipam = *Ipam::Open(dir_, "skiff", *ReadFile("/proc/sys/kernel/random/boot_id"));
    ASSERT_TRUE(ipam.Claim({"c2", "eth0"}, {*PortMapping::Parse("tcp * 8080 80")}).ok());
  }
  EXPECT_TRUE(RepairHostPorts(dir_).ok());
  EXPECT_TRUE(TableIsThere());
  ASSERT_EQ(system("nft flush ruleset"), 0);
  EXPECT_TRUE(RepairHostPorts(dir_).ok());
  EXPECT_EQ(system("nft list map inet skiff-hostports-skiff v4 | grep -q 'tcp . 8080 : 10.9.0.3 . 80'"), 0);
}

}  // namespace
}  // namespace skiff::cni
