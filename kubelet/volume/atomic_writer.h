// Writes a set of files into a volume so that readers see the old set or the new one, never a mixture. On disk as
// upstream: DIR/..data -> ..2026_01_01_00_00_00.123, the files in that directory, and DIR/NAME -> ..data/NAME for every
// first path component. Blocking; any thread, one writer a directory.
#ifndef SKIFF_KUBELET_VOLUME_ATOMIC_WRITER_H_
#define SKIFF_KUBELET_VOLUME_ATOMIC_WRITER_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/status.h"

namespace skiff::kubelet {

struct FileProjection {
  std::string data;
  mode_t mode = 0644;
  std::optional<uid_t> user;  // owner of the file and its link; none: root
};

using Payload = std::map<std::string, FileProjection>;  // by relative path

// Errors in upstream's words: "invalid path: must not contain '..': a/../b".
Status ValidatePayloadPath(const std::string& path);

// Brings `dir` (which exists) to `payload`. Nothing is written when the content is the same already. `set_ownership`
// runs on a new set before it becomes visible. True when something was written.
StatusOr<bool> WriteAtomically(const std::string& dir, const Payload& payload,
                               const std::function<Status()>& set_ownership, std::chrono::system_clock::time_point now);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_ATOMIC_WRITER_H_
