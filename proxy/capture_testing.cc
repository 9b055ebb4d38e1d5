#include "proxy/capture_testing.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace skiff::proxy {

Capture::Capture(const std::string& device) : fd_(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
  sockaddr_ll at = {};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
  EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)), 0) << strerror(errno);
}

std::set<std::string> Capture::Seen() {
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
    if (protocol != IPPROTO_TCP) continue;
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    int family = v6 ? AF_INET6 : AF_INET;
    inet_ntop(family, b + (v6 ? 8 : 12), source, sizeof(source));
    inet_ntop(family, b + (v6 ? 24 : 16), destination, sizeof(destination));
    out.insert(absl::StrCat(source, " > ", destination));
  }
}

}  // namespace skiff::proxy
