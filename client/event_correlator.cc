#include "client/event_correlator.h"

#include <algorithm>
#include <functional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/json_dump.h"

namespace skiff::client {
namespace {

constexpr size_t kMostEntries = 4096;
constexpr size_t kAggregateAt = 10;  // different messages of one kind ..
constexpr std::chrono::seconds kAggregateWithin{600};
constexpr std::chrono::seconds kSpamToken{300};  // an object's bucket gets one ..
constexpr int kSpamBurst = 25;                   // .. up to so many

uint64_t Hash(const std::string& text) { return std::hash<std::string>()(text); }

// The parts are separated here, so that no two keys run into each other.
uint64_t EventKey(const EventCorrelator::Event& e) {
  const auto& o = e.involvedobject();
  return Hash(absl::StrCat(e.source().component(), "\n", e.source().host(), "\n", o.kind(), "\n", o.namespace_(), "\n",
                           absl::StrCat(o.name(), "\n", o.fieldpath(), "\n", o.uid(), "\n", o.apiversion()), "\n",
                           e.type(), "\n", e.reason(), "\n", e.message()));
}

uint64_t AggregateKey(const EventCorrelator::Event& e) {
  const auto& o = e.involvedobject();
  return Hash(absl::StrCat("aggregate\n", e.source().component(), "\n", e.source().host(), "\n", o.kind(), "\n",
                           absl::StrCat(o.namespace_(), "\n", o.name(), "\n", o.uid(), "\n", o.apiversion()), "\n",
                           e.type(), "\n", e.reason(), "\n", e.reportingcomponent()));
}

uint64_t SpamKey(const EventCorrelator::Event& e) {
  const auto& o = e.involvedobject();
  return Hash(absl::StrCat(e.source().component(), "\n", e.source().host(), "\n", o.kind(), "\n", o.namespace_(), "\n",
                           o.name(), "\n", o.uid(), "\n", o.apiversion(), "\n", e.type()));
}

// The number in a name of EventName's.
uint64_t NumberOf(const EventCorrelator::Event& e) {
  const std::string_view name = e.metadata().name();
  uint64_t number = 0;
  (void)absl::SimpleHexAtoi(name.substr(name.rfind('.') + 1), &number);
  return number;
}

}  // namespace

std::string EventName(std::string_view object, uint64_t number) { return absl::StrCat(object, ".", absl::Hex(number)); }

EventCorrelator::EventCorrelator(Clock& clock)
    : clock_(clock), aggregates_(kMostEntries), seen_(kMostEntries), buckets_(kMostEntries) {}

EventCorrelator::Action EventCorrelator::Correlate(Event* event) {
  const SteadyTime now = clock_.Steady();
  uint64_t key = EventKey(*event);

  const uint64_t aggregate_key = AggregateKey(*event);
  Aggregate* aggregate = aggregates_.Find(aggregate_key);
  if (aggregate == nullptr) aggregate = aggregates_.Put(aggregate_key, Aggregate{{}, now});
  if (now - aggregate->last > kAggregateWithin) aggregate->messages.clear();
  const uint64_t message = Hash(event->message());
  auto& messages = aggregate->messages;
  if (std::find(messages.begin(), messages.end(), message) == messages.end()) messages.push_back(message);
  aggregate->last = now;
  if (messages.size() >= kAggregateAt) {
    messages.erase(messages.begin());
    event->set_message(absl::StrCat("(combined from similar events): ", event->message()));
    key = aggregate_key;
  }

  Action action = Action::kCreate;
  if (const Seen* seen = seen_.Find(key); seen != nullptr && seen->count > 0) {
    event->mutable_metadata()->set_name(EventName(event->involvedobject().name(), seen->number));
    event->mutable_firsttimestamp()->set_seconds(seen->first_seconds);
    event->set_count(seen->count + 1);
    action = Action::kPatch;
  }
  seen_.Put(key, Seen{NumberOf(*event), event->firsttimestamp().seconds(), event->count()});
  return TakeToken(*event, now) ? action : Action::kSkip;
}

// A bucket that lacks n tokens is full after n times kSpamToken: that moment is all there is to remember.
bool EventCorrelator::TakeToken(const Event& event, SteadyTime now) {
  const uint64_t key = SpamKey(event);
  SteadyTime* full = buckets_.Find(key);
  if (full == nullptr) full = buckets_.Put(key, now);
  *full = std::max(*full, now);
  if (*full - now > (kSpamBurst - 1) * kSpamToken) return false;
  *full += kSpamToken;
  return true;
}

void EventCorrelator::Written(const Event& event) {
  // Aggregates keep their own entry: its key does not follow from the written event, whose message is another.
  const uint64_t key = EventKey(event);
  if (Seen* seen = seen_.Find(key); seen != nullptr && seen->number == NumberOf(event)) {
    seen->count = std::max(seen->count, event.count());
  }
}

std::string EventCorrelator::PatchOf(const Event& event) {
  nlohmann::json patch = {{"count", event.count()}, {"message", event.message()}};
  patch["lastTimestamp"] = api::FormatTime(event.lasttimestamp());
  // A message may be any bytes that a container printed.
  return DumpJson(patch);
}

}  // namespace skiff::client
