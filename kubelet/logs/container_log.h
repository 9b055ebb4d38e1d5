// Container logs in the CRI format ("2026-01-01T00:00:00.000000000Z stdout F text"), read for `kubectl logs` and for
// termination messages. Files are opened beneath a held directory and symbolic links are never followed (a pod may not
// point them elsewhere). Memory is bounded whatever the size of file or line. Loop only.
#ifndef SKIFF_KUBELET_LOGS_CONTAINER_LOG_H_
#define SKIFF_KUBELET_LOGS_CONTAINER_LOG_H_

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/async.h"
#include "base/clock.h"

namespace skiff::kubelet {

struct LogOptions {
  bool follow = false;
  bool timestamps = false;
  std::optional<int64_t> tail_lines;
  std::optional<int64_t> limit_bytes;
  std::optional<std::chrono::system_clock::time_point> since;
};

// Gets the text piece by piece; an error ends the reading.
using LogSink = std::function<Task<Status>(std::string_view)>;
// True while the container still writes (only asked when following, at the end of the file).
using LogRunning = std::function<Task<bool>()>;

// Reads the log at `path`, which must lie under `logs_dir`. Following goes across rotation (a new file of the same
// name) and ends when the container is gone and its file is read to the end, or with kCancelled.
Task<Status> ReadContainerLog(std::string logs_dir, std::string path, LogOptions options, LogSink sink,
                              LogRunning running, Clock& clock);

// A container's termination message: the file that was mounted at its terminationMessagePath (at most 4096 bytes), and,
// if that is empty and `fallback_to_logs`, the last 80 lines of its log (at most 2048 bytes). Blocking; any thread.
std::string ReadTerminationMessage(const std::string& host_path, bool fallback_to_logs, const std::string& logs_dir,
                                   const std::string& log_path);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_LOGS_CONTAINER_LOG_H_
