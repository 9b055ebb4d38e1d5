#include "kubelet/runtime/container_gc.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/async_testing.h"
#include "base/blocking_testing.h"
#include "base/files.h"
#include "cri/fake_runtime.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ContainerGcTest : public ::testing::Test {
 protected:
  ContainerGcTest() : runtime(clock) {
    char name[] = "/tmp/skiff-gc-XXXXXX";
    root = ::mkdtemp(name);
    options.logs_dir = root + "/pods";
    options.container_logs_dir = root + "/containers";
    EXPECT_TRUE(MakeDirs(options.logs_dir).ok());
    EXPECT_TRUE(MakeDirs(options.container_logs_dir).ok());
  }
  ~ContainerGcTest() override { std::filesystem::remove_all(root); }

  void AddSandbox(const std::string& id, const std::string& uid, int64_t created, bool ready) {
    auto& s = runtime.sandboxes[id];
    s.config.mutable_metadata()->set_uid(uid);
    s.status.set_id(id);
    s.status.mutable_metadata()->set_uid(uid);
    s.status.set_created_at(created);
    s.status.set_state(ready ? cri::v1::SANDBOX_READY : cri::v1::SANDBOX_NOTREADY);
  }
  void AddContainer(const std::string& id, const std::string& uid, const std::string& name, int64_t created,
                    cri::v1::ContainerState state = cri::v1::CONTAINER_EXITED, const std::string& sandbox = "s",
                    uint32_t attempt = 0) {
    auto& c = runtime.containers[id];
    c.sandbox_id = sandbox;
    c.status.set_id(id);
    c.status.mutable_metadata()->set_name(name);
    c.status.mutable_metadata()->set_attempt(attempt);
    c.status.set_state(state);
    c.status.set_created_at(created);
    auto& labels = *c.status.mutable_labels();
    labels[kPodUidLabel] = uid;
    labels[kPodNameLabel] = "p";
    labels[kPodNamespaceLabel] = "ns";
    labels[kContainerNameLabel] = name;
  }
  Status Collect(bool everything_dead = false) {
    ContainerGc gc(runtime, clock, options,
                   {.sources_ready = [this] { return ready; },
                    .content_gone = [this](const std::string& uid) { return !pods.contains(uid); },
                    .runtime_ended = [this](const std::string& uid) { return ended.contains(uid); }});
    Status result = absl::UnknownError("not run");
    Spawn(loop.get_executor(), "collect", Once(&gc, everything_dead, &result));
    loop.restart();
    loop.run();
    return result;
  }
  static Task<void> Once(ContainerGc* gc, bool everything_dead, Status* result) {
    *result = co_await gc->Collect(everything_dead);
  }
  std::vector<std::string> Left() {
    std::vector<std::string> out;
    for (const auto& [id, c] : runtime.containers) out.push_back(id);
    return out;
  }

  asio::io_context loop;
  FakeClock clock;
  cri::FakeRuntime runtime;
  std::string root;
  ContainerGcOptions options;
  bool ready = true;
  std::set<std::string> pods = {"u", "v"}, ended;
};

TEST_F(ContainerGcTest, KeepsTheNewestDeadOfEachName) {
  AddContainer("a1", "u", "a", 1);
  AddContainer("a2", "u", "a", 2);
  AddContainer("a3", "u", "a", 3);
  AddContainer("a4", "u", "a", 4, cri::v1::CONTAINER_RUNNING);
  AddContainer("b1", "u", "b", 1);
  AddContainer("v1", "v", "a", 1);
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(Left(), ElementsAre("a3", "a4", "b1", "v1"));
}

