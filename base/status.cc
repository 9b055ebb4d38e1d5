#include "base/status.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"

namespace skiff {
namespace {

constexpr std::string_view kErrnoUrl = "skiff/errno";

absl::StatusCode CodeOf(int err) {
  switch (err) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
    case ENXIO: return absl::StatusCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY: return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM: return absl::StatusCode::kPermissionDenied;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP: return absl::StatusCode::kInvalidArgument;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE: return absl::StatusCode::kResourceExhausted;
    case EBUSY:
    case ETXTBSY: return absl::StatusCode::kFailedPrecondition;
    case ETIMEDOUT: return absl::StatusCode::kDeadlineExceeded;
    case ECANCELED: return absl::StatusCode::kCancelled;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOTCONN: return absl::StatusCode::kUnavailable;
    case ENOSYS:
    case EOPNOTSUPP: return absl::StatusCode::kUnimplemented;
    default: return absl::StatusCode::kInternal;
  }
}

}  // namespace

Status ErrnoStatus(int err, std::string_view context) {
  Status status(CodeOf(err), absl::StrCat(context, ": ", strerror(err)));
  status.SetPayload(kErrnoUrl, absl::Cord(absl::StrCat(err)));
  return status;
}

int ErrnoOf(const Status& status) {
  const auto payload = status.GetPayload(kErrnoUrl);
  int err = 0;
  if (payload && absl::SimpleAtoi(std::string(*payload), &err)) return err;
  return 0;
}

Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  Status out(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) { out.SetPayload(url, value); });
  return out;
}

}  // namespace skiff
