// Keeps what is known of the runtime up to date: by listing everything, and by the runtime's events where it has them
// (GetContainerEvents: containerd 1.7 and newer, CRI-O). An event only says which pod to look at; what is seen then
// counts, so that events that are late, doubled or out of order do no harm. Loop only.
//
// How often everything is listed:
//   - every second where the runtime has no events (said once), as long as the stream has brought none since it was
//     opened, after it broke, and while the runtime is not well. containerd 1.7 hands the first event after a restart
//     of the kubelet to the stream of the dead one; one that arrives here proves that nobody is before us.
//   - as an audit else, the pause doubling to a minute. A change that no event told of brings the second back, for five
//     minutes. Upstream's evented PLEG audits every five minutes; a minute keeps within the three minutes after which
//     a PLEG counts as stuck, and is the longest that a lost event can cost.
//
// The kubelet's own calls make most events. Those are known already, as the pod's worker looks after it has done
// something; so news that nobody waits for (created, started, removed) is looked at only if it is still news after a
// second, an end at once. Many looks at a time become one listing.
#ifndef SKIFF_KUBELET_RUNTIME_RUNTIME_WATCH_H_
#define SKIFF_KUBELET_RUNTIME_RUNTIME_WATCH_H_

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "base/async.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "cri/runtime.h"
#include "kubelet/runtime/runtime_cache.h"
#include "kubelet/runtime/runtime_event.h"

namespace skiff::kubelet {

struct RuntimeWatchOptions {
  std::chrono::nanoseconds period = std::chrono::seconds(1);  // of listing without events
  std::chrono::nanoseconds longest = std::chrono::minutes(1);
};

class RuntimeWatch {
 public:
  // Metrics of upstream's PLEG, generic and evented, are made in `registry`.
  RuntimeWatch(asio::any_io_executor executor, cri::Runtime& runtime, RuntimeCache& cache, Clock& clock,
               metrics::Registry& registry, RuntimeWatchOptions options = {});

  Task<void> Run();  // until cancelled
  // Of a listing that succeeded while the runtime had no error: what is done with pods is done then.
  SteadyTime last_pass() const { return last_pass_; }
  // Whether it has none, but that it does not list.
  void SetHealthy(std::function<bool()> healthy) { healthy_ = std::move(healthy); }

 private:
  struct Due {
    SteadyTime at;
    RuntimeEvent news;
  };
  Task<void> List();
  Task<void> FollowEvents();
  Task<void> LookAtNews();
  void OnEvent(const cri_v1::ContainerEventResponse& event);
  void Opened();
  void Suspect(const std::vector<std::string>& changed);
  void Judge();

  asio::any_io_executor executor_;
  cri::Runtime& runtime_;
  RuntimeCache& cache_;
  Clock& clock_;
  RuntimeWatchOptions options_;
  std::function<bool()> healthy_;
  Wakeup list_now_, news_, runtime_back_;
  std::chrono::nanoseconds pause_;  // before the next listing
  SteadyTime last_pass_, trusted_after_{};
  bool calling_ = false;  // the stream is open, as far as we know ..
  SteadyTime called_{};
  bool open_ = false;                         // .. for a while, or it has brought something
  bool proven_ = false;                       // it has
  bool listed_ = true;                        // the last listing succeeded
  std::map<std::string, Due> due_;            // by pod
  std::map<std::string, SteadyTime> told_;    // when an event last told of a pod
  std::map<std::string, SteadyTime> untold_;  // changes that were found by listing, and no event told of so far
  metrics::Histogram &list_duration_, &list_interval_, &event_latency_;
  metrics::Counter &streams_, &stream_errors_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_RUNTIME_WATCH_H_
