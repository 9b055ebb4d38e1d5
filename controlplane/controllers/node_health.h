// What a node's conditions mean for its taints: pure, as upstream's node lifecycle and taint eviction controllers have
// it.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_NODE_HEALTH_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_NODE_HEALTH_H_

#include <optional>
#include <string>
#include <vector>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

const core::NodeCondition* FindNodeCondition(const core::Node& node, std::string_view type);

// The taints the node should have: those of others as they are, NoSchedule by condition and spec.unschedulable, and, if
// `evict`, NoExecute for a node that is not ready or unreachable. Taints that stay keep their time.
std::vector<core::Taint> WantedTaints(const core::Node& node, bool evict, WallTime now);
bool SameTaints(const core::Node& node, const std::vector<core::Taint>& taints);

// When a pod must leave because of the NoExecute taints of its node: nothing for never, else the moment. What it
// tolerates for a time counts from the taint's timeAdded, or from `seen` where a taint has none: only our own taints
// are sure to have one.
std::optional<WallTime> EvictionTime(const core::Pod& pod, const core::Node& node, WallTime now, WallTime seen);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_NODE_HEALTH_H_
