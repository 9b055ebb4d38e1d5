// Errors as the CNI specification (1.1.0, "Error") numbers them. A Status carries its code as a payload; whatever
// carries none is reported as 5 (I/O failure).
#ifndef SKIFF_CNI_PLUGIN_ERROR_H_
#define SKIFF_CNI_PLUGIN_ERROR_H_

#include <string_view>

#include "base/status.h"

namespace skiff::cni {

enum class ErrorCode {
  kIncompatibleVersion = 1,
  kUnsupportedField = 2,
  kUnknownContainer = 3,
  kInvalidEnvironment = 4,
  kIoFailure = 5,
  kDecodeFailure = 6,
  kInvalidConfig = 7,
  kTryAgainLater = 11,
  kNotAvailable = 50,
};

Status CniError(ErrorCode code, std::string_view message);
ErrorCode CodeOf(const Status& status);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_ERROR_H_
