// Flows that conntrack remembers and that must be looked at afresh. Blocking.
#ifndef SKIFF_CNI_PLUGIN_STALE_FLOWS_H_
#define SKIFF_CNI_PLUGIN_STALE_FLOWS_H_

#include <cstdint>
#include <set>

#include "base/status.h"

namespace skiff::cni {

// Forgets UDP flows to these ports of the node's own addresses. A kernel without conntrack's netlink has none to
// forget.
Status ForgetUdpFlows(const std::set<uint16_t>& ports);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_STALE_FLOWS_H_
