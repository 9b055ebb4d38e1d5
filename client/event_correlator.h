// What becomes of an event that is recorded: a new Event, a patch of one that was written before, or nothing. The same
// three steps, keys and limits as upstream's correlator (client-go tools/record): aggregation of similar events,
// counting of equal ones, a token bucket an object. Pure but for the injected clock; loop thread only.
#ifndef SKIFF_CLIENT_EVENT_CORRELATOR_H_
#define SKIFF_CLIENT_EVENT_CORRELATOR_H_

#include <cstdint>
#include <list>
#include <set>
#include <string>
#include <unordered_map>

#include "client/rate_limit.h"
#include "k8s/io/api/core/v1/event.pb.h"

namespace skiff::client {

// A map of at most `most` entries that forgets the least recently used. Keys are hashes of upstream's string keys.
template <typename V>
class Lru {
 public:
  explicit Lru(size_t most) : most_(most) {}
  V* Find(uint64_t key) {
    const auto found = map_.find(key);
    if (found == map_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
  }
  V* Put(uint64_t key, V value) {
    if (V* found = Find(key)) {
      *found = std::move(value);
      return found;
    }
    order_.emplace_front(key, std::move(value));
    map_[key] = order_.begin();
    if (map_.size() > most_) {
      map_.erase(order_.back().first);
      order_.pop_back();
    }
    return &order_.front().second;
  }

 private:
  const size_t most_;
  std::list<std::pair<uint64_t, V>> order_;
  std::unordered_map<uint64_t, typename std::list<std::pair<uint64_t, V>>::iterator> map_;
};

class EventCorrelator {
 public:
  using Event = ::k8s::io::api::core::v1::Event;
  explicit EventCorrelator(Clock& clock);

  enum class Action { kCreate, kPatch, kSkip };
  // `event` comes with name, times and count 1; it is changed into what is to be written.
  Action Correlate(Event* event);
  // After a write: the counter goes on from what the server has.
  void Written(const Event& event);
  // The JSON patch (strategic merge) that brings the written event up to date.
  static std::string PatchOf(const Event& event);

 private:
  struct Aggregate {
    std::set<uint64_t> messages;
    SteadyTime last;
  };
  struct Seen {
    int32_t count = 0;
    std::string name;
    int64_t first_seconds = 0;
  };
  Clock& clock_;
  Lru<Aggregate> aggregates_;
  Lru<Seen> seen_;
  Lru<std::shared_ptr<TokenBucket>> buckets_;
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_EVENT_CORRELATOR_H_
