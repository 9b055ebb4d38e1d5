#include "kubelet/pod/pod_workers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "base/log.h"
#include "base/timed_wait.h"
#include "kubelet/pod/pod_worker.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {

using std::chrono::milliseconds;
using std::chrono::seconds;

PodWorkers::PodWorkers(asio::any_io_executor executor, Clock& clock, RuntimeCache& cache, PodRuntime& runtime,
                       StatusManager& statuses, ProbeManager& probes, VolumeManager& volumes, ObjectSource& objects,
                       Cgroups& cgroups, client::EventSink& events, PodWorkersOptions options, PodWorkersHooks hooks)
    : executor_(executor),
      clock_(clock),
      cache_(cache),
      runtime_(runtime),
      statuses_(statuses),
      probes_(probes),
      volumes_(volumes),
      objects_(objects),
      cgroups_(cgroups),
      events_(events),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      group_(executor) {}

PodWorkers::~PodWorkers() = default;

Task<void> PodWorkers::Shutdown() {
  group_.Cancel();
  co_await group_.Join();
}

void PodWorkers::Update(PodPtr pod) {
  const std::string uid = pod->metadata().uid();
  auto it = workers_.find(uid);
  if (it == workers_.end()) {
    auto w = std::make_shared<Worker>(executor_);
    w->uid = uid;
    w->pod = pod;
    w->seen = clock_.Steady();
    if (pod->metadata().has_deletiontimestamp()) w->terminate = true;
    w->evicted = pod->status().phase() == "Failed" && pod->status().reason() == "Evicted";
    w->was_over = IsTerminalPhase(pod->status().phase());
    // A new pod of which a pass over all that the runtime has found nothing: there is nothing of it.
    w->looked = !cache_.MayHave(uid);
    workers_.emplace(uid, w);
    if (IsStatic(*pod)) static_turns_[PodKey(*pod)].push_back(uid);
    VLOG(2, "SyncLoop ADD", {"pod", PodKey(*pod)}, {"podUID", uid});
    group_.Spawn(absl::StrCat("pod ", PodKey(*pod)), Run(w));
    return;
  }
  auto& w = it->second;
  if (w->gone && !pod->metadata().has_deletiontimestamp()) {
    w->again = std::move(pod);
    return;
  }
  const Pod& before = *w->pod;
  // A manifest has neither of the two.
  const bool spec_changed = IsStatic(*pod) || before.metadata().generation() != pod->metadata().generation() ||
                            before.metadata().resourceversion() != pod->metadata().resourceversion();
  const bool deleted_now = !before.metadata().has_deletiontimestamp() && pod->metadata().has_deletiontimestamp();
  const bool shorter = before.metadata().has_deletiongraceperiodseconds() &&
                       pod->metadata().deletiongraceperiodseconds() < before.metadata().deletiongraceperiodseconds();
  // Only a status write of ours: nothing to do.
  bool only_status = before.metadata().generation() == pod->metadata().generation() && !deleted_now && !shorter &&
                     before.metadata().labels_size() == pod->metadata().labels_size();
  if (only_status) {
    for (const auto& [key, value] : pod->metadata().labels()) {
      auto found = before.metadata().labels().find(key);
      if (found == before.metadata().labels().end() || found->second != value) only_status = false;
    }
    auto annotations = [](const Pod& p) {
      return std::map<std::string, std::string>(p.metadata().annotations().begin(), p.metadata().annotations().end());
    };
    if (annotations(before) != annotations(*pod)) only_status = false;
    // API servers before 1.33 do not count generations.
    if (pod->metadata().generation() == 0 && !api::Equal(before.spec(), pod->spec())) only_status = false;
    // Readiness gates are conditions that others write.
    if (pod->spec().readinessgates_size() > 0) only_status = false;
  }
  w->pod = pod;
  if (!IsStatic(*pod)) statuses_.Seen(uid, *pod);
  if (w->finished) {
    if (deleted_now || pod->metadata().has_deletiontimestamp()) statuses_.Nudge(uid);
    return;
  }
  if (!spec_changed || only_status) return;
  volumes_.UpdatePod(pod);
  if (deleted_now && w->syncing()) {
    w->terminate = true;
    w->interrupt->Stop();
  } else if (shorter || (deleted_now && w->grace && pod->metadata().deletiongraceperiodseconds() < *w->grace)) {
    w->interrupt->Stop();  // an end that is under way goes on with less time
  }
  w->wakeup.Notify();
}

