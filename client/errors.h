// What an API server's Status object says, as absl::Status: the code follows the HTTP status, the Status itself is kept
// as a payload. The helpers are false for OK and for errors that did not come from an API server.
//
//   404 kNotFound, 409 AlreadyExists kAlreadyExists, 409 otherwise kAborted, 410 kOutOfRange, 401 kUnauthenticated,
//   403 kPermissionDenied, 400 and 422 kInvalidArgument, 405 406 415 kUnimplemented, 429 kResourceExhausted,
//   503 kUnavailable, 504 kDeadlineExceeded, others kInternal.
#ifndef SKIFF_CLIENT_ERRORS_H_
#define SKIFF_CLIENT_ERRORS_H_

#include <chrono>
#include <optional>
#include <string>

#include "base/status.h"

namespace k8s::io::apimachinery::pkg::apis::meta::v1 {
class Status;
}

namespace skiff::client {

using ApiStatus = ::k8s::io::apimachinery::pkg::apis::meta::v1::Status;

Status FromApiStatus(const ApiStatus& status);
std::optional<ApiStatus> ToApiStatus(const Status& status);

std::string ReasonOf(const Status& status);               // "NotFound", "Conflict", ...; "" when unknown
int HttpCodeOf(const Status& status);                     // 404, ...; 0 when the error did not come from a server
std::chrono::seconds RetryAfterOf(const Status& status);  // 0 when the server named none

using absl::IsAlreadyExists;  // 409 AlreadyExists has this code, 404 that one
using absl::IsNotFound;
bool IsConflict(const Status& status);  // the object changed meanwhile: read again
bool IsGone(const Status& status);      // 410, reasons Expired and Gone: list again
bool IsInvalid(const Status& status);
bool IsForbidden(const Status& status);
bool IsUnauthorized(const Status& status);
bool IsTooManyRequests(const Status& status);
// A create in a namespace that is being deleted (cause NamespaceTerminating).
bool IsNamespaceTerminating(const Status& status);

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_ERRORS_H_
