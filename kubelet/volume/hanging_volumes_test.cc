// Volumes on paths of the host that do not answer.
#include <unistd.h>

#include "base/blocking_testing.h"
#include "base/foreign_work.h"
#include "kubelet/volume/volume_manager_testing.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

// Blocking work hangs from Hang() until Answer(), other work is done at once.
struct HangingTest : VolumeManagerTest {
  asio::io_context held;
  std::optional<BlockingOn> on;

  HangingTest() { on.emplace(loop.get_executor()); }
  ~HangingTest() override {
    Answer();
    manager.reset();
    Poll();
  }
  void Hang() { on.emplace(held.get_executor()); }
  void GoOn() { on.emplace(loop.get_executor()); }
  size_t Answer() {
    held.restart();
    const size_t pieces = held.poll();
    Poll();
    return pieces;
  }
  void Poll() {
    loop.restart();
    loop.poll();
  }
  // Begins to wait for a pod whose volumes are on a path that hangs.
  void WaitHanging(TaskGroup& group, const std::shared_ptr<const Pod>& pod, std::optional<Status>* result) {
    Hang();
    group.Spawn("wait", Remember(*manager, pod, result));
    Poll();
    GoOn();
  }
};

constexpr char kMapAndPath[] =
    R"([{"name":"cm","configMap":{"name":"cm"}},{"name":"hp","hostPath":{"path":"/dead","type":"Directory"}}])";

TEST_F(HangingTest, APathThatDoesNotAnswerHoldsUpNothingElse) {
  (*objects.config_maps["cm"].mutable_data())["k"] = "v";
  const auto other = WithUid(PodFrom(R"([{"name":"cm","configMap":{"name":"cm"}}])"), "uid-2");
  ASSERT_TRUE(Mount(other).ok());
  // The path is mounted by a container that comes later, so that all else is there.
  auto pod = std::make_shared<Pod>(*PodFrom(kMapAndPath, R"([{"name":"cm","mountPath":"/cm"}])"));
  pod->mutable_spec()->mutable_containers()->RemoveLast();
  ASSERT_TRUE(Mount(pod).ok());
  auto stuck = std::make_shared<Pod>(*pod);
  auto* mount = stuck->mutable_spec()->mutable_containers(0)->add_volumemounts();
  mount->set_name("hp");
  mount->set_mountpath("/hp");
  TaskGroup group(loop.get_executor());
  std::optional<Status> result, again;
  WaitHanging(group, stuck, &result);
  EXPECT_FALSE(result);

  group.Spawn("run", RunManager(*manager));
  Poll();
  (*objects.config_maps["cm"].mutable_data())["k"] = "w";
  manager->UpdatePod(stuck);
  manager->UpdatePod(other);
  Poll();
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~configmap/cm/k")), "w") << "of the same pod too";
  EXPECT_EQ(*ReadFile(root / "pods/uid-2/volumes/kubernetes.io~configmap/cm/k"), "w");

  // Who waits is told when his time is over ..
  clock.Advance(2min + 3s, loop);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->message(),
            "unmounted volumes=[hp], unattached volumes=[], failed to process volumes=[]: context deadline exceeded");
  // .. and may leave.
  const auto cancel = group.Spawn("wait", Remember(*manager, stuck, &again));
  Poll();
  EXPECT_FALSE(again);
  cancel();
  Poll();
  ASSERT_TRUE(again);
  EXPECT_TRUE(absl::IsCancelled(*again));

  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  EXPECT_FALSE(Exists(root / "pods/uid-1"));
  EXPECT_EQ(Answer(), 1u) << "the path was asked once";
  EXPECT_TRUE(events.empty()) << "of a pod that is gone";
  group.Cancel();
  Poll();
}

TEST_F(HangingTest, AVolumeThatComesAfterItsPodIsNotMounted) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  Bind(objects, "x", absl::StrCat(R"("local":{"path":")", root / "disk", R"("})"));
  const auto pod = PodFrom(kClaim, kClaimMount);
  const auto second = WithUid(pod, "uid-2");
  TaskGroup group(loop.get_executor());
  std::optional<Status> result, next;
  WaitHanging(group, pod, &result);
  group.Spawn("wait", Remember(*manager, second, &next));
  Poll();
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  EXPECT_EQ(Answer(), 1u);
  EXPECT_FALSE(Exists(root / "pods/uid-1"));
  ASSERT_TRUE(result && next);
  EXPECT_TRUE(absl::IsCancelled(*result));
  EXPECT_TRUE(next->ok()) << *next;
  EXPECT_EQ(mounter.mounts().size(), 1u);
}

TEST_F(HangingTest, OnePathHoldsOneThreadHoweverManyPodsWantIt) {
  (*objects.config_maps["cm"].mutable_data())["k"] = "v";
  const auto pod = PodFrom(R"([{"name":"hp","hostPath":{"path":"/dead","type":"Directory"}}])");
  TaskGroup group(loop.get_executor());
  std::optional<Status> results[70];
  for (int i = 0; i < 70; ++i) WaitHanging(group, WithUid(pod, absl::StrCat("dead-", i)), &results[i]);
  EXPECT_TRUE(Mount(PodFrom(R"([{"name":"cm","configMap":{"name":"cm"}}])")).ok());
  EXPECT_EQ(Answer(), 1u);
  EXPECT_EQ(events.size(), 70u) << "there is no such path";
  group.Cancel();
  Poll();
}

