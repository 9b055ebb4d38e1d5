#include "base/grpc_frames.h"

#include <utility>

#include "absl/strings/numbers.h"

namespace skiff {
namespace {

constexpr size_t kPrefix = 5;

uint32_t LengthOf(std::string_view prefix) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(prefix[i])); };
  return byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string FrameGrpcMessage(std::string_view message) {
  std::string out;
  out.reserve(kPrefix + message.size());
  out.push_back('\0');
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(message.size() >> shift));
  out.append(message);
  return out;
}

Status GrpcMessageReader::Feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (partial_.size() < kPrefix) {
      const size_t n = std::min(kPrefix - partial_.size(), bytes.size());
      partial_.append(bytes.substr(0, n));
      bytes.remove_prefix(n);
      if (partial_.size() < kPrefix) return absl::OkStatus();
      if (partial_[0] != 0) {
        return absl::UnimplementedError("grpc: received a compressed message, which was not asked for");
      }
      if (LengthOf(partial_) > limit_) {
        return absl::ResourceExhaustedError(
            absl::StrCat("grpc: received message larger than max (", LengthOf(partial_), " vs. ", limit_, ")"));
      }
    }
    const size_t whole = kPrefix + LengthOf(partial_);
    const size_t n = std::min(whole - partial_.size(), bytes.size());
    partial_.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    if (partial_.size() < whole) return absl::OkStatus();
    partial_.erase(0, kPrefix);
    messages_.push_back(std::exchange(partial_, {}));
  }
  return absl::OkStatus();
}

std::string GrpcMessageReader::TakeMessage() {
  std::string out = std::move(messages_.front());
  messages_.pop_front();
  return out;
}

std::string PercentDecodeGrpc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 && HexDigit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(HexDigit(text[i + 1]) << 4 | HexDigit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string GrpcTimeout(std::chrono::nanoseconds timeout) {
  constexpr int64_t kMax = 99'999'999;
  const auto up = [&](int64_t unit) { return timeout.count() / unit + (timeout.count() % unit != 0); };
  if (timeout.count() <= 0) return "0n";
  if (timeout.count() <= kMax) return absl::StrCat(timeout.count(), "n");
  if (up(1'000) <= kMax) return absl::StrCat(up(1'000), "u");
  if (up(1'000'000) <= kMax) return absl::StrCat(up(1'000'000), "m");
  return absl::StrCat(std::min(up(1'000'000'000), kMax), "S");
}

Status GrpcStatusOfHttp(int http_status) {
  const std::string text = absl::StrCat("unexpected HTTP status code received from server: ", http_status);
  switch (http_status) {
    case 400: return absl::InternalError(text);
    case 401: return absl::UnauthenticatedError(text);
    case 403: return absl::PermissionDeniedError(text);
    case 404: return absl::UnimplementedError(text);
    case 429:
    case 502:
    case 503:
    case 504: return absl::UnavailableError(text);
    default: return absl::UnknownError(text);
  }
}

Status GrpcStatusOfReset(uint32_t http2_error) {
  const std::string text = absl::StrCat("stream terminated by RST_STREAM with error code: ", http2_error);
  switch (http2_error) {
    case 7: return absl::UnavailableError(text);         // REFUSED_STREAM
    case 8: return absl::CancelledError(text);           // CANCEL
    case 11: return absl::ResourceExhaustedError(text);  // ENHANCE_YOUR_CALM
    case 12: return absl::PermissionDeniedError(text);   // INADEQUATE_SECURITY
    default: return absl::InternalError(text);
  }
}

Status GrpcStatusOfTrailers(std::string_view status, std::string_view message) {
  int code = 0;
  if (!absl::SimpleAtoi(absl::string_view(status.data(), status.size()), &code) || code < 0 || code > 16) {
    return absl::UnknownError(absl::StrCat("transport: malformed grpc-status: ", status));
  }
  // gRPC's codes and absl's are the same numbers.
  return Status(static_cast<absl::StatusCode>(code), PercentDecodeGrpc(message));
}

}  // namespace skiff
