#include "base/http_dial.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <vector>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

namespace skiff::http {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

struct Address {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

// An answer of the system's resolver, shared with all that wait for it: each may leave early.
struct Lookup {
  Status status;
  std::vector<Address> addresses;  // without a port
  bool finished = false;
  std::vector<std::shared_ptr<Wakeup>> waiting;
};

// A loop's look-ups under way. Whoever asks for the same name meanwhile waits for the same answer: a resolver that is
// silent holds one thread a name, however often a probe asks.
class Lookups final : public asio::execution_context::service {
 public:
  static inline asio::execution_context::id id;
  explicit Lookups(asio::execution_context& context) : service(context) {}

  std::shared_ptr<Lookup> Join(const asio::any_io_executor& executor, const std::string& host);

 private:
  void shutdown() override { by_host_.clear(); }
  Task<void> Run(std::shared_ptr<Lookup> lookup, std::string host);

  std::map<std::string, std::shared_ptr<Lookup>> by_host_;
};

Status LookUp(const std::string& host, std::vector<Address>* out) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int err = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (err == EAI_NONAME || err == EAI_BADFLAGS) {  // a host without any configured address still has its loopback
    hints.ai_flags = 0;
    err = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  }
  if (err != 0) {
    const char* why = err == EAI_NONAME || err == EAI_NODATA ? "no such host" : gai_strerror(err);
    return Unavailable("dial tcp: lookup ", host, ": ", why);
  }
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Address address;
    memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.size = info->ai_addrlen;
    out->push_back(address);
  }
  freeaddrinfo(found);
  return absl::OkStatus();
}

std::shared_ptr<Lookup> Lookups::Join(const asio::any_io_executor& executor, const std::string& host) {
  std::shared_ptr<Lookup>& lookup = by_host_[host];
  if (lookup) return lookup;
  lookup = std::make_shared<Lookup>();
  const std::shared_ptr<Lookup> out = lookup;
  Spawn(executor, "lookup", Run(out, host));
  return out;
}

Task<void> Lookups::Run(std::shared_ptr<Lookup> lookup, std::string host) {
  auto addresses = std::make_shared<std::vector<Address>>();
  std::function<Status()> work = [host, addresses] { return LookUp(host, addresses.get()); };
  lookup->status = co_await RunBlocking(std::move(work));
  lookup->addresses = std::move(*addresses);
  lookup->finished = true;
  by_host_.erase(host);
  for (const auto& waiter : lookup->waiting) waiter->Notify();
}

void SetPort(uint16_t port, Address* address) {
  // In the same place in both.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  reinterpret_cast<sockaddr_in&>(address->storage).sin_port = htons(port);
}

bool ParseNumeric(const std::string& host, Address* out) {
  auto& v4 = reinterpret_cast<sockaddr_in&>(out->storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out->storage);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    out->size = sizeof v4;
    return true;
  }
  *out = Address{};
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    out->size = sizeof v6;
    return true;
  }
  return false;
}

Task<StatusOr<std::vector<Address>>> AddressesOf(asio::any_io_executor executor, std::string host, SteadyTime end) {
  const auto lookup = asio::use_service<Lookups>(asio::query(executor, asio::execution::context)).Join(executor, host);
  const auto turn = std::make_shared<Wakeup>(executor);
  lookup->waiting.push_back(turn);
  Status status;
  while (!lookup->finished && status.ok()) {
    const auto left = std::max<std::chrono::nanoseconds>(end - std::chrono::steady_clock::now(), {});
    status = co_await turn->WaitFor(left);
  }
  std::erase(lookup->waiting, turn);
  if (absl::IsDeadlineExceeded(status)) {
    co_return absl::DeadlineExceededError(absl::StrCat("dial tcp: lookup ", host, ": i/o timeout"));
  }
  CO_RETURN_IF_ERROR(status);
  CO_RETURN_IF_ERROR(lookup->status);
  co_return lookup->addresses;
}

Task<StatusOr<std::vector<Address>>> Resolve(asio::any_io_executor executor, Authority authority, SteadyTime end) {
  Address address;
  if (authority.is_unix) {
    auto& local = reinterpret_cast<sockaddr_un&>(address.storage);
    if (authority.host.empty() || authority.host.size() >= sizeof local.sun_path) {
      co_return InvalidArgument("dial unix ", authority.host, ": connect: invalid argument");
    }
    local.sun_family = AF_UNIX;
    memcpy(local.sun_path, authority.host.data(), authority.host.size());
    address.size = sizeof local;
    co_return std::vector<Address>{address};
  }
  uint32_t port = 0;
  if (!absl::SimpleAtoi(authority.port, &port) || port > 65535) {
    co_return Unavailable("dial tcp: lookup ", authority.host, ": unknown port");
  }
  std::vector<Address> addresses;
  if (ParseNumeric(authority.host, &address)) {
    addresses.push_back(address);
  } else {
    CO_ASSIGN_OR_RETURN(addresses, co_await AddressesOf(executor, authority.host, end));
  }
  for (Address& one : addresses) SetPort(static_cast<uint16_t>(port), &one);
  co_return addresses;
}

