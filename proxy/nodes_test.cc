// The data path between nodes: every kind of service, client, family and policy with real sockets, and whom each side
// sees.
#include "proxy/load_testing.h"
#include "proxy/nodes_testing.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include <set>

#include "absl/strings/str_join.h"

namespace skiff::proxy {
namespace {

constexpr uint8_t kTcp = IPPROTO_TCP, kUdp = IPPROTO_UDP;
const std::string kRefused = "connect: Connection refused";

// What a client is told: the endpoint's name, whom the endpoint sees, and the peer as the client sees it.
std::string Answer(const std::string& pod, const std::string& source, const std::string& ip, uint16_t port) {
  bool v6 = ip.find(':') != std::string::npos;
  auto bracket = [&](const std::string& a) { return v6 ? absl::StrCat("[", a, "]") : a; };
  return absl::StrCat(pod, " from ", bracket(source), " ", bracket(ip), ":", port);
}

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

// Every packet of a family that a device carries, as "source > destination".
class Capture {
 public:
  explicit Capture(const std::string& device) : fd_(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll at = {};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)), 0) << strerror(errno);
  }
  std::set<std::string> Seen() {
    std::set<std::string> out;
    char b[2048];
    for (;;) {
      sockaddr_ll from = {};
      socklen_t size = sizeof(from);
      ssize_t n = recvfrom(fd_.get(), b, sizeof(b), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 40) {
        if (n < 0) return out;
        continue;
      }
      bool v6 = ntohs(from.sll_protocol) == ETH_P_IPV6;
      if (!v6 && ntohs(from.sll_protocol) != ETH_P_IP) continue;
      uint8_t protocol = static_cast<uint8_t>(b[v6 ? 6 : 9]);
      if (protocol != kTcp) continue;
      char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
      int family = v6 ? AF_INET6 : AF_INET;
      inet_ntop(family, b + (v6 ? 8 : 12), source, sizeof(source));
      inet_ntop(family, b + (v6 ? 24 : 16), destination, sizeof(destination));
      out.insert(absl::StrCat(source, " > ", destination));
    }
  }

 private:
  Fd fd_;
};

// What ping says of one echo request: "answer from ADDRESS", "unreachable from ADDRESS", or "nothing".
std::string Ping(const std::string& ip) {
  Sockaddr to = Sockaddr::Of(ip, 0), from;
  bool v6 = to.storage.ss_family == AF_INET6;
  Fd fd(socket(to.storage.ss_family, SOCK_RAW | SOCK_CLOEXEC, v6 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP}));
  char request[16] = {};
  request[0] = static_cast<char>(v6 ? 128 : 8);
  request[4] = 7;
  if (!v6) {
    request[2] = static_cast<char>(0xf0);  // the sum of 0x0800 and 0x0700, complemented
    request[3] = static_cast<char>(0xff);
  }
  // Where a packet is dropped on its way out of the node, its sender may be told so.
  if (sendto(fd.get(), request, sizeof(request), 0, to.get(), to.size) < 0)
    return errno == ENOBUFS ? "nothing" : strerror(errno);
  for (pollfd p = {fd.get(), POLLIN, 0}; poll(&p, 1, 300) > 0;) {
    char b[2048];
    from.size = sizeof(from.storage);
    ssize_t n = recvfrom(fd.get(), b, sizeof(b), 0, from.get(), &from.size);
    if (n < (v6 ? 8 : 28)) continue;
    const char* icmp = v6 ? b : b + 20;
    std::string who = from.Text().substr(0, from.Text().rfind(':'));
    if (v6) who = who.substr(1, who.size() - 2);
    if (icmp[0] == (v6 ? static_cast<char>(129) : 0)) return "answer from " + who;
    if (icmp[0] == (v6 ? 1 : 3) && icmp[1] == (v6 ? 4 : 3)) return "unreachable from " + who;
  }
  return "nothing";
}

