#include "base/netlink.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/files.h"

namespace skiff {
namespace {

// A new network namespace, held open; "" of the machine is touched.
StatusOr<Fd> NewNamespace() {
  StatusOr<Fd> result = Internal("not run");
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      result = ErrnoStatus(errno, "unshare");
      return;
    }
    const int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      result = ErrnoStatus(errno, "open");
    } else {
      result = Fd(fd);
    }
  }).join();
  return result;
}

class NetlinkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    auto a = NewNamespace();
    auto b = NewNamespace();
    if (!a.ok() || !b.ok()) GTEST_SKIP() << "cannot make network namespaces: " << a.status();
    ns_ = std::move(*a);
    other_ns_ = std::move(*b);
    netlink_ = *Netlink::OpenIn(ns_.get());
    other_ = *Netlink::OpenIn(other_ns_.get());
  }
  Fd ns_, other_ns_;
  std::unique_ptr<Netlink> netlink_, other_;
};

TEST_F(NetlinkTest, ROOT_VethAcrossNamespaces) {
  ASSERT_TRUE(netlink_->AddVeth("veth0", "eth0", other_ns_.get(), 1450, "02:00:00:00:00:01").ok());
  const auto here = netlink_->LinkByName("veth0");
  const auto there = other_->LinkByName("eth0");
  ASSERT_TRUE(here.ok()) << here.status();
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(here->kind, "veth");
  EXPECT_EQ(here->mtu, 1450u);
  EXPECT_EQ(here->peer_index, there->index);
  EXPECT_EQ(there->mac, "02:00:00:00:00:01");
  EXPECT_EQ(there->mtu, 1450u);
  EXPECT_EQ(here->flags & IFF_UP, 0u);
  ASSERT_TRUE(netlink_->SetUp(here->index, true).ok());
  EXPECT_NE(netlink_->LinkByName("veth0")->flags & IFF_UP, 0u);
  ASSERT_TRUE(netlink_->SetMtu(here->index, 1400).ok());
  ASSERT_TRUE(netlink_->SetMac(here->index, "02:00:00:00:00:09").ok());
  EXPECT_EQ(netlink_->LinkByName("veth0")->mtu, 1400u);
  EXPECT_EQ(netlink_->LinkByName("veth0")->mac, "02:00:00:00:00:09");

  const Status again = netlink_->AddVeth("veth0", "eth1", other_ns_.get(), 1450);
  EXPECT_EQ(ErrnoOf(again), EEXIST) << again;
  ASSERT_TRUE(netlink_->DeleteLink(here->index).ok());
  EXPECT_EQ(ErrnoOf(netlink_->LinkByName("veth0").status()), ENODEV);
  EXPECT_EQ(netlink_->LinkByName("veth0").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrnoOf(netlink_->DeleteLink(here->index)), ENODEV);
}

TEST_F(NetlinkTest, ROOT_BridgePort) {
  ASSERT_TRUE(netlink_->AddBridge("br0", 1400).ok());
  ASSERT_TRUE(netlink_->AddVeth("v0", "eth0", other_ns_.get(), 0).ok());
  const auto bridge = netlink_->LinkByName("br0");
  const auto port = netlink_->LinkByName("v0");
  EXPECT_EQ(bridge->kind, "bridge");
  EXPECT_EQ(bridge->mtu, 1400u);
  EXPECT_FALSE(netlink_->SetHairpin(port->index, true).ok());  // not a port yet
  ASSERT_TRUE(netlink_->SetMaster(port->index, bridge->index).ok());
  EXPECT_EQ(netlink_->LinkByName("v0")->master, bridge->index);
  const Status hairpin = netlink_->SetHairpin(port->index, true);
  EXPECT_TRUE(hairpin.ok()) << hairpin;
  ASSERT_TRUE(netlink_->SetMaster(port->index, 0).ok());
  EXPECT_EQ(netlink_->LinkByName("v0")->master, 0);
  const auto links = netlink_->Links();
  ASSERT_TRUE(links.ok());
  EXPECT_EQ(links->size(), 3u);  // and lo
}

