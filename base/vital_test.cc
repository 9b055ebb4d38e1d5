#include "base/vital.h"

#include <stdexcept>

#include "base/async_testing.h"
#include "gtest/gtest.h"

namespace skiff {
namespace {

Task<void> Throw(bool now) {
  (co_await SleepFor(now ? std::chrono::nanoseconds(0) : std::chrono::hours(1))).IgnoreError();
  if (now) throw std::runtime_error("no such thing");
}

TEST(Vital, AnExceptionEndsTheProcess) {
  const auto run = [] {
    asio::io_context loop;
    RunTask(loop, Vital("statuses", Throw(true)));
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(1), "no such thing.*statuses|statuses.*no such thing");
}

TEST(Vital, CancellationIsAnEndLikeAnyOther) {
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  group.Spawn("begun", Vital("begun", Throw(false)));
  loop.poll();
  group.Spawn("never begun", Vital("never begun", Throw(false)));
  group.Cancel();
  loop.restart();
  RunTask(loop, group.Join());
  EXPECT_EQ(group.size(), 0u);
}

}  // namespace
}  // namespace skiff
