// Whether a pod may run on this node at all: what the kubelet checks itself, after (or instead of) the scheduler. Pure.
// Reasons and messages are upstream's.
#ifndef SKIFF_KUBELET_POD_ADMISSION_H_
#define SKIFF_KUBELET_POD_ADMISSION_H_

#include <optional>
#include <vector>

#include "k8s/io/api/core/v1/node.pb.h"
#include "kubelet/pod/pod_workers.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

// `node` has labels, taints and allocatable; `others` are the pods that hold resources. `allowed_sysctls` are patterns
// ("net.core.*") beside the safe ones.
std::optional<Rejection> Admit(const Pod& pod, const core::Node& node, const std::vector<PodPtr>& others,
                               const std::vector<std::string>& allowed_sysctls);

// spec.nodeSelector and the required node affinity.
bool MatchesNode(const Pod& pod, const core::Node& node);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_ADMISSION_H_
