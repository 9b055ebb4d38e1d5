#include "kubelet/pod/status_manager.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "api/codec.h"
#include "base/log.h"
#include "kubelet/pod/status.h"

namespace skiff::kubelet {
namespace {

constexpr int kWriters = 4;                      // writes under way at once
constexpr std::chrono::seconds kUndoPeriod{10};  // upstream's reconciliation

constexpr std::chrono::milliseconds kShortestPause{1};

Task<void> NotifyAfter(Clock& clock, std::chrono::nanoseconds pause, Wakeup* wakeup) {
  if ((co_await clock.Sleep(pause)).ok()) wakeup->Notify();
}

uint64_t VersionOf(const Pod& pod) {
  uint64_t v = 0;
  (void)absl::SimpleAtoi(pod.metadata().resourceversion(), &v);
  return v;
}

bool OwnCondition(std::string_view type) {
  for (std::string_view own : {"PodScheduled", "Ready", "Initialized", "ContainersReady", "PodReadyToStartContainers",
                               "PodResizePending", "PodResizeInProgress", "AllContainersRestarting"}) {
    if (type == own) return true;
  }
  return false;
}

bool IsReady(const core::PodStatus& status) {
  const auto* ready = FindCondition(status, "Ready");
  return ready != nullptr && ready->status() == "True";
}

// Upstream's: together the messages of a pod's ended containers hold 12 KiB, each container's share the same.
void LimitMessages(const Pod& pod, core::PodStatus* status) {
  const auto& spec = pod.spec();
  const int containers = spec.containers_size() + spec.initcontainers_size() + spec.ephemeralcontainers_size();
  const size_t share = size_t{12 << 10} / static_cast<size_t>(std::max(containers, 1));
  auto too_long = [share](const core::ContainerState& state) { return state.terminated().message().size() > share; };
  for (auto* list : {status->mutable_containerstatuses(), status->mutable_initcontainerstatuses(),
                     status->mutable_ephemeralcontainerstatuses()}) {
    for (auto& c : *list) {
      if (too_long(c.state())) c.mutable_state()->mutable_terminated()->mutable_message()->resize(share);
      if (too_long(c.laststate())) c.mutable_laststate()->mutable_terminated()->mutable_message()->resize(share);
    }
  }
}

// Whether the API has what is ours. Order and times of conditions, and the conditions of others, do not count.
bool SaysTheSame(core::PodStatus ours, core::PodStatus api) {
  for (const auto& c : api.conditions()) {
    if (OwnCondition(c.type()) && FindCondition(ours, c.type()) == nullptr) return false;
  }
  for (const auto& c : ours.conditions()) {
    if (!OwnCondition(c.type())) continue;
    const auto* there = FindCondition(api, c.type());
    if (there == nullptr || there->status() != c.status() || there->reason() != c.reason() ||
        there->message() != c.message()) {
      return false;
    }
  }
  ours.clear_conditions();
  api.clear_conditions();
  return api::Equal(ours, api);
}

}  // namespace

StatusManager::StatusManager(asio::any_io_executor executor, StatusSink* sink, Clock& clock)
    : executor_(executor), sink_(sink), clock_(clock), wakeup_(executor) {}

const core::PodStatus* StatusManager::Get(const std::string& uid) const {
  auto it = entries_.find(uid);
  return it == entries_.end() ? nullptr : &it->second.status;
}

PodPtr StatusManager::WithStatus(PodPtr pod) const {
  const core::PodStatus* status = Get(pod->metadata().uid());
  if (status == nullptr) return pod;
  auto copy = std::make_shared<Pod>(*pod);
  *copy->mutable_status() = *status;
  return copy;
}

void StatusManager::Store(const Pod& pod, core::PodStatus status) {
  const std::string& uid = pod.metadata().uid();
  auto [it, added] = entries_.try_emplace(uid);
  Entry& e = it->second;
  e.ns = pod.metadata().namespace_();
  e.name = pod.metadata().name();
  e.is_static = IsStatic(pod);
  CarryOver(pod, added ? pod.status() : e.status, clock_.Now(), &status);
  LimitMessages(pod, &status);
  std::string fingerprint = Fingerprint(status);
  if (!added && fingerprint == e.fingerprint) return;
  const bool readiness = IsReady(added ? pod.status() : e.status) != IsReady(status);
  e.status = std::move(status);
  e.fingerprint = std::move(fingerprint);
  ++e.version;
  Enqueue(uid, readiness);
}

void StatusManager::Set(const Pod& pod, core::PodStatus status) { Store(pod, std::move(status)); }

void StatusManager::Terminate(const Pod& pod) {
  const std::string& uid = pod.metadata().uid();
  auto it = entries_.find(uid);
  core::PodStatus status = it == entries_.end() ? pod.status() : it->second.status;
  Finalize(pod, &status);
  Store(pod, std::move(status));
  Entry& e = entries_[uid];
  e.finished = true;
  Enqueue(uid);
}

void StatusManager::Nudge(const std::string& uid) {
  if (entries_.contains(uid)) Enqueue(uid);
}

void StatusManager::Seen(const std::string& uid, const Pod& pod) {
  auto entry = entries_.find(uid);
  if (entry != entries_.end() && entry->second.is_static && entry->second.api_uid != pod.metadata().uid()) {
    if (entry->second.api_uid.empty()) {  // after a restart, times go on as they were
      CarryOver(pod, pod.status(), clock_.Now(), &entry->second.status);
      entry->second.fingerprint = Fingerprint(entry->second.status);
    }
    entry->second.api_uid = pod.metadata().uid();  // a new mirror pod knows nothing yet
    entry->second.delivered = 0;
    written_.erase(uid);
    Enqueue(uid);
    return;
  }
  auto it = written_.find(uid);
  if (it != written_.end()) {
    const bool behind = VersionOf(it->second) > VersionOf(pod);
    const bool ours = it->second.metadata().resourceversion() == pod.metadata().resourceversion();
    if (!behind) written_.erase(it);
    if (behind || ours) return;
  }
  UndoChangesOfOthers(uid, pod);
}

// The node lifecycle controller calls the pods of a silent node not ready, and waits for the kubelet to say otherwise.
void StatusManager::UndoChangesOfOthers(const std::string& uid, const Pod& pod) {
  auto it = entries_.find(uid);
  if (it == entries_.end()) return;
  Entry& e = it->second;
  const SteadyTime now = clock_.Steady();
  if (e.delivered != e.version || e.undo_at > now) return;                                  // a write is due anyway
  if (IsTerminalPhase(pod.status().phase()) && !IsTerminalPhase(e.status.phase())) return;  // ended from outside
  if (SaysTheSame(Merge(uid, pod.status(), e.status), pod.status())) return;
  VLOG(3, "Pod status is inconsistent with cached status for pod, a reconciliation should be triggered",
       {"pod", absl::StrCat(e.ns, "/", e.name)});
  const SteadyTime allowed = e.undo_at == SteadyTime::min() ? now : e.undo_at + kUndoPeriod;
  e.undo_at = std::max(now, allowed);
  if (e.undo_at > now) {
    TryAgainAt(e.undo_at, it->first, e);
    wakeup_.Notify();
  } else {
    Enqueue(it->first);
  }
}

// Instead of what was planned before: a pod whose status changes often would else have many retries.
void StatusManager::TryAgainAt(SteadyTime when, const std::string& uid, Entry& entry) {
  retries_.erase({entry.retry_at, uid});
  retries_.emplace(when, uid);
  entry.retry_at = when;
}

void StatusManager::Forget(const std::string& uid) {
  if (auto it = entries_.find(uid); it != entries_.end()) {
    retries_.erase({it->second.retry_at, uid});
    entries_.erase(it);
  }
  written_.erase(uid);
}

void StatusManager::Enqueue(const std::string& uid, bool first) {
  if (sink_ == nullptr) return;
  const bool added = queued_.insert(uid).second;
  if (first) {
    if (!added) {
      auto at = std::find(queue_.begin(), queue_.end(), uid);
      if (at < queue_.begin() + static_cast<std::ptrdiff_t>(urgent_)) return;  // among the first already
      queue_.erase(at);
    }
    // After others that change readiness, so that they go in the order of their coming.
    queue_.insert(queue_.begin() + static_cast<std::ptrdiff_t>(urgent_), uid);
    ++urgent_;
  } else if (added) {
    queue_.push_back(uid);
  }
  wakeup_.Notify();
}

core::PodStatus StatusManager::Merge(const std::string& uid, const core::PodStatus& api,
                                     const core::PodStatus& status) const {
  core::PodStatus merged = status;
  const bool ends = !IsTerminalPhase(api.phase()) && IsTerminalPhase(status.phase());
  const bool may_run = ends && may_run_ && may_run_(uid);
  // Conditions of others stay as the API has them, before the kubelet's own. One is shared: why a pod was disrupted is
  // told once, with its end.
  merged.clear_conditions();
  for (const auto& c : api.conditions()) {
    if (!OwnCondition(c.type())) *merged.add_conditions() = c;
  }
  for (const auto& c : status.conditions()) {
    if (OwnCondition(c.type())) {
      *merged.add_conditions() = c;
    } else if (c.type() == "DisruptionTarget" && ends && !may_run) {
      core::PodCondition* there = nullptr;
      for (auto& m : *merged.mutable_conditions()) {
        if (m.type() == c.type()) there = &m;
      }
      *(there != nullptr ? there : merged.add_conditions()) = c;
    }
  }
  // Not the kubelet's at all.
  *merged.mutable_resourceclaimstatuses() = api.resourceclaimstatuses();
  if (api.has_extendedresourceclaimstatus()) {
    *merged.mutable_extendedresourceclaimstatus() = api.extendedresourceclaimstatus();
  } else {
    merged.clear_extendedresourceclaimstatus();
  }
  *merged.mutable_nodeallocatableresourceclaimstatuses() = api.nodeallocatableresourceclaimstatuses();
  // Fields of an API server that is newer than this program.
  auto* unknown = merged.GetReflection()->MutableUnknownFields(&merged);
  unknown->Clear();
  unknown->MergeFrom(api.GetReflection()->GetUnknownFields(api));
  // A final phase is shown only when nothing runs any more; until then there are only the conditions.
  if (ends) {
    std::string reason = merged.phase() == "Failed" ? "PodFailed" : "PodCompleted";
    if (may_run) {
      merged.set_phase(api.phase());
      if (api.reason().empty()) {
        merged.clear_reason();
      } else {
        merged.set_reason(api.reason());
      }
      if (api.message().empty()) {
        merged.clear_message();
      } else {
        merged.set_message(api.message());
      }
      return merged;
    }
    for (auto& c : *merged.mutable_conditions()) {
      if ((c.type() == "Ready" || c.type() == "ContainersReady") && c.status() != "False") {
        c.set_status("False");
        c.set_reason(reason);
        c.clear_message();
      }
    }
  }
  return merged;
}

Task<Status> StatusManager::Deliver(std::string uid) {
  auto it = entries_.find(uid);
  if (it == entries_.end()) co_return absl::OkStatus();
  const std::string ns = it->second.ns, name = it->second.name;
  const bool is_static = it->second.is_static;
  Pod pod;
  bool read = false;
  PodPtr latest = latest_ ? latest_(uid) : nullptr;
  if (is_static && latest == nullptr) co_return absl::OkStatus();  // delivered when there is a mirror pod
  const std::string api_uid = is_static ? latest->metadata().uid() : uid;
  auto written = written_.find(uid);
  if (written != written_.end() && written->second.metadata().uid() != api_uid) {
    written_.erase(written);
    written = written_.end();
  }
  if (written != written_.end() && (latest == nullptr || VersionOf(written->second) > VersionOf(*latest))) {
    pod = written->second;
  } else if (latest != nullptr) {
    pod = *latest;
    if (written != written_.end()) written_.erase(written);
  } else {
    read = true;
  }
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (read) {
      auto got = co_await sink_->Get(ns, name);
      if (absl::IsNotFound(got.status())) {
        written_.erase(uid);
        co_return absl::OkStatus();  // deleted; the informer tells
      }
      if (!got.ok()) co_return got.status();
      pod = *std::move(got);
      if (pod.metadata().uid() != api_uid) {
        if (!is_static) Forget(uid);
        co_return absl::OkStatus();  // another pod has the name by now
      }
    }
    it = entries_.find(uid);
    if (it == entries_.end()) co_return absl::OkStatus();
    const uint64_t version = it->second.version;
    core::PodStatus merged = Merge(uid, pod.status(), it->second.status);
    if (!api::Equal(merged, pod.status())) {
      Pod update = pod;
      *update.mutable_status() = std::move(merged);
      auto answer = co_await sink_->UpdateStatus(std::move(update));
      if (absl::IsAborted(answer.status())) {  // changed meanwhile
        read = true;
        continue;
      }
      if (absl::IsNotFound(answer.status())) {
        written_.erase(uid);
        co_return absl::OkStatus();
      }
      if (!answer.ok()) co_return answer.status();
      pod = *std::move(answer);
    }
    it = entries_.find(uid);
    if (it == entries_.end()) co_return absl::OkStatus();
    it->second.delivered = std::max(it->second.delivered, version);
    it->second.failures = 0;
    const bool finished = it->second.finished && it->second.version == version;
    if (pod.metadata().has_deletiontimestamp() && !IsMirror(pod) && IsTerminalPhase(pod.status().phase()) && finished) {
      Status deleted = co_await sink_->Delete(ns, name, uid);
      if (!deleted.ok() && !absl::IsNotFound(deleted)) co_return deleted;
      co_return absl::OkStatus();
    }
    // The watch may have told of this write, and of later ones by others, before its answer came.
    latest = latest_ ? latest_(uid) : nullptr;
    if (latest == nullptr || VersionOf(*latest) < VersionOf(pod)) {
      written_[uid] = std::move(pod);
    } else {
      written_.erase(uid);
      if (VersionOf(*latest) > VersionOf(pod)) UndoChangesOfOthers(uid, *latest);
    }
    co_return absl::OkStatus();
  }
  co_return absl::AbortedError("the pod keeps changing");
}

