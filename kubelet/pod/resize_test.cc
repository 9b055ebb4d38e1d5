#include "kubelet/pod/resize.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/quantity.h"
#include "kubelet/pod/allocations.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing_pods::MakePod;
using testing_pods::StateBuilder;

// "cpu-request cpu-limit memory-request memory-limit", "-" for none.
core::ResourceRequirements Resources(const std::string& text) {
  std::istringstream in(text);
  std::string cpu_request, cpu_limit, memory_request, memory_limit;
  in >> cpu_request >> cpu_limit >> memory_request >> memory_limit;
  core::ResourceRequirements out;
  auto set = [](auto* map, const char* name, const std::string& value) {
    if (value != "-") (*map)[name] = api::Quantity::Of(value).ToProto();
  };
  set(out.mutable_requests(), "cpu", cpu_request);
  set(out.mutable_limits(), "cpu", cpu_limit);
  set(out.mutable_requests(), "memory", memory_request);
  set(out.mutable_limits(), "memory", memory_limit);
  return out;
}

Pod Sized(const std::map<std::string, std::string>& containers) {
  std::vector<std::string> names;
  for (const auto& [name, size] : containers) names.push_back(name);
  Pod pod = MakePod(names);
  int i = 0;
  for (const auto& [name, size] : containers) {
    *pod.mutable_spec()->mutable_containers(i++)->mutable_resources() = Resources(size);
  }
  return pod;
}

std::vector<std::string> Names(const std::vector<ContainerResize>& list) {
  std::vector<std::string> out;
  for (const auto& resize : list) out.push_back(resize.to->name());
  return out;
}

constexpr auto kRunning = ContainerState::State::kRunning;

TEST(ResizeTest, DecreasesComeBeforeIncreases) {
  const Pod from = Sized({{"a", "1 1 64Mi 64Mi"}, {"b", "1 1 64Mi 64Mi"}, {"c", "1 1 64Mi 64Mi"}});
  const Pod to = Sized({{"a", "2 2 64Mi 64Mi"}, {"b", "500m 1 32Mi 32Mi"}, {"c", "1 1 64Mi 64Mi"}});
  StateBuilder state;
  state.Sandbox("s").Container("a", kRunning).Container("b", kRunning).Container("c", kRunning);
  PodActions actions;
  ResizePlan plan = PlanResize(to, from, state, &actions);
  EXPECT_THAT(Names(plan.cpu), ElementsAre("b", "a"));
  EXPECT_THAT(Names(plan.memory), ElementsAre("b"));
  EXPECT_TRUE(actions.empty());
  EXPECT_TRUE(ResizeInProgress(to, from, state));
  EXPECT_FALSE(ResizeInProgress(to, to, state));
  EXPECT_TRUE(IncreasesRequests(from, to));
  EXPECT_FALSE(IncreasesRequests(from, from));
  const Pod larger = LargerOf(to, from);
  EXPECT_TRUE(api::Equal(larger.spec().containers(0).resources(), Resources("2 2 64Mi 64Mi")));
  EXPECT_TRUE(api::Equal(larger.spec().containers(1).resources(), Resources("1 1 64Mi 64Mi")));
  // Containers that do not run get their size when they start.
  StateBuilder none;
  none.Sandbox("s");
  EXPECT_TRUE(PlanResize(to, from, none, &actions).empty());
  EXPECT_FALSE(ResizeInProgress(to, from, none));
}

TEST(ResizeTest, ThePolicyMayAskForARestart) {
  Pod from = Sized({{"a", "1 - 64Mi 64Mi"}}), to = Sized({{"a", "1 - 64Mi 96Mi"}});
  for (Pod* pod : {&from, &to}) {
    auto* policy = pod->mutable_spec()->mutable_containers(0)->add_resizepolicy();
    policy->set_resourcename("memory");
    policy->set_restartpolicy("RestartContainer");
  }
  StateBuilder state;
  state.Sandbox("s").Container("a", kRunning);
  PodActions actions;
  ResizePlan plan = PlanResize(to, from, state, &actions);
  EXPECT_TRUE(plan.pod);
  EXPECT_THAT(plan.memory, IsEmpty());
  ASSERT_EQ(actions.to_kill.size(), 1u);
  EXPECT_EQ(actions.to_kill[0].message, "Container a resize requires restart");
  EXPECT_THAT(actions.to_start, ElementsAre(0));
  // Another resource needs none.
  Pod cpu = from;
  *cpu.mutable_spec()->mutable_containers(0)->mutable_resources() = Resources("2 - 64Mi 64Mi");
  actions = {};
  plan = PlanResize(cpu, from, state, &actions);
  EXPECT_THAT(Names(plan.cpu), ElementsAre("a"));
  EXPECT_TRUE(actions.empty());
}

