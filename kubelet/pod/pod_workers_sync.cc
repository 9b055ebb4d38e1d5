// One step of a pod that is to run: admit it, make what it needs, bring the runtime there, tell how it is.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/log.h"
#include "kubelet/pod/pod_worker.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// By upstream's word: one that has no status yet, too.
bool JustStarted(const core::PodStatus* before, const core::PodStatus& now) {
  return before == nullptr || (before->phase() == "Pending" && now.phase() == "Running");
}

}  // namespace

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
      out.wait = kPodRetry;
      co_return out;
    }
    out.again = true;
    co_return out;
  }
  if (Status s = co_await Prepare(w, pod); !s.ok()) {
    if (absl::IsCancelled(s)) co_return out;
    LOG_ERROR(s, "Cannot prepare pod", {"pod", PodKey(*pod)});
    out.wait = kPodRetry;
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
      out.wait = kPodRetry;
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
    out.wait = kPodRetry;
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

}  // namespace skiff::kubelet
