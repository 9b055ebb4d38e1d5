#include "client/events.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/json_dump.h"
#include "base/log.h"
#include "base/timed_wait.h"
#include "base/utf8.h"
#include "client/event_correlator.h"
#include "client/object.h"
#include "client/rate_limit.h"

namespace skiff::client {
namespace {

using CoreEvent = ::k8s::io::api::core::v1::Event;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr size_t kMostQueued = 1000;
constexpr int kMostTries = 12;
constexpr seconds kBetweenTries{10};
constexpr size_t kMostDelayed = 500;
constexpr seconds kLastTry{1};
constexpr minutes kFinishSeries{6};
constexpr minutes kRefreshSeries{30};

CoreEvent NewEvent(const ObjectReference& about, std::string_view type, std::string_view reason, std::string message,
                   WallTime now) {
  CoreEvent event;
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  event.mutable_metadata()->set_name(EventName(about.name(), static_cast<uint64_t>(nanos)));
  event.mutable_metadata()->set_namespace_(about.namespace_().empty() ? "default" : about.namespace_());
  *event.mutable_involvedobject() = about;
  event.set_type(std::string(type));
  event.set_reason(std::string(reason));
  event.set_message(ToUtf8(std::move(message)));
  return event;
}

// The server refused for good: trying again makes no sense. Without an answer, or with "come again", it does.
bool Refused(const Status& status) {
  const int code = HttpCodeOf(status);
  return code != 0 && code != 429 && code < 500;
}

}  // namespace

ObjectReference ReferenceTo(const Message& object, std::string_view field_path) {
  ObjectReference out;
  const api::GroupVersionKind kind = KindOf(object);
  const meta::ObjectMeta& metadata = MetadataOf(object);
  out.set_kind(kind.kind);
  out.set_apiversion(kind.group_version().ToString());
  out.set_namespace_(metadata.namespace_());
  out.set_name(metadata.name());
  out.set_uid(metadata.uid());
  out.set_resourceversion(metadata.resourceversion());
  if (!field_path.empty()) out.set_fieldpath(std::string(field_path));
  return out;
}

struct EventRecorder::State {
  State(std::shared_ptr<Rest> rest, std::string component, std::string host)
      : rest(std::move(rest)),
        component(std::move(component)),
        host(std::move(host)),
        correlator(this->rest->clock()),
        ready(this->rest->executor()) {}

  std::shared_ptr<Rest> rest;
  const std::string component, host;
  EventCorrelator correlator;
  std::deque<CoreEvent> queue;
  struct Correlated {
    CoreEvent event;
    EventCorrelator::Action action;
  };
  std::optional<Correlated> under_way;  // was the queue's first
  Wakeup ready;
  size_t dropped = 0;
  bool abandoned = false;
  std::optional<EventDelay> delay;
  bool urgent = false;  // what is queued waits no longer

  // Until what is queued is to be sent. Whether starts are under way is looked at now and then: a moment between two
  // of them is none for events.
  Task<void> AwaitTurn() {
    const SteadyTime first = rest->clock().Steady();
    SteadyTime until = first + delay->usual;
    while (!urgent && !abandoned) {
      const SteadyTime now = rest->clock().Steady();
      if (now >= until) {
        if (!delay->busy || !delay->busy() || now - first >= delay->longest) co_return;
        until = now + delay->usual;
      }
      if (absl::IsCancelled(co_await WaitFor(rest->clock(), ready, until - now))) co_return;
    }
  }

  size_t waiting() const { return queue.size() + (under_way ? 1 : 0); }

  // The end of the program: one try each, first what was under way.
  Task<Status> SendAll() {
    while (waiting() > 0 && !co_await IsCancelled()) (void)co_await DeliverNext(true);
    co_return absl::OkStatus();
  }

