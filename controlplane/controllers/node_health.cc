#include "controlplane/controllers/node_health.h"

#include <algorithm>

#include "api/time.h"

namespace skiff::controlplane {
namespace {

constexpr char kNotReady[] = "node.kubernetes.io/not-ready";
constexpr char kUnreachable[] = "node.kubernetes.io/unreachable";

struct Rule {
  const char *condition, *value, *taint;
};
constexpr Rule kRules[] = {
    {"Ready", "False", kNotReady},
    {"Ready", "Unknown", kUnreachable},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};

bool Ours(const core::Taint& taint) {
  if (taint.effect() == "NoExecute") return taint.key() == kNotReady || taint.key() == kUnreachable;
  if (taint.effect() != "NoSchedule") return false;
  if (taint.key() == "node.kubernetes.io/unschedulable") return true;
  return std::any_of(std::begin(kRules), std::end(kRules), [&](const Rule& rule) { return taint.key() == rule.taint; });
}

bool Matches(const core::Toleration& toleration, const core::Taint& taint) {
  if (!toleration.effect().empty() && toleration.effect() != taint.effect()) return false;
  if (!toleration.key().empty() && toleration.key() != taint.key()) return false;
  if (toleration.operator_() == "Exists") return true;
  return !toleration.key().empty() && toleration.value() == taint.value();
}

}  // namespace

const core::NodeCondition* FindNodeCondition(const core::Node& node, std::string_view type) {
  for (const auto& condition : node.status().conditions()) {
    if (condition.type() == type) return &condition;
  }
  return nullptr;
}

std::vector<core::Taint> WantedTaints(const core::Node& node, bool evict, WallTime now) {
  std::vector<core::Taint> out;
  std::vector<std::pair<std::string, std::string>> wanted;  // key, effect
  const auto* ready = FindNodeCondition(node, "Ready");
  for (const Rule& rule : kRules) {
    const auto* condition = FindNodeCondition(node, rule.condition);
    if (condition == nullptr || condition->status() != rule.value) continue;
    wanted.emplace_back(rule.taint, "NoSchedule");
    if (evict && std::string_view(rule.condition) == "Ready") wanted.emplace_back(rule.taint, "NoExecute");
  }
  if (node.spec().unschedulable()) wanted.emplace_back("node.kubernetes.io/unschedulable", "NoSchedule");
  for (const auto& taint : node.spec().taints()) {
    const auto found = std::find(wanted.begin(), wanted.end(), std::pair(taint.key(), taint.effect()));
    if (found != wanted.end()) {
      wanted.erase(found);
      out.push_back(taint);
    } else if (!Ours(taint)) {
      out.push_back(taint);
    } else if (ready == nullptr && taint.key() == kNotReady && taint.effect() == "NoSchedule") {
      out.push_back(taint);  // given at registration, until the kubelet has said anything
    }
  }
  for (const auto& [key, effect] : wanted) {
    core::Taint taint;
    taint.set_key(key);
    taint.set_effect(effect);
    *taint.mutable_timeadded() = api::ToTime(now);
    out.push_back(std::move(taint));
  }
  return out;
}

bool SameTaints(const core::Node& node, const std::vector<core::Taint>& taints) {
  if (node.spec().taints_size() != static_cast<int>(taints.size())) return false;
  for (const core::Taint& taint : taints) {
    const auto& have = node.spec().taints();
    if (std::none_of(have.begin(), have.end(), [&](const auto& other) {
          return other.key() == taint.key() && other.effect() == taint.effect() && other.value() == taint.value();
        })) {
      return false;
    }
  }
  return true;
}

std::optional<WallTime> EvictionTime(const core::Pod& pod, const core::Node& node, WallTime now, WallTime seen) {
  std::optional<WallTime> out;
  for (const auto& taint : node.spec().taints()) {
    if (taint.effect() != "NoExecute") continue;
    const WallTime since = api::IsZero(taint.timeadded()) ? seen : api::FromTime(taint.timeadded());
    bool tolerated = false, for_ever = true;
    int64_t least = 0;
    for (const auto& toleration : pod.spec().tolerations()) {
      if (!Matches(toleration, taint)) continue;
      tolerated = true;
      if (!toleration.has_tolerationseconds()) continue;
      const int64_t limit = std::max<int64_t>(0, toleration.tolerationseconds());
      least = for_ever ? limit : std::min(least, limit);
      for_ever = false;
    }
    if (tolerated && for_ever) continue;
    const WallTime at = tolerated ? since + std::chrono::seconds(least) : now;
    if (!out || at < *out) out = at;
  }
  return out;
}

}  // namespace skiff::controlplane
