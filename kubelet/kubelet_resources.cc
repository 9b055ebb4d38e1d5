// How the kubelet's garbage collectors and its eviction manager hang together with the rest.
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/time.h"
#include "base/go_text.h"
#include "base/log.h"
#include "cadvisor/machine.h"
#include "kubelet/kubelet_parts.h"
#include "kubelet/node/oom_watcher.h"

namespace skiff::kubelet {
namespace {

constexpr auto kContainerGcPeriod = std::chrono::minutes(1);
constexpr char kEvicted[] = "Evicted";
constexpr char kEnforced[] = "NodeAllocatableEnforced", kNotEnforced[] = "FailedNodeAllocatableEnforcement";

bool Lists(const std::vector<std::string>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

// What a cgroup of pods, or of what is not pods, gets of these. `compressible`: only what can be taken back.
CgroupResources LimitsOf(const ResourceList& list, bool compressible) {
  CgroupResources out;
  if (list.contains("cpu")) out.cpu_shares = MilliCpuToShares(Get(list, "cpu").MilliValue());
  if (compressible) return out;
  if (list.contains("memory")) out.memory_limit = Get(list, "memory").Value();
  if (list.contains("pid")) out.pids_limit = Get(list, "pid").Value();
  out.huge_pages = HugePagesOf(list);
  return out;
}

ResourceList ToList(const std::map<std::string, std::string>& texts) {
  ResourceList out;
  for (const auto& [name, text] : texts) out[name] = api::Quantity::Of(text).ToProto();
  return out;
}

}  // namespace

Status Kubelet::MakeCgroups(const NodeResources& resources) {
  RETURN_IF_ERROR(ValidateReservations(config_, resources));
  Cgroups::Options options;
  const bool systemd = config_.cgroup_driver == "systemd";
  if (systemd && config_.cgroups_per_qos) slices_ = NewSystemdSlices();
  options.names = CgroupNames(config_.cgroup_root, systemd);
  options.slices = slices_.get();
  options.enabled = config_.cgroups_per_qos;
  options.cfs_quota = config_.cpu_cfs_quota;
  options.period_micros = config_.cpu_cfs_quota_period.count() / 1000;
  options.pids_limit = config_.pod_pids_limit;
  options.page_sizes = HugePageSizes();
  cgroups_ = std::make_unique<Cgroups>(std::move(options));
  if (!cgroups_->v2() && config_.fail_cgroup_v1) {
    return FailedPrecondition(
        "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be "
        "removed in a future release (set failCgroupV1: false to run nevertheless)");
  }
  SystemCgroups::Options system;
  system.kubelet = config_.kubelet_cgroups;
  system.system = config_.system_cgroups;
  system.oom_score_adj = config_.oom_score_adj;
  system.pid = ::getpid();
  ASSIGN_OR_RETURN(system_cgroups_, SystemCgroups::Make(std::move(system), *cgroups_));
  // Pods together may have what is not reserved, or everything when nothing is enforced. What evictions keep free does
  // not count: pods must be able to get there for evictions to begin.
  ResourceList top = resources.capacity;
  if (auto host = cadvisor::Host::Open(); host.ok()) {
    if (const auto tasks = cadvisor::ReadTaskCounts(*host); tasks.ok())
      top["pid"] = api::Quantity(tasks->max).ToProto();
  }
  if (Lists(config_.enforce_node_allocatable, "pods")) {
    for (auto& [name, quantity] : top) {
      api::Quantity left = api::Quantity::Of(quantity);
      for (const auto* reserved : {&config_.system_reserved, &config_.kube_reserved}) {
        if (auto it = reserved->find(name); it != reserved->end()) left -= api::Quantity::Of(it->second);
      }
      quantity = (left.Sign() < 0 ? api::Quantity() : left).ToProto();
    }
  }
  pods_limits_ = LimitsOf(top, false);
  return cgroups_->MakeRoots(pods_limits_);
}

Task<bool> Kubelet::LimitPods() {
  const Status s = co_await cgroups_->LimitPods(pods_limits_);
  if (s.ok()) {
    events_->Record(agent_->Reference(), client::kNormal, kEnforced, "Updated Node Allocatable limit across pods");
    co_return true;
  }
  if (absl::IsCancelled(s)) co_return false;
  std::vector<std::string> names;
  for (std::string_view part : absl::StrSplit(config_.cgroup_root, '/', absl::SkipEmpty())) {
    names.push_back(GoQuote(part));
  }
  names.push_back(GoQuote("kubepods"));
  events_->Record(
      agent_->Reference(), client::kWarning, kNotEnforced,
      absl::StrCat("Failed to update Node Allocatable Limits [", absl::StrJoin(names, " "), "]: ", s.message()));
  co_return false;
}

// Pods that run already may use more than a lower limit allows: evictions bring them there.
Task<void> Kubelet::LimitPodsInTime() {
  do {
    if (!(co_await clock_.Sleep(std::chrono::minutes(1))).ok()) co_return;
  } while (!co_await LimitPods());
}

Task<Status> Kubelet::EnforceAllocatable() {
  auto event = [this](std::string_view type, std::string_view reason, std::string message) {
    events_->Record(agent_->Reference(), type, reason, std::move(message));
  };
  if (cgroups_->enabled() && !co_await LimitPods()) group_.Spawn("node allocatable", LimitPodsInTime());
  struct Reserved {
    const char *key, *whose, *lower;
    const std::string& cgroup;
    const std::map<std::string, std::string>& amount;
  };
  for (const Reserved& r :
       {Reserved{"system-reserved", "System Reserved", "system reserved", config_.system_reserved_cgroup,
                 config_.system_reserved},
        {"kube-reserved", "Kube Reserved", "kube reserved", config_.kube_reserved_cgroup, config_.kube_reserved}}) {
    for (bool compressible : {false, true}) {
      if (!Lists(config_.enforce_node_allocatable, absl::StrCat(r.key, compressible ? "-compressible" : ""))) continue;
      Status s = cgroups_->LimitReserved(r.cgroup, LimitsOf(ToList(r.amount), compressible));
      if (!s.ok()) {
        std::string message = absl::StrCat("Failed to enforce ", r.whose, compressible ? " Compressible" : "",
                                           " Cgroup Limits on ", GoQuote(r.cgroup), ": ", s.message());
        event(client::kWarning, kNotEnforced, message);
        co_return Status(s.code(), message);
      }
      event(client::kNormal, kEnforced, absl::StrCat("Updated limits on ", r.lower, " cgroup ", r.cgroup));
    }
  }
  co_return absl::OkStatus();
}

Status Kubelet::MakeResources() {
  auto node_event = [this](std::string_view type, std::string_view reason, std::string message) {
    events_->Record(agent_->Reference(), type, reason, std::move(message));
  };
  auto& images_removed =
      registry_.Counters("kubelet_image_garbage_collected_total",
                         "[ALPHA] Total number of images garbage collected by the kubelet, whether through disk usage "
                         "or image age.",
                         {"reason"});
  auto& evictions = registry_.Counters(
      "kubelet_evictions", "[ALPHA] Cumulative number of pod evictions by eviction signal", {"eviction_signal"});

  ContainerGcOptions containers;
  containers.min_age = config_.minimum_container_ttl;
  containers.max_per_container = config_.maximum_dead_containers_per_container;
  containers.max_containers = config_.maximum_dead_containers;
  containers.logs_dir = config_.pod_logs_dir;
  containers.container_logs_dir = config_.container_logs_dir;
  containers.request_timeout = config_.runtime_request_timeout;
  ContainerGcHooks container_hooks;
  container_hooks.sources_ready = [this] { return sources_ready_ && pod_config_->SeenAll(); };
  container_hooks.content_gone = [this](const std::string& uid) { return workers_->ContentGone(uid); };
  container_hooks.runtime_ended = [this](const std::string& uid) { return !workers_->MayRun(uid); };
  container_gc_ = std::make_unique<ContainerGc>(*runtime_, clock_, containers, std::move(container_hooks));

  ImageGcOptions images;
  images.high_percent = config_.image_gc_high_threshold_percent;
  images.low_percent = config_.image_gc_low_threshold_percent;
  images.min_age = config_.image_minimum_gc_age;
  images.max_age = config_.image_maximum_gc_age;
  ImageGcHooks image_hooks;
  image_hooks.image_fs = [this] { return ImageDisk(); };
  image_hooks.node_event = node_event;
  image_hooks.count = [&images_removed](std::string_view reason) { images_removed.With({std::string(reason)}).Inc(); };
  image_hooks.removed = [this](const std::string& id, WallTime began) {
    pod_runtime_->images().ForgetImage(id, began);
  };
  image_hooks.freed = [this](const std::set<std::string>& names, WallTime began) {
    pod_runtime_->images().ForgetOthers(names, began);
  };
  image_gc_ = std::make_unique<ImageGc>(*runtime_, clock_, images, std::move(image_hooks));

  ThresholdSettings settings;
  settings.hard = config_.eviction_hard;
  settings.soft = config_.eviction_soft;
  settings.soft_grace = config_.eviction_soft_grace_period;
  settings.min_reclaim = config_.eviction_minimum_reclaim;
  for (const auto& what : config_.enforce_node_allocatable) settings.allocatable |= what == "pods";
  EvictionOptions eviction;
  ASSIGN_OR_RETURN(eviction.thresholds, ParseThresholds(settings));
  eviction.max_pod_grace_seconds = config_.eviction_max_pod_grace_period;
  eviction.pressure_transition = config_.eviction_pressure_transition_period;
  eviction.local_storage_limits = config_.local_storage_capacity_isolation;
  EvictionHooks hooks;
  hooks.use = [this](std::vector<PodPtr> pods) { return UseOf(std::move(pods)); };
  hooks.active_pods = [this] { return workers_->Active(); };
  hooks.evict = [this](PodPtr pod, PodEviction what) { return EvictPod(std::move(pod), std::move(what)); };
  hooks.cleaned_up = [this](const std::string& uid) { return workers_->Released(uid); };
  hooks.remove_dead_containers = [this] { return container_gc_->Collect(true); };
  hooks.remove_unused_images = [this] { return image_gc_->RemoveUnused(); };
  hooks.node_event = node_event;
  hooks.count = [&evictions](std::string_view signal) { evictions.With({std::string(signal)}).Inc(); };
  eviction_ = std::make_unique<EvictionManager>(clock_, std::move(eviction), std::move(hooks));
  agent_->SetPressure([this] { return eviction_->pressure(); });
  return absl::OkStatus();
}

Task<void> Kubelet::KeepSystemCgroups() {
  std::string said;  // once, not every few minutes
  while (!co_await IsCancelled()) {
    if (Status s = system_cgroups_->Ensure(); !s.ok() && s.message() != said) {
      said = std::string(s.message());
      LOG_INFO("Failed to get or keep the kubelet's and the system's cgroups. System container metrics may be missing",
               {"err", s});
    }
    if (absl::IsCancelled(co_await clock_.Sleep(system_cgroups_->period()))) break;
  }
}

void Kubelet::StartResources() {
  SpawnVital("system cgroups", KeepSystemCgroups());
  SpawnVital("evictions", eviction_->Run());
  SpawnVital("container garbage", CollectContainers());
  SpawnVital("image garbage", image_gc_->Run());
  SpawnVital("system OOMs", ReportOoms());
}

Task<void> Kubelet::ReportOoms() {
  auto report = [this](const OomKill& kill) {
    if (kill.cgroup != "/") return;
    events_->Record(agent_->Reference(), client::kWarning, "SystemOOM", SystemOomMessage(kill));
  };
  Status s = co_await WatchSystemOoms(report);
  if (!absl::IsCancelled(s)) LOG_WARNING("Kills for lack of memory on the machine are not reported", {"err", s});
}

Task<void> Kubelet::CollectContainers() {
  while (!co_await IsCancelled()) {
    Status s = co_await container_gc_->Collect(false);
    if (absl::IsCancelled(s)) break;
    if (!s.ok()) {
      LOG_ERROR(s, "Container garbage collection failed");
      events_->Record(agent_->Reference(), client::kWarning, "ContainerGCFailed", std::string(s.message()));
    }
    if (absl::IsCancelled(co_await clock_.Sleep(kContainerGcPeriod))) break;
  }
}

Task<StatusOr<NodeUse>> Kubelet::UseOf(std::vector<PodPtr> pods) {
  CO_ASSIGN_OR_RETURN(Stats * stats, GetStats());
  StatsInputs in;
  in.node_name = node_name_;
  for (auto& pod : pods) in.pods.push_back(StatsPodOf(std::move(pod)));
  if (in.pods.empty() && !disks_.image_directory.empty()) {
    in.runtime = disks_;  // the file systems are all that is asked for
  } else {
    in.runtime = co_await AskRuntime(!in.pods.empty());
  }
  co_return co_await stats->Use(std::move(in));
}

Task<StatusOr<ImageGcHooks::Disk>> Kubelet::ImageDisk() {
  CO_ASSIGN_OR_RETURN(const NodeUse use, co_await UseOf({}));
  if (!use.image_fs) co_return Unavailable("failed to get image stats");
  co_return ImageGcHooks::Disk{static_cast<int64_t>(use.image_fs->capacity),
                               static_cast<int64_t>(use.image_fs->available)};
}

Task<bool> Kubelet::EvictPod(PodPtr evicted, PodEviction what) {
  const Pod& pod = *evicted;
  const std::string& uid = pod.metadata().uid();
  if (IsCritical(pod)) {
    LOG_WARNING("Eviction manager: cannot evict a critical pod", {"pod", PodKey(pod)});
    co_return false;
  }
  std::optional<core::PodCondition> condition;
  if (what.disruption_target) {
    condition.emplace();
    condition->set_type("DisruptionTarget");
    condition->set_status("True");
    condition->set_reason("TerminationByKubelet");
    condition->set_message(what.report.message);
    if (pod.metadata().generation() != 0) condition->set_observedgeneration(pod.metadata().generation());
    *condition->mutable_lasttransitiontime() = api::ToTime(clock_.Now());
    condition->mutable_lasttransitiontime()->clear_nanos();
  }
  // One whose end began before is waited for again: as long as it holds what it has, no other pod goes in its place.
  (void)workers_->Evict(uid, what.grace_seconds, {kEvicted, what.report.message}, std::move(condition));
  // It ended by itself while it was being ranked: what that gave back is looked at before any other pod has to go.
  if (!workers_->MayRun(uid)) co_return true;
  events_->RecordAnnotated(client::ReferenceTo(pod), client::kWarning, kEvicted, what.report.message,
                           what.report.annotations);
  if (co_await workers_->AwaitEnd(evicted, what.grace_seconds)) {
    LOG_INFO("Eviction manager: pod is evicted successfully", {"pod", PodKey(pod)}, {"message", what.report.message});
  } else if (!co_await IsCancelled()) {
    LOG_WARNING("Eviction manager: pod failed to evict", {"pod", PodKey(pod)}, {"err", "timeout waiting to kill pod"});
  }
  co_return true;
}

}  // namespace skiff::kubelet