  // Until the next one is written or given up. False: cancelled; it is still under way.
  Task<bool> DeliverNext(bool last_try) {
    const CoreEvent& next = under_way ? under_way->event : queue.front();
    const std::string object = MakeKey(next), reason = next.reason();
    bool done = true;
    // One event that cannot be dealt with must not keep all later ones from being written.
    try {
      if (!under_way) {
        CoreEvent event = std::move(queue.front());
        queue.pop_front();
        const auto action = correlator.Correlate(&event);
        if (action != EventCorrelator::Action::kSkip) under_way = Correlated{std::move(event), action};
      }
      if (under_way) done = co_await Deliver(under_way->event, under_way->action, last_try);
    } catch (const std::exception& e) {
      LOG_ERROR(Internal(e.what()), "Event lost", {"reason", reason}, {"object", object});
    }
    if (done) under_way.reset();
    co_return done;
  }

  // False: cancelled.
  Task<bool> Deliver(CoreEvent event, EventCorrelator::Action action, bool last_try) {
    for (int tries = 1;; ++tries) {
      const Sent sent = co_await Send(event, action);
      if (sent != Sent::kAgain) co_return sent == Sent::kDone;
      if (last_try) co_return true;
      if (tries >= kMostTries) {
        LOG_ERROR(Unavailable("retry limit exceeded"), "Unable to write event (retry limit exceeded!)",
                  {"reason", event.reason()}, {"object", MakeKey(event)});
        co_return true;
      }
      // The first wait is anywhere within the usual one, so that not every client comes back together.
      std::chrono::nanoseconds wait = kBetweenTries;
      if (tries == 1) wait = std::chrono::nanoseconds(static_cast<int64_t>(wait.count() * RandomFraction()));
      if (!(co_await rest->clock().Sleep(wait)).ok()) co_return false;
    }
  }

  enum class Sent { kDone, kAgain, kCancelled };  // kDone: for better or worse

  Task<Sent> Send(CoreEvent event, EventCorrelator::Action action) {
    Status status;
    if (action == EventCorrelator::Action::kPatch) {
      auto patched = co_await rest->Patch<CoreEvent>(event.metadata().namespace_(), event.metadata().name(),
                                                     EventCorrelator::PatchOf(event));
      status = patched.status();
      if (patched.ok()) correlator.Written(*patched);
    }
    if (action == EventCorrelator::Action::kCreate || IsNotFound(status)) {
      auto created = co_await rest->Create(event);
      status = created.status();
      if (created.ok()) correlator.Written(*created);
    }
    if (status.ok()) co_return Sent::kDone;
    if (absl::IsCancelled(status)) {
      const bool at_end = co_await IsCancelled();
      co_return at_end ? Sent::kCancelled : Sent::kDone;
    }
    if (Refused(status)) {
      if (IsAlreadyExists(status) || IsNamespaceTerminating(status)) {
        VLOG(5, "Server rejected event (will not retry!)", {"err", status});
      } else {
        LOG_ERROR(status, "Server rejected event (will not retry!)", {"reason", event.reason()},
                  {"object", MakeKey(event)});
      }
      co_return Sent::kDone;
    }
    VLOG(1, "Unable to write event (may retry after sleeping)", {"err", status});
    co_return Sent::kAgain;
  }

