#include "kubelet/pod/admission.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kubelet/resources/pod_resources.h"

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

// Sysctls that only touch what is the pod's own.
bool SysctlAllowed(const Pod& pod, const std::string& raw, const std::vector<std::string>& allowed) {
  std::string name = absl::StrReplaceAll(raw, {{"/", "."}});
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
  bool listed = safe->contains(name);
  for (const std::string& pattern : allowed) {
    std::string p = absl::StrReplaceAll(pattern, {{"/", "."}});
    if (p.ends_with("*") ? name.starts_with(p.substr(0, p.size() - 1)) : name == p) listed = true;
  }
  if (!listed) return false;
  if (IsHostNetwork(pod) && name.starts_with("net.")) return false;
  if (pod.spec().hostipc() && (name.starts_with("kernel.shm") || name.starts_with("kernel.msg") ||
                               name.starts_with("kernel.sem") || name.starts_with("fs.mqueue."))) {
    return false;
  }
  return true;
}

}  // namespace

bool MatchesNode(const Pod& pod, const core::Node& node) {
  const auto& labels = node.metadata().labels();
  auto label = [&](const std::string& key) -> const std::string* {
    auto it = labels.find(key);
    return it == labels.end() ? nullptr : &it->second;
  };
  for (const auto& [key, value] : pod.spec().nodeselector()) {
    const std::string* have = label(key);
    if (have == nullptr || *have != value) return false;
  }
  const auto& affinity = pod.spec().affinity().nodeaffinity();
  if (!affinity.has_requiredduringschedulingignoredduringexecution()) return true;
  for (const auto& term : affinity.requiredduringschedulingignoredduringexecution().nodeselectorterms()) {
    if (term.matchexpressions_size() == 0 && term.matchfields_size() == 0) continue;
    bool all = true;
    for (const auto& r : term.matchexpressions()) all = all && Matches(r, label(r.key()));
    for (const auto& r : term.matchfields()) {
      all = all && Matches(r, r.key() == "metadata.name" ? &node.metadata().name() : nullptr);
    }
    if (all) return true;
  }
  return false;
}

std::optional<Rejection> Admit(const Pod& pod, const core::Node& node, const std::vector<PodPtr>& others,
                               const std::vector<std::string>& allowed_sysctls) {
  for (const auto& sysctl : pod.spec().securitycontext().sysctls()) {
    if (!SysctlAllowed(pod, sysctl.name(), allowed_sysctls)) {
      return Rejection{"SysctlForbidden", absl::StrCat("forbidden sysctl: \"", sysctl.name(), "\" not allowlisted")};
    }
  }
  if (pod.spec().has_os() && pod.spec().os().name() != "linux") {
    return Rejection{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"};
  }
  if (auto it = pod.spec().nodeselector().find("kubernetes.io/os");
      it != pod.spec().nodeselector().end() && it->second != "linux") {
    return Rejection{"PodOSSelectorNodeLabelDoesNotMatch",
                     "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"};
  }

  // Resources: counted against what is allocatable.
  if (!IsCritical(pod)) {
    const auto& allocatable = node.status().allocatable();
    const int64_t most_pods = Get(allocatable, "pods").Value();
    if (most_pods > 0 && static_cast<int64_t>(others.size()) + 1 > most_pods) {
      return Rejection{"OutOfpods", absl::StrCat("Node didn't have enough resource: pods, requested: 1, used: ",
                                                 others.size(), ", capacity: ", most_pods)};
    }
    ResourceList wanted = PodRequests(pod);
    auto check = [&](const char* name, bool milli) -> std::optional<Rejection> {
      auto amount = [&](const ResourceList& list) {
        return milli ? Get(list, name).MilliValue() : Get(list, name).Value();
      };
      const int64_t want = amount(wanted);
      if (want == 0 || !allocatable.contains(name)) return std::nullopt;
      int64_t used = 0;
      for (const auto& other : others) used += amount(PodRequests(*other));
      const int64_t capacity = amount(allocatable);
      if (want <= capacity - used) return std::nullopt;
      return Rejection{absl::StrCat("OutOf", name),
                       absl::StrCat("Node didn't have enough resource: ", name, ", requested: ", want, ", used: ", used,
                                    ", capacity: ", capacity)};
    };
    for (auto [name, milli] : {std::pair{"cpu", true}, {"memory", false}, {"ephemeral-storage", false}}) {
      if (auto r = check(name, milli)) return r;
    }
  }

  if (!IsStatic(pod) && !MatchesNode(pod, node)) {
    return Rejection{"NodeAffinity",
                     "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"};
  }
  for (const auto& mine : HostPorts(pod)) {
    for (const auto& other : others) {
      for (const auto& theirs : HostPorts(*other)) {
        if (Conflict(mine, theirs)) {
          return Rejection{"NodePorts",
                           "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"};
        }
      }
    }
  }
  if (!IsStatic(pod)) {
    for (const auto& taint : node.spec().taints()) {
      if (taint.effect() == "NoExecute" && !Tolerates(pod, taint)) {
        return Rejection{"TaintToleration",
                         "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"};
      }
    }
  }
  return std::nullopt;
}

}  // namespace skiff::kubelet
