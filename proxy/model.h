// The desired data path of one service, as a pure function of the Service, its EndpointSlices and the node. Which
// endpoints count follows upstream's rules: ready ones, narrowed by topology hints; when there is none at all, those
// that terminate but still serve; for the traffic policy Local the same among the node's own. Thread-safe.
#ifndef SKIFF_PROXY_MODEL_H_
#define SKIFF_PROXY_MODEL_H_

#include <span>
#include <string>
#include <vector>

#include "proxy/digest.h"

namespace skiff::proxy {

struct NodeInfo {
  std::string name, zone;  // zone: label topology.kubernetes.io/zone
  bool operator==(const NodeInfo&) const = default;
};

// Why hints did not narrow the endpoints of a port, though there were ready ones; for the log.
enum class IgnoredHints : uint8_t {
  kNone,         // used, or nothing to use
  kMissing,      // one or more endpoints have none
  kNoZone,       // the node has no zone
  kNoneForZone,  // none is for the node's zone
};

struct ModelEndpoint {
  Address address = {};
  uint16_t port = 0;  // host order
  uint8_t state = 0;  // skiff_backend_state
  bool operator==(const ModelEndpoint&) const = default;
};

struct ModelFrontend {
  FrontendKey key = {};
  uint32_t flags = 0;  // skiff_frontend_flags
  bool operator==(const ModelFrontend&) const = default;
};

// One port of a service in one family. Each frontend has a set of endpoints for clients inside and one for traffic from
// outside: those with SKIFF_BACKEND_CLUSTER in their state, or with SKIFF_BACKEND_LOCAL where its flags say so.
struct ModelPort {
  std::string name;
  uint8_t protocol = 0;
  Family family = Family::kIPv4;
  uint32_t affinity_seconds = 0;
  Balancing balancing = Balancing::kDefault;
  std::vector<ModelEndpoint> endpoints;  // sorted, unique by address and port
  std::vector<ModelFrontend> frontends;
  std::vector<Prefix> source_ranges;  // for frontends with SKIFF_FRONTEND_RANGES; sorted, unique
  // There are endpoints, but none here, and the policy is Local.
  bool no_local_internal = false, no_local_external = false;
  IgnoredHints ignored_zone_hints = IgnoredHints::kNone;
  bool node_hints_for_others = false;  // every endpoint has node hints, none is for this node
};

struct ServiceModel {
  std::vector<ModelPort> ports;
  std::vector<FrontendKey> addresses;  // the service's own: their other ports refuse
  uint16_t health_check_node_port = 0;
  int local_ready_endpoints[2] = {0, 0};  // addresses on this node, by family; with a health check node port
  bool external = false;                  // some frontend is meant for traffic from outside
};

ServiceModel Build(const ServiceDigest& service, std::span<const SliceDigest* const> slices, const NodeInfo& node);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_MODEL_H_