TEST_F(ContainerGcTest, LimitsOfAge) {
  options.min_age = std::chrono::minutes(1);
  options.max_per_container = 0;
  const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(clock.Now().time_since_epoch()).count();
  AddContainer("old", "u", "a", now - 61'000'000'000);
  AddContainer("young", "u", "a", now - 59'000'000'000);
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(Left(), ElementsAre("young"));
}

TEST_F(ContainerGcTest, LimitOfAllTogetherTakesTheOldest) {
  options.max_per_container = -1;
  options.max_containers = 3;
  for (int i = 1; i <= 4; ++i) AddContainer(absl::StrCat("a", i), "u", "a", i);
  AddContainer("b9", "u", "b", 9);
  AddContainer("c8", "v", "c", 8);
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(Left(), ElementsAre("a4", "b9", "c8"));
  options.max_containers = 1;
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(Left(), ElementsAre("b9"));
}

// Reliability row clock-jump: the clock was set back after a1 and s1. What came last stays, and nothing stays because
// it seems to come from the future.
TEST_F(ContainerGcTest, clock_jump) {
  const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(clock.Now().time_since_epoch()).count();
  constexpr int64_t kMinute = 60'000'000'000;
  for (auto min_age : {std::chrono::minutes(0), std::chrono::minutes(1)}) {
    options.min_age = min_age;
    AddContainer("a1", "u", "a", now + 50 * kMinute, cri::v1::CONTAINER_EXITED, "s1", 0);
    AddContainer("a2", "u", "a", now - 3 * kMinute, cri::v1::CONTAINER_EXITED, "s2", 1);
    AddContainer("a3", "u", "a", now - 2 * kMinute, cri::v1::CONTAINER_EXITED, "s2", 2);
    AddSandbox("s1", "u", now + 50 * kMinute, false);
    AddSandbox("s2", "u", now - 3 * kMinute, false);
    runtime.sandboxes["s2"].status.mutable_metadata()->set_attempt(1);
    ASSERT_TRUE(Collect().ok());
    EXPECT_THAT(Left(), ElementsAre("a3"));
    EXPECT_FALSE(runtime.sandboxes.contains("s1"));
    EXPECT_TRUE(runtime.sandboxes.contains("s2"));
    pods.erase("u");
    AddContainer("a4", "u", "a", now + 50 * kMinute);
    ASSERT_TRUE(Collect().ok());
    EXPECT_THAT(Left(), IsEmpty());
    pods.insert("u");
  }
}

TEST_F(ContainerGcTest, PodsThatAreGoneOrOver) {
  AddContainer("gone", "w", "a", 1);
  AddContainer("over", "v", "a", 1);
  ended = {"v"};
  ready = false;
  ASSERT_TRUE(Collect(true).ok());
  EXPECT_THAT(Left(), ElementsAre("gone", "over"));
  ready = true;
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(Left(), ElementsAre("over"));
  ASSERT_TRUE(Collect(true).ok());
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(ContainerGcTest, UnknownOnesAreStoppedFirst) {
  options.max_per_container = 0;
  AddContainer("x", "u", "a", 1, cri::v1::CONTAINER_UNKNOWN);
  runtime.failures["StopContainer"].push_back(absl::InternalError("busy"));
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(Left(), ElementsAre("x"));
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(ContainerGcTest, Sandboxes) {
  AddSandbox("ready", "u", 1, true);
  AddSandbox("latest", "u", 9, false);
  AddSandbox("old", "u", 2, false);
  AddSandbox("old-with-container", "u", 3, false);
  AddContainer("c", "u", "a", 1, cri::v1::CONTAINER_EXITED, "old-with-container");
  AddSandbox("of-nobody", "w", 1, false);
  ASSERT_TRUE(Collect().ok());
  std::vector<std::string> left;
  for (const auto& [id, s] : runtime.sandboxes) left.push_back(id);
  EXPECT_THAT(left, UnorderedElementsAre("ready", "latest", "old-with-container"));
}

TEST_F(ContainerGcTest, LogsOfDeadContainersAndPods) {
  options.max_per_container = 0;
  AddContainer("c", "u", "a", 1);
  const std::string dir = options.logs_dir + "/ns_p_u/a";
  ASSERT_TRUE(MakeDirs(dir).ok());
  for (const char* file : {"/0.log", "/0.log.20260101-000000.gz", "/1.log"}) {
    ASSERT_TRUE(WriteFileAtomic(dir + file, "x").ok());
  }
  runtime.containers["c"].status.set_log_path(dir + "/0.log");
  const std::string link = options.container_logs_dir + "/" + LogLinkName("p", "ns", "a", "c");
  ASSERT_EQ(::symlink((dir + "/0.log").c_str(), link.c_str()), 0);
  ASSERT_TRUE(MakeDirs(options.logs_dir + "/ns_q_w/a").ok());
  ASSERT_TRUE(MakeDirs(options.logs_dir + "/somebody-elses").ok());
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(*ListDir(dir), ElementsAre("1.log"));
  EXPECT_THAT(*ListDir(options.container_logs_dir), IsEmpty());
  EXPECT_THAT(*ListDir(options.logs_dir), ElementsAre("ns_p_u", "somebody-elses"));
}

// Gigabytes of log may take the disk seconds: not on the loop.
TEST_F(ContainerGcTest, LogsAreRemovedOnThePool) {
  const std::string dir = options.logs_dir + "/ns_p_u/a";
  ASSERT_TRUE(MakeDirs(dir).ok());
  ASSERT_TRUE(WriteFileAtomic(dir + "/0.log", "x").ok());
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  Spawn(loop.get_executor(), "remove", RemoveContainerLogs(options.logs_dir, dir + "/0.log"));
  loop.poll();
  EXPECT_TRUE(Exists(dir + "/0.log"));
  pool.poll();
  EXPECT_FALSE(Exists(dir + "/0.log"));
  loop.poll();
}

// Nor is a directory of thousands listed there.
TEST_F(ContainerGcTest, LogsAreLookedForOnThePool) {
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  ContainerGc gc(runtime, clock, options,
                 {.sources_ready = [] { return true; },
                  .content_gone = [](const std::string&) { return true; },
                  .runtime_ended = [](const std::string&) { return true; }});
  Status result = absl::UnknownError("not run");
  auto turn = [](asio::io_context& context) {
    context.restart();
    context.poll();
  };
  Spawn(loop.get_executor(), "collect", Once(&gc, false, &result));
  turn(loop);
  // What comes after the loop's turn is found as well.
  const std::string log = options.logs_dir + "/ns_p_u", link = options.container_logs_dir + "/p_ns_a-dead.log";
  ASSERT_TRUE(MakeDirs(log).ok());
  turn(pool);
  turn(loop);
  turn(pool);
  EXPECT_FALSE(Exists(log));
  turn(loop);
  ASSERT_EQ(::symlink((log + "/a/0.log").c_str(), link.c_str()), 0);
  turn(pool);
  turn(loop);
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_THAT(*ListDir(options.container_logs_dir), IsEmpty());
}

TEST_F(ContainerGcTest, LinksThatLeadNowhere) {
  AddContainer("running", "u", "a", 1, cri::v1::CONTAINER_RUNNING);
  auto link = [&](const std::string& name, const std::string& target) {
    ASSERT_EQ(::symlink(target.c_str(), (options.container_logs_dir + "/" + name).c_str()), 0);
  };
  link("p_ns_a-running.log", options.logs_dir + "/ns_p_u/a/0.log");  // its log is being rotated
  link("p_ns_a-dead.log", options.logs_dir + "/ns_p_u/a/0.log");
  link("p_ns_a-other.log", "/nonexistent/of/another/kubelet/0.log");
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(*ListDir(options.container_logs_dir), ElementsAre("p_ns_a-other.log", "p_ns_a-running.log"));
}

TEST_F(ContainerGcTest, LogPathOutsideIsLeftAlone) {
  ASSERT_TRUE(WriteFileAtomic(root + "/outside.log", "x").ok());
  RunTask(loop, RemoveContainerLogs(options.logs_dir, root + "/outside.log"));
  RunTask(loop, RemoveContainerLogs(options.logs_dir, options.logs_dir + "/../outside.log"));
  ASSERT_EQ(::symlink(root.c_str(), (options.logs_dir + "/link").c_str()), 0);
  RunTask(loop, RemoveContainerLogs(options.logs_dir, options.logs_dir + "/link/outside.log"));
  EXPECT_TRUE(Exists(root + "/outside.log"));
}

}  // namespace
}  // namespace skiff::kubelet
