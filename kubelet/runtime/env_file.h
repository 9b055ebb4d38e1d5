// Variables from a file in a volume (fileKeyRef): a strict subset of shell, values in single quotes, which may span
// lines. Pure; any thread. Upstream: KEP-3721.
#ifndef SKIFF_KUBELET_RUNTIME_ENV_FILE_H_
#define SKIFF_KUBELET_RUNTIME_ENV_FILE_H_

#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::kubelet {

// The value of `key`; "" when the file does not have it. Lines after it are not looked at. Errors name the line:
// "invalid environment variable format at line 3: missing '='".
StatusOr<std::string> ValueFromEnvFile(std::string_view text, std::string_view key);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_ENV_FILE_H_