TEST_F(NetlinkTest, ROOT_Vxlan) {
  const Link::Vxlan vxlan{.vni = 7, .local = "10.1.1.1", .device = 0, .port = 8472, .learning = false};
  const Status added = netlink_->AddVxlan("flannel.7", vxlan, "02:00:00:00:00:07", 1450);
  if (ErrnoOf(added) == EOPNOTSUPP) GTEST_SKIP() << "no vxlan in this kernel";
  ASSERT_TRUE(added.ok()) << added;
  const auto link = netlink_->LinkByName("flannel.7");
  ASSERT_TRUE(link.ok()) << link.status();
  ASSERT_TRUE(link->vxlan.has_value());
  EXPECT_EQ(link->vxlan->vni, 7u);
  EXPECT_EQ(link->vxlan->local, "10.1.1.1");
  EXPECT_EQ(link->vxlan->port, 8472);
  EXPECT_FALSE(link->vxlan->learning);
  EXPECT_EQ(link->mac, "02:00:00:00:00:07");
  EXPECT_EQ(link->mtu, 1450u);

  Neighbour entry{.link = link->index, .address = "10.1.1.2", .mac = "02:00:00:00:00:08", .fdb = true};
  ASSERT_TRUE(netlink_->ReplaceNeighbour(entry).ok());
  entry.address = "10.1.1.3";
  ASSERT_TRUE(netlink_->ReplaceNeighbour(entry).ok());
  auto entries = netlink_->Neighbours(link->index, true);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ((*entries)[0].address, "10.1.1.3");
  EXPECT_EQ((*entries)[0].mac, "02:00:00:00:00:08");
  EXPECT_TRUE((*entries)[0].permanent);
  ASSERT_TRUE(netlink_->DeleteNeighbour(entry).ok());
  EXPECT_EQ(ErrnoOf(netlink_->DeleteNeighbour(entry)), ENOENT);
  EXPECT_TRUE(netlink_->Neighbours(link->index, true)->empty());
}

