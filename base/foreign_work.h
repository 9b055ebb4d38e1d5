// Blocking work on what is not the program's own and may not answer for days: a path of the host on a dead file server.
// It runs on RunBlocking's threads (async.h), but whoever waits for it may leave, and no more than a share of the
// threads is ever held by it. Loop only.
#ifndef SKIFF_BASE_FOREIGN_WORK_H_
#define SKIFF_BASE_FOREIGN_WORK_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/execution_context.hpp>

#include "base/async.h"

namespace skiff {

// One a loop.
class ForeignWork final : public asio::execution_context::service {
 public:
  struct Options {
    size_t most = 16;  // at once, a quarter of the pool's threads
    // How long a piece waits while so many are held. What is only slow makes room in that time.
    std::chrono::nanoseconds patience = std::chrono::seconds(10);
  };

  static inline asio::execution_context::id id;
  explicit ForeignWork(asio::execution_context& context) : ForeignWork(context, Options{}) {}
  ForeignWork(asio::execution_context& context, Options options) : service(context), options_(options) {}
  static ForeignWork& Of(const asio::any_io_executor& executor);

  // One piece a `key` is under way: who asks for the same meanwhile gets its result. kCancelled at once when the caller
  // is cancelled; the work goes on, so what it touches must be its own. kResourceExhausted when too many others hang.
  // `keep` lives until the work has ended, and is let go on the loop.
  Task<Status> Run(std::string key, std::function<Status()> work, std::shared_ptr<void> keep = nullptr);

 private:
  struct Piece {
    Status result;
    bool finished = false;
    std::vector<std::shared_ptr<Wakeup>> waiting;
  };

  void shutdown() override;
  Task<void> Do(std::shared_ptr<Piece> piece, std::string key, std::function<Status()> work,
                std::shared_ptr<void> keep);
  Task<Status> TakePlace();
  void GivePlace();

  const Options options_;
  std::map<std::string, std::shared_ptr<Piece>> pieces_;
  size_t held_ = 0;
  std::deque<std::shared_ptr<Wakeup>> queue_;  // for a place
};

}  // namespace skiff

#endif  // SKIFF_BASE_FOREIGN_WORK_H_
