// An HTTP/1.1 server on the loop: keep-alive, chunked streaming both ways, upgrades, TLS with optional client
// certificates, limits on header size (431), body size (413), header time and idle time. Loop thread only.
#ifndef SKIFF_BASE_HTTP_SERVER_H_
#define SKIFF_BASE_HTTP_SERVER_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/http.h"
#include "base/tls.h"

namespace skiff::http {

struct Peer {
  std::string address;  // "10.0.0.1:1234", or "" on a unix socket
  bool tls = false;
  // The client certificate, where one was sent and verified against the server's client CA.
  bool has_certificate = false;
  std::string common_name;
  std::vector<std::string> organizations;
  // One was sent and did not verify, on a listener with Unverified::kReport: "x509: certificate signed by unknown
  // authority". Whoever authenticates must not take such a peer for an anonymous one.
  std::string certificate_error;
};

struct Request {
  std::string method;  // upper case, as sent
  std::string target;  // as sent: path and query, still encoded
  std::string path;    // decoded, without query
  Query query;
  Headers headers;
  Peer peer;
};

// One request and its answer. A handler answers exactly once: Respond, or Begin + Write* + End, or Upgrade. A handler
// that returns without answering gives the client 500. If the peer goes away the handler's coroutine is cancelled:
// whatever it awaits ends with kCancelled and it should return.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;

  // The whole body. kResourceExhausted when longer than `limit` (the handler then answers 413), kInvalidArgument when
  // its framing is broken, kUnavailable when the peer went away in its midst, kDeadlineExceeded when it took longer
  // than the server's body_timeout. After an error the connection is closed behind the answer.
  virtual Task<StatusOr<std::string>> ReadBody(size_t limit = 3 * 1024 * 1024) = 0;
  // Some bytes of the body; 0 at its end. Errors as above, the time limit being for each read.
  virtual Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) = 0;

  // Content-Length is set from the body; for HEAD the body is not sent. `Date` is always added.
  virtual Task<Status> Respond(int status, Headers headers, std::string body) = 0;
  // Streams a body: of unknown length (chunked, or until close for HTTP/1.0), or of the length in `headers`. Begin and
  // Write send at once; Write waits where the peer does not take the data.
  virtual Task<Status> Begin(int status, Headers headers) = 0;
  virtual Task<Status> Write(std::string_view data) = 0;
  virtual Task<Status> End() = 0;
  // Sends the head (usually 101) and hands over the connection; bytes already read are given first. The stream lives
  // on after the handler returns if the caller keeps it.
  virtual Task<StatusOr<std::unique_ptr<Stream>>> Upgrade(int status, Headers headers) = 0;
  virtual bool answered() const = 0;  // a head has been sent
};

// Kept by the server, so a capturing lambda that is a coroutine is safe here. What else it refers to must outlive the
// server's Shutdown, or the loop.
using Handler = std::function<Task<void>(Exchange&)>;

struct ServerOptions {
  size_t max_header_bytes = 64 * 1024;  // Go's servers take 1 MiB; ours need cookies of no such size
  std::chrono::nanoseconds header_timeout = std::chrono::seconds(32);
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(90);
  std::chrono::nanoseconds body_timeout = std::chrono::seconds(60);
  size_t max_connections = 10000;  // more wait in the kernel's queue
};

class Server {
 public:
  Server(asio::any_io_executor executor, Handler handler, ServerOptions options = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // `address` is "ip:port" ("0.0.0.0:0", "[::1]:8080") or "unix:/path". With `tls` the listener speaks TLS; its
  // certificates are looked up at every handshake, so that rotated ones take effect. Several listens may be made.
  // Returns the bound port (0 for unix). kFailedPrecondition with errno EADDRINUSE: "listen tcp 1.2.3.4:80: bind: ...".
  StatusOr<uint16_t> Listen(std::string_view address, std::shared_ptr<TlsServerConfig> tls = nullptr);
  // Stops accepting, closes idle connections, lets running exchanges finish for `grace`, then cancels and closes them.
  // Upgraded streams that outlived their handlers are not touched. In a cancelled coroutine the grace is nothing.
  Task<void> Shutdown(std::chrono::nanoseconds grace);
  size_t connections() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_SERVER_H_
