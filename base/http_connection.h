// One connection of the HTTP server: reads requests, runs the handler, notices a peer that goes away. Internal to base.
#ifndef SKIFF_BASE_HTTP_CONNECTION_H_
#define SKIFF_BASE_HTTP_CONNECTION_H_

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/http_parser.h"
#include "base/http_server_core.h"
#include "base/http_transport.h"

namespace skiff::http {

class ServerExchange;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerCore> core, std::shared_ptr<Transport> transport);
  ~Connection();
  // Spawns it; it keeps itself alive until it ends.
  static void Start(std::shared_ptr<Connection> connection, std::shared_ptr<TlsServerConfig> tls);

  bool idle() const { return idle_; }
  void Abort();  // cancels the handler and closes
  void OnDeadline(Deadline kind);

 private:
  friend class ServerExchange;

  static Task<void> Run(std::shared_ptr<Connection> self, std::shared_ptr<TlsServerConfig> tls);
  void FillPeer(bool tls);
  Task<bool> ServeOne(bool first);           // false: the connection is over
  Task<bool> AwaitFirstByte(bool first);     // true: in_ has something
  Task<std::unique_ptr<Parser>> ReadHead();  // null: it ended or was answered with an error
  Task<void> RunHandler(ServerExchange& exchange);
  // A plain-text error before any handler ran; closes behind it.
  Task<void> Refuse(int status, std::string_view detail = "");
  // Sends our end and reads on for a moment: a close with unread input would make the kernel drop our answer.
  Task<void> Linger();

  void SetDeadline(Deadline kind);
  void ClearDeadline();
  void Watch();
  void OnWatched();

  std::shared_ptr<ServerCore> core_;
  std::shared_ptr<Transport> transport_;
  std::list<Connection*>::iterator place_;
  asio::cancellation_signal cancel_;
  std::string in_;  // read and not yet used
  Peer peer_;
  std::optional<std::pair<Deadline, Deadlines::Place>> deadline_;
  bool idle_ = true;
  bool upgraded_ = false;
  bool lost_ = false;  // the peer went away
};

// See Exchange.
class ServerExchange final : public Exchange {
 public:
  ServerExchange(Connection& connection, std::unique_ptr<Parser> parser);

  const Request& request() const override { return request_; }
  Task<StatusOr<std::string>> ReadBody(size_t limit) override;
  Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) override;
  Task<Status> Respond(int status, Headers headers, std::string body) override;
  Task<Status> Begin(int status, Headers headers) override;
  Task<Status> Write(std::string_view data) override;
  Task<Status> End() override;
  Task<StatusOr<std::unique_ptr<Stream>>> Upgrade(int status, Headers headers) override;
  bool answered() const override { return answered_; }

  // After the handler: completes the answer and drains the body. True if the connection can serve another request.
  Task<bool> Finish();
  bool body_done() const { return parser_->done(); }

 private:
  enum class Framing { kNone, kLength, kChunked, kUntilClose };
  std::string HeadText(int status, const Headers& headers, std::optional<uint64_t> length);
  Task<StatusOr<size_t>> ReadMore(std::span<char> buffer, bool hold_deadline);
  Status FailBody(Status status);
  Task<Status> Send(std::span<const std::string_view> pieces);

  Connection& connection_;
  std::unique_ptr<Parser> parser_;
  Request request_;
  Framing framing_ = Framing::kNone;
  uint64_t left_ = 0;  // of the declared length
  bool head_request_ = false;
  bool expects_continue_ = false;
  bool answered_ = false;
  bool ended_ = false;
  bool close_ = false;   // after this exchange
  bool linger_ = false;  // the peer may still be sending
  Status body_error_;
};

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_CONNECTION_H_
