#include "kubelet/node/node_addresses.h"

#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <map>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/netlink.h"

namespace skiff::kubelet {
namespace {

namespace ip = boost::asio::ip;

std::optional<Ip> ParseIp(const std::string& text) {
  boost::system::error_code bad;
  const Ip out = ip::make_address(text, bad);
  if (bad) return std::nullopt;
  if (out.is_v6() && out.to_v6().is_v4_mapped()) return Ip(ip::make_address_v4(ip::v4_mapped, out.to_v6()));
  return out;
}

bool IsLinkLocal(const Ip& a) {
  return a.is_v6() ? a.to_v6().is_link_local() : (a.to_v4().to_uint() >> 16) == 0xa9fe;  // 169.254.0.0/16
}

bool IsGlobal(const Ip& a) {
  return !a.is_unspecified() && !a.is_loopback() && !a.is_multicast() && !IsLinkLocal(a) &&
         a != Ip(ip::address_v4::broadcast());
}

// Whether others can reach this host by it.
Status Validate(const Ip& a, const Host& host) {
  if (a.is_loopback()) return InvalidArgument("nodeIP can't be loopback address");
  if (a.is_multicast()) return InvalidArgument("nodeIP can't be a multicast address");
  if (IsLinkLocal(a)) return InvalidArgument("nodeIP can't be a link-local unicast address");
  if (a.is_unspecified()) return InvalidArgument("nodeIP can't be an all zeros address");
  for (const Interface& interface : host.interfaces) {
    for (const Ip& own : interface.ips) {
      if (own == a) return absl::OkStatus();
    }
  }
  return InvalidArgument("node IP: \"", a.to_string(), "\" not found in the host's network interfaces");
}

std::optional<Ip> GlobalOf(const Interface& interface, bool v6) {
  if ((interface.flags & IFF_UP) == 0) return std::nullopt;
  for (const Ip& a : interface.ips) {
    if (a.is_v6() == v6 && IsGlobal(a)) return a;
  }
  return std::nullopt;
}

// Of the first default route's interface that has a global address of its own, or else lends the loopback's (routers
// with link-local addresses alone, RFC 5549).
std::optional<Ip> OfDefaultRoute(const Host& host, bool v6) {
  for (const std::string& name : v6 ? host.v6_default : host.v4_default) {
    for (const Interface& interface : host.interfaces) {
      if (interface.name != name) continue;
      if (auto found = GlobalOf(interface, v6)) return found;
    }
    for (const Interface& interface : host.interfaces) {
      if ((interface.flags & IFF_LOOPBACK) == 0) continue;
      if (auto found = GlobalOf(interface, v6)) return found;
    }
  }
  return std::nullopt;
}

StatusOr<Ip> OfHost(const std::string& name, bool prefer_v6, const Host& host) {
  if (auto literal = ParseIp(name)) return *literal;
  std::optional<Ip> other;
  for (const Ip& a : host.look_up(name)) {
    if (!Validate(a, host).ok()) continue;
    if (a.is_v6() == prefer_v6) return a;
    if (!other) other = a;
  }
  if (other) return *other;
  if (host.v4_default.empty() && host.v6_default.empty()) {
    return NotFound("no default routes found in \"/proc/net/route\" or \"/proc/net/ipv6_route\"");
  }
  for (const bool v6 : {prefer_v6, !prefer_v6}) {
    if (auto found = OfDefaultRoute(host, v6)) return *found;
  }
  return NotFound("unable to select an IP from default routes.");
}

std::vector<Ip> LookUp(const std::string& name) {
  std::vector<Ip> out;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;  // each address once
  addrinfo* found = nullptr;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &found) != 0) return out;
  for (const addrinfo* i = found; i != nullptr; i = i->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(i->ai_addr, i->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (auto a = ParseIp(text)) out.push_back(*a);
  }
  freeaddrinfo(found);
  return out;
}

}  // namespace

