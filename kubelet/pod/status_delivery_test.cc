// The way of statuses to the API server, over HTTP and at the client's rate: what is sent of many changes, when, and in
// which order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/fake_api_server.h"
#include "client/testing.h"
#include "kubelet/kubelet_parts.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using client::RunUntil;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kPods = 60;
constexpr double kQps = 5;
constexpr int kBurst = 10;

struct StatusDeliveryTest : testing::Test {
  asio::io_context loop;
  FakeClock clock;
  client::FakeApiServer server{loop.get_executor()};
  std::shared_ptr<client::Rest> rest;
  std::unique_ptr<ApiStatusSink> sink;
  std::unique_ptr<StatusManager> statuses;
  std::vector<Pod> pods;
  TaskGroup group{loop.get_executor()};

  StatusDeliveryTest() {
    client::Config config = server.config();
    config.qps = kQps;
    config.burst = kBurst;
    rest = *client::Rest::Make(loop.get_executor(), config, clock);
    sink = std::make_unique<ApiStatusSink>(rest, [](Pod*) {});
    statuses = std::make_unique<StatusManager>(loop.get_executor(), sink.get(), clock);
    for (int i = 0; i < kPods; ++i) {
      Pod& pod = pods.emplace_back(testing_pods::MakePod({"c"}));
      pod.mutable_metadata()->set_name(absl::StrCat("p", i));
      pod.mutable_metadata()->set_uid(absl::StrCat("u-", i));
      server.Put(pod);
    }
    statuses->SetLatest(
        [this](const std::string& uid) -> PodPtr { return server.Get<Pod>(absl::StrCat("ns/p", uid.substr(2))); });
    group.Spawn("statuses", statuses->Run());
  }
  ~StatusDeliveryTest() override {
    group.Cancel();
    RunUntil(loop, [this] { return group.size() == 0; });
  }

  void Set(int i, int restarts, bool ready) {
    core::PodStatus status;
    status.set_phase("Running");
    auto* condition = status.add_conditions();
    condition->set_type("Ready");
    condition->set_status(ready ? "True" : "False");
    auto* c = status.add_containerstatuses();
    c->set_name("c");
    c->set_restartcount(restarts);
    c->set_ready(ready);
    statuses->Set(pods[static_cast<size_t>(i)], status);
  }
  // As the API has it.
  int Restarts(int i) const {
    const auto pod = server.Get<Pod>(absl::StrCat("ns/p", i));
    return pod->status().containerstatuses_size() == 0 ? -1 : pod->status().containerstatuses(0).restartcount();
  }
  // A tenth of a second of time, and whatever becomes of it: answers come over a socket, for which time stands still.
  void Tenth() {
    clock.Advance(milliseconds(100), loop);
    for (int i = 0; i < 3; ++i) loop.run_for(milliseconds(1));
  }
};

// Reliability row api-outage: after ten minutes every pod's newest status is delivered, none of those before it, in an
// order in which nothing goes back, and the server never gets more than the client's rate allows.
TEST_F(StatusDeliveryTest, api_outage) {
  for (int i = 0; i < kPods; ++i) Set(i, 0, true);
  auto all_have = [&](int restarts) {
    for (int i = 0; i < kPods; ++i) {
      if (Restarts(i) != restarts) return false;
    }
    return true;
  };
  for (int i = 0; i < 600 && !all_have(0); ++i) Tenth();
  ASSERT_TRUE(all_have(0));

  server.DropNext(1 << 30);
  for (int minute = 0; minute < 10; ++minute) {
    for (int i = 0; i < kPods; ++i) Set(i, 2 * minute + 1, false);
    for (int t = 0; t < 300; ++t) Tenth();
    for (int i = 0; i < kPods; ++i) Set(i, 2 * minute + 2, true);
    for (int t = 0; t < 300; ++t) Tenth();
  }
  for (int i = 0; i < kPods; ++i) EXPECT_EQ(Restarts(i), 0);

  server.DropNext(0);
  const size_t before = server.requests().size();
  const SteadyTime back = clock.Steady();
  std::vector<int> seen(kPods, 0);
  for (int t = 0; t < 1200 && !all_have(20); ++t) {
    Tenth();
    const double time = std::chrono::duration<double>(clock.Steady() - back).count();
    EXPECT_LE(static_cast<double>(server.requests().size() - before), kBurst + kQps * time + 1) << "after " << time;
    for (int i = 0; i < kPods; ++i) {
      const int now = Restarts(i);
      EXPECT_TRUE(now == 0 || now == 20) << "p" << i << " was told of " << now;
      EXPECT_GE(now, seen[static_cast<size_t>(i)]);
      seen[static_cast<size_t>(i)] = now;
    }
  }
  EXPECT_TRUE(all_have(20));
  for (int t = 0; t < 200; ++t) Tenth();
  EXPECT_EQ(server.requests().size() - before, size_t{kPods}) << "one write each";
}

