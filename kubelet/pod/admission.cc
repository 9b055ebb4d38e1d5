#include "kubelet/pod/admission.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kubelet/resources/pod_resources.h"
#include "kubelet/runtime/security.h"

namespace skiff::kubelet {
namespace {

template <typename Requirement>
bool Matches(const Requirement& r, const std::string* value) {
  const std::string& op = r.operator_();
  bool listed = value != nullptr && std::find(r.values().begin(), r.values().end(), *value) != r.values().end();
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  int64_t have, want;
  if (value == nullptr || r.values_size() != 1 || !absl::SimpleAtoi(*value, &have) ||
      !absl::SimpleAtoi(r.values(0), &want)) {
    return false;
  }
  return op == "Gt" ? have > want : op == "Lt" && have < want;
}

bool Tolerates(const Pod& pod, const core::Taint& taint) {
  for (const auto& t : pod.spec().tolerations()) {
    if (!t.effect().empty() && t.effect() != taint.effect()) continue;
    if (!t.key().empty() && t.key() != taint.key()) continue;
    if (t.key().empty() && t.operator_() != "Exists") continue;
    if (t.operator_() == "Exists" || t.value() == taint.value()) return true;
  }
  return false;
}

struct HostPort {
  std::string protocol, ip;
  int port;
};

std::vector<HostPort> HostPorts(const Pod& pod) {
  std::vector<HostPort> out;
  auto add = [&](const core::Container& c) {
    for (const auto& p : c.ports()) {
      if (p.hostport() <= 0) continue;
      out.push_back({p.protocol().empty() ? "TCP" : p.protocol(),
                     p.hostip().empty() || p.hostip() == "::" ? "0.0.0.0" : p.hostip(), p.hostport()});
    }
  };
  for (const auto& c : pod.spec().containers()) add(c);
  for (const auto& c : pod.spec().initcontainers()) {
    if (IsSidecar(c)) add(c);
  }
  return out;
}

bool Conflict(const HostPort& a, const HostPort& b) {
  return a.protocol == b.protocol && a.port == b.port && (a.ip == b.ip || a.ip == "0.0.0.0" || b.ip == "0.0.0.0");
}

// Which namespace of the kernel a sysctl belongs to: "Net", "IPC", or "" when it is not known to have one.
std::string_view SysctlNamespace(std::string_view name) {
  for (std::string_view ipc :
       {"kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.shm",
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg"}) {
    if (name == ipc) return "IPC";
  }
  if (name.starts_with("net.")) return "Net";
  return name.starts_with("fs.mqueue.") ? "IPC" : "";
}

// Why a sysctl may not be set; "" when it may. Safe are those that only touch what is the pod's own.
std::string SysctlProblem(const Pod& pod, const std::string& raw, const std::vector<std::string>& allowed) {
  static const std::set<std::string_view>* const safe =
      new std::set<std::string_view>{"kernel.shm_rmid_forced",
                                     "net.ipv4.ip_local_port_range",
                                     "net.ipv4.tcp_syncookies",
                                     "net.ipv4.ping_group_range",
                                     "net.ipv4.ip_unprivileged_port_start",
                                     "net.ipv4.ip_local_reserved_ports",
                                     "net.ipv4.tcp_keepalive_time",
                                     "net.ipv4.tcp_fin_timeout",
                                     "net.ipv4.tcp_keepalive_intvl",
                                     "net.ipv4.tcp_keepalive_probes",
                                     "net.ipv4.tcp_rmem",
                                     "net.ipv4.tcp_wmem"};
  const std::string name = SysctlWithDots(raw);
  bool listed = safe->contains(name);
  for (const std::string& pattern : allowed) {
    std::string p = SysctlWithDots(pattern);
    if (p.ends_with("*") ? name.starts_with(p.substr(0, p.size() - 1)) : name == p) listed = true;
  }
  if (!listed) return absl::StrCat("\"", name, "\" not allowlisted");
  std::string_view ns = SysctlNamespace(name);
  if ((ns == "Net" && IsHostNetwork(pod)) || (ns == "IPC" && pod.spec().hostipc())) {
    return absl::StrCat("\"", name, "\" not allowed with host ", ns, " enabled");
  }
  return "";
}

// An AppArmor profile that the kernel would have to enforce.
bool WantsAppArmor(const Pod& pod) {
  auto wants = [](const auto& sc) { return sc.has_apparmorprofile() && sc.apparmorprofile().type() != "Unconfined"; };
  if (wants(pod.spec().securitycontext())) return true;
  for (const auto* list : {&pod.spec().containers(), &pod.spec().initcontainers()}) {
    for (const auto& c : *list) {
      if (wants(c.securitycontext())) return true;
    }
  }
  for (const auto& [key, value] : pod.metadata().annotations()) {
    if (key.starts_with("container.apparmor.security.beta.kubernetes.io/") && value != "unconfined") return true;
  }
  return false;
}

// Whole pieces of a resource in the unit that messages use.
int64_t Amount(const ResourceList& list, std::string_view name) {
  api::Quantity q = Get(list, name);
  return name == "cpu" ? q.MilliValue() : q.Value();
}

// Resources in the order in which they are looked at: the well-known ones, then the others by name.
std::vector<std::string> Ordered(const ResourceList& wanted) {
  std::vector<std::string> out = {"cpu", "memory", "ephemeral-storage"};
  std::set<std::string> rest;
  for (const auto& [name, quantity] : wanted) {
    if (name != "cpu" && name != "memory" && name != "ephemeral-storage" && name != "pods") rest.insert(name);
  }
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

}  // namespace

bool MatchesTerms(const core::NodeSelector& selector, const Labels& labels, const std::string* name) {
  for (const auto& term : selector.nodeselectorterms()) {
    if (term.matchexpressions_size() == 0 && term.matchfields_size() == 0) continue;
    bool all = true;
    for (const auto& r : term.matchexpressions()) {
      auto it = labels.find(r.key());
      all = all && Matches(r, it == labels.end() ? nullptr : &it->second);
    }
    if (name != nullptr) {
      for (const auto& r : term.matchfields()) all = all && Matches(r, r.key() == "metadata.name" ? name : nullptr);
    }
    if (all) return true;
  }
  return false;
}

bool MatchesNode(const Pod& pod, const core::Node& node) {
  const auto& labels = node.metadata().labels();
  for (const auto& [key, value] : pod.spec().nodeselector()) {
    auto it = labels.find(key);
    if (it == labels.end() || it->second != value) return false;
  }
  const auto& affinity = pod.spec().affinity().nodeaffinity();
  return !affinity.has_requiredduringschedulingignoredduringexecution() ||
         MatchesTerms(affinity.requiredduringschedulingignoredduringexecution(), labels, &node.metadata().name());
}

AdmissionResult Admit(const Pod& pod, const core::Node& node, const std::vector<PodPtr>& others,
                      const NodeAbilities& abilities) {
  for (const auto& sysctl : pod.spec().securitycontext().sysctls()) {
    if (std::string problem = SysctlProblem(pod, sysctl.name(), abilities.allowed_sysctls); !problem.empty()) {
      return Rejection{"SysctlForbidden", "forbidden sysctl: " + problem};
    }
  }
  if (auto it = pod.metadata().labels().find("kubernetes.io/os");
      it != pod.metadata().labels().end() && it->second != "linux") {
    return Rejection{"PodOSSelectorNodeLabelDoesNotMatch",
                     "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"};
  }
  if (pod.spec().has_os() && pod.spec().os().name() != "linux") {
    return Rejection{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"};
  }
  if (pod.spec().securitycontext().supplementalgroupspolicy() == "Strict" &&
      !node.status().features().supplementalgroupspolicy()) {
    return Rejection{"SupplementalGroupsPolicyNotSupported",
                     "SupplementalGroupsPolicy=Strict is not supported in this node"};
  }

  // Everything that speaks against the pod; resources alone a critical pod may take from others.
  std::vector<Rejection> reasons;
  std::vector<Lack> lacks;
  const auto& allocatable = node.status().allocatable();
  auto lack = [&](const std::string& name, int64_t requested, int64_t used, int64_t capacity) {
    reasons.push_back({absl::StrCat("OutOf", name),
                       absl::StrCat("Node didn't have enough resource: ", name, ", requested: ", requested,
                                    ", used: ", used, ", capacity: ", capacity)});
    lacks.push_back({name, requested - (capacity - used)});
  };
  const int64_t most_pods = Get(allocatable, "pods").Value();
  if (most_pods > 0 && static_cast<int64_t>(others.size()) + 1 > most_pods) {
    lack("pods", 1, static_cast<int64_t>(others.size()), most_pods);
  }
  ResourceList wanted = PodRequests(pod);
  std::vector<ResourceList> held;  // of the others, once anything is asked for
  for (const std::string& name : Ordered(wanted)) {
    // What a node does not count (cluster-wide resources) it does not refuse either.
    const int64_t want = Amount(wanted, name);
    if (want == 0 || !allocatable.contains(name)) continue;
    if (held.empty()) {
      for (const auto& other : others) held.push_back(PodRequests(*other));
    }
    int64_t used = 0;
    for (const auto& list : held) used += Amount(list, name);
    const int64_t capacity = Amount(allocatable, name);
    if (want > capacity - used) lack(name, want, used, capacity);
  }
  const size_t resource_reasons = reasons.size();
  auto predicate = [&](std::string_view name, std::string_view why) {
    reasons.push_back({std::string(name), absl::StrCat("Predicate ", name, " failed: ", why)});
  };
  if (!MatchesNode(pod, node)) predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
  bool conflict = false;
  for (const auto& mine : HostPorts(pod)) {
    for (const auto& other : others) {
      for (const auto& theirs : HostPorts(*other)) conflict = conflict || Conflict(mine, theirs);
    }
  }
  if (conflict) predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports");
  if (!IsStatic(pod)) {
    for (const auto& taint : node.spec().taints()) {
      if (taint.effect() != "NoExecute" || Tolerates(pod, taint)) continue;
      predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate");
      break;
    }
  }
  AdmissionResult result;
  if (!reasons.empty()) {
    if (!IsCritical(pod)) return reasons.front();
    if (reasons.size() > resource_reasons) return reasons[resource_reasons];
    auto victims = PodsToPreempt(pod, others, lacks);
    if (!victims.ok()) {
      return Rejection{"UnexpectedAdmissionError",
                       absl::StrCat("Unexpected error while attempting to recover from admission failure: preemption: "
                                    "error finding a set of pods to preempt: ",
                                    victims.status().message())};
    }
    result.preempt = *std::move(victims);
    result.preempt_for = lacks.front().resource;
  }
  if (!abilities.app_armor && WantsAppArmor(pod)) {
    return Rejection{"AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"};
  }
  if (IsHostNetwork(pod) && pod.spec().has_hostusers() && !pod.spec().hostusers()) {
    return Rejection{"PodFeatureUnsupported",
                     "Pod requires node features that are not available: UserNamespacesHostNetworkSupport"};
  }
  return result;
}

}  // namespace skiff::kubelet
