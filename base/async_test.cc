#include "base/async.h"

#include <gtest/gtest.h>
#include <boost/asio/steady_timer.hpp>

#include "base/async_testing.h"
#include "base/log.h"

namespace skiff {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

Task<void> SleepLong(Status* out) { *out = co_await SleepFor(hours(1)); }

Task<void> CountOnce(int* n) {
  ++*n;
  co_return;
}

Task<void> Throws() {
  (void)co_await SleepFor(milliseconds(0));
  throw std::runtime_error("boom");
}

Task<Status> After(milliseconds delay, Status result) {
  const Status slept = co_await SleepFor(delay);
  co_return slept.ok() ? result : slept;
}

TEST(OutcomeTest, NamesCancellationEofAndErrno) {
  EXPECT_TRUE(Outcome({}, "x").ok());
  EXPECT_TRUE(absl::IsCancelled(Outcome(asio::error::operation_aborted, "x")));
  EXPECT_TRUE(absl::IsOutOfRange(Outcome(asio::error::eof, "x")));
  const Status refused = Outcome(asio::error::connection_refused, "connect");
  EXPECT_EQ(ErrnoOf(refused), ECONNREFUSED);
  EXPECT_EQ(refused.message(), "connect: Connection refused");
}

TEST(TaskGroupTest, CancelEndsSleepersAndJoinWaits) {
  asio::io_context loop;
  Status a, b;
  TaskGroup group(loop.get_executor());
  group.Spawn("a", SleepLong(&a));
  group.Spawn("b", SleepLong(&b));
  loop.poll();
  EXPECT_EQ(group.size(), 2u);
  group.Cancel();
  RunTask(loop, group.Join());
  EXPECT_EQ(group.size(), 0u);
  EXPECT_TRUE(absl::IsCancelled(a));
  EXPECT_TRUE(absl::IsCancelled(b));
}

TEST(TaskGroupTest, CancelOfOneMemberLeavesTheOthers) {
  asio::io_context loop;
  Status a, b;
  TaskGroup group(loop.get_executor());
  const auto cancel_a = group.Spawn("a", SleepLong(&a));
  const auto cancel_b = group.Spawn("b", SleepLong(&b));
  loop.poll();
  cancel_a();
  loop.poll();
  EXPECT_TRUE(absl::IsCancelled(a));
  EXPECT_EQ(group.size(), 1u);
  cancel_a();  // after its end: nothing
  cancel_b();
  loop.poll();
  EXPECT_EQ(group.size(), 0u);
}

TEST(TaskGroupTest, CancelBeforeTheFirstRunEndsTheMember) {
  asio::io_context loop;
  Status a;
  TaskGroup group(loop.get_executor());
  group.Spawn("a", SleepLong(&a));
  group.Cancel();
  RunTask(loop, group.Join());
  EXPECT_EQ(group.size(), 0u);
}

TEST(TaskGroupTest, DestroyedGroupCancelsItsMembers) {
  asio::io_context loop;
  auto out = std::make_unique<Status>();
  {
    TaskGroup group(loop.get_executor());
    group.Spawn("a", SleepLong(out.get()));
    loop.poll();
  }
  loop.restart();
  loop.poll();
  EXPECT_TRUE(absl::IsCancelled(*out));
}

Task<void> JoinOther(TaskGroup* group, bool* joined) {
  co_await group->Join();
  *joined = true;
}

TEST(TaskGroupTest, CancelledJoinCancelsTheMembersAndWaits) {
  asio::io_context loop;
  Status a;
  bool joined = false;
  TaskGroup inner(loop.get_executor()), outer(loop.get_executor());
  inner.Spawn("a", SleepLong(&a));
  outer.Spawn("join", JoinOther(&inner, &joined));
  loop.poll();
  EXPECT_FALSE(joined);
  outer.Cancel();
  loop.poll();
  EXPECT_TRUE(joined);
  EXPECT_TRUE(absl::IsCancelled(a));
}

TEST(TaskGroupTest, MemberSpawnedByAMemberIsJoined) {
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  int n = 0;
  for (int i = 0; i < 1000; ++i) group.Spawn("count", CountOnce(&n));
  RunTask(loop, group.Join());
  EXPECT_EQ(n, 1000);
}

std::string* captured = nullptr;

TEST(TaskGroupTest, ExceptionIsLoggedWithTheName) {
  std::string lines;
  captured = &lines;
  log::SetSink([](std::string_view line) { captured->append(line); });
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  group.Spawn("faulty one", Throws());
  RunTask(loop, group.Join());
  log::SetSink(nullptr);
  EXPECT_NE(lines.find("boom"), std::string::npos) << lines;
  EXPECT_NE(lines.find("faulty one"), std::string::npos) << lines;
}

Task<void> Sticky(std::vector<Status>* out) {
  out->push_back(co_await SleepFor(hours(1)));
  out->push_back(co_await SleepFor(hours(1)));  // does not hang
  out->push_back(co_await WithTimeout(hours(1), "x", After(milliseconds(0), absl::OkStatus())));
  Wakeup wakeup(co_await asio::this_coro::executor);
  out->push_back(co_await wakeup.Wait());
  EXPECT_TRUE(co_await IsCancelled());
  co_await ClearCancellation();
  EXPECT_FALSE(co_await IsCancelled());
  out->push_back(co_await SleepFor(milliseconds(1)));
}

TEST(CancellationTest, IsStickyUntilCleared) {
  asio::io_context loop;
  std::vector<Status> out;
  TaskGroup group(loop.get_executor());
  group.Spawn("sticky", Sticky(&out));
  loop.poll();
  group.Cancel();
  RunTask(loop, group.Join());
  ASSERT_EQ(out.size(), 5u);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(absl::IsCancelled(out[i])) << i;
  EXPECT_TRUE(out[4].ok());
}

TEST(WithTimeoutTest, PassesResultsThrough) {
  asio::io_context loop;
  EXPECT_TRUE(RunTask(loop, WithTimeout(hours(1), "x", After(milliseconds(1), absl::OkStatus()))).ok());
  EXPECT_TRUE(RunTask(loop, WithTimeout(hours(1), "x", After(milliseconds(0), absl::OkStatus()))).ok());
  const Status missing = RunTask(loop, WithTimeout(hours(1), "x", After(milliseconds(1), NotFound("no"))));
  EXPECT_EQ(missing, NotFound("no"));
}

TEST(WithTimeoutTest, EndsTheTaskAndNamesIt) {
  asio::io_context loop;
  const Status status = RunTask(loop, WithTimeout(milliseconds(1), "pull image", After(milliseconds(3600000), {})));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status));
  EXPECT_EQ(status.message(), "pull image: context deadline exceeded");
}

