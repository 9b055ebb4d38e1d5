// The data path between nodes: every kind of service, client, family and policy with real sockets, and whom each side
// sees.
#include "proxy/nodes_testing.h"

namespace skiff::proxy {
namespace {

TEST_F(NodesTest, ROOT_EveryServiceTypeClientFamilyAndProtocol) {
  Serve({"p", "q", "s"}, SOCK_STREAM);
  Serve({"p", "q", "s"}, SOCK_DGRAM);
  std::vector<TestService> services;
  for (uint8_t protocol : {kTcp, kUdp}) {
    auto add = [&](TestService s, int number, uint16_t node_port) {
      s.protocol = protocol;
      s.number = number;
      s.port = protocol == kTcp ? 80 : 53;
      s.node_port = static_cast<uint16_t>(node_port + (protocol == kTcp ? 0 : 100));
      // Two services, one a protocol: the addresses are shared by the protocols' own.
      s.number += protocol == kTcp ? 0 : 100;
      s.name += protocol == kTcp ? "-tcp" : "-udp";
      services.push_back(std::move(s));
    };
    add({.name = "ns/near", .endpoints = {"p"}}, 1, 30001);
    add({.name = "ns/far", .endpoints = {"s"}}, 2, 30002);
    add({.name = "ns/none"}, 3, 30003);
    add({.name = "ns/external-local", .endpoints = {"p", "s"}, .external_local = true}, 4, 30004);
    add({.name = "ns/external-local-none", .endpoints = {"s"}, .external_local = true}, 5, 30005);
    add({.name = "ns/internal-local", .endpoints = {"p", "s"}, .internal_local = true}, 6, 30006);
    add({.name = "ns/internal-local-none", .endpoints = {"s"}, .internal_local = true}, 7, 30007);
  }
  ApplyAll(services);

  const Client outside{"c", false}, node{"", true}, q_sockets{"q", true}, q_packets{"q", false}, p_sockets{"p", true},
      p_packets{"p", false};
  int asked = 0;
  for (uint8_t protocol : {kTcp, kUdp}) {
    for (bool v6 : {false, true}) {
      auto ip = [&](const char* four, const char* six, int number) {
        return absl::StrCat(v6 ? six : four, number + (protocol == kTcp ? 0 : 100));
      };
      auto pick = [&](const char* four, const char* six) { return std::string(v6 ? six : four); };
      uint16_t port = protocol == kTcp ? 80 : 53;
      auto node_port = [&](int number) { return static_cast<uint16_t>(30000 + number + (protocol == kTcp ? 0 : 100)); };
      struct Way {
        std::string kind, ip;
        uint16_t port;
      };
      auto ways = [&](int number) {
        return std::vector<Way>{{"cluster IP", ip("10.96.0.", "fd96::", number), port},
                                {"external IP", ip("198.51.100.", "fd98::", number), port},
                                {"load balancer", ip("203.0.113.", "fdb0::", number), port},
                                {"node port", pick("192.0.2.1", "fd02::1"), node_port(number)}};
      };
      auto expect = [&](const Client& client, const Way& way, const std::string& want, const char* what,
                        int tries = 1) {
        asked++;
        EXPECT_EQ(Ask(client, way.ip, way.port, protocol, tries), want)
            << client.Name() << ", " << what << ", " << way.kind << ", " << ProtocolName(protocol) << ", " << way.ip
            << ":" << way.port;
      };
      auto expect_dropped = [&](const Client& client, const Way& way, const char* what) {
        asked++;
        EXPECT_TRUE(IsDropped(client, way.ip, way.port, protocol))
            << client.Name() << ", " << what << ", " << way.kind << ", " << ProtocolName(protocol) << ", " << way.ip
            << ":" << way.port;
      };
      // Who each endpoint sees, of each client.
      const std::string client = pick("192.0.2.2", "fd02::2"), bridge = pick("10.244.0.1", "fd44::1"),
                        out = pick("10.0.0.1", "fd0a::1"), q = pick("10.244.0.3", "fd44::3"),
                        p = pick("10.244.0.2", "fd44::2");
      for (const Way& way : ways(1)) {
        auto answer = [&](const std::string& source) { return Answer("p", source, way.ip, way.port); };
        expect(outside, way, answer(client), "endpoint here keeps the client's address");
        expect(node, way, answer(bridge), "endpoint here");
        expect(q_sockets, way, answer(q), "endpoint here");
        expect(q_packets, way, answer(q), "endpoint here, on the same bridge");
        expect(p_sockets, way, answer(p), "hairpin inside the pod");
        expect(p_packets, way, answer(bridge), "hairpin by way of the node");
      }
      for (const Way& way : ways(2)) {
        auto answer = [&](const std::string& source) { return Answer("s", source, way.ip, way.port); };
        expect(outside, way, answer(out), "endpoint there sees this node");
        expect(node, way, answer(out), "endpoint there");
        for (const Client& c : {q_sockets, q_packets}) expect(c, way, answer(q), "endpoint there sees the pod");
      }
      for (const Way& way : ways(3)) {
        for (const Client& c : {outside, node, q_sockets, q_packets}) expect(c, way, kRefused, "no endpoint");
      }
      for (const Way& way : ways(4)) {
        bool cluster_ip = way.kind == "cluster IP";
        std::string here = Answer("p", client, way.ip, way.port);
        if (!cluster_ip) expect(outside, way, here, "external policy Local", 8);
        std::string both = absl::StrCat(Answer("p", q, way.ip, way.port), "; ", Answer("s", q, way.ip, way.port));
        for (const Client& c : {q_sockets, q_packets}) expect(c, way, both, "pods reach every endpoint", 40);
      }
      for (const Way& way : ways(5)) {
        if (way.kind != "cluster IP") expect_dropped(outside, way, "external policy Local without endpoint here");
        for (const Client& c : {q_sockets, q_packets}) {
          expect(c, way, Answer("s", q, way.ip, way.port), "pods reach every endpoint");
        }
      }
      Way cluster_ip = ways(6)[0];
      for (const Client& c : {q_sockets, q_packets}) {
        expect(c, cluster_ip, Answer("p", q, cluster_ip.ip, cluster_ip.port), "internal policy Local", 8);
        expect_dropped(c, ways(7)[0], "internal policy Local without endpoint here");
      }
      Way unused{"cluster IP", ip("10.96.0.", "fd96::", 1), 81};
      for (const Client& c : {outside, node, q_sockets, q_packets}) expect(c, unused, kRefused, "unused port");
      Way no_node_port{"node port", pick("192.0.2.1", "fd02::1"), 30999};
      for (const Client& c : {outside, node, q_packets}) expect(c, no_node_port, kRefused, "unused node port");
      if (!v6) {
        Way loopback{"node port", "127.0.0.1", node_port(1)};
        expect(node, loopback, Answer("p", bridge, "127.0.0.1", node_port(1)), "localhost");
        for (const Client& c : {q_sockets, q_packets}) expect(c, loopback, kRefused, "a pod's own localhost");
        // 10.244.0.1 is the node's, 10.0.0.1 too; 10.0.0.2 is another node's.
        for (const char* own : {"10.244.0.1", "10.0.0.1"}) {
          expect(q_packets, {"node port", own, node_port(1)}, Answer("p", q, own, node_port(1)), "other node address");
        }
        expect(q_packets, {"node port", "10.0.0.2", node_port(1)}, kRefused, "another node's address");
      }
    }
  }
  auto counters = *data_path_->maps().ReadCounters();
  EXPECT_EQ(counters[SKIFF_COUNT_GAVE_UP], 0u);
  EXPECT_EQ(counters[SKIFF_COUNT_PACKET_NO_PORT], 0u);
  EXPECT_GT(counters[SKIFF_COUNT_PACKET_POD], 0u);
  printf("%d combinations of client, service, policy, family and protocol\n", asked);
}

TEST_F(NodesTest, ROOT_SourceRangesHoldForEveryClient) {
  Serve({"p"}, SOCK_STREAM);
  auto with = [](std::vector<std::string> ranges) {
    return TestService{.name = "ns/s", .endpoints = {"p"}, .number = 1, .source_ranges = std::move(ranges)};
  };
  const std::string ip = "203.0.113.1", dropped = "connect: Connection timed out";
  const Client outside{"c", false}, node{"", true}, pod{"q", true}, pod_packets{"q", false};
  auto ask = [&](const Client& client) {
    return As(client, [&] {
      Sockaddr to = Sockaddr::Of(ip, 80);
      Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      timeval timeout = {0, 300000};
      setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
      if (connect(fd.get(), to.get(), to.size) != 0) return std::string("none");
      return ReadName(fd.get());
    });
  };
  ApplyAll({with({"192.0.2.2/32", "10.244.0.3/32"})});
  EXPECT_EQ(ask(outside), "p from 192.0.2.2");
  EXPECT_EQ(ask(pod), "p from 10.244.0.3") << "checked where its packet has a source";
  EXPECT_EQ(ask(pod_packets), "p from 10.244.0.3");
  EXPECT_EQ(ask({"p", false}), "none");
  auto change = [&](const TestService& s) { ASSERT_TRUE(reconciler_->Apply({Make(s)}).ok()); };
  change(with({"192.0.2.1/32"}));
  EXPECT_EQ(ask(node), "p from 10.244.0.1") << "the node's own address may";
  EXPECT_EQ(ask(outside), "none");
  EXPECT_EQ(ask(pod), "none");
}

TEST_F(NodesTest, ROOT_MasqueradeAllAndClusterCidr) {
  Serve({"p", "s"}, SOCK_STREAM);
  TestService near{.name = "ns/near", .endpoints = {"p"}, .number = 1},
      far{.name = "ns/far", .endpoints = {"s"}, .number = 2};
  ApplyAll({near, far});
  // An address that is not of the cluster, behind the pod.
  Run(absl::StrCat("ip -n ", Ns("q"), " addr add 172.20.0.1/32 dev lo && ip route add 172.20.0.1/32 via 10.244.0.3"));
  auto from = [&](const std::string& source, const std::string& to) {
    return As({"q", false}, [&] {
      Sockaddr local = Sockaddr::Of(source, 0), remote = Sockaddr::Of(to, 80);
      Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (bind(fd.get(), local.get(), local.size) != 0) return std::string("bind");
      if (connect(fd.get(), remote.get(), remote.size) != 0) return std::string(strerror(errno));
      return ReadName(fd.get());
    });
  };
  EXPECT_EQ(from("172.20.0.1", "10.96.0.2"), "s from 10.0.0.1") << "the other node does not know this source";
  EXPECT_EQ(from("172.20.0.1", "10.96.0.1"), "p from 172.20.0.1") << "not needed here";
  EXPECT_EQ(from("10.244.0.3", "10.96.0.2"), "s from 10.244.0.3");
  Configure(SKIFF_SETTING_MASQUERADE_ALL);
  EXPECT_EQ(from("10.244.0.3", "10.96.0.2"), "s from 10.0.0.1");
  EXPECT_EQ(from("10.244.0.3", "10.96.0.1"), "p from 10.244.0.1");
  EXPECT_EQ(Ask({"c", false}, "203.0.113.1", 80, kTcp), "p from 10.244.0.1 203.0.113.1:80");
}

TEST_F(NodesTest, ROOT_MasqueradeAllBeforeAnyPodSendsPackets) {
  Serve({"p"}, SOCK_STREAM);
  ApplyAll({{.name = "ns/near", .endpoints = {"p"}, .number = 1}});
  Configure(SKIFF_SETTING_MASQUERADE_ALL);
  EXPECT_EQ(Ask({"c", false}, "203.0.113.1", 80, kTcp), "p from 10.244.0.1 203.0.113.1:80");
}

TEST_F(NodesTest, ROOT_RefusalsOfEndpointsReachPodsThatSendPackets) {
  ApplyAll({{.name = "ns/near", .endpoints = {"p"}, .number = 1},
            {.name = "ns/near-udp", .endpoints = {"p"}, .port = 53, .protocol = kUdp, .number = 2},
            {.name = "ns/far-udp", .endpoints = {"s"}, .port = 53, .protocol = kUdp, .number = 3}});
  // Nobody listens.
  for (const char* pod : {"q", "p"}) {
    for (bool v6 : {false, true}) {
      EXPECT_EQ(Ask({pod, false}, v6 ? "fd96::1" : "10.96.0.1", 80, kTcp), kRefused) << pod << v6;
      EXPECT_EQ(Ask({pod, false}, v6 ? "fd96::2" : "10.96.0.2", 53, kUdp), kRefused) << pod << v6;
      EXPECT_EQ(Ask({pod, false}, v6 ? "fd96::3" : "10.96.0.3", 53, kUdp), kRefused) << pod << v6;
    }
  }
}

TEST_F(NodesTest, ROOT_DirectConnectionAfterOneThroughTheService) {
  Serve({"p"}, SOCK_STREAM);
  ApplyAll({{.name = "ns/near", .endpoints = {"p"}, .number = 1}});
  // From the same port, first through the service, then straight to its endpoint.
  EXPECT_EQ(As({"q", false},
               [&] {
                 std::string out;
                 for (const char* ip : {"10.96.0.1", "10.244.0.2", "10.96.0.1"}) {
                   uint16_t port = ip == std::string_view("10.244.0.2") ? 8080 : 80;
                   Sockaddr local = Sockaddr::Of("10.244.0.3", 40000), to = Sockaddr::Of(ip, port);
                   Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                   int one = 1;
                   setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
                   linger reset = {1, 0};
                   setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
                   if (bind(fd.get(), local.get(), local.size) != 0) return std::string("bind");
                   if (connect(fd.get(), to.get(), to.size) != 0) return std::string(strerror(errno));
                   out += ReadName(fd.get()) + "; ";
                 }
                 return out;
               }),
            "p from 10.244.0.3; p from 10.244.0.3; p from 10.244.0.3; ");
}

}  // namespace
}  // namespace skiff::proxy
