#include "proxy/node_addresses.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace skiff::proxy {

StatusOr<std::vector<Address>> LocalAddresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return ErrnoStatus(errno, "getifaddrs");
  std::vector<Address> out;
  for (ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr) continue;
    Address a = {};
    if (i->ifa_addr->sa_family == AF_INET) {
      a.word[2] = htonl(0xffff);
      a.word[3] = reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr;
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      std::memcpy(&a, &reinterpret_cast<sockaddr_in6*>(i->ifa_addr)->sin6_addr, sizeof(a));
    } else {
      continue;
    }
    out.push_back(a);
  }
  freeifaddrs(list);
  return out;
}

std::map<Address, bool> NodePortAddresses(std::span<const Address> local, std::span<const std::string> cidrs,
                                          std::span<const Address> primary, bool localhost) {
  std::map<Address, bool> out;
  std::vector<Prefix> prefixes;
  bool only_primary = !cidrs.empty() && cidrs[0] == "primary";
  for (const std::string& text : cidrs) {
    if (auto prefix = ParsePrefix(text)) prefixes.push_back(*prefix);
  }
  auto wanted = [&](const Address& a) {
    if (only_primary) return std::find(primary.begin(), primary.end(), a) != primary.end();
    if (cidrs.empty()) return true;
    return std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& p) { return p.Contains(a); });
  };
  for (const Address& a : local) {
    if (IsLinkLocal(a) || !wanted(a)) continue;
    if (IsLoopback(a)) {
      if (localhost && FamilyOf(a) == Family::kIPv4) out[a] = true;
      continue;
    }
    out[a] = false;
  }
  return out;
}

Task<Status> WatchAddresses(asio::any_io_executor executor, std::function<void()> changed) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) co_return ErrnoStatus(errno, "netlink socket");
  asio::posix::stream_descriptor descriptor(executor, fd);
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    co_return ErrnoStatus(errno, "bind netlink socket");
  }
  for (;;) {
    auto [ec] = co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (ec) co_return Outcome(ec, "watch addresses");
    // Pods that start come in bursts of messages.
    CO_RETURN_IF_ERROR(co_await SleepFor(std::chrono::milliseconds(200)));
    char buffer[8192];
    for (;;) {
      // What the messages say does not matter: all addresses are read again. An overrun (ENOBUFS) says as much.
      ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
      if (n > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS))) continue;
      break;
    }
    changed();
  }
}

}  // namespace skiff::proxy
