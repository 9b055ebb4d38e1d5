#include "proxy/packet_path_testing.h"

namespace skiff::proxy {

ServiceChange NodePort(uint16_t node_port, uint8_t protocol, const std::vector<End>& ends, uint32_t flags) {
  ServiceModel model;
  for (Family family : {Family::kIPv4, Family::kIPv6}) {
    ModelPort port{.name = "p", .protocol = protocol, .family = family};
    for (const End& e : ends) {
      if (FamilyOf(A(e.ip)) == family) port.endpoints.push_back({A(e.ip), e.port, e.state});
    }
    port.frontends.push_back({NodePortKey(family, node_port, protocol), flags});
    model.ports.push_back(std::move(port));
  }
  return {absl::StrCat("ns/s", node_port, "-", protocol), std::move(model)};
}

void PacketPathTest::SetUp() {
  if (!skip_.empty()) GTEST_SKIP() << skip_;
  if (system("ip -V >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs iproute2";
  // The sockets of this test are not to be translated: their packets are.
  other_ = cgroup_ + "/other";
  mkdir(other_.c_str(), 0755);
  auto loaded = DataPath::Load({.dir = dir_, .cgroup = other_});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  data_path_ = std::move(*loaded);
  reconciler_ = std::make_unique<Reconciler>(data_path_->maps());
  reconciler_->SetNodeAddresses({{A("192.0.2.1"), false}, {A("fd02::1"), false}});
  auto packets = PacketPath::Load(data_path_->maps_dir());
  ASSERT_TRUE(packets.ok()) << packets.status();
  packets_ = std::move(*packets);
}

void PacketPathTest::TearDown() {
  if (!skip_.empty()) return;
  EXPECT_TRUE(RemoveDataPath({.dir = dir_, .cgroup = other_}).ok());
  rmdir(other_.c_str());
  // By name, as what goes with its namespace goes late, and the next test wants the names.
  if (!namespaces_.empty()) Run("for d in c0 p0 r0; do ip link del $d || exit 1; done");
  for (const std::string& ns : namespaces_) Run(absl::StrCat("ip netns del ", ns));
}

void PacketPathTest::MakeNode() {
  Run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
  struct Side {
    const char *name, *device, *here, *there, *here6, *there6;
  };
  for (const Side& s : {Side{"c", "c0", "192.0.2.1/24", "192.0.2.2/24", "fd02::1/64", "fd02::2/64"},
                        Side{"p", "p0", "10.244.0.1/24", "10.244.0.2/24", "fd44::1/64", "fd44::2/64"},
                        Side{"r", "r0", "10.0.0.1/24", "10.0.0.2/24", "fd0a::1/64", "fd0a::2/64"}}) {
    std::string ns = Ns(s.name);
    namespaces_.push_back(ns);
    // Duplicate address detection would hold IPv6 back for seconds.
    Run(absl::StrCat("ip netns add ", ns, " && ip netns exec ", ns,
                     " sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0"));
    Run(absl::StrCat("ip link add ", s.device, " type veth peer name eth0 netns ", ns));
    Run(absl::StrCat("ip addr add ", s.here, " dev ", s.device, " && ip addr add ", s.here6, " dev ", s.device,
                     " nodad && ip link set ", s.device, " up"));
    Run(absl::StrCat("ip -n ", ns, " addr add ", s.there, " dev eth0 && ip -n ", ns, " addr add ", s.there6,
                     " dev eth0 nodad && ip -n ", ns, " link set eth0 up && ip -n ", ns, " link set lo up"));
  }
  Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  Run(absl::StrCat("ip -n ", Ns("c"), " route add default via 192.0.2.1"));
  Run(absl::StrCat("ip -n ", Ns("p"), " route add default via 10.244.0.1 && ip -n ", Ns("p"),
                   " -6 route add default via fd44::1"));
  // The other node knows nobody but this one: only masqueraded packets find back.
  Run(absl::StrCat("ip -n ", Ns("r"), " addr add 10.244.1.2/32 dev lo && ip -n ", Ns("r"),
                   " addr add fd45::2/128 dev lo nodad"));
  Run("ip route add 10.244.1.0/24 via 10.0.0.2 && ip -6 route add fd45::/64 via fd0a::2");
  auto devices = FindDevices({.only = {"c0", "r0"}});
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_EQ(devices->size(), 2u);
  Status status = packets_->Update(*devices);
  ASSERT_TRUE(status.ok()) << status;
}

void PacketPathTest::ApplyAll(const std::vector<ServiceChange>& all) {
  auto result = reconciler_->ApplyAll(all);
  ASSERT_TRUE(result.ok()) << result.status();
}

}  // namespace skiff::proxy
