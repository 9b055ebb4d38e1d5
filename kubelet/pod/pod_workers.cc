#include "kubelet/pod/pod_workers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/log.h"
#include "base/timed_wait.h"
#include "kubelet/pod/pod_worker.h"
#include "kubelet/pod/resize.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kRetry = seconds(10);  // after a step that failed

// By upstream's word: one that has no status yet, too.
bool JustStarted(const core::PodStatus* before, const core::PodStatus& now) {
  return before == nullptr || (before->phase() == "Pending" && now.phase() == "Running");
}

}  // namespace

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

std::vector<PodPtr> PodWorkers::Pods() const {
  std::vector<PodPtr> out;
  for (const auto& [uid, w] : workers_) {
    if (!w->unknown && !w->gone) out.push_back(statuses_.WithStatus(w->pod));
  }
  return out;
}

PodPtr PodWorkers::Find(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it == workers_.end() || it->second->unknown ? nullptr : it->second->pod;
}

PodPtr PodWorkers::FindByName(const std::string& ns, const std::string& name) const {
  for (const auto& [uid, w] : workers_) {
    if (!w->unknown && !w->gone && w->pod->metadata().name() == name && w->pod->metadata().namespace_() == ns) {
      return statuses_.WithStatus(w->pod);
    }
  }
  return nullptr;
}

std::vector<PodPtr> PodWorkers::Active() const {
  std::vector<PodPtr> out;
  for (const auto& [uid, w] : workers_) {
    // One that an earlier life admitted, or that is being ended, holds what it has before anybody has looked at it.
    const bool holds =
        w->admitted || w->terminate ||
        (allocations_ != nullptr && allocations_->Knows(uid) && !IsTerminalPhase(w->pod->status().phase()));
    // Over since an earlier life; what is left to do for it, such as a network that will not go, takes nothing.
    const bool over = w->looked && IsTerminalPhase(w->pod->status().phase()) && !cache_.Get(uid)->AnyRunning();
    if (holds && !over && !w->rejected && !w->stopped && !w->unknown) out.push_back(Allocated(w->pod));
  }
  return out;
}

