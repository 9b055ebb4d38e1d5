// The kubelet as a whole: makes the parts, joins them, and runs until cancelled. One loop.
#ifndef SKIFF_KUBELET_KUBELET_H_
#define SKIFF_KUBELET_KUBELET_H_

#include "base/async.h"
#include "kubelet/config.h"

namespace skiff::kubelet {

// Runs the kubelet until the caller is cancelled. What runs on the node goes on running after it.
Task<Status> RunKubelet(Config config);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_KUBELET_H_
