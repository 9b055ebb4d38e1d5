#include "kubelet/node/oom_watcher.h"

#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

constexpr char kBegin[] =
    "stress invoked oom-killer: gfp_mask=0x100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0";

TEST(OomParser, TheMachineRanOut) {
  OomParser parser;
  EXPECT_FALSE(parser.Feed("usb 1-1: new device"));
  EXPECT_FALSE(parser.Feed(kBegin));
  EXPECT_FALSE(parser.Feed("Mem-Info:"));
  auto kill = parser.Feed(
      "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
      "task_memcg=/user.slice,task=stress,pid=4711,uid=0");
  ASSERT_TRUE(kill);
  EXPECT_EQ(kill->cgroup, "/");
  EXPECT_EQ(SystemOomMessage(*kill), "System OOM encountered, victim process: stress, pid: 4711");
  // The line that follows belongs to the same kill.
  EXPECT_FALSE(parser.Feed("Out of memory: Killed process 4711 (stress) total-vm:1kB"));
}

TEST(OomParser, AContainersLimit) {
  OomParser parser;
  EXPECT_FALSE(parser.Feed(kBegin));
  auto kill = parser.Feed(
      "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0,oom_memcg=/kubepods/podx/c,"
      "task_memcg=/kubepods/podx/c,task=sh,pid=5,uid=1000");
  ASSERT_TRUE(kill);
  EXPECT_EQ(kill->cgroup, "/kubepods/podx/c");
  EXPECT_EQ(kill->pid, 5);
}

TEST(OomParser, OldKernels) {
  OomParser parser;
  EXPECT_FALSE(parser.Feed(kBegin));
  EXPECT_FALSE(parser.Feed("Task in /docker/a killed as a result of limit of /docker/a"));
  auto kill = parser.Feed("Killed process 12 (sh) total-vm:1kB, anon-rss:1kB");
  ASSERT_TRUE(kill);
  EXPECT_EQ(kill->cgroup, "/docker/a");
  EXPECT_EQ(kill->process, "sh");
  EXPECT_FALSE(parser.Feed("Killed process 13 (sh)")) << "nothing began";
}

TEST(OomParser, Malformed) {
  OomParser parser;
  EXPECT_FALSE(parser.Feed(kBegin));
  auto kill = parser.Feed("oom-kill:constraint=");
  ASSERT_TRUE(kill);
  EXPECT_EQ(SystemOomMessage(*kill), "System OOM encountered");
  EXPECT_FALSE(parser.Feed(kBegin));
  EXPECT_TRUE(parser.Feed("Killed process ) (") != std::nullopt);
  EXPECT_FALSE(parser.Feed(""));
}

}  // namespace
}  // namespace skiff::kubelet
