// fsGroup: makes a volume's files belong to a group and be accessible to it, as upstream does. Blocking; any thread.
// No symbolic link is followed.
#ifndef SKIFF_KUBELET_VOLUME_OWNERSHIP_H_
#define SKIFF_KUBELET_VOLUME_OWNERSHIP_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace skiff::kubelet {

// How far a walk is, for other threads.
struct OwnershipProgress {
  std::atomic<bool> walking{false};
  std::atomic<int64_t> files{0};  // directories and links too
};

// Group and mode bits (rw for the group, r if `read_only`; x and setgid on directories) on `dir` and all below it.
Status SetVolumeOwnership(const std::string& dir, gid_t group, bool read_only, OwnershipProgress* progress = nullptr);

// Whether `dir` itself is as that leaves it, for fsGroupChangePolicy OnRootMismatch: the root is changed last.
bool OwnershipFits(const std::string& dir, gid_t group, bool read_only);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_OWNERSHIP_H_
