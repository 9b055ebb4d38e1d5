#include "kubelet/runtime/runtime_cache.h"

#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cri/fake_runtime.h"
#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RuntimeCacheTest : public ::testing::Test {
 protected:
  RuntimeCacheTest() : runtime(clock), cache(runtime, clock, "/nonexistent") {
    cache.OnChange([this](const std::string& uid) { changed.push_back(uid); });
    runtime.AddImage("i");
  }

  template <typename T>
  T Get(Task<T> task) {
    std::optional<T> out;
    auto keep = [&out](Task<T> work) -> Task<void> { out.emplace(co_await std::move(work)); };
    Spawn(loop.get_executor(), "call", keep(std::move(task)));
    loop.restart();
    while (!out) loop.run_one();
    return *std::move(out);
  }

  std::string Run(const std::string& uid) {
    cri_v1::RunPodSandboxRequest request;
    request.mutable_config()->mutable_metadata()->set_name(uid);
    request.mutable_config()->mutable_metadata()->set_uid(uid);
    (*request.mutable_config()->mutable_labels())[kPodUidLabel] = uid;
    return Get(runtime.RunPodSandbox(request))->pod_sandbox_id();
  }
  std::string Create(const std::string& sandbox, const std::string& uid) {
    cri_v1::CreateContainerRequest request;
    request.set_pod_sandbox_id(sandbox);
    request.mutable_config()->mutable_metadata()->set_name("c");
    request.mutable_config()->mutable_image()->set_image("i");
    (*request.mutable_config()->mutable_labels())[kPodUidLabel] = uid;
    return Get(runtime.CreateContainer(request))->container_id();
  }
  void Remove(const std::string& container) {
    cri_v1::RemoveContainerRequest request;
    request.set_container_id(container);
    ASSERT_TRUE(Get(runtime.RemoveContainer(request)).ok());
  }
  // The pods that a pass found changed.
  std::vector<std::string> Relist() {
    changed.clear();
    const auto s = Get(cache.Relist());
    EXPECT_TRUE(s.ok());
    return changed;
  }

  asio::io_context loop;
  FakeClock clock;
  cri::FakeRuntime runtime;
  RuntimeCache cache;
  std::vector<std::string> changed;
};

TEST_F(RuntimeCacheTest, APassThatHearsNothingNewIsAPassAllTheSame) {
  Run("a");
  EXPECT_THAT(Relist(), ElementsAre("a"));
  clock.Advance(std::chrono::seconds(1), loop);
  EXPECT_THAT(Relist(), IsEmpty());
  EXPECT_EQ(cache.last_relist(), clock.Steady());
}

TEST_F(RuntimeCacheTest, EveryChangeIsHeard) {
  const std::string sandbox = Run("a");
  Run("b");
  EXPECT_THAT(Relist(), ElementsAre("a", "b"));
  const std::string container = Create(sandbox, "a");
  EXPECT_THAT(Relist(), ElementsAre("a"));
  runtime.Exit(container, 1);
  EXPECT_THAT(Relist(), ElementsAre("a"));
  EXPECT_EQ(cache.Get("a")->FindId(container)->exit_code, 1);
  runtime.KillSandbox(sandbox);
  EXPECT_THAT(Relist(), ElementsAre("a"));
  Remove(container);
  EXPECT_THAT(Relist(), ElementsAre("a"));
  EXPECT_THAT(Relist(), IsEmpty());
}

// The lists say the same before and after, but what is known came in between.
TEST_F(RuntimeCacheTest, WhatOnlyALookAtThePodSawIsForgotten) {
  const std::string sandbox = Run("a");
  Relist();
  Relist();
  const std::string container = Create(sandbox, "a");
  ASSERT_TRUE(Get(cache.Refresh("a")).ok());
  ASSERT_NE(cache.Get("a")->FindId(container), nullptr);
  Remove(container);
  EXPECT_THAT(Relist(), ElementsAre("a"));
  EXPECT_EQ(cache.Get("a")->FindId(container), nullptr);
}

