// May a pod go to a node, and how good a place is it. Pure functions with upstream's rules, reasons and scores
// (pkg/scheduler/framework/plugins): NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts,
// NodeResourcesFit, PodTopologySpread, InterPodAffinity as filters; least allocated, balanced allocation, preferred
// node affinity, PreferNoSchedule taints and spreading of equal pods as scores.
#ifndef SKIFF_CONTROLPLANE_SCHEDULER_FILTERS_H_
#define SKIFF_CONTROLPLANE_SCHEDULER_FILTERS_H_

#include <string>
#include <vector>

#include "controlplane/scheduler/node_info.h"

namespace skiff::controlplane {

struct Verdict {
  std::vector<std::string> reasons;  // empty: the pod fits
  bool preemption_may_help = false;  // other pods are in the way, not the node
  bool fits() const { return reasons.empty(); }
};

// `node` has a node; `cluster` is looked at by the rules between pods.
Verdict Filter(const core::Pod& pod, const PodNeeds& needs, const NodeInfo& node, const ClusterState& cluster);

bool Tolerates(const core::Pod& pod, const core::Taint& taint);
bool MatchesNodeAffinity(const core::Pod& pod, const core::Node& node);  // spec.nodeSelector and required affinity
bool MatchesNodeTerm(const core::NodeSelectorTerm& term, const core::Node& node);

// Greater is better. `same` is how many pods of the same owner are on the node, `most_same` the most of any node.
int64_t Score(const core::Pod& pod, const PodNeeds& needs, const NodeInfo& node, int same, int most_same);
int64_t LeastAllocated(int64_t cpu, int64_t memory, const Amounts& allocatable);
int64_t BalancedAllocation(const Amounts& used, const Amounts& request, const Amounts& allocatable);

// "0/2 nodes are available: 1 Insufficient cpu, 1 Too many pods. no new claims to deallocate, preemption: ...".
std::string WhyUnschedulable(const core::Pod& pod, size_t nodes, const std::vector<Verdict>& verdicts);

// Why a pod waits for one of its claims, looked up as `claim` (null: there is none): "persistentvolumeclaim "data" not
// found", "pod has unbound immediate PersistentVolumeClaims", ..; "" when it does not wait.
std::string ClaimName(const core::Pod& pod, const core::Volume& volume);  // "": the volume has none
std::string ClaimProblem(const core::Pod& pod, const core::Volume& volume, const core::PersistentVolumeClaim* claim);
// What a pod's condition says when no node was looked at because of `problem`.
std::string WhyClaimBlocks(size_t nodes, std::string_view problem);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_SCHEDULER_FILTERS_H_
