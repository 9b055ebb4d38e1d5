#include "kubelet/runtime/runtime_watch.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/timed_wait.h"

namespace skiff::kubelet {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr auto kLazy = seconds(1);        // before news that nobody waits for is looked at
constexpr size_t kMany = 8;               // looks that become one listing
constexpr auto kEventDelay = seconds(5);  // an event later than the change that it tells of
constexpr auto kDistrust = std::chrono::minutes(5);
constexpr auto kLongestRetry = seconds(30);

const std::vector<double>& Buckets() {
  static const std::vector<double> buckets = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
  return buckets;
}

double Seconds(nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

RuntimeWatch::RuntimeWatch(asio::any_io_executor executor, cri::Runtime& runtime, RuntimeCache& cache, Clock& clock,
                           metrics::Registry& registry, RuntimeWatchOptions options)
    : executor_(executor),
      runtime_(runtime),
      cache_(cache),
      clock_(clock),
      options_(options),
      list_now_(executor),
      news_(executor),
      runtime_back_(executor),
      pause_(options.period),
      last_pass_(clock.Steady()),
      list_duration_(registry
                         .Histograms("kubelet_pleg_relist_duration_seconds",
                                     "[ALPHA] Duration in seconds for relisting pods in PLEG.", Buckets())
                         .With({})),
      list_interval_(registry
                         .Histograms("kubelet_pleg_relist_interval_seconds",
                                     "[ALPHA] Interval in seconds between relisting in PLEG.", Buckets())
                         .With({})),
      event_latency_(registry
                         .Histograms("kubelet_evented_pleg_connection_latency_seconds",
                                     "[ALPHA] The latency of streaming connection with the CRI runtime, measured in "
                                     "seconds.",
                                     Buckets())
                         .With({})),
      streams_(registry
                   .Counters("kubelet_evented_pleg_connection_success_count",
                             "[ALPHA] The number of times a streaming client was obtained to receive CRI Events.")
                   .With({})),
      stream_errors_(registry
                         .Counters("kubelet_evented_pleg_connection_error_count",
                                   "[ALPHA] The number of errors encountered during the establishment of streaming "
                                   "connection with the CRI runtime.")
                         .With({})) {
  registry.Counters("kubelet_pleg_discard_events", "[ALPHA] The number of discard events in PLEG.");  // none ever
  cache_.SetTimer(&registry
                       .Histograms("kubelet_pleg_pod_relist_duration_seconds",
                                   "[ALPHA] Duration in seconds for relisting a single pod in PLEG.", Buckets())
                       .With({}));
}

Task<void> RuntimeWatch::Run() {
  TaskGroup group(executor_);
  group.Spawn("list the runtime", List());
  group.Spawn("runtime events", FollowEvents());
  group.Spawn("runtime news", LookAtNews());
  co_await group.Join();
}

Task<void> RuntimeWatch::List() {
  SteadyTime ended = clock_.Steady();
  for (;;) {
    (void)co_await WaitFor(clock_, list_now_,
                           untold_.empty() ? pause_ : std::min<nanoseconds>(pause_, options_.period));
    if (co_await IsCancelled()) co_return;
    if (calling_ && !open_ && clock_.Steady() - called_ >= options_.period) Opened();
    Judge();
    const SteadyTime began = clock_.Steady();
    list_interval_.Observe(Seconds(began - ended));
    auto changed = co_await cache_.Relist();
    if (co_await IsCancelled()) co_return;
    ended = clock_.Steady();
    list_duration_.Observe(Seconds(ended - began));
    if (!changed.ok()) {
      LOG_ERROR(changed.status(), "Cannot list what the runtime has");
      listed_ = false;
      pause_ = options_.period;
      continue;
    }
    const bool healthy = !healthy_ || healthy_();
    if (healthy) last_pass_ = ended;
    if (!std::exchange(listed_, true)) runtime_back_.Notify();
    Suspect(*changed);
    const bool trusted = open_ && proven_ && ended >= trusted_after_;
    if (!trusted || !healthy) {  // the end of an outage is to show at once
      pause_ = options_.period;
    } else if (untold_.empty()) {
      pause_ = std::min<nanoseconds>(pause_ * 2, options_.longest);
    }
  }
}

void RuntimeWatch::Suspect(const std::vector<std::string>& changed) {
  const SteadyTime now = clock_.Steady();
  std::erase_if(told_, [&](const auto& entry) { return now - entry.second > kEventDelay; });
  if (!proven_) return;
  for (const auto& uid : changed) {
    if (!told_.contains(uid)) untold_.emplace(uid, now);
  }
}

void RuntimeWatch::Judge() {
  const SteadyTime now = clock_.Steady();
  const bool lost =
      std::any_of(untold_.begin(), untold_.end(), [&](const auto& entry) { return now - entry.second >= kEventDelay; });
  if (!lost) return;
  LOG_WARNING("The runtime has not told of a change; listing what it has every second for a while",
              {"podUID", untold_.begin()->first});
  untold_.clear();
  trusted_after_ = now + kDistrust;
  pause_ = options_.period;
}

void RuntimeWatch::Opened() {
  open_ = true;
  streams_.Inc();
  LOG_INFO("Following the runtime's events");
}

Task<void> RuntimeWatch::FollowEvents() {
  bool said = false;
  nanoseconds retry = options_.period;
  for (;;) {
    calling_ = true;
    called_ = clock_.Steady();
    Status end =
        co_await runtime_.WatchContainerEvents([this](const cri_v1::ContainerEventResponse& event) { OnEvent(event); });
    calling_ = proven_ = false;
    const bool was_open = std::exchange(open_, false);
    untold_.clear();
    if (co_await IsCancelled()) co_return;
    if (absl::IsUnimplemented(end)) {
      if (!said) LOG_INFO("The runtime has no events, what it has is listed every second", {"err", end});
      said = true;
      // Until another version of it has been started.
      if (!(co_await runtime_back_.Wait()).ok()) co_return;
      continue;
    }
    stream_errors_.Inc();
    if (was_open) {
      LOG_WARNING("The runtime's events have ended, following them again", {"err", end});
      retry = options_.period;
    } else {
      VLOG(2, "Cannot follow the runtime's events", {"err", end});
    }
    pause_ = options_.period;
    list_now_.Notify();  // what is told between the streams is lost
    (void)co_await WaitFor(clock_, runtime_back_, retry);
    if (co_await IsCancelled()) co_return;
    retry = std::min<nanoseconds>(retry * 2, kLongestRetry);
  }
}

void RuntimeWatch::OnEvent(const cri_v1::ContainerEventResponse& message) {
  if (!open_) Opened();
  proven_ = true;
  const auto at = std::chrono::duration_cast<nanoseconds>(clock_.Now().time_since_epoch());
  event_latency_.Observe(std::max(0.0, Seconds(at - nanoseconds(message.created_at()))));
  RuntimeEvent event = ReadEvent(message);
  // After a sandbox is removed nothing in the event names the pod.
  if (event.pod_uid.empty()) event.pod_uid = cache_.PodOf(event.id);
  if (event.pod_uid.empty()) return;  // of nobody's pod, or of nothing that is known
  const std::string uid = event.pod_uid;
  const SteadyTime now = clock_.Steady();
  told_[uid] = now;
  untold_.erase(uid);
  if (cache_.Knows(event)) return;
  const SteadyTime when = event.stopped && !event.reason_may_follow ? now : now + kLazy;
  VLOG(4, "The runtime has news of a pod", {"podUID", uid}, {"id", event.id}, {"stopped", event.stopped});
  auto [it, fresh] = due_.try_emplace(uid, Due{when, event});
  if (!fresh) {
    it->second.at = std::min(it->second.at, when);
    it->second.news.Add(event);
  }
  news_.Notify();
}

Task<void> RuntimeWatch::LookAtNews() {
  for (;;) {
    if (due_.empty()) {
      if (!(co_await news_.Wait()).ok()) co_return;
      continue;
    }
    auto next = std::min_element(due_.begin(), due_.end(),
                                 [](const auto& a, const auto& b) { return a.second.at < b.second.at; });
    if (const nanoseconds left = next->second.at - clock_.Steady(); left.count() > 0) {
      (void)co_await WaitFor(clock_, news_, left);
      if (co_await IsCancelled()) co_return;
      continue;
    }
    std::vector<std::string> now;
    std::erase_if(due_, [&](const auto& entry) {
      if (cache_.Knows(entry.second.news)) return true;
      if (entry.second.at > clock_.Steady()) return false;
      now.push_back(entry.first);
      return true;
    });
    if (now.size() >= kMany) {
      list_now_.Notify();
      continue;
    }
    for (auto& uid : now) {
      Status s = co_await cache_.Look(uid);
      if (co_await IsCancelled()) co_return;
      if (s.ok()) continue;
      VLOG(2, "Cannot look at a pod of which the runtime has news", {"podUID", uid}, {"err", s});
      pause_ = options_.period;
      list_now_.Notify();
    }
  }
}

}  // namespace skiff::kubelet
