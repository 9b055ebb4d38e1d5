#include "client/events.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "client/event_correlator.h"
#include "client/fake_api_server.h"
#include "client/informer.h"
#include "client/lru.h"
#include "client/testing.h"
#include "k8s/io/api/core/v1/event.pb.h"

namespace skiff::client {
namespace {

namespace core = ::k8s::io::api::core::v1;

core::Pod Pod(const std::string& name) {
  core::Pod pod;
  pod.mutable_metadata()->set_namespace_("ns");
  pod.mutable_metadata()->set_name(name);
  pod.mutable_metadata()->set_uid("uid-" + name);
  pod.mutable_metadata()->set_resourceversion("7");
  return pod;
}

class EventsTest : public testing::Test {
 protected:
  ~EventsTest() override {
    group_.Cancel();
    RunUntil(loop_, [this] { return group_.size() == 0; });
  }
  asio::io_context loop_;
  FakeApiServer server_{loop_.get_executor()};
  std::shared_ptr<Rest> rest_ = server_.NewRest();
  TaskGroup group_{loop_.get_executor()};
};

TEST_F(EventsTest, AnnotationsAreOnTheEvent) {
  EventRecorder recorder(rest_, "kubelet", "n1");
  group_.Spawn("events", recorder.Run());
  recorder.RecordAnnotated(ReferenceTo(Pod("p")), kWarning, "Evicted", "gone", {{"starved_resource", "memory"}});
  ASSERT_TRUE(RunUntil(loop_, [&] { return server_.List<core::Event>().size() == 1; }));
  EXPECT_EQ(server_.List<core::Event>()[0]->metadata().annotations().at("starved_resource"), "memory");
}

TEST_F(EventsTest, CountsEqualEventsOnOneObject) {
  EventRecorder recorder(rest_, "kubelet", "n1");
  group_.Spawn("events", recorder.Run());
  for (int i = 0; i < 3; ++i) {
    recorder.Record(ReferenceTo(Pod("p"), "spec.containers{c}"), kNormal, "Pulled", "Container image present");
  }
  ASSERT_TRUE(RunUntil(loop_, [&] {
    const auto events = server_.List<core::Event>();
    return events.size() == 1 && events[0]->count() == 3;
  }));
  const core::Event event = *server_.List<core::Event>()[0];
  EXPECT_EQ(event.metadata().namespace_(), "ns");
  EXPECT_TRUE(event.metadata().name().starts_with("p."));
  EXPECT_EQ(event.involvedobject().kind(), "Pod");
  EXPECT_EQ(event.involvedobject().apiversion(), "v1");
  EXPECT_EQ(event.involvedobject().uid(), "uid-p");
  EXPECT_EQ(event.involvedobject().resourceversion(), "7");
  EXPECT_EQ(event.involvedobject().fieldpath(), "spec.containers{c}");
  EXPECT_EQ(event.source().component(), "kubelet");
  EXPECT_EQ(event.source().host(), "n1");
  EXPECT_EQ(event.reportingcomponent(), "kubelet");
  EXPECT_EQ(event.reportinginstance(), "n1");
  EXPECT_EQ(event.type(), "Normal");
  EXPECT_EQ(event.reason(), "Pulled");
  EXPECT_FALSE(event.has_eventtime());
  EXPECT_EQ(server_.CountRequests("POST"), 1u);
  EXPECT_EQ(server_.CountRequests("PATCH"), 2u);
}

TEST_F(EventsTest, BytesThatAreNoTextAreReplacedAndTheNextEventsFollow) {
  EventRecorder recorder(rest_, "kubelet", "n1");
  group_.Spawn("events", recorder.Run());
  recorder.RecordAnnotated(ReferenceTo(Pod("p")), kWarning, "Unhealthy", "probe failed: \xff", {{"a", "\xe2\x82"}});
  recorder.Record(Pod("p"), kWarning, "Unhealthy", "probe failed: \xff");
  recorder.Record(Pod("q"), kNormal, "Started", "Container started");
  ASSERT_TRUE(RunUntil(loop_, [&] { return server_.List<core::Event>().size() == 2; }));
  for (const auto& event : server_.List<core::Event>()) {
    if (event->involvedobject().name() != "p") continue;
    EXPECT_EQ(event->count(), 2);
    EXPECT_EQ(event->message(), "probe failed: \xef\xbf\xbd");
    EXPECT_EQ(event->metadata().annotations().at("a"), "\xef\xbf\xbd\xef\xbf\xbd");
  }
}

TEST_F(EventsTest, MakesAnEventAgainThatExpired) {
  EventRecorder recorder(rest_, "kubelet", "n1");
  group_.Spawn("events", recorder.Run());
  recorder.Record(Pod("p"), kWarning, "BackOff", "again");
  ASSERT_TRUE(RunUntil(loop_, [&] { return server_.List<core::Event>().size() == 1; }));
  server_.Remove(core::Event(), KeyOf(*server_.List<core::Event>()[0]));
  recorder.Record(Pod("p"), kWarning, "BackOff", "again");
  ASSERT_TRUE(RunUntil(loop_, [&] { return server_.List<core::Event>().size() == 1; }));
  EXPECT_EQ(server_.List<core::Event>()[0]->count(), 2);
}

// A clock that stands still until told, for the recorder's delay; the fake server's requests take none of it.
class DelayedEventsTest : public EventsTest {
 protected:
  DelayedEventsTest() {
    recorder_.SetDelay({.busy = [this] { return busy_; }});
    group_.Spawn("events", recorder_.Run());
    Settle();
  }
  ~DelayedEventsTest() override {
    group_.Cancel();
    RunUntil(loop_, [this] { return group_.size() == 0; });
  }
  void Settle() {
    for (int i = 0; i < 5; ++i) {
      loop_.restart();
      loop_.run_for(std::chrono::milliseconds(1));
    }
  }
  void Pass(int ms) {
    clock_.Advance(std::chrono::milliseconds(ms), loop_);
    Settle();
  }
  bool Sent(size_t count) {
    return RunUntil(loop_, [&] { return server_.List<core::Event>().size() == count; });
  }
  FakeClock clock_;
  std::shared_ptr<Rest> steered_ = *Rest::Make(loop_.get_executor(), server_.config(), clock_);
  EventRecorder recorder_{steered_, "kubelet", "n1"};
  bool busy_ = false;
};

TEST_F(DelayedEventsTest, WaitAMomentForOthers) {
  recorder_.Record(Pod("p"), kNormal, "Pulled", "m");
  Pass(49);
  EXPECT_EQ(server_.CountRequests("POST"), 0u);
  recorder_.Record(Pod("p"), kNormal, "Created", "m");
  Pass(1);
  EXPECT_TRUE(Sent(2));
}

TEST_F(DelayedEventsTest, WaitForTheEndOfOtherWorkButNotForLong) {
  busy_ = true;
  recorder_.Record(Pod("p"), kNormal, "Pulled", "m");
  for (int i = 0; i < 39; ++i) Pass(50);
  EXPECT_EQ(server_.CountRequests("POST"), 0u);
  Pass(50);
  EXPECT_TRUE(Sent(1));
  recorder_.Record(Pod("p"), kNormal, "Created", "m");
  Pass(50);
  EXPECT_EQ(server_.CountRequests("POST"), 1u);
  busy_ = false;
  Pass(50);
  EXPECT_TRUE(Sent(2));
}

TEST_F(DelayedEventsTest, AWarningIsSentAtOnceAfterThoseBeforeIt) {
  busy_ = true;
  recorder_.Record(Pod("p"), kNormal, "Pulled", "m");
  recorder_.Record(Pod("q"), kWarning, "Failed", "m");
  EXPECT_TRUE(Sent(2));
  recorder_.Record(Pod("r"), kNormal, "Pulled", "m");
  Settle();
  EXPECT_EQ(server_.CountRequests("POST"), 2u) << "the next ones wait again";
}

TEST_F(DelayedEventsTest, WhatWaitsAtTheEndIsSent) {
  recorder_.Record(Pod("p"), kNormal, "Killing", "m");
  recorder_.Record(Pod("q"), kNormal, "Killing", "m");
  Settle();
  group_.Cancel();
  ASSERT_TRUE(RunUntil(loop_, [this] { return group_.size() == 0; }));
  EXPECT_EQ(server_.List<core::Event>().size(), 2u);
}

TEST_F(DelayedEventsTest, WhatIsUnderWayAtTheEndIsSent) {
  bool first = true;
  server_.inspect = [&](const http::Request&) {
    if (!std::exchange(first, false)) return true;
    group_.Cancel();
    return false;
  };
  recorder_.Record(Pod("p"), kWarning, "Failed", "m");
  recorder_.Record(Pod("q"), kNormal, "Killing", "m");
  ASSERT_TRUE(RunUntil(loop_, [this] { return group_.size() == 0; }));
  const auto events = server_.List<core::Event>();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]->count(), 1);
  EXPECT_EQ(server_.CountRequests("POST"), 3u);
  EXPECT_EQ(server_.CountRequests("PATCH"), 0u);
}

