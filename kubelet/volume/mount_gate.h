// Between work on a pod's mounts that nobody waits for any more (a path of the host did not answer) and the end of the
// pod: what the work mounts, it mounts before the gate is closed or not at all, so that nothing is mounted in a
// directory that is being removed. Any thread.
#ifndef SKIFF_KUBELET_VOLUME_MOUNT_GATE_H_
#define SKIFF_KUBELET_VOLUME_MOUNT_GATE_H_

#include <functional>
#include <mutex>

#include "base/status.h"

namespace skiff::kubelet {

class MountGate {
 public:
  // Runs `work`, which must not wait for what may not answer; kCancelled once the gate is closed.
  Status Pass(const std::function<Status()>& work) {
    const std::lock_guard lock(mutex_);
    if (closed_) return absl::CancelledError("the pod is gone");
    return work();
  }
  // Waits for who is passing.
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  std::mutex mutex_;
  bool closed_ = false;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_MOUNT_GATE_H_