void PodWorkers::Remove(const std::string& uid) {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return;
  auto& w = it->second;
  w->gone = true;
  w->again = nullptr;
  if (w->syncing()) {
    w->terminate = true;
    w->interrupt->Stop();
  }
  w->wakeup.Notify();
}

void PodWorkers::Wake(const std::string& uid) {
  auto it = workers_.find(uid);
  if (it != workers_.end()) it->second->wakeup.Notify();
}

void PodWorkers::WakeAll() {
  for (auto& [uid, w] : workers_) {
    if (!w->finished) w->wakeup.Notify();
  }
}

void PodWorkers::EndUnknown() {
  for (const auto& state : cache_.All()) {
    if (workers_.contains(state->uid) || (state->sandboxes.empty() && state->containers.empty())) continue;
    auto pod = std::make_shared<Pod>();
    pod->mutable_metadata()->set_name(state->name);
    pod->mutable_metadata()->set_namespace_(state->ns);
    pod->mutable_metadata()->set_uid(state->uid);
    auto w = std::make_shared<Worker>(executor_);
    w->uid = state->uid;
    w->pod = pod;
    w->terminate = w->gone = w->unknown = true;
    w->grace = 1;
    workers_.emplace(state->uid, w);
    LOG_INFO("Ending a pod that is not known any more", {"pod", PodKey(*pod)}, {"podUID", state->uid});
    group_.Spawn(absl::StrCat("pod ", PodKey(*pod)), Run(w));
  }
}

bool PodWorkers::Evict(const std::string& uid, int64_t grace_seconds, WaitReason why,
                       std::optional<core::PodCondition> condition) {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return false;
  Worker& w = *it->second;
  if (w.stopped || w.unknown || !w.failed.reason.empty()) return false;
  w.failed = std::move(why);
  w.disruption = std::move(condition);
  w.evicted = true;
  // A pod that is being ended already is never given more time, nor begins its end anew.
  std::optional<int64_t> left = w.grace;
  if (w.terminate && !left && w.pod->metadata().has_deletiongraceperiodseconds()) {
    left = w.pod->metadata().deletiongraceperiodseconds();
  }
  const bool sooner = !w.terminate || !left || grace_seconds < *left;
  if (sooner) {
    w.grace = grace_seconds;
    w.interrupt->Stop();
  }
  w.terminate = true;
  w.wakeup.Notify();
  return true;
}

core::PodStatus PodWorkers::Generate(const Worker& w, const Pod& pod, const PodState& state, bool terminal) {
  StatusInputs in;
  in.pod = &pod;
  const core::PodStatus* old = statuses_.Get(w.uid);
  in.old_status = old != nullptr ? old : &pod.status();
  in.state = &state;
  in.terminal = terminal;
  in.reasons = &w.reasons;
  if (hooks_.host_ips) in.host_ips = hooks_.host_ips();
  in.prefer_v6 = options_.prefer_v6;
  in.runtime_name = options_.runtime_name;
  in.recursive_read_only = hooks_.recursive_read_only && hooks_.recursive_read_only(pod);
  in.cgroup_limits = [this](const Pod& p) { return cgroups_.ReadPod(p); };
  in.set_ready = [this](const Pod& p, core::PodStatus* s) { probes_.UpdateStatus(p, s); };
  // Once an evicted pod has ended, how its containers did says what it is; the reason stays if it failed.
  if (!w.failed.reason.empty() && !(w.evicted && terminal)) in.failure = &w.failed;
  in.failure_last = w.evicted && !terminal;
  if (w.disruption) in.disruption = &*w.disruption;
  PodPtr actual = allocations_ == nullptr ? nullptr : allocations_->Actuated(pod);
  in.actual = actual.get();
  if (terminal && allocations_ != nullptr && allocations_->FindConditions(w.uid) != nullptr) {
    allocations_->conditions(w.uid) = {};
  }
  if (const auto* resize = allocations_ == nullptr ? nullptr : allocations_->FindConditions(w.uid)) {
    if (resize->pending) in.resize.push_back(*resize->pending);
    if (resize->in_progress) in.resize.push_back(*resize->in_progress);
  }
  return GenerateStatus(in);
}

