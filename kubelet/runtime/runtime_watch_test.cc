// The runtime's events and the listing beside them: lost, doubled, late, out of order, broken off, and not there at
// all.
#include "kubelet/runtime/runtime_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/async_testing.h"
#include "base/log.h"
#include "cri/fake_runtime.h"
#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using State = ContainerState::State;

std::vector<std::string>* g_log = nullptr;

class RuntimeWatchTest : public testing::Test {
 protected:
  RuntimeWatchTest() {
    g_log = &log;
    log::SetSink([](std::string_view line) { g_log->emplace_back(line); });
    runtime.has_events = true;
    cache.OnChange([this](const std::string& uid) { changes.push_back(uid); });
  }
  ~RuntimeWatchTest() override {
    group.Cancel();
    Settle();
    log::SetSink(nullptr);
  }
  void Start() {
    group.Spawn("watch", watch.Run());
    Settle();
  }
  void Settle() {
    loop.restart();
    loop.poll();
  }
  // Second by second, so that whoever sleeps again sleeps from there.
  void Advance(int count) {
    for (int i = 0; i < count; ++i) {
      clock.Advance(seconds(1), loop);
      Settle();
    }
  }
  template <typename T>
  T Call(Task<StatusOr<T>> task) {
    auto out = RunTask(loop, std::move(task));
    EXPECT_TRUE(out.ok()) << out.status();
    Settle();
    return out.ok() ? *std::move(out) : T();
  }

  // A pod with one running container, as nobody but the runtime knows it; the container's id.
  std::string Pod(const std::string& uid) {
    cri_v1::RunPodSandboxRequest run;
    run.mutable_config()->mutable_metadata()->set_uid(uid);
    (*run.mutable_config()->mutable_labels())[kPodUidLabel] = uid;
    const std::string sandbox = Call(runtime.RunPodSandbox(run)).pod_sandbox_id();
    cri_v1::CreateContainerRequest create;
    create.set_pod_sandbox_id(sandbox);
    create.mutable_config()->mutable_metadata()->set_name("c");
    (*create.mutable_config()->mutable_labels())[kPodUidLabel] = uid;
    const std::string id = Call(runtime.CreateContainer(create)).container_id();
    StartContainer(id);
    return id;
  }
  void StartContainer(const std::string& id) {
    cri_v1::StartContainerRequest start;
    start.set_container_id(id);
    Call(runtime.StartContainer(start));
  }
  // The stream has proved itself, and all is known: only the audit is left.
  std::string TrustedPod(const std::string& uid) {
    std::string id = Pod(uid);
    Start();
    Advance(1);
    Pod("another");
    Advance(150);
    changes.clear();
    return id;
  }
  State StateOf(const std::string& uid, const std::string& id) const {
    PodStatePtr pod = cache.Get(uid);
    const ContainerState* c = pod->FindId(id);
    return c == nullptr ? State::kUnknown : c->state;
  }
  double Metric(std::string_view name) const {
    for (std::string_view line : absl::StrSplit(registry.Expose(), '\n')) {
      double value = 0;
      if (line.starts_with(name) && line.substr(name.size(), 1) == " " &&
          absl::SimpleAtod(line.substr(name.size() + 1), &value)) {
        return value;
      }
    }
    return -1;
  }
  int Lists() const { return static_cast<int>(Metric("kubelet_pleg_relist_duration_seconds_count")); }
  int Looks() const { return static_cast<int>(Metric("kubelet_pleg_pod_relist_duration_seconds_count")); }
  int Said(std::string_view what) const {
    return static_cast<int>(
        std::count_if(log.begin(), log.end(), [&](const auto& line) { return absl::StrContains(line, what); }));
  }

  std::vector<std::string> log;
  asio::io_context loop;
  FakeClock clock;
  metrics::Registry registry;
  cri::FakeRuntime runtime{clock};
  RuntimeCache cache{runtime, clock, "/nowhere"};
  RuntimeWatch watch{loop.get_executor(), runtime, cache, clock, registry};
  std::vector<std::string> changes;
  TaskGroup group{loop.get_executor()};
};

