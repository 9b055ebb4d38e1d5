#include "base/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "base/http_connection.h"
#include "base/http_server_core.h"
#include "base/log.h"

namespace skiff::http {

Deadlines::Deadlines(const asio::any_io_executor& executor, const ServerOptions& options) : timer_(executor) {
  Of(Deadline::kHeader).duration = options.header_timeout;
  Of(Deadline::kIdle).duration = options.idle_timeout;
  Of(Deadline::kBody).duration = options.body_timeout;
  // Most handlers are done long before; only those that are not have their peers watched.
  Of(Deadline::kWatch).duration = std::chrono::milliseconds(100);
  Of(Deadline::kLinger).duration = std::chrono::milliseconds(500);
}

Deadlines::Place Deadlines::Set(Connection* connection, Deadline kind) {
  Kind& of = Of(kind);
  const auto due = std::chrono::steady_clock::now() + of.duration;
  const auto place = of.entries.insert(of.entries.end(), {due, connection});
  if (due < armed_) Arm(due);
  return place;
}

void Deadlines::Arm(std::chrono::steady_clock::time_point due) {
  armed_ = due;
  timer_.expires_at(due);
  timer_.async_wait([weak = weak_from_this(), generation = ++generation_](const boost::system::error_code& ec) {
    const auto self = weak.lock();
    if (self && !ec && generation == self->generation_) self->Fire();
  });
}

void Deadlines::Fire() {
  const auto now = std::chrono::steady_clock::now();
  auto next = std::chrono::steady_clock::time_point::max();
  armed_ = std::chrono::steady_clock::time_point::max();
  for (size_t i = 0; i < kinds_.size(); ++i) {
    auto& entries = kinds_[i].entries;
    while (!entries.empty() && entries.front().first <= now) {
      Connection* const connection = entries.front().second;
      entries.pop_front();
      connection->OnDeadline(static_cast<Deadline>(i));
    }
    if (!entries.empty()) next = std::min(next, entries.front().first);
  }
  if (next < armed_) Arm(next);
}

ServerCore::ServerCore(asio::any_io_executor executor, Handler handler, ServerOptions options)
    : executor(executor),
      handler(std::move(handler)),
      options(options),
      deadlines(std::make_shared<Deadlines>(executor, options)) {}

const std::string& ServerCore::Date() {
  const time_t now = time(nullptr);
  if (now != date_second_ || date_.empty()) {
    date_second_ = now;
    date_ = FormatDate(std::chrono::system_clock::from_time_t(now));
  }
  return date_;
}

namespace {

struct Listener {
  explicit Listener(const asio::any_io_executor& executor) : descriptor(executor), room(executor) {}
  asio::posix::stream_descriptor descriptor;
  std::shared_ptr<TlsServerConfig> tls;
  std::string unix_path;  // removed at the end
  Wakeup room;            // a connection has ended
  bool closed = false;

  void Close() {
    if (std::exchange(closed, true)) return;
    boost::system::error_code ignored;
    descriptor.close(ignored);
    if (!unix_path.empty()) unlink(unix_path.c_str());
    room.Notify();
  }
};

struct Endpoint {
  sockaddr_storage address = {};
  socklen_t size = 0;
  bool dual = false;  // IPv6 that takes IPv4 too
};

StatusOr<Endpoint> ParseEndpoint(std::string_view text) {
  Endpoint endpoint;
  if (text.substr(0, 5) == "unix:") {
    const std::string_view path = text.substr(5);
    auto& local = reinterpret_cast<sockaddr_un&>(endpoint.address);
    if (path.empty() || path.size() >= sizeof local.sun_path) {
      return InvalidArgument("listen unix ", path, ": bind: invalid argument");
    }
    local.sun_family = AF_UNIX;
    memcpy(local.sun_path, path.data(), path.size());
    endpoint.size = sizeof local;
    return endpoint;
  }
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == std::string_view::npos)
    return InvalidArgument("listen tcp: address ", text, ": missing port in address");
  if (!absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 65535) {
    return InvalidArgument("listen tcp: address ", text.substr(colon + 1), ": invalid port");
  }
  std::string host(text.substr(0, colon));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  auto& v4 = reinterpret_cast<sockaddr_in&>(endpoint.address);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(endpoint.address);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<uint16_t>(port));
    endpoint.size = sizeof v4;
    return endpoint;
  }
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(static_cast<uint16_t>(port));
  endpoint.size = sizeof v6;
  if (host.empty() || host == "::") {
    endpoint.dual = true;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) {
    return InvalidArgument("listen tcp: lookup ", host, ": no such host");
  }
  return endpoint;
}

