// What a pod's cgroup enforces, as status.resources shows it.
#ifndef SKIFF_KUBELET_RESOURCES_POD_CGROUP_LIMITS_H_
#define SKIFF_KUBELET_RESOURCES_POD_CGROUP_LIMITS_H_

#include <cstdint>
#include <optional>

#include "kubelet/pod/types.h"

namespace skiff::kubelet {

// In the units of cgroup v1 (v2's weight is turned back into shares); absent: the file could not be read.
struct PodCgroupLimits {
  std::optional<int64_t> cpu_shares, cpu_quota, cpu_period;
  std::optional<int64_t> memory;  // bytes; "no limit" is the kernel's huge number on v1, and absent on v2
};

// What is in use, and the most that may be; absent as above.
struct PodMemory {
  std::optional<int64_t> limit, usage;
};

// status.resources of a pod that runs: the specification's own pod-level resources, overlaid by what is enforced; what
// is not known stays as `before` (the earlier status) had it. Upstream's rules, with what they leave out.
core::ResourceRequirements RunningPodResources(const Pod& pod, const core::PodStatus& before,
                                               const PodCgroupLimits& limits);

// The milli-CPUs that shares stand for, rounded up; 0 below the least.
int64_t SharesToMilliCpu(int64_t shares);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_POD_CGROUP_LIMITS_H_
