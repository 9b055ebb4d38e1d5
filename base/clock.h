// Time behind a door: code that waits or compares times takes a Clock, tests pass a FakeClock that they advance.
// Wall time is for what people and other machines read; timers use the steady clock, so that a jump of the wall clock
// breaks none. Used on the loop only.
#ifndef SKIFF_BASE_CLOCK_H_
#define SKIFF_BASE_CLOCK_H_

#include <chrono>
#include <list>
#include <memory>

#include "base/async.h"

namespace skiff {

using WallTime = std::chrono::system_clock::time_point;
using SteadyTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() const = 0;
  virtual SteadyTime Steady() const = 0;
  // kCancelled when the calling coroutine is cancelled first.
  virtual Task<Status> Sleep(std::chrono::nanoseconds duration) = 0;

  static Clock& Real();
};

// Starts at 2026-01-01T00:00:00Z and moves only by Advance (both clocks) or JumpWall (wall only).
class FakeClock final : public Clock {
 public:
  FakeClock();
  ~FakeClock() override;  // sleepers end with kCancelled
  WallTime Now() const override { return wall_; }
  SteadyTime Steady() const override { return steady_; }
  Task<Status> Sleep(std::chrono::nanoseconds duration) override;

  // Moves time and lets every sleeper whose time has come run on the given loop until nothing is ready any more.
  void Advance(std::chrono::nanoseconds duration, asio::io_context& loop);
  void JumpWall(std::chrono::nanoseconds by) { wall_ += std::chrono::duration_cast<WallTime::duration>(by); }
  size_t sleepers() const { return sleepers_.size(); }

 private:
  struct Sleeper;
  WallTime wall_;
  SteadyTime steady_;
  std::list<std::shared_ptr<Sleeper>> sleepers_;
};

}  // namespace skiff

#endif  // SKIFF_BASE_CLOCK_H_
