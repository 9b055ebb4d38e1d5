// How many pods the runtime starts at once: hardly more than there are cores, the oldest pod first. The runtime needs
// the same time for fifty starts whether they run side by side or not, so letting the oldest finish first halves the
// median. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_START_QUEUE_H_
#define SKIFF_KUBELET_RUNTIME_START_QUEUE_H_

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"

namespace skiff::kubelet {

class StartQueue : public std::enable_shared_from_this<StartQueue> {
 public:
  // `longest` (0: for ever): a slot is free again after so long. A call that hangs (a network plugin that waits for
  // something) must not keep others from starting, perhaps what it waits for.
  StartQueue(asio::any_io_executor executor, int slots, std::chrono::milliseconds longest = {})
      : executor_(std::move(executor)), slots_(slots), free_(slots), longest_(longest) {}

  // Held over one or more calls to the runtime, but no longer than the queue lets it.
  class Slot {
   public:
    Slot() = default;
    explicit Slot(std::shared_ptr<StartQueue> queue) : lease_(std::make_shared<Lease>(std::move(queue))) {
      if (lease_->queue->longest_.count() == 0) return;
      lease_->timer.expires_after(lease_->queue->longest_);
      lease_->timer.async_wait([weak = std::weak_ptr<Lease>(lease_)](boost::system::error_code ec) {
        if (auto lease = weak.lock(); lease != nullptr && !ec) lease->End();
      });
    }
    Slot(Slot&& o) noexcept = default;
    Slot& operator=(Slot&& o) noexcept {
      Release();
      lease_ = std::move(o.lease_);
      return *this;
    }
    ~Slot() { Release(); }
    void Release() {
      if (auto lease = std::move(lease_)) lease->End();
    }

   private:
    struct Lease {
      explicit Lease(std::shared_ptr<StartQueue> q) : queue(std::move(q)), timer(queue->executor_) {}
      void End() {
        if (auto ended = std::move(queue)) ended->Give();
      }
      std::shared_ptr<StartQueue> queue;
      asio::steady_timer timer;
    };
    std::shared_ptr<Lease> lease_;
  };

  // `age`: the smaller goes first (the pod's creation time, then its key).
  Task<StatusOr<Slot>> Acquire(std::pair<int64_t, std::string> age) {
    // None is free while somebody waits in vain; who waits still, but for its turn to run, has one already.
    if (free_ > 0) {
      --free_;
      co_return Slot(shared_from_this());
    }
    auto wakeup = std::make_shared<Wakeup>(executor_);
    auto it = waiting_.emplace(std::move(age), Waiter{wakeup, false});
    Status waited = co_await wakeup->Wait();
    bool granted = it->second.granted;
    waiting_.erase(it);
    if (granted) {
      Slot slot(shared_from_this());
      if (!waited.ok()) co_return waited;  // the slot goes back by itself
      co_return slot;
    }
    co_return waited.ok() ? absl::CancelledError("no slot") : waited;
  }

  // Something starts, or waits for it.
  bool busy() const { return free_ < slots_; }

 private:
  struct Waiter {
    std::shared_ptr<Wakeup> wakeup;
    bool granted;
  };
  void Give() {
    for (auto& [age, waiter] : waiting_) {
      if (waiter.granted) continue;
      waiter.granted = true;
      waiter.wakeup->Notify();
      return;
    }
    ++free_;
  }

  asio::any_io_executor executor_;
  const int slots_;
  int free_;
  std::chrono::milliseconds longest_;
  std::multimap<std::pair<int64_t, std::string>, Waiter> waiting_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_START_QUEUE_H_