TEST_F(NodesTest, ROOT_ClusterIpsBesideTheirPorts) {
  Serve({"p"}, SOCK_STREAM);
  TestService near{.name = "ns/near", .endpoints = {"p"}, .number = 1},
      elsewhere{.name = "ns/elsewhere", .endpoints = {"s"}, .number = 7, .internal_local = true};
  ApplyAll({near, elsewhere});
  // A network behind the node that would take what nobody stops.
  Run("ip route add default via 192.0.2.2 && ip -6 route add default via fd02::2");
  auto at_client = InThread("c", [] { return std::make_unique<Capture>("eth0"); });
  const Client node{"", true}, pod{"q", true}, pod_packets{"q", false}, outside{"c", false};
  for (bool v6 : {false, true}) {
    const std::string ip = v6 ? "fd96::1" : "10.96.0.1", unknown = v6 ? "fd96::99" : "10.96.9.9";
    EXPECT_EQ(As(pod, [&] { return Ping(ip); }), v6 ? "unreachable from fd44::1" : "unreachable from 10.244.0.1");
    EXPECT_EQ(As(outside, [&] { return Ping(ip); }), v6 ? "unreachable from fd02::1" : "unreachable from 192.0.2.1");
    EXPECT_EQ(As(node, [&] { return Ping(ip); }), "unreachable from " + ip);
    EXPECT_EQ(As(pod, [&] { return Ping(v6 ? "fd44::2" : "10.244.0.2"); }),
              v6 ? "answer from fd44::2" : "answer from 10.244.0.2");
    at_client->Seen();
    for (const Client& c : {node, pod, pod_packets, outside}) {
      EXPECT_EQ(As(c, [&] { return Ping(unknown); }), "nothing") << c.Name();
      EXPECT_TRUE(IsDropped(c, unknown, 80, kTcp)) << c.Name();
    }
    const std::string local = v6 ? "fd96::7" : "10.96.0.7";
    for (const Client& c : {node, pod, pod_packets, outside}) EXPECT_TRUE(IsDropped(c, local, 80, kTcp)) << c.Name();
    for (const std::string& seen : at_client->Seen()) {
      EXPECT_EQ(seen.find(v6 ? "fd02::1 > " : "192.0.2.1 > "), std::string::npos) << seen << " left the node";
      EXPECT_EQ(seen.find(v6 ? "fd44::3 > " : "10.244.0.3 > "), std::string::npos) << seen << " left the node";
    }
  }
  // An endpoint comes while the pod's connection still tries.
  EXPECT_EQ(Ask(pod, "10.96.0.1", 80, kTcp), Answer("p", "10.244.0.3", "10.96.0.1", 80));
  auto counts = *data_path_->maps().ReadCounts();
  uint64_t connections = 0, refused = 0;
  for (const auto& [id, c] : counts) {
    connections += c.connections;
    refused += c.refused;
  }
  EXPECT_EQ(connections, 1u);
  EXPECT_GE(refused, 8u);
}

