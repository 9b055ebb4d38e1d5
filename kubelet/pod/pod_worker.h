// What is known of one pod while its coroutine lives; private to pod_workers*.cc.
#ifndef SKIFF_KUBELET_POD_POD_WORKER_H_
#define SKIFF_KUBELET_POD_POD_WORKER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "kubelet/pod/pod_workers.h"

namespace skiff::kubelet {

inline constexpr auto kPodRetry = std::chrono::seconds(10);  // after a step that failed

struct PodWorkers::Worker {
  explicit Worker(asio::any_io_executor executor) : wakeup(executor) {}

  PodPtr pod;
  std::string uid;
  Wakeup wakeup;
  std::shared_ptr<Interrupt> interrupt = std::make_shared<Interrupt>();
  bool admitted = false;
  bool rejected = false;
  bool terminate = false;  // begin, or go on, to end it
  bool stopped = false;    // no container runs any more, and none will
  bool finished = false;   // nothing is held any more
  bool gone = false;       // its source does not know it any more
  bool unknown = false;    // only the runtime knows it
  bool was_over = false;   // as this life of the kubelet found it
  bool returned = false;   // a manifest that was put back: admitted anew, whatever is left of it
  bool looked = false;     // its state was read from the runtime in this life
  bool half_made = false;  // its cgroup may be there without its limits
  std::optional<int64_t> grace;
  WaitReason failed;                             // why the kubelet ends it (deadline, eviction)
  std::optional<core::PodCondition> disruption;  // .. with this condition
  bool evicted = false;                          // .. or was by an earlier life
  std::map<std::string, WaitReason> reasons;
  bool must_save = false;  // a resize was granted that the runtime must not hear of before it is on the disk
  std::string unread;      // why the runtime did not say what it has of it, as last told
  int errors = 0;
  int64_t deadline_seconds = -1;  // spec.activeDeadlineSeconds for which `deadline` was reckoned
  SteadyTime deadline{};
  SteadyTime seen{};    // first
  int64_t synced = -1;  // the generation of the last step; there was none
  PodPtr again;         // the source brought the same pod back while it was being ended

  bool syncing() const { return !terminate; }
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_POD_WORKER_H_