StatusOr<std::vector<Ip>> ParseNodeIp(const std::string& text, std::vector<std::string>* ignored) {
  std::vector<Ip> out;
  if (text.empty()) return out;
  for (std::string_view part : absl::StrSplit(text, ',')) {
    const std::string trimmed(absl::StripAsciiWhitespace(part));
    if (const auto parsed = ParseIp(trimmed)) {
      out.push_back(*parsed);
    } else if (ignored != nullptr) {
      ignored->push_back(trimmed);
    }
  }
  if (out.size() > 2 || (out.size() == 2 && out[0].is_v6() == out[1].is_v6())) {
    return InvalidArgument("bad --node-ip \"", text, "\": must contain either a single IP or a dual-stack pair of IPs");
  }
  if (out.size() == 2 && (out[0].is_unspecified() || out[1].is_unspecified())) {
    return InvalidArgument("bad --node-ip \"", text, "\": dual-stack node IP cannot include '0.0.0.0' or '::'");
  }
  return out;
}

StatusOr<Host> ReadHost() {
  Host host;
  ASSIGN_OR_RETURN(auto netlink, Netlink::Open());
  ASSIGN_OR_RETURN(const auto links, netlink->Links());
  ASSIGN_OR_RETURN(const auto addresses, netlink->Addresses(0));
  std::map<int, size_t> places;
  for (const auto& link : links) {
    places[link.index] = host.interfaces.size();
    host.interfaces.push_back({link.name, link.flags, {}});
  }
  for (const auto& address : addresses) {
    const auto place = places.find(address.link);
    const auto parsed = ParseIp(address.address);
    if (place != places.end() && parsed) host.interfaces[place->second].ips.push_back(*parsed);
  }
  for (const bool v6 : {false, true}) {
    const auto routes = netlink->Routes(v6 ? AF_INET6 : AF_INET);
    if (!routes.ok() && v6) continue;  // a kernel without
    RETURN_IF_ERROR(routes.status());
    for (const auto& route : *routes) {
      const auto place = places.find(route.link);
      if (place == places.end() || route.destination != (v6 ? "::/0" : "default")) continue;
      if (v6 && route.gateway.empty()) continue;
      (v6 ? host.v6_default : host.v4_default).push_back(host.interfaces[place->second].name);
    }
  }
  host.look_up = LookUp;
  return host;
}

StatusOr<std::vector<std::string>> ChooseNodeIps(const std::vector<Ip>& given, const std::string& name,
                                                 const Host& host) {
  std::vector<std::string> out;
  for (const Ip& a : given) {
    if (a.is_unspecified()) continue;
    RETURN_IF_ERROR(Validate(a, host),
                    out.empty() ? "failed to validate nodeIP" : "failed to validate secondaryNodeIP");
    out.push_back(a.to_string());
  }
  if (!out.empty()) return out;
  ASSIGN_OR_RETURN(const Ip chosen, OfHost(name, !given.empty() && given.front().is_v6(), host),
                   "can't get ip address of node ", name, ". error");
  out.push_back(chosen.to_string());
  return out;
}

StatusOr<std::vector<std::string>> NodeIps(const std::vector<Ip>& given, const std::string& name) {
  ASSIGN_OR_RETURN(const Host host, ReadHost());
  return ChooseNodeIps(given, name, host);
}

std::vector<std::string> HostIps(const core::NodeStatus& status) {
  std::vector<std::string> all;
  for (const std::string_view type : {"InternalIP", "ExternalIP"}) {
    for (const auto& a : status.addresses()) {
      if (a.type() == type) all.push_back(a.address());
    }
  }
  if (all.empty()) return all;
  const auto first = ParseIp(all.front());
  return SortPodIps(all, first && first->is_v6());
}

void ServingNames(const core::NodeStatus& status, CertificateRequest* request) {
  std::set<std::string> names, ips;  // each once, in order
  for (const auto& a : status.addresses()) {
    const auto ip = ParseIp(a.address());
    if (a.type() == "InternalDNS" || a.type() == "ExternalDNS" || (a.type() == "Hostname" && !ip)) {
      names.insert(a.address());
    } else if (ip) {
      ips.insert(ip->to_string());
    }
  }
  request->dns_names.assign(names.begin(), names.end());
  request->ip_addresses.assign(ips.begin(), ips.end());
}

std::vector<std::string> SortPodIps(const std::vector<std::string>& ips, bool prefer_v6) {
  std::vector<std::string> out;
  for (const bool v6 : {prefer_v6, !prefer_v6}) {
    for (const std::string& text : ips) {
      const auto parsed = ParseIp(text);
      if (!parsed || parsed->is_v6() != v6) continue;
      out.push_back(parsed->to_string());
      break;
    }
  }
  return out;
}

}  // namespace skiff::kubelet
