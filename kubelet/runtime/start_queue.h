// How many pods the runtime starts at once: a few a core, the oldest pod first. The runtime needs the same time for
// fifty starts whether they run side by side or not, so letting the oldest finish first halves the median. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_START_QUEUE_H_
#define SKIFF_KUBELET_RUNTIME_START_QUEUE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"

namespace skiff::kubelet {

class StartQueue : public std::enable_shared_from_this<StartQueue> {
 public:
  StartQueue(asio::any_io_executor executor, int slots) : executor_(std::move(executor)), free_(slots) {}

  class Slot {
   public:
    Slot() = default;
    explicit Slot(std::shared_ptr<StartQueue> queue) : queue_(std::move(queue)) {}
    Slot(Slot&& o) noexcept = default;
    Slot& operator=(Slot&& o) noexcept {
      Release();
      queue_ = std::move(o.queue_);
      return *this;
    }
    ~Slot() { Release(); }
    void Release() {
      if (auto queue = std::move(queue_)) queue->Give();
    }

   private:
    std::shared_ptr<StartQueue> queue_;
  };

  // `age`: the smaller goes first (the pod's creation time, then its key).
  Task<StatusOr<Slot>> Acquire(std::pair<int64_t, std::string> age) {
    if (free_ > 0 && waiting_.empty()) {
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
  int free_;
  std::multimap<std::pair<int64_t, std::string>, Waiter> waiting_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_START_QUEUE_H_
