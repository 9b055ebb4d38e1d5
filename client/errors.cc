#include "client/errors.h"

#include "absl/strings/cord.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::client {
namespace {

constexpr std::string_view kStatusUrl = "k8s.io/status";

absl::StatusCode CodeFor(int http, const std::string& reason) {
  switch (http) {
    case 400:
    case 422: return absl::StatusCode::kInvalidArgument;
    case 401: return absl::StatusCode::kUnauthenticated;
    case 403: return absl::StatusCode::kPermissionDenied;
    case 404: return absl::StatusCode::kNotFound;
    case 405:
    case 406:
    case 415: return absl::StatusCode::kUnimplemented;
    case 409: return reason == "AlreadyExists" ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kAborted;
    case 410: return absl::StatusCode::kOutOfRange;
    case 429: return absl::StatusCode::kResourceExhausted;
    case 503: return absl::StatusCode::kUnavailable;
    case 504: return absl::StatusCode::kDeadlineExceeded;
    default: return absl::StatusCode::kInternal;
  }
}

bool HasCode(const Status& status, int code) { return !status.ok() && HttpCodeOf(status) == code; }

}  // namespace

Status FromApiStatus(const ApiStatus& status) {
  Status out(CodeFor(status.code(), status.reason()), status.message().empty() ? status.reason() : status.message());
  out.SetPayload(kStatusUrl, absl::Cord(status.SerializeAsString()));
  return out;
}

std::optional<ApiStatus> ToApiStatus(const Status& status) {
  const auto payload = status.GetPayload(kStatusUrl);
  if (!payload) return std::nullopt;
  ApiStatus out;
  if (!out.ParseFromString(std::string(*payload))) return std::nullopt;
  return out;
}

std::string ReasonOf(const Status& status) {
  const auto api = ToApiStatus(status);
  return api ? api->reason() : "";
}

int HttpCodeOf(const Status& status) {
  const auto api = ToApiStatus(status);
  return api ? api->code() : 0;
}

std::chrono::seconds RetryAfterOf(const Status& status) {
  const auto api = ToApiStatus(status);
  return std::chrono::seconds(api ? api->details().retryafterseconds() : 0);
}

bool IsConflict(const Status& status) { return HasCode(status, 409) && ReasonOf(status) == "Conflict"; }
bool IsGone(const Status& status) { return HasCode(status, 410); }
bool IsInvalid(const Status& status) { return HasCode(status, 422); }
bool IsForbidden(const Status& status) { return HasCode(status, 403); }
bool IsUnauthorized(const Status& status) { return HasCode(status, 401); }
bool IsTooManyRequests(const Status& status) { return HasCode(status, 429); }

bool IsNamespaceTerminating(const Status& status) {
  const auto api = ToApiStatus(status);
  if (!api) return false;
  for (const auto& cause : api->details().causes()) {
    if (cause.reason() == "NamespaceTerminating") return true;
  }
  return false;
}

}  // namespace skiff::client
