// What the runtime has, pod by pod: listed once a second in two calls, looked at closely only where something changed.
// The level-triggered source of everything the kubelet does; events of the runtime, where it has them, only say "look
// now". Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_RUNTIME_CACHE_H_
#define SKIFF_KUBELET_RUNTIME_RUNTIME_CACHE_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "cri/runtime.h"
#include "kubelet/runtime/pod_state.h"

namespace skiff::kubelet {

class RuntimeCache {
 public:
  RuntimeCache(cri::Runtime& runtime, Clock& clock, std::string logs_dir);

  // Called with a pod's uid after its state changed.
  void OnChange(std::function<void(const std::string& uid)> on_change) { on_change_ = std::move(on_change); }

  // One pass over everything. An error leaves what is known as it is.
  Task<Status> Relist();
  // One pod, now.
  Task<StatusOr<PodStatePtr>> Refresh(std::string uid);
  // The last known state; an empty one for unknown pods. Never null.
  PodStatePtr Get(const std::string& uid) const;
  // Pods of which the runtime has anything.
  std::vector<PodStatePtr> All() const;
  bool synced() const { return synced_; }
  SteadyTime last_relist() const { return last_relist_; }
  void Forget(const std::string& uid) { pods_.erase(uid); }

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
    uint64_t refreshed = 0;  // when it was last looked at by itself, on the count below
  };
  Task<StatusOr<std::map<std::string, Listed>>> List(std::string uid);
  Task<StatusOr<PodStatePtr>> Inspect(Listed listed);
  void ReadTerminationMessage(const cri_v1::ContainerStatus& status, ContainerState* out);

  cri::Runtime& runtime_;
  Clock& clock_;
  std::string logs_dir_;
  std::function<void(const std::string&)> on_change_;
  std::map<std::string, Entry> pods_;
  // A pass over everything that began before a pod was looked at by itself must not overwrite what that found: a worker
  // that has just started a container would see it missing and start another.
  uint64_t refreshes_ = 0;
  bool synced_ = false;
  SteadyTime last_relist_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_RUNTIME_CACHE_H_
