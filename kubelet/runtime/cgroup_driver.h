// Which driver makes cgroups: both the kubelet and the runtime must use the same, and the runtime knows. Loop only.
// Upstream: gate KubeletCgroupDriverFromCRI (in all clusters since 1.34).
#ifndef SKIFF_KUBELET_RUNTIME_CGROUP_DRIVER_H_
#define SKIFF_KUBELET_RUNTIME_CGROUP_DRIVER_H_

#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "cri/runtime.h"

namespace skiff::kubelet {

// "systemd" or "cgroupfs" as the runtime says (RuntimeConfig); `configured` where it does not (kUnimplemented: an older
// runtime, which kubelet_cri_losing_support then tells; or an answer without it). Asked every two seconds until it
// answers (upstream's kubelet ends after three errors); kInvalidArgument for a driver that nobody knows.
Task<StatusOr<std::string>> CgroupDriver(cri::Runtime& runtime, Clock& clock, std::string configured,
                                         metrics::Registry& registry);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_CGROUP_DRIVER_H_
