// The texts of /proc/self/mountinfo and /proc/diskstats as values (proc(5), Documentation/admin-guide/iostats.rst).
#ifndef SKIFF_CADVISOR_MOUNTS_H_
#define SKIFF_CADVISOR_MOUNTS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace skiff::cadvisor {

struct Mount {
  uint32_t major = 0, minor = 0;
  std::string root, mountpoint, type, source;
};
StatusOr<std::vector<Mount>> ParseMountinfo(std::string_view text);

struct DiskStats {
  uint32_t major = 0, minor = 0;
  std::string name;
  std::array<uint64_t, 11> values{};  // the first eleven columns behind the name
};
StatusOr<std::vector<DiskStats>> ParseDiskstats(std::string_view text);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_MOUNTS_H_
