// What is beside the ports of services at their addresses: echo requests, other ports, addresses of no service.
#include "proxy/capture_testing.h"
#include "proxy/nodes_testing.h"

namespace skiff::proxy {
namespace {

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

}  // namespace
}  // namespace skiff::proxy
