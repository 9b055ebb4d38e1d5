#include "base/timed_wait.h"

#include <functional>
#include <string>
#include <utility>

namespace skiff {
namespace {

Task<void> Expire(Clock& clock, std::chrono::nanoseconds limit, std::function<void()> then) {
  if ((co_await clock.Sleep(limit)).ok()) then();
}

Task<void> Keep(Task<Status> task, Status* result) { *result = co_await std::move(task); }

}  // namespace

Task<Status> WithTimeout(Clock& clock, std::chrono::nanoseconds limit, std::string_view what, Task<Status> task) {
  const auto executor = co_await asio::this_coro::executor;
  const std::string name(what);
  Status result = absl::CancelledError("context canceled");
  bool expired = false;
  TaskGroup work(executor), timer(executor);
  const auto cancel = work.Spawn(name, Keep(std::move(task), &result));
  timer.Spawn(name, Expire(clock, limit, [&] {
                expired = true;
                cancel();
              }));
  co_await work.Join();  // its end is awaited even then: it may refer to our caller's variables
  timer.Cancel();
  co_await timer.Join();
  if (expired) co_return absl::DeadlineExceededError(absl::StrCat(name, ": context deadline exceeded"));
  co_return result;
}

Task<Status> WaitFor(Clock& clock, Wakeup& wakeup, std::chrono::nanoseconds timeout) {
  bool expired = false;
  TaskGroup timer(co_await asio::this_coro::executor);
  timer.Spawn("timer", Expire(clock, timeout, [&] {
                expired = true;
                wakeup.Notify();
              }));
  Status status = co_await wakeup.Wait();
  timer.Cancel();
  co_await timer.Join();
  if (status.ok() && expired) co_return absl::DeadlineExceededError("timed out waiting");
  co_return status;
}

}  // namespace skiff
