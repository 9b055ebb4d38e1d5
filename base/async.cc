#include "base/async.h"

#include <exception>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/blocking_pool.h"
#include "base/blocking_testing.h"
#include "base/log.h"

namespace skiff {
namespace {

constexpr auto kTerminal = asio::cancellation_type::terminal;
constexpr auto kNever = std::chrono::steady_clock::time_point::max();

Status Cancelled() { return absl::CancelledError("context canceled"); }

// now + duration without overflow.
std::chrono::steady_clock::time_point After(std::chrono::nanoseconds duration) {
  const auto now = std::chrono::steady_clock::now();
  if (duration > kNever - now) return kNever;
  return now + duration;
}

// "" when `error` only says that a cancelled task was never begun (Asio throws that before its first line).
std::string Describe(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& e) {
    return e.code() == asio::error::operation_aborted ? "" : e.what();
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown exception";
  }
}

void LogThrown(std::exception_ptr error, const std::string& name) {
  if (!error) return;
  const std::string what = Describe(error);
  if (!what.empty()) LOG_ERROR(absl::InternalError(what), "Task ended by an exception", {"task", name});
}

// The root of every coroutine: switches off Asio's habit of throwing from each co_await after a cancellation.
Task<void> Root(Task<void> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await std::move(task);
}

Task<Status> StatusRoot(Task<Status> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_return co_await std::move(task);
}

}  // namespace

Status Outcome(const boost::system::error_code& ec, std::string_view context) {
  if (!ec) return absl::OkStatus();
  if (ec == asio::error::operation_aborted) return absl::CancelledError(absl::StrCat(context, ": context canceled"));
  if (ec == asio::error::eof) return absl::OutOfRangeError(absl::StrCat(context, ": EOF"));
  if (ec.category() == boost::system::system_category() || ec.category() == boost::system::generic_category()) {
    return ErrnoStatus(ec.value(), context);
  }
  return absl::InternalError(absl::StrCat(context, ": ", ec.message()));
}

Task<Status> SleepFor(std::chrono::nanoseconds duration) {
  if (WasCancelled(co_await asio::this_coro::cancellation_state)) co_return Cancelled();
  asio::steady_timer timer(co_await asio::this_coro::executor, After(duration));
  const auto [ec] = co_await timer.async_wait(kAwait);
  if (ec || WasCancelled(co_await asio::this_coro::cancellation_state)) co_return Cancelled();
  co_return absl::OkStatus();
}

Task<bool> IsCancelled() { co_return WasCancelled(co_await asio::this_coro::cancellation_state); }

Task<void> ClearCancellation() { co_await asio::this_coro::reset_cancellation_state(); }

void Spawn(asio::any_io_executor executor, std::string name, Task<void> task) {
  asio::co_spawn(executor, Root(std::move(task)),
                 [name = std::move(name)](std::exception_ptr error) { LogThrown(error, name); });
}

struct TaskGroup::State {
  struct Member {
    std::string name;
    asio::cancellation_signal signal;
  };
  explicit State(asio::any_io_executor executor) : executor(executor), empty(executor, kNever) {}

  void Cancel() {
    const auto copy = members;  // a member may end, and others be spawned, while we walk
    for (const auto& member : copy) member->signal.emit(kTerminal);
  }

  asio::any_io_executor executor;
  asio::steady_timer empty;  // cancelled (waking all joiners) when the last member ends
  std::list<std::shared_ptr<Member>> members;
};

