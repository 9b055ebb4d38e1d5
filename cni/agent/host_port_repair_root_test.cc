#include "cni/agent/host_port_repair.h"

#include <linux/netfilter.h>

#include "cni/agent/nft_table.h"
#include "cni/plugin/ipam.h"
#include "cni/root_testing.h"

namespace skiff::cni {
namespace {

class ROOT_HostPortRepairTest : public NftTest {
 protected:
  bool TableIsThere() { return *FindTable(NFPROTO_INET, "skiff-hostports-skiff") != std::nullopt; }
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
