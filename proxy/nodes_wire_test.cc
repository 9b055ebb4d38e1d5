// What the packets of services look like on the wire, SCTP among them, and that all of them arrive.
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
  timeval timeout = {10, 0};
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
      if (poll(&p, 1, 10000) <= 0) return absl::StrCat("stuck at ", got.size());
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
  auto ask = [](const std::string& ip, uint16_t port, int patience = 3000) -> std::string {
    Fd fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_SCTP));
    Sockaddr to = Sockaddr::Of(ip, 0), from;
    std::string packet = std::string("\x30\x39", 2) + static_cast<char>(port >> 8) + static_cast<char>(port) +
                         std::string(8, '\0') + std::string("\1\0\0\4", 4);
    sendto(fd.get(), packet.data(), packet.size(), 0, to.get(), to.size);
    for (pollfd p = {fd.get(), POLLIN, 0}; poll(&p, 1, patience) > 0;) {
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
    EXPECT_EQ(As(c, [&] { return ask("203.0.113.3", 80, 300); }), "nothing") << "no endpoint";
  }
  stop = true;
  for (std::thread& server : servers) server.join();
}

}  // namespace
}  // namespace skiff::proxy
