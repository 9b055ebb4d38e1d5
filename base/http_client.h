// An HTTP/1.1 client for one origin: a pool of kept-alive connections, TLS, streaming answers, upgrades. A request on a
// reused connection that fails before any byte of an answer is sent once more on a new one. Loop thread only.
#ifndef SKIFF_BASE_HTTP_CLIENT_H_
#define SKIFF_BASE_HTTP_CLIENT_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/http.h"
#include "base/tls.h"

namespace skiff::http {

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";  // encoded path and query
  Headers headers;           // Host, Content-Length, Connection are set by the client unless given
  std::string body;
  std::chrono::nanoseconds timeout{0};  // until the whole answer (Do) or its head (Open, Upgrade) is there; 0: none
  bool limit_body = false;              // Open: until the whole answer is there as well
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

// An answer whose body is still coming. Dropping it closes the connection unless the body was read to its end.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  // As it arrives; 0 at the end. kUnavailable if the connection breaks before, kDeadlineExceeded when a time-out that
  // covers the body (ClientRequest::limit_body) has passed. Destroying the reader while a read is
  // under way is not allowed: cancel the reading coroutine and let it end.
  virtual Task<StatusOr<size_t>> Read(std::span<char> buffer) = 0;
  // Reads the rest, at most `limit` bytes (kResourceExhausted beyond).
  Task<StatusOr<std::string>> ReadAll(size_t limit);
};

struct UpgradeResult {
  int status = 0;
  Headers headers;
  std::string body;                // when the server did not switch (status != 101)
  std::unique_ptr<Stream> stream;  // when it did
};

struct ClientOptions {
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(10);
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(90);
  size_t max_idle_connections = 4;
  size_t max_body_bytes = 512 * 1024 * 1024;
  // Probes: a fresh connection a request, closed with a reset so that no TIME_WAIT socket stays.
  bool keep_alive = true;
  bool reset_on_close = false;
};

class Client {
 public:
  // `authority` is "host:port", "[v6]:port" or "unix:/path". `tls` null: plain. `server_name` overrides the name that
  // is verified and sent by SNI.
  Client(asio::any_io_executor executor, std::string authority, std::shared_ptr<TlsClientConfig> tls = nullptr,
         ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Connection errors are kUnavailable ("dial tcp 127.0.0.1:1: connect: connection refused"), time-outs
  // kDeadlineExceeded ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"), certificate
  // trouble kUnauthenticated, an answer that is no HTTP kInternal; all in Go's words but for its `Get "URL": ` in
  // front. An HTTP error status is not an error here. Redirects are never followed.
  Task<StatusOr<ClientResponse>> Do(ClientRequest request);
  Task<StatusOr<std::unique_ptr<BodyReader>>> Open(ClientRequest request);
  Task<StatusOr<UpgradeResult>> Upgrade(ClientRequest request);
  // Closes idle connections (credentials changed, server moved).
  void CloseIdle();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_CLIENT_H_
