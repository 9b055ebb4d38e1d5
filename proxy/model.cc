#include "proxy/model.h"

#include <algorithm>

namespace skiff::proxy {

namespace {

struct Candidate {
  ModelEndpoint endpoint;
  uint8_t flags = 0;
  const HintsDigest* hints = nullptr;

  bool ready() const { return flags & kReady; }
  bool local() const { return flags & kLocal; }
  bool draining() const { return (flags & kServing) && (flags & kTerminating); }
};

bool Has(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::vector<Candidate> Candidates(const ServicePortDigest& port, Family family,
                                  std::span<const SliceDigest* const> slices) {
  std::vector<Candidate> out;
  for (const SliceDigest* slice : slices) {
    if (slice->family != family) continue;
    for (const SlicePortDigest& p : slice->ports) {
      if (p.name != port.name || p.protocol != port.protocol) continue;
      for (const EndpointDigest& e : slice->endpoints) {
        out.push_back({.endpoint = {.address = e.address, .port = p.port},
                       .flags = e.flags,
                       .hints = e.hints == 0 ? nullptr : &slice->hints[e.hints - 1u]});
      }
    }
  }
  // An address that is seen twice (moved between slices, or given to a new pod while the old one terminates) counts
  // once: as the one that does not terminate.
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    if (!(a.endpoint.address == b.endpoint.address)) return a.endpoint.address < b.endpoint.address;
    if (a.endpoint.port != b.endpoint.port) return a.endpoint.port < b.endpoint.port;
    return (a.flags & kTerminating) < (b.flags & kTerminating);
  });
  out.erase(std::unique(out.begin(), out.end(),
                        [](const Candidate& a, const Candidate& b) {
                          return a.endpoint.address == b.endpoint.address && a.endpoint.port == b.endpoint.port;
                        }),
            out.end());
  return out;
}

enum class Topology { kNone, kZone, kNode };

// Hints narrow only where every ready endpoint has them and one of them is for us: those for nodes first, then those
// for zones (upstream's topology.go).
Topology TopologyOf(const std::vector<Candidate>& candidates, const NodeInfo& node, ModelPort* port) {
  bool any = false, any_hint = false, all_node = true, for_node = false, all_zone = true, for_zone = false;
  for (const Candidate& c : candidates) {
    if (!c.ready()) continue;
    any = true;
    any_hint |= c.hints != nullptr;
    if (c.hints == nullptr || c.hints->nodes.empty())
      all_node = false;
    else if (Has(c.hints->nodes, node.name))
      for_node = true;
    if (c.hints == nullptr || c.hints->zones.empty())
      all_zone = false;
    else if (Has(c.hints->zones, node.zone))
      for_zone = true;
  }
  if (!any) return Topology::kNone;
  if (all_node && for_node) return Topology::kNode;
  port->node_hints_for_others = all_node;
  if (all_zone && for_zone) return Topology::kZone;
  if (all_zone)
    port->ignored_zone_hints = node.zone.empty() ? IgnoredHints::kNoZone : IgnoredHints::kNoneForZone;
  else if (any_hint)
    port->ignored_zone_hints = IgnoredHints::kMissing;
  return Topology::kNone;
}

bool Matches(const Candidate& c, Topology topology, const NodeInfo& node) {
  switch (topology) {
    case Topology::kNone: return true;
    case Topology::kNode: return c.hints != nullptr && Has(c.hints->nodes, node.name);
    case Topology::kZone: return c.hints != nullptr && Has(c.hints->zones, node.zone);
  }
  return true;
}

void Categorize(std::vector<Candidate>& candidates, const NodeInfo& node, ModelPort* port) {
  Topology topology = TopologyOf(candidates, node, port);
  bool cluster = false, local = false;
  for (Candidate& c : candidates) {
    // The flows that an endpoint has are kept while it serves, whether or not it takes new ones.
    if (c.flags & kServing) c.endpoint.state |= SKIFF_BACKEND_SERVING;
    if (c.local()) c.endpoint.state |= SKIFF_BACKEND_HERE;
    if (!c.ready()) continue;
    c.endpoint.state |= SKIFF_BACKEND_SERVING;
    if (Matches(c, topology, node)) {
      c.endpoint.state |= SKIFF_BACKEND_CLUSTER;
      cluster = true;
    }
    if (c.local()) {
      c.endpoint.state |= SKIFF_BACKEND_LOCAL;
      local = true;
    }
  }
  for (Candidate& c : candidates) {
    if (!c.draining()) continue;
    if (!cluster) c.endpoint.state |= SKIFF_BACKEND_CLUSTER;
    if (!local && c.local()) c.endpoint.state |= SKIFF_BACKEND_LOCAL;
  }
}

}  // namespace

