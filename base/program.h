// What every long-running program does the same way: one loop, signals, exit codes.
#ifndef SKIFF_BASE_PROGRAM_H_
#define SKIFF_BASE_PROGRAM_H_

#include <functional>

#include "base/async.h"

namespace skiff {

// Runs `body` on a new io_context until it returns. The first SIGTERM or SIGINT cancels it (it then cleans up and
// returns), a second one exits at once with 1. SIGPIPE is ignored. An error is logged; returns the exit code.
int RunProgram(std::function<Task<Status>(asio::io_context&)> body);

// Skiff's version ("v1.36.2-skiff.0.1.0" style is in kVersion) as upstream's --version prints it: "Kubernetes v1.36.2".
extern const char kKubernetesVersion[];  // "v1.36.2"
extern const char kSkiffVersion[];       // "0.1.0"

}  // namespace skiff

#endif  // SKIFF_BASE_PROGRAM_H_
