#include "base/blocking_pool.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "base/log.h"
#include "base/status.h"

namespace skiff {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
using Work = absl::AnyInvocable<void()>;

// Enough for the deepest walk of a volume; below a huge page, which the usual 8 MiB may be given whole.
constexpr size_t kStack = 1024 * 1024;

}  // namespace

// All threads are alike. One that finds work while as many as are `allowed` are held stands by for it: it begins only
// when nothing else was begun meanwhile. So there is such a thread only while something waits, and no timer beside it.
struct BlockingPool::State : std::enable_shared_from_this<BlockingPool::State> {
  struct Item {
    Work work;
    SteadyTime since;
  };

  explicit State(Options given) : options(given), allowed(given.threads) {}

  static void* Main(void* argument) {
    const std::unique_ptr<std::shared_ptr<State>> self(static_cast<std::shared_ptr<State>*>(argument));
    (*self)->Run();
    return nullptr;
  }

  // With the lock held, as the following two.
  bool AddThread() {
    auto argument = std::make_unique<std::shared_ptr<State>>(shared_from_this());
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStack);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    const int err = pthread_create(&thread, &attributes, Main, argument.get());
    pthread_attr_destroy(&attributes);
    if (err != 0) {
      LOG_ERROR(ErrnoStatus(err, "pthread_create"), "Cannot start a thread for work that blocks");
      return false;
    }
    argument.release();
    ++threads;
    return true;
  }

  void WakeOrAdd() {
    const bool too_few = threads < options.threads && threads - busy < queue.size();
    const bool all_held = threads == busy && threads < options.most;
    if ((too_few || all_held) && AddThread()) return;
    wake.notify_one();
  }

  // Of several free threads that stay, one is enough beside those that are held.
  bool IsSurplus() const { return threads > options.threads && threads - busy > 1; }

  void Run() {
    std::unique_lock lock(mutex);
    while (!closed) {
      const SteadyTime now = std::chrono::steady_clock::now();
      if (queue.empty()) {
        if (!IsSurplus()) {
          wake.wait(lock);
        } else if (now < all_needed + options.idle) {
          wake.wait_until(lock, all_needed + options.idle);
        } else {
          break;
        }
        continue;
      }
      if (busy >= allowed) {
        const SteadyTime due = std::max(queue.front().since, begun) + options.patience;
        if (now < due) {
          wake.wait_until(lock, due);
          continue;
        }
        ++allowed;
      }
      Work work = std::move(queue.front().work);
      queue.pop_front();
      begun = now;
      if (++busy == threads) all_needed = now;
      if (!queue.empty()) WakeOrAdd();
      lock.unlock();
      work();
      work = nullptr;
      lock.lock();
      --busy;
    }
    --threads;
    allowed = std::max(options.threads, std::min(allowed, threads));
  }

  const Options options;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Item> queue;
  size_t threads = 0, busy = 0, allowed;
  SteadyTime begun, all_needed;  // when work was last begun, and when all threads last had some
  bool closed = false;
};

BlockingPool::BlockingPool(Options options) : state_(std::make_shared<State>(options)) {}

BlockingPool::~BlockingPool() {
  std::deque<State::Item> dropped;
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  dropped.swap(state_->queue);
  state_->wake.notify_all();
}

void BlockingPool::Post(Work work) {
  const std::lock_guard lock(state_->mutex);
  state_->queue.push_back({std::move(work), std::chrono::steady_clock::now()});
  state_->WakeOrAdd();
}

size_t BlockingPool::threads() const {
  const std::lock_guard lock(state_->mutex);
  return state_->threads;
}

}  // namespace skiff
