// Errors are values: absl::Status and absl::StatusOr everywhere, context added on the way up, errno kept.
// Functions here do not throw. Thread-safe (no state). docs/errors.md says which errors do what.
#ifndef SKIFF_BASE_STATUS_H_
#define SKIFF_BASE_STATUS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace skiff {

using absl::Status;
using absl::StatusOr;

// A status for a failed system call: "context: No such file or directory". The code is the nearest of absl's
// (ENOENT -> kNotFound, EEXIST -> kAlreadyExists, EACCES/EPERM -> kPermissionDenied, EINVAL -> kInvalidArgument,
// ENOSPC/EDQUOT/ENOMEM -> kResourceExhausted, EBUSY -> kFailedPrecondition, ETIMEDOUT -> kDeadlineExceeded,
// ECANCELED -> kCancelled, ECONN*/EPIPE/ENETUNREACH/EHOSTUNREACH -> kUnavailable, others -> kInternal);
// ErrnoOf gives the number back.
Status ErrnoStatus(int err, std::string_view context);

// The errno a status carries, or 0.
int ErrnoOf(const Status& status);

// "context: message", code and payloads kept. An OK status stays OK.
Status Annotate(const Status& status, std::string_view context);

// Message without code, or "" for OK: what a person should read.
inline std::string_view Message(const Status& status) { return status.message(); }

template <typename... A>
Status InvalidArgument(const A&... a) { return absl::InvalidArgumentError(absl::StrCat(a...)); }
template <typename... A>
Status NotFound(const A&... a) { return absl::NotFoundError(absl::StrCat(a...)); }
template <typename... A>
Status Internal(const A&... a) { return absl::InternalError(absl::StrCat(a...)); }
template <typename... A>
Status Unavailable(const A&... a) { return absl::UnavailableError(absl::StrCat(a...)); }
template <typename... A>
Status FailedPrecondition(const A&... a) { return absl::FailedPreconditionError(absl::StrCat(a...)); }

namespace status_internal {
inline Status ToStatus(const Status& s) { return s; }
template <typename T>
Status ToStatus(const StatusOr<T>& s) { return s.status(); }
}  // namespace status_internal

}  // namespace skiff

#define SKIFF_CONCAT_INNER(a, b) a##b
#define SKIFF_CONCAT(a, b) SKIFF_CONCAT_INNER(a, b)

// RETURN_IF_ERROR(expr [, context...]): return the error, context prepended. CO_ forms are for coroutines.
#define SKIFF_ERROR_IMPL(ret, expr, ...)                                                                   \
  do {                                                                                                     \
    if (auto skiff_status = (expr); !skiff_status.ok()) [[unlikely]]                                       \
      ret ::skiff::status_internal::ToStatus(skiff_status)__VA_OPT__(.ok() ? ::skiff::Status()             \
          : ::skiff::Annotate(::skiff::status_internal::ToStatus(skiff_status), ::absl::StrCat(__VA_ARGS__))); \
  } while (false)
#define RETURN_IF_ERROR(expr, ...) SKIFF_ERROR_IMPL(return, expr __VA_OPT__(, ) __VA_ARGS__)
#define CO_RETURN_IF_ERROR(expr, ...) SKIFF_ERROR_IMPL(co_return, expr __VA_OPT__(, ) __VA_ARGS__)

// ASSIGN_OR_RETURN(lhs, expr [, context...]): lhs may declare. lhs must hold no comma outside parentheses.
#define SKIFF_ASSIGN_IMPL(ret, tmp, lhs, expr, ...)                                                        \
  auto tmp = (expr);                                                                                       \
  if (!tmp.ok()) [[unlikely]]                                                                              \
    ret ::skiff::status_internal::ToStatus(tmp)__VA_OPT__(.ok() ? ::skiff::Status()                        \
        : ::skiff::Annotate(::skiff::status_internal::ToStatus(tmp), ::absl::StrCat(__VA_ARGS__)));        \
  lhs = *std::move(tmp)
#define ASSIGN_OR_RETURN(lhs, expr, ...) \
  SKIFF_ASSIGN_IMPL(return, SKIFF_CONCAT(skiff_or_, __LINE__), lhs, expr __VA_OPT__(, ) __VA_ARGS__)
#define CO_ASSIGN_OR_RETURN(lhs, expr, ...) \
  SKIFF_ASSIGN_IMPL(co_return, SKIFF_CONCAT(skiff_or_, __LINE__), lhs, expr __VA_OPT__(, ) __VA_ARGS__)

#endif  // SKIFF_BASE_STATUS_H_
