// The parts of gRPC over HTTP/2 that are bytes only: message framing, status headers, time-outs. Pure; any thread.
// Upstream: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
#ifndef SKIFF_BASE_GRPC_FRAMES_H_
#define SKIFF_BASE_GRPC_FRAMES_H_

#include <chrono>
#include <deque>
#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff {

// `message` with its five-byte prefix, uncompressed.
std::string FrameGrpcMessage(std::string_view message);

// Cuts a stream of bytes into messages. An error (a compressed message, one past the limit) is final.
class GrpcMessageReader {
 public:
  explicit GrpcMessageReader(size_t max_message_bytes) : limit_(max_message_bytes) {}
  Status Feed(std::string_view bytes);
  bool HasMessage() const { return !messages_.empty(); }
  std::string TakeMessage();
  bool InsideMessage() const { return !partial_.empty(); }  // the stream must not end here

 private:
  size_t limit_;
  std::string partial_;
  std::deque<std::string> messages_;
};

// "%41" to "A"; what is no escape stays as it is.
std::string PercentDecodeGrpc(std::string_view text);

// The value of grpc-timeout: at most eight digits and a unit, rounded up.
std::string GrpcTimeout(std::chrono::nanoseconds timeout);

// What a call ended with when its trailers did not say: an HTTP status that is not 200, a reset with an HTTP/2 error
// code.
Status GrpcStatusOfHttp(int http_status);
Status GrpcStatusOfReset(uint32_t http2_error);

// From the headers grpc-status and grpc-message. kUnknown for a status that is no number of gRPC's.
Status GrpcStatusOfTrailers(std::string_view status, std::string_view message);

}  // namespace skiff

#endif  // SKIFF_BASE_GRPC_FRAMES_H_
