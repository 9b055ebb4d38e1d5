// The pods' statuses as this kubelet knows them, and their way to the API server: one queue, newest state only, retried
// until it is there. A pod that is over and marked for deletion is deleted for good once its last status is there.
// Loop only.
#ifndef SKIFF_KUBELET_POD_STATUS_MANAGER_H_
#define SKIFF_KUBELET_POD_STATUS_MANAGER_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/async.h"
#include "base/clock.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

// Where statuses go: the API server, or a fake.
class StatusSink {
 public:
  virtual ~StatusSink() = default;
  // The pod as the API has it; kNotFound when it is gone.
  virtual Task<StatusOr<Pod>> Get(std::string ns, std::string name) = 0;
  // Writes the status of `pod`, which carries the resourceVersion it was read at; kAborted when that is old. The pod as
  // stored comes back.
  virtual Task<StatusOr<Pod>> UpdateStatus(Pod pod) = 0;
  // Deletes at once (grace 0), only if the uid still fits.
  virtual Task<Status> Delete(std::string ns, std::string name, std::string uid) = 0;
};

class StatusManager {
 public:
  StatusManager(asio::any_io_executor executor, StatusSink* sink, Clock& clock);

  // The pod as the API server last told, for writes without reading first; for a static pod its mirror pod. Null: there
  // is none (yet).
  void SetLatest(std::function<PodPtr(const std::string& uid)> latest) { latest_ = std::move(latest); }
  // True while containers of the pod may still run: its phase must not be final before.
  void SetMayRun(std::function<bool(const std::string& uid)> may_run) { may_run_ = std::move(may_run); }

  // The last status set, null if none.
  const core::PodStatus* Get(const std::string& uid) const;
  // Keeps transition times; queues a write when something changed.
  void Set(const Pod& pod, core::PodStatus status);
  // The pod is over: makes the status final, and lets the pod be deleted.
  void Terminate(const Pod& pod);
  // A deletion may have come after the pod was over: look again. Also after a change in the API that must be undone.
  void Nudge(const std::string& uid);
  // What the watch tells: it has caught up with what was written, or others have changed what is ours. The latter is
  // undone, at once and then not more often than every ten seconds. `uid` is the pod's here: a static pod's has another
  // in the API, that of its mirror pod.
  void Seen(const std::string& uid, const Pod& pod);
  void Forget(const std::string& uid);

  // Delivers until cancelled.
  Task<void> Run();
  bool idle() const { return queue_.empty() && !busy_; }
  // The status that a read-only view of the pod should show.
  PodPtr WithStatus(PodPtr pod) const;

 private:
  struct Entry {
    std::string ns, name;
    core::PodStatus status;
    std::string fingerprint, api_uid;  // api_uid: of the last mirror pod
    uint64_t version = 0, delivered = 0;
    bool finished = false, is_static = false;
    int failures = 0;
    SteadyTime retry_at = SteadyTime::min();  // it has a place in retries_ then; min: it has none
    SteadyTime undo_at = SteadyTime::min();   // when a change by others was, or will be, undone
  };
  void Store(const Pod& pod, core::PodStatus status);
  void Enqueue(const std::string& uid, bool first = false);
  void TryAgainAt(SteadyTime when, const std::string& uid, Entry& entry);
  void UndoChangesOfOthers(const std::string& uid, const Pod& pod);
  Task<Status> Deliver(std::string uid);
  core::PodStatus Merge(const std::string& uid, const core::PodStatus& api, const core::PodStatus& status) const;

  asio::any_io_executor executor_;
  StatusSink* sink_;
  Clock& clock_;
  std::function<PodPtr(const std::string&)> latest_;
  std::function<bool(const std::string&)> may_run_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, Pod> written_;  // the answer to our last write, newer than the informer for a moment
  std::deque<std::string> queue_;
  size_t urgent_ = 0;  // at the front of the queue: changes of readiness
  std::set<std::string> queued_;
  std::set<std::pair<SteadyTime, std::string>> retries_;  // one a pod
  Wakeup wakeup_;
  bool busy_ = false;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_STATUS_MANAGER_H_
