// The node's own addresses, for NodePorts.
#ifndef SKIFF_PROXY_NODE_ADDRESSES_H_
#define SKIFF_PROXY_NODE_ADDRESSES_H_

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/async.h"
#include "proxy/address.h"

namespace skiff::proxy {

// Of all interfaces of the calling thread's network namespace.
StatusOr<std::vector<Address>> LocalAddresses();

// The node's own addresses as its Node object has them, at most one a family: the first, and the first of the other
// family (upstream's GetNodeHostIPs: internal ones before external ones). `bind_address`, where it is a real address,
// stands in the place of its family's.
struct NodeIps {
  std::optional<Address> v4, v6;
  Family primary = Family::kIPv4;
  bool operator==(const NodeIps&) const = default;
};
NodeIps DetectNodeIps(std::span<const Address> internal, std::span<const Address> external,
                      const std::string& bind_address);

// Setting nodePortAddresses with "primary" replaced: "10.0.0.1/32", "fd00::1/128". Loopback addresses are left out.
std::vector<std::string> ResolveNodePortAddresses(const std::vector<std::string>& setting, const NodeIps& node);

// Which of `local` answer NodePorts (true: only for the node's own sockets). `cidrs`: those of a family say which of
// its addresses; a family without any takes all of its own, as upstream has it. 127.0.0.0/8 answers where `localhost`
// and the CIDRs allow, and only sockets of the node itself: no packet from outside can come in that way, so
// route_localnet is not needed.
std::map<Address, bool> NodePortAddresses(std::span<const Address> local, std::span<const std::string> cidrs,
                                          bool localhost);

// Where health check node ports listen: the wildcard of the family, or, with CIDRs that do not take all, those
// addresses, as "10.0.0.1" or "[fd00::1]".
std::vector<std::string> HealthCheckAddresses(Family family, std::span<const Address> local,
                                              std::span<const std::string> cidrs);

// Calls `changed` when an address or a device comes or goes (at most every 200 ms), until cancelled or until the
// kernel's messages cannot be read, which is returned.
Task<Status> WatchAddresses(asio::any_io_executor executor, std::function<void()> changed);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_NODE_ADDRESSES_H_
