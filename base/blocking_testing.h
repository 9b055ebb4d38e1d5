// For tests: RunBlocking (async.h) with an executor of their own.
#ifndef SKIFF_BASE_BLOCKING_TESTING_H_
#define SKIFF_BASE_BLOCKING_TESTING_H_

#include "base/async.h"

namespace skiff {

// While it lives, RunBlocking's work goes to this executor instead of the process's pool. With the loop's own executor
// everything happens in one order, and polling the loop runs all that can run. No work may be under way.
class BlockingOn {
 public:
  explicit BlockingOn(asio::any_io_executor executor);
  ~BlockingOn();
  BlockingOn(const BlockingOn&) = delete;
  BlockingOn& operator=(const BlockingOn&) = delete;
};

}  // namespace skiff

#endif  // SKIFF_BASE_BLOCKING_TESTING_H_
