// Threads for what blocks: a few, and more where those are held by what does not come back (a dead mount, a name server
// that is silent). Any thread may call.
#ifndef SKIFF_BASE_BLOCKING_POOL_H_
#define SKIFF_BASE_BLOCKING_POOL_H_

#include <chrono>
#include <cstddef>
#include <memory>

#include "absl/functional/any_invocable.h"

namespace skiff {

class BlockingPool {
 public:
  struct Options {
    size_t threads = 2;
    size_t most = 64;
    // While work waits and none was begun for so long, one thread more may work.
    std::chrono::milliseconds patience{250};
    // What was not needed for so long ends.
    std::chrono::milliseconds idle{10'000};
  };

  explicit BlockingPool(Options options);
  // Drops what has not begun, and does not wait for what has.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  void Post(absl::AnyInvocable<void()> work);
  size_t threads() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace skiff

#endif  // SKIFF_BASE_BLOCKING_POOL_H_
