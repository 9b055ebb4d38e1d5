// Which pod goes first when something is short, and what is said of it. Pure; any thread. Words are upstream's.
#ifndef SKIFF_KUBELET_EVICTION_RANKING_H_
#define SKIFF_KUBELET_EVICTION_RANKING_H_

#include <string>
#include <vector>

#include "kubelet/eviction/thresholds.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

// Sorts the pods, first victim first: those that take more than they asked for, then by priority, then by how much
// more. Pods without figures come before all others.
void RankForEviction(EvictionSignal signal, const NodeUse& use, std::vector<PodPtr>* pods);

struct EvictionReport {
  std::string message;
  // Annotations of the event: starved_resource, offending_containers, offending_containers_usage, offending_pod, ..
  std::map<std::string, std::string> annotations;
};
EvictionReport DescribeEviction(std::string_view resource, const Pod& pod, const NodeUse& use,
                                const std::vector<EvictionThreshold>& thresholds,
                                const EvictionObservations& observations);

// A limit on local storage that the pod exceeds: the message and what counts it ("emptydirfs.limit",
// "ephemeralpodfs.limit", "ephemeralcontainerfs.limit").
struct LocalStorageExcess {
  std::string message;
  std::string_view signal;
};
std::optional<LocalStorageExcess> FindLocalStorageExcess(const Pod& pod, const PodUse& use, bool dedicated_image_fs);
// Whether the pod has any such limit.
bool HasLocalStorageLimits(const Pod& pod);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_EVICTION_RANKING_H_