TEST_F(RuntimeWatchTest, WithoutEventsEverythingIsListedEverySecond) {
  runtime.has_events = false;
  const std::string id = Pod("u");
  Start();
  Advance(100);
  EXPECT_EQ(Lists(), 100);
  runtime.Exit(id, 1);
  EXPECT_EQ(StateOf("u", id), State::kRunning);
  Advance(1);
  EXPECT_EQ(StateOf("u", id), State::kExited);
  EXPECT_EQ(Said("The runtime has no events"), 1);
  EXPECT_EQ(runtime.CountCalls("GetContainerEvents"), 1u);
  EXPECT_EQ(Metric("kubelet_evented_pleg_connection_success_count"), 0);
  EXPECT_EQ(Metric("kubelet_evented_pleg_connection_error_count"), 0);
}

// As upstream's sync loop, which does nothing for pods while the runtime is down.
TEST_F(RuntimeWatchTest, OnlyAPassWhileTheRuntimeIsWellCounts) {
  runtime.has_events = false;
  bool healthy = true;
  watch.SetHealthy([&] { return healthy; });
  Start();
  Advance(3);
  const SteadyTime well = watch.last_pass();
  EXPECT_EQ(well, clock.Steady());
  for (int i = 0; i < 10; ++i) runtime.failures["ListPodSandbox"].push_back(absl::UnavailableError("down"));
  Advance(10);
  EXPECT_EQ(watch.last_pass(), well);
  healthy = false;
  Advance(5);
  EXPECT_EQ(watch.last_pass(), well);
  healthy = true;
  Advance(1);
  EXPECT_EQ(watch.last_pass(), clock.Steady());
}

TEST_F(RuntimeWatchTest, TheEndOfAnOutageShowsAtOnceWhereEventsAreTrusted) {
  bool healthy = true;
  watch.SetHealthy([&] { return healthy; });
  TrustedPod("u");
  healthy = false;
  Advance(200);
  EXPECT_LT(watch.last_pass(), clock.Steady() - seconds(100));
  healthy = true;
  Advance(1);
  EXPECT_EQ(watch.last_pass(), clock.Steady());
  // And the listing becomes an audit again.
  Advance(150);
  const int lists = Lists();
  Advance(120);
  EXPECT_EQ(Lists() - lists, 2);
}

TEST_F(RuntimeWatchTest, ARuntimeThatComesBackIsAskedForEventsAgain) {
  runtime.has_events = false;
  Start();
  Advance(3);
  runtime.has_events = true;  // another version of it
  runtime.failures["ListPodSandbox"] = {absl::UnavailableError("restarting")};
  Advance(1);
  EXPECT_EQ(runtime.streams(), 0u);
  Advance(1);
  EXPECT_EQ(runtime.streams(), 1u);
}

TEST_F(RuntimeWatchTest, AnEndIsSeenAtOnceAndListingBecomesAnAudit) {
  const std::string id = TrustedPod("u");
  const int lists = Lists();
  Advance(600);
  EXPECT_EQ(Lists() - lists, 10);  // one a minute, where it was one a second
  const int looks = Looks();
  runtime.Exit(id, 3);
  Settle();
  EXPECT_EQ(StateOf("u", id), State::kExited);
  EXPECT_EQ(cache.Get("u")->FindId(id)->exit_code, 3);
  EXPECT_EQ(Looks() - looks, 1);
  EXPECT_THAT(changes, ElementsAre("u"));
  EXPECT_EQ(Metric("kubelet_evented_pleg_connection_success_count"), 1);
}

TEST_F(RuntimeWatchTest, AStreamThatHasBroughtNothingYetIsNotTrusted) {
  const std::string id = Pod("u");
  Start();
  Advance(600);
  EXPECT_EQ(runtime.streams(), 1u);
  EXPECT_EQ(Lists(), 600);
  // The first event went to the stream of a dead kubelet.
  runtime.hold_events = true;
  runtime.Exit(id, 1);
  Advance(1);
  EXPECT_EQ(StateOf("u", id), State::kExited);
}

TEST_F(RuntimeWatchTest, AnAuditFindsWhatNoEventToldOf) {
  const std::string id = TrustedPod("u");
  runtime.hold_events = true;
  runtime.Exit(id, 1);
  Settle();
  EXPECT_EQ(StateOf("u", id), State::kRunning) << "nobody knows";
  Advance(60);
  EXPECT_EQ(StateOf("u", id), State::kExited);
  EXPECT_THAT(changes, ElementsAre("u"));
  // Events that are lost are not relied upon for a while.
  Advance(10);
  EXPECT_EQ(Said("The runtime has not told of a change"), 1);
  const int lists = Lists();
  Advance(120);
  EXPECT_EQ(Lists() - lists, 120);
  // And then they are again.
  Advance(400);
  const int later = Lists();
  Advance(120);
  EXPECT_EQ(Lists() - later, 2);
}

