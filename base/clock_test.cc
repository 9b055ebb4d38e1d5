#include "base/clock.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/http.h"
#include "base/timed_wait.h"

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

TEST(FakeClockTest, TimeoutsAreTheClocks) {
  asio::io_context loop;
  FakeClock clock;
  TaskGroup group(loop.get_executor());
  std::vector<Status> ends;
  Wakeup wakeup(loop.get_executor());
  struct Run {
    static Task<void> Limited(Clock* clock, std::chrono::nanoseconds takes, std::vector<Status>* out) {
      out->push_back(co_await WithTimeout(*clock, seconds(10), "work", clock->Sleep(takes)));
    }
    static Task<void> Waits(Clock* clock, Wakeup* wakeup, std::vector<Status>* out) {
      out->push_back(co_await WaitFor(*clock, *wakeup, seconds(10)));
    }
  };
  group.Spawn("short", Run::Limited(&clock, seconds(9), &ends));
  group.Spawn("long", Run::Limited(&clock, seconds(30), &ends));
  clock.Advance(seconds(9), loop);
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_TRUE(ends[0].ok());
  clock.Advance(seconds(2), loop);
  ASSERT_EQ(ends.size(), 2u);
  EXPECT_EQ(ends[1], absl::DeadlineExceededError("work: context deadline exceeded"));
  group.Spawn("woken", Run::Waits(&clock, &wakeup, &ends));
  clock.Advance(seconds(9), loop);
  wakeup.Notify();
  clock.Advance(seconds(0), loop);
  group.Spawn("waits in vain", Run::Waits(&clock, &wakeup, &ends));
  clock.Advance(seconds(10), loop);
  ASSERT_EQ(ends.size(), 4u);
  EXPECT_TRUE(ends[2].ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends[3]));
  group.Spawn("cancelled", Run::Limited(&clock, seconds(9), &ends));
  group.Cancel();
  RunTask(loop, group.Join());
  EXPECT_TRUE(absl::IsCancelled(ends.back()));
  EXPECT_EQ(clock.sleepers(), 0u);
}

TEST(RealClockTest, SleepsInRealTime) {
  asio::io_context loop;
  const SteadyTime before = Clock::Real().Steady();
  EXPECT_TRUE(RunTask(loop, Clock::Real().Sleep(std::chrono::milliseconds(2))).ok());
  EXPECT_GE(Clock::Real().Steady() - before, std::chrono::milliseconds(2));
}

}  // namespace
}  // namespace skiff
