// Growing delays by key: 10 s, doubled at every use, up to a limit, forgotten after a time without trouble.
// Upstream's rules for crash loops and image pulls. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_BACKOFF_H_
#define SKIFF_KUBELET_RUNTIME_BACKOFF_H_

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace skiff::kubelet {

class Backoff {
 public:
  using Nanos = std::chrono::nanoseconds;
  // `memory` 0: twice the longest delay.
  Backoff(Clock& clock, Nanos first, Nanos longest, Nanos memory = Nanos(0))
      : clock_(clock), first_(first), longest_(longest), memory_(memory.count() > 0 ? memory : 2 * longest) {}

  // How much of the delay is left, counted from `event` (a container's end, as the wall clock had it); 0: go ahead.
  // Once an event was seen its age grows by the steady clock: a jump of the wall clock neither shortens nor prolongs a
  // wait.
  Nanos LeftSince(const std::string& key, WallTime event) {
    auto it = entries_.find(key);
    if (it == entries_.end()) return Nanos(0);
    Entry& e = it->second;
    if (!e.seen || e.event != event) {
      e.seen = true;
      e.event = event;
      e.event_steady = InSteadyTime(event);
    }
    if (e.event_steady - e.updated > memory_) return Nanos(0);
    return std::max(Nanos(0), std::chrono::duration_cast<Nanos>(e.event_steady + e.delay - clock_.Steady()));
  }
  // The same, counted from the last Next.
  Nanos LeftSinceUpdate(const std::string& key) const {
    auto it = entries_.find(key);
    if (it == entries_.end() || clock_.Steady() - it->second.updated > memory_) return Nanos(0);
    return std::max(Nanos(0),
                    std::chrono::duration_cast<Nanos>(it->second.updated + it->second.delay - clock_.Steady()));
  }
  // Starts or doubles the delay. `event` as above; an event long after the last use starts anew.
  void Next(const std::string& key, WallTime event) {
    auto [it, added] = entries_.try_emplace(key);
    Entry& e = it->second;
    const SteadyTime event_steady = e.seen && e.event == event ? e.event_steady : InSteadyTime(event);
    if (added || event_steady - e.updated > memory_) {
      e.delay = first_;
    } else {
      e.delay = std::min(2 * e.delay, longest_);
    }
    e.delay = std::min(e.delay, longest_);
    e.updated = clock_.Steady();
    e.seen = false;
  }
  Nanos Delay(const std::string& key) const {
    auto it = entries_.find(key);
    return it == entries_.end() ? Nanos(0) : it->second.delay;
  }
  // All keys that begin so (a pod's).
  void Forget(std::string_view prefix) {
    for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix);) {
      it = entries_.erase(it);
    }
  }

 private:
  struct Entry {
    Nanos delay{0};
    SteadyTime updated;  // the last Next
    WallTime event;
    SteadyTime event_steady;
    bool seen = false;  // `event`, since the last Next
  };
  // When that was, as far as the wall clock can tell now.
  SteadyTime InSteadyTime(WallTime event) const {
    return clock_.Steady() - std::max(std::chrono::duration_cast<Nanos>(clock_.Now() - event), Nanos(0));
  }
  Clock& clock_;
  Nanos first_, longest_, memory_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_BACKOFF_H_
