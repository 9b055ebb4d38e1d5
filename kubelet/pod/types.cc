#include "kubelet/pod/types.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "api/quantity.h"

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

bool IsStatic(const Pod& pod) {
  auto it = pod.metadata().annotations().find("kubernetes.io/config.source");
  return it != pod.metadata().annotations().end() && it->second != "api";
}

bool IsMirror(const Pod& pod) { return pod.metadata().annotations().contains("kubernetes.io/config.mirror"); }

bool IsCritical(const Pod& pod) {
  constexpr int32_t kSystemCriticalPriority = 2000000000;
  return IsStatic(pod) || IsMirror(pod) ||
         (pod.spec().has_priority() && pod.spec().priority() >= kSystemCriticalPriority);
}

bool ShouldRestart(const Pod& pod, const core::Container& container, int32_t exit_code) {
  for (const auto& rule : container.restartpolicyrules()) {
    if (!rule.has_exitcodes()) continue;
    bool listed = false;
    for (int32_t value : rule.exitcodes().values()) listed = listed || value == exit_code;
    bool matches = rule.exitcodes().operator_() == "In" ? listed : rule.exitcodes().operator_() == "NotIn" && !listed;
    if (matches && rule.action() == "Restart") return true;
  }
  std::string_view policy = container.has_restartpolicy() ? container.restartpolicy() : pod.spec().restartpolicy();
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

namespace {

using Totals = std::map<std::string, api::Quantity>;

// Adds what counts for the class: cpu and memory above zero.
void Add(const google::protobuf::Map<std::string, api::Quantity::Proto>& from, Totals* to) {
  for (const auto& [name, quantity] : from) {
    if (name != "cpu" && name != "memory") continue;
    api::Quantity q = api::Quantity::Of(quantity);
    if (q.Sign() > 0) (*to)[name] += q;
  }
}

}  // namespace

std::string_view QosClass(const Pod& pod) {
  if (!pod.status().qosclass().empty()) {  // never changes in a pod's life
    std::string_view known = pod.status().qosclass();
    for (std::string_view c : {"Guaranteed", "Burstable", "BestEffort"}) {
      if (known == c) return c;
    }
  }
  Totals requests, limits;
  bool guaranteed = true;
  auto consider = [&](const core::ResourceRequirements& resources) {
    Add(resources.requests(), &requests);
    Add(resources.limits(), &limits);
    Totals own;
    Add(resources.limits(), &own);
    if (own.size() != 2) guaranteed = false;
  };
  if (pod.spec().has_resources() &&
      (pod.spec().resources().requests_size() + pod.spec().resources().limits_size()) > 0) {
    consider(pod.spec().resources());
  } else {
    for (const auto& c : pod.spec().containers()) consider(c.resources());
    for (const auto& c : pod.spec().initcontainers()) consider(c.resources());
  }
  if (requests.empty() && limits.empty()) return "BestEffort";
  if (guaranteed) {
    for (const auto& [name, quantity] : requests) {
      auto it = limits.find(name);
      if (it == limits.end() || it->second != quantity) guaranteed = false;
    }
    if (guaranteed && requests.size() == limits.size()) return "Guaranteed";
  }
  return "Burstable";
}

}  // namespace skiff::kubelet
