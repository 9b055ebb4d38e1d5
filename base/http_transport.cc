#include "base/http_transport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <boost/asio/post.hpp>

#include "base/tls_internal.h"

namespace skiff::http {
namespace {

constexpr uint8_t kUnbrokenLimit = 32;
constexpr size_t kRecord = 16 * 1024;

Status ClosedError() { return absl::CancelledError("use of closed network connection"); }

std::string AddressText(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return absl::StrCat(text, ":", ntohs(v4.sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {  // a dual-stack listener's IPv4 clients read as such
      inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, text, sizeof text);
      return absl::StrCat(text, ":", ntohs(v6.sin6_port));
    }
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return absl::StrCat("[", text, "]:", ntohs(v6.sin6_port));
  }
  return "";
}

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL; this one cannot raise SIGPIPE. Its data is the descriptor.
int BioFd(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

int BioWrite(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = send(BioFd(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int BioRead(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = recv(BioFd(bio), data, static_cast<size_t>(size), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long BioControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO* NewSocketBio(int fd) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "skiff socket");
    BIO_meth_set_write(m, BioWrite);
    BIO_meth_set_read(m, BioRead);
    BIO_meth_set_ctrl(m, BioControl);
    return m;
  }();
  BIO* bio = BIO_new(method);
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

bool IsAddress(const std::string& host) {
  in6_addr scratch;
  return inet_pton(AF_INET, host.c_str(), &scratch) == 1 || inet_pton(AF_INET6, host.c_str(), &scratch) == 1;
}

std::string GoTime(std::chrono::system_clock::time_point time) {
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm parts;
  gmtime_r(&seconds, &parts);
  char text[32];
  const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text, n);
}

std::string MismatchText(const CertificateInfo& info, const std::string& host) {
  if (IsAddress(host)) {
    if (info.ip_addresses.empty()) {
      return absl::StrCat("x509: cannot validate certificate for ", host, " because it doesn't contain any IP SANs");
    }
    return absl::StrCat("x509: certificate is valid for ", absl::StrJoin(info.ip_addresses, ", "), ", not ", host);
  }
  if (info.dns_names.empty()) {
    return absl::StrCat("x509: certificate is not valid for any names, but wanted to match ", host);
  }
  return absl::StrCat("x509: certificate is valid for ", absl::StrJoin(info.dns_names, ", "), ", not ", host);
}

// Why a peer's certificate was refused, in Go's words.
std::string VerifyText(X509* certificate, int result, const std::string& host) {
  const CertificateInfo info = certificate ? tls_internal::InfoOf(certificate) : CertificateInfo{};
  const std::string now = GoTime(std::chrono::system_clock::now());
  switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return MismatchText(info, host);
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return absl::StrCat("x509: certificate has expired or is not yet valid: current time ", now, " is after ",
                          GoTime(info.not_after));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return absl::StrCat("x509: certificate has expired or is not yet valid: current time ", now, " is before ",
                          GoTime(info.not_before));
    case X509_V_ERR_INVALID_PURPOSE: return "x509: certificate specifies an incompatible key usage";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED: return "x509: certificate signed by unknown authority";
    default: return absl::StrCat("x509: ", X509_verify_cert_error_string(result));
  }
}

// The certificate is at hand only here, not after the handshake has failed.
int OnVerify(int ok, X509_STORE_CTX* store) {
  if (ok) return ok;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (auto* transport = static_cast<Transport*>(SSL_get_app_data(ssl))) transport->NoteVerifyError(store);
  return SSL_is_server(ssl) && tls_internal::ReportsUnverified(ssl) ? 1 : 0;
}

}  // namespace

Status NetError(int err, std::string_view context) {
  const Status plain = ErrnoStatus(err, context);
  std::string text = strerror(err);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
  Status out(plain.code(), absl::StrCat(context, ": ", text));
  plain.ForEachPayload([&](absl::string_view url, const absl::Cord& value) { out.SetPayload(url, value); });
  return out;
}

std::string LocalAddress(int fd) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "";
  return AddressText(storage);
}

std::string RemoteAddress(int fd) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "";
  return AddressText(storage);
}

void TuneTcp(int fd) {
  const int on = 1, idle = 15, interval = 15, count = 9;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

StatusOr<std::shared_ptr<Transport>> Transport::Adopt(asio::any_io_executor executor, int fd) {
  std::shared_ptr<Transport> transport(new Transport(std::move(executor)));
  boost::system::error_code ec;
  transport->descriptor_.assign(fd, ec);
  if (ec) {
    close(fd);
    return Outcome(ec, "watch socket");
  }
  return transport;
}

Transport::Transport(asio::any_io_executor executor) : descriptor_(std::move(executor)) {}

Transport::~Transport() { Close(); }

Task<Status> Transport::Wait(asio::posix::descriptor_base::wait_type what) {
  if (closed_) co_return ClosedError();
  if (WasCancelled(co_await asio::this_coro::cancellation_state)) co_return absl::CancelledError("context canceled");
  const auto [ec] = co_await descriptor_.async_wait(what, kAwait);
  unbroken_ = 0;
  if (closed_) co_return ClosedError();
  if (WasCancelled(co_await asio::this_coro::cancellation_state)) co_return absl::CancelledError("context canceled");
  // Aborted without either: the waits of both directions were ended for one of them; look again.
  if (ec && ec != asio::error::operation_aborted) co_return Outcome(ec, "wait");
  co_return absl::OkStatus();
}

Task<Status> Transport::WaitReadable() {
  const auto self = shared_from_this();
  if (reads_expired_) co_return absl::DeadlineExceededError("read: i/o timeout");
  CO_RETURN_IF_ERROR(co_await Wait(asio::posix::descriptor_base::wait_read));
  if (reads_expired_) co_return absl::DeadlineExceededError("read: i/o timeout");
  co_return absl::OkStatus();
}

Task<Status> Transport::WaitWritable() {
  const auto self = shared_from_this();
  co_return co_await Wait(asio::posix::descriptor_base::wait_write);
}

Task<Status> Transport::WaitReset() {
  const auto self = shared_from_this();
  while (!closed_) {
    const Status woken = co_await Wait(asio::posix::descriptor_base::wait_error);
    if (WasCancelled(co_await asio::this_coro::cancellation_state)) break;
    if (closed_) break;
    pollfd state = {fd(), 0, 0};
    if (poll(&state, 1, 0) == 1 && (state.revents & POLLERR)) co_return absl::OkStatus();
    // Both sides have ended in good order: nothing more will come.
    if (state.revents & POLLHUP) break;
    if (!woken.ok() && !absl::IsCancelled(woken)) co_return woken;
  }
  co_return absl::CancelledError("read: stream closed");
}

void Transport::WatchReadable(std::function<void()> ready) {
  if (closed_) return;
  watching_ = true;
  const uint64_t generation = ++watch_;
  descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                         [weak = weak_from_this(), generation, ready = std::move(ready)](boost::system::error_code ec) {
                           const auto self = weak.lock();
                           if (!self || self->closed_ || self->watch_ != generation || !self->watching_) return;
                           if (ec == asio::error::operation_aborted) {  // ended for another's sake
                             self->WatchReadable(ready);
                             return;
                           }
                           self->watching_ = false;
                           ready();
                         });
}

void Transport::StopWatching() {
  if (!watching_) return;
  watching_ = false;
  boost::system::error_code ignored;
  descriptor_.cancel(ignored);
}

void Transport::ExpireReads() {
  reads_expired_ = true;
  if (closed_) return;
  boost::system::error_code ignored;
  descriptor_.cancel(ignored);
}

void Transport::NoteVerifyError(X509_STORE_CTX* store) {
  if (!verify_error_.empty()) return;  // the first says it
  const int error = X509_STORE_CTX_get_error(store);
  verify_error_ = VerifyText(X509_STORE_CTX_get_current_cert(store), error, verified_host_);
}

Task<void> Transport::Yield() {
  unbroken_ = 0;
  co_await asio::post(asio::use_awaitable);
}

Status Transport::StreamError(int err, const char* operation) {
  if (remote_.empty()) return NetError(err, operation);
  return NetError(err, absl::StrCat(operation, " tcp ", LocalAddress(fd()), "->", remote_, ": ", operation));
}

StatusOr<std::optional<size_t>> Transport::TlsOutcome(int result, const char* operation) {
  const int err = errno;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return std::optional<size_t>();
    case SSL_ERROR_ZERO_RETURN: return std::optional<size_t>(0);
    case SSL_ERROR_SYSCALL:
      ERR_clear_error();
      if (err != 0) return StreamError(err, operation);
      return absl::UnavailableError("unexpected EOF");
    default: {
      const unsigned long code = ERR_peek_error();
      if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return absl::UnavailableError("unexpected EOF");
      }
      const char* reason = ERR_reason_error_string(code);
      const int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
      std::string text = alert >= 0 && alert < 256
                             ? absl::StrCat("remote error: tls: ", SSL_alert_desc_string_long(alert))
                             : absl::StrCat(operation, ": tls: ", reason ? reason : "protocol error");
      ERR_clear_error();
      return absl::UnavailableError(text);
    }
  }
}

