// What the runtime has, pod by pod: listed in two calls, looked at closely only where something changed. The
// level-triggered source of everything the kubelet does; events of the runtime, where it has them, only say "look now"
// (runtime_watch.h decides when). Every state was read after the one that it replaces was begun to be read. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_RUNTIME_CACHE_H_
#define SKIFF_KUBELET_RUNTIME_RUNTIME_CACHE_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "cri/runtime.h"
#include "kubelet/runtime/pod_state.h"
#include "kubelet/runtime/runtime_event.h"

namespace skiff::kubelet {

class RuntimeCache {
 public:
  struct Made {
    std::string uid, name, ns;
    std::string sandbox;                  // that was made, or that holds the containers
    std::vector<std::string> containers;  // none: the sandbox was made
  };

  RuntimeCache(cri::Runtime& runtime, Clock& clock, std::string logs_dir);

  // Called with a pod's uid after its state changed.
  void OnChange(std::function<void(const std::string& uid)> on_change) { on_change_ = std::move(on_change); }

  // Times every look at one pod.
  void SetTimer(metrics::Histogram* timer) { timer_ = timer; }

  // One pass over everything; the pods that had changed. An error leaves what is known as it is.
  Task<StatusOr<std::vector<std::string>>> Relist();
  // One pod, now.
  Task<StatusOr<PodStatePtr>> Refresh(std::string uid);
  // Only the sandbox or the containers of the pod that were just made or started: a call each instead of two lists and
  // a call for everything that the pod has. The rest stays as it was last seen, and the next pass over everything tells
  // what has become of it.
  Task<StatusOr<PodStatePtr>> See(Made made);
  // The same as Refresh for somebody else: OnChange's function is called where something changed.
  Task<Status> Look(std::string uid);

  // Nothing in the event is new.
  bool Knows(const RuntimeEvent& event) const;
  // The pod of which the runtime has that sandbox or container; "" if none is known.
  std::string PodOf(const std::string& id) const;
  // The last known state; an empty one for unknown pods. Never null.
  PodStatePtr Get(const std::string& uid) const;
  // Pods of which the runtime has anything.
  std::vector<PodStatePtr> All() const;
  // False: a whole pass has found nothing of that pod.
  bool MayHave(const std::string& uid) const { return !synced_ || pods_.contains(uid) || unseen_.contains(uid); }
  bool synced() const { return synced_; }
  SteadyTime last_relist() const { return last_relist_; }
  void Forget(const std::string& uid) {
    pods_.erase(uid);
    read_ = 0;
  }

 private:
  struct Listed {
    std::string uid, name, ns;
    std::map<std::string, int> sandboxes;                           // id -> state
    std::map<std::string, std::pair<int, std::string>> containers;  // id -> state, sandbox id
    bool operator==(const Listed&) const = default;
  };
  struct Entry {
    Listed listed;
    PodStatePtr state;
    uint64_t began = 0;    // when the look that found this began, on the count below
    uint64_t looked = 0;   // when the last look at this pod by itself ended
    bool partial = false;  // that look was at a part of it only
  };
  using Lists = std::map<std::string, Listed>;
  Task<StatusOr<Lists>> List(std::string uid);
  static Lists Collect(const cri::v1::ListPodSandboxResponse& sandboxes,
                       const cri::v1::ListContainersResponse& containers);
  static StatusOr<Lists> Decode(const std::string& sandboxes, const std::string& containers);
  Task<StatusOr<PodStatePtr>> Inspect(Listed listed);
  // No status: the runtime has it no more.
  Task<StatusOr<std::optional<SandboxState>>> InspectSandbox(std::string id);
  Task<StatusOr<std::optional<ContainerState>>> InspectContainer(std::string id, std::string sandbox_id);
  PodStatePtr Keep(Listed listed, PodStatePtr state, uint64_t began, bool partial = false);
  ContainerState Read(const cri_v1::ContainerStatus& status, std::string sandbox_id) const;
  void ReadTerminationMessage(const cri_v1::ContainerStatus& status, ContainerState* out) const;

  cri::Runtime& runtime_;
  Clock& clock_;
  std::string logs_dir_;
  std::function<void(const std::string&)> on_change_;
  std::map<std::string, Entry> pods_;
  // Looks overlap. One that began earlier must not overwrite what a later one found, nor a pass over everything what
  // was seen since it began: a worker that has just started a container would see it missing and start another.
  uint64_t looks_ = 0;
  metrics::Histogram* timer_ = nullptr;
  // Of the answers that the last complete pass read; 0: what is known is not, or not only, what they said. While they
  // say the same there is nothing to decode or to compare.
  uint64_t read_ = 0;
  int unread_ = 0;                // passes since
  std::set<std::string> unseen_;  // pods that the last pass could not look at
  bool synced_ = false;
  SteadyTime last_relist_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_RUNTIME_CACHE_H_
