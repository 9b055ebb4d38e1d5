// What the kubelet asks of the kernel for itself.
#ifndef SKIFF_KUBELET_OWN_LIMITS_H_
#define SKIFF_KUBELET_OWN_LIMITS_H_

#include <cstdint>

#include "base/status.h"

namespace skiff::kubelet {

// Makes `most` the soft and hard limit of open files of this process and of the children that it starts from now on,
// as upstream does. Where that is refused (a container without CAP_SYS_RESOURCE), the soft limit becomes the hard one,
// as Go's programs begin, and the refusal is returned.
Status SetMostOpenFiles(uint64_t most);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_OWN_LIMITS_H_