// No kernel with SCTP is needed to forward it: raw sockets stand for the ends.
TEST_F(NodesTest, ROOT_SctpThroughServices) {
  std::vector<TestService> services = {
      {.name = "ns/near", .endpoints = {"p"}, .node_port = 30001, .protocol = IPPROTO_SCTP, .number = 1},
      {.name = "ns/far", .endpoints = {"s"}, .node_port = 30002, .protocol = IPPROTO_SCTP, .number = 2},
      {.name = "ns/none", .port = 80, .node_port = 30003, .protocol = IPPROTO_SCTP, .number = 3}};
  ApplyAll(services);
  // Turns ports round, and answers.
  std::atomic<bool> stop = false;
  std::vector<std::thread> servers;
  for (const char* pod : {"p", "s"}) {
    Fd fd = InThread(pod, [] { return Fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_SCTP)); });
    ASSERT_TRUE(fd.valid()) << strerror(errno);
    servers.emplace_back([&stop, pod, fd = std::move(fd)] {
      while (!stop) {
        pollfd p = {fd.get(), POLLIN, 0};
        char b[2048];
        Sockaddr from;
        if (poll(&p, 1, 20) <= 0) continue;
        ssize_t n = recvfrom(fd.get(), b, sizeof(b), 0, from.get(), &from.size);
        if (n < 36) continue;
        std::string packet(b + 20, static_cast<size_t>(n) - 20);
        if (packet.substr(2, 2) != std::string("\x1f\x90")) continue;  // 8080
        std::string answer =
            packet.substr(2, 2) + packet.substr(0, 2) + std::string(8, '\0') + std::string("\2\0\0\5", 4) + pod;
        sendto(fd.get(), answer.data(), answer.size(), 0, from.get(), from.size);
      }
    });
  }
  auto ask = [](const std::string& ip, uint16_t port) -> std::string {
    Fd fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_SCTP));
    Sockaddr to = Sockaddr::Of(ip, 0), from;
    std::string packet = std::string("\x30\x39", 2) + static_cast<char>(port >> 8) + static_cast<char>(port) +
                         std::string(8, '\0') + std::string("\1\0\0\4", 4);
    sendto(fd.get(), packet.data(), packet.size(), 0, to.get(), to.size);
    for (pollfd p = {fd.get(), POLLIN, 0}; poll(&p, 1, 300) > 0;) {
      char b[2048];
      ssize_t n = recvfrom(fd.get(), b, sizeof(b), 0, from.get(), &from.size);
      if (n < 37) continue;
      std::string text = from.Text();
      return absl::StrCat(std::string_view(b + 36, static_cast<size_t>(n) - 36), " from ",
                          text.substr(0, text.rfind(':')));
    }
    return "nothing";
  };
  for (const Client& c : {Client{"c", false}, Client{"q", false}, Client{"q", true}}) {
    for (auto [ip, port, pod] : {std::tuple{"192.0.2.1", 30001, "p"},
                                 {"192.0.2.1", 30002, "s"},
                                 {"203.0.113.1", 80, "p"},
                                 {"10.96.0.1", 80, "p"},
                                 {"10.96.0.2", 80, "s"}}) {
      if (c.ns == "c" && std::string_view(ip).starts_with("10.96.")) continue;
      EXPECT_EQ(As(c, [&] { return ask(ip, static_cast<uint16_t>(port)); }), absl::StrCat(pod, " from ", ip))
          << c.Name() << " " << ip << ":" << port;
    }
    EXPECT_EQ(As(c, [&] { return ask("203.0.113.3", 80); }), "nothing") << "no endpoint";
  }
  stop = true;
  for (std::thread& server : servers) server.join();
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

