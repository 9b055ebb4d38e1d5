// A pod's resource figures as upstream reckons them: requests, limits, cgroup values and OOM scores. Pure; any thread.
#ifndef SKIFF_KUBELET_RESOURCES_POD_RESOURCES_H_
#define SKIFF_KUBELET_RESOURCES_POD_RESOURCES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "api/quantity.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

using ResourceList = google::protobuf::Map<std::string, api::Quantity::Proto>;

// Sum over the main containers and sidecars, at least what each init container needs in its turn, plus overhead;
// pod-level resources take the place of cpu, memory and huge pages.
ResourceList PodRequests(const Pod& pod);
ResourceList PodLimits(const Pod& pod);
// status.resources of a pod.
core::ResourceRequirements PodLevelResources(const Pod& pod);
api::Quantity Get(const ResourceList& list, std::string_view name);

inline constexpr int64_t kMinShares = 2, kMaxShares = 262144, kMinQuota = 1000;
int64_t MilliCpuToShares(int64_t milli);                        // 1000m is 1024
int64_t MilliCpuToQuota(int64_t milli, int64_t period_micros);  // microseconds a period; 0: none
// The kernel's cpu.weight (v2) for v1 shares, as the kubelet converts them for pods and classes. (Runtimes have
// formulas of their own for containers.)
int64_t SharesToWeight(int64_t shares);

// Limits of huge pages in bytes by the kernel's name of their size ("2MB").
using HugePageLimits = std::map<std::string, int64_t>;
inline constexpr int64_t kHugePagesUnlimited = int64_t{1} << 62;
HugePageLimits HugePagesOf(const ResourceList& list);
// "2Mi" -> "2MB".
std::string KernelPageSize(std::string_view quantity);

// What a cgroup gets; an unset value is left as it is.
struct CgroupResources {
  std::optional<int64_t> cpu_shares, cpu_quota, cpu_period, memory_limit, pids_limit;
  std::optional<HugePageLimits> huge_pages;  // sizes that are not named get none
};
CgroupResources PodCgroupResources(const Pod& pod, bool cfs_quota, int64_t period_micros, int64_t pids_limit);

// The runtime's OOM score for a container's processes. `memory_capacity` in bytes.
int OomScoreAdjust(const Pod& pod, const core::Container& container, int64_t memory_capacity);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_POD_RESOURCES_H_