ServiceModel Build(const ServiceDigest& service, std::span<const SliceDigest* const> slices, const NodeInfo& node) {
  ServiceModel out;
  for (const Address& ip : service.cluster_ips) out.addresses.push_back(AddressKey(ip));
  out.health_check_node_port = service.health_check_node_port;
  if (out.health_check_node_port != 0) {
    std::vector<Address> local;
    for (const SliceDigest* slice : slices) {
      // A slice without ports has no endpoint for anybody.
      if (slice->ports.empty()) continue;
      for (const EndpointDigest& e : slice->endpoints) {
        if ((e.flags & kReady) && (e.flags & kLocal)) local.push_back(e.address);
      }
    }
    std::sort(local.begin(), local.end());
    local.erase(std::unique(local.begin(), local.end()), local.end());
    for (const Address& a : local) out.local_ready_endpoints[static_cast<size_t>(FamilyOf(a))]++;
  }

  for (Family family : {Family::kIPv4, Family::kIPv6}) {
    auto ours = [&](const Address& a) { return FamilyOf(a) == family; };
    if (std::none_of(service.cluster_ips.begin(), service.cluster_ips.end(), ours)) continue;
    std::vector<Prefix> ranges;
    for (const Prefix& range : service.source_ranges) {
      if (ours(range.base)) ranges.push_back(range);
    }
    std::sort(ranges.begin(), ranges.end());
    ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
    for (const ServicePortDigest& port : service.ports) {
      ModelPort p{.name = port.name,
                  .protocol = port.protocol,
                  .family = family,
                  .affinity_seconds = service.affinity_seconds,
                  .balancing = service.balancing};
      auto candidates = Candidates(port, family, slices);
      Categorize(candidates, node, &p);
      bool any = false, local = false;
      for (const Candidate& c : candidates) {
        if ((c.endpoint.state & ~SKIFF_BACKEND_HERE) == 0) continue;
        p.endpoints.push_back(c.endpoint);
        any |= (c.endpoint.state & SKIFF_BACKEND_CLUSTER) != 0;
        local |= (c.endpoint.state & SKIFF_BACKEND_LOCAL) != 0;
      }
      uint32_t internal =
          service.internal_local ? SKIFF_FRONTEND_INSIDE_LOCAL | SKIFF_FRONTEND_OUTSIDE_LOCAL : uint32_t{0};
      // Clients on nodes and in pods reach every endpoint through an external address too: the policy Local is about
      // traffic that comes from outside.
      uint32_t external = service.external_local ? uint32_t{SKIFF_FRONTEND_OUTSIDE_LOCAL} : uint32_t{0};
      auto add = [&](const FrontendKey& key, uint32_t flags) {
        for (const ModelFrontend& f : p.frontends) {
          if (f.key == key) return;  // an address may be listed twice, as external and load balancer's
        }
        p.frontends.push_back({key, flags});
      };
      for (const Address& ip : service.cluster_ips) {
        if (ours(ip)) add(MakeKey(ip, port.port, port.protocol), internal);
      }
      size_t internal_count = p.frontends.size();
      for (const Address& ip : service.external_ips) {
        if (ours(ip)) add(MakeKey(ip, port.port, port.protocol), external);
      }
      for (const Address& ip : service.load_balancer_ips) {
        // A socket's source address is not known when it connects, so source ranges are for packets to obey: the
        // connection goes to the load balancer.
        uint32_t checked = ranges.empty() ? 0u : SKIFF_FRONTEND_PASS | SKIFF_FRONTEND_RANGES;
        if (!ours(ip)) continue;
        add(MakeKey(ip, port.port, port.protocol), external | checked);
        if (checked != 0) p.source_ranges = ranges;
      }
      if (port.node_port != 0) add(NodePortKey(family, port.node_port, port.protocol), external);
      // Upstream does not answer: a load balancer has not noticed yet, and the client tries again.
      p.no_local_internal = service.internal_local && any && !local;
      p.no_local_external = service.external_local && any && !local && p.frontends.size() > internal_count;
      for (size_t i = 0; i < p.frontends.size(); i++) {
        if (i < internal_count && p.no_local_internal)
          p.frontends[i].flags |= SKIFF_FRONTEND_INSIDE_DROP | SKIFF_FRONTEND_OUTSIDE_DROP;
        if (i >= internal_count && p.no_local_external) p.frontends[i].flags |= SKIFF_FRONTEND_OUTSIDE_DROP;
      }
      out.external |= p.frontends.size() > internal_count;
      out.ports.push_back(std::move(p));
    }
  }
  return out;
}

}  // namespace skiff::proxy