// A kubelet that ended before it had recorded what it started does not restart it for that.
TEST(ResizeTest, WhatIsNotRecordedIsNotRestartedForASizeThatItHas) {
  Pod to = Sized({{"a", "1 1 64Mi 64Mi"}}), from = Sized({{"a", "- - - -"}});
  auto* policy = to.mutable_spec()->mutable_containers(0)->add_resizepolicy();
  policy->set_resourcename("memory");
  policy->set_restartpolicy("RestartContainer");
  StateBuilder state;
  state.Sandbox("s").Container("a", kRunning);
  ContainerState::Resources enforced;
  enforced.cpu_shares = 1024, enforced.cpu_quota = enforced.cpu_period = 100000, enforced.memory_limit = 64 << 20;
  state.state.containers[0].resources = enforced;
  PodActions actions;
  EXPECT_THAT(Names(PlanResize(to, from, state, &actions).memory), ElementsAre("a"));
  EXPECT_TRUE(actions.empty());
  state.state.containers[0].resources->memory_limit = 32 << 20;
  EXPECT_THAT(PlanResize(to, from, state, &actions).memory, IsEmpty());
  EXPECT_EQ(actions.to_kill.size(), 1u);
}

// As of one in its back-off that was killed for lack of memory.
TEST(ResizeTest, TheCgroupHasRoomBeforeAContainerOfAnotherSizeStarts) {
  const Pod from = Sized({{"a", "1 1 64Mi 64Mi"}, {"b", "1 1 64Mi 64Mi"}, {"c", "1 1 64Mi 64Mi"}});
  const Pod to = Sized({{"a", "1 1 96Mi 96Mi"}, {"b", "1 1 32Mi 32Mi"}, {"c", "1 1 32Mi 32Mi"}});
  StateBuilder state;
  state.Sandbox("s").Container("a", ContainerState::State::kExited).Container("b", kRunning);
  EXPECT_FALSE(RoomToStart(from, from, state, "a"));
  const auto room = RoomToStart(to, from, state, "a");
  ASSERT_TRUE(room);
  EXPECT_TRUE(api::Equal(room->spec().containers(0).resources(), Resources("1 1 96Mi 96Mi")));
  EXPECT_TRUE(api::Equal(room->spec().containers(1).resources(), Resources("1 1 64Mi 64Mi"))) << "it runs";
  EXPECT_TRUE(api::Equal(room->spec().containers(2).resources(), Resources("1 1 32Mi 32Mi")));
  // The same is what others cannot have meanwhile.
  EXPECT_TRUE(api::Equal(HeldBy(to, from, state).spec(), room->spec()));
}

TEST(ResizeTest, MemoryOfContainersThatSwapIsNotResizedInPlace) {
  const Pod from = Sized({{"a", "1 1 64Mi 96Mi"}});
  Pod to = Sized({{"a", "1 1 80Mi 96Mi"}});
  auto swaps = [](const Pod&, const core::Container&) { return true; };
  EXPECT_TRUE(ResizesSwap(to, from, swaps));
  EXPECT_FALSE(ResizesSwap(to, from, [](const Pod&, const core::Container&) { return false; }));
  EXPECT_FALSE(ResizesSwap(Sized({{"a", "2 2 64Mi 128Mi"}}), from, swaps)) << "the request is what counts";
  Pod restarting = from;
  auto* policy = restarting.mutable_spec()->mutable_containers(0)->add_resizepolicy();
  policy->set_resourcename("memory");
  policy->set_restartpolicy("RestartContainer");
  EXPECT_FALSE(ResizesSwap(to, restarting, swaps));
}

