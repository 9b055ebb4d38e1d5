#include "kubelet/eviction/eviction_manager.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;
using Signal = EvictionSignal;
using Thresholds = std::vector<EvictionThreshold>;

constexpr auto kCleanUpPatience = seconds(30);

bool Has(const Thresholds& list, const EvictionThreshold& threshold) {
  return std::any_of(list.begin(), list.end(), [&](const auto& t) { return t.Same(threshold); });
}

bool ToleratesMemoryPressure(const Pod& pod) {
  for (const auto& t : pod.spec().tolerations()) {
    if (!t.effect().empty() && t.effect() != "NoSchedule") continue;
    if (t.operator_() == "Exists") {
      if (t.key().empty() || t.key() == "node.kubernetes.io/memory-pressure") return true;
    } else if (t.key() == "node.kubernetes.io/memory-pressure" && t.value().empty()) {
      return true;
    }
  }
  return false;
}

}  // namespace

Task<void> EvictionManager::Run() {
  LOG_INFO("Eviction manager: starting control loop");
  while (!co_await IsCancelled()) {
    auto evicted = co_await Synchronize();
    if (!evicted.empty()) {
      co_await WaitForCleanUp(std::move(evicted));
      continue;
    }
    if (absl::IsCancelled(co_await clock_.Sleep(options_.interval))) break;
  }
}

Task<void> EvictionManager::WaitForCleanUp(std::vector<std::string> uids) {
  const SteadyTime end = clock_.Steady() + kCleanUpPatience;
  while (clock_.Steady() < end) {
    if (absl::IsCancelled(co_await clock_.Sleep(seconds(1)))) co_return;
    if (std::all_of(uids.begin(), uids.end(), hooks_.cleaned_up)) {
      LOG_INFO("Eviction manager: pods successfully cleaned up", {"pods", absl::StrJoin(uids, ",")});
      co_return;
    }
  }
  LOG_INFO("Eviction manager: timed out waiting for pods to be cleaned up", {"pods", absl::StrJoin(uids, ",")});
}

void EvictionManager::UpdatePressure(const Thresholds& crossed) {
  const SteadyTime now = clock_.Steady();
  for (const EvictionThreshold& threshold : crossed) {
    condition_seen_[std::string(PressureCondition(threshold.signal))] = now;
  }
  // A condition stays for a while after what caused it is over, lest it flaps.
  auto on = [&](std::string_view name) {
    auto it = condition_seen_.find(name);
    return it != condition_seen_.end() && (it->second == now || now - it->second < options_.pressure_transition);
  };
  pressure_ = {on("MemoryPressure"), on("DiskPressure"), on("PIDPressure")};
}