void PodWorkers::SandboxReady(const Pod& pod) {
  auto it = workers_.find(pod.metadata().uid());
  if (it == workers_.end()) return;
  const core::PodStatus* before = statuses_.Get(it->first);
  core::PodStatus status = before != nullptr ? *before : pod.status();
  MarkSandboxReady(pod, &status);
  statuses_.Set(pod, std::move(status));
}

void PodWorkers::ProbeChanged(const std::string& uid, const std::string& container, ProbeKind kind,
                              ProbeResult result) {
  // Told at once, before the sync that follows: a state that lasts only until the next probe is seen as well.
  auto it = workers_.find(uid);
  const core::PodStatus* before = statuses_.Get(uid);
  if (it != workers_.end() && before != nullptr && kind != ProbeKind::kLiveness) {
    core::PodStatus status = *before;
    const bool good = result == ProbeResult::kSuccess;
    if (kind == ProbeKind::kStartup ? ApplyStarted(container, good, &status)
                                    : ApplyReadiness(*it->second->pod, container, good, &status)) {
      statuses_.Set(*it->second->pod, std::move(status));
    }
  }
  Wake(uid);
}

// Which looks at every pod: not for one that makes no difference. The first time there is what an earlier life has
// left.
void PodWorkers::TellChange(const Worker& w) {
  if (!hooks_.pods_changed || (std::exchange(told_, true) && QosClass(*w.pod) != "Burstable")) return;
  hooks_.pods_changed();
}

