// How pods end, and what follows from it: room for others, the turn of the next static pod of a name.
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "kubelet/pod/pod_worker.h"
#include "kubelet/state/layout.h"

namespace skiff::kubelet {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// Of a pod that ends; at least one second, so that preStop hooks and the order of containers count whatever was asked.
int64_t EffectiveGrace(const Pod& pod, std::optional<int64_t> asked) {
  std::optional<int64_t> grace = asked;
  if (pod.metadata().has_deletiongraceperiodseconds()) {
    const int64_t deletion = pod.metadata().deletiongraceperiodseconds();
    grace = std::min(grace.value_or(deletion), deletion);
  }
  if (!grace && pod.spec().has_terminationgraceperiodseconds()) grace = pod.spec().terminationgraceperiodseconds();
  return std::max<int64_t>(grace.value_or(0), 1);
}

}  // namespace

Task<Status> PodWorkers::TerminateOnce(std::shared_ptr<Worker> w) {
  PodPtr pod = Allocated(w->pod);
  auto before = co_await cache_.Refresh(w->uid);
  if (!before.ok()) {
    TellUnread(*w, before.status());
    co_return before.status();
  }
  PodStatePtr state = *std::move(before);
  if (!w->unknown && !w->rejected) statuses_.Set(*pod, Generate(*w, *pod, *state, false));
  probes_.StopLivenessAndStartup(w->uid);
  // One that was over in an earlier life was ended there: nothing of it is asked for again.
  Status killed;
  if (!w->was_over || state->AnyRunning() || state->AnyReady()) {
    killed = co_await Interrupt::Run(w->interrupt, runtime_.Kill(pod, state, EffectiveGrace(*pod, w->grace)));
  }
  if (!killed.ok()) {
    if (!absl::IsCancelled(killed)) {
      events_.Record(*pod, client::kWarning, "FailedKillPod", absl::StrCat("error killing pod: ", killed.message()));
    }
    co_return killed;
  }
  probes_.RemovePod(w->uid);
  CO_ASSIGN_OR_RETURN(state, co_await cache_.Refresh(w->uid));
  if (state->AnyRunning()) co_return Internal("detected running containers after a successful KillPod");
  if (state->AnyReady()) co_return Internal("detected a ready sandbox after a successful KillPod");
  w->stopped = true;
  if (!w->unknown && !w->rejected) {
    core::PodStatus status = Generate(*w, *pod, *state, true);
    statuses_.Set(*pod, std::move(status));
  }
  TellChange(*w);
  RetryResizes();
  co_return absl::OkStatus();
}

Task<Status> PodWorkers::ReleaseOnce(std::shared_ptr<Worker> w) {
  CO_RETURN_IF_ERROR(co_await volumes_.TearDown(w->uid, false), "tear down volumes");
  objects_.UnregisterPod(w->uid);
  CO_RETURN_IF_ERROR(co_await cgroups_.RemovePod(w->uid), "remove cgroup");
  // The pod's ids are free for others, however long its object stays.
  const std::string users = layout::UserNamespace(layout::Pod(options_.root_dir, w->uid));
  if (::unlink(users.c_str()) != 0 && errno != ENOENT) {
    LOG_WARNING("Cannot release a pod's user namespace", {"podUID", w->uid}, {"err", ErrnoStatus(errno, users)});
  }
  runtime_.Forget(w->uid);
  co_return absl::OkStatus();
}

Task<Status> PodWorkers::EraseOnce(std::shared_ptr<Worker> w) {
  CO_ASSIGN_OR_RETURN(PodStatePtr state, co_await cache_.Refresh(w->uid));
  auto named = std::make_shared<PodState>(*state);
  named->name = w->pod->metadata().name();
  named->ns = w->pod->metadata().namespace_();
  CO_RETURN_IF_ERROR(co_await runtime_.Remove(named));
  CO_RETURN_IF_ERROR(co_await volumes_.TearDown(w->uid, true));
  cache_.Forget(w->uid);
  co_return absl::OkStatus();
}