TEST_F(DelayedEventsTest, WhatIsToBeTriedAgainAtTheEndIsSent) {
  server_.FailNext(1, 503);
  recorder_.Record(Pod("p"), kWarning, "Failed", "m");
  ASSERT_TRUE(RunUntil(loop_, [this] { return clock_.sleepers() == 1; }));
  EXPECT_EQ(server_.CountRequests("POST"), 1u);
  group_.Cancel();
  ASSERT_TRUE(RunUntil(loop_, [this] { return group_.size() == 0; }));
  const auto events = server_.List<core::Event>();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]->count(), 1) << "it is one event still";
}

TEST_F(EventsTest, TheQueueIsBounded) {
  EventRecorder recorder(rest_, "kubelet", "n1");
  for (int i = 0; i < 1500; ++i) recorder.Record(Pod(absl::StrCat("p", i)), kNormal, "R", "m");
  EXPECT_EQ(recorder.dropped(), 500u);
}

TEST_F(EventsTest, SchedulerEventsBecomeASeries) {
  SeriesRecorder recorder(rest_, "default-scheduler", "host");
  group_.Spawn("events", recorder.Run());
  const auto reference = ReferenceTo(Pod("p"));
  for (int i = 0; i < 4; ++i) recorder.Record(reference, kWarning, "FailedScheduling", "Scheduling", "no room");
  ASSERT_TRUE(RunUntil(loop_, [&] {
    const auto events = server_.List<core::Event>();
    return events.size() == 1 && events[0]->has_series();
  }));
  const core::Event event = *server_.List<core::Event>()[0];
  EXPECT_TRUE(event.has_eventtime());
  EXPECT_EQ(event.action(), "Scheduling");
  EXPECT_EQ(event.reportingcomponent(), "default-scheduler");
  EXPECT_EQ(event.reportinginstance(), "default-scheduler-host");
  EXPECT_FALSE(event.has_source());
  EXPECT_FALSE(event.has_firsttimestamp());
  EXPECT_EQ(event.count(), 0);
}

