// Answers that come back, or leave, by another device than their requests came by: connections belong to no device.
#include "proxy/capture_testing.h"
#include "proxy/nodes_testing.h"

namespace skiff::proxy {
namespace {

TEST_F(NodesTest, ROOT_AnswersTakeAnotherWay) {
  Serve({"p", "s"}, SOCK_STREAM);
  Serve({"p", "s"}, SOCK_DGRAM);
  // Second links to the client and to the other node, for answers alone.
  Run("sysctl -qw net.ipv4.conf.all.rp_filter=0");
  Run(absl::StrCat("ip link add d0 type veth peer name eth1 netns ", Ns("c")));
  Addresses("ip", "d0", "192.0.8.1/24", "fd08::1/64");
  Addresses(absl::StrCat("ip -n ", Ns("c")), "eth1", "192.0.8.2/24", "fd08::2/64");
  Run("ip route add 192.0.2.2/32 via 192.0.8.2 && ip -6 route add fd02::2/128 via fd08::2");
  Run(absl::StrCat("ip link add e0 type veth peer name eth1 netns ", Ns("r")));
  Addresses("ip", "e0", "10.7.0.1/24", "fd07::1/64");
  Addresses(absl::StrCat("ip -n ", Ns("r")), "eth1", "10.7.0.2/24", "fd07::2/64");
  Run(absl::StrCat("ip -n ", Ns("r"), " route add 10.0.0.1/32 via 10.7.0.1 && ip -n ", Ns("r"),
                   " -6 route add fd0a::1/128 via fd07::1"));
  auto devices = FindDevices({.only = {"c0", "d0", "r0", "e0"}, .pods = true, .node = {A("192.0.2.1"), A("fd02::1")}});
  ASSERT_EQ(devices->size(), 6u);
  ASSERT_TRUE(packets_->Update(*devices).ok());
  std::vector<TestService> services;
  for (uint8_t protocol : {kTcp, kUdp}) {
    int more = protocol == kTcp ? 0 : 10;
    auto port = [&](int n) { return static_cast<uint16_t>(30000 + n + more); };
    services.push_back({.name = absl::StrCat("ns/near", more),
                        .endpoints = {"p"},
                        .node_port = port(1),
                        .protocol = protocol,
                        .number = 1 + more});
    services.push_back({.name = absl::StrCat("ns/far", more),
                        .endpoints = {"s"},
                        .node_port = port(2),
                        .protocol = protocol,
                        .number = 2 + more});
  }
  ApplyAll(services);
  auto there = InThread("c", [] { return std::make_unique<Capture>("eth0"); }),
       back = InThread("c", [] { return std::make_unique<Capture>("eth1"); });
  auto out = std::make_unique<Capture>("r0"), in = std::make_unique<Capture>("e0");
  using Set = std::set<std::string>;
  for (bool v6 : {false, true}) {
    const std::string node = v6 ? "fd02::1" : "192.0.2.1", client = v6 ? "fd02::2" : "192.0.2.2",
                      own = v6 ? "fd0a::1" : "10.0.0.1", s = v6 ? "fd45::2" : "10.244.1.2";
    for (uint8_t protocol : {kTcp, kUdp}) {
      auto port = [&](int n) { return static_cast<uint16_t>(30000 + n + (protocol == kTcp ? 0 : 10)); };
      EXPECT_EQ(Ask({"c", false}, node, port(1), protocol), Answer("p", client, node, port(1)));
      EXPECT_EQ(Ask({"c", false}, node, port(2), protocol), Answer("s", own, node, port(2)));
      EXPECT_EQ(Ask({"c", false}, node, 30999, protocol), kRefused);
    }
    EXPECT_EQ(there->Seen(), Set{absl::StrCat(client, " > ", node)});
    EXPECT_EQ(back->Seen(), Set{absl::StrCat(node, " > ", client)});
    EXPECT_EQ(out->Seen(), Set{absl::StrCat(own, " > ", s)});
    EXPECT_EQ(in->Seen(), Set{absl::StrCat(s, " > ", own)});
  }
  Run("ip link del d0 && ip link del e0");
}

}  // namespace
}  // namespace skiff::proxy
