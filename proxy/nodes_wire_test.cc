// What the packets of services look like on the wire, and that all of them arrive.
#include "proxy/capture_testing.h"
#include "proxy/load_testing.h"
#include "proxy/nodes_testing.h"

#include <netinet/ip.h>
#include <netinet/ip6.h>

namespace skiff::proxy {
namespace {

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

}  // namespace
}  // namespace skiff::proxy
