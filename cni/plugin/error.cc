#include "cni/plugin/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"

namespace skiff::cni {
namespace {
constexpr std::string_view kUrl = "skiff/cni-code";
}

Status CniError(ErrorCode code, std::string_view message) {
  Status status = absl::FailedPreconditionError(message);
  status.SetPayload(kUrl, absl::Cord(absl::StrCat(static_cast<int>(code))));
  return status;
}

ErrorCode CodeOf(const Status& status) {
  int code = 0;
  const auto payload = status.GetPayload(kUrl);
  if (payload && absl::SimpleAtoi(std::string(*payload), &code)) return static_cast<ErrorCode>(code);
  return ErrorCode::kIoFailure;
}

}  // namespace skiff::cni
