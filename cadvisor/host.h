// The descriptors through which everything here looks at the machine. Tests point them at fake trees. Reading is
// blocking (kernel files: tens of microseconds each); a sweep over many containers belongs on the blocking pool.
#ifndef SKIFF_CADVISOR_HOST_H_
#define SKIFF_CADVISOR_HOST_H_

#include <string>

#include "base/files.h"

namespace skiff::cadvisor {

struct Host {
  // `root`, `root`/proc and `root`/sys.
  static StatusOr<Host> Open(const std::string& root = "/");

  Dir root, proc, sys;
};

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_HOST_H_
