// API errors as values: an absl::Status that carries a metav1.Status as payload, so that reason, code, details and
// causes survive every hop. The server writes ToStatusMessage(status) as the answer's body; the client turns an
// answer's body into FromStatusMessage. Codes map: 404 kNotFound, 409 AlreadyExists kAlreadyExists, 409 Conflict
// kAborted, 400/422 kInvalidArgument, 401 kUnauthenticated, 403 kPermissionDenied, 410 kOutOfRange, 429
// kResourceExhausted, 503 kUnavailable, 504 kDeadlineExceeded, 500 kInternal, others kUnknown. Message words are
// upstream's. Thread-safe.
#ifndef SKIFF_API_ERRORS_H_
#define SKIFF_API_ERRORS_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api {

using StatusMessage = k8s::io::apimachinery::pkg::apis::meta::v1::Status;

Status FromStatusMessage(StatusMessage message);
// The carried message; for other errors a made one (500 InternalError, or what the absl code says). OK: status Success.
StatusMessage ToStatusMessage(const Status& status);
// The reason ("NotFound", "Conflict", ...) or "" where the error carries none.
std::string ReasonOf(const Status& status);
int HttpCodeOf(const Status& status);  // 200 for OK

// What an error is about. `resource` is the plural name ("pods"), `group` "" for core.
struct About {
  std::string_view group, resource, name;
};
struct Cause {
  std::string reason, message, field;
};

Status NotFoundError(const About& about);                         // pods "x" not found
Status AlreadyExistsError(const About& about);                    // pods "x" already exists
Status ConflictError(const About& about, std::string_view why);   // Operation cannot be fulfilled on pods "x": why
Status GoneError(std::string_view message);                       // 410 Expired... see ExpiredError
Status ExpiredError(std::string_view message);                    // 410, reason Expired
Status ForbiddenError(const About& about, std::string_view why);  // pods "x" is forbidden: why
Status UnauthorizedError(std::string_view message);
Status BadRequestError(std::string_view message);
Status InternalError(std::string_view message);  // Internal error occurred: message
Status MethodNotSupportedError(const About& about, std::string_view action);
Status NotAcceptableError(std::string_view message);
Status UnsupportedMediaTypeError(std::string_view message);
Status RequestTooLargeError(std::string_view message);
Status ServiceUnavailableError(std::string_view message);
Status TooManyRequestsError(std::string_view message, int retry_after_seconds);
Status TimeoutError(std::string_view message, int retry_after_seconds);
// 422 with causes; `group` and `kind` as in `Deployment.apps "x" is invalid: ...`.
Status InvalidError(std::string_view group, std::string_view kind, std::string_view name,
                    const std::vector<Cause>& causes);
// Apply conflicts: 409 with causes.
Status ApplyConflictError(const std::vector<Cause>& causes, std::string_view message);

}  // namespace skiff::api

#endif  // SKIFF_API_ERRORS_H_
