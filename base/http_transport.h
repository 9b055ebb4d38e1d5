// A connected socket, plain or TLS, as coroutines: what HTTP's server and client stand on. Internal to base.
//
// OpenSSL works on the socket directly instead of through asio::ssl::stream: that one keeps about 68 KiB of buffers a
// connection, this none while nothing is under way (readiness is awaited without a buffer). Loop thread only. One
// reader and one writer at a time.
#ifndef SKIFF_BASE_HTTP_TRANSPORT_H_
#define SKIFF_BASE_HTTP_TRANSPORT_H_

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/http.h"

struct ssl_st;
struct ssl_ctx_st;
struct x509_store_ctx_st;

namespace skiff::http {

// As ErrnoStatus, but in Go's spelling: "context: connection refused".
Status NetError(int err, std::string_view context);
// "10.0.0.1:80", "[::1]:80", or "" for a unix socket.
std::string LocalAddress(int fd);
std::string RemoteAddress(int fd);

// Assigning an empty string would keep the old one's memory.
inline void ReleaseMemory(std::string* text) { std::string().swap(*text); }

// No delay, and keep-alive probes that find a vanished peer within about two minutes, as Go's defaults.
void TuneTcp(int fd);

class Transport : public std::enable_shared_from_this<Transport> {
 public:
  // Takes over a non-blocking socket (closed on failure).
  static StatusOr<std::shared_ptr<Transport>> Adopt(asio::any_io_executor executor, int fd);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // TLS handshakes. kInvalidArgument if the client speaks plain HTTP; the transport is plain then, to answer so.
  Task<Status> AcceptTls(std::shared_ptr<ssl_ctx_st> context);
  // `host` is verified (name or address) unless `insecure`, and sent by SNI when it is a name. Certificate trouble is
  // kUnauthenticated.
  Task<Status> ConnectTls(std::shared_ptr<ssl_ctx_st> context, const std::string& host, bool insecure);

  // One attempt. Bytes read, 0 at the end of the peer's data, nullopt when nothing is there yet.
  StatusOr<std::optional<size_t>> TryRead(std::span<char> buffer);
  // At least one byte, or 0 at the end. kCancelled after Close or when the coroutine is cancelled, kDeadlineExceeded
  // after ExpireReads.
  Task<StatusOr<size_t>> Read(std::span<char> buffer);
  // Appends up to `room` bytes to `buffer`; false at the end. An empty buffer's memory is given back while it waits.
  Task<StatusOr<bool>> ReadInto(std::string* buffer, size_t room);
  // All pieces, as one packet or TLS record where they are small. Waits in vain only if it must.
  Task<Status> Write(std::span<const std::string_view> pieces);
  Task<Status> WriteOne(std::string_view data);
  // The socket has something; for TLS this may turn out to be no data.
  Task<Status> WaitReadable();
  Task<Status> WaitWritable();
  // Until the connection is reset or timed out by the kernel, whatever is read or not.
  Task<Status> WaitReset();
  // Calls `ready` once when the socket becomes readable or fails; not called after Close or StopWatching.
  void WatchReadable(std::function<void()> ready);
  void StopWatching();

  // Ends the pending read, and all further ones until allowed again, with kDeadlineExceeded.
  void ExpireReads();
  void AllowReads() { reads_expired_ = false; }

  void CloseWrite();
  void Close();
  // Close that leaves no TIME_WAIT behind.
  void CloseWithReset();
  // Gives the socket away, as it is; the transport is closed then.
  int Release();
  bool closed() const { return closed_; }
  int fd() { return descriptor_.native_handle(); }
  ssl_st* ssl() { return ssl_; }
  // Asks the kernel for the peer's address while it is known; errors after a reset still name it.
  void NoteRemote() { remote_ = RemoteAddress(fd()); }
  const std::string& remote() const { return remote_; }
  // For OpenSSL's verification callback.
  void NoteVerifyError(x509_store_ctx_st* store);
  const std::string& verify_error() const { return verify_error_; }

 private:
  explicit Transport(asio::any_io_executor executor);
  Task<Status> Wait(asio::posix::descriptor_base::wait_type what);
  Task<Status> Handshake();
  // Bytes written, nullopt when it would block.
  StatusOr<std::optional<size_t>> TryWrite(std::span<const std::string_view> pieces);
  StatusOr<std::optional<size_t>> TlsOutcome(int result, const char* operation);
  Status HandshakeError(int result);
  Status StreamError(int err, const char* operation);
  // Lets others run after a series of operations that never had to wait.
  Task<void> Yield();

  asio::posix::stream_descriptor descriptor_;
  ssl_st* ssl_ = nullptr;
  std::string remote_;
  std::string verified_host_;
  std::string verify_error_;
  uint64_t watch_ = 0;  // generation: a watch of an older one is void
  bool watching_ = false;
  bool closed_ = false;
  bool reads_expired_ = false;
  bool established_ = false;  // TLS handshake done
  bool write_wants_read_ = false;
  uint8_t unbroken_ = 0;
};

// A Transport as a Stream, with what was read ahead given out first.
std::unique_ptr<Stream> NewTransportStream(std::shared_ptr<Transport> transport, std::string already_read);

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_TRANSPORT_H_
