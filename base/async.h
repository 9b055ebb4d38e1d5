// Coroutines on the one loop. Task<T> is a lazily started coroutine; it runs when awaited or spawned. Everything here
// belongs to the thread that runs the io_context, unless it says otherwise.
//
// Cancellation is Asio's: when a spawned Task is cancelled, the operation it awaits ends with an error that reads as
// absl kCancelled (see Outcome), and the coroutine is expected to return soon. Exceptions do not leave a Task.
#ifndef SKIFF_BASE_ASYNC_H_
#define SKIFF_BASE_ASYNC_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/status.h"

namespace skiff {

namespace asio = boost::asio;

template <typename T = void>
using Task = asio::awaitable<T>;

// The completion token for Asio operations: co_await op(kAwait) yields a tuple (error_code, results...), never throws.
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<>> kAwait{};

// An Asio error as a status: operation_aborted is kCancelled, eof is kOutOfRange, the rest as ErrnoStatus.
Status Outcome(const boost::system::error_code& ec, std::string_view context);

// Ends at once with kCancelled when the calling coroutine is cancelled. Real time; what tests must steer takes a Clock.
Task<Status> SleepFor(std::chrono::nanoseconds duration);

// True once the running coroutine was asked to stop. Long loops look at it.
Task<bool> IsCancelled();

// A set of coroutines that live and die together.
//
//   TaskGroup group(executor);
//   group.Spawn("watch pods", WatchPods(...));     // runs now; its name appears in the log if it throws (a bug)
//   group.Cancel();                                // asks all to stop
//   co_await group.Join();                         // until all have ended
//
// Destroying a group with running members cancels them; they then run to their end on the loop without it.
class TaskGroup {
 public:
  explicit TaskGroup(asio::any_io_executor executor);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // The returned function cancels just this member; it may be called at any time, also after its end.
  std::function<void()> Spawn(std::string name, Task<void> task);
  void Cancel();
  Task<void> Join();
  size_t size() const;  // members still running

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Runs `task` for at most `limit`, then cancels it and returns kDeadlineExceeded naming `what`.
Task<Status> WithTimeout(std::chrono::nanoseconds limit, std::string_view what, Task<Status> task);

// A level-triggered flag between coroutines: Notify() wakes the waiter, or the next one if none waits. Several notifies
// before a wait count once. One waiter at a time.
class Wakeup {
 public:
  explicit Wakeup(asio::any_io_executor executor);
  void Notify();
  Task<Status> Wait();                                     // kCancelled when cancelled
  Task<Status> WaitFor(std::chrono::nanoseconds timeout);  // kDeadlineExceeded when nothing came

 private:
  asio::steady_timer timer_;
  bool set_ = false;
  bool waiting_ = false;
};

// Runs blocking work on the process's small thread pool and comes back to the loop with its result. The function must
// not touch loop state. Cancellation does not interrupt work that has begun; the caller waits for it.
Task<Status> RunBlocking(std::function<Status()> work);
template <typename T>
Task<StatusOr<T>> RunBlockingFor(std::function<StatusOr<T>()> work) {
  StatusOr<T> result = absl::UnknownError("not run");
  auto call = [&]() -> Status {
    result = work();
    return absl::OkStatus();
  };
  std::function<Status()> wrapped = call;
  Status status = co_await RunBlocking(wrapped);
  if (!status.ok()) co_return status;
  co_return std::move(result);
}

}  // namespace skiff

#endif  // SKIFF_BASE_ASYNC_H_
