// For tests: run a coroutine on a loop to its end from a plain function.
#ifndef SKIFF_BASE_ASYNC_TESTING_H_
#define SKIFF_BASE_ASYNC_TESTING_H_

#include <optional>
#include <utility>

#include "base/async.h"

namespace skiff {

namespace async_testing_internal {
template <typename T>
Task<void> Keep(Task<T> task, std::optional<T>* out, asio::io_context* loop) {
  *out = co_await std::move(task);
  loop->stop();
}
inline Task<void> KeepVoid(Task<void> task, bool* done, asio::io_context* loop) {
  co_await std::move(task);
  *done = true;
  loop->stop();
}
}  // namespace async_testing_internal

// Runs the loop until `task` has ended and returns its result; other coroutines stay where they are. Aborts the test
// binary if the loop runs dry first, because the task then waits for nothing.
template <typename T>
T RunTask(asio::io_context& loop, Task<T> task) {
  loop.restart();
  if constexpr (std::is_void_v<T>) {
    bool done = false;
    Spawn(loop.get_executor(), "test", async_testing_internal::KeepVoid(std::move(task), &done, &loop));
    loop.run();
    if (!done) std::abort();
  } else {
    std::optional<T> out;
    Spawn(loop.get_executor(), "test", async_testing_internal::Keep<T>(std::move(task), &out, &loop));
    loop.run();
    if (!out) std::abort();
    return *std::move(out);
  }
}

}  // namespace skiff

#endif  // SKIFF_BASE_ASYNC_TESTING_H_
