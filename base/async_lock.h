// Mutual exclusion between coroutines of one loop. First come, first served.
#ifndef SKIFF_BASE_ASYNC_LOCK_H_
#define SKIFF_BASE_ASYNC_LOCK_H_

#include <deque>
#include <memory>

#include "base/async.h"

namespace skiff {

class AsyncLock : public std::enable_shared_from_this<AsyncLock> {
 public:
  // Unlocks when destroyed; keeps the lock alive.
  class Guard {
   public:
    Guard() = default;
    explicit Guard(std::shared_ptr<AsyncLock> lock) : lock_(std::move(lock)) {}
    Guard(Guard&& other) noexcept = default;
    Guard& operator=(Guard&& other) noexcept {
      Reset();
      lock_ = std::move(other.lock_);
      return *this;
    }
    ~Guard() { Reset(); }
    void Reset() {
      if (auto lock = std::move(lock_)) lock->Unlock();
    }

   private:
    std::shared_ptr<AsyncLock> lock_;
  };

  // kCancelled when cancelled while waiting.
  Task<StatusOr<Guard>> Lock() {
    auto self = shared_from_this();
    if (!held_) {
      held_ = true;
      co_return Guard(std::move(self));
    }
    auto turn = std::make_shared<Wakeup>(co_await asio::this_coro::executor);
    waiting_.push_back(turn);
    Status status = co_await turn->Wait();
    if (status.ok()) co_return Guard(std::move(self));  // held_ was handed over
    auto at = std::find(waiting_.begin(), waiting_.end(), turn);
    if (at != waiting_.end()) {
      waiting_.erase(at);
    } else {
      Unlock();  // our turn came together with the cancellation
    }
    co_return status;
  }
  bool held() const { return held_; }

 private:
  void Unlock() {
    if (waiting_.empty()) {
      held_ = false;
      return;
    }
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    next->Notify();
  }

  bool held_ = false;
  std::deque<std::shared_ptr<Wakeup>> waiting_;
};

}  // namespace skiff

#endif  // SKIFF_BASE_ASYNC_LOCK_H_