Task<std::vector<std::string>> EvictionManager::Synchronize() {
  std::vector<std::string> none;
  if (options_.thresholds.empty() && !options_.local_storage_limits) co_return none;
  std::vector<PodPtr> limited;
  if (options_.local_storage_limits) {
    for (const PodPtr& pod : hooks_.active_pods()) {
      if (HasLocalStorageLimits(*pod)) limited.push_back(pod);
    }
  }
  auto use = co_await hooks_.use(limited);
  if (!use.ok()) {
    if (!absl::IsCancelled(use.status())) {
      LOG_ERROR(use.status(), "Eviction manager: failed to get summary stats");
    }
    co_return none;
  }
  if (!layout_known_) {
    SetContainerFsThresholds(use->dedicated_image_fs, use->split_image_fs, &options_.thresholds);
    layout_known_ = true;
  }
  const EvictionObservations observations = Observe(*use);
  Thresholds crossed = Crossed(options_.thresholds, observations, false);
  // What drove evictions goes on doing so until as much as was asked for is reclaimed.
  for (const EvictionThreshold& threshold : Crossed(met_, observations, true)) {
    if (!Has(crossed, threshold)) crossed.push_back(threshold);
  }
  const SteadyTime now = clock_.Steady();
  std::vector<Seen> seen;
  for (const EvictionThreshold& threshold : crossed) {
    auto before = std::find_if(first_seen_.begin(), first_seen_.end(),
                               [&](const Seen& s) { return s.threshold.Same(threshold); });
    seen.push_back({threshold, before == first_seen_.end() ? now : before->since});
  }
  first_seen_ = std::move(seen);
  UpdatePressure(crossed);
  met_.clear();
  for (const Seen& s : first_seen_) {
    if (now - s.since >= s.threshold.grace) met_.push_back(s.threshold);
  }
  Thresholds driving = met_;

  std::vector<std::string> evicted;
  for (const PodPtr& pod : limited) {
    auto own = use->by_pod.find(pod->metadata().uid());
    if (own == use->by_pod.end()) continue;
    auto excess = FindLocalStorageExcess(*pod, own->second, use->dedicated_image_fs);
    if (!excess) continue;
    PodEviction eviction{.report = {excess->message, {}}};
    const bool gone = co_await hooks_.evict(pod, std::move(eviction));
    if (co_await IsCancelled()) co_return none;
    if (!gone) continue;
    if (hooks_.count) hooks_.count(excess->signal);
    evicted.push_back(pod->metadata().uid());
  }
  if (!evicted.empty()) co_return evicted;
  if (driving.empty()) co_return none;

  // Memory before everything else: it runs out fastest.
  std::stable_partition(driving.begin(), driving.end(),
                        [](const auto& t) { return StarvedResource(t.signal) == "memory"; });
  const EvictionThreshold reclaim = driving.front();
  const std::string_view resource = StarvedResource(reclaim.signal);
  LOG_INFO("Eviction manager: attempting to reclaim", {"resourceName", resource});
  hooks_.node_event("Warning", "EvictionThresholdMet", absl::StrCat("Attempting to reclaim ", resource));
  if (co_await ReclaimNodeLevel(reclaim.signal, use->dedicated_image_fs, use->split_image_fs)) {
    LOG_INFO("Eviction manager: able to reduce resource pressure without evicting pods.", {"resourceName", resource});
    co_return none;
  }
  if (co_await IsCancelled()) co_return none;

  LOG_INFO("Eviction manager: must evict pod(s) to reclaim", {"resourceName", resource});
  std::vector<PodPtr> pods = hooks_.active_pods();
  if (pods.empty()) {
    LOG_WARNING("Eviction manager: eviction thresholds have been met, but no pods are active to evict");
    co_return none;
  }
  use = co_await hooks_.use(pods);
  if (!use.ok()) co_return none;
  RankForEviction(reclaim.signal, *use, &pods);
  for (const PodPtr& pod : pods) {
    PodEviction eviction;
    if (!reclaim.hard()) {
      eviction.grace_seconds = options_.max_pod_grace_seconds;
      if (pod->spec().has_terminationgraceperiodseconds()) {
        eviction.grace_seconds = std::min(eviction.grace_seconds, pod->spec().terminationgraceperiodseconds());
      }
    }
    eviction.report = DescribeEviction(resource, *pod, *use, driving, observations);
    eviction.disruption_target = true;
    const bool gone = co_await hooks_.evict(pod, std::move(eviction));
    if (co_await IsCancelled()) co_return none;
    if (!gone) continue;
    if (hooks_.count) hooks_.count(SignalName(reclaim.signal));
    co_return std::vector<std::string>{pod->metadata().uid()};
  }
  LOG_INFO("Eviction manager: unable to evict any pods from the node");
  co_return none;
}

// True when nothing is short any more.
Task<bool> EvictionManager::ReclaimNodeLevel(Signal signal, bool dedicated_image_fs, bool split_image_fs) {
  const bool disk = PressureCondition(signal) == "DiskPressure";
  const bool image_fs = signal == Signal::kImageFsAvailable || signal == Signal::kImageFsInodesFree;
  const bool node_fs = signal == Signal::kNodeFsAvailable || signal == Signal::kNodeFsInodesFree;
  bool containers = disk, images = disk;
  if (disk && dedicated_image_fs && !split_image_fs) containers = images = !node_fs;
  if (disk && dedicated_image_fs && split_image_fs) containers = !image_fs, images = image_fs;
  if (!containers && !images) co_return false;
  auto report = [&](const Status& status) {
    if (!status.ok()) {
      LOG_WARNING("Eviction manager: unexpected error when attempting to reduce resource pressure",
                  {"resourceName", StarvedResource(signal)}, {"err", status});
    }
  };
  if (containers) report(co_await hooks_.remove_dead_containers());
  if (images) report(co_await hooks_.remove_unused_images());
  auto use = co_await hooks_.use({});
  if (!use.ok()) {
    LOG_ERROR(use.status(), "Eviction manager: failed to get summary stats after resource reclaim");
    co_return false;
  }
  co_return Crossed(options_.thresholds, Observe(*use), true).empty();
}

std::optional<std::string> EvictionManager::Refuses(const Pod& pod) const {
  if (!pressure_.any() || IsCritical(pod)) return std::nullopt;
  if (pressure_.memory && !pressure_.disk && !pressure_.pid) {
    if (QosClass(pod) != "BestEffort" || ToleratesMemoryPressure(pod)) return std::nullopt;
  }
  std::vector<std::string_view> names;
  if (pressure_.memory) names.push_back("MemoryPressure");
  if (pressure_.disk) names.push_back("DiskPressure");
  if (pressure_.pid) names.push_back("PIDPressure");
  return absl::StrCat("The node had condition: [", absl::StrJoin(names, " "), "]. ");
}

}  // namespace skiff::kubelet
