// What becomes of an event that is recorded: a new Event, a patch of one that was written before, or nothing. The same
// three steps, keys and limits as upstream's correlator (client-go tools/record): aggregation of similar events,
// counting of equal ones, a token bucket an object. Pure but for the injected clock; loop thread only.
#ifndef SKIFF_CLIENT_EVENT_CORRELATOR_H_
#define SKIFF_CLIENT_EVENT_CORRELATOR_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "base/clock.h"
#include "client/lru.h"
#include "k8s/io/api/core/v1/event.pb.h"

namespace skiff::client {

// An Event is named after its object and a number, as upstream's: the time of its making in nanoseconds, in hex.
std::string EventName(std::string_view object, uint64_t number);

// What it remembers of thousands of objects that are long gone is kept small and in one piece each: a few dozen bytes
// an entry, none of them in heap blocks of their own, which would keep the pages around them from being given back.
class EventCorrelator {
 public:
  using Event = ::k8s::io::api::core::v1::Event;
  explicit EventCorrelator(Clock& clock);

  enum class Action { kCreate, kPatch, kSkip };
  // `event` comes with a name of EventName's, times and count 1; it is changed into what is to be written.
  Action Correlate(Event* event);
  // After a write: the counter goes on from what the server has.
  void Written(const Event& event);
  // The JSON patch (strategic merge) that brings the written event up to date.
  static std::string PatchOf(const Event& event);

 private:
  struct Aggregate {
    absl::InlinedVector<uint64_t, 2> messages;  // hashes of different ones
    SteadyTime last;
  };
  struct Seen {
    uint64_t number = 0;  // of its name
    int64_t first_seconds = 0;
    int32_t count = 0;
  };
  bool TakeToken(const Event& event, SteadyTime now);

  Clock& clock_;
  Lru<Aggregate> aggregates_;
  Lru<Seen> seen_;
  Lru<SteadyTime> buckets_;  // when the object's bucket is full again
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_EVENT_CORRELATOR_H_