// A call to the runtime that came late may have started something for a pod that was over already.
Task<Status> PodWorkers::EndLateArrivals(std::shared_ptr<Worker> w) {
  PodStatePtr state = cache_.Get(w->uid);
  if (!state->AnyRunning() && !state->AnyReady()) co_return absl::OkStatus();
  LOG_INFO("Ending what started after its pod was over", {"pod", PodKey(*w->pod)}, {"podUID", w->uid});
  CO_ASSIGN_OR_RETURN(state, co_await cache_.Refresh(w->uid));
  CO_RETURN_IF_ERROR(co_await runtime_.Kill(w->pod, state, 1));
  co_return (co_await cache_.Refresh(w->uid)).status();
}

// A static pod waits until the one before it that had its name has ended: an edited manifest makes another pod.
bool PodWorkers::MustWait(const Pod& pod) const {
  auto it = static_turns_.find(PodKey(pod));
  return it != static_turns_.end() && !it->second.empty() && it->second.front() != pod.metadata().uid();
}

void PodWorkers::EndTurn(const Worker& w) {
  auto it = static_turns_.find(PodKey(*w.pod));
  if (it == static_turns_.end()) return;
  std::erase(it->second, w.uid);
  if (it->second.empty()) {
    static_turns_.erase(it);
  } else if (auto next = workers_.find(it->second.front()); next != workers_.end()) {
    next->second->wakeup.Notify();
  }
}

bool PodWorkers::StaticEnding(const std::string& ns, const std::string& name) const {
  return static_turns_.contains(absl::StrCat(ns, "/", name));
}

void PodWorkers::Drop(const std::shared_ptr<Worker>& w) {
  EndTurn(*w);
  runtime_.Forget(w->uid);  // once more: late arrivals were ended since
  statuses_.Forget(w->uid);
  if (allocations_ != nullptr) allocations_->Remove(w->uid);
  auto it = workers_.find(w->uid);
  if (it != workers_.end() && it->second == w) workers_.erase(it);
  if (hooks_.pod_ended) hooks_.pod_ended();
  if (PodPtr again = std::exchange(w->again, nullptr)) {
    Update(std::move(again));
    if (it = workers_.find(w->uid); it != workers_.end()) it->second->returned = true;
  }
}

// Ends pods to make room, and waits until they have ended, or well over their grace periods.
Task<void> PodWorkers::Preempt(std::vector<PodPtr> pods) {
  constexpr char kMessage[] = "Preempted in order to admit critical pod";
  for (const PodPtr& pod : pods) {
    events_.Record(*pod, client::kWarning, "Preempting", kMessage);
    core::PodCondition condition;
    condition.set_type("DisruptionTarget");
    condition.set_status("True");
    condition.set_reason("TerminationByKubelet");
    condition.set_message("Pod was preempted by Kubelet to accommodate a critical pod.");
    if (pod->metadata().generation() != 0) condition.set_observedgeneration(pod->metadata().generation());
    const int64_t grace =
        pod->spec().has_terminationgraceperiodseconds() ? pod->spec().terminationgraceperiodseconds() : 30;
    const std::string uid = pod->metadata().uid();
    LOG_INFO("Preempting pod to free up resources", {"pod", PodKey(*pod)}, {"podUID", uid});
    (void)Evict(uid, grace, {"Preempting", kMessage}, std::move(condition));
    const bool ended = co_await AwaitEnd(pod, grace);
    if (co_await IsCancelled()) co_return;
    if (!ended) LOG_WARNING("Failed to evict pod", {"pod", PodKey(*pod)}, {"err", "timeout waiting to kill pod"});
  }
}

Task<bool> PodWorkers::AwaitEnd(PodPtr pod, int64_t grace_seconds) {
  const std::string& uid = pod->metadata().uid();
  const seconds grace(std::clamp<int64_t>(grace_seconds, 0, 1'000'000'000));
  const SteadyTime end = clock_.Steady() + std::max(seconds(10), grace + grace / 2);
  while (MayRun(uid)) {
    if (clock_.Steady() >= end) {
      events_.Record(*pod, client::kWarning, "ExceededGracePeriod",
                     "Container runtime did not kill the pod within specified grace period.");
      co_return false;
    }
    if (!(co_await clock_.Sleep(milliseconds(100))).ok()) co_return false;
  }
  co_return true;
}

}  // namespace skiff::kubelet
