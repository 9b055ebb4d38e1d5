// The overlay and its guards against the real kernel: nodes as network namespaces on a bridge.
#include <fcntl.h>
#include <linux/netfilter.h>
#include <sched.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/files.h"
#include "cni/agent/firewall.h"
#include "cni/agent/overlay.h"

namespace skiff::cni {
namespace {

// A bridge in a namespace of its own; each node a namespace with one wire to it.
class ROOT_OverlayTest : public ::testing::Test {
 protected:
  struct Node {
    Fd ns;
    Ip ip;
    Prefix cidr;
  };
  static Fd Here() { return Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    home_ = Here();
    for (int i = 1; i <= 2; ++i) {
      ASSERT_EQ(unshare(CLONE_NEWNET), 0);
      nodes_.push_back(
          {Here(), *Ip::Parse(absl::StrCat("10.7.0.", i)), *Prefix::Parse(absl::StrCat("10.6.", i, ".0/24"))});
    }
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    switch_ = Here();
    auto bridge = *Netlink::Open();
    ASSERT_TRUE(bridge->AddBridge("br0", 1500).ok());
    const int br = bridge->LinkByName("br0")->index;
    ASSERT_TRUE(bridge->SetUp(br, true).ok());
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const std::string port = absl::StrCat("p", i);
      ASSERT_TRUE(bridge->AddVeth(port, "eth0", nodes_[i].ns.get(), 1500).ok());
      const int index = bridge->LinkByName(port)->index;
      ASSERT_TRUE(bridge->SetMaster(index, br).ok() && bridge->SetUp(index, true).ok());
      auto node = *Netlink::OpenIn(nodes_[i].ns.get());
      const int eth0 = node->LinkByName("eth0")->index;
      ASSERT_TRUE(node->AddAddress({eth0, nodes_[i].ip.ToString(), 24, AF_INET}).ok());
      ASSERT_TRUE(node->SetUp(eth0, true).ok() && node->SetUp(node->LinkByName("lo")->index, true).ok());
    }
  }
  void TearDown() override {
    if (home_.valid()) ASSERT_EQ(setns(home_.get(), CLONE_NEWNET), 0);
  }
  void Enter(size_t node) { ASSERT_EQ(setns(nodes_[node].ns.get(), CLONE_NEWNET), 0); }
  StatusOr<Overlay> Open(size_t node) {
    Enter(node);
    return Overlay::Open({1, 8472, nodes_[node].ip, nodes_[node].cidr});
  }
  Peer PeerOf(size_t node, const Overlay& overlay) {
    return {absl::StrCat("n", node), nodes_[node].ip, nodes_[node].cidr, overlay.mac(), 1};
  }

  Fd home_, switch_;
  std::vector<Node> nodes_;
};

TEST_F(ROOT_OverlayTest, NodesReachEachOtherAndASecondPassChangesNothing) {
  auto a = Open(0), b = Open(1);
  ASSERT_TRUE(a.ok()) << a.status();
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(a->mtu(), 1450u);
  const auto first = a->Apply({PeerOf(1, *b)});
  EXPECT_TRUE(first.status.ok()) << first.status;
  EXPECT_EQ(first.added, 3);
  ASSERT_TRUE(b->Apply({PeerOf(0, *a)}).status.ok());
  Enter(0);
  EXPECT_EQ(system("ping -c 1 -W 2 10.6.2.0 >/dev/null 2>&1 || busybox ping -c 1 -W 2 10.6.2.0 >/dev/null"), 0);
  const auto again = a->Apply({PeerOf(1, *b)});
  EXPECT_EQ(again.added + again.removed, 0);

  // A restarted agent takes the device over as it is: same MAC, entries untouched.
  auto restarted = Open(0);
  ASSERT_TRUE(restarted.ok()) << restarted.status();
  EXPECT_EQ(restarted->mac(), a->mac());
  const auto after = restarted->Apply({PeerOf(1, *b)});
  EXPECT_EQ(after.added + after.removed, 0);

  EXPECT_EQ(restarted->Apply({}).removed, 3);
  EXPECT_TRUE(Overlay::Remove(1).ok());
  EXPECT_TRUE(Overlay::Remove(1).ok());
}

TEST_F(ROOT_OverlayTest, VxlanSpoof_FramesOfStrangersAndForeignSourcesAreDropped) {
  if (system("command -v nft >/dev/null") != 0) GTEST_SKIP() << "needs nft";
  auto a = Open(0), b = Open(1);
  ASSERT_TRUE(a.ok() && b.ok());
  ASSERT_TRUE(a->Apply({PeerOf(1, *b)}).status.ok());
  ASSERT_TRUE(b->Apply({PeerOf(0, *a)}).status.ok());
  auto load = [&](const std::vector<Peer>& peers) {
    Enter(0);
    const std::string file = absl::StrCat("/tmp/skiff-rules-", getpid());
    ASSERT_TRUE(
        WriteFileAtomic(file, Ruleset({"t", *Prefix::Parse("10.6.0.0/16"), nodes_[0].cidr, "flannel.1", 8472}, peers))
            .ok());
    EXPECT_EQ(system(("nft -f " + file).c_str()), 0);
    unlink(file.c_str());
  };
  auto ping = [&](const char* options) {
    Enter(1);
    return system(absl::StrCat("ping -c 1 -W 1 ", options, " 10.6.1.0 >/dev/null 2>&1").c_str()) == 0;
  };
  if (system("command -v ping >/dev/null") != 0) GTEST_SKIP() << "needs ping";
  load({PeerOf(1, *b)});
  EXPECT_TRUE(ping(""));
  Enter(1);
  auto spoofer = *Netlink::Open();
  ASSERT_TRUE(spoofer->AddAddress({spoofer->LinkByName("lo")->index, "10.6.9.9", 32, AF_INET}).ok());
  EXPECT_FALSE(ping("-I 10.6.9.9")) << "a source that is not of the peer's subnet";
  load({});
  EXPECT_FALSE(ping("")) << "a sender that is no node";
}

// nftables.service starts with `flush ruleset`: without masquerading pods reach nothing outside, and without the guards
// anybody reaches them.
TEST_F(ROOT_OverlayTest, RulesThatSomebodyFlushedAreLoadedAgain) {
  if (system("command -v nft >/dev/null") != 0) GTEST_SKIP() << "needs nft";
  Enter(0);
  auto there = [] { return system("nft list chain ip t prerouting 2>/dev/null | grep -q flannel.1") == 0; };
  asio::io_context loop;
  Firewall firewall({"t", *Prefix::Parse("10.6.0.0/16"), nodes_[0].cidr, "flannel.1", 8472});
  ASSERT_TRUE(RunTask(loop, firewall.Apply({})).ok());
  ASSERT_TRUE(there());
  const auto first = *FindTable(NFPROTO_IPV4, "t");
  ASSERT_TRUE(RunTask(loop, firewall.Apply({})).ok());
  EXPECT_EQ(*FindTable(NFPROTO_IPV4, "t"), first) << "untouched while nothing changes";
  ASSERT_EQ(system("nft flush ruleset"), 0);
  EXPECT_EQ(*FindTable(NFPROTO_IPV4, "t"), std::nullopt);
  ASSERT_TRUE(RunTask(loop, firewall.Apply({})).ok());
  EXPECT_TRUE(there());
  ASSERT_EQ(system("nft delete chain ip t input"), 0);
  ASSERT_TRUE(RunTask(loop, firewall.Apply({})).ok());
  EXPECT_EQ(system("nft list chain ip t input >/dev/null"), 0);
}

}  // namespace
}  // namespace skiff::cni