TaskGroup::TaskGroup(asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

TaskGroup::~TaskGroup() { state_->Cancel(); }

std::function<void()> TaskGroup::Spawn(std::string name, Task<void> task) {
  auto member = std::make_shared<State::Member>();
  member->name = std::move(name);
  const auto where = state_->members.insert(state_->members.end(), member);
  // The signal must outlive the coroutine: its completion handler owns the member.
  auto on_end = [state = state_, member, where](std::exception_ptr error) {
    LogThrown(error, member->name);
    state->members.erase(where);
    if (state->members.empty()) state->empty.cancel();
  };
  asio::co_spawn(state_->executor, Root(std::move(task)),
                 asio::bind_cancellation_slot(member->signal.slot(), std::move(on_end)));
  return [weak = std::weak_ptr<State::Member>(member)] {
    if (const auto member = weak.lock()) member->signal.emit(kTerminal);
  };
}

void TaskGroup::Cancel() { state_->Cancel(); }

Task<void> TaskGroup::Join() {
  const auto state = state_;
  if (WasCancelled(co_await asio::this_coro::cancellation_state)) state->Cancel();
  while (!state->members.empty()) {
    co_await state->empty.async_wait(kAwait);
    if (!state->members.empty() && WasCancelled(co_await asio::this_coro::cancellation_state)) state->Cancel();
  }
}

size_t TaskGroup::size() const { return state_->members.size(); }

namespace {

struct Timed {
  explicit Timed(const asio::any_io_executor& executor) : timer(executor) {}
  asio::steady_timer timer;
  asio::cancellation_signal signal;
  bool done = false;
  Status result;
};

}  // namespace

Task<Status> WithTimeout(std::chrono::nanoseconds limit, std::string_view what, Task<Status> task) {
  if (WasCancelled(co_await asio::this_coro::cancellation_state)) co_return Cancelled();
  const auto executor = co_await asio::this_coro::executor;
  const auto timed = std::make_shared<Timed>(executor);
  const std::string name(what);
  auto on_end = [timed, name](std::exception_ptr error, Status status) {
    LogThrown(error, name);
    timed->done = true;
    timed->result = error ? (Describe(error).empty() ? Cancelled() : Internal(name, ": ", Describe(error))) : status;
    timed->timer.cancel();
  };
  asio::co_spawn(executor, StatusRoot(std::move(task)),
                 asio::bind_cancellation_slot(timed->signal.slot(), std::move(on_end)));
  bool expired = false;
  if (!timed->done) {
    timed->timer.expires_at(After(limit));
    const auto [ec] = co_await timed->timer.async_wait(kAwait);
    expired = !ec && !timed->done;
  }
  // Its end is awaited even then: it may refer to our caller's variables.
  while (!timed->done) {
    timed->signal.emit(kTerminal);
    timed->timer.expires_at(kNever);
    co_await timed->timer.async_wait(kAwait);
  }
  if (expired) co_return absl::DeadlineExceededError(absl::StrCat(name, ": context deadline exceeded"));
  co_return timed->result;
}

struct Wakeup::State {
  explicit State(const asio::any_io_executor& executor) : timer(executor) {}
  asio::steady_timer timer;
  bool set = false;
  bool waiting = false;
  bool closed = false;
};

Wakeup::Wakeup(asio::any_io_executor executor) : state_(std::make_shared<State>(executor)) {}

Wakeup::~Wakeup() {
  state_->closed = true;
  state_->timer.cancel();
}

void Wakeup::Notify() {
  state_->set = true;
  if (state_->waiting) state_->timer.cancel();
}

Task<Status> Wakeup::WaitUntil(std::shared_ptr<State> state, std::chrono::steady_clock::time_point deadline) {
  bool expired = false;
  while (true) {
    if (state->closed || WasCancelled(co_await asio::this_coro::cancellation_state)) co_return Cancelled();
    if (std::exchange(state->set, false)) co_return absl::OkStatus();
    if (expired) co_return absl::DeadlineExceededError("timed out waiting");
    state->timer.expires_at(deadline);
    state->waiting = true;
    const auto [ec] = co_await state->timer.async_wait(kAwait);
    state->waiting = false;
    expired = !ec;
  }
}

Task<Status> Wakeup::Wait() { return WaitUntil(state_, kNever); }
Task<Status> Wakeup::WaitFor(std::chrono::nanoseconds timeout) { return WaitUntil(state_, After(timeout)); }

namespace {

std::optional<asio::any_io_executor> g_blocking;  // a test's

// The pool is started on first use and never ended: work that hangs must not keep the program from ending.
void PostBlocking(absl::AnyInvocable<void()> work) {
  if (g_blocking) return asio::post(*g_blocking, std::move(work));
  static auto* const pool = new BlockingPool({});
  pool->Post(std::move(work));
}

Status RunCaught(const std::function<Status()>& work) {
  try {
    return work();
  } catch (const std::exception& e) {
    return Internal("blocking work threw: ", e.what());
  } catch (...) {
    return Internal("blocking work threw");
  }
}

// Carries the coroutine to the pool and back. The pool's thread must be wholly out of the loop's post() before the
// coroutine goes on, because that may end the loop (a test's, say) under it: hence the lock around the post.
struct InitiateBlocking {
  template <typename Handler>
  void operator()(Handler&& handler, std::function<Status()> work) const {
    // Tracked: the loop does not run dry meanwhile.
    auto loop = asio::prefer(asio::get_associated_executor(handler), asio::execution::outstanding_work.tracked);
    auto posting = std::make_shared<std::mutex>();
    PostBlocking([loop = std::move(loop), posting = std::move(posting), work = std::move(work),
                  handler = std::forward<Handler>(handler)]() mutable {
      Status status = RunCaught(work);
      work = nullptr;  // what it captured dies here, as documented: before the caller goes on
      const std::lock_guard lock(*posting);
      const auto target = std::move(loop);
      asio::post(target, [posting, handler = std::move(handler), status = std::move(status)]() mutable {
        { const std::lock_guard until_posted(*posting); }
        std::move(handler)(std::move(status));
      });
    });
  }
};

}  // namespace

BlockingOn::BlockingOn(asio::any_io_executor executor) { g_blocking = std::move(executor); }
BlockingOn::~BlockingOn() { g_blocking.reset(); }

Task<Status> RunBlocking(std::function<Status()> work) {
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>&, void(Status)>(
      InitiateBlocking{}, asio::use_awaitable, std::move(work));
}

}  // namespace skiff