StatusOr<std::optional<size_t>> Transport::TryRead(std::span<char> buffer) {
  if (closed_) return ClosedError();
  if (ssl_ != nullptr) {
    ERR_clear_error();
    errno = 0;
    const int n = SSL_read(ssl_, buffer.data(), static_cast<int>(std::min<size_t>(buffer.size(), 1 << 30)));
    if (n > 0) return std::optional<size_t>(static_cast<size_t>(n));
    return TlsOutcome(n, "read");
  }
  while (true) {
    const ssize_t n = recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n >= 0) return std::optional<size_t>(static_cast<size_t>(n));
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return std::optional<size_t>();
    return StreamError(errno, "read");
  }
}

Task<StatusOr<size_t>> Transport::Read(std::span<char> buffer) {
  const auto self = shared_from_this();
  if (++unbroken_ >= kUnbrokenLimit) co_await Yield();
  while (true) {
    if (reads_expired_) co_return absl::DeadlineExceededError("read: i/o timeout");
    if (WasCancelled(co_await asio::this_coro::cancellation_state)) co_return absl::CancelledError("context canceled");
    CO_ASSIGN_OR_RETURN(const std::optional<size_t> got, TryRead(buffer));
    if (got) co_return *got;
    CO_RETURN_IF_ERROR(co_await Wait(asio::posix::descriptor_base::wait_read));
  }
}

