// The parts of a container's security context that need more than copying: profiles and paths. Pure; any thread.
#ifndef SKIFF_KUBELET_RUNTIME_SECURITY_H_
#define SKIFF_KUBELET_RUNTIME_SECURITY_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "kubelet/pod/types.h"
#include "runtime/v1/api.pb.h"

namespace skiff::kubelet {

// Paths of /proc and /sys that containers do not see, or only read.
const std::vector<std::string>& MaskedPaths();
const std::vector<std::string>& ReadonlyPaths();

// A sysctl's name with dots between its parts; written with slashes, a dot is part of a name (an interface), and then
// becomes a slash.
std::string SysctlWithDots(std::string name);

// From the container's field, else the pod's, else the annotation
// container.apparmor.security.beta.kubernetes.io/CONTAINER.
Status SetAppArmor(const Pod& pod, const core::Container& container, ::runtime::v1::LinuxContainerSecurityContext* out);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_SECURITY_H_
