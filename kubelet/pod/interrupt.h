// Lets a pod's worker be stopped while it waits for something that may take long (volumes, an image, a hook), and not
// in the middle of a call whose outcome must be known. Loop only.
#ifndef SKIFF_KUBELET_POD_INTERRUPT_H_
#define SKIFF_KUBELET_POD_INTERRUPT_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"

namespace skiff::kubelet {

class Interrupt {
 public:
  void Stop() {
    stopped_ = true;
    if (cancel_) cancel_();
  }
  void Reset() { stopped_ = false; }
  bool stopped() const { return stopped_; }

  // Runs `task`, cancelled by Stop. Do not start it when already stopped. T is a status or a StatusOr: an error when
  // the task throws.
  template <typename T>
  static Task<T> Run(std::shared_ptr<Interrupt> self, Task<T> task) {
    auto executor = co_await asio::this_coro::executor;
    auto result = std::make_shared<T>(absl::InternalError("the step threw an exception"));
    TaskGroup group(executor);
    self->cancel_ = group.Spawn("interruptible", Keep<T>(std::move(task), result));
    if (self->stopped_) self->cancel_();
    co_await group.Join();
    self->cancel_ = nullptr;
    co_return std::move(*result);
  }

 private:
  template <typename T>
  static Task<void> Keep(Task<T> task, std::shared_ptr<T> result) {
    *result = co_await std::move(task);
  }

  bool stopped_ = false;
  std::function<void()> cancel_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_INTERRUPT_H_
