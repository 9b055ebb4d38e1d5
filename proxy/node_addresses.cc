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

NodeIps DetectNodeIps(std::span<const Address> internal, std::span<const Address> external,
                      const std::string& bind_address) {
  NodeIps out;
  bool first = true;
  for (std::span<const Address> addresses : {internal, external}) {
    for (const Address& a : addresses) {
      auto& slot = FamilyOf(a) == Family::kIPv4 ? out.v4 : out.v6;
      if (slot) continue;
      slot = a;
      if (first) out.primary = FamilyOf(a);
      first = false;
    }
  }
  if (auto bind = ParseAddress(bind_address); bind && !IsUnspecified(*bind)) {
    out.primary = FamilyOf(*bind);
    (out.primary == Family::kIPv4 ? out.v4 : out.v6) = bind;
  }
  return out;
}

std::vector<std::string> ResolveNodePortAddresses(const std::vector<std::string>& setting, const NodeIps& node) {
  if (setting.size() != 1 || setting[0] != "primary") return setting;
  std::vector<std::string> out;
  if (node.v4 && !IsLoopback(*node.v4)) out.push_back(FormatAddress(*node.v4) + "/32");
  if (node.v6 && !IsLoopback(*node.v6)) out.push_back(FormatAddress(*node.v6) + "/128");
  return out;
}

namespace {

// Those of one family; empty: all of it.
std::vector<Prefix> PrefixesOf(Family family, std::span<const std::string> cidrs) {
  std::vector<Prefix> out;
  for (const std::string& text : cidrs) {
    auto prefix = ParsePrefix(text);
    if (!prefix || (text.find(':') == std::string::npos) != (family == Family::kIPv4)) continue;
    if (prefix->bits == (family == Family::kIPv4 ? 96 : 0)) return {};
    out.push_back(*prefix);
  }
  return out;
}

bool Takes(const std::vector<Prefix>& prefixes, const Address& a) {
  return prefixes.empty() ||
         std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& p) { return p.Contains(a); });
}

}  // namespace

std::map<Address, bool> NodePortAddresses(std::span<const Address> local, std::span<const std::string> cidrs,
                                          bool localhost) {
  std::map<Address, bool> out;
  std::vector<Prefix> v4 = PrefixesOf(Family::kIPv4, cidrs), v6 = PrefixesOf(Family::kIPv6, cidrs);
  for (const Address& a : local) {
    bool four = FamilyOf(a) == Family::kIPv4;
    // The link's addresses of IPv6 are the same on several links.
    if ((!four && IsLinkLocal(a)) || !Takes(four ? v4 : v6, a)) continue;
    if (IsLoopback(a)) {
      if (localhost && four) out[a] = true;
      continue;
    }
    out[a] = false;
  }
  return out;
}

std::vector<std::string> HealthCheckAddresses(Family family, std::span<const Address> local,
                                              std::span<const std::string> cidrs) {
  bool four = family == Family::kIPv4;
  std::vector<Prefix> prefixes = PrefixesOf(family, cidrs);
  if (prefixes.empty()) return {four ? "0.0.0.0" : "[::]"};
  std::vector<std::string> out;
  for (const Address& a : local) {
    if (FamilyOf(a) != family || !Takes(prefixes, a) || (!four && IsLinkLocal(a))) continue;
    out.push_back(four ? FormatAddress(a) : "[" + FormatAddress(a) + "]");
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

namespace {

// Of routes only default ones do: every pod has one of its own.
bool Matters(const char* data, size_t size) {
  auto left = static_cast<unsigned>(size);
  for (auto* m = reinterpret_cast<const nlmsghdr*>(data); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
    if (m->nlmsg_type != RTM_NEWROUTE && m->nlmsg_type != RTM_DELROUTE) return true;
    if (static_cast<const rtmsg*>(NLMSG_DATA(m))->rtm_dst_len == 0) return true;
  }
  return false;
}

}  // namespace

Task<Status> WatchAddresses(asio::any_io_executor executor, std::function<void()> changed) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) co_return ErrnoStatus(errno, "netlink socket");
  asio::posix::stream_descriptor descriptor(executor, fd);
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    co_return ErrnoStatus(errno, "bind netlink socket");
  }
  for (;;) {
    auto [ec] = co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (ec) co_return Outcome(ec, "watch addresses");
    // Pods that start come in bursts of messages.
    CO_RETURN_IF_ERROR(co_await SleepFor(std::chrono::milliseconds(200)));
    alignas(nlmsghdr) char buffer[8192];
    bool matters = false;
    for (;;) {
      // All is read again, whatever the messages say. An overrun (ENOBUFS) may have lost one that matters.
      ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
      if (n > 0) {
        matters = matters || Matters(buffer, static_cast<size_t>(n));
      } else if (n < 0 && errno == ENOBUFS) {
        matters = true;
      } else if (n == 0 || errno != EINTR) {
        break;
      }
    }
    if (matters) changed();
  }
}

}  // namespace skiff::proxy
