#include "kubelet/server/spdy.h"

namespace skiff::kubelet {
namespace {

constexpr uint16_t kVersion = 0x8003;
constexpr uint16_t kSynStreamType = 1, kSynReplyType = 2, kRstStreamType = 3, kPingType = 6, kGoAwayType = 7;
constexpr size_t kLongestControlFrame = 1 << 20;
constexpr size_t kMaxDataFrame = 1 << 20;

void Append16(std::string* out, uint32_t v) {
  out->push_back(static_cast<char>(v >> 8));
  out->push_back(static_cast<char>(v));
}
void Append32(std::string* out, uint32_t v) {
  Append16(out, v >> 16);
  Append16(out, v & 0xffff);
}
uint32_t Read32(std::string_view data, size_t at) {
  uint32_t v = 0;
  for (size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<uint8_t>(data[at + i]);
  return v;
}

}  // namespace

StatusOr<std::optional<SpdyFrame>> ParseSpdyFrame(std::string_view data) {
  if (data.size() < 8) return std::nullopt;
  SpdyFrame frame;
  const uint32_t first = Read32(data, 0), second = Read32(data, 4);
  frame.length = second & 0xffffff;
  frame.fin = second >> 24 & 1;
  if (!(first & 0x80000000)) {
    frame.kind = SpdyFrame::kData;
    frame.stream = first;
    return frame;
  }
  if (first >> 16 != kVersion) return InvalidArgument("spdy: unexpected version ", first >> 16 & 0x7fff);
  if (frame.length > kLongestControlFrame) return InvalidArgument("spdy: control frame too long");
  if (data.size() < 8 + frame.length) return std::nullopt;
  const uint16_t type = first & 0xffff;
  if (frame.length >= 4) frame.stream = Read32(data, 8) & 0x7fffffff;
  if (type == kSynReplyType && frame.length >= 4) frame.kind = SpdyFrame::kSynReply;
  if (type == kRstStreamType && frame.length >= 8) {
    frame.kind = SpdyFrame::kReset;
    frame.status = Read32(data, 12);
  }
  if (type == kPingType && frame.length >= 4) {
    frame.kind = SpdyFrame::kPing;
    frame.stream = Read32(data, 8);
  }
  if (type == kGoAwayType) frame.kind = SpdyFrame::kGoAway;
  return frame;
}

Task<Status> SpdyClient::Send(std::string frame) {
  CO_ASSIGN_OR_RETURN(auto guard, co_await writing_->Lock());
  co_return co_await stream_->Write(frame);
}

Task<StatusOr<uint32_t>> SpdyClient::Open(std::vector<std::pair<std::string, std::string>> headers) {
  std::string block;
  Append32(&block, static_cast<uint32_t>(headers.size()));
  for (const auto& [name, value] : headers) {
    Append32(&block, static_cast<uint32_t>(name.size()));
    block += name;
    Append32(&block, static_cast<uint32_t>(value.size()));
    block += value;
  }
  if (block.size() > 0xffff) co_return InvalidArgument("spdy: headers too long");
  // All frames of a connection share one zlib stream: its header comes once, then stored blocks, each followed by an
  // empty one that makes the reader hand out what it has (deflate's sync flush).
  std::string packed;
  if (!zlib_started_) packed = std::string("\x78\x01", 2);
  zlib_started_ = true;
  const auto length = static_cast<uint32_t>(block.size());
  const auto little = [&packed](uint32_t v) {
    packed.push_back(static_cast<char>(v));
    packed.push_back(static_cast<char>(v >> 8));
  };
  packed.push_back('\0');
  little(length);
  little(~length & 0xffff);
  packed += block;
  packed += std::string("\0\0\0\xff\xff", 5);

  const uint32_t id = next_;
  next_ += 2;
  std::string frame;
  Append16(&frame, kVersion);
  Append16(&frame, kSynStreamType);
  Append32(&frame, static_cast<uint32_t>(10 + packed.size()));  // flags 0
  Append32(&frame, id);
  Append32(&frame, 0);  // associated with no stream
  Append16(&frame, 0);  // priority, slot
  frame += packed;
  CO_RETURN_IF_ERROR(co_await Send(std::move(frame)));
  co_return id;
}

Task<Status> SpdyClient::Write(uint32_t stream, std::string_view data, bool fin) {
  do {
    const std::string_view piece = data.substr(0, kMaxDataFrame);
    data.remove_prefix(piece.size());
    std::string frame;
    Append32(&frame, stream);
    Append32(&frame, (fin && data.empty() ? 1u << 24 : 0) | static_cast<uint32_t>(piece.size()));
    frame += piece;
    CO_RETURN_IF_ERROR(co_await Send(std::move(frame)));
  } while (!data.empty());
  co_return absl::OkStatus();
}

Task<StatusOr<SpdyClient::Event>> SpdyClient::Read() {
  for (;;) {
    CO_ASSIGN_OR_RETURN(const auto frame, ParseSpdyFrame(in_));
    if (frame && frame->kind == SpdyFrame::kData && frame->length > kMaxDataFrame * 16) {
      co_return InvalidArgument("spdy: data frame too long");
    }
    if (!frame || in_.size() < frame->head + frame->length) {
      char buffer[16384];
      CO_ASSIGN_OR_RETURN(const size_t n, co_await stream_->Read(buffer));
      if (n == 0) co_return absl::OutOfRangeError("spdy: connection ended");
      in_.append(buffer, n);
      continue;
    }
    Event event;
    event.stream = frame->stream;
    event.fin = frame->fin;
    if (frame->kind == SpdyFrame::kData) event.data = in_.substr(frame->head, frame->length);
    const std::string whole = frame->kind == SpdyFrame::kPing ? in_.substr(0, frame->head + frame->length) : "";
    in_.erase(0, frame->head + frame->length);
    switch (frame->kind) {
      case SpdyFrame::kData: co_return event;
      case SpdyFrame::kSynReply: event.opened = true; co_return event;
      case SpdyFrame::kReset: event.reset = event.fin = true; co_return event;
      case SpdyFrame::kPing:
        // Odd numbers are answers to pings of ours, which we never send.
        if (frame->stream % 2 == 0) CO_RETURN_IF_ERROR(co_await Send(whole));
        break;
      case SpdyFrame::kGoAway:
      case SpdyFrame::kOther: break;
    }
  }
}

}  // namespace skiff::kubelet