Task<StatusOr<bool>> Transport::ReadInto(std::string* buffer, size_t room) {
  const auto self = shared_from_this();
  if (++unbroken_ >= kUnbrokenLimit) co_await Yield();
  while (true) {
    if (reads_expired_) co_return absl::DeadlineExceededError("read: i/o timeout");
    if (WasCancelled(co_await asio::this_coro::cancellation_state)) co_return absl::CancelledError("context canceled");
    const size_t before = buffer->size();
    buffer->resize(before + room);
    const auto got = TryRead({buffer->data() + before, room});
    buffer->resize(got.ok() ? before + got->value_or(0) : before);
    if (!got.ok()) co_return got.status();
    if (*got) co_return **got > 0;
    if (before == 0) ReleaseMemory(buffer);
    CO_RETURN_IF_ERROR(co_await Wait(asio::posix::descriptor_base::wait_read));
  }
}

StatusOr<std::optional<size_t>> Transport::TryWrite(std::span<const std::string_view> pieces) {
  if (closed_) return ClosedError();
  if (ssl_ != nullptr) {
    ERR_clear_error();
    errno = 0;
    const std::string_view data = pieces.front();
    const int n = SSL_write(ssl_, data.data(), static_cast<int>(std::min<size_t>(data.size(), 1 << 30)));
    if (n > 0) return std::optional<size_t>(static_cast<size_t>(n));
    write_wants_read_ = SSL_get_error(ssl_, n) == SSL_ERROR_WANT_READ;
    return TlsOutcome(n, "write");
  }
  iovec parts[8];
  size_t count = 0;
  for (const std::string_view piece : pieces) {
    if (count == std::size(parts)) break;
    parts[count++] = {const_cast<char*>(piece.data()), piece.size()};
  }
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  while (true) {
    const ssize_t n = sendmsg(fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return std::optional<size_t>(static_cast<size_t>(n));
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return std::optional<size_t>();
    return StreamError(errno, "write");
  }
}

Task<Status> Transport::Write(std::span<const std::string_view> given) {
  const auto self = shared_from_this();
  if (++unbroken_ >= kUnbrokenLimit) co_await Yield();
  std::vector<std::string_view> pieces;
  std::string gathered;  // TLS: small pieces become one record
  size_t total = 0;
  for (const std::string_view piece : given) total += piece.size();
  if (ssl_ != nullptr && given.size() > 1) {
    const size_t n = std::min(total, kRecord);
    gathered.reserve(n);
    for (std::string_view piece : given) {
      const std::string_view head = piece.substr(0, n - gathered.size());
      gathered += head;
      piece.remove_prefix(head.size());
      if (!piece.empty()) pieces.push_back(piece);
    }
    pieces.insert(pieces.begin(), gathered);
  } else {
    for (const std::string_view piece : given) {
      if (!piece.empty()) pieces.push_back(piece);
    }
  }
  std::span<std::string_view> rest(pieces);
  while (!rest.empty()) {
    CO_ASSIGN_OR_RETURN(const std::optional<size_t> wrote, TryWrite(rest));
    if (!wrote) {
      CO_RETURN_IF_ERROR(co_await Wait(write_wants_read_ ? asio::posix::descriptor_base::wait_read
                                                         : asio::posix::descriptor_base::wait_write));
      continue;
    }
    if (*wrote == 0) co_return Unavailable("write: connection closed");
    size_t done = *wrote;
    while (!rest.empty() && done >= rest.front().size()) {
      done -= rest.front().size();
      rest = rest.subspan(1);
    }
    if (done > 0) rest.front().remove_prefix(done);
  }
  co_return absl::OkStatus();
}

Task<Status> Transport::WriteOne(std::string_view data) {
  const std::string_view pieces[] = {data};
  co_return co_await Write(pieces);
}

Task<Status> Transport::AcceptTls(std::shared_ptr<ssl_ctx_st> context) {
  const auto self = shared_from_this();
  ssl_ = SSL_new(context.get());
  if (ssl_ == nullptr) co_return tls_internal::OpensslError("make TLS connection");
  BIO* bio = NewSocketBio(fd());
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_accept_state(ssl_);
  SSL_set_app_data(ssl_, this);
  if ((SSL_get_verify_mode(ssl_) & SSL_VERIFY_PEER) != 0) SSL_set_verify(ssl_, SSL_VERIFY_PEER, OnVerify);
  co_return co_await Handshake();
}

Task<Status> Transport::ConnectTls(std::shared_ptr<ssl_ctx_st> context, const std::string& host, bool insecure) {
  const auto self = shared_from_this();
  ssl_ = SSL_new(context.get());
  if (ssl_ == nullptr) co_return tls_internal::OpensslError("make TLS connection");
  BIO* bio = NewSocketBio(fd());
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_connect_state(ssl_);
  verified_host_ = host;
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl_);
  const bool address = IsAddress(host);
  if (!address && !host.empty()) SSL_set_tlsext_host_name(ssl_, host.c_str());
  if (!insecure) {
    SSL_set_app_data(ssl_, this);
    SSL_set_verify(ssl_, SSL_VERIFY_PEER, OnVerify);
    // As Go: the subject's common name is no host name, and a wildcard stands for one whole label.
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int ok = address ? X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str())
                           : X509_VERIFY_PARAM_set1_host(param, host.data(), host.size());
    if (ok != 1 || host.empty()) co_return tls_internal::OpensslError("set host to verify");
  }
  co_return co_await Handshake();
}

