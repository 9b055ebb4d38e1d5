// Child processes from the loop: arguments as a vector (never a shell), output collected up to a limit, the child and
// its process group killed on time-out or cancellation. Children are waited for by pidfd, so SIGCHLD stays untouched.
#ifndef SKIFF_BASE_SUBPROCESS_H_
#define SKIFF_BASE_SUBPROCESS_H_

#include <chrono>
#include <string>
#include <vector>

#include "base/async.h"

namespace skiff {

struct Command {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // "A=b"; empty: inherited
  std::string input;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
  size_t output_limit = 1 << 20;  // of each stream; the rest is read and dropped
};

struct CommandResult {
  int exit_code = -1;  // 128 + n after signal n
  std::string out, err;
};

// An error only when the program could not be started (kNotFound), timed out (kDeadlineExceeded) or the caller was
// cancelled (kCancelled). The child leads a process group of its own, with default signal handling. A killed child that
// does not die, because the kernel holds it, is not waited for.
Task<StatusOr<CommandResult>> RunCommand(Command command);

}  // namespace skiff

#endif  // SKIFF_BASE_SUBPROCESS_H_
