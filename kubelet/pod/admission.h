// Whether a pod may run on this node at all: what the kubelet checks itself, after (or instead of) the scheduler. Pure.
// Reasons and messages are upstream's.
#ifndef SKIFF_KUBELET_POD_ADMISSION_H_
#define SKIFF_KUBELET_POD_ADMISSION_H_

#include <string>
#include <vector>

#include "k8s/io/api/core/v1/node.pb.h"
#include "kubelet/pod/pod_workers.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

struct NodeAbilities {
  std::vector<std::string> allowed_sysctls;  // patterns ("net.core.*") beside the safe ones
  bool app_armor = false;                    // the kernel has it on
};

// `node` has labels, taints, allocatable and features; `others` are the pods that hold resources. A critical pod that
// lacks nothing but resources names pods whose end makes room.
AdmissionResult Admit(const Pod& pod, const core::Node& node, const std::vector<PodPtr>& others,
                      const NodeAbilities& abilities);

// What a pod lacks, in the units of the message: milli-CPUs, bytes, pieces.
struct Lack {
  std::string resource;
  int64_t amount = 0;
};
// The pods to end so that `pod` fits, as few and as small as upstream picks them; an error when no set would do.
StatusOr<std::vector<PodPtr>> PodsToPreempt(const Pod& pod, const std::vector<PodPtr>& others, std::vector<Lack> lacks);

using Labels = google::protobuf::Map<std::string, std::string>;
// One of the terms fits labels and name; without a name the terms' fields do not count.
bool MatchesTerms(const core::NodeSelector& selector, const Labels& labels, const std::string* name);

// spec.nodeSelector and the required node affinity.
bool MatchesNode(const Pod& pod, const core::Node& node);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_ADMISSION_H_
