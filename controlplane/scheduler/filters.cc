#include "controlplane/scheduler/filters.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/selector.h"
#include "controlplane/controllers/pods.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"

namespace skiff::controlplane {
namespace {

using Labels = google::protobuf::Map<std::string, std::string>;

bool Holds(const core::NodeSelectorRequirement& requirement, const std::string* value) {
  const auto in = [&] {
    return value != nullptr &&
           std::find(requirement.values().begin(), requirement.values().end(), *value) != requirement.values().end();
  };
  const std::string& op = requirement.operator_();
  if (op == "In") return in();
  if (op == "NotIn") return !in();
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  int64_t have = 0, want = 0;
  if (value == nullptr || requirement.values_size() != 1 || !absl::SimpleAtoi(*value, &have) ||
      !absl::SimpleAtoi(requirement.values(0), &want)) {
    return false;
  }
  if (op == "Gt") return have > want;
  if (op == "Lt") return have < want;
  return false;
}

const std::string* Find(const Labels& labels, const std::string& key) {
  const auto found = labels.find(key);
  return found == labels.end() ? nullptr : &found->second;
}

// The pods a term is about: its selector within its namespaces (its own pod's by default).
bool TermSelects(const core::PodAffinityTerm& term, const core::Pod& owner, const core::Pod& other) {
  bool in_namespace = false;
  if (term.namespaces().empty() && !term.has_namespaceselector()) {
    in_namespace = other.metadata().namespace_() == owner.metadata().namespace_();
  } else {
    in_namespace = std::find(term.namespaces().begin(), term.namespaces().end(), other.metadata().namespace_()) !=
                   term.namespaces().end();
    // Namespace labels are not known here; only the selector of all namespaces is.
    if (term.has_namespaceselector() && term.namespaceselector().matchlabels().empty() &&
        term.namespaceselector().matchexpressions().empty()) {
      in_namespace = true;
    }
  }
  if (!in_namespace) return false;
  const auto selector = api::LabelSelector::From(term.has_labelselector() ? &term.labelselector() : nullptr);
  return selector.ok() && selector->Matches(other.metadata().labels());
}

bool SameTopology(const core::Node& a, const core::Node& b, const std::string& key) {
  const std::string* a_value = Find(a.metadata().labels(), key);
  const std::string* b_value = Find(b.metadata().labels(), key);
  return a_value != nullptr && b_value != nullptr && *a_value == *b_value;
}

template <typename F>
bool AnyPod(const ClusterState& cluster, F f) {
  for (const auto& [name, info] : cluster.nodes()) {
    if (info.node == nullptr) continue;
    for (const auto& [uid, placed] : info.pods) {
      if (f(*info.node, *placed.pod)) return true;
    }
  }
  return false;
}

// "" or the reason.
std::string BetweenPods(const core::Pod& pod, const core::Node& node, const ClusterState& cluster) {
  const bool hit_by_others = AnyPod(cluster, [&](const core::Node& where, const core::Pod& other) {
    for (const auto& term :
         other.spec().affinity().podantiaffinity().requiredduringschedulingignoredduringexecution()) {
      if (SameTopology(where, node, term.topologykey()) && TermSelects(term, other, pod)) return true;
    }
    return false;
  });
  for (const auto& term : pod.spec().affinity().podaffinity().requiredduringschedulingignoredduringexecution()) {
    if (Find(node.metadata().labels(), term.topologykey()) == nullptr) return "node(s) didn't match pod affinity rules";
    const bool met = AnyPod(cluster, [&](const core::Node& where, const core::Pod& other) {
      return SameTopology(where, node, term.topologykey()) && TermSelects(term, pod, other);
    });
    if (met) continue;
    // The first of a group that wants to be together may go anywhere.
    const bool first = TermSelects(term, pod, pod) && !AnyPod(cluster, [&](const core::Node&, const core::Pod& other) {
                         return TermSelects(term, pod, other);
                       });
    if (!first) return "node(s) didn't match pod affinity rules";
  }
  for (const auto& term : pod.spec().affinity().podantiaffinity().requiredduringschedulingignoredduringexecution()) {
    const bool hit = AnyPod(cluster, [&](const core::Node& where, const core::Pod& other) {
      return SameTopology(where, node, term.topologykey()) && TermSelects(term, pod, other);
    });
    if (hit) return "node(s) didn't match pod anti-affinity rules";
  }
  return hit_by_others ? "node(s) didn't satisfy existing pods anti-affinity rules" : "";
}

std::string Spread(const core::Pod& pod, const core::Node& node, const ClusterState& cluster) {
  for (const auto& constraint : pod.spec().topologyspreadconstraints()) {
    if (constraint.whenunsatisfiable() != "DoNotSchedule") continue;
    const std::string* here = Find(node.metadata().labels(), constraint.topologykey());
    if (here == nullptr) return "node(s) didn't match pod topology spread constraints (missing required label)";
    const auto selector =
        api::LabelSelector::From(constraint.has_labelselector() ? &constraint.labelselector() : nullptr);
    if (!selector.ok()) continue;
    std::map<std::string, int> counts;
    for (const auto& [name, info] : cluster.nodes()) {
      if (info.node == nullptr) continue;
      const std::string* domain = Find(info.node->metadata().labels(), constraint.topologykey());
      if (domain == nullptr) continue;
      if (constraint.nodeaffinitypolicy() != "Ignore" && !MatchesNodeAffinity(pod, *info.node)) continue;
      int& count = counts[*domain];
      for (const auto& [uid, placed] : info.pods) {
        if (placed.pod->metadata().namespace_() == pod.metadata().namespace_() &&
            !IsBeingDeleted(placed.pod->metadata()) && selector->Matches(placed.pod->metadata().labels())) {
          ++count;
        }
      }
    }
    int least = std::numeric_limits<int>::max();
    for (const auto& [domain, count] : counts) least = std::min(least, count);
    if (static_cast<int>(counts.size()) < constraint.mindomains()) least = 0;
    const int self = selector->Matches(pod.metadata().labels()) ? 1 : 0;
    if (counts[*here] + self - least > constraint.maxskew())
      return "node(s) didn't match pod topology spread constraints";
  }
  return "";
}

Verdict Fit(const PodNeeds& needs, const NodeInfo& node) {
  Verdict out;
  bool beyond_node = false;  // asks for more than the node has at all
  const auto check = [&](const std::string& reason, int64_t request, int64_t used, int64_t allocatable) {
    if (request == 0 || request <= allocatable - used) return;
    out.reasons.push_back(reason);
    if (request > allocatable) beyond_node = true;
  };
  if (static_cast<int64_t>(node.pods.size()) + 1 > node.allowed_pods) {
    out.reasons.push_back("Too many pods");
    if (node.allowed_pods == 0) beyond_node = true;
  }
  const Amounts& request = needs.request;
  check("Insufficient cpu", request.milli_cpu, node.used.milli_cpu, node.allocatable.milli_cpu);
  check("Insufficient memory", request.memory, node.used.memory, node.allocatable.memory);
  check("Insufficient ephemeral-storage", request.ephemeral_storage, node.used.ephemeral_storage,
        node.allocatable.ephemeral_storage);
  for (const auto& [name, amount] : request.scalar) {
    const auto used = node.used.scalar.find(name);
    const auto there = node.allocatable.scalar.find(name);
    check("Insufficient " + name, amount, used == node.used.scalar.end() ? 0 : used->second,
          there == node.allocatable.scalar.end() ? 0 : there->second);
  }
  out.preemption_may_help = !out.reasons.empty() && !beyond_node;
  return out;
}

}  // namespace

bool Tolerates(const core::Pod& pod, const core::Taint& taint) {
  for (const auto& toleration : pod.spec().tolerations()) {
    if (!toleration.effect().empty() && toleration.effect() != taint.effect()) continue;
    if (!toleration.key().empty() && toleration.key() != taint.key()) continue;
    const std::string& op = toleration.operator_();
    if (op == "Exists") return true;
    if (toleration.key().empty()) continue;  // an empty key goes with Exists only
    if ((op.empty() || op == "Equal") && toleration.value() == taint.value()) return true;
  }
  return false;
}

bool MatchesNodeTerm(const core::NodeSelectorTerm& term, const core::Node& node) {
  // An empty term matches nothing.
  if (term.matchexpressions().empty() && term.matchfields().empty()) return false;
  for (const auto& requirement : term.matchexpressions()) {
    if (!Holds(requirement, Find(node.metadata().labels(), requirement.key()))) return false;
  }
  for (const auto& requirement : term.matchfields()) {
    if (requirement.key() != "metadata.name" || !Holds(requirement, &node.metadata().name())) return false;
  }
  return true;
}

bool MatchesNodeAffinity(const core::Pod& pod, const core::Node& node) {
  for (const auto& [key, value] : pod.spec().nodeselector()) {
    const std::string* found = Find(node.metadata().labels(), key);
    if (found == nullptr || *found != value) return false;
  }
  const auto& affinity = pod.spec().affinity().nodeaffinity();
  if (!affinity.has_requiredduringschedulingignoredduringexecution()) return true;
  const auto& terms = affinity.requiredduringschedulingignoredduringexecution().nodeselectorterms();
  return std::any_of(terms.begin(), terms.end(), [&](const auto& term) { return MatchesNodeTerm(term, node); });
}

Verdict Filter(const core::Pod& pod, const PodNeeds& needs, const NodeInfo& info, const ClusterState& cluster) {
  const core::Node& node = *info.node;
  if (node.spec().unschedulable()) {
    core::Taint taint;
    taint.set_key("node.kubernetes.io/unschedulable");
    taint.set_effect("NoSchedule");
    if (!Tolerates(pod, taint)) return {{"node(s) were unschedulable"}, false};
  }
  if (!pod.spec().nodename().empty() && pod.spec().nodename() != node.metadata().name()) {
    return {{"node(s) didn't match the requested node name"}, false};
  }
  for (const auto& taint : node.spec().taints()) {
    if (taint.effect() != "NoSchedule" && taint.effect() != "NoExecute") continue;
    if (!Tolerates(pod, taint)) return {{"node(s) had untolerated taint(s)"}, false};
  }
  if (!MatchesNodeAffinity(pod, node)) return {{"node(s) didn't match Pod's node affinity/selector"}, false};
  for (const HostPort& port : needs.ports) {
    for (const auto& [uid, placed] : info.pods) {
      for (const HostPort& taken : placed.needs.ports) {
        if (port.Conflicts(taken)) return {{"node(s) didn't have free ports for the requested pod ports"}, true};
      }
    }
  }
  if (Verdict fit = Fit(needs, info); !fit.fits()) return fit;
  if (std::string reason = Spread(pod, node, cluster); !reason.empty()) {
    const bool missing = reason.ends_with("(missing required label)");
    return {{std::move(reason)}, !missing};
  }
  if (std::string reason = BetweenPods(pod, node, cluster); !reason.empty()) {
    const bool affinity = reason == "node(s) didn't match pod affinity rules";
    return {{std::move(reason)}, !affinity};
  }
  return {};
}

int64_t LeastAllocated(int64_t cpu, int64_t memory, const Amounts& allocatable) {
  int64_t total = 0, count = 0;
  const auto add = [&](int64_t used, int64_t there) {
    if (there == 0) return;
    ++count;
    if (used <= there) total += (there - used) * 100 / there;
  };
  add(cpu, allocatable.milli_cpu);
  add(memory, allocatable.memory);
  return count == 0 ? 0 : total / count;
}

int64_t BalancedAllocation(const Amounts& used, const Amounts& request, const Amounts& allocatable) {
  const auto balance = [&](double cpu, double memory) {
    if (allocatable.milli_cpu == 0 || allocatable.memory == 0) return 100.0;
    const double a = std::min(1.0, cpu / static_cast<double>(allocatable.milli_cpu));
    const double b = std::min(1.0, memory / static_cast<double>(allocatable.memory));
    return (1 - std::abs(a - b) / 2) * 100;
  };
  const double before = std::floor(balance(static_cast<double>(used.milli_cpu), static_cast<double>(used.memory)));
  const double after = std::floor(balance(static_cast<double>(used.milli_cpu + request.milli_cpu),
                                          static_cast<double>(used.memory + request.memory)));
  return 50 + static_cast<int64_t>(50 + after - before) / 2;
}

int64_t Score(const core::Pod& pod, const PodNeeds& needs, const NodeInfo& info, int same, int most_same) {
  int64_t score =
      LeastAllocated(info.scored_cpu + needs.scored_cpu, info.scored_memory + needs.scored_memory, info.allocatable);
  score += BalancedAllocation(info.used, needs.request, info.allocatable);
  // Equal pods apart: twice the weight of the resources, as upstream's topology spreading.
  if (most_same > 0) score += 2 * (100 * (most_same - same) / most_same);
  int64_t wanted = 0, possible = 0;
  for (const auto& term : pod.spec().affinity().nodeaffinity().preferredduringschedulingignoredduringexecution()) {
    possible += term.weight();
    if (MatchesNodeTerm(term.preference(), *info.node)) wanted += term.weight();
  }
  if (possible > 0) score += 2 * (100 * wanted / possible);
  int64_t avoided = 0;
  for (const auto& taint : info.node->spec().taints()) {
    if (taint.effect() == "PreferNoSchedule" && !Tolerates(pod, taint)) ++avoided;
  }
  score += 3 * (avoided == 0 ? 100 : 0);
  return score;
}

std::string WhyUnschedulable(const core::Pod& pod, size_t nodes, const std::vector<Verdict>& verdicts) {
  if (nodes == 0) return "no nodes available to schedule pods";
  std::map<std::string, int> reasons;
  int helpless = 0, hopeful = 0;
  for (const Verdict& verdict : verdicts) {
    for (const std::string& reason : verdict.reasons) ++reasons[reason];
    ++(verdict.preemption_may_help ? hopeful : helpless);
  }
  std::set<std::string> parts;
  for (const auto& [reason, count] : reasons) parts.insert(absl::StrCat(count, " ", reason));
  std::string out = absl::StrCat("0/", nodes, " nodes are available: ", absl::StrJoin(parts, ", "),
                                 ". no new claims to deallocate, preemption: ");
  if (pod.spec().preemptionpolicy() == "Never") {
    absl::StrAppend(&out, "not eligible due to preemptionPolicy=Never.");
    return out;
  }
  std::set<std::string> preemption;
  if (hopeful > 0) preemption.insert(absl::StrCat(hopeful, " No preemption victims found for incoming pod"));
  if (helpless > 0) preemption.insert(absl::StrCat(helpless, " Preemption is not helpful for scheduling"));
  absl::StrAppend(&out, "0/", nodes, " nodes are available: ", absl::StrJoin(preemption, ", "), ".");
  return out;
}

std::string ClaimName(const core::Pod& pod, const core::Volume& volume) {
  const auto& source = volume.volumesource();
  if (source.has_persistentvolumeclaim()) return source.persistentvolumeclaim().claimname();
  return source.has_ephemeral() ? absl::StrCat(pod.metadata().name(), "-", volume.name()) : "";
}

std::string ClaimProblem(const core::Pod& pod, const core::Volume& volume, const core::PersistentVolumeClaim* claim) {
  const std::string name = ClaimName(pod, volume);
  const bool ephemeral = volume.volumesource().has_ephemeral();
  if (claim == nullptr) {
    if (!ephemeral) return absl::StrCat("persistentvolumeclaim \"", name, "\" not found");
    return absl::StrCat("waiting for ephemeral volume controller to create the persistentvolumeclaim \"", name, "\"");
  }
  if (claim->status().phase() == "Lost") {
    return absl::StrCat("persistentvolumeclaim \"", name, "\" bound to non-existent persistentvolume \"",
                        claim->spec().volumename(), "\"");
  }
  if (claim->metadata().has_deletiontimestamp()) {
    return absl::StrCat("persistentvolumeclaim \"", name, "\" is being deleted");
  }
  if (ephemeral) {
    bool ours = false;
    for (const auto& owner : claim->metadata().ownerreferences()) ours = ours || owner.uid() == pod.metadata().uid();
    if (!ours) {
      return absl::StrCat("PVC ", claim->metadata().namespace_(), "/", name, " was not created for pod ",
                          pod.metadata().namespace_(), "/", pod.metadata().name(), " (pod is not owner)");
    }
  }
  if (claim->spec().volumename().empty()) return "pod has unbound immediate PersistentVolumeClaims";
  return "";
}

std::string WhyClaimBlocks(size_t nodes, std::string_view problem) {
  // Upstream ends with what its next step says of a state that this one did not leave it.
  return absl::StrCat("0/", nodes, " nodes are available: ", problem, ". not found");
}

}  // namespace skiff::controlplane
