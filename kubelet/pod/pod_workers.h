// One coroutine a pod, from the first sight of it to its last trace: syncing (make it run), terminating (end its
// containers), terminated (give back what it held), gone. It looks again when the spec, the runtime or a probe changed,
// or when a delay has passed. Loop only.
#ifndef SKIFF_KUBELET_POD_POD_WORKERS_H_
#define SKIFF_KUBELET_POD_POD_WORKERS_H_

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "client/events.h"
#include "kubelet/pod/allocations.h"
#include "kubelet/pod/interrupt.h"
#include "kubelet/pod/status.h"
#include "kubelet/pod/status_manager.h"
#include "kubelet/probe/prober.h"
#include "kubelet/resources/cgroups.h"
#include "kubelet/runtime/pod_runtime.h"
#include "kubelet/runtime/runtime_cache.h"
#include "kubelet/volume/object_source.h"
#include "kubelet/volume/volume_manager.h"

namespace skiff::kubelet {

struct Rejection {
  std::string reason, message;
};

struct AdmissionResult {
  AdmissionResult() = default;
  AdmissionResult(std::optional<Rejection> why) : rejection(std::move(why)) {}  // NOLINT: either of them
  AdmissionResult(Rejection why) : rejection(std::move(why)) {}                 // NOLINT
  std::optional<Rejection> rejection;
  std::vector<PodPtr> preempt;  // end these first
  std::string preempt_for;      // the resource that they make room for
};

struct PodWorkersOptions {
  std::string root_dir;
  std::chrono::nanoseconds sync_frequency = std::chrono::minutes(1);
  std::string runtime_name = "containerd";
  bool prefer_v6 = false;  // the node's family
  int dead_containers_per_container = 1;
};

struct PodWorkersHooks {
  // Whether a new pod fits beside those that are there.
  std::function<AdmissionResult(const Pod& pod, const std::vector<PodPtr>& others)> admit;
  // Reads the Node anew, when a pod does not match what the watch of it has told so far.
  std::function<Task<void>()> refresh_node;
  std::function<std::vector<std::string>()> host_ips;
  std::function<Status()> network_ready;
  std::function<bool(const Pod&)> recursive_read_only;  // its runtime handler can
  std::function<void()> pods_changed;                   // requests of active Burstable pods may have changed
  std::function<void()> pod_ended;                      // nothing is held by it any more
  // Why this resize can never be, on this node; "" if it can.
  std::function<std::string(const Pod& wanted, const Pod& allocated)> resize_infeasible;
};

class PodWorkers {
 public:
  PodWorkers(asio::any_io_executor executor, Clock& clock, RuntimeCache& cache, PodRuntime& runtime,
             StatusManager& statuses, ProbeManager& probes, VolumeManager& volumes, ObjectSource& objects,
             Cgroups& cgroups, client::EventSink& events, PodWorkersOptions options, PodWorkersHooks hooks);
  ~PodWorkers();

  // The pod appeared or changed (a deletion timestamp included).
  void Update(PodPtr pod);
  // It is gone from its source: end it, and forget it when nothing of it is left.
  void Remove(const std::string& uid);
  // Something about it changed elsewhere.
  void Wake(const std::string& uid);
  void WakeAll();
  // Ends what the runtime still has of pods that no source knows (call once all sources have spoken, and from time to
  // time after that).
  void EndUnknown();

  std::vector<PodPtr> Pods() const;           // all known ones, with the status as last computed
  PodPtr Find(const std::string& uid) const;  // as the source has it; null if unknown
  PodPtr FindByName(const std::string& ns, const std::string& name) const;
  // Pods that hold resources: not finished and not rejected.
  std::vector<PodPtr> Active() const;
  // Its source has it: it is one of Pods().
  bool Wanted(const std::string& uid) const;
  // Containers may still run.
  bool MayRun(const std::string& uid) const;
  // Nobody wants its containers and logs any more: it is gone or deleted, or was evicted. What is known of it is told.
  bool ContentGone(const std::string& uid) const;
  bool Terminating(const std::string& uid) const;
  // A static pod of that name has not ended yet (or waits for one that has not).
  bool StaticEnding(const std::string& ns, const std::string& name) const;
  // .. and this static pod, of the same name, begins only then.
  bool MustWait(const Pod& pod) const;
  // Every pod's uid that still has something on this node.
  std::set<std::string> Known() const;
  bool Knows(const std::string& uid) const { return workers_.contains(uid); }
  // How many there are of each kind: lifecycle, config and static, as kubelet_working_pods labels them.
  std::map<std::array<std::string, 3>, int> Working() const;
  size_t size() const { return workers_.size(); }
  void SandboxReady(const Pod& pod);
  void ProbeChanged(const std::string& uid, const std::string& container, ProbeKind kind, ProbeResult result);

