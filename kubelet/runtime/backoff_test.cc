#include "kubelet/runtime/backoff.h"

#include <gtest/gtest.h>

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

struct BackoffTest : testing::Test {
  asio::io_context loop;
  FakeClock clock;
  Backoff backoff{clock, 10s, 300s};

  // A container that has just ended is started again: the delay that the next end waits.
  std::chrono::nanoseconds Crash() {
    backoff.Next("u/c", clock.Now());
    return backoff.Delay("u/c");
  }
};

TEST_F(BackoffTest, DoublesUpToTheLongestAndIsForgottenAfterTwiceThat) {
  EXPECT_EQ(Crash(), 10s);
  EXPECT_EQ(Crash(), 20s);
  for (int i = 0; i < 5; ++i) Crash();
  EXPECT_EQ(Crash(), 300s);
  clock.Advance(600s, loop);
  EXPECT_EQ(Crash(), 300s);
  clock.Advance(601s, loop);
  EXPECT_EQ(backoff.LeftSince("u/c", clock.Now()), 0s);
  EXPECT_EQ(Crash(), 10s);
}

// A short longest delay makes no container that runs a little longer than that a sound one.
TEST_F(BackoffTest, TheMemoryMayBeLongerThanTheDelaysSay) {
  Backoff brief(clock, 10s, 30s, 600s);
  brief.Next("u/c", clock.Now());
  for (auto expected : {20s, 30s, 30s}) {
    clock.Advance(90s, loop);
    brief.Next("u/c", clock.Now());
    EXPECT_EQ(brief.Delay("u/c"), expected);
  }
  clock.Advance(601s, loop);
  EXPECT_EQ(brief.LeftSince("u/c", clock.Now()), 0s);
}

TEST_F(BackoffTest, CountsFromTheContainersEnd) {
  Crash();
  clock.Advance(3s, loop);
  const WallTime end = clock.Now() - 4s;
  EXPECT_EQ(backoff.LeftSince("u/c", end), 6s);
  clock.Advance(5s, loop);
  EXPECT_EQ(backoff.LeftSince("u/c", end), 1s);
  clock.Advance(2s, loop);
  EXPECT_EQ(backoff.LeftSince("u/c", end), 0s);
}

// Reliability row clock-jump: a clock that is set while the container runs makes no crash loop a new one, and none that
// ran well for long an old one.
TEST_F(BackoffTest, clock_jump) {
  for (auto jump : {1h, -1h}) {
    backoff.Forget("u/");
    Crash();
    Crash();
    clock.JumpWall(jump);
    clock.Advance(1s, loop);
    const WallTime end = clock.Now();
    EXPECT_EQ(backoff.LeftSince("u/c", end), 20s);
    clock.JumpWall(jump);
    clock.Advance(5s, loop);
    EXPECT_EQ(backoff.LeftSince("u/c", end), 15s);
    clock.JumpWall(-jump);
    EXPECT_EQ(Crash(), 40s);
    clock.JumpWall(-jump);
    clock.Advance(700s, loop);
    EXPECT_EQ(Crash(), 10s);
  }
}

}  // namespace
}  // namespace skiff::kubelet
