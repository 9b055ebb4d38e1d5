#include "kubelet/eviction/eviction_manager.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/eviction/eviction_testing.h"

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing_eviction::kMi;
using testing_eviction::NamedPod;
using testing_eviction::UseOf;

class EvictionTest : public ::testing::Test {
 protected:
  EvictionTest() {
    use.node = NodeUse::Memory{1000 * kMi, 1000 * kMi};
    use.node_fs = use.image_fs = use.container_fs = FsUse{1000 * kMi, 900 * kMi, 1000, 900};
    use.pids = NodeUse::Pids{1000, 10};
  }
  void Make(ThresholdSettings settings, int64_t max_grace = 0) {
    auto thresholds = ParseThresholds(settings);
    ASSERT_TRUE(thresholds.ok()) << thresholds.status();
    EvictionHooks hooks;
    hooks.use = [this](std::vector<PodPtr> asked) -> Task<StatusOr<NodeUse>> { return Answer(std::move(asked)); };
    hooks.active_pods = [this] { return pods; };
    hooks.evict = [this](PodPtr pod, PodEviction what) { return Evict(std::move(pod), std::move(what)); };
    hooks.cleaned_up = [this](const std::string& uid) { return !held.contains(uid); };
    hooks.remove_dead_containers = [this] { return Reclaim("containers"); };
    hooks.remove_unused_images = [this] { return Reclaim("images"); };
    hooks.node_event = [this](std::string_view, std::string_view reason, std::string message) {
      events.push_back(absl::StrCat(reason, ": ", message));
    };
    hooks.count = [this](std::string_view signal) { counted.emplace_back(signal); };
    manager = std::make_unique<EvictionManager>(
        clock, EvictionOptions{.thresholds = *thresholds, .max_pod_grace_seconds = max_grace}, std::move(hooks));
  }
  Task<StatusOr<NodeUse>> Answer(std::vector<PodPtr> asked) {
    NodeUse out = use;
    out.by_pod.clear();
    for (const auto& pod : asked) {
      auto it = use.by_pod.find(pod->metadata().uid());
      if (it != use.by_pod.end()) out.by_pod.insert(*it);
    }
    asked_pods = asked.size();
    co_return out;
  }
  Task<bool> Evict(PodPtr pod, PodEviction what) {
    if (IsCritical(*pod)) co_return false;
    evicted.push_back(pod->metadata().name());
    last = std::move(what);
    if (stuck.contains(pod->metadata().uid())) {
      (void)co_await clock.Sleep(seconds(10));
    } else {
      std::erase(pods, pod);
    }
    co_return true;
  }
  Task<Status> Reclaim(std::string what) {
    reclaimed.push_back(std::move(what));
    if (on_reclaim) on_reclaim();
    co_return absl::OkStatus();
  }
  void Look() {
    Spawn(loop.get_executor(), "look", Once());
    loop.restart();
    loop.run();
  }
  Task<void> Once() { co_await manager->Synchronize(); }
  void Advance(std::chrono::nanoseconds by) { clock.Advance(by, loop); }
  void AddPod(std::shared_ptr<Pod> pod, PodUse pod_use) {
    use.by_pod[pod->metadata().uid()] = std::move(pod_use);
    pods.push_back(std::move(pod));
  }

  asio::io_context loop;
  FakeClock clock;
  NodeUse use;
  std::vector<PodPtr> pods;
  std::vector<std::string> evicted, reclaimed, events, counted;
  std::set<std::string> held, stuck;  // stuck: pods whose containers do not end
  PodEviction last;
  std::function<void()> on_reclaim;
  size_t asked_pods = 0;
  std::unique_ptr<EvictionManager> manager;
};

TEST_F(EvictionTest, EnoughOfEverything) {
  Make({.hard = {{"memory.available", "100Mi"}}});
  AddPod(NamedPod("a"), UseOf(10 * kMi));
  Look();
  EXPECT_FALSE(manager->pressure().any());
  EXPECT_THAT(evicted, IsEmpty());
  EXPECT_EQ(asked_pods, 0u);  // pods cost something to look at; nobody needed to
}

TEST_F(EvictionTest, MemoryEndsOnePodAtATime) {
  Make({.hard = {{"memory.available", "100Mi"}}});
  AddPod(NamedPod("small"), UseOf(10 * kMi));
  AddPod(NamedPod("big"), UseOf(500 * kMi));
  use.node->available = 50 * kMi;
  Look();
  EXPECT_TRUE(manager->pressure().memory);
  EXPECT_THAT(evicted, ElementsAre("big"));
  EXPECT_THAT(events, ElementsAre("EvictionThresholdMet: Attempting to reclaim memory"));
  EXPECT_THAT(counted, ElementsAre("memory.available"));
  EXPECT_THAT(reclaimed, IsEmpty());
  EXPECT_EQ(last.grace_seconds, 1);
  EXPECT_TRUE(last.disruption_target);
  EXPECT_EQ(last.report.message,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using "
            "500Mi, request is 0, has larger consumption of memory. ");
}

