#include "kubelet/pod/types.h"

#include "absl/strings/str_cat.h"
#include "api/pod_resources.h"

namespace skiff::kubelet {

std::string FormatPod(const Pod& pod) {
  return absl::StrCat(pod.metadata().name(), "_", pod.metadata().namespace_(), "(", pod.metadata().uid(), ")");
}

std::string PodKey(const Pod& pod) { return absl::StrCat(pod.metadata().namespace_(), "/", pod.metadata().name()); }

core::Container AsContainer(const core::EphemeralContainer& ephemeral) {
  core::Container out;
  out.ParsePartialFromString(ephemeral.ephemeralcontainercommon().SerializePartialAsString());
  return out;
}

const core::Container* FindContainer(const Pod& pod, std::string_view name) {
  for (const auto& c : pod.spec().containers()) {
    if (c.name() == name) return &c;
  }
  for (const auto& c : pod.spec().initcontainers()) {
    if (c.name() == name) return &c;
  }
  return nullptr;
}

const core::EphemeralContainer* FindEphemeral(const Pod& pod, std::string_view name) {
  for (const auto& c : pod.spec().ephemeralcontainers()) {
    if (c.ephemeralcontainercommon().name() == name) return &c;
  }
  return nullptr;
}

bool IsInitContainer(const Pod& pod, std::string_view name) {
  for (const auto& c : pod.spec().initcontainers()) {
    if (c.name() == name) return true;
  }
  return false;
}

bool IsSidecar(const core::Container& init_container) { return init_container.restartpolicy() == "Always"; }

const std::string& Annotation(const Pod& pod, const char* name) {
  static const auto* const none = new std::string();
  auto it = pod.metadata().annotations().find(name);
  return it == pod.metadata().annotations().end() ? *none : it->second;
}

bool IsStatic(const Pod& pod) {
  const std::string& source = Annotation(pod, kSourceAnnotation);
  return !source.empty() && source != "api";
}

bool IsMirror(const Pod& pod) { return pod.metadata().annotations().contains(kMirrorAnnotation); }

bool IsCritical(const Pod& pod) {
  constexpr int32_t kSystemCriticalPriority = 2000000000;
  return IsStatic(pod) || IsMirror(pod) ||
         (pod.spec().has_priority() && pod.spec().priority() >= kSystemCriticalPriority);
}

const core::ContainerRestartRule* MatchingRule(const core::Container& container, int32_t exit_code) {
  for (const auto& rule : container.restartpolicyrules()) {
    if (!rule.has_exitcodes()) continue;
    bool listed = false;
    for (int32_t value : rule.exitcodes().values()) listed = listed || value == exit_code;
    const std::string& op = rule.exitcodes().operator_();
    if (op == "In" ? listed : op == "NotIn" && !listed) return &rule;
  }
  return nullptr;
}

bool RestartsAll(const core::Container& container, int32_t exit_code) {
  const auto* rule = MatchingRule(container, exit_code);
  return rule != nullptr && rule->action() == "RestartAllContainers";
}

bool MayRestartAll(const Pod& pod) {
  for (const auto* list : {&pod.spec().containers(), &pod.spec().initcontainers()}) {
    for (const auto& c : *list) {
      for (const auto& rule : c.restartpolicyrules()) {
        if (rule.action() == "RestartAllContainers") return true;
      }
    }
  }
  return false;
}

bool ShouldRestart(const Pod& pod, const core::Container& container, int32_t exit_code) {
  std::string_view policy = pod.spec().restartpolicy();
  if (container.has_restartpolicy()) {  // without it, rules do not count
    const auto* rule = MatchingRule(container, exit_code);
    if (rule != nullptr && (rule->action() == "Restart" || rule->action() == "RestartAllContainers")) return true;
    policy = container.restartpolicy();
  }
  if (policy == "Never") return false;
  if (policy == "OnFailure") return exit_code != 0;
  return true;
}

const core::ContainerStatus* FindStatus(const core::PodStatus& status, std::string_view name) {
  for (const auto* list :
       {&status.containerstatuses(), &status.initcontainerstatuses(), &status.ephemeralcontainerstatuses()}) {
    for (const auto& s : *list) {
      if (s.name() == name) return &s;
    }
  }
  return nullptr;
}

const core::PodCondition* FindCondition(const core::PodStatus& status, std::string_view type) {
  for (const auto& c : status.conditions()) {
    if (c.type() == type) return &c;
  }
  return nullptr;
}

std::string_view QosClass(const Pod& pod) {
  if (!pod.status().qosclass().empty()) {  // never changes in a pod's life
    std::string_view known = pod.status().qosclass();
    for (std::string_view c : {"Guaranteed", "Burstable", "BestEffort"}) {
      if (known == c) return c;
    }
  }
  return api::QosClassOf(pod.spec());
}

}  // namespace skiff::kubelet
