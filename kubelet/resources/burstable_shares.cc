#include "kubelet/resources/burstable_shares.h"

#include "base/log.h"
#include "base/timed_wait.h"

namespace skiff::kubelet {
namespace {

constexpr auto kPeriod = std::chrono::minutes(1);

}  // namespace

Task<void> BurstableShares::Run() {
  (void)co_await wakeup_.Wait();
  while (!co_await IsCancelled()) {
    const Status s = co_await cgroups_.SetBurstableMilliCpu(requests_());
    if (!s.ok() && !absl::IsCancelled(s)) LOG_ERROR(s, "Failed to update QoS cgroup configuration");
    (void)co_await WaitFor(clock_, wakeup_, kPeriod);
  }
}

}  // namespace skiff::kubelet