core::Event Sample(const std::string& message, const std::string& reason = "R", const std::string& object = "p") {
  static uint64_t number = 0x18ab3c4d5e6f7a8b;
  core::Event event;
  event.mutable_metadata()->set_name(EventName(object, ++number));
  event.mutable_involvedobject()->set_name(object);
  event.set_type("Normal");
  event.set_reason(reason);
  event.set_message(message);
  event.set_count(1);
  return event;
}

TEST(EventCorrelatorTest, AggregatesTenDifferentMessages) {
  FakeClock clock;
  EventCorrelator correlator(clock);
  for (int i = 0; i < 9; ++i) {
    auto event = Sample(absl::StrCat("m", i));
    EXPECT_EQ(correlator.Correlate(&event), EventCorrelator::Action::kCreate);
    EXPECT_EQ(event.message(), absl::StrCat("m", i));
  }
  auto tenth = Sample("m9");
  EXPECT_EQ(correlator.Correlate(&tenth), EventCorrelator::Action::kCreate);
  EXPECT_EQ(tenth.message(), "(combined from similar events): m9");
  auto next = Sample("m10");
  EXPECT_EQ(correlator.Correlate(&next), EventCorrelator::Action::kPatch);
  EXPECT_EQ(next.message(), "(combined from similar events): m10");
  EXPECT_EQ(next.metadata().name(), tenth.metadata().name());
  EXPECT_EQ(next.count(), 2);
  auto other = Sample("x", "Other");
  EXPECT_EQ(correlator.Correlate(&other), EventCorrelator::Action::kCreate);
  EXPECT_EQ(other.message(), "x");
}

