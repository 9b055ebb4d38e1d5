// What the proxy keeps of a Service and of an EndpointSlice: a fraction of the object. Everything that later code needs
// is here, so that informers can drop the rest. Pure, thread-safe.
#ifndef SKIFF_PROXY_DIGEST_H_
#define SKIFF_PROXY_DIGEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/address.h"

namespace k8s::io::api::core::v1 {
class Service;
}
namespace k8s::io::api::discovery::v1 {
class EndpointSlice;
}

namespace skiff::proxy {

// How packets find an endpoint: at random, or by consistent hashing (proxy/maglev.h). The annotation
// "skiff.dev/load-balancing" says which of a service, "random" or "maglev"; the flag --load-balancing of all others.
enum class Balancing : uint8_t { kDefault, kRandom, kMaglev };

struct ServicePortDigest {
  std::string name;
  uint16_t port = 0, node_port = 0;
  uint8_t protocol = 0;
  bool operator==(const ServicePortDigest&) const = default;
};

struct ServiceDigest {
  std::vector<ServicePortDigest> ports;
  std::vector<Address> cluster_ips, external_ips, load_balancer_ips;
  std::vector<Prefix> source_ranges;  // of load balancer addresses; a /0 of a family removes that family's ranges
  uint32_t affinity_seconds = 0;      // ClientIP affinity; 0: none
  uint16_t health_check_node_port = 0;
  bool external_local = false, internal_local = false;
  Balancing balancing = Balancing::kDefault;
  bool operator==(const ServiceDigest&) const = default;
};

// Nothing for services that are not proxied: headless, ExternalName, without a cluster IP, of another proxy. Of ports
// with the same name and protocol the last counts, as upstream has it. `external_ips`: whether spec.externalIPs count
// (feature gate AllowServiceExternalIPs).
std::optional<ServiceDigest> Digest(const k8s::io::api::core::v1::Service& service, bool external_ips = true);

enum EndpointFlags : uint8_t {
  kReady = 1,
  kServing = 2,
  kTerminating = 4,
  kLocal = 8,  // on this node
};

struct EndpointDigest {
  Address address = {};
  uint16_t hints = 0;  // into SliceDigest::hints, one-based; 0: none
  uint8_t flags = 0;
  bool operator==(const EndpointDigest&) const = default;
};

struct HintsDigest {
  std::vector<std::string> zones, nodes;
  bool operator==(const HintsDigest&) const = default;
};

struct SlicePortDigest {
  std::string name;
  uint16_t port = 0;
  uint8_t protocol = 0;
  bool operator==(const SlicePortDigest&) const = default;
};

struct SliceDigest {
  std::string service;  // "namespace/name"
  Family family = Family::kIPv4;
  std::vector<SlicePortDigest> ports;
  std::vector<EndpointDigest> endpoints;
  std::vector<HintsDigest> hints;
  bool operator==(const SliceDigest&) const = default;
};

// Nothing for slices that name no service or hold names instead of addresses. Endpoints that could take the node's or a
// pod's own loopback, or the link's addresses (CVE-2021-25737), and those that do not parse, are left out;
// `refused` counts them.
std::optional<SliceDigest> Digest(const k8s::io::api::discovery::v1::EndpointSlice& slice, std::string_view node_name,
                                  int* refused = nullptr);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_DIGEST_H_