Task<void> StatusManager::Run() {
  struct Writer {
    static Task<void> One(StatusManager* self, std::string uid, std::shared_ptr<std::set<std::string>> running) {
      Status status = co_await self->Deliver(uid);
      running->erase(uid);
      if (!status.ok() && !absl::IsCancelled(status)) {
        auto it = self->entries_.find(uid);
        if (it != self->entries_.end()) {
          int failures = std::min(++it->second.failures, 6);
          LOG_ERROR(status, "Failed to update status for pod",
                    {"pod", absl::StrCat(it->second.ns, "/", it->second.name)});
          auto wait = std::min(std::chrono::milliseconds(250) * (1 << failures), std::chrono::milliseconds(10000));
          self->TryAgainAt(self->clock_.Steady() + wait, uid, it->second);
        }
      }
      self->wakeup_.Notify();
    }
  };
  auto running = std::make_shared<std::set<std::string>>();
  TaskGroup group(executor_);
  while (!co_await IsCancelled()) {
    for (auto it = retries_.begin(); it != retries_.end() && it->first <= clock_.Steady();) {
      if (auto entry = entries_.find(it->second); entry != entries_.end()) {
        entry->second.retry_at = SteadyTime::min();
        if (queued_.insert(it->second).second) queue_.push_back(it->second);
      }
      it = retries_.erase(it);
    }
    // One write a pod at a time: one whose last write is under way keeps its place.
    for (size_t at = 0; at < queue_.size() && running->size() < kWriters;) {
      if (running->contains(queue_[at])) {
        ++at;
        continue;
      }
      const std::string uid = std::move(queue_[at]);
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(at));
      if (at < urgent_) --urgent_;
      queued_.erase(uid);
      running->insert(uid);
      group.Spawn("write status", Writer::One(this, uid, running));
    }
    busy_ = !running->empty();
    TaskGroup timer(executor_);
    if (!retries_.empty()) {
      auto left = std::max<std::chrono::nanoseconds>(retries_.begin()->first - clock_.Steady(), kShortestPause);
      timer.Spawn("status retry", NotifyAfter(clock_, left, &wakeup_));
    }
    Status waited = co_await wakeup_.Wait();
    timer.Cancel();
    co_await timer.Join();
    if (absl::IsCancelled(waited)) break;
  }
  group.Cancel();
  co_await group.Join();
}

}  // namespace skiff::kubelet