TEST_F(RuntimeWatchTest, AnEventThatIsOnlyLateLosesNoTrust) {
  const std::string id = TrustedPod("u");
  runtime.hold_events = true;
  runtime.Exit(id, 1);
  while (StateOf("u", id) == State::kRunning) Advance(1);  // the audit was first
  Advance(2);
  runtime.Tell(runtime.events.front());
  Advance(100);
  EXPECT_EQ(Said("The runtime has not told of a change"), 0);
  const int lists = Lists();
  Advance(120);
  EXPECT_EQ(Lists() - lists, 2);
}

TEST_F(RuntimeWatchTest, ALostStreamIsMadeAgainAndWhatCameInBetweenIsSeen) {
  const std::string id = TrustedPod("u");
  runtime.EndStreams(absl::UnavailableError("containerd has died"));
  runtime.Exit(id, 1);  // nobody listens
  Settle();
  EXPECT_EQ(StateOf("u", id), State::kExited) << "listed at once";
  EXPECT_EQ(runtime.streams(), 0u);
  Advance(1);
  EXPECT_EQ(runtime.streams(), 1u);
  EXPECT_EQ(Metric("kubelet_evented_pleg_connection_error_count"), 1);
  const int lists = Lists();
  Advance(30);
  EXPECT_EQ(Lists() - lists, 30) << "the new stream has not proved itself";
  EXPECT_EQ(Metric("kubelet_evented_pleg_connection_success_count"), 2);
  const std::string second = Pod("u2");
  Advance(5);
  runtime.Exit(second, 1);
  Settle();
  EXPECT_EQ(StateOf("u2", second), State::kExited);
  Advance(200);
  const int trusted = Lists();
  Advance(120);
  EXPECT_EQ(Lists() - trusted, 2);
}

TEST_F(RuntimeWatchTest, WhileTheRuntimeIsAwayItIsAskedLessAndLessAndAtOnceWhenItIsBack) {
  TrustedPod("u");
  for (int i = 0; i < 50; ++i) {
    runtime.failures["GetContainerEvents"].push_back(absl::UnavailableError("connection refused"));
    runtime.failures["ListPodSandbox"].push_back(absl::UnavailableError("connection refused"));
  }
  runtime.EndStreams(absl::UnavailableError("containerd has died"));
  const size_t calls = runtime.CountCalls("GetContainerEvents");
  Advance(40);
  EXPECT_LE(runtime.CountCalls("GetContainerEvents") - calls, 6u);
  runtime.failures.clear();
  Advance(1);
  EXPECT_EQ(runtime.streams(), 1u);
  EXPECT_EQ(Said("The runtime's events have ended"), 1);
}

TEST_F(RuntimeWatchTest, EventsOutOfOrderAndDoubledDoNoHarm) {
  const std::string id = TrustedPod("u");
  runtime.hold_events = true;
  const std::string second = Pod("u2");  // created and started, sandbox and container
  runtime.Exit(second, 1);
  runtime.Exit(id, 1);
  auto events = runtime.events;
  ASSERT_EQ(events.size(), 6u);
  for (int round = 0; round < 2; ++round) {
    for (auto it = events.rbegin(); it != events.rend(); ++it) {
      runtime.Tell(*it);
      Settle();
      EXPECT_EQ(StateOf("u", id), State::kExited);
    }
    EXPECT_EQ(StateOf("u2", second), State::kExited);
  }
  Advance(5);
  EXPECT_EQ(StateOf("u", id), State::kExited);
  EXPECT_EQ(StateOf("u2", second), State::kExited);
  EXPECT_THAT(changes, ElementsAre("u", "u2"));
}

TEST_F(RuntimeWatchTest, AnEventOfWhatIsGoneBringsNothingBack) {
  const std::string id = TrustedPod("u");
  runtime.hold_events = true;
  runtime.Exit(id, 1);
  const auto stale = runtime.events.front();
  runtime.hold_events = false;
  cri_v1::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id(stale.pod_sandbox_status().id());
  Call(runtime.RemovePodSandbox(remove));
  Advance(2);
  EXPECT_THAT(cache.Get("u")->sandboxes, IsEmpty());
  changes.clear();
  runtime.Tell(stale);
  Advance(2);
  EXPECT_THAT(cache.Get("u")->containers, IsEmpty());
  EXPECT_THAT(changes, IsEmpty());
}