Status Transport::HandshakeError(int result) {
  const int err = errno;
  const int kind = SSL_get_error(ssl_, result);
  const unsigned long code = ERR_peek_error();
  if (kind == SSL_ERROR_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    ERR_clear_error();
    return absl::UnauthenticatedError(absl::StrCat("tls: failed to verify certificate: ", verify_error_));
  }
  if (kind == SSL_ERROR_SSL && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST) {
    ERR_clear_error();
    SSL_free(ssl_);
    ssl_ = nullptr;
    return InvalidArgument("tls: first record does not look like a TLS handshake");
  }
  if (kind == SSL_ERROR_SSL && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) {
    ERR_clear_error();
    return absl::UnavailableError("tls: first record does not look like a TLS handshake");
  }
  if (kind == SSL_ERROR_SYSCALL || kind == SSL_ERROR_ZERO_RETURN) {
    ERR_clear_error();
    return err != 0 ? StreamError(err, "read") : Status(absl::UnavailableError("EOF"));
  }
  errno = err;
  const auto outcome = TlsOutcome(result, "handshake");
  return outcome.ok() ? Internal("tls: handshake failed") : outcome.status();
}

Task<Status> Transport::Handshake() {
  while (true) {
    if (closed_) co_return ClosedError();
    if (reads_expired_) co_return absl::DeadlineExceededError("net/http: TLS handshake timeout");
    ERR_clear_error();
    errno = 0;
    const int result = SSL_do_handshake(ssl_);
    if (result == 1) break;
    const int err = errno;
    const int kind = SSL_get_error(ssl_, result);
    if (kind == SSL_ERROR_WANT_READ) {
      CO_RETURN_IF_ERROR(co_await Wait(asio::posix::descriptor_base::wait_read));
    } else if (kind == SSL_ERROR_WANT_WRITE) {
      CO_RETURN_IF_ERROR(co_await Wait(asio::posix::descriptor_base::wait_write));
    } else {
      errno = err;
      co_return HandshakeError(result);
    }
  }
  established_ = true;
  co_return absl::OkStatus();
}

