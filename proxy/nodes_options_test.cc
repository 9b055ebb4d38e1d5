// The options for traffic from outside: direct server return and XDP.
#include "proxy/capture_testing.h"
#include "proxy/nodes_testing.h"

#include <net/if.h>

namespace skiff::proxy {
namespace {

TEST_F(NodesTest, ROOT_DirectServerReturn) {
  Serve({"p", "s"}, SOCK_STREAM);
  Serve({"s"}, SOCK_DGRAM);
  // The other node has a way of its own to the client, and the data path too: it learns from what this node hands over.
  Run(absl::StrCat("ip link add d0 netns ", Ns("r"), " type veth peer name eth1 netns ", Ns("c")));
  Addresses(absl::StrCat("ip -n ", Ns("r")), "d0", "192.0.9.1/24", "fd09::1/64");
  Addresses(absl::StrCat("ip -n ", Ns("c")), "eth1", "192.0.9.2/24", "fd09::2/64");
  Run(absl::StrCat("ip -n ", Ns("r"), " route add 192.0.2.2/32 via 192.0.9.2 && ip -n ", Ns("r"),
                   " -6 route add fd02::2/128 via fd09::2"));
  std::vector<TestService> services = {
      {.name = "ns/far", .endpoints = {"s"}, .node_port = 30002, .number = 2},
      {.name = "ns/far-udp", .endpoints = {"s"}, .port = 53, .node_port = 30053, .protocol = kUdp, .number = 3},
      {.name = "ns/near", .endpoints = {"p"}, .node_port = 30001, .number = 1}};
  ApplyAll(services);
  Configure(SKIFF_SETTING_DIRECT_RETURN);
  // The other node's own data path; its endpoint is here, but that does not matter to what it learns.
  std::string dir = dir_ + "-r";
  std::unique_ptr<DataPath> there;
  std::unique_ptr<PacketPath> packets;
  std::string cgroup = cgroup_ + "/r";
  mkdir(cgroup.c_str(), 0755);
  ASSERT_TRUE(InThread("r", [&] {
    auto loaded = DataPath::Load({.dir = dir, .cgroup = cgroup});
    if (!loaded.ok()) return false;
    there = std::move(*loaded);
    skiff_settings settings = {};
    settings.flags = SKIFF_SETTING_DIRECT_RETURN;
    if (!there->Configure(settings).ok()) return false;
    Reconciler reconciler(there->maps());
    std::vector<ServiceChange> all;
    for (const TestService& s : services) all.push_back(Make(s));
    if (!reconciler.ApplyAll(all).ok()) return false;
    auto path = PacketPath::Load(there->maps_dir());
    if (!path.ok()) return false;
    packets = std::move(*path);
    return packets->Update(*FindDevices({.only = {"eth0", "d0"}})).ok();
  }));
  auto at_r0 = std::make_unique<Capture>("r0");
  auto at_client = InThread("c", [&] { return std::make_unique<Capture>("eth1"); });
  for (bool v6 : {false, true}) {
    std::string node = v6 ? "fd02::1" : "192.0.2.1", client = v6 ? "fd02::2" : "192.0.2.2",
                balancer = v6 ? "fdb0::2" : "203.0.113.2", pod = v6 ? "fd45::2" : "10.244.1.2";
    EXPECT_EQ(Ask({"c", false}, node, 30002, kTcp), Answer("s", client, node, 30002));
    EXPECT_EQ(Ask({"c", false}, balancer, 80, kTcp), Answer("s", client, balancer, 80));
    EXPECT_EQ(Ask({"c", false}, node, 30053, kUdp), Answer("s", client, node, 30053));
    EXPECT_EQ(Ask({"c", false}, node, 30001, kTcp), Answer("p", client, node, 30001)) << "here as ever";
    using Set = std::set<std::string>;
    EXPECT_EQ(at_r0->Seen(), Set{absl::StrCat(client, " > ", pod)}) << "no answer comes back this way";
    EXPECT_EQ(at_client->Seen(), (Set{absl::StrCat(node, " > ", client), absl::StrCat(balancer, " > ", client)}));
  }
  EXPECT_EQ((*there->maps().ReadCounters())[SKIFF_COUNT_PACKET_DIRECT], 6u);
  // A service that does not exist there is not believed: somebody outside made the option up.
  EXPECT_TRUE(InThread("r", [&] {
    packets.reset();
    there.reset();
    return RemoveDataPath({.dir = dir, .cgroup = cgroup}).ok();
  }));
  rmdir(cgroup.c_str());
}

TEST_F(NodesTest, ROOT_XdpForwardsPlacedConnections) {
  Serve({"p", "s"}, SOCK_STREAM);
  Serve({"s"}, SOCK_DGRAM);
  ApplyAll({{.name = "ns/near", .endpoints = {"p"}, .node_port = 30001, .number = 1},
            {.name = "ns/far", .endpoints = {"s"}, .node_port = 30002, .number = 2},
            {.name = "ns/udp", .endpoints = {"s"}, .port = 53, .node_port = 30053, .protocol = kUdp, .number = 3}});
  // XDP sees frames: what the other end of a veth pair leaves for a device to do, nobody would do. And that end takes
  // frames only where it polls (GRO).
  for (const char* ns : {"c", "r"}) {
    Run(absl::StrCat("ip netns exec ", Ns(ns), " ethtool -K eth0 tx off tso off gso off gro on >/dev/null"));
  }
  Run(absl::StrCat("ip netns exec ", Ns("s"), " ethtool -K eth0 tx off >/dev/null"));
  packets_.reset();
  auto packets = PacketPath::Load(data_path_->maps_dir(), true);
  ASSERT_TRUE(packets.ok()) << packets.status();
  packets_ = std::move(*packets);
  Attach();
  if (system("ip -d link show dev c0 | grep -q 'prog/xdp '") != 0) GTEST_SKIP() << "no native XDP on veth here";
  auto counted = [&] { return (*data_path_->maps().ReadCounters())[SKIFF_COUNT_PACKET_XDP]; };
  auto chat = [](const std::string& ip, uint16_t port) -> std::string {
    Fd fd;
    std::string out = TcpOnce(ip, port, false, &fd);
    if (!fd.valid()) return out;
    std::string sent(200000, '\0'), got;
    for (size_t i = 0; i < sent.size(); i++) sent[i] = static_cast<char>(i * 31 + i / 4093);
    char buffer[65536];
    for (size_t at = 0; at < sent.size(); at += 1000) {
      if (send(fd.get(), sent.data() + at, 1000, 0) != 1000) return "send";
      while (got.size() < at + 1000) {
        ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
        if (n <= 0) return absl::StrCat("recv: ", strerror(errno));
        got.append(buffer, static_cast<size_t>(n));
      }
    }
    return got == sent ? "same" : "different";
  };
  for (bool v6 : {false, true}) {
    std::string ip = v6 ? "fd02::1" : "192.0.2.1";
    uint64_t before = counted();
    EXPECT_EQ(As({"c", false}, [&] { return chat(ip, 30002); }), "same") << ip;
    uint64_t fast = counted() - before;
    EXPECT_GT(fast, 300u) << "both ways";
    EXPECT_EQ(As({"c", false}, [&] { return chat(ip, 30001); }), "same") << ip;
    // (The first connection's last packets may be counted late.)
    EXPECT_LT(counted() - before, fast + 10) << "an endpoint here is the kernel's business";
    EXPECT_EQ(As({"c", false},
                 [&] {
                   Fd fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
                   std::set<std::string> seen;
                   for (int i = 0; i < 50; i++) seen.insert(UdpOnce(fd.get(), ip, 30053));
                   return absl::StrJoin(seen, "; ");
                 }),
              Answer("s", v6 ? "fd0a::1" : "10.0.0.1", ip, 30053));
    EXPECT_GT(counted() - before, fast + 60);
  }
  // Without it again.
  packets_.reset();
  auto plain = PacketPath::Load(data_path_->maps_dir());
  ASSERT_TRUE(plain.ok());
  packets_ = std::move(*plain);
  Attach();
  EXPECT_EQ(system("ip -d link show dev c0 | grep -q 'prog/xdp '"), 256);
  uint64_t before = counted();
  EXPECT_EQ(As({"c", false}, [&] { return chat("192.0.2.1", 30002); }), "same");
  EXPECT_EQ(counted(), before);
}

}  // namespace
}  // namespace skiff::proxy