// Sends `size` bytes to an echoing service and compares.
std::string EchoUdp(const std::string& ip, uint16_t port, size_t size) {
  Sockaddr to = Sockaddr::Of(ip, port);
  Fd fd(socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  int dont = 0;  // IP_PMTUDISC_DONT: fragments, no path MTU
  setsockopt(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof(dont));
  if (connect(fd.get(), to.get(), to.size) != 0) return strerror(errno);
  std::string data(size, '\0');
  for (size_t i = 0; i < size; i++) data[i] = static_cast<char>(i * 7 + i / 251);
  if (send(fd.get(), data.data(), data.size(), 0) < 0) return strerror(errno);
  timeval timeout = {2, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  std::string got(65536, '\0');
  ssize_t n = recv(fd.get(), got.data(), got.size(), 0);
  if (n < 0) return absl::StrCat("recv: ", strerror(errno));
  got.resize(static_cast<size_t>(n));
  return got == data ? "same" : "different";
}

TEST_F(NodesTest, ROOT_FragmentsBothWays) {
  Serve({"p", "s"}, SOCK_DGRAM);
  std::vector<TestService> services;
  services.push_back(
      {.name = "ns/near", .endpoints = {"p"}, .port = 53, .node_port = 30001, .protocol = kUdp, .number = 1});
  services.push_back(
      {.name = "ns/far", .endpoints = {"s"}, .port = 53, .node_port = 30002, .protocol = kUdp, .number = 2});
  ApplyAll(services);
  for (bool v6 : {false, true}) {
    for (uint16_t port : {30001, 30002}) {
      for (size_t size : {100u, 1472u, 1473u, 3000u, 9000u, 60000u}) {
        std::string ip = v6 ? "fd02::1" : "192.0.2.1";
        for (const Client& client : {Client{"c", false}, Client{"q", false}, Client{"p", false}, Client{"q", true}}) {
          EXPECT_EQ(As(client, [&] { return EchoUdp(ip, port, size); }), "same")
              << client.Name() << " " << ip << " " << port << " " << size;
        }
      }
    }
  }
}

TEST_F(NodesTest, ROOT_WhatIsOnTheWire) {
  Serve({"p", "s"}, SOCK_STREAM);
  ApplyAll({{.name = "ns/near", .endpoints = {"p"}, .node_port = 30001, .number = 1},
            {.name = "ns/far", .endpoints = {"s"}, .node_port = 30002, .number = 2}});
  auto make = [](std::string_view ns, const std::string& device) {
    return InThread(ns, [&] { return std::make_unique<Capture>(device); });
  };
  auto at_client = make("c", "eth0"), at_q = make("q", "eth0"), at_p = make("p", "eth0"), at_s = make("s", "eth0");
  Capture at_bridge("cni0");
  using Set = std::set<std::string>;
  auto clear = [&] {
    poll(nullptr, 0, 200);  // the last connection's end is still on its way
    for (auto* capture : {at_client.get(), at_q.get(), at_p.get(), at_s.get(), &at_bridge}) capture->Seen();
  };
  (void)Ask({"c", false}, "192.0.2.1", 30001, kTcp);
  EXPECT_EQ(at_client->Seen(), (Set{"192.0.2.2 > 192.0.2.1", "192.0.2.1 > 192.0.2.2"}));
  EXPECT_EQ(at_p->Seen(), (Set{"192.0.2.2 > 10.244.0.2", "10.244.0.2 > 192.0.2.2"}));
  clear();
  (void)Ask({"c", false}, "192.0.2.1", 30002, kTcp);
  EXPECT_EQ(at_client->Seen(), (Set{"192.0.2.2 > 192.0.2.1", "192.0.2.1 > 192.0.2.2"}));
  EXPECT_EQ(at_s->Seen(), (Set{"10.0.0.1 > 10.244.1.2", "10.244.1.2 > 10.0.0.1"}));
  clear();
  (void)Ask({"q", true}, "10.96.0.1", 80, kTcp);
  EXPECT_EQ(at_q->Seen(), (Set{"10.244.0.3 > 10.244.0.2", "10.244.0.2 > 10.244.0.3"}))
      << "sockets: nothing to translate";
  EXPECT_EQ(at_bridge.Seen(), Set{}) << "and no way by the node";
  clear();
  (void)Ask({"q", false}, "10.96.0.1", 80, kTcp);
  EXPECT_EQ(at_q->Seen(), (Set{"10.244.0.3 > 10.96.0.1", "10.96.0.1 > 10.244.0.3"}));
  EXPECT_EQ(at_p->Seen(), (Set{"10.244.0.3 > 10.244.0.2", "10.244.0.2 > 10.244.0.3"}));
  clear();
  (void)Ask({"p", false}, "10.96.0.1", 80, kTcp);
  EXPECT_EQ(at_p->Seen(), (Set{"10.244.0.2 > 10.96.0.1", "10.96.0.1 > 10.244.0.2", "10.244.0.1 > 10.244.0.2",
                               "10.244.0.2 > 10.244.0.1"}))
      << "hairpin: the endpoint never sees its own address";
  clear();
  (void)Ask({"c", false}, "fd02::1", 30002, kTcp);
  EXPECT_EQ(at_client->Seen(), (Set{"fd02::2 > fd02::1", "fd02::1 > fd02::2"}));
  EXPECT_EQ(at_s->Seen(), (Set{"fd0a::1 > fd45::2", "fd45::2 > fd0a::1"}));
}

TEST_F(NodesTest, ROOT_BulkThroughEveryPath) {
  Serve({"p", "s"}, SOCK_STREAM);
  ApplyAll({{.name = "ns/near", .endpoints = {"p"}, .node_port = 30001, .number = 1},
            {.name = "ns/far", .endpoints = {"s"}, .node_port = 30002, .number = 2}});
  // Large sends: the stack hands down packets that only the device would cut (GSO), with checksums for it to fill in.
  auto bulk = [](const std::string& ip, uint16_t port) -> std::string {
    Fd fd;
    TcpOnce(ip, port, false, &fd);
    if (!fd.valid()) return "no connection";
    std::string sent(2000000, '\0'), got;
    for (size_t i = 0; i < sent.size(); i++) sent[i] = static_cast<char>(i * 31 + i / 4093);
    fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    size_t at = 0;
    std::string buffer(262144, '\0');
    while (got.size() < sent.size()) {
      pollfd p = {fd.get(), static_cast<short>(at < sent.size() ? POLLIN | POLLOUT : POLLIN), 0};
      if (poll(&p, 1, 3000) <= 0) return absl::StrCat("stuck at ", got.size());
      if (p.revents & POLLOUT) {
        ssize_t n = send(fd.get(), sent.data() + at, std::min<size_t>(sent.size() - at, 100000), 0);
        if (n > 0) at += static_cast<size_t>(n);
      }
      if (p.revents & POLLIN) {
        ssize_t n = recv(fd.get(), buffer.data(), buffer.size(), 0);
        if (n <= 0) return "closed";
        got.append(buffer.data(), static_cast<size_t>(n));
      }
    }
    return got == sent ? "same" : "different";
  };
  for (const char* ip : {"192.0.2.1", "fd02::1"}) {
    for (uint16_t port : {30001, 30002}) {
      for (const Client& client : {Client{"c", false}, Client{"q", false}, Client{"p", false}, Client{"", true}}) {
        EXPECT_EQ(As(client, [&] { return bulk(ip, port); }), "same") << client.Name() << " " << ip << " " << port;
      }
    }
  }
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

TEST_F(NodesTest, ROOT_TerminatingEndpoints_AgentKill_PacketsLoseNothing) {
  std::vector<std::unique_ptr<Echo>> echoes;
  for (const char* pod : {"p", "s"}) {
    for (Family family : {Family::kIPv4, Family::kIPv6}) {
      echoes.push_back(InThread(pod, [&] { return std::make_unique<Echo>(FormatAddress(PodAddress(pod, family))); }));
    }
  }
  auto services = [](const std::vector<std::string>& pods, uint8_t p_flags = kReady | kServing) {
    std::vector<TestService> out;
    for (uint8_t protocol : {kTcp, kUdp}) {
      out.push_back({.name = absl::StrCat("ns/", ProtocolName(protocol)),
                     .endpoints = pods,
                     .port = 80,
                     .node_port = 30080,
                     .protocol = protocol,
                     .number = protocol == kTcp ? 1 : 2,
                     .p_flags = p_flags});
    }
    return out;
  };
  auto change = [&](const std::vector<TestService>& to) {
    std::vector<ServiceChange> changes;
    for (const TestService& s : to) changes.push_back(Make(s));
    auto result = reconciler_->Apply(changes);
    ASSERT_TRUE(result.ok()) << result.status();
  };
  const std::vector<std::string> both = {"p", "s"};
  ApplyAll(services(both));
  {
    // From outside by NodePort, in both families, and a pod's packets to the cluster IP.
    std::vector<std::unique_ptr<LoadClient>> clients;
    for (int kind = 0; kind < 4; kind++) {
      auto k = static_cast<LoadClient::Kind>(kind);
      bool tcp = k == LoadClient::kNewConnections || k == LoadClient::kOneConnection;
      for (const char* ip : {"192.0.2.1", "fd02::1"})
        clients.push_back(InThread("c", [&] { return std::make_unique<LoadClient>(k, ip, 30080); }));
      clients.push_back(
          InThread("q", [&] { return std::make_unique<LoadClient>(k, tcp ? "10.96.0.1" : "10.96.0.2", 80); }));
    }
    auto all_move_on = [&] {
      std::vector<int> before;
      for (auto& client : clients) before.push_back(client->done());
      for (size_t i = 0; i < clients.size(); i++) {
        while (clients[i]->done() < before[i] + 3 && !clients[i]->failed()) std::this_thread::yield();
      }
    };
    for (int round = 0; round < 8; round++) {
      change(services(both, kServing | kTerminating));
      all_move_on();
      change(services({"s"}));
      all_move_on();
      change(services(both));
      change(services({"p"}));
      all_move_on();
      change(services(both));
      all_move_on();
      if (round % 3 == 2) {
        // Killed: nothing is cleaned up; then the next version, whose programs take over.
        reconciler_.reset();
        packets_.reset();
        data_path_.reset();
        all_move_on();
        Load();
        ApplyAll(services(both));
        all_move_on();
      }
    }
    for (auto& client : clients) {
      client->Stop();
      EXPECT_EQ(client->failure, "");
      EXPECT_GT(client->done(), 50);
    }
  }
  for (auto& echo : echoes) EXPECT_GT(echo->served(), 0);
}

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