Task<void> Timed(Status* inner, Status* out) {
  auto task = [](Status* inner) -> Task<Status> {
    *inner = co_await SleepFor(hours(1));
    co_return *inner;
  };
  *out = co_await WithTimeout(hours(1), "x", task(inner));
}

TEST(WithTimeoutTest, CallersCancellationReachesTheTask) {
  asio::io_context loop;
  Status inner, out;
  TaskGroup group(loop.get_executor());
  group.Spawn("timed", Timed(&inner, &out));
  loop.poll();
  group.Cancel();
  RunTask(loop, group.Join());
  EXPECT_TRUE(absl::IsCancelled(inner));
  EXPECT_TRUE(absl::IsCancelled(out));
}

Task<void> WaitInto(Wakeup* wakeup, std::vector<Status>* out) { out->push_back(co_await wakeup->Wait()); }

TEST(WakeupTest, NotifyBeforeAndDuringWait) {
  asio::io_context loop;
  Wakeup wakeup(loop.get_executor());
  std::vector<Status> out;
  wakeup.Notify();
  wakeup.Notify();
  TaskGroup group(loop.get_executor());
  group.Spawn("w", WaitInto(&wakeup, &out));
  loop.poll();
  ASSERT_EQ(out.size(), 1u);
  group.Spawn("w", WaitInto(&wakeup, &out));
  loop.restart();
  loop.poll();
  EXPECT_EQ(out.size(), 1u);  // two notifies counted once
  wakeup.Notify();
  loop.poll();
  ASSERT_EQ(out.size(), 2u);
  EXPECT_TRUE(out[1].ok());
}

