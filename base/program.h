// What every long-running program does the same way: one loop, signals, exit codes.
#ifndef SKIFF_BASE_PROGRAM_H_
#define SKIFF_BASE_PROGRAM_H_

#include <functional>

#include "base/async.h"

namespace skiff {

// Runs `body` on a new io_context until it returns; what else runs on the loop then just stops. The first SIGTERM or
// SIGINT cancels it (it then cleans up, after ClearCancellation where that waits, and returns), a second one exits at
// once with 1. SIGPIPE is ignored. Returns the exit code: 0 for OK and for kCancelled after a signal, else 1 with the
// error logged.
int RunProgram(std::function<Task<Status>(asio::io_context&)> body);

// What upstream's --version prints after "Kubernetes ", and our own.
extern const char kKubernetesVersion[];  // "v1.36.2"
extern const char kSkiffVersion[];       // "0.1.0"

}  // namespace skiff

#endif  // SKIFF_BASE_PROGRAM_H_