TEST(ResizeTest, LimitsOfThePodReachContainersWithoutOwnOnes) {
  Pod from = Sized({{"a", "1 - - -"}}), to = from;
  *from.mutable_spec()->mutable_resources() = Resources("1 2 64Mi 64Mi");
  *to.mutable_spec()->mutable_resources() = Resources("1 2 64Mi 96Mi");
  StateBuilder state;
  state.Sandbox("s").Container("a", kRunning);
  PodActions actions;
  ResizePlan plan = PlanResize(to, from, state, &actions);
  EXPECT_TRUE(plan.pod);
  EXPECT_THAT(Names(plan.memory), ElementsAre("a"));
  EXPECT_TRUE(ResizeInProgress(to, from, state));
}

TEST(ResizeTest, AContainerNamesThePodsLimitsWhereItHasNone) {
  Pod pod = Sized({{"a", "1 - 32Mi 48Mi"}});
  *pod.mutable_spec()->mutable_resources() = Resources("1 2 64Mi 64Mi");
  EXPECT_TRUE(api::Equal(WithPodLimits(pod, pod.spec().containers(0)), Resources("1 2 32Mi 48Mi")));
}

TEST(ResizeTest, MessagesAreUpstreams) {
  Pod pod = Sized({{"c", "200m 200m 32Mi 32Mi"}});
  EXPECT_EQ(ResizeMessage("Pod resize started", pod, 2),
            "Pod resize started: {\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"200m\","
            "\"memory\":\"32Mi\"},\"requests\":{\"cpu\":\"200m\",\"memory\":\"32Mi\"}}}],\"generation\":2}");
  pod = Sized({{"c", "1900m - - -"}});
  EXPECT_EQ(ResizeMessage("Pod resize OutOfcpu", pod, 2, "Node didn't have enough resource: cpu"),
            "Pod resize OutOfcpu: {\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1900m\"}}}],"
            "\"generation\":2,\"error\":\"Node didn't have enough resource: cpu\"}");
}

