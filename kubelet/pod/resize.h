// In-place resizes, the pure part: what to change in running containers, in which order, and what is said about it.
// Upstream: kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources.
#ifndef SKIFF_KUBELET_POD_RESIZE_H_
#define SKIFF_KUBELET_POD_RESIZE_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kubelet/pod/actions.h"
#include "kubelet/pod/types.h"
#include "kubelet/runtime/pod_state.h"

namespace skiff::kubelet {

struct ContainerResize {
  std::string id;
  const core::Container* to = nullptr;    // in the allocated pod
  const core::Container* from = nullptr;  // in the actuated pod
  // In bytes, 0 for none; the pod's where it has none of its own.
  int64_t memory_limit = 0, memory_limit_before = 0;
};

struct ResizePlan {
  std::vector<ContainerResize> memory, cpu;  // to update in place; decreases before increases
  bool pod = false;                          // the pod's own cgroup changes
  bool empty() const { return memory.empty() && cpu.empty() && !pod; }
};

// What counts for a container: its own resources, and the pod's limits of cpu and memory where it has none.
core::ResourceRequirements WithPodLimits(const Pod& pod, const core::Container& c);

// The difference between what was granted and what the running containers have. Those whose resizePolicy asks for a
// restart go into `actions` (to kill, and to start again). Pointers are into the two pods.
ResizePlan PlanResize(const Pod& allocated, const Pod& actuated, const PodState& state, PodActions* actions);
bool ResizeInProgress(const Pod& allocated, const Pod& actuated, const PodState& state);

// What both pods need at the most: the pod's cgroup gets this before containers grow, and the final values after they
// have shrunk.
Pod LargerOf(const Pod& allocated, const Pod& actuated);

// What a pod whose resize is under way takes from others: of running containers the larger size, of the rest what they
// were granted.
Pod HeldBy(const Pod& allocated, const Pod& actuated, const PodState& state);

// What the pod's cgroup must hold before a container starts that was granted another size while it did not run;
// nullopt: it has the one before. Containers that do not run count with what they were granted.
std::optional<Pod> RoomToStart(const Pod& allocated, const Pod& actuated, const PodState& state,
                               const std::string& container);

// Memory requests of a container that may swap would change in place: its part of the swap cannot.
bool ResizesSwap(const Pod& wanted, const Pod& allocated,
                 const std::function<bool(const Pod&, const core::Container&)>& swaps);

// Whether cpu or memory requests grow.
bool IncreasesRequests(const Pod& allocated, const Pod& wanted);

// `Pod resize started: {"containers":[..],"generation":2}`; `error` may be "".
std::string ResizeMessage(std::string_view prefix, const Pod& pod, int64_t generation, std::string_view error = "");

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_RESIZE_H_