std::string NameOf(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.storage.ss_family == AF_UNIX) {
    return absl::StrCat("dial unix ", reinterpret_cast<const sockaddr_un&>(address.storage).sun_path);
  }
  if (address.storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return absl::StrCat("dial tcp ", text, ":", ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return absl::StrCat("dial tcp [", text, "]:", ntohs(v6.sin6_port));
}

// Whatever kept us from a connection is "unavailable" to callers; the errno stays readable.
Status ConnectError(int err, const std::string& context) {
  const Status plain = NetError(err, context);
  if (err == ETIMEDOUT) return plain;
  Status out(absl::StatusCode::kUnavailable, plain.message());
  plain.ForEachPayload([&](absl::string_view url, const absl::Cord& value) { out.SetPayload(url, value); });
  return out;
}

Task<StatusOr<std::shared_ptr<Transport>>> ConnectOne(asio::any_io_executor executor, Address address, SteadyTime end,
                                                      std::shared_ptr<TimeLimit> limit) {
  const std::string name = NameOf(address);
  const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return ConnectError(errno, absl::StrCat(name, ": socket"));
  if (address.storage.ss_family != AF_UNIX) TuneTcp(fd);
  const int result = connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size);
  if (result != 0 && errno != EINPROGRESS) {
    const int err = errno;
    close(fd);
    co_return ConnectError(err, absl::StrCat(name, ": connect"));
  }
  CO_ASSIGN_OR_RETURN(std::shared_ptr<Transport> transport, Transport::Adopt(executor, fd));
  if (result == 0) {
    transport->NoteRemote();
    co_return transport;
  }
  const auto own_limit = std::make_shared<TimeLimit>(executor);
  own_limit->Start(end);
  own_limit->Guard(transport);
  limit->Guard(transport);
  const Status waited = co_await transport->WaitWritable();
  own_limit->Stop();
  if (own_limit->expired()) co_return absl::DeadlineExceededError(absl::StrCat(name, ": i/o timeout"));
  CO_RETURN_IF_ERROR(waited, name);
  int err = 0;
  socklen_t size = sizeof err;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
  if (err != 0) co_return ConnectError(err, absl::StrCat(name, ": connect"));
  transport->NoteRemote();
  co_return transport;
}

}  // namespace

Authority Authority::Parse(std::string_view text, std::string_view default_port) {
  Authority out;
  if (text.substr(0, 5) == "unix:") {
    out.is_unix = true;
    out.host = std::string(text.substr(5));
    return out;
  }
  const size_t colon = text.rfind(':');
  const size_t bracket = text.rfind(']');
  const bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  out.host = std::string(has_port ? text.substr(0, colon) : text);
  out.port = std::string(has_port ? text.substr(colon + 1) : default_port);
  if (out.host.size() >= 2 && out.host.front() == '[' && out.host.back() == ']') {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  return out;
}

void TimeLimit::Start(SteadyTime end) {
  end_ = end;
  timer_.expires_at(end);
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
    const auto self = weak.lock();
    if (ec || !self || self->end_ == SteadyTime::max()) return;
    self->expired_ = true;
    if (const auto transport = self->transport_.lock()) transport->Close();
  });
}

void TimeLimit::Stop() {
  end_ = SteadyTime::max();
  transport_.reset();
  timer_.cancel();
}

void TimeLimit::Guard(const std::shared_ptr<Transport>& transport) {
  transport_ = transport;
  if (expired_) transport->Close();
}

Task<StatusOr<std::shared_ptr<Transport>>> Dial(asio::any_io_executor executor, Authority authority, SteadyTime end,
                                                std::shared_ptr<TimeLimit> limit) {
  CO_ASSIGN_OR_RETURN(const std::vector<Address> addresses,
                      co_await Resolve(executor, authority, std::min(end, limit->end())));
  Status first = Unavailable("dial tcp: lookup ", authority.host, ": no such host");
  for (size_t i = 0; i < addresses.size(); ++i) {
    // As Go shares it out: equally, but not below two seconds while there are that many.
    const auto now = std::chrono::steady_clock::now();
    const auto left = end - now;
    const auto share =
        std::max<std::chrono::nanoseconds>(left / static_cast<int64_t>(addresses.size() - i),
                                           std::min<std::chrono::nanoseconds>(left, std::chrono::seconds(2)));
    auto transport = co_await ConnectOne(executor, addresses[i], now + share, limit);
    if (transport.ok()) co_return transport;
    if (i == 0) first = transport.status();
    if (limit->expired() || absl::IsCancelled(transport.status())) co_return transport.status();
  }
  co_return first;
}

Task<StatusOr<int>> DialSocket(asio::any_io_executor executor, Authority authority, SteadyTime end) {
  const auto limit = std::make_shared<TimeLimit>(executor);
  CO_ASSIGN_OR_RETURN(const auto transport, co_await Dial(executor, std::move(authority), end, limit));
  co_return transport->Release();
}

}  // namespace skiff::http
