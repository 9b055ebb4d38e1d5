#include "proxy/nodes_testing.h"

#include <netinet/ip.h>
#include <netinet/ip6.h>

namespace skiff::proxy {
namespace {

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

}  // namespace
}  // namespace skiff::proxy