TEST_F(HangingTest, OfManyPathsThatHangTheLastAreNotLookedAt) {
  asio::make_service<ForeignWork>(loop, ForeignWork::Options{.most = 2, .patience = 1ms});
  TaskGroup group(loop.get_executor());
  std::optional<Status> results[3];
  for (int i = 0; i < 3; ++i) {
    const std::string volumes = absl::StrCat(R"([{"name":"hp","hostPath":{"path":"/dead)", i, R"(","type":"File"}}])");
    WaitHanging(group, WithUid(PodFrom(volumes), absl::StrCat("dead-", i)), &results[i]);
  }
  for (int i = 0; i < 10'000 && events.empty(); ++i) loop.run_for(1ms), loop.restart();
  EXPECT_EQ(events,
            std::vector<std::string>{"Warning FailedMount: MountVolume.SetUp failed for volume \"hp\" : 2 other "
                                     "paths of the host do not answer, which is as many as may be waited for"});
  EXPECT_EQ(Answer(), 2u);
  group.Cancel();
  Poll();
}

Task<void> AskMounts(VolumeManager& manager, std::shared_ptr<const Pod> pod, std::optional<Status>* out) {
  *out = (co_await manager.ContainerMounts(pod, "c", {})).status();
}

// A subPath of a hostPath volume, which nobody looked at before.
TEST_F(HangingTest, ASubPathThatDoesNotAnswerIsLeft) {
  ASSERT_TRUE(MakeDirs(root / "disk/sub").ok());
  const auto pod = PodFrom(absl::StrCat(R"([{"name":"hp","hostPath":{"path":")", root / "disk", R"("}}])"),
                           R"([{"name":"hp","mountPath":"/a","subPath":"sub"}])");
  ASSERT_TRUE(Mount(pod).ok());
  std::optional<Status> result;
  TaskGroup group(loop.get_executor());
  Hang();
  group.Spawn("mounts", AskMounts(*manager, pod, &result));
  Poll();
  GoOn();
  group.Cancel();
  Poll();
  ASSERT_TRUE(result);
  EXPECT_TRUE(absl::IsCancelled(*result));
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  EXPECT_EQ(Answer(), 1u);
  EXPECT_TRUE(mounter.mounts().empty());
  EXPECT_FALSE(Exists(root / "pods/uid-1"));
}

// A manifest that was taken away and is put back makes a pod of the same uid.
TEST_F(HangingTest, ASubPathThatHangsSinceAnEarlierLifeIsNotWaitedFor) {
  ASSERT_TRUE(MakeDirs(root / "disk/sub").ok());
  const auto pod = PodFrom(absl::StrCat(R"([{"name":"hp","hostPath":{"path":")", root / "disk", R"("}}])"),
                           R"([{"name":"hp","mountPath":"/a","subPath":"sub"}])");
  ASSERT_TRUE(Mount(pod).ok());
  TaskGroup group(loop.get_executor());
  std::optional<Status> before, now;
  Hang();
  const auto cancel = group.Spawn("mounts", AskMounts(*manager, pod, &before));
  Poll();
  EXPECT_EQ(Answer(), 1u) << "the path answers, its mount does not";
  GoOn();
  cancel();
  Poll();
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  ASSERT_TRUE(Mount(pod).ok());
  group.Spawn("mounts", AskMounts(*manager, pod, &now));
  Poll();
  EXPECT_TRUE(now && now->ok());
  EXPECT_EQ(Answer(), 1u);
  EXPECT_EQ(mounter.mounts().size(), 1u);
  EXPECT_TRUE(now && now->ok());
  group.Cancel();
  Poll();
}

TEST_F(HangingTest, OnePathHoldsOneThreadHoweverManyPodsWantASubPathOfIt) {
  ASSERT_TRUE(MakeDirs(root / "disk/sub").ok());
  const auto pod = PodFrom(absl::StrCat(R"([{"name":"hp","hostPath":{"path":")", root / "disk", R"("}}])"),
                           R"([{"name":"hp","mountPath":"/a","subPath":"sub"}])");
  TaskGroup group(loop.get_executor());
  std::optional<Status> results[20];
  for (int i = 0; i < 20; ++i) {
    const auto one = WithUid(pod, absl::StrCat("uid-", i));
    ASSERT_TRUE(Mount(one).ok());
    Hang();
    group.Spawn("mounts", AskMounts(*manager, one, &results[i]));
    Poll();
    GoOn();
  }
  EXPECT_EQ(Answer(), 1u);
  for (const auto& result : results) EXPECT_TRUE(result && result->ok());
}

TEST_F(HangingTest, WhoeverWaitsForASubPathIsToldThatItCannotBeMade) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  ASSERT_EQ(symlink("nowhere", (root / "disk/link").c_str()), 0);
  const auto pod = PodFrom(absl::StrCat(R"([{"name":"hp","hostPath":{"path":")", root / "disk", R"("}}])"),
                           R"([{"name":"hp","mountPath":"/a","subPath":"link"}])");
  ASSERT_TRUE(Mount(pod).ok());
  TaskGroup group(loop.get_executor());
  std::optional<Status> results[2];
  Hang();
  for (auto& result : results) group.Spawn("mounts", AskMounts(*manager, pod, &result));
  Poll();
  GoOn();
  EXPECT_EQ(Answer(), 1u);
  for (const auto& result : results) {
    ASSERT_TRUE(result);
    EXPECT_EQ(result->message(), "failed to create subPath directory for volumeMount \"hp\" of container \"c\"");
  }
}

}  // namespace
}  // namespace skiff::kubelet