  static std::string MakeKey(const CoreEvent& event) {
    return absl::StrCat(event.involvedobject().namespace_(), "/", event.involvedobject().name());
  }
};

EventRecorder::EventRecorder(std::shared_ptr<Rest> rest, std::string component, std::string host)
    : state_(std::make_shared<State>(std::move(rest), std::move(component), std::move(host))) {}

EventRecorder::~EventRecorder() {
  state_->abandoned = true;
  state_->ready.Notify();
}

void EventRecorder::Record(const ObjectReference& about, std::string_view type, std::string_view reason,
                           std::string message) {
  RecordAnnotated(about, type, reason, std::move(message), {});
}

void EventRecorder::RecordAnnotated(const ObjectReference& about, std::string_view type, std::string_view reason,
                                    std::string message, const EventAnnotations& annotations) {
  const WallTime now = state_->rest->clock().Now();
  VLOG(2, "Event occurred", {"object", absl::StrCat(about.namespace_(), "/", about.name())},
       {"fieldPath", about.fieldpath()}, {"kind", about.kind()}, {"apiVersion", about.apiversion()}, {"type", type},
       {"reason", reason}, {"message", message});
  if (state_->queue.size() >= kMostQueued) {
    ++state_->dropped;
    return;
  }
  CoreEvent event = NewEvent(about, type, reason, std::move(message), now);
  for (const auto& [key, value] : annotations) (*event.mutable_metadata()->mutable_annotations())[key] = ToUtf8(value);
  event.mutable_source()->set_component(state_->component);
  if (!state_->host.empty()) event.mutable_source()->set_host(state_->host);
  *event.mutable_firsttimestamp() = api::ToTime(now);
  *event.mutable_lasttimestamp() = api::ToTime(now);
  event.set_count(1);
  event.set_reportingcomponent(state_->component);
  event.set_reportinginstance(state_->host);
  state_->queue.push_back(std::move(event));
  if (type != kNormal || state_->queue.size() > kMostDelayed) state_->urgent = true;
  if (!state_->delay || state_->urgent || state_->queue.size() == 1) state_->ready.Notify();
}

void EventRecorder::SetDelay(EventDelay delay) { state_->delay = std::move(delay); }

Task<void> EventRecorder::Run() { return RunState(state_); }

Task<void> EventRecorder::RunState(std::shared_ptr<State> state) {
  bool cancelled = false;
  while (!cancelled) {
    if (state->waiting() == 0) {
      state->queue.shrink_to_fit();
      if (state->abandoned) co_return;
      cancelled = !(co_await state->ready.Wait()).ok();
      continue;
    }
    if (state->delay) {
      co_await state->AwaitTurn();
      cancelled = co_await IsCancelled();
    }
    state->urgent = false;
    for (size_t due = state->waiting(); due > 0 && !cancelled; --due) {
      cancelled = !co_await state->DeliverNext(false);
      cancelled = cancelled || (state->delay && co_await IsCancelled());
    }
  }
  if (!state->delay || state->waiting() == 0) co_return;
  co_await ClearCancellation();
  (void)co_await WithTimeout(kLastTry, "events", state->SendAll());
}

size_t EventRecorder::dropped() const { return state_->dropped; }

struct SeriesRecorder::State {
  State(std::shared_ptr<Rest> rest, std::string controller, std::string host)
      : rest(std::move(rest)), controller(std::move(controller)), ready(this->rest->executor()) {
    instance = absl::StrCat(this->controller, "-", host);
  }

  struct Series {
    CoreEvent event;
    SteadyTime last_seen, written;
  };

  std::shared_ptr<Rest> rest;
  const std::string controller;
  std::string instance;
  std::map<std::string, Series> series;
  std::deque<std::string> queue;  // keys of what is to be written
  Wakeup ready;
  bool abandoned = false;

  // Until it is written or given up. False: cancelled.
  Task<bool> Deliver(CoreEvent event) {
    for (int tries = 1; !co_await Send(event) && tries < kMostTries; ++tries) {
      if (!(co_await rest->clock().Sleep(Jitter(kBetweenTries, 0.25))).ok()) co_return false;
    }
    co_return true;
  }

