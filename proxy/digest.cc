#include "proxy/digest.h"

#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"

namespace skiff::proxy {

namespace {

constexpr char kServiceNameLabel[] = "kubernetes.io/service-name";
constexpr char kServiceProxyNameLabel[] = "service.kubernetes.io/service-proxy-name";
constexpr char kBalancingAnnotation[] = "skiff.dev/load-balancing";
constexpr uint32_t kDefaultAffinitySeconds = 10800;

bool ValidPort(int32_t port) { return port > 0 && port <= 65535; }

std::vector<Address> ParseAll(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  std::vector<Address> out;
  for (const std::string& text : texts) {
    if (auto a = ParseAddress(text)) out.push_back(*a);
  }
  return out;
}

}  // namespace

std::optional<ServiceDigest> Digest(const k8s::io::api::core::v1::Service& service, bool external_ips) {
  const auto& spec = service.spec();
  if (service.metadata().labels().contains(kServiceProxyNameLabel)) return std::nullopt;
  if (spec.clusterip().empty() || spec.clusterip() == "None" || spec.type() == "ExternalName") return std::nullopt;

  ServiceDigest out;
  out.cluster_ips = ParseAll(spec.clusterips());
  // Servers before dual stack, and hand-made objects, have the one field only.
  if (spec.clusterips().empty()) {
    if (auto a = ParseAddress(spec.clusterip())) out.cluster_ips.push_back(*a);
  }
  if (out.cluster_ips.empty()) return std::nullopt;
  if (external_ips) out.external_ips = ParseAll(spec.externalips());
  for (const auto& ingress : service.status().loadbalancer().ingress()) {
    // Mode Proxy: the load balancer sends to the node, nothing is addressed to its own IP.
    if (ingress.ip().empty() || (ingress.has_ipmode() && ingress.ipmode() != "VIP")) continue;
    if (auto a = ParseAddress(ingress.ip())) out.load_balancer_ips.push_back(*a);
  }
  bool any[2] = {false, false};
  for (const std::string& range : spec.loadbalancersourceranges()) {
    std::string_view text = absl::StripAsciiWhitespace(range);
    auto prefix = ParsePrefix(text);
    if (!prefix) continue;
    bool v4 = text.find(':') == std::string_view::npos;
    if (prefix->bits == (v4 ? 96 : 0)) any[v4 ? 0 : 1] = true;
    out.source_ranges.push_back(*prefix);
  }
  std::erase_if(out.source_ranges, [&](const Prefix& p) { return any[FamilyOf(p.base) == Family::kIPv4 ? 0 : 1]; });
  if (spec.sessionaffinity() == "ClientIP") {
    out.affinity_seconds = spec.sessionaffinityconfig().clientip().has_timeoutseconds()
                               ? static_cast<uint32_t>(spec.sessionaffinityconfig().clientip().timeoutseconds())
                               : kDefaultAffinitySeconds;
  }
  const auto& annotations = service.metadata().annotations();
  if (auto at = annotations.find(kBalancingAnnotation); at != annotations.end()) {
    if (at->second == "maglev") out.balancing = Balancing::kMaglev;
    if (at->second == "random") out.balancing = Balancing::kRandom;
  }
  bool external_type = spec.type() == "NodePort" || spec.type() == "LoadBalancer" || !spec.externalips().empty();
  out.external_local = external_type && spec.externaltrafficpolicy() == "Local";
  out.internal_local = spec.internaltrafficpolicy() == "Local";
  if (spec.type() == "LoadBalancer" && spec.externaltrafficpolicy() == "Local" &&
      ValidPort(spec.healthchecknodeport())) {
    out.health_check_node_port = static_cast<uint16_t>(spec.healthchecknodeport());
  }
  for (const auto& port : spec.ports()) {
    uint8_t protocol = ProtocolNumber(port.protocol().empty() ? "TCP" : std::string_view(port.protocol()));
    if (protocol == 0 || !ValidPort(port.port())) continue;
    std::erase_if(out.ports, [&](const auto& p) { return p.name == port.name() && p.protocol == protocol; });
    out.ports.push_back({.name = port.name(),
                         .port = static_cast<uint16_t>(port.port()),
                         .node_port = ValidPort(port.nodeport()) ? static_cast<uint16_t>(port.nodeport()) : uint16_t{0},
                         .protocol = protocol});
  }
  return out;
}

std::optional<SliceDigest> Digest(const k8s::io::api::discovery::v1::EndpointSlice& slice, std::string_view node_name,
                                  int* refused) {
  const auto& labels = slice.metadata().labels();
  auto label = labels.find(kServiceNameLabel);
  if (label == labels.end() || label->second.empty() || slice.metadata().namespace_().empty()) return std::nullopt;
  if (slice.addresstype() != "IPv4" && slice.addresstype() != "IPv6") return std::nullopt;

  SliceDigest out;
  out.service = absl::StrCat(slice.metadata().namespace_(), "/", label->second);
  out.family = slice.addresstype() == "IPv4" ? Family::kIPv4 : Family::kIPv6;
  for (const auto& port : slice.ports()) {
    uint8_t protocol = ProtocolNumber(port.protocol().empty() ? "TCP" : std::string_view(port.protocol()));
    if (protocol == 0 || !ValidPort(port.port())) continue;
    out.ports.push_back({.name = port.name(), .port = static_cast<uint16_t>(port.port()), .protocol = protocol});
  }
  out.endpoints.reserve(static_cast<size_t>(slice.endpoints_size()));
  for (const auto& endpoint : slice.endpoints()) {
    auto address = endpoint.addresses_size() > 0 ? ParseAddress(endpoint.addresses(0)) : std::nullopt;
    if (!address || FamilyOf(*address) != out.family || IsLoopback(*address) || IsLinkLocal(*address) ||
        IsUnspecified(*address)) {
      if (refused != nullptr) ++*refused;
      continue;
    }
    EndpointDigest e{.address = *address};
    const auto& c = endpoint.conditions();
    if (!c.has_ready() || c.ready()) e.flags |= kReady;
    if (!c.has_serving() || c.serving()) e.flags |= kServing;
    if (c.terminating()) e.flags |= kTerminating;
    if (!node_name.empty() && endpoint.nodename() == node_name) e.flags |= kLocal;
    if (endpoint.hints().forzones_size() > 0 || endpoint.hints().fornodes_size() > 0) {
      HintsDigest hints;
      for (const auto& zone : endpoint.hints().forzones()) hints.zones.push_back(zone.name());
      for (const auto& node : endpoint.hints().fornodes()) hints.nodes.push_back(node.name());
      auto at = std::find(out.hints.begin(), out.hints.end(), hints);
      e.hints = static_cast<uint16_t>(at - out.hints.begin() + 1);
      if (at == out.hints.end()) out.hints.push_back(std::move(hints));
    }
    out.endpoints.push_back(e);
  }
  return out;
}

}  // namespace skiff::proxy
