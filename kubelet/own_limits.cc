#include "kubelet/own_limits.h"

#include <sys/resource.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace skiff::kubelet {

Status SetMostOpenFiles(uint64_t most) {
  const rlimit wanted{most, most};
  if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) return absl::OkStatus();
  const Status refused = ErrnoStatus(errno, absl::StrCat("setrlimit ", most));
  rlimit now{};
  if (getrlimit(RLIMIT_NOFILE, &now) == 0) {
    now.rlim_cur = now.rlim_max;
    setrlimit(RLIMIT_NOFILE, &now);
  }
  return refused;
}

}  // namespace skiff::kubelet
