#include "base/clock.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/http.h"

namespace skiff {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

Task<void> SleepAndNote(Clock* clock, std::chrono::nanoseconds duration, std::vector<int64_t>* at) {
  const SteadyTime start = clock->Steady();
  if ((co_await clock->Sleep(duration)).ok()) {
    at->push_back(std::chrono::duration_cast<seconds>(clock->Steady() - start).count());
  } else {
    at->push_back(-1);
  }
}

Task<void> Tick(Clock* clock, int* ticks) {
  while ((co_await clock->Sleep(seconds(10))).ok()) ++*ticks;
}

TEST(FakeClockTest, StartsAtTheNamedTime) {
  FakeClock clock;
  EXPECT_EQ(http::FormatDate(clock.Now()), "Thu, 01 Jan 2026 00:00:00 GMT");
}

TEST(FakeClockTest, SleepersWakeInOrderAtTheirTimes) {
  asio::io_context loop;
  FakeClock clock;
  std::vector<int64_t> at;
  TaskGroup group(loop.get_executor());
  group.Spawn("b", SleepAndNote(&clock, seconds(30), &at));
  group.Spawn("a", SleepAndNote(&clock, seconds(10), &at));
  clock.Advance(seconds(9), loop);
  EXPECT_EQ(clock.sleepers(), 2u);
  EXPECT_TRUE(at.empty());
  clock.Advance(seconds(1), loop);
  EXPECT_EQ(at, (std::vector<int64_t>{10}));
  clock.Advance(hours(1), loop);
  EXPECT_EQ(at, (std::vector<int64_t>{10, 30}));
  EXPECT_EQ(http::FormatDate(clock.Now()), "Thu, 01 Jan 2026 01:00:10 GMT");
}

TEST(FakeClockTest, OneAdvanceRunsALoopEveryTime) {
  asio::io_context loop;
  FakeClock clock;
  int ticks = 0;
  TaskGroup group(loop.get_executor());
  group.Spawn("tick", Tick(&clock, &ticks));
  clock.Advance(minutes(1), loop);
  EXPECT_EQ(ticks, 6);
  group.Cancel();
  RunTask(loop, group.Join());
  EXPECT_EQ(clock.sleepers(), 0u);
}

TEST(FakeClockTest, ClockJumpMovesTheWallAlone) {
  asio::io_context loop;
  FakeClock clock;
  int ticks = 0;
  TaskGroup group(loop.get_executor());
  group.Spawn("tick", Tick(&clock, &ticks));
  clock.JumpWall(hours(1));
  clock.Advance(seconds(10), loop);
  EXPECT_EQ(ticks, 1);
  EXPECT_EQ(http::FormatDate(clock.Now()), "Thu, 01 Jan 2026 01:00:10 GMT");
}

TEST(FakeClockTest, DestroyedClockReleasesSleepers) {
  asio::io_context loop;
  auto clock = std::make_unique<FakeClock>();
  std::vector<int64_t> at;
  TaskGroup group(loop.get_executor());
  Status status;
  auto sleep = [](Clock* clock, Status* out) -> Task<void> { *out = co_await clock->Sleep(seconds(1)); };
  group.Spawn("s", sleep(clock.get(), &status));
  loop.poll();
  clock.reset();
  RunTask(loop, group.Join());
  EXPECT_TRUE(absl::IsCancelled(status));
}

TEST(RealClockTest, SleepsInRealTime) {
  asio::io_context loop;
  const SteadyTime before = Clock::Real().Steady();
  EXPECT_TRUE(RunTask(loop, Clock::Real().Sleep(std::chrono::milliseconds(2))).ok());
  EXPECT_GE(Clock::Real().Steady() - before, std::chrono::milliseconds(2));
}

}  // namespace
}  // namespace skiff