// A socket file that nobody answers on is left over from a crash.
void RemoveStaleSocket(const Endpoint& endpoint) {
  const char* path = reinterpret_cast<const sockaddr_un&>(endpoint.address).sun_path;
  struct stat st;
  if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode)) return;
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  const int result = connect(fd, reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.size);
  if (result != 0 && errno == ECONNREFUSED) unlink(path);
  close(fd);
}

Status ListenError(int err, std::string_view network, std::string_view address, std::string_view call) {
  const Status plain = NetError(err, absl::StrCat("listen ", network, " ", address, ": ", call));
  if (err != EADDRINUSE) return plain;
  Status out(absl::StatusCode::kFailedPrecondition, plain.message());
  plain.ForEachPayload([&](absl::string_view url, const absl::Cord& value) { out.SetPayload(url, value); });
  return out;
}

StatusOr<int> OpenListener(std::string_view address, const Endpoint& endpoint) {
  const int family = endpoint.address.ss_family;
  const std::string_view network = family == AF_UNIX ? "unix" : "tcp";
  if (family == AF_UNIX) address.remove_prefix(5);
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return ListenError(errno, network, address, "socket");
  if (family == AF_UNIX) {
    RemoveStaleSocket(endpoint);
  } else {
    const int on = 1, only = endpoint.dual ? 0 : 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  const char* call = "bind";
  int result = bind(fd, reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.size);
  if (result == 0) {
    call = "listen";
    result = listen(fd, SOMAXCONN);
  }
  if (result == 0) return fd;
  const int err = errno;
  close(fd);
  return ListenError(err, network, address, call);
}

uint16_t PortOf(int fd) {
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  if (bound.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in&>(bound).sin_port);
  if (bound.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(bound).sin6_port);
  return 0;
}

bool IsTransient(int err) { return err == ECONNABORTED || err == EINTR || err == EPROTO; }

void StartConnection(const std::shared_ptr<ServerCore>& core, const Listener& listener, int fd) {
  if (listener.unix_path.empty()) TuneTcp(fd);
  auto transport = Transport::Adopt(core->executor, fd);
  if (!transport.ok()) {
    LOG_ERROR(transport.status(), "Failed to take an HTTP connection");
    return;
  }
  Connection::Start(std::make_shared<Connection>(core, *std::move(transport)), listener.tls);
}

Task<void> AcceptLoop(std::shared_ptr<ServerCore> core, std::shared_ptr<Listener> listener) {
  auto backoff = std::chrono::milliseconds(5);
  for (int unbroken = 0; !listener->closed;) {
    if (++unbroken > 64) {  // a flood of connections must not keep the rest of the loop waiting
      unbroken = 0;
      co_await asio::post(asio::use_awaitable);
    }
    if (core->connections.size() >= core->options.max_connections) {
      if (!(co_await listener->room.Wait()).ok()) co_return;
      continue;
    }
    const int fd = accept4(listener->descriptor.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      backoff = std::chrono::milliseconds(5);
      StartConnection(core, *listener, fd);
      continue;
    }
    const int err = errno;
    if (IsTransient(err)) continue;
    if (err == EAGAIN) {
      const auto [ec] = co_await listener->descriptor.async_wait(asio::posix::descriptor_base::wait_read, kAwait);
      if (ec) co_return;
      unbroken = 0;
      continue;
    }
    // Out of descriptors or memory: connections wait in the kernel until some are free again.
    LOG_ERROR(NetError(err, "accept"), "HTTP accept error; retrying", {"milliseconds", backoff.count()});
    if (!(co_await SleepFor(backoff)).ok()) co_return;
    backoff = std::min(backoff * 2, std::chrono::milliseconds(1000));
  }
}

}  // namespace