class AllocationsTest : public ::testing::Test {
 protected:
  AllocationsTest() {
    char name[] = "/tmp/skiff-allocations-XXXXXX";
    dir = ::mkdtemp(name);
  }
  ~AllocationsTest() override { std::filesystem::remove_all(dir); }
  std::string Read(const std::string& file) {
    std::ifstream in(dir + "/" + file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // As at a graceful stop.
  void Store(Allocations& allocations) {
    TaskGroup group(loop.get_executor());
    group.Spawn("allocations", allocations.Run());
    group.Cancel();
    loop.restart();
    loop.poll();
    EXPECT_EQ(group.size(), 0u);
  }
  std::string dir;
  asio::io_context loop;
  FakeClock clock;
};

TEST_F(AllocationsTest, SurviveARestartInUpstreamsLayout) {
  Pod pod = Sized({{"c", "100m 100m 32Mi 32Mi"}});
  Allocations first(loop.get_executor(), clock, dir);
  first.Load();
  first.Allocate(pod);
  first.SetActuated(pod, pod.spec().containers(0));
  Store(first);
  api::json file = *api::ParseJson(Read("allocated_pods_state"));
  EXPECT_EQ(file["data"], R"({"entries":{"u-1":{"ContainerResources":{"c":{"limits":{"cpu":"100m","memory":"32Mi"},)"
                          R"("requests":{"cpu":"100m","memory":"32Mi"}}},"PodLevelResources":null}}})");
  EXPECT_EQ(file["checksum"], CheckpointChecksum(file["data"].get<std::string>()));
  EXPECT_TRUE(std::filesystem::exists(dir + "/actuated_pods_state"));

  Allocations second(loop.get_executor(), clock, dir);
  second.Load();
  auto wanted = std::make_shared<Pod>(Sized({{"c", "200m 200m 32Mi 32Mi"}}));
  PodPtr allocated = second.Allocated(wanted);
  ASSERT_NE(allocated, wanted);
  EXPECT_TRUE(api::Equal(allocated->spec().containers(0).resources(), Resources("100m 100m 32Mi 32Mi")));
  EXPECT_EQ(second.Actuated(*allocated), nullptr);
  second.Allocate(*wanted);
  EXPECT_EQ(second.Allocated(wanted), wanted) << "the very same pod, without a copy";
  PodPtr actuated = second.Actuated(*wanted);
  ASSERT_NE(actuated, nullptr);
  EXPECT_TRUE(api::Equal(actuated->spec().containers(0).resources(), Resources("100m 100m 32Mi 32Mi")));
  second.Remove("u-1");
  Store(second);
  EXPECT_EQ((*api::ParseJson(Read("allocated_pods_state")))["data"], "{}");
}

TEST_F(AllocationsTest, PodsThatStartTogetherAreOneWriteAndAGrantedResizeIsWrittenAtOnce) {
  auto settle = [&](const std::string& expected) {
    for (int i = 0; i < 5000; ++i) {
      loop.restart();
      loop.poll();
      if (Read("allocated_pods_state").find(expected) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the disk work comes back from another thread
    }
    return false;
  };
  Allocations allocations(loop.get_executor(), clock, dir);
  TaskGroup group(loop.get_executor());
  group.Spawn("allocations", allocations.Run());
  Pod pod = Sized({{"c", "100m 100m 32Mi 32Mi"}});
  for (int i = 0; i < 4; ++i) {
    pod.mutable_metadata()->set_uid(absl::StrCat("u-", i));
    allocations.Allocate(pod);
    clock.Advance(std::chrono::milliseconds(100), loop);
  }
  EXPECT_FALSE(std::filesystem::exists(dir + "/allocated_pods_state"));
  clock.Advance(std::chrono::milliseconds(100), loop);
  EXPECT_TRUE(settle("u-3"));
  EXPECT_FALSE(std::filesystem::exists(dir + "/actuated_pods_state")) << "nothing in it has changed";
  pod.mutable_metadata()->set_uid("u-6");
  allocations.Allocate(pod);
  const auto save = allocations.TakeSave();
  ASSERT_NE(save, nullptr);
  EXPECT_THAT(Read("allocated_pods_state"), testing::Not(HasSubstr("u-6"))) << "that is for another thread";
  EXPECT_TRUE(save().ok());
  EXPECT_EQ(allocations.TakeSave(), nullptr) << "nothing has changed since";
  EXPECT_THAT(Read("allocated_pods_state"), HasSubstr("u-6"));
  pod.mutable_metadata()->set_uid("u-5");
  allocations.Allocate(pod);
  group.Cancel();
  EXPECT_TRUE(settle("u-5")) << "what waits at the end is written";
}

TEST_F(AllocationsTest, WhatIsNotRecordedIsResizedAndHoldsWhatItWasGranted) {
  const Pod pod = Sized({{"a", "1 1 64Mi 64Mi"}, {"b", "1 1 64Mi 64Mi"}});
  StateBuilder state;
  state.Sandbox("s").Container("a", kRunning).Container("b", kRunning);
  Allocations allocations(loop.get_executor(), clock, dir);
  allocations.Allocate(pod);
  auto resized = [&] {
    const PodPtr from = allocations.ResizeFrom(pod);
    if (from == nullptr) return std::vector<std::string>();
    EXPECT_TRUE(ResizeInProgress(pod, *from, state));
    PodActions actions;
    return Names(PlanResize(pod, *from, state, &actions).memory);
  };
  EXPECT_THAT(resized(), ElementsAre("a", "b")) << "nothing is known of the pod";
  EXPECT_EQ(allocations.Actuated(pod), nullptr);
  allocations.SetActuated(pod, pod.spec().containers(0));
  EXPECT_THAT(resized(), ElementsAre("b"));
  EXPECT_EQ(allocations.Actuated(pod), nullptr);
  allocations.SetActuated(pod, pod.spec().containers(1));
  EXPECT_EQ(allocations.ResizeFrom(pod), nullptr);
}

TEST_F(AllocationsTest, PodLevelResourcesAreRecordedWithTheFirstContainer) {
  Pod pod = Sized({{"a", "1 - - -"}});
  *pod.mutable_spec()->mutable_resources() = Resources("1 2 64Mi 64Mi");
  Allocations allocations(loop.get_executor(), clock, dir);
  allocations.Allocate(pod);
  StateBuilder none, runs;
  none.Sandbox("s");
  runs.Sandbox("s").Container("a", kRunning);
  PodPtr from = allocations.ResizeFrom(pod);
  ASSERT_NE(from, nullptr);
  PodActions actions;
  EXPECT_TRUE(PlanResize(pod, *from, none, &actions).empty()) << "the cgroup was made with them";
  EXPECT_FALSE(ResizeInProgress(pod, *from, none));
  EXPECT_TRUE(PlanResize(pod, *from, runs, &actions).pod) << "the record was lost";
  allocations.SetActuated(pod, pod.spec().containers(0));
  EXPECT_EQ(allocations.ResizeFrom(pod), nullptr);
  EXPECT_EQ(allocations.Actuated(pod), nullptr);
  Store(allocations);
  // As upstream records, which compares with it: the pod's limits are the container's.
  EXPECT_EQ((*api::ParseJson(Read("actuated_pods_state")))["data"],
            R"({"entries":{"u-1":{"ContainerResources":{"a":{"limits":{"cpu":"2","memory":"64Mi"},)"
            R"("requests":{"cpu":"1"}}},"PodLevelResources":{"limits":{"cpu":"2","memory":"64Mi"},)"
            R"("requests":{"cpu":"1","memory":"64Mi"}}}}})");
  // One that was recorded without is at its size too.
  allocations.SetActuated("u-1", "a", pod.spec().containers(0).resources());
  EXPECT_EQ(allocations.ResizeFrom(pod), nullptr);
  Pod larger = pod;
  *larger.mutable_spec()->mutable_resources() = Resources("1 2 64Mi 96Mi");
  from = allocations.ResizeFrom(larger);
  ASSERT_NE(from, nullptr);
  EXPECT_THAT(Names(PlanResize(larger, *from, runs, &actions).memory), ElementsAre("a"));
}

TEST_F(AllocationsTest, BrokenFilesAreSetAside) {
  for (const char* name : {"allocated_pods_state", "actuated_pods_state"}) std::ofstream(dir + "/" + name) << "broken";
  Allocations allocations(loop.get_executor(), clock, dir);
  allocations.Load();
  const Pod pod = Sized({{"c", "1 1 64Mi 64Mi"}});
  allocations.Allocate(pod);
  allocations.SetActuated(pod, pod.spec().containers(0));
  Store(allocations);
  for (const char* name : {"allocated_pods_state", "actuated_pods_state"}) {
    EXPECT_EQ(Read(std::string(name) + ".broken"), "broken");
    EXPECT_THAT(Read(name), HasSubstr("64Mi"));
  }
}

TEST_F(AllocationsTest, TheStatusTellsWhatWasGranted) {
  Pod pod = Sized({{"a", "2 2 64Mi 96Mi"}, {"b", "1 - - -"}});
  auto* status = pod.mutable_status()->add_containerstatuses();
  status->set_name("a");
  *status->mutable_resources() = Resources("1 1 64Mi 64Mi");
  *status->mutable_allocatedresources() = status->resources().requests();
  Pod granted = GrantedByStatus(pod);
  EXPECT_TRUE(api::Equal(granted.spec().containers(0).resources(), Resources("1 1 64Mi 64Mi")));
  EXPECT_TRUE(api::Equal(granted.spec().containers(1).resources(), Resources("1 - - -"))) << "nothing is told of it";
  // The limit that is shown may be the pod's.
  *pod.mutable_spec()->mutable_containers(0)->mutable_resources() = Resources("2 - 64Mi 96Mi");
  granted = GrantedByStatus(pod);
  EXPECT_TRUE(api::Equal(granted.spec().containers(0).resources(), Resources("1 - 64Mi 64Mi")));
}

TEST_F(AllocationsTest, BrokenFilesAreBegunAnew) {
  for (const char* text : {"", "nonsense", "{\"data\":\"{}\",\"checksum\":1}", "{\"data\":7}", "[]"}) {
    std::ofstream(dir + "/allocated_pods_state") << text;
    ResourceCheckpoint checkpoint(dir + "/allocated_pods_state");
    EXPECT_THAT(std::string(checkpoint.Load().message()), HasSubstr("allocated_pods_state")) << text;
    EXPECT_EQ(checkpoint.Get("u-1"), nullptr);
    checkpoint.Set("u-1", {});
    EXPECT_TRUE(checkpoint.Save().ok());
    EXPECT_TRUE(ResourceCheckpoint(dir + "/allocated_pods_state").Load().ok());
  }
}

TEST_F(AllocationsTest, AWriteThatComesLateDoesNotUndoALaterOne) {
  const std::string path = dir + "/allocated_pods_state";
  ResourceCheckpoint checkpoint(path), read(path);
  checkpoint.Set("u-1", {});
  const auto late = checkpoint.TakeWrite();
  ASSERT_NE(late, nullptr);
  EXPECT_EQ(checkpoint.TakeWrite(), nullptr) << "nothing new";
  checkpoint.Set("u-2", {});
  ASSERT_TRUE(checkpoint.Save().ok());
  EXPECT_TRUE(late().ok());
  ASSERT_TRUE(read.Load().ok());
  EXPECT_NE(read.Get("u-2"), nullptr);
  checkpoint.Failed();
  EXPECT_NE(checkpoint.TakeWrite(), nullptr) << "what could not be written is written again";
}

TEST_F(AllocationsTest, AWriteThatFailedIsTriedAgain) {
  const std::string away = dir + ".away";
  auto until = [&](const std::function<bool()>& met) {
    for (int i = 0; i < 5000 && !met(); ++i) {
      loop.restart();
      loop.poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the disk work comes back from another thread
    }
    return met();
  };
  Allocations allocations(loop.get_executor(), clock, dir);
  TaskGroup group(loop.get_executor());
  group.Spawn("allocations", allocations.Run());
  allocations.Allocate(Sized({{"c", "100m 100m 32Mi 32Mi"}}));
  ASSERT_TRUE(until([&] { return clock.sleepers() == 1; }));
  std::filesystem::rename(dir, away);
  clock.Advance(std::chrono::milliseconds(500), loop);
  ASSERT_TRUE(until([&] { return clock.sleepers() == 1; }));
  std::filesystem::rename(away, dir);
  clock.Advance(std::chrono::seconds(10), loop);
  EXPECT_TRUE(until([&] { return Read("allocated_pods_state").find("100m") != std::string::npos; }));
  group.Cancel();
  EXPECT_TRUE(until([&] { return group.size() == 0; }));
}

// What is written in order only may be lost: it does not do for who has to know that it is not.
TEST_F(AllocationsTest, AWriteForGoodIsNotDoneByALaterOneThatMayBeLost) {
  const std::string away = dir + ".away";
  ResourceCheckpoint checkpoint(dir + "/allocated_pods_state"), read(dir + "/allocated_pods_state");
  checkpoint.Set("u-1", {});
  const auto durable = checkpoint.TakeWrite(true);
  ASSERT_NE(durable, nullptr);
  EXPECT_NE(checkpoint.TakeWrite(true), nullptr) << "it has not run";
  checkpoint.Set("u-2", {});
  const auto later = checkpoint.TakeWrite();
  ASSERT_NE(later, nullptr);
  ASSERT_TRUE(later().ok());
  std::filesystem::rename(dir, away);
  EXPECT_FALSE(durable().ok()) << "there is no directory that could be synced";
  std::filesystem::rename(away, dir);
  EXPECT_NE(checkpoint.TakeWrite(true), nullptr);
  EXPECT_TRUE(durable().ok());
  EXPECT_EQ(checkpoint.TakeWrite(true), nullptr) << "the later one is there for good as well";
  ASSERT_TRUE(read.Load().ok());
  EXPECT_NE(read.Get("u-2"), nullptr);
}

TEST(CheckpointChecksumTest, IsOverUpstreamsDump) {
  // FNV-1a of "(string)" followed by the text.
  EXPECT_EQ(CheckpointChecksum(""), 441364273u);
  EXPECT_EQ(CheckpointChecksum("{}"), 694314937u);
}

}  // namespace
}  // namespace skiff::kubelet
