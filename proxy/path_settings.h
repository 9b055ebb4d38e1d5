// What the kernel programs go by beside services: when to masquerade, which sources are pods (upstream's
// detectLocalMode), how answers come back. Pure.
#ifndef SKIFF_PROXY_PATH_SETTINGS_H_
#define SKIFF_PROXY_PATH_SETTINGS_H_

#include <span>
#include <string>

#include "proxy/address.h"
#include "proxy/config.h"

namespace skiff::proxy {

// Own flags of the data path.
struct PathOptions {
  // Packets of pods whose sockets are out of reach of the hooks are translated at their devices.
  bool pod_packets = true;
  // Nodes with the endpoint answer clients outside themselves.
  bool direct_return = false;
  // Forwarding at the drivers of devices for the outside (PacketPath::Load).
  bool xdp = false;
};

// `node`: the addresses of the Node object, the first of each family counts; `pod_cidrs`: its spec.podCIDRs, for the
// mode NodeCIDR; `service_cidrs`: of all ServiceCIDR objects, of which SKIFF_MAX_SERVICE_CIDRS count. host_netns_cookie
// is left alone.
skiff_settings PathSettings(const Config& config, const PathOptions& options, std::span<const Address> node,
                            std::span<const std::string> pod_cidrs, std::span<const Prefix> service_cidrs = {});

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PATH_SETTINGS_H_