struct Server::Impl {
  Impl(asio::any_io_executor executor, Handler handler, ServerOptions options)
      : core(std::make_shared<ServerCore>(executor, std::move(handler), options)), ended(executor) {}

  void StopListening() {
    core->stopping = true;
    for (const auto& listener : listeners) listener->Close();
  }

  // Connections end on the loop, none within these calls.
  void CloseConnections(bool idle_only) {
    for (Connection* connection : core->connections) {
      if (!idle_only || connection->idle()) connection->Abort();
    }
  }

  std::shared_ptr<ServerCore> core;
  std::vector<std::shared_ptr<Listener>> listeners;
  Wakeup ended;
};

Server::Server(asio::any_io_executor executor, Handler handler, ServerOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(handler), options)) {
  impl_->core->on_connection_end = [weak = std::weak_ptr<Impl>(impl_)] {
    const auto impl = weak.lock();
    if (!impl) return;
    if (impl->core->stopping) impl->ended.Notify();
    if (impl->core->connections.size() + 1 < impl->core->options.max_connections) return;
    for (const auto& listener : impl->listeners) listener->room.Notify();
  };
}

Server::~Server() {
  impl_->StopListening();
  impl_->CloseConnections(false);
  impl_->core->deadlines->Stop();
}

StatusOr<uint16_t> Server::Listen(std::string_view address, std::shared_ptr<TlsServerConfig> tls) {
  ASSIGN_OR_RETURN(Endpoint endpoint, ParseEndpoint(address));
  StatusOr<int> fd = OpenListener(address, endpoint);
  if (!fd.ok() && endpoint.dual && ErrnoOf(fd.status()) == EAFNOSUPPORT) {  // a kernel without IPv6
    const uint16_t port = reinterpret_cast<sockaddr_in6&>(endpoint.address).sin6_port;
    endpoint = Endpoint{};
    auto& v4 = reinterpret_cast<sockaddr_in&>(endpoint.address);
    v4.sin_family = AF_INET;
    v4.sin_port = port;
    endpoint.size = sizeof v4;
    fd = OpenListener(address, endpoint);
  }
  RETURN_IF_ERROR(fd);
  auto listener = std::make_shared<Listener>(impl_->core->executor);
  boost::system::error_code ec;
  listener->descriptor.assign(*fd, ec);
  if (ec) {
    close(*fd);
    return Outcome(ec, absl::StrCat("listen ", address));
  }
  listener->tls = std::move(tls);
  if (endpoint.address.ss_family == AF_UNIX) listener->unix_path = std::string(address.substr(5));
  impl_->listeners.push_back(listener);
  Spawn(impl_->core->executor, "http accept", AcceptLoop(impl_->core, listener));
  return PortOf(*fd);
}

Task<void> Server::Shutdown(std::chrono::nanoseconds grace) {
  const auto impl = impl_;
  impl->StopListening();
  impl->CloseConnections(true);
  const auto wait_until = [](std::chrono::steady_clock::time_point end) {
    return std::max<std::chrono::nanoseconds>(end - std::chrono::steady_clock::now(), std::chrono::nanoseconds(0));
  };
  const auto now = std::chrono::steady_clock::now();
  while (!impl->core->connections.empty()) {
    if (!(co_await impl->ended.WaitFor(wait_until(now + grace))).ok()) break;
  }
  if (impl->core->connections.empty()) co_return;
  impl->CloseConnections(false);
  // Handlers end soon after they are cancelled; one that does not is left to itself.
  const auto aborted = std::chrono::steady_clock::now();
  co_await ClearCancellation();
  while (!impl->core->connections.empty()) {
    if (!(co_await impl->ended.WaitFor(wait_until(aborted + std::chrono::seconds(1)))).ok()) break;
  }
}

size_t Server::connections() const { return impl_->core->connections.size(); }

}  // namespace skiff::http
