// What evictions and image garbage collection decide by: how much of memory, disk and process ids is left on the node,
// and what pods take of it. The figures are those of /stats/summary, as plain values. Upstream:
// kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction.
#ifndef SKIFF_KUBELET_STATS_USAGE_H_
#define SKIFF_KUBELET_STATS_USAGE_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace skiff::kubelet {

using StatsTime = std::chrono::system_clock::time_point;

struct Readers;
struct NodeSource;

struct DiskUse {
  uint64_t bytes = 0, inodes = 0;
  DiskUse& operator+=(const DiskUse& other) {
    bytes += other.bytes;
    inodes += other.inodes;
    return *this;
  }
};

struct ContainerUse {
  std::string name;
  std::optional<uint64_t> memory;  // working set, bytes
  std::optional<DiskUse> rootfs, logs;
};

struct PodUse {
  std::optional<uint64_t> memory;  // working set, bytes
  uint64_t processes = 0;
  std::vector<ContainerUse> containers;
  std::map<std::string, DiskUse> volumes;  // measured ones, by name
  DiskUse ephemeral;                       // writable layers, logs, local volumes and /etc/hosts together
};

struct FsUse {
  uint64_t capacity = 0, available = 0;  // bytes
  uint64_t inodes = 0, inodes_free = 0;
};

struct NodeUse {
  struct Memory {
    uint64_t available = 0, working_set = 0;  // bytes
  };
  struct Pids {
    int64_t most = 0, running = 0;
  };
  std::optional<Memory> node, pods;  // `pods`: of what pods may have together
  std::optional<FsUse> node_fs, image_fs, container_fs;
  // Images lie on another device than the kubelet's root; writable layers on another than the images.
  bool dedicated_image_fs = false, split_image_fs = false;
  std::optional<Pids> pids;
  std::map<std::string, PodUse> by_pod;  // by uid; only pods that were asked for
};

// Blocking. Both are there, on different devices.
bool OnOtherDevices(const std::string& a, const std::string& b);
// Blocking. What cannot be read is left out.
NodeUse ReadUse(Readers& readers, const NodeSource& source);
// The log files of a container, rotated ones too; not their directory, as upstream counts. None: no such directory.
std::optional<DiskUse> MeasureLogs(const std::string& directory);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_STATS_USAGE_H_
