// For tests over real sockets on one loop: run it until something holds.
#ifndef SKIFF_CLIENT_TESTING_H_
#define SKIFF_CLIENT_TESTING_H_

#include <functional>

#include "base/async.h"

namespace skiff::client {

// Runs the loop until the condition holds; false after 30 seconds.
inline bool RunUntil(asio::io_context& loop, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  loop.restart();
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    loop.run_one_for(std::chrono::milliseconds(20));
    if (loop.stopped()) loop.restart();
  }
  return true;
}

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_TESTING_H_
