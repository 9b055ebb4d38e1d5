// What a server's connections share: its settings, their registry, and their deadlines. Internal to base.
#ifndef SKIFF_BASE_HTTP_SERVER_CORE_H_
#define SKIFF_BASE_HTTP_SERVER_CORE_H_

#include <array>
#include <chrono>
#include <list>
#include <memory>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "base/http_server.h"

namespace skiff::http {

class Connection;

// What a connection waits for; each kind has one duration, so that deadlines of a kind come due in the order in which
// they were set: a list a kind and one timer for all, instead of a timer a connection armed anew for every request.
enum class Deadline { kHeader, kIdle, kBody, kWatch, kLinger, kCount };

class Deadlines : public std::enable_shared_from_this<Deadlines> {
 public:
  using Place = std::list<std::pair<std::chrono::steady_clock::time_point, Connection*>>::iterator;
  Deadlines(const asio::any_io_executor& executor, const ServerOptions& options);
  // The connection must Clear before it goes.
  Place Set(Connection* connection, Deadline kind);
  void Clear(Deadline kind, Place place) { Of(kind).entries.erase(place); }
  void Stop() { timer_.cancel(); }

 private:
  struct Kind {
    std::chrono::nanoseconds duration{0};
    std::list<std::pair<std::chrono::steady_clock::time_point, Connection*>> entries;
  };
  Kind& Of(Deadline kind) { return kinds_[static_cast<size_t>(kind)]; }
  void Arm(std::chrono::steady_clock::time_point due);
  void Fire();

  asio::steady_timer timer_;
  std::chrono::steady_clock::time_point armed_ = std::chrono::steady_clock::time_point::max();
  uint64_t generation_ = 0;
  std::array<Kind, static_cast<size_t>(Deadline::kCount)> kinds_;
};

struct ServerCore {
  ServerCore(asio::any_io_executor executor, Handler handler, ServerOptions options);
  const std::string& Date();  // for the header, made once a second

  asio::any_io_executor executor;
  Handler handler;
  ServerOptions options;
  std::shared_ptr<Deadlines> deadlines;
  std::list<Connection*> connections;  // each takes itself out when it dies
  std::function<void()> on_connection_end;
  bool stopping = false;

 private:
  time_t date_second_ = 0;
  std::string date_;
};

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_SERVER_CORE_H_