  Task<bool> Send(CoreEvent event) {
    Status status = absl::NotFoundError("");
    bool patched = false;
    if (event.has_series()) {
      patched = true;
      nlohmann::json patch;
      patch["series"] = {{"count", event.series().count()},
                         {"lastObservedTime", api::FormatMicroTime(event.series().lastobservedtime())}};
      std::string text = DumpJson(patch);
      status =
          (co_await rest->Patch<CoreEvent>(event.metadata().namespace_(), event.metadata().name(), std::move(text)))
              .status();
    }
    if (!patched || IsNotFound(status)) status = (co_await rest->Create(event)).status();
    if (status.ok() || absl::IsCancelled(status)) co_return true;
    if (Refused(status)) {
      VLOG(2, "Server rejected event (will not retry!)", {"err", status}, {"reason", event.reason()});
      co_return true;
    }
    VLOG(1, "Unable to write event (may retry after sleeping)", {"err", status});
    co_return false;
  }

  // Series that are over are written a last time and forgotten; those that go on are refreshed now and then.
  void Sweep() {
    const SteadyTime now = rest->clock().Steady();
    for (auto it = series.begin(); it != series.end();) {
      Series& entry = it->second;
      const bool over = now - entry.last_seen > kFinishSeries;
      if (over && !entry.event.has_series()) {
        it = series.erase(it);
        continue;
      }
      if ((over && entry.written < entry.last_seen) ||
          (entry.event.has_series() && now - entry.written > kRefreshSeries)) {
        queue.push_back(it->first);
      } else if (over) {
        it = series.erase(it);
        continue;
      }
      ++it;
    }
  }
};

SeriesRecorder::SeriesRecorder(std::shared_ptr<Rest> rest, std::string controller, std::string host)
    : state_(std::make_shared<State>(std::move(rest), std::move(controller), std::move(host))) {}

SeriesRecorder::~SeriesRecorder() {
  state_->abandoned = true;
  state_->ready.Notify();
}

void SeriesRecorder::Record(const ObjectReference& regarding, std::string_view type, std::string_view reason,
                            std::string_view action, std::string message) {
  State& state = *state_;
  const WallTime now = state.rest->clock().Now();
  const std::string key = absl::StrCat(type, "\n", reason, "\n", action, "\n", regarding.SerializeAsString());
  const auto found = state.series.find(key);
  if (found != state.series.end()) {
    auto& event = found->second.event;
    found->second.last_seen = state.rest->clock().Steady();
    const bool first = !event.has_series();
    event.mutable_series()->set_count(first ? 2 : event.series().count() + 1);
    *event.mutable_series()->mutable_lastobservedtime() = api::ToMicroTime(now);
    if (!first) return;
  } else {
    if (state.series.size() >= kMostQueued) return;
    CoreEvent event = NewEvent(regarding, type, reason, std::move(message), now);
    *event.mutable_eventtime() = api::ToMicroTime(now);
    event.set_action(std::string(action));
    event.set_reportingcomponent(state.controller);
    event.set_reportinginstance(state.instance);
    state.series[key] = {std::move(event), state.rest->clock().Steady(), {}};
  }
  state.queue.push_back(key);
  state.ready.Notify();
}

Task<void> SeriesRecorder::Run() { return RunState(state_); }

Task<void> SeriesRecorder::RunState(std::shared_ptr<State> state) {
  while (!state->abandoned) {
    while (!state->queue.empty()) {
      const std::string key = std::move(state->queue.front());
      state->queue.pop_front();
      const auto found = state->series.find(key);
      if (found == state->series.end()) continue;
      found->second.written = state->rest->clock().Steady();
      try {
        if (!co_await state->Deliver(found->second.event)) co_return;
      } catch (const std::exception& e) {
        LOG_ERROR(Internal(e.what()), "Event lost");
      }
    }
    // Idle without anything to look after: no timer runs.
    const Status woken =
        state->series.empty() ? co_await state->ready.Wait() : co_await state->ready.WaitFor(kFinishSeries);
    if (!woken.ok() && !absl::IsDeadlineExceeded(woken)) co_return;
    state->Sweep();
  }
}

void FakeEventSink::Record(const ObjectReference& about, std::string_view type, std::string_view reason,
                           std::string message) {
  events.push_back({about, std::string(type), std::string(reason), std::move(message)});
}

}  // namespace skiff::client
