#include "kubelet/node/start_warnings.h"

namespace skiff::kubelet {

std::vector<std::pair<std::string, std::string>> StartWarnings(const StartFacts& facts) {
  std::vector<std::pair<std::string, std::string>> out;
  if (facts.swap && !facts.tmpfs_noswap) {
    out.emplace_back("PossibleMemoryBackedVolumesOnDisk",
                     "The tmpfs noswap option is not supported. Memory-backed volumes (e.g. secrets, emptyDirs, etc.) "
                     "might be swapped to disk and should no longer be considered secure.");
  }
  if (!facts.cgroup_v2) {
    out.emplace_back(
        "CgroupV1",
        "cgroup v1 detected. cgroup v1 support is deprecated and will be removed in a future release. Please migrate "
        "to "
        "cgroup v2. More information at https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1");
  }
  return out;
}

}  // namespace skiff::kubelet
