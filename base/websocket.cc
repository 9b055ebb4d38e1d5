#include "base/websocket.h"

#include <openssl/sha.h>

#include "base/tls.h"

namespace skiff {
namespace {

constexpr uint8_t kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;

}  // namespace

std::string WebSocketAccept(std::string_view key) {
  const std::string text = absl::StrCat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return Base64Encode({reinterpret_cast<const char*>(digest), sizeof(digest)});
}

StatusOr<std::optional<WebSocketFrame>> ParseWebSocketFrame(std::string_view data, bool from_client) {
  if (data.size() < 2) return std::nullopt;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(data[i]); };
  WebSocketFrame frame;
  frame.final = byte(0) & 0x80;
  frame.opcode = byte(0) & 0x0f;
  if (byte(0) & 0x70) return InvalidArgument("websocket: reserved bits set");
  frame.masked = byte(1) & 0x80;
  if (frame.masked != from_client) return InvalidArgument("websocket: wrong masking");
  frame.length = byte(1) & 0x7f;
  frame.head = 2;
  if (frame.length >= 126) {
    const size_t more = frame.length == 126 ? 2 : 8;
    if (data.size() < frame.head + more) return std::nullopt;
    frame.length = 0;
    for (size_t i = 0; i < more; ++i) frame.length = frame.length << 8 | byte(frame.head + i);
    frame.head += more;
    if (frame.length >> 62) return InvalidArgument("websocket: frame too long");
  }
  if (frame.opcode >= 8 && (frame.length > 125 || !frame.final)) {
    return InvalidArgument("websocket: bad control frame");
  }
  if (frame.masked) {
    if (data.size() < frame.head + 4) return std::nullopt;
    for (size_t i = 0; i < 4; ++i) frame.mask[i] = byte(frame.head + i);
    frame.head += 4;
  }
  return frame;
}

std::string WebSocketFrameHead(uint8_t opcode, uint64_t length) {
  std::string out(1, static_cast<char>(0x80 | opcode));
  if (length < 126) {
    out.push_back(static_cast<char>(length));
  } else {
    const int bytes = length < 65536 ? 2 : 8;
    out.push_back(bytes == 2 ? 126 : 127);
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(length >> (8 * i)));
  }
  return out;
}

WebSocket::WebSocket(std::unique_ptr<http::Stream> stream, size_t max_message)
    : stream_(std::move(stream)), max_message_(max_message) {}

Task<StatusOr<std::string>> WebSocket::Read() {
  std::string message;
  bool inside = false;
  for (;;) {
    CO_ASSIGN_OR_RETURN(const auto frame, ParseWebSocketFrame(in_, true));
    if (frame && frame->length + message.size() > max_message_) {
      co_await SendClose(1009);
      co_return absl::ResourceExhaustedError("websocket: message too long");
    }
    if (!frame || in_.size() < frame->head + frame->length) {
      char buffer[16384];
      CO_ASSIGN_OR_RETURN(const size_t n, co_await stream_->Read(buffer));
      if (n == 0) co_return absl::OutOfRangeError("websocket: connection ended");
      in_.append(buffer, n);
      continue;
    }
    std::string payload = in_.substr(frame->head, frame->length);
    in_.erase(0, frame->head + frame->length);
    for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ frame->mask[i % 4]);
    switch (frame->opcode) {
      case kPing: {
        std::string pong = WebSocketFrameHead(kPong, payload.size()) + payload;
        CO_RETURN_IF_ERROR(co_await Send(std::move(pong)));
        break;
      }
      case kPong: break;
      case kClose: co_await SendClose(1000); co_return absl::OutOfRangeError("websocket: closed by the peer");
      case kText:
      case kBinary:
      case kContinuation:
        if ((frame->opcode == kContinuation) != inside) co_return InvalidArgument("websocket: bad fragment");
        message += payload;
        if (frame->final) co_return message;
        inside = true;
        break;
      default: co_return InvalidArgument("websocket: unknown opcode ", static_cast<int>(frame->opcode));
    }
  }
}

Task<Status> WebSocket::Send(std::string frame) {
  CO_ASSIGN_OR_RETURN(auto guard, co_await writing_->Lock());
  co_return co_await stream_->Write(frame);
}

Task<Status> WebSocket::Write(int channel, std::string_view data) {
  std::string frame = WebSocketFrameHead(kBinary, data.size() + (channel >= 0 ? 1 : 0));
  if (channel >= 0) frame.push_back(static_cast<char>(channel));
  frame.append(data);
  co_return co_await Send(std::move(frame));
}

Task<Status> WebSocket::WriteText(std::string_view data) {
  std::string frame = WebSocketFrameHead(kText, data.size());
  frame.append(data);
  co_return co_await Send(std::move(frame));
}

Task<void> WebSocket::SendClose(uint16_t code) {
  std::string frame = WebSocketFrameHead(kClose, 2);
  frame.push_back(static_cast<char>(code >> 8));
  frame.push_back(static_cast<char>(code));
  (co_await Send(std::move(frame))).IgnoreError();
}

}  // namespace skiff