TEST_F(EvictionTest, ConditionStaysForTheTransitionPeriod) {
  Make({.hard = {{"memory.available", "100Mi"}}});
  use.node->available = 50 * kMi;
  Look();
  use.node->available = 500 * kMi;
  Advance(std::chrono::minutes(4));
  Look();
  EXPECT_TRUE(manager->pressure().memory);
  EXPECT_THAT(evicted, IsEmpty());
  Advance(std::chrono::minutes(1));
  Look();
  EXPECT_FALSE(manager->pressure().memory);
}

TEST_F(EvictionTest, SoftThresholdsWaitAndGiveTime) {
  Make({.soft = {{"memory.available", "100Mi"}}, .soft_grace = {{"memory.available", "30s"}}}, 20);
  AddPod(NamedPod("a"), UseOf(10 * kMi));
  use.node->available = 50 * kMi;
  Look();
  EXPECT_TRUE(manager->pressure().memory);
  EXPECT_THAT(evicted, IsEmpty());
  Advance(seconds(29));
  Look();
  EXPECT_THAT(evicted, IsEmpty());
  // It recovers for a moment: the wait begins anew.
  use.node->available = 500 * kMi;
  Look();
  use.node->available = 50 * kMi;
  Advance(seconds(2));
  Look();
  EXPECT_THAT(evicted, IsEmpty());
  Advance(seconds(30));
  Look();
  EXPECT_THAT(evicted, ElementsAre("a"));
  EXPECT_EQ(last.grace_seconds, 20);  // the pod's own 30 s are more than evictionMaxPodGracePeriod
}

// Reliability row clock-jump: neither the grace of a soft threshold nor the transition period follows the wall clock.
TEST_F(EvictionTest, clock_jump) {
  for (auto jump : {std::chrono::hours(1), std::chrono::hours(-1)}) {
    evicted.clear();
    pods.clear();
    Make({.soft = {{"memory.available", "100Mi"}}, .soft_grace = {{"memory.available", "30s"}}}, 20);
    AddPod(NamedPod("a"), UseOf(10 * kMi));
    use.node->available = 50 * kMi;
    Look();
    clock.JumpWall(jump);
    Advance(seconds(29));
    Look();
    EXPECT_THAT(evicted, IsEmpty());
    Advance(seconds(2));
    Look();
    EXPECT_THAT(evicted, ElementsAre("a"));
    use.node->available = 500 * kMi;
    clock.JumpWall(jump);
    Advance(std::chrono::minutes(4));
    Look();
    EXPECT_TRUE(manager->pressure().memory);
    Advance(std::chrono::minutes(2));
    Look();
    EXPECT_FALSE(manager->pressure().memory);
  }
}

TEST_F(EvictionTest, MinimumReclaimGoesOnEvicting) {
  Make({.hard = {{"memory.available", "100Mi"}}, .min_reclaim = {{"memory.available", "100Mi"}}});
  AddPod(NamedPod("a"), UseOf(10 * kMi));
  AddPod(NamedPod("b"), UseOf(20 * kMi));
  use.node->available = 90 * kMi;
  Look();
  use.node->available = 150 * kMi;
  Advance(seconds(10));
  Look();
  EXPECT_THAT(evicted, ElementsAre("b", "a"));
}

TEST_F(EvictionTest, DiskReclaimsWhatBelongsToNobodyFirst) {
  Make({.hard = {{"nodefs.available", "10%"}}});
  AddPod(NamedPod("a"), UseOf(0, 10 * kMi));
  use.node_fs->available = use.container_fs->available = 50 * kMi;
  on_reclaim = [this] { use.node_fs->available = use.container_fs->available = 500 * kMi; };
  Look();
  EXPECT_THAT(reclaimed, ElementsAre("containers", "images"));
  EXPECT_THAT(evicted, IsEmpty());
  EXPECT_TRUE(manager->pressure().disk);
  // Without success a pod goes.
  use.node_fs->available = 50 * kMi;
  on_reclaim = nullptr;
  Look();
  EXPECT_THAT(evicted, ElementsAre("a"));
  EXPECT_THAT(counted, ElementsAre("nodefs.available"));
}

TEST_F(EvictionTest, ReclaimFollowsTheFileSystems) {
  use.dedicated_image_fs = true;
  Make({.hard = {{"nodefs.available", "10%"}, {"imagefs.available", "10%"}}});
  use.node_fs->available = 50 * kMi;
  Look();
  EXPECT_THAT(reclaimed, IsEmpty());
  use.node_fs->available = 500 * kMi;
  use.image_fs->available = 50 * kMi;
  Look();
  EXPECT_THAT(reclaimed, ElementsAre("containers", "images"));
}

TEST_F(EvictionTest, CriticalPodsStay) {
  Make({.hard = {{"pid.available", "10%"}}});
  auto critical = NamedPod("critical");
  critical->mutable_spec()->set_priority(2000001000);
  AddPod(critical, UseOf(0));
  AddPod(NamedPod("a"), UseOf(0));
  use.pids->running = 950;
  Look();
  Look();
  EXPECT_THAT(evicted, ElementsAre("a"));
  EXPECT_TRUE(manager->pressure().pid);
}