namespace {

// A pod whose coroutine ended by an exception would stay as it is for ever, so a step that throws is one that failed.
template <typename T>
Task<T> Guarded(PodPtr pod, Task<T> step, T failed) {
  std::string what = "unknown exception";
  try {
    co_return co_await std::move(step);
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {
  }
  LOG_ERROR(Internal(what), "A pod's step threw an exception", {"pod", PodKey(*pod)},
            {"podUID", pod->metadata().uid()});
  co_return std::move(failed);
}

Task<Status> Guarded(PodPtr pod, Task<Status> step) {
  return Guarded<Status>(std::move(pod), std::move(step), Internal("the step threw an exception"));
}

}  // namespace

Task<void> PodWorkers::Run(std::shared_ptr<Worker> w) {
  while (MustWait(*w->pod)) {
    if (w->gone) {  // never began
      Drop(w);
      co_return;
    }
    (void)co_await w->wakeup.Wait();
    if (co_await IsCancelled()) co_return;
  }
  while (!w->terminate) {
    Step failed;
    failed.wait = kPodRetry;
    const SteadyTime began = clock_.Steady();
    const int64_t generation = w->pod->metadata().generation();
    const char* operation = w->synced < 0 ? "create" : w->synced == generation ? "sync" : "update";
    if (w->synced < 0) ObservePodWorkerStart(began - w->seen);
    w->synced = generation;
    Step step = co_await Guarded(w->pod, SyncOnce(w), failed);
    if (co_await IsCancelled()) co_return;  // the kubelet stops; what runs goes on
    ObservePodWorker(operation, clock_.Steady() - began);
    if (step.terminal) {
      w->terminate = true;
      break;
    }
    if (w->terminate || step.again) continue;
    if (step.wait.count() == 0) {
      // Nothing to do: look again from time to time, not all pods at once.
      uint64_t spread = std::hash<std::string>()(w->uid) % 500;
      step.wait = options_.sync_frequency + options_.sync_frequency * spread / 1000;
      PodStatePtr state = cache_.Get(w->uid);
      if (state->containers.size() > static_cast<size_t>(w->pod->spec().containers_size()) ||
          state->sandboxes.size() > 1) {
        Status s = co_await Guarded(w->pod, runtime_.CollectGarbage(state, options_.dead_containers_per_container));
        if (!s.ok()) VLOG(2, "Failed to remove dead containers", {"pod", PodKey(*w->pod)}, {"err", s});
      }
    }
    (void)co_await WaitFor(clock_, w->wakeup, step.wait);
    if (co_await IsCancelled()) co_return;
  }
  const SteadyTime ending = clock_.Steady();
  auto delay = [&] {
    return std::min<std::chrono::nanoseconds>(milliseconds(100) * (1 << std::min(w->errors++, 7)), kPodRetry);
  };
  for (;;) {
    w->interrupt->Reset();
    Status s = co_await Guarded(w->pod, TerminateOnce(w));
    if (co_await IsCancelled()) co_return;
    if (s.ok()) break;
    if (absl::IsCancelled(s) && w->interrupt->stopped()) continue;  // a shorter grace period
    LOG_ERROR(s, "Error killing pod", {"pod", PodKey(*w->pod)}, {"podUID", w->uid});
    (void)co_await WaitFor(clock_, w->wakeup, delay());
    if (co_await IsCancelled()) co_return;
  }
  if (!w->unknown) ObservePodWorker("update", clock_.Steady() - ending);
  constexpr int kFailuresToTell = 10;  // the first ones are of a runtime or kernel that is not quite done
  int failures = 0;
  w->errors = 0;
  for (;;) {
    Status s = co_await Guarded(w->pod, ReleaseOnce(w));
    if (co_await IsCancelled()) co_return;
    if (s.ok()) break;
    VLOG(2, "Pod's resources are not released yet", {"pod", PodKey(*w->pod)}, {"err", s});
    if (++failures % kFailuresToTell == 0)
      LOG_WARNING("Pod's resources cannot be released", {"pod", PodKey(*w->pod)}, {"podUID", w->uid}, {"err", s});
    (void)co_await clock_.Sleep(delay());
    if (co_await IsCancelled()) co_return;
  }
  w->finished = true;
  if (!w->unknown) ObservePodWorker("terminated", clock_.Steady() - ending);
  if (!w->unknown) statuses_.Terminate(*w->pod);
  EndTurn(*w);
  if (hooks_.pod_ended) hooks_.pod_ended();
  VLOG(2, "Pod is terminated", {"pod", PodKey(*w->pod)}, {"podUID", w->uid});
  while (!w->gone) {
    (void)co_await w->wakeup.Wait();
    if (co_await IsCancelled()) co_return;
    if (w->gone) break;
    if (Status s = co_await Guarded(w->pod, EndLateArrivals(w)); !s.ok()) {
      (void)co_await WaitFor(clock_, w->wakeup, delay());
      w->wakeup.Notify();
    }
    if (co_await IsCancelled()) co_return;
  }
  w->errors = 0;
  // A manifest that was put back: the pod begins again with its containers' counts and logs.
  while (w->again == nullptr) {
    Status s = co_await Guarded(w->pod, EraseOnce(w));
    if (co_await IsCancelled()) co_return;
    if (s.ok()) break;
    VLOG(2, "Cannot remove what a pod left", {"pod", PodKey(*w->pod)}, {"err", s});
    if (++failures % kFailuresToTell == 0)
      LOG_WARNING("What a pod left cannot be removed", {"pod", PodKey(*w->pod)}, {"podUID", w->uid}, {"err", s});
    (void)co_await clock_.Sleep(delay());
    if (co_await IsCancelled()) co_return;
  }
  Drop(w);
}

}  // namespace skiff::kubelet