std::vector<PodPtr> PodWorkers::HeldByOthers(const std::string& uid) const {
  std::vector<PodPtr> out = Active();
  std::erase_if(out, [&](const PodPtr& pod) { return pod->metadata().uid() == uid; });
  if (allocations_ == nullptr) return out;
  for (PodPtr& pod : out) {
    if (PodPtr actuated = allocations_->Actuated(*pod)) {
      pod = std::make_shared<const Pod>(HeldBy(*pod, *actuated, *cache_.Get(pod->metadata().uid())));
    }
  }
  return out;
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

bool PodWorkers::Released(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it == workers_.end() || it->second->finished;
}

bool PodWorkers::Wanted(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it != workers_.end() && !it->second->unknown && !it->second->gone;
}

bool PodWorkers::MayRun(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it != workers_.end() && !it->second->stopped;
}

bool PodWorkers::ContentGone(const std::string& uid) const {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return true;
  const Worker& w = *it->second;
  // Not before the last container has ended: its status is made of what the runtime has.
  return w.stopped && (w.evicted || w.gone || w.pod->metadata().has_deletiontimestamp());
}

bool PodWorkers::Terminating(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it != workers_.end() && it->second->terminate;
}

std::map<std::array<std::string, 3>, int> PodWorkers::Working() const {
  std::map<std::array<std::string, 3>, int> out;
  for (const auto& [uid, w] : workers_) {
    const char* lifecycle = w->stopped ? "terminated" : w->terminate ? "terminating" : "sync";
    const char* config = w->unknown ? "runtime_only" : w->gone ? "orphan" : "desired";
    ++out[{lifecycle, config, w->unknown ? "unknown" : IsStatic(*w->pod) ? "true" : ""}];
  }
  return out;
}

std::set<std::string> PodWorkers::Known() const {
  std::set<std::string> out;
  for (const auto& [uid, w] : workers_) out.insert(uid);
  return out;
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

// The start is the wall clock's (the API has it); from there on the steady clock counts, which nobody sets.
bool PodWorkers::Overdue(Worker& w, const Pod& pod, std::chrono::nanoseconds* left) const {
  if (!pod.spec().has_activedeadlineseconds()) return false;
  const core::PodStatus* status = statuses_.Get(w.uid);
  const meta::Time& started = status != nullptr ? status->starttime() : pod.status().starttime();
  if (started.seconds() == 0) return false;
  if (w.deadline_seconds != pod.spec().activedeadlineseconds()) {
    w.deadline_seconds = pod.spec().activedeadlineseconds();
    w.deadline = clock_.Steady() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                       WallTime(seconds(started.seconds() + w.deadline_seconds)) - clock_.Now());
  }
  if (clock_.Steady() >= w.deadline) return true;
  *left = w.deadline - clock_.Steady();
  return false;
}

// Which looks at every pod: not for one that makes no difference. The first time there is what an earlier life has
// left.
void PodWorkers::TellChange(const Worker& w) {
  if (!hooks_.pods_changed || (std::exchange(told_, true) && QosClass(*w.pod) != "Burstable")) return;
  hooks_.pods_changed();
}

Task<Status> PodWorkers::Prepare(std::shared_ptr<Worker> w, PodPtr pod) {
  if (w->half_made || !cgroups_.PodExists(*pod)) {
    w->half_made = true;
    if (Status s = co_await Interrupt::Run(w->interrupt, cgroups_.MakePod(*pod)); !s.ok()) {
      if (absl::IsCancelled(s)) co_return s;
      events_.Record(*pod, client::kWarning, "FailedCreatePodContainer",
                     absl::StrCat("unable to ensure pod container exists: ", s.message()));
      co_return s;
    }
    w->half_made = false;
    if (w->interrupt->stopped()) co_return absl::CancelledError("stopped");
  }
  std::string dir = PodDir(options_.root_dir, w->uid);
  for (const char* part : {"", "/volumes", "/plugins"}) {
    if (Status s = MakeDirs(dir + part, 0750); !s.ok()) {
      events_.Record(*pod, client::kWarning, "Failed",
                     absl::StrCat("error making pod data directories: ", s.message()));
      co_return s;
    }
  }
  co_return absl::OkStatus();
}

// A runtime that does not answer at all is the node's matter. The same error is told once, not with every try.
void PodWorkers::TellUnread(Worker& w, const Status& why) {
  if (w.unknown || absl::IsUnavailable(why) || absl::IsCancelled(why) || w.unread == why.message()) return;
  w.unread = std::string(why.message());
  events_.Record(*w.pod, client::kWarning, "FailedSync", absl::StrCat("error determining status: ", w.unread));
}

Task<StatusOr<PodStatePtr>> PodWorkers::LookAgain(const PodRuntime::SyncResult& result) {
  if (result.more) return cache_.Refresh(result.made.uid);
  return cache_.See(result.made);
}

Task<PodWorkers::Step> PodWorkers::SyncOnce(std::shared_ptr<Worker> w) {
  Step out;
  PodPtr pod = w->pod;
  if (!w->looked) {
    auto fresh = co_await cache_.Refresh(w->uid);
    if (!fresh.ok()) {
      LOG_ERROR(fresh.status(), "Cannot read the pod's state from the runtime", {"pod", PodKey(*pod)});
      TellUnread(*w, fresh.status());
      out.wait = seconds(1);
      co_return out;
    }
    w->looked = true;
    w->unread.clear();
  }
  PodStatePtr state = cache_.Get(w->uid);

  if (!w->admitted) {
    // What runs already was admitted in an earlier life.
    const bool ran = (!state->containers.empty() && !w->returned) || IsTerminalPhase(pod->status().phase());
    if (ran && allocations_ != nullptr && !allocations_->Knows(w->uid) && !IsTerminalPhase(pod->status().phase())) {
      // What it was granted is lost. What its spec wants beyond that is a resize, which has to be admitted.
      allocations_->Allocate(GrantedByStatus(*pod));
    }
    AdmissionResult admission;
    if (!ran && hooks_.admit) admission = hooks_.admit(*Allocated(pod), HeldByOthers(w->uid));
    if (hooks_.refresh_node && admission.rejection && admission.rejection->reason == "NodeAffinity") {
      co_await hooks_.refresh_node();
      if (w->terminate || co_await IsCancelled()) co_return out;
      admission = hooks_.admit(*Allocated(pod), HeldByOthers(w->uid));
    }
    if (!admission.preempt.empty()) {
      w->admitted = true;  // it holds what it takes already
      co_await Preempt(std::move(admission.preempt));
      if (co_await IsCancelled()) co_return out;
    }
    if (const auto& rejection = admission.rejection) {
      w->rejected = w->stopped = true;
      core::PodStatus status;
      if (pod->metadata().generation() != 0) status.set_observedgeneration(pod->metadata().generation());
      status.set_phase("Failed");
      status.set_reason(rejection->reason);
      status.set_message("Pod was rejected: " + rejection->message);
      status.set_qosclass(std::string(QosClass(*pod)));
      events_.Record(*pod, client::kWarning, rejection->reason, rejection->message);
      for (const auto& c : pod->status().conditions()) {
        if (c.type() != "PodScheduled") *status.add_conditions() = c;
      }
      statuses_.Set(*pod, std::move(status));
      out.terminal = true;
      co_return out;
    }
    w->admitted = true;
    if (allocations_ != nullptr && !IsTerminalPhase(pod->status().phase())) {
      if (!allocations_->Knows(w->uid)) allocations_->Allocate(*pod);
      RestoreResize(*pod);
    }
    TellChange(*w);
  }
  HandleResize(*w);
  if (ReportResize(*Allocated(pod), *state)) RetryResizes();
  // While one is written, another pod's end may grant the next.
  while (std::exchange(w->must_save, false)) {
    co_await SaveGranted();
    if (w->terminate || co_await IsCancelled()) co_return out;
    state = cache_.Get(w->uid);
  }
  pod = Allocated(pod);

  std::chrono::nanoseconds deadline_left{0};
  if (Overdue(*w, *pod, &deadline_left)) {
    w->failed = {"DeadlineExceeded", "Pod was active on the node longer than the specified deadline"};
    events_.Record(*pod, client::kNormal, w->failed.reason, w->failed.message);
  }
  // What runs waits for nothing.
  for (const auto& c : state->containers) {
    if (c.state == ContainerState::State::kRunning) w->reasons.erase(c.name);
  }
  core::PodStatus status = Generate(*w, *pod, *state, false);
  const bool terminal = IsTerminalPhase(status.phase());
  const bool runs = std::any_of(status.containerstatuses().begin(), status.containerstatuses().end(),
                                [](const auto& c) { return c.state().has_running(); });
  const auto* restarting = FindCondition(status, "AllContainersRestarting");
  const bool restart_all = restarting != nullptr && restarting->status() == "True";
  if (!terminal && JustStarted(statuses_.Get(w->uid), status)) ObservePodStart(clock_.Steady() - w->seen);
  statuses_.Set(*pod, std::move(status));
  if (terminal) {
    out.terminal = true;
    co_return out;
  }

  if (hooks_.network_ready && !IsHostNetwork(*pod)) {
    if (Status s = hooks_.network_ready(); !s.ok()) {
      events_.Record(*pod, client::kWarning, "NetworkNotReady", absl::StrCat("network is not ready: ", s.message()));
      out.wait = seconds(2);
      co_return out;
    }
  }
  objects_.RegisterPod(*pod);
  if (runs && !cgroups_.PodHasMemoryCgroup(*pod)) {
    // Made under another cgroupRoot or driver, or before there were cgroups for pods. What runs cannot be moved; what
    // is to run again does so in the new cgroup.
    LOG_INFO("Ending a pod's containers, which are not in its cgroup", {"pod", PodKey(*pod)}, {"podUID", w->uid});
    Status killed = co_await Interrupt::Run(w->interrupt, runtime_.Kill(pod, state, std::nullopt));
    if (w->interrupt->stopped()) co_return out;
    if (killed.ok()) killed = (co_await cache_.Refresh(w->uid)).status();
    if (!killed.ok()) {
      LOG_ERROR(killed, "Cannot end containers that are not in their pod's cgroup", {"pod", PodKey(*pod)});
      out.wait = kRetry;
      co_return out;
    }
    out.again = true;
    co_return out;
  }
  if (Status s = co_await Prepare(w, pod); !s.ok()) {
    if (absl::IsCancelled(s)) co_return out;
    LOG_ERROR(s, "Cannot prepare pod", {"pod", PodKey(*pod)});
    out.wait = kRetry;
    co_return out;
  }
  Status mounted = co_await Interrupt::Run(w->interrupt, volumes_.WaitForMounts(pod));
  if (w->interrupt->stopped()) co_return out;
  if (!mounted.ok()) {
    LOG_ERROR(mounted, "Unable to attach or mount volumes for pod; skipping pod", {"pod", PodKey(*pod)});
    // Who waited in vain looks again at once: each failure was told. What cannot be told so (an unbound claim) takes
    // somebody's doing.
    out.wait = seconds(1);
    if (!absl::IsDeadlineExceeded(mounted)) {
      events_.Record(*pod, client::kWarning, "FailedMount",
                     absl::StrCat("Unable to attach or mount volumes: ", mounted.message()));
      out.wait = kRetry;
    }
    co_return out;
  }
  probes_.AddPod(pod);

  auto result = co_await runtime_.Sync(pod, state, w->interrupt, restart_all);
  if (w->interrupt->stopped()) co_return out;
  for (const auto& name : result.started) w->reasons.erase(name);
  bool show = false, crash_loop = false, pull_failed = false;
  for (auto& [name, reason] : result.failures) {
    if (reason.reason == "ContainerCreating") continue;
    crash_loop = crash_loop || reason.reason == "CrashLoopBackOff";
    pull_failed = pull_failed || reason.reason == "ErrImagePull";
    auto it = w->reasons.find(name);
    if (it == w->reasons.end() || it->second.reason != reason.reason || it->second.message != reason.message) {
      // A crash is first seen as what it was; that the kubelet waits shows a moment later.
      if (reason.reason != "CrashLoopBackOff") show = true;
      w->reasons[name] = std::move(reason);
    }
  }
  if (result.changed) {
    auto fresh = co_await LookAgain(result);
    if (!fresh.ok()) {
      w->looked = false;
      out.wait = seconds(1);
      co_return out;
    }
    state = *fresh;
    if (w->interrupt->stopped()) co_return out;
    if (result.status.ok()) {
      out.again = true;  // which reports, and finds out what comes next
      co_return out;
    }
    show = true;
  }
  if (!result.resize_error.empty()) {
    ReportResizeError(*pod, result.resize_error);
    show = true;
  }
  if (show) statuses_.Set(*pod, Generate(*w, *pod, *state, false));
  if (!result.status.ok()) {
    if (!absl::IsCancelled(result.status)) {
      VLOG(2, "Error syncing pod, skipping", {"pod", PodKey(*pod)}, {"err", result.status});
    }
    out.wait = kRetry;
    if (pull_failed || result.changed) out.wait = seconds(1);
    if (crash_loop) out.wait = std::min<std::chrono::nanoseconds>(out.wait, seconds(1));
    if (result.retry_after.count() > 0) {
      // Shown after a second, tried again when the time has come.
      const core::PodStatus* shown = statuses_.Get(w->uid);
      bool pending = false;
      for (const auto& [name, reason] : w->reasons) {
        const auto* s = shown == nullptr ? nullptr : FindStatus(*shown, name);
        pending = pending || (s != nullptr && s->state().waiting().reason() != reason.reason);
      }
      out.wait = result.retry_after + milliseconds(1);
      if (pending) out.wait = std::min<std::chrono::nanoseconds>(out.wait, seconds(1));
    }
  }
  if (deadline_left.count() > 0 && (out.wait.count() == 0 || deadline_left < out.wait)) {
    out.wait = deadline_left + milliseconds(1);
  }
  co_return out;
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
    failed.wait = kRetry;
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
    return std::min<std::chrono::nanoseconds>(milliseconds(100) * (1 << std::min(w->errors++, 7)), kRetry);
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
