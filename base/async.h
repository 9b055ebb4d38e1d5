// Coroutines on the one loop. Task<T> is a lazily started coroutine; it runs when awaited or spawned. Everything here
// belongs to the thread that runs the io_context, unless it says otherwise.
//
// Cancellation is Asio's: when a spawned Task is cancelled, the operation it awaits ends with an error that reads as
// absl kCancelled (see Outcome), and the coroutine is expected to return soon. It is sticky: once cancelled, whatever
// waits in this project (sleeps, wake-ups, streams, HTTP calls) ends at once with kCancelled, so a loop must leave on
// it, not retry. Clean-up that has to wait calls ClearCancellation first. Exceptions do not leave a Task. Start tasks
// by TaskGroup or Spawn, not by bare asio::co_spawn: under that, every co_await of a cancelled coroutine throws.
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
#include <boost/asio/cancellation_state.hpp>
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
// The same without a coroutine frame: WasCancelled(co_await asio::this_coro::cancellation_state).
inline bool WasCancelled(const asio::cancellation_state& state) {
  return state.cancelled() != asio::cancellation_type::none;
}

// Forgets the cancellation that came, so that clean-up may await. A later one counts again.
Task<void> ClearCancellation();

// Starts a coroutine that nobody waits for or cancels. `name` appears in the log if it throws (a bug).
void Spawn(asio::any_io_executor executor, std::string name, Task<void> task);

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
  // Until all have ended, whatever happens: members may refer to what the caller owns. If the caller is cancelled, so
  // are the members.
  Task<void> Join();
  size_t size() const;  // members still running

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Runs `task` for at most `limit`, then cancels it, waits for its end and returns kDeadlineExceeded naming `what`. The
// caller's cancellation is passed on.
Task<Status> WithTimeout(std::chrono::nanoseconds limit, std::string_view what, Task<Status> task);

// A level-triggered flag between coroutines: Notify() wakes the waiter, or the next one if none waits. Several notifies
// before a wait count once. One waiter at a time.
class Wakeup {
 public:
  explicit Wakeup(asio::any_io_executor executor);
  ~Wakeup();  // a waiter ends with kCancelled
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  void Notify();
  Task<Status> Wait();                                     // kCancelled when cancelled
  Task<Status> WaitFor(std::chrono::nanoseconds timeout);  // kDeadlineExceeded when nothing came

 private:
  struct State;
  static Task<Status> WaitUntil(std::shared_ptr<State> state, std::chrono::steady_clock::time_point deadline);
  std::shared_ptr<State> state_;
};

// Runs blocking work on the process's small thread pool (blocking_pool.h), where what hangs holds up the rest for a
// quarter of a second, and comes back to the loop with its result. The function must not touch loop state. Cancellation
// does not interrupt work that has begun; the caller waits for it.
Task<Status> RunBlocking(std::function<Status()> work);
template <typename T>
Task<StatusOr<T>> RunBlockingFor(std::function<StatusOr<T>()> work) {
  auto result = std::make_shared<StatusOr<T>>(absl::UnknownError("not run"));
  std::function<Status()> call = [result, work = std::move(work)]() -> Status {
    *result = work();
    return absl::OkStatus();
  };
  Status status = co_await RunBlocking(std::move(call));
  if (!status.ok()) co_return status;
  co_return std::move(*result);
}

}  // namespace skiff

#endif  // SKIFF_BASE_ASYNC_H_
