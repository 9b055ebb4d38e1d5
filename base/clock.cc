#include "base/clock.h"

#include <algorithm>
#include <utility>

#include <boost/asio/steady_timer.hpp>

namespace skiff {
namespace {

class RealClock final : public Clock {
 public:
  WallTime Now() const override { return std::chrono::system_clock::now(); }
  SteadyTime Steady() const override { return std::chrono::steady_clock::now(); }
  Task<Status> Sleep(std::chrono::nanoseconds duration) override { return SleepFor(duration); }
};

}  // namespace

Clock& Clock::Real() {
  static RealClock* const clock = new RealClock;
  return *clock;
}

struct FakeClock::Sleeper {
  Sleeper(const asio::any_io_executor& executor, SteadyTime due) : due(due), timer(executor, SteadyTime::max()) {}
  SteadyTime due;
  asio::steady_timer timer;
  bool woken = false;
  bool orphaned = false;  // the clock is gone
};

FakeClock::FakeClock()
    : wall_(std::chrono::sys_days(std::chrono::year(2026) / 1 / 1)), steady_(std::chrono::hours(1)) {}

FakeClock::~FakeClock() {
  for (const auto& sleeper : sleepers_) {
    sleeper->orphaned = true;
    sleeper->timer.cancel();
  }
}

Task<Status> FakeClock::Sleep(std::chrono::nanoseconds duration) {
  if (co_await IsCancelled()) co_return absl::CancelledError("context canceled");
  const auto executor = co_await asio::this_coro::executor;
  const SteadyTime due = duration > SteadyTime::max() - steady_ ? SteadyTime::max() : steady_ + duration;
  const auto sleeper = std::make_shared<Sleeper>(executor, due);
  // Sorted by time, and by arrival where equal.
  const auto at = std::upper_bound(sleepers_.begin(), sleepers_.end(), sleeper,
                                   [](const auto& a, const auto& b) { return a->due < b->due; });
  sleepers_.insert(at, sleeper);
  while (!sleeper->woken && !sleeper->orphaned) {
    co_await sleeper->timer.async_wait(kAwait);
    if (sleeper->woken || sleeper->orphaned || !co_await IsCancelled()) continue;
    sleepers_.remove(sleeper);
    co_return absl::CancelledError("context canceled");
  }
  if (sleeper->orphaned || co_await IsCancelled()) co_return absl::CancelledError("context canceled");
  co_return absl::OkStatus();
}

void FakeClock::Advance(std::chrono::nanoseconds duration, asio::io_context& loop) {
  const SteadyTime target = steady_ + duration;
  const auto settle = [&loop] {
    if (loop.stopped()) loop.restart();
    loop.poll();
  };
  const auto move_to = [this](SteadyTime time) {
    wall_ += std::chrono::duration_cast<WallTime::duration>(time - steady_);
    steady_ = time;
  };
  settle();  // what is ready may want to sleep first
  // One due time after the other, so that who sleeps again within the span is woken again, at its own time.
  while (!sleepers_.empty() && sleepers_.front()->due <= target) {
    move_to(std::max(steady_, sleepers_.front()->due));
    while (!sleepers_.empty() && sleepers_.front()->due <= steady_) {
      const auto sleeper = sleepers_.front();
      sleepers_.pop_front();
      sleeper->woken = true;
      sleeper->timer.cancel();
    }
    settle();
  }
  move_to(target);
}

}  // namespace skiff