TEST_F(RuntimeWatchTest, WhatTheKubeletDidItselfIsNotLookedAtAgain) {
  TrustedPod("u");
  Pod("u2");
  Call(cache.Refresh("u2"));  // as the pod's worker does after its own steps
  const int looks = Looks();
  Advance(5);
  EXPECT_EQ(Looks(), looks);
  EXPECT_THAT(changes, IsEmpty());
  Pod("u3");  // somebody else's doing
  Advance(1);
  EXPECT_EQ(Looks(), looks + 1);
  EXPECT_THAT(changes, ElementsAre("u3"));
}

TEST_F(RuntimeWatchTest, ManyEndsAreOneListing) {
  TrustedPod("u");
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(Pod(absl::StrCat("m", i)));
  Advance(70);
  const int looks = Looks(), lists = Lists();
  for (const auto& id : ids) runtime.Exit(id, 1);
  Settle();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(StateOf(absl::StrCat("m", i), ids[i]), State::kExited);
  EXPECT_EQ(Looks(), looks);
  EXPECT_EQ(Lists(), lists + 1);
}

// containerd learns of the exit and of the kill for lack of memory by different ways.
TEST_F(RuntimeWatchTest, AKillWaitsForItsReason) {
  const std::string id = TrustedPod("u");
  runtime.Exit(id, 137);
  Settle();
  EXPECT_EQ(StateOf("u", id), State::kRunning);
  runtime.containers[id].status.set_reason("OOMKilled");
  Advance(1);
  EXPECT_EQ(StateOf("u", id), State::kExited);
  EXPECT_EQ(cache.Get("u")->FindId(id)->reason, "OOMKilled");
}

TEST_F(RuntimeWatchTest, AReasonThatComesLaterIsSeenAtTheNextLook) {
  const std::string id = TrustedPod("u");
  runtime.Exit(id, 137);
  Advance(1);
  EXPECT_EQ(cache.Get("u")->FindId(id)->reason, "Error");
  runtime.containers[id].status.set_reason("OOMKilled");
  EXPECT_EQ(Call(cache.Refresh("u"))->FindId(id)->reason, "OOMKilled");
}

// A runtime whose next list of containers waits until it is told to go on.
class SlowRuntime final : public cri::Runtime {
 public:
  SlowRuntime(cri::FakeRuntime& runtime, asio::any_io_executor executor) : runtime_(runtime), go_on(executor) {}
#define SKIFF_PASS(name)                                                                                          \
  Task<StatusOr<cri_v1::name##Response>> name(cri_v1::name##Request request, cri::CallOptions options) override { \
    auto answer = co_await runtime_.name(std::move(request), options);                                            \
    if (std::string_view(#name) == "ListContainers" && std::exchange(wait, false)) (void)co_await go_on.Wait();   \
    co_return answer;                                                                                             \
  }
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_PASS)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_PASS)
#undef SKIFF_PASS
  Task<absl::Status> WatchContainerEvents(std::function<void(const cri_v1::ContainerEventResponse&)> on) override {
    return runtime_.WatchContainerEvents(std::move(on));
  }

 private:
  cri::FakeRuntime& runtime_;

 public:
  bool wait = false;
  Wakeup go_on;
};

TEST_F(RuntimeWatchTest, ALookThatBeganEarlierDoesNotOverwriteALaterOne) {
  const std::string id = Pod("u");
  SlowRuntime slow(runtime, loop.get_executor());
  RuntimeCache own(slow, clock, "/nowhere");
  StatusOr<PodStatePtr> early = absl::UnknownError("");
  slow.wait = true;
  auto look = [](RuntimeCache& cache, StatusOr<PodStatePtr>& out) -> Task<void> { out = co_await cache.Refresh("u"); };
  group.Spawn("early", look(own, early));
  Settle();
  cri_v1::CreateContainerRequest create;
  create.set_pod_sandbox_id(runtime.sandboxes.begin()->first);
  (*create.mutable_config()->mutable_labels())[kPodUidLabel] = "u";
  const std::string second = Call(runtime.CreateContainer(create)).container_id();
  EXPECT_NE(Call(own.Refresh("u"))->FindId(second), nullptr);
  slow.go_on.Notify();
  Settle();
  ASSERT_TRUE(early.ok());
  EXPECT_NE((*early)->FindId(second), nullptr);
  EXPECT_NE(own.Get("u")->FindId(second), nullptr);
}

}  // namespace
}  // namespace skiff::kubelet