TEST(EventCorrelatorTest, SkipsWhatIsBeyondTheBudgetOfAnObject) {
  FakeClock clock;
  asio::io_context loop;
  EventCorrelator correlator(clock);
  int sent = 0;
  for (int i = 0; i < 40; ++i) {
    auto event = Sample("same");
    if (correlator.Correlate(&event) != EventCorrelator::Action::kSkip) ++sent;
  }
  EXPECT_EQ(sent, 25);
  clock.Advance(std::chrono::minutes(5) + std::chrono::seconds(1), loop);
  auto event = Sample("same");
  EXPECT_EQ(correlator.Correlate(&event), EventCorrelator::Action::kPatch);
  EXPECT_EQ(event.count(), 41);
}

TEST(EventCorrelatorTest, AnObjectsBudgetFillsUpAgain) {
  FakeClock clock;
  asio::io_context loop;
  EventCorrelator correlator(clock);
  auto sent = [&] {
    int n = 0;
    for (int i = 0; i < 40; ++i) {
      auto event = Sample("same");
      if (correlator.Correlate(&event) != EventCorrelator::Action::kSkip) ++n;
    }
    return n;
  };
  EXPECT_EQ(sent(), 25);
  clock.Advance(std::chrono::minutes(50), loop);
  EXPECT_EQ(sent(), 10);
  clock.Advance(std::chrono::hours(24), loop);
  EXPECT_EQ(sent(), 25);
}

// Row soak: what is remembered of objects is bounded, and the oldest goes first.
TEST(EventCorrelatorTest, soak_ForgetsTheOldest) {
  FakeClock clock;
  EventCorrelator correlator(clock);
  auto of = [&](int i) {
    auto event = Sample("m", "R", absl::StrCat("p", i));
    return correlator.Correlate(&event);
  };
  for (int i = 0; i < 20000; ++i) ASSERT_EQ(of(i), EventCorrelator::Action::kCreate) << i;
  EXPECT_EQ(of(19999), EventCorrelator::Action::kPatch);
  EXPECT_EQ(of(20000 - 4096), EventCorrelator::Action::kPatch);
  EXPECT_EQ(of(0), EventCorrelator::Action::kCreate);
}

// Reliability row clock-jump: what is aggregated and how much an object may send follows no wall clock.
TEST(EventCorrelatorTest, clock_jump) {
  for (auto jump : {std::chrono::hours(1), std::chrono::hours(-1)}) {
    FakeClock clock;
    EventCorrelator correlator(clock);
    int sent = 0;
    for (int i = 0; i < 30; ++i) {
      auto event = Sample(absl::StrCat("m", i));
      if (correlator.Correlate(&event) != EventCorrelator::Action::kSkip) ++sent;
      EXPECT_EQ(event.message().starts_with("(combined from similar events)"), i >= 9) << i;
      if (i == 5 || i == 15) clock.JumpWall(jump);
    }
    EXPECT_EQ(sent, 25);
  }
}

TEST(LruTest, ForgetsTheLeastRecentlyUsed) {
  Lru<std::string> lru(3);
  // Keys of one chain and of others.
  for (uint64_t key : {3, 6, 4}) lru.Put(key, std::to_string(key));
  EXPECT_EQ(*lru.Find(3), "3");
  lru.Put(9, "9");
  EXPECT_EQ(lru.Find(6), nullptr);
  EXPECT_EQ(*lru.Find(4), "4");
  EXPECT_EQ(*lru.Find(3), "3");
  EXPECT_EQ(*lru.Find(9), "9");
  lru.Put(3, "x");
  lru.Put(5, "5");
  EXPECT_EQ(lru.Find(4), nullptr);
  EXPECT_EQ(*lru.Find(3), "x");
  EXPECT_EQ(*lru.Find(5), "5");
  EXPECT_EQ(lru.size(), 3u);
}

}  // namespace
}  // namespace skiff::client