TEST_F(RuntimeCacheTest, APodThatCouldNotBeLookedAtIsTriedAgain) {
  Run("a");
  runtime.failures["PodSandboxStatus"] = {absl::InternalError("not now")};
  EXPECT_TRUE(cache.MayHave("a"));
  EXPECT_THAT(Relist(), IsEmpty());
  EXPECT_TRUE(cache.MayHave("a"));
  EXPECT_FALSE(cache.MayHave("b"));
  EXPECT_THAT(Relist(), ElementsAre("a"));
}

TEST_F(RuntimeCacheTest, WhatWasMadeIsSeenWithoutAList) {
  Relist();
  const std::string sandbox = Run("a");
  runtime.reads.clear();
  PodStatePtr state = *Get(cache.See({.uid = "a", .name = "", .ns = "", .sandbox = sandbox, .containers = {}}));
  ASSERT_EQ(state->sandboxes.size(), 1u);
  EXPECT_TRUE(state->sandboxes[0].ready);
  EXPECT_THAT(state->ips, ElementsAre(runtime.sandboxes.at(sandbox).status.network().ip()));
  const std::string container = Create(sandbox, "a");
  state = *Get(cache.See({.uid = "a", .name = "", .ns = "", .sandbox = sandbox, .containers = {container}}));
  EXPECT_EQ(state->sandboxes.size(), 1u);
  ASSERT_NE(state->FindId(container), nullptr);
  EXPECT_EQ(state->FindId(container)->sandbox_id, sandbox);
  EXPECT_EQ(cache.Get("a"), state);
  EXPECT_EQ(runtime.reads.count("ListPodSandbox") + runtime.reads.count("ListContainers"), 0u);
  EXPECT_THAT(Relist(), IsEmpty()) << "nothing is new";
}

TEST_F(RuntimeCacheTest, WhatElseHappenedMeanwhileIsFoundByTheNextPass) {
  const std::string sandbox = Run("a");
  const std::string first = Create(sandbox, "a");
  Relist();
  Remove(first);
  const std::string second = Create(sandbox, "a");
  ASSERT_TRUE(Get(cache.See({.uid = "a", .name = "", .ns = "", .sandbox = sandbox, .containers = {second}})).ok());
  EXPECT_NE(cache.Get("a")->FindId(first), nullptr);
  EXPECT_THAT(Relist(), ElementsAre("a"));
  EXPECT_EQ(cache.Get("a")->FindId(first), nullptr);
  EXPECT_NE(cache.Get("a")->FindId(second), nullptr);
}

TEST_F(RuntimeCacheTest, WhatWasMadeAndIsGoneAgainIsLookedAtWhole) {
  const std::string sandbox = Run("a");
  const std::string container = Create(sandbox, "a");
  Relist();
  Remove(container);
  const PodStatePtr state =
      *Get(cache.See({.uid = "a", .name = "", .ns = "", .sandbox = sandbox, .containers = {container}}));
  EXPECT_EQ(state->FindId(container), nullptr);
}

TEST_F(RuntimeCacheTest, AForgottenPodIsFoundAgain) {
  Run("a");
  Relist();
  cache.Forget("a");
  EXPECT_THAT(Relist(), ElementsAre("a"));
}

TEST_F(RuntimeCacheTest, OneLookAsksForAllOfAPodAtOnce) {
  const std::string sandbox = Run("u1");
  for (int i = 0; i < 3; ++i) Create(sandbox, "u1");
  int now = 0;
  std::vector<int> beside;
  runtime.on_read = [&]() -> Task<void> {
    beside.push_back(++now);
    (void)co_await SleepFor(std::chrono::milliseconds(1));
    --now;
  };
  runtime.reads.clear();
  const auto state = Get(cache.Refresh("u1"));
  ASSERT_TRUE(state.ok());
  EXPECT_EQ((*state)->sandboxes.size(), 1u);
  EXPECT_EQ((*state)->containers.size(), 3u);
  EXPECT_THAT(beside, ElementsAre(1, 2, 1, 2, 3, 4)) << "two lists, then four of what they named";
  // The first error by the order of the ids, with what it is about.
  runtime.failures["ContainerStatus"] = {absl::UnknownError("one"), absl::UnknownError("two")};
  const auto failed = Get(cache.Refresh("u1"));
  EXPECT_THAT(std::string(failed.status().message()), testing::EndsWith("one"));
  EXPECT_THAT(std::string(failed.status().message()), testing::StartsWith("container "));
}

}  // namespace
}  // namespace skiff::kubelet
