// Keeps the node alive when memory, disk or process ids run short: looks every ten seconds, reclaims what belongs to
// nobody, then ends one pod at a time; and ends pods that exceed their own limits on local storage. Says which pressure
// conditions the node has and refuses pods under them. Loop only. Upstream:
// kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction.
#ifndef SKIFF_KUBELET_EVICTION_EVICTION_MANAGER_H_
#define SKIFF_KUBELET_EVICTION_EVICTION_MANAGER_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "kubelet/eviction/ranking.h"
#include "kubelet/eviction/thresholds.h"

namespace skiff::kubelet {

struct EvictionOptions {
  std::vector<EvictionThreshold> thresholds;
  int64_t max_pod_grace_seconds = 0;  // for soft thresholds
  std::chrono::nanoseconds pressure_transition = std::chrono::minutes(5);
  bool local_storage_limits = true;  // localStorageCapacityIsolation
  std::chrono::nanoseconds interval = std::chrono::seconds(10);
};

// What ends a pod.
struct PodEviction {
  int64_t grace_seconds = 1;
  EvictionReport report;
  bool disruption_target = false;  // with that condition
};

struct EvictionHooks {
  // The node's figures, and those of `pods` (none: the node's alone, which is cheap).
  std::function<Task<StatusOr<NodeUse>>(std::vector<PodPtr> pods)> use;
  std::function<std::vector<PodPtr>()> active_pods;
  // Ends the pod, or goes on with it, and waits until its containers have ended or are well over their time; false when
  // it must stay.
  std::function<Task<bool>(PodPtr pod, PodEviction eviction)> evict;
  std::function<bool(const std::string& uid)> cleaned_up;  // everything of the pod is given back
  // Node-level reclaim: everything dead, everything unused.
  std::function<Task<Status>()> remove_dead_containers, remove_unused_images;
  std::function<void(std::string_view type, std::string_view reason, std::string message)> node_event;
  std::function<void(std::string_view signal)> count;  // an eviction, by what caused it
};

struct NodePressure {
  bool memory = false, disk = false, pid = false;
  bool any() const { return memory || disk || pid; }
};

class EvictionManager {
 public:
  EvictionManager(Clock& clock, EvictionOptions options, EvictionHooks hooks)
      : clock_(clock), options_(std::move(options)), hooks_(std::move(hooks)) {}

  Task<void> Run();  // until cancelled
  // One look. The uids of the pods that were evicted.
  Task<std::vector<std::string>> Synchronize();

  const NodePressure& pressure() const { return pressure_; }
  // Upstream's message for a pod that must not come in now; none when it may.
  std::optional<std::string> Refuses(const Pod& pod) const;

 private:
  Task<bool> ReclaimNodeLevel(EvictionSignal signal, bool dedicated_image_fs, bool split_image_fs);
  Task<void> WaitForCleanUp(std::vector<std::string> uids);
  void UpdatePressure(const std::vector<EvictionThreshold>& crossed);

  Clock& clock_;
  EvictionOptions options_;
  EvictionHooks hooks_;
  bool layout_known_ = false;
  NodePressure pressure_;
  std::map<std::string, SteadyTime, std::less<>> condition_seen_;  // when last observed
  struct Seen {
    EvictionThreshold threshold;
    SteadyTime since;
  };
  std::vector<Seen> first_seen_;
  std::vector<EvictionThreshold> met_;  // grace period included, not resolved yet
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_EVICTION_EVICTION_MANAGER_H_
