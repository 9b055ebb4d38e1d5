#include "controlplane/controllers/work_queue.h"

#include <algorithm>

#include "base/log.h"
#include "client/errors.h"

namespace skiff::controlplane {
namespace {

constexpr std::chrono::milliseconds kFirstRetry{5};
constexpr std::chrono::seconds kMostRetry{1000};

}  // namespace

WorkQueue::WorkQueue(asio::any_io_executor executor, Clock& clock, std::string name, size_t workers, Sync sync)
    : executor_(executor),
      clock_(clock),
      name_(std::move(name)),
      workers_(workers),
      sync_(std::move(sync)),
      wakeup_(std::move(executor)) {}

void WorkQueue::Add(const std::string& key) {
  if (running_.contains(key)) {
    again_.insert(key);
    return;
  }
  if (!queued_.insert(key).second) return;
  ready_.push_back(key);
  Wake();
}

void WorkQueue::AddAfter(const std::string& key, std::chrono::nanoseconds wait) {
  if (wait.count() <= 0) return Add(key);
  const SteadyTime at = clock_.Steady() + wait;
  const auto found = later_at_.find(key);
  if (found != later_at_.end()) {
    if (found->second <= at) return;
    for (auto [it, end] = later_.equal_range(found->second); it != end; ++it) {
      if (it->second == key) {
        later_.erase(it);
        break;
      }
    }
  }
  later_at_[key] = at;
  later_.emplace(at, key);
  Wake();
}

void WorkQueue::AddRateLimited(const std::string& key) {
  const int failures = failures_[key]++;
  std::chrono::nanoseconds wait = kFirstRetry;
  for (int i = 0; i < failures && wait < kMostRetry; ++i) wait *= 2;
  AddAfter(key, std::min<std::chrono::nanoseconds>(wait, kMostRetry));
}

Task<void> WorkQueue::Work(std::string key) {
  const Status status = co_await sync_(key);
  running_.erase(key);
  const bool cancelled = co_await IsCancelled();
  if (status.ok()) {
    failures_.erase(key);
  } else if (!cancelled) {
    if (client::IsConflict(status) || client::IsNamespaceTerminating(status) || absl::IsNotFound(status)) {
      VLOG(2, "Sync failed, will retry", {"controller", name_}, {"key", key}, {"err", status});
    } else {
      LOG_ERROR(status, "Sync failed, will retry", {"controller", name_}, {"key", key});
    }
    AddRateLimited(key);
  }
  if (again_.erase(key) > 0) Add(key);
  Wake();
}

Task<void> WorkQueue::Run() {
  TaskGroup group(executor_);
  while (true) {
    const SteadyTime now = clock_.Steady();
    while (!later_.empty() && later_.begin()->first <= now) {
      const std::string key = later_.begin()->second;
      later_.erase(later_.begin());
      later_at_.erase(key);
      Add(key);
    }
    while (!ready_.empty() && running_.size() < workers_) {
      std::string key = std::move(ready_.front());
      ready_.pop_front();
      queued_.erase(key);
      running_.insert(key);
      group.Spawn(name_, Work(std::move(key)));
    }
    Status status;
    if (later_.empty()) {
      status = co_await wakeup_.Wait();
    } else {
      status = co_await wakeup_.WaitFor(
          std::max<std::chrono::nanoseconds>(later_.begin()->first - clock_.Steady(), std::chrono::milliseconds(1)));
    }
    if (!status.ok() && !absl::IsDeadlineExceeded(status)) break;
  }
  group.Cancel();
  co_await group.Join();
}

}  // namespace skiff::controlplane