TEST(WakeupTest, TimesOutAndIsCancelledAndOutlived) {
  asio::io_context loop;
  auto wakeup = std::make_unique<Wakeup>(loop.get_executor());
  EXPECT_TRUE(absl::IsDeadlineExceeded(RunTask(loop, wakeup->WaitFor(milliseconds(1)))));
  std::vector<Status> out;
  {
    TaskGroup group(loop.get_executor());
    group.Spawn("w", WaitInto(wakeup.get(), &out));
    loop.restart();
    loop.poll();
    group.Cancel();
    RunTask(loop, group.Join());
  }
  TaskGroup group(loop.get_executor());
  group.Spawn("w", WaitInto(wakeup.get(), &out));
  loop.restart();
  loop.poll();
  wakeup.reset();
  RunTask(loop, group.Join());
  ASSERT_EQ(out.size(), 2u);
  EXPECT_TRUE(absl::IsCancelled(out[0]));
  EXPECT_TRUE(absl::IsCancelled(out[1]));
}

Task<void> BlockInto(std::shared_ptr<std::atomic<bool>> go, Status* out) {
  std::function<Status()> work = [go]() -> Status {
    while (!*go) std::this_thread::yield();
    return NotFound("done");
  };
  *out = co_await RunBlocking(std::move(work));
}

TEST(RunBlockingTest, CancellationWaitsForTheWork) {
  asio::io_context loop;
  const auto go = std::make_shared<std::atomic<bool>>(false);
  Status out;
  TaskGroup group(loop.get_executor());
  group.Spawn("b", BlockInto(go, &out));
  loop.poll();
  group.Cancel();
  loop.poll();
  EXPECT_EQ(group.size(), 1u);
  *go = true;
  RunTask(loop, group.Join());
  EXPECT_EQ(out, NotFound("done"));
}

Task<StatusOr<std::string>> BlockFor() {
  const auto loop_thread = std::this_thread::get_id();
  std::function<StatusOr<std::string>()> work = [loop_thread]() -> StatusOr<std::string> {
    return loop_thread == std::this_thread::get_id() ? "same" : "other";
  };
  auto result = co_await RunBlockingFor<std::string>(std::move(work));
  EXPECT_TRUE(loop_thread == std::this_thread::get_id());
  co_return result;
}

Task<Status> Quick() {
  std::function<Status()> work = [] { return absl::OkStatus(); };
  return WithTimeout(std::chrono::seconds(30), "quick work", RunBlocking(std::move(work)));
}

// A dead mount, a silent name server: the process's other work goes on.
TEST(RunBlockingTest, WorkThatHangsHoldsUpNoOther) {
  asio::io_context loop;
  const auto go = std::make_shared<std::atomic<bool>>(false);
  Status out[3];
  TaskGroup group(loop.get_executor());
  for (Status& status : out) group.Spawn("b", BlockInto(go, &status));
  // Were it held up, the answer could not come before the others' end.
  std::thread release([go] {
    std::this_thread::sleep_for(std::chrono::seconds(10));
    *go = true;
  });
  EXPECT_TRUE(RunTask(loop, Quick()).ok());
  EXPECT_FALSE(*go);
  *go = true;
  RunTask(loop, group.Join());
  release.detach();
}

TEST(RunBlockingTest, ReturnsValuesOnTheLoop) {
  asio::io_context loop;
  EXPECT_EQ(*RunTask(loop, BlockFor()), "other");
}

TEST(RunBlockingTest, ExceptionIsAStatus) {
  asio::io_context loop;
  std::function<Status()> work = []() -> Status { throw std::runtime_error("bad disk"); };
  const Status status = RunTask(loop, RunBlocking(std::move(work)));
  EXPECT_EQ(status, Internal("blocking work threw: bad disk"));
}

}  // namespace
}  // namespace skiff
