// In-place resizes as pods' workers see them: what is asked is granted, deferred or refused; what is granted is carried
// out by the next sync; both are told as conditions and events.
#include <algorithm>

#include "api/time.h"
#include "base/log.h"
#include "kubelet/pod/pod_worker.h"
#include "kubelet/pod/resize.h"

namespace skiff::kubelet {
namespace {

core::PodCondition ResizeCondition(std::string_view type, WallTime now, int64_t generation) {
  core::PodCondition c;
  c.set_type(std::string(type));
  c.set_status("True");
  *c.mutable_lastprobetime() = api::ToTime(now);
  *c.mutable_lasttransitiontime() = c.lastprobetime();
  if (generation != 0) c.set_observedgeneration(generation);
  return c;
}

}  // namespace

// After a restart the conditions go on as the API has them.
void PodWorkers::RestoreResize(const Pod& pod) {
  if (allocations_->FindConditions(pod.metadata().uid()) != nullptr) return;
  if (const auto* c = FindCondition(pod.status(), "PodResizePending")) {
    allocations_->conditions(pod.metadata().uid()).pending = *c;
  }
  if (const auto* c = FindCondition(pod.status(), "PodResizeInProgress")) {
    allocations_->conditions(pod.metadata().uid()).in_progress = *c;
  }
}

// Looks whether what the spec asks for can be granted. True if something about it changed.
bool PodWorkers::HandleResize(Worker& w) {
  if (allocations_ == nullptr || w.terminate || !w.admitted) return false;
  const Pod& wanted = *w.pod;
  PodPtr allocated = Allocated(w.pod);
  if (allocated == w.pod) {
    if (allocations_->FindConditions(w.uid) == nullptr) return false;
    auto& pending = allocations_->conditions(w.uid).pending;
    return std::exchange(pending, std::nullopt).has_value();
  }
  auto& conditions = allocations_->conditions(w.uid);
  const int64_t generation = wanted.metadata().generation();
  std::optional<Rejection> rejection;
  if (hooks_.resize_infeasible) {
    if (std::string why = hooks_.resize_infeasible(wanted, *allocated); !why.empty()) {
      rejection = Rejection{"Infeasible", why};
    }
  }
  AdmissionResult admission;
  if (!rejection && hooks_.admit) {
    admission = hooks_.admit(wanted, HeldByOthers(w.uid));
    rejection = admission.rejection;
  }
  if (!rejection) {
    if (!admission.preempt.empty()) {
      group_.Spawn("make room for a resize", Preempt(std::move(admission.preempt)));
    }
    const bool gives_room = !IncreasesRequests(*allocated, wanted);
    allocations_->Allocate(wanted);
    w.must_save = true;
    conditions.pending.reset();
    conditions.in_progress = ResizeCondition("PodResizeInProgress", clock_.Now(), generation);
    events_.Record(wanted, client::kNormal, "ResizeStarted", ResizeMessage("Pod resize started", wanted, generation));
    TellChange(w);
    if (gives_room) RetryResizes();
    return true;
  }
  const bool infeasible = rejection->reason == "Infeasible";
  core::PodCondition now = ResizeCondition("PodResizePending", clock_.Now(), generation);
  now.set_reason(infeasible ? "Infeasible" : "Deferred");
  now.set_message(rejection->message);
  const auto& before = conditions.pending;
  if (before && before->reason() == now.reason() && before->observedgeneration() == now.observedgeneration()) {
    if (before->message() == now.message()) return false;
    *now.mutable_lasttransitiontime() = before->lasttransitiontime();
    conditions.pending = std::move(now);
    return true;
  }
  if (before && before->reason() == now.reason()) {
    *now.mutable_lasttransitiontime() = before->lasttransitiontime();
  }
  conditions.pending = std::move(now);
  events_.Record(wanted, client::kWarning, infeasible ? "ResizeInfeasible" : "ResizeDeferred",
                 ResizeMessage("Pod resize " + rejection->reason, wanted, generation, rejection->message));
  return true;
}

// One that cannot be written goes on nevertheless: until it is written, a restart takes it for one that waits.
Task<void> PodWorkers::SaveGranted() {
  auto save = allocations_->TakeSave();
  if (save == nullptr) co_return;
  if (Status s = co_await RunBlocking(std::move(save)); !s.ok()) {
    LOG_ERROR(s, "Cannot write the checkpoint of allocated resources");
    allocations_->SaveFailed();
  }
}

// Room came free: those that wait for some, in the order in which they may have it.
void PodWorkers::RetryResizes() {
  if (allocations_ == nullptr) return;
  struct Waiting {
    Worker* worker;
    bool increasing;
    int32_t priority;
    bool guaranteed;
    int64_t since;
  };
  std::vector<Waiting> waiting;
  for (const auto& [uid, w] : workers_) {
    const auto* conditions = allocations_->FindConditions(uid);
    if (conditions == nullptr || !conditions->pending || conditions->pending->reason() != "Deferred") continue;
    waiting.push_back({w.get(), IncreasesRequests(*Allocated(w->pod), *w->pod), w->pod->spec().priority(),
                       QosClass(*w->pod) == "Guaranteed", conditions->pending->lasttransitiontime().seconds()});
  }
  std::stable_sort(waiting.begin(), waiting.end(), [](const Waiting& a, const Waiting& b) {
    if (a.increasing != b.increasing) return !a.increasing;
    if (a.priority != b.priority) return a.priority > b.priority;
    if (a.guaranteed != b.guaranteed) return a.guaranteed;
    return a.since < b.since;
  });
  for (const Waiting& each : waiting) {
    if (HandleResize(*each.worker)) each.worker->wakeup.Notify();
  }
}

// Says when a resize is under way, and when it has come to its end. True if it just has.
bool PodWorkers::ReportResize(const Pod& allocated, const PodState& state) {
  if (allocations_ == nullptr) return false;
  const std::string& uid = allocated.metadata().uid();
  PodPtr actuated = allocations_->ResizeFrom(allocated);
  if (actuated != nullptr && ResizeInProgress(allocated, *actuated, state)) {
    auto& condition = allocations_->conditions(uid).in_progress;
    if (!condition) {
      condition = ResizeCondition("PodResizeInProgress", clock_.Now(), allocated.metadata().generation());
    }
    return false;
  }
  const auto* conditions = allocations_->FindConditions(uid);
  if (conditions == nullptr || !conditions->in_progress) return false;
  const int64_t generation = conditions->in_progress->observedgeneration();
  allocations_->conditions(uid).in_progress.reset();
  events_.Record(allocated, client::kNormal, "ResizeCompleted",
                 ResizeMessage("Pod resize completed", allocated, generation));
  return true;
}

void PodWorkers::ReportResizeError(const Pod& allocated, const std::string& error) {
  if (allocations_ == nullptr) return;
  auto& condition = allocations_->conditions(allocated.metadata().uid()).in_progress;
  if (!condition) {
    condition = ResizeCondition("PodResizeInProgress", clock_.Now(), allocated.metadata().generation());
  }
  if (condition->reason() == "Error" && condition->message() == error) return;
  condition->set_reason("Error");
  condition->set_message(error);
  events_.Record(allocated, client::kWarning, "ResizeError",
                 ResizeMessage("Pod resize error", allocated, condition->observedgeneration(), error));
}

}  // namespace skiff::kubelet
