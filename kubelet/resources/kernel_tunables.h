// The kernel settings that a node has to have (vm.overcommit_memory and others), as upstream's container manager sets
// them. protectKernelDefaults: a difference is an error instead. Blocking, small; loop only.
#ifndef SKIFF_KUBELET_RESOURCES_KERNEL_TUNABLES_H_
#define SKIFF_KUBELET_RESOURCES_KERNEL_TUNABLES_H_

#include "base/files.h"
#include "base/status.h"

namespace skiff::kubelet {

// `sys` is /proc/sys. Where `protect`, the error names every setting that differs, in upstream's words. Otherwise they
// are written; a refusal (a confined kubelet) is logged and lived with.
Status SetUpKernelTunables(const Dir& sys, bool protect);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_KERNEL_TUNABLES_H_