// Writes wait until they are let go.
struct SlowSink final : StatusSink {
  explicit SlowSink(asio::any_io_executor executor) : executor(std::move(executor)) {}
  Task<StatusOr<Pod>> Get(std::string, std::string) override { co_return NotFound("not read"); }
  Task<StatusOr<Pod>> UpdateStatus(Pod pod) override {
    const std::string name = pod.metadata().name();
    began.push_back(name);
    auto& wakeup = let_go[name];
    if (wakeup == nullptr) wakeup = std::make_unique<Wakeup>(executor);
    CO_RETURN_IF_ERROR(co_await wakeup->Wait());
    pod.mutable_metadata()->set_resourceversion(absl::StrCat(++version));
    co_return pod;
  }
  Task<Status> Delete(std::string, std::string, std::string) override { co_return absl::OkStatus(); }

  asio::any_io_executor executor;
  std::vector<std::string> began;
  std::map<std::string, std::unique_ptr<Wakeup>> let_go;
  int version = 100;
};

TEST(StatusOrder, APodThatBecomesReadyKeepsItsPlaceWhileItsLastWriteIsUnderWay) {
  asio::io_context loop;
  FakeClock clock;
  SlowSink sink(loop.get_executor());
  StatusManager statuses(loop.get_executor(), &sink, clock);
  std::map<std::string, PodPtr> pods;
  statuses.SetLatest([&](const std::string& uid) { return pods[uid]; });
  TaskGroup group(loop.get_executor());
  auto settle = [&] {
    loop.restart();
    loop.poll();
  };
  auto set = [&](const std::string& name, bool ready) {
    auto pod = std::make_shared<Pod>(testing_pods::MakePod({"c"}));
    pod->mutable_metadata()->set_name(name);
    pod->mutable_metadata()->set_uid(name);
    pods.try_emplace(name, pod);
    core::PodStatus status;
    status.set_phase("Running");
    auto* condition = status.add_conditions();
    condition->set_type("Ready");
    condition->set_status(ready ? "True" : "False");
    statuses.Set(*pod, status);
    settle();
  };
  group.Spawn("statuses", statuses.Run());
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) set(name, false);  // four are written at once
  set("a", true);
  sink.let_go["b"]->Notify();
  settle();
  sink.let_go["a"]->Notify();
  settle();
  sink.let_go["c"]->Notify();
  settle();
  EXPECT_THAT(sink.began, testing::ElementsAre("a", "b", "c", "d", "e", "a", "f"));
  group.Cancel();
  settle();
}

// What the API server refuses is tried again every ten seconds, however often the status changed meanwhile.
TEST_F(StatusDeliveryTest, ARefusedStatusHasOneRetryWhateverChanged) {
  server.FailNext(1 << 30, 422);
  for (int i = 0; i < 50; ++i) {
    Set(0, i, i % 2 == 0);
    for (int t = 0; t < 5; ++t) Tenth();
  }
  for (int t = 0; t < 100; ++t) Tenth();
  const size_t before = server.requests().size();
  EXPECT_GE(before, 50u);
  for (int t = 0; t < 600; ++t) Tenth();
  EXPECT_GE(server.requests().size() - before, 5u);
  EXPECT_LE(server.requests().size() - before, 7u);
  server.FailNext(0, 422);
  for (int t = 0; t < 110; ++t) Tenth();
  EXPECT_EQ(Restarts(0), 49);
}

// Security row termination-message-size: what the containers of a pod left behind together holds 12 KiB, each
// container's share the same.
TEST_F(StatusDeliveryTest, termination_message_size) {
  pods[0] = testing_pods::MakePod({"a", "b", "c", "d"}, {"i"});
  auto* ephemeral = pods[0].mutable_spec()->add_ephemeralcontainers();
  ephemeral->mutable_ephemeralcontainercommon()->set_name("e");
  core::PodStatus status;
  auto add = [](core::ContainerStatus* c, size_t state, size_t last) {
    c->mutable_state()->mutable_terminated()->set_message(std::string(state, 'x'));
    c->mutable_laststate()->mutable_terminated()->set_message(std::string(last, 'y'));
  };
  add(status.add_containerstatuses(), 4096, 4096);
  add(status.add_containerstatuses(), 2048, 2049);
  add(status.add_initcontainerstatuses(), 4096, 0);
  add(status.add_ephemeralcontainerstatuses(), 4096, 1);
  statuses->Set(pods[0], status);
  const core::PodStatus& set = *statuses->Get("u-1");
  EXPECT_EQ(set.containerstatuses(0).state().terminated().message(), std::string(2048, 'x'));
  EXPECT_EQ(set.containerstatuses(0).laststate().terminated().message(), std::string(2048, 'y'));
  EXPECT_EQ(set.containerstatuses(1).state().terminated().message().size(), 2048u);
  EXPECT_EQ(set.containerstatuses(1).laststate().terminated().message().size(), 2048u);
  EXPECT_EQ(set.initcontainerstatuses(0).state().terminated().message().size(), 2048u);
  EXPECT_EQ(set.ephemeralcontainerstatuses(0).state().terminated().message().size(), 2048u);
  EXPECT_EQ(set.ephemeralcontainerstatuses(0).laststate().terminated().message(), "y");
}

}  // namespace
}  // namespace skiff::kubelet
