// The node's own addresses, for NodePorts.
#ifndef SKIFF_PROXY_NODE_ADDRESSES_H_
#define SKIFF_PROXY_NODE_ADDRESSES_H_

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/async.h"
#include "proxy/address.h"

namespace skiff::proxy {

// Of all interfaces of the calling thread's network namespace.
StatusOr<std::vector<Address>> LocalAddresses();

// Which of `local` answer NodePorts (true: only for the node's own sockets). `cidrs` is the setting nodePortAddresses:
// empty: all; "primary": those of the Node object (`primary`); else what lies in one of the CIDRs. 127.0.0.0/8 answers
// where `localhost` allows, on 127.0.0.1, and only sockets of the node itself: no packet from outside can come in that
// way, so route_localnet is not needed.
std::map<Address, bool> NodePortAddresses(std::span<const Address> local, std::span<const std::string> cidrs,
                                          std::span<const Address> primary, bool localhost);

// Calls `changed` when an address or a device comes or goes (at most every 200 ms), until cancelled or until the
// kernel's messages cannot be read, which is returned.
Task<Status> WatchAddresses(asio::any_io_executor executor, std::function<void()> changed);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_NODE_ADDRESSES_H_