TEST_F(NetlinkTest, ROOT_AddressesRoutesAndNeighbours) {
  ASSERT_TRUE(netlink_->AddVeth("v0", "eth0", other_ns_.get(), 0).ok());
  const int index = netlink_->LinkByName("v0")->index;
  const int other_index = other_->LinkByName("eth0")->index;
  const Address v4{.link = index, .address = "10.2.0.1", .prefix = 24, .family = AF_INET};
  const Address v6{.link = index, .address = "fd00::1", .prefix = 64, .family = AF_INET6};
  ASSERT_TRUE(netlink_->AddAddress(v4).ok());
  const Status added6 = netlink_->AddAddress(v6);
  EXPECT_EQ(ErrnoOf(netlink_->AddAddress(v4)), EEXIST);
  ASSERT_TRUE(netlink_->SetUp(index, true).ok());
  ASSERT_TRUE(other_->SetUp(other_index, true).ok());
  const auto addresses = netlink_->Addresses(index);
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  const auto has = [&](const Address& want) {
    return std::any_of(addresses->begin(), addresses->end(), [&](const Address& a) {
      return a.address == want.address && a.prefix == want.prefix && a.family == want.family && a.link == want.link;
    });
  };
  EXPECT_TRUE(has(v4));
  if (added6.ok()) EXPECT_TRUE(has(v6));
  EXPECT_TRUE(netlink_->Addresses(0).ok());

  ASSERT_TRUE(netlink_->ReplaceRoute({.destination = "10.3.0.0/16", .gateway = "10.2.0.9", .link = index}).ok());
  ASSERT_TRUE(netlink_->ReplaceRoute({.destination = "10.3.0.0/16", .gateway = "10.2.0.8", .link = index}).ok());
  ASSERT_TRUE(netlink_->ReplaceRoute({.destination = "10.4.0.7/32", .gateway = "", .link = index}).ok());
  ASSERT_TRUE(
      netlink_->ReplaceRoute({.destination = "10.5.0.0/24", .gateway = "10.5.0.0", .link = index, .onlink = true})
          .ok());
  ASSERT_TRUE(netlink_->ReplaceRoute({.destination = "default", .gateway = "10.2.0.9", .link = index}).ok());
  const Status unreachable =
      netlink_->ReplaceRoute({.destination = "10.6.0.0/24", .gateway = "10.9.9.9", .link = index});
  EXPECT_EQ(ErrnoOf(unreachable), ENETUNREACH) << unreachable;
  const auto routes = netlink_->Routes(AF_INET);
  ASSERT_TRUE(routes.ok()) << routes.status();
  const auto find = [&](const std::string& destination) {
    const auto it =
        std::find_if(routes->begin(), routes->end(), [&](const Route& r) { return r.destination == destination; });
    return it == routes->end() ? Route{} : *it;
  };
  EXPECT_EQ(find("10.3.0.0/16").gateway, "10.2.0.8");
  EXPECT_EQ(find("10.3.0.0/16").link, index);
  EXPECT_EQ(find("10.4.0.7/32").link, index);
  EXPECT_EQ(find("10.4.0.7/32").scope, 253);
  EXPECT_TRUE(find("10.5.0.0/24").onlink);
  EXPECT_EQ(find("default").gateway, "10.2.0.9");
  EXPECT_EQ(find("10.2.0.0/24").source, "10.2.0.1");  // the kernel's own
  ASSERT_TRUE(netlink_->DeleteRoute({.destination = "10.3.0.0/16"}).ok());
  EXPECT_EQ(ErrnoOf(netlink_->DeleteRoute({.destination = "10.3.0.0/16"})), ESRCH);
  if (added6.ok()) {
    ASSERT_TRUE(netlink_->ReplaceRoute({.destination = "::/0", .gateway = "fd00::2", .link = index}).ok());
    const auto routes6 = netlink_->Routes(AF_INET6);
    ASSERT_TRUE(routes6.ok());
    EXPECT_TRUE(std::any_of(routes6->begin(), routes6->end(),
                            [](const Route& r) { return r.destination == "::/0" && r.gateway == "fd00::2"; }));
  }

  const Neighbour neighbour{.link = index, .address = "10.2.0.9", .mac = "02:00:00:00:00:0a"};
  ASSERT_TRUE(netlink_->ReplaceNeighbour(neighbour).ok());
  const auto neighbours = netlink_->Neighbours(index, false);
  ASSERT_TRUE(neighbours.ok());
  EXPECT_TRUE(std::any_of(neighbours->begin(), neighbours->end(), [](const Neighbour& n) {
    return n.address == "10.2.0.9" && n.mac == "02:00:00:00:00:0a" && n.permanent;
  }));
  EXPECT_TRUE(netlink_->DeleteNeighbour(neighbour).ok());
  EXPECT_TRUE(netlink_->DeleteAddress(v4).ok());
  EXPECT_EQ(ErrnoOf(netlink_->DeleteAddress(v4)), EADDRNOTAVAIL);
}

TEST_F(NetlinkTest, ROOT_BadInput) {
  EXPECT_EQ(netlink_->AddBridge("a-name-that-is-too-long", 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink_->AddBridge("", 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink_->AddVeth("v", "w", -1, 0, "02:00").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink_->AddVeth("v", "w", -1, 0, "02:00:00:00:00:0g").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink_->AddAddress({.link = 1, .address = "10.0.0", .prefix = 8}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink_->AddAddress({.link = 1, .address = "10.0.0.1", .prefix = 33}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink_->ReplaceRoute({.destination = "10.0.0.0/x"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink_->ReplaceRoute({.destination = "10.0.0.0/8", .gateway = "fd00::1"}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(Netlink::OpenIn(-1).ok());
}

}  // namespace
}  // namespace skiff