  // Ends a pod for good, whatever its source says: phase Failed with this reason, its containers get `grace_seconds`.
  // False when it is over already, or is being ended so.
  bool Evict(const std::string& uid, int64_t grace_seconds, WaitReason why,
             std::optional<core::PodCondition> condition);
  // Waits for the end of a pod whose containers have that long. False, and an event, when it takes much longer.
  Task<bool> AwaitEnd(PodPtr pod, int64_t grace_seconds);
  // Everything that the pod held is given back.
  bool Released(const std::string& uid) const;

  // With it, changes of cpu and memory in a running pod's spec become resizes; without, they are ignored. Before the
  // first pod.
  void SetAllocations(Allocations* allocations) { allocations_ = allocations; }

  // Stops all workers without touching what runs.
  Task<void> Shutdown();

 private:
  struct Worker;
  struct Step {
    bool terminal = false, again = false;
    std::chrono::nanoseconds wait{0};
  };
  Task<void> Run(std::shared_ptr<Worker> w);
  Task<Step> SyncOnce(std::shared_ptr<Worker> w);
  Task<StatusOr<PodStatePtr>> LookAgain(const PodRuntime::SyncResult& result);
  void TellUnread(Worker& w, const Status& why);
  Task<Status> TerminateOnce(std::shared_ptr<Worker> w);
  Task<Status> ReleaseOnce(std::shared_ptr<Worker> w);
  Task<Status> EraseOnce(std::shared_ptr<Worker> w);
  Task<Status> EndLateArrivals(std::shared_ptr<Worker> w);
  PodPtr Allocated(const PodPtr& pod) const { return allocations_ == nullptr ? pod : allocations_->Allocated(pod); }
  // The others, with what they may have until their containers have given it back.
  std::vector<PodPtr> HeldByOthers(const std::string& uid) const;
  // Resizes (pod_workers_resize.cc).
  void RestoreResize(const Pod& pod);
  bool HandleResize(Worker& w);
  Task<void> SaveGranted();
  void RetryResizes();
  bool ReportResize(const Pod& allocated, const PodState& state);
  void ReportResizeError(const Pod& allocated, const std::string& error);
  Task<void> Preempt(std::vector<PodPtr> pods);
  core::PodStatus Generate(const Worker& w, const Pod& pod, const PodState& state, bool terminal);
  Task<Status> Prepare(std::shared_ptr<Worker> w, PodPtr pod);
  void EndTurn(const Worker& w);
  void TellChange(const Worker& w);
  void Drop(const std::shared_ptr<Worker>& w);
  bool Overdue(Worker& w, const Pod& pod, std::chrono::nanoseconds* left) const;

  asio::any_io_executor executor_;
  Clock& clock_;
  RuntimeCache& cache_;
  PodRuntime& runtime_;
  StatusManager& statuses_;
  ProbeManager& probes_;
  VolumeManager& volumes_;
  ObjectSource& objects_;
  Cgroups& cgroups_;
  client::EventSink& events_;
  PodWorkersOptions options_;
  PodWorkersHooks hooks_;
  Allocations* allocations_ = nullptr;
  std::map<std::string, std::shared_ptr<Worker>> workers_;
  std::map<std::string, std::deque<std::string>> static_turns_;  // uids of static pods of one name, oldest first
  bool told_ = false;                                            // of any change of requests
  TaskGroup group_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_POD_WORKERS_H_