void Transport::CloseWrite() {
  if (closed_) return;
  if (ssl_ != nullptr) {
    ERR_clear_error();
    if (established_) SSL_shutdown(ssl_);
    ERR_clear_error();
  } else {
    shutdown(fd(), SHUT_WR);
  }
}

void Transport::Close() {
  if (closed_) return;
  closed_ = true;
  if (ssl_ != nullptr) {
    ERR_clear_error();
    if (established_ && (SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) == 0) SSL_shutdown(ssl_);
    ERR_clear_error();
    SSL_free(ssl_);
    ssl_ = nullptr;
  }
  boost::system::error_code ignored;
  descriptor_.close(ignored);
}

void Transport::CloseWithReset() {
  if (closed_) return;
  const linger hard = {1, 0};
  setsockopt(fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  Close();
}

int Transport::Release() {
  closed_ = true;
  return descriptor_.release();
}

namespace {

class TransportStream final : public Stream {
 public:
  TransportStream(std::shared_ptr<Transport> transport, std::string already_read)
      : transport_(std::move(transport)), ahead_(std::move(already_read)) {}
  ~TransportStream() override { transport_->Close(); }

  Task<StatusOr<size_t>> Read(std::span<char> buffer) override {
    if (!ahead_.empty()) return ReadAhead(buffer);
    return transport_->Read(buffer);
  }

  Task<Status> Write(std::string_view data) override { return WriteTo(transport_, data); }
  void CloseWrite() override { transport_->CloseWrite(); }
  void Close() override { transport_->Close(); }
  const std::shared_ptr<Transport>& transport() const { return transport_; }

 private:
  Task<StatusOr<size_t>> ReadAhead(std::span<char> buffer) {
    const size_t n = std::min(buffer.size(), ahead_.size());
    memcpy(buffer.data(), ahead_.data(), n);
    ahead_.erase(0, n);
    if (ahead_.empty()) ReleaseMemory(&ahead_);
    co_return n;
  }

  // A stream's user may hold it in the very coroutine that is cancelled: Transport keeps itself alive meanwhile.
  static Task<Status> WriteTo(std::shared_ptr<Transport> transport, std::string_view data) {
    if (WasCancelled(co_await asio::this_coro::cancellation_state)) co_return absl::CancelledError("context canceled");
    co_return co_await transport->WriteOne(data);
  }

  std::shared_ptr<Transport> transport_;
  std::string ahead_;
};

}  // namespace

std::unique_ptr<Stream> NewTransportStream(std::shared_ptr<Transport> transport, std::string already_read) {
  return std::make_unique<TransportStream>(std::move(transport), std::move(already_read));
}

Task<Status> WaitForReset(Stream& stream) {
  const auto* real = dynamic_cast<const TransportStream*>(&stream);
  if (real == nullptr) co_return absl::CancelledError("not a socket");
  const std::shared_ptr<Transport> transport = real->transport();
  co_return co_await transport->WaitReset();
}

}  // namespace skiff::http
