#include "kubelet/volume/mount_options.h"

#include <sys/mount.h>

#include <set>
#include <string_view>

#include "absl/strings/str_split.h"

namespace skiff::kubelet {
namespace {

constexpr char kAnnotation[] = "volume.beta.kubernetes.io/mount-options";

struct Option {
  std::string_view name;
  uint64_t set, clear;
};
// All that is said of access times is one field of the kernel's.
constexpr Option kOptions[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"norelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
};

}  // namespace

std::vector<std::string> MountOptionsOf(const PersistentVolume& volume) {
  std::set<std::string> out;
  const auto& annotations = volume.metadata().annotations();
  if (const auto it = annotations.find(kAnnotation); it != annotations.end()) {
    for (std::string_view option : absl::StrSplit(it->second, ',', absl::SkipEmpty())) out.emplace(option);
  } else {
    // One entry may hold several, as mount(8) reads them.
    for (const std::string& entry : volume.spec().mountoptions()) {
      for (std::string_view option : absl::StrSplit(entry, ',', absl::SkipEmpty())) out.emplace(option);
    }
  }
  return {out.begin(), out.end()};
}

MountAttributes AttributesOf(const std::vector<std::string>& options) {
  MountAttributes out;
  for (const std::string& name : options) {
    bool known = name == "bind" || name == "rbind" || name == "defaults";
    for (const Option& option : kOptions) {
      if (option.name != name) continue;
      known = true;
      // Of two that contradict, the later one counts.
      out.set = (out.set & ~option.clear) | option.set;
      out.clear = (out.clear & ~(option.clear == MOUNT_ATTR__ATIME ? 0 : option.set)) | option.clear;
    }
    if (!known) out.ignored.push_back(name);
  }
  return out;
}

}  // namespace skiff::kubelet
