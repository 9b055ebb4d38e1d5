// Connections to a named or numbered address, and the time limits of a request. Internal to base but for DialSocket.
#ifndef SKIFF_BASE_HTTP_DIAL_H_
#define SKIFF_BASE_HTTP_DIAL_H_

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/steady_timer.hpp>

#include "base/http_transport.h"

namespace skiff::http {

// "host:port", "[v6]:port", "host" (with a default port) or "unix:/path", taken apart.
struct Authority {
  bool is_unix = false;
  std::string host;  // without brackets; the path of a unix socket
  std::string port;
  static Authority Parse(std::string_view text, std::string_view default_port);
};

// A time limit on whatever is done with one connection: when it is up the connection is closed, and what waits on it
// ends. A timer with a callback rather than a second coroutine: every probe has one.
class TimeLimit : public std::enable_shared_from_this<TimeLimit> {
 public:
  explicit TimeLimit(const asio::any_io_executor& executor) : timer_(executor) {}
  void Start(std::chrono::steady_clock::time_point end);
  void Stop();
  void Guard(const std::shared_ptr<Transport>& transport);
  bool expired() const { return expired_; }
  std::chrono::steady_clock::time_point end() const { return end_; }

 private:
  asio::steady_timer timer_;
  std::weak_ptr<Transport> transport_;
  std::chrono::steady_clock::time_point end_ = std::chrono::steady_clock::time_point::max();
  bool expired_ = false;
};

// Tries every address the name has, each with its share of the time until `end`. `limit` is the request's own.
Task<StatusOr<std::shared_ptr<Transport>>> Dial(asio::any_io_executor executor, Authority authority,
                                                std::chrono::steady_clock::time_point end,
                                                std::shared_ptr<TimeLimit> limit);

// The same for what speaks no HTTP: a non-blocking socket.
Task<StatusOr<int>> DialSocket(asio::any_io_executor executor, Authority authority,
                               std::chrono::steady_clock::time_point end);

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_DIAL_H_