TEST_F(EvictionTest, PodsBeyondTheirOwnLimitsGoTogether) {
  Make({});
  for (const char* name : {"a", "b"}) {
    auto pod = NamedPod(name);
    auto* volume = pod->mutable_spec()->add_volumes();
    volume->set_name("m");
    *volume->mutable_volumesource()->mutable_emptydir()->mutable_sizelimit() = api::Quantity::Of("1Mi").ToProto();
    PodUse own = UseOf(0);
    own.volumes["m"] = {2 * kMi, 1};
    AddPod(pod, own);
  }
  AddPod(NamedPod("c"), UseOf(0, 100 * kMi));
  Look();
  EXPECT_THAT(evicted, ElementsAre("a", "b"));
  EXPECT_THAT(counted, ElementsAre("emptydirfs.limit", "emptydirfs.limit"));
  EXPECT_FALSE(last.disruption_target);
  EXPECT_EQ(last.grace_seconds, 1);
}

TEST_F(EvictionTest, AdmissionUnderPressure) {
  Make({.hard = {{"memory.available", "100Mi"}, {"nodefs.available", "10%"}}});
  auto best_effort = NamedPod("b"), burstable = NamedPod("r", 0, "1Mi"), critical = NamedPod("k");
  critical->mutable_spec()->set_priority(2000000000);
  EXPECT_FALSE(manager->Refuses(*best_effort));
  use.node->available = 50 * kMi;
  Look();
  EXPECT_EQ(manager->Refuses(*best_effort), "The node had condition: [MemoryPressure]. ");
  EXPECT_FALSE(manager->Refuses(*burstable));
  EXPECT_FALSE(manager->Refuses(*critical));
  auto tolerant = NamedPod("t");
  auto* toleration = tolerant->mutable_spec()->add_tolerations();
  toleration->set_key("node.kubernetes.io/memory-pressure");
  toleration->set_operator_("Exists");
  EXPECT_FALSE(manager->Refuses(*tolerant));
  use.node_fs->available = 10 * kMi;
  Look();
  EXPECT_EQ(manager->Refuses(*burstable), "The node had condition: [MemoryPressure DiskPressure]. ");
  EXPECT_FALSE(manager->Refuses(*critical));
}

TEST_F(EvictionTest, WaitsForTheEvictedPodToGo) {
  Make({.hard = {{"memory.available", "100Mi"}}});
  AddPod(NamedPod("a"), UseOf(10 * kMi));
  AddPod(NamedPod("b"), UseOf(20 * kMi));
  use.node->available = 50 * kMi;
  held = {"b"};
  TaskGroup group(loop.get_executor());
  group.Spawn("run", manager->Run());
  loop.poll();
  EXPECT_THAT(evicted, ElementsAre("b"));
  Advance(seconds(29));
  EXPECT_THAT(evicted, ElementsAre("b"));
  held.clear();
  Advance(seconds(1));
  EXPECT_THAT(evicted, ElementsAre("b", "a"));
  group.Cancel();
  loop.restart();
  loop.poll();
}

// As long as the victim holds its memory it stays the first in the order, and no other pays for it.
TEST_F(EvictionTest, AVictimThatIsSlowToEndCostsNoOtherPod) {
  Make({.hard = {{"memory.available", "100Mi"}}});
  AddPod(NamedPod("a"), UseOf(10 * kMi));
  AddPod(NamedPod("b"), UseOf(20 * kMi));
  use.node->available = 50 * kMi;
  held = stuck = {"b"};
  TaskGroup group(loop.get_executor());
  group.Spawn("run", manager->Run());
  loop.poll();
  for (int s = 0; s < 90; ++s) Advance(seconds(1));
  EXPECT_THAT(evicted, ElementsAre("b", "b", "b")) << "10 s for its containers, then 30 s for the rest, each time";
  group.Cancel();
  loop.restart();
  loop.poll();
}

// The kubelet stops while it waits for one: no other is begun with.
TEST_F(EvictionTest, AStopEndsNoMorePods) {
  Make({});
  for (const char* name : {"a", "b"}) {
    auto pod = NamedPod(name);
    auto* volume = pod->mutable_spec()->add_volumes();
    volume->set_name("m");
    *volume->mutable_volumesource()->mutable_emptydir()->mutable_sizelimit() = api::Quantity::Of("1Mi").ToProto();
    PodUse own = UseOf(0);
    own.volumes["m"] = {2 * kMi, 1};
    AddPod(pod, own);
  }
  stuck = {"a"};
  TaskGroup group(loop.get_executor());
  group.Spawn("run", manager->Run());
  loop.poll();
  group.Cancel();
  loop.restart();
  loop.poll();
  EXPECT_THAT(evicted, ElementsAre("a"));
}

}  // namespace
}  // namespace skiff::kubelet
