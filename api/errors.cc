#include "api/errors.h"

#include <algorithm>
#include <map>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/text.h"

namespace skiff::api {
namespace {

constexpr std::string_view kPayloadUrl = "k8s.io/status";  // the client package reads and writes the same

absl::StatusCode CodeOf(const StatusMessage& message) {
  switch (message.code()) {
    case 404: return absl::StatusCode::kNotFound;
    case 409:
      return message.reason() == "AlreadyExists" ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kAborted;
    case 410: return absl::StatusCode::kOutOfRange;
    case 401: return absl::StatusCode::kUnauthenticated;
    case 403: return absl::StatusCode::kPermissionDenied;
    case 400:
    case 413:
    case 422: return absl::StatusCode::kInvalidArgument;
    case 405:
    case 406:
    case 415: return absl::StatusCode::kUnimplemented;
    case 429: return absl::StatusCode::kResourceExhausted;
    case 503: return absl::StatusCode::kUnavailable;
    case 504: return absl::StatusCode::kDeadlineExceeded;
    default: return absl::StatusCode::kInternal;
  }
}

StatusMessage Failure(int code, std::string_view reason, std::string_view text) {
  StatusMessage out;
  out.set_status("Failure");
  out.set_code(code);
  out.set_reason(std::string(reason));
  out.set_message(std::string(text));
  return out;
}

Status Made(int code, std::string_view reason, std::string_view text) {
  return FromStatusMessage(Failure(code, reason, text));
}

std::string Qualified(std::string_view name, std::string_view group) {
  return group.empty() ? std::string(name) : absl::StrCat(name, ".", group);
}

Status MadeAbout(int code, std::string_view reason, std::string_view text, const About& about) {
  StatusMessage out = Failure(code, reason, text);
  auto* details = out.mutable_details();
  if (!about.name.empty()) details->set_name(std::string(about.name));
  if (!about.group.empty()) details->set_group(std::string(about.group));
  if (!about.resource.empty()) details->set_kind(std::string(about.resource));
  return FromStatusMessage(std::move(out));
}

void AddCauses(const std::vector<Cause>& causes, StatusMessage* out) {
  for (const Cause& cause : causes) {
    auto* added = out->mutable_details()->add_causes();
    added->set_reason(cause.reason);
    added->set_message(cause.message);
    if (!cause.field.empty()) added->set_field(cause.field);
  }
}

}  // namespace

Status FromStatusMessage(StatusMessage message) {
  if (message.status() == "Success") return absl::OkStatus();
  Status out(CodeOf(message), message.message());
  out.SetPayload(kPayloadUrl, absl::Cord(message.SerializeAsString()));
  return out;
}

StatusMessage ToStatusMessage(const Status& status) {
  if (status.ok()) {
    StatusMessage out;
    out.set_status("Success");
    out.set_code(200);
    return out;
  }
  if (const auto payload = status.GetPayload(kPayloadUrl)) {
    StatusMessage out;
    if (out.ParseFromString(std::string(*payload))) return out;
  }
  switch (status.code()) {
    case absl::StatusCode::kNotFound: return Failure(404, "NotFound", status.message());
    case absl::StatusCode::kAlreadyExists: return Failure(409, "AlreadyExists", status.message());
    case absl::StatusCode::kAborted: return Failure(409, "Conflict", status.message());
    case absl::StatusCode::kInvalidArgument: return Failure(400, "BadRequest", status.message());
    case absl::StatusCode::kUnauthenticated: return Failure(401, "Unauthorized", status.message());
    case absl::StatusCode::kPermissionDenied: return Failure(403, "Forbidden", status.message());
    case absl::StatusCode::kOutOfRange: return Failure(410, "Expired", status.message());
    case absl::StatusCode::kResourceExhausted: return Failure(429, "TooManyRequests", status.message());
    case absl::StatusCode::kUnavailable: return Failure(503, "ServiceUnavailable", status.message());
    case absl::StatusCode::kDeadlineExceeded: return Failure(504, "Timeout", status.message());
    default: return Failure(500, "InternalError", absl::StrCat("Internal error occurred: ", status.message()));
  }
}

std::string ReasonOf(const Status& status) {
  if (const auto payload = status.GetPayload(kPayloadUrl)) {
    StatusMessage out;
    if (out.ParseFromString(std::string(*payload))) return out.reason();
  }
  return {};
}

int HttpCodeOf(const Status& status) { return ToStatusMessage(status).code(); }

Status NotFoundError(const About& about) {
  return MadeAbout(404, "NotFound",
                   absl::StrCat(Qualified(about.resource, about.group), " ", GoQuote(about.name), " not found"), about);
}
Status AlreadyExistsError(const About& about) {
  return MadeAbout(409, "AlreadyExists",
                   absl::StrCat(Qualified(about.resource, about.group), " ", GoQuote(about.name), " already exists"),
                   about);
}
Status ConflictError(const About& about, std::string_view why) {
  return MadeAbout(409, "Conflict",
                   absl::StrCat("Operation cannot be fulfilled on ", Qualified(about.resource, about.group), " ",
                                GoQuote(about.name), ": ", why),
                   about);
}
Status GoneError(std::string_view message) { return Made(410, "Gone", message); }
Status ExpiredError(std::string_view message) { return Made(410, "Expired", message); }
Status ForbiddenError(const About& about, std::string_view why) {
  std::string text;
  if (about.resource.empty())
    text = absl::StrCat("forbidden: ", why);
  else if (about.name.empty())
    text = absl::StrCat(Qualified(about.resource, about.group), " is forbidden: ", why);
  else
    text = absl::StrCat(Qualified(about.resource, about.group), " ", GoQuote(about.name), " is forbidden: ", why);
  return MadeAbout(403, "Forbidden", text, about);
}
Status UnauthorizedError(std::string_view message) {
  return Made(401, "Unauthorized", message.empty() ? "not authorized" : message);
}
Status BadRequestError(std::string_view message) { return Made(400, "BadRequest", message); }
Status InternalError(std::string_view message) {
  StatusMessage out = Failure(500, "InternalError", absl::StrCat("Internal error occurred: ", message));
  out.mutable_details()->add_causes()->set_message(std::string(message));
  return FromStatusMessage(std::move(out));
}
Status MethodNotSupportedError(const About& about, std::string_view action) {
  return MadeAbout(
      405, "MethodNotAllowed",
      absl::StrCat(action, " is not supported on resources of kind ", GoQuote(Qualified(about.resource, about.group))),
      {about.group, about.resource, {}});
}
Status NotAcceptableError(std::string_view message) { return Made(406, "NotAcceptable", message); }
Status UnsupportedMediaTypeError(std::string_view message) { return Made(415, "UnsupportedMediaType", message); }
Status RequestTooLargeError(std::string_view message) {
  return Made(413, "RequestEntityTooLarge", absl::StrCat("Request entity too large: ", message));
}
Status ServiceUnavailableError(std::string_view message) { return Made(503, "ServiceUnavailable", message); }
Status TooManyRequestsError(std::string_view message, int retry_after_seconds) {
  StatusMessage out = Failure(429, "TooManyRequests", message);
  auto* details = out.mutable_details();
  if (retry_after_seconds != 0) details->set_retryafterseconds(retry_after_seconds);
  return FromStatusMessage(std::move(out));
}
Status TimeoutError(std::string_view message, int retry_after_seconds) {
  StatusMessage out = Failure(504, "Timeout", absl::StrCat("Timeout: ", message));
  auto* details = out.mutable_details();
  if (retry_after_seconds != 0) details->set_retryafterseconds(retry_after_seconds);
  return FromStatusMessage(std::move(out));
}

Status InvalidError(std::string_view group, std::string_view kind, std::string_view name,
                    const std::vector<Cause>& causes) {
  // Upstream's aggregate: one error bare, several in brackets, repeated ones once.
  std::vector<std::string> texts;
  for (const Cause& cause : causes) {
    std::string text = absl::StrCat(cause.field, ": ", cause.message);
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
  }
  const std::string all = texts.size() == 1 ? texts[0] : absl::StrCat("[", absl::StrJoin(texts, ", "), "]");
  StatusMessage out =
      Failure(422, "Invalid",
              causes.empty() ? absl::StrCat(Qualified(kind, group), " ", GoQuote(name), " is invalid")
                             : absl::StrCat(Qualified(kind, group), " ", GoQuote(name), " is invalid: ", all));
  auto* details = out.mutable_details();
  if (!name.empty()) details->set_name(std::string(name));
  if (!group.empty()) details->set_group(std::string(group));
  details->set_kind(std::string(kind));
  AddCauses(causes, &out);
  return FromStatusMessage(std::move(out));
}

Status ApplyConflictError(const std::vector<Cause>& causes, std::string_view message) {
  StatusMessage out = Failure(409, "Conflict", message);
  out.mutable_details();
  AddCauses(causes, &out);
  return FromStatusMessage(std::move(out));
}

}  // namespace skiff::api
