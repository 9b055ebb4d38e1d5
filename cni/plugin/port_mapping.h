// A host port: what the runtime passes for a pod's `hostPort`, under the capability `portMappings`. The conventions are
// those of the CNI project's portmap plugin. Plain values.
#ifndef SKIFF_CNI_PLUGIN_PORT_MAPPING_H_
#define SKIFF_CNI_PLUGIN_PORT_MAPPING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "cni/plugin/ip.h"

namespace skiff::cni {

struct PortMapping {
  uint8_t protocol = 6;       // IPPROTO_TCP, _UDP or _SCTP
  std::optional<Ip> host_ip;  // none: any address of the node, of either family; 0.0.0.0 and ::, any of that family
  uint16_t host_port = 0, container_port = 0;

  // Whether the node's addresses that it names are of the family of this address of the pod.
  bool Concerns(const Ip& pod) const { return !host_ip || host_ip->v6 == pod.v6; }
  bool OnAnyAddress() const { return !host_ip || *host_ip == Ip{host_ip->v6, {}}; }
  // Whether 127.0.0.1 of the node is among its addresses.
  bool OnLoopback4() const;

  // As a line of a state file: "tcp * 8080 80", "udp 10.0.0.7 53 5353".
  std::string ToString() const;
  static StatusOr<PortMapping> Parse(std::string_view line);
  auto operator<=>(const PortMapping&) const = default;
};

// "tcp", "udp" or "sctp", in any case; 0 for anything else.
uint8_t ProtocolNumber(std::string_view name);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_PORT_MAPPING_H_
