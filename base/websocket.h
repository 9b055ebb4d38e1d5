// The server's side of a WebSocket (RFC 6455) on an upgraded connection: messages in and out, no extensions. Pings are
// answered; fragments are joined. Loop only; one reader; writes are queued by their order.
#ifndef SKIFF_BASE_WEBSOCKET_H_
#define SKIFF_BASE_WEBSOCKET_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/async_lock.h"
#include "base/http.h"

namespace skiff {

// "Sec-WebSocket-Accept" for a client's key.
std::string WebSocketAccept(std::string_view key);

// One frame's head and where its payload lies. Bytes from outside (fuzzed).
struct WebSocketFrame {
  bool final = false;
  uint8_t opcode = 0;
  bool masked = false;
  uint8_t mask[4] = {};
  size_t head = 0;      // bytes of the head
  uint64_t length = 0;  // bytes of the payload
};
// nullopt: more bytes are needed. kInvalidArgument: reserved bits, a control frame too long, no mask from a client.
StatusOr<std::optional<WebSocketFrame>> ParseWebSocketFrame(std::string_view data, bool from_client);
// An unmasked frame as a server sends it.
std::string WebSocketFrameHead(uint8_t opcode, uint64_t length);

class WebSocket {
 public:
  WebSocket(std::unique_ptr<http::Stream> stream, size_t max_message = 1 << 20);

  // The next text or binary message; kOutOfRange after the peer closed.
  Task<StatusOr<std::string>> Read();
  // A binary message: `channel` (if not negative) as its first byte, then `data`.
  Task<Status> Write(int channel, std::string_view data);
  Task<Status> WriteText(std::string_view data);
  Task<void> SendClose(uint16_t code);
  void Close() { stream_->Close(); }

 private:
  Task<Status> Send(std::string frame);

  std::unique_ptr<http::Stream> stream_;
  size_t max_message_;
  std::string in_;
  std::shared_ptr<AsyncLock> writing_ = std::make_shared<AsyncLock>();
};

}  // namespace skiff

#endif  // SKIFF_BASE_WEBSOCKET_H_
