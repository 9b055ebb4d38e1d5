// Keeps the CPU share of the Burstable class at the sum of its pods' requests: after every change of them, and each
// minute, so that an update that failed is tried again and what somebody else wrote is put back. Loop only. Upstream:
// pkg/kubelet/cm (QOSContainerManager).
#ifndef SKIFF_KUBELET_RESOURCES_BURSTABLE_SHARES_H_
#define SKIFF_KUBELET_RESOURCES_BURSTABLE_SHARES_H_

#include <functional>

#include "base/async.h"
#include "base/clock.h"
#include "kubelet/resources/cgroups.h"

namespace skiff::kubelet {

class BurstableShares {
 public:
  // `requests` tells the sum as it is now, in thousandths of a CPU.
  BurstableShares(asio::any_io_executor executor, Clock& clock, Cgroups& cgroups, std::function<int64_t()> requests)
      : clock_(clock), cgroups_(cgroups), requests_(std::move(requests)), wakeup_(executor) {}

  // The sum may be another.
  void Changed() { wakeup_.Notify(); }
  // Until cancelled. Before the first change the share stays as an earlier kubelet left it: its pods may run on. What
  // changes while one update waits for systemd goes with the next.
  Task<void> Run();

 private:
  Clock& clock_;
  Cgroups& cgroups_;
  std::function<int64_t()> requests_;
  Wakeup wakeup_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_BURSTABLE_SHARES_H_
