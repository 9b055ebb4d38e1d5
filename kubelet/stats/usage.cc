#include "kubelet/stats/usage.h"

#include <sys/stat.h>

#include "cadvisor/machine.h"
#include "kubelet/stats/readers.h"

namespace skiff::kubelet {
namespace {

constexpr uint64_t kUnlimited = uint64_t{1} << 62;

std::optional<FsUse> FsOf(const std::string& directory) {
  const auto fs = cadvisor::StatFilesystem(directory);
  if (!fs.ok()) return std::nullopt;
  return FsUse{
      .capacity = fs->capacity, .available = fs->available, .inodes = fs->inodes, .inodes_free = fs->inodes_free};
}

std::optional<uint64_t> WorkingSet(Readers& readers, const std::string& cgroup) {
  if (cgroup.empty()) return std::nullopt;
  const auto stats = readers.cgroups.ReadCpuAndMemory(cgroup);
  if (!stats.ok()) return std::nullopt;
  return stats->memory.working_set;
}

PodUse ReadPod(Readers& readers, const PodSource& pod) {
  PodUse out;
  out.memory = WorkingSet(readers, pod.cgroup);
  for (const ContainerSource& container : pod.containers) {
    ContainerUse& use = out.containers.emplace_back();
    use.name = container.name;
    use.memory = WorkingSet(readers, container.cgroup);
    if (const auto pids = readers.cgroups.Pids(container.cgroup); pids.ok()) out.processes += pids->size();
    if (container.rootfs_used_bytes) {
      use.rootfs = DiskUse{*container.rootfs_used_bytes, container.rootfs_used_inodes.value_or(0)};
      out.ephemeral += *use.rootfs;
    }
    if (!container.log_directory.empty()) use.logs = MeasureLogs(container.log_directory);
    if (use.logs) out.ephemeral += *use.logs;
  }
  for (const VolumeStatsSource& volume : pod.volumes) {
    if (!volume.figures) continue;
    out.volumes[volume.name] = volume.figures->used;
    if (volume.ephemeral) out.ephemeral += volume.figures->used;
  }
  struct stat hosts;
  if (!pod.hosts_file.empty() && ::lstat(pod.hosts_file.c_str(), &hosts) == 0) {
    out.ephemeral += {static_cast<uint64_t>(hosts.st_blocks) * 512, 1};
  }
  return out;
}

}  // namespace

bool OnOtherDevices(const std::string& a, const std::string& b) {
  struct stat one, other;
  return ::stat(a.c_str(), &one) == 0 && ::stat(b.c_str(), &other) == 0 && one.st_dev != other.st_dev;
}

std::optional<DiskUse> MeasureLogs(const std::string& directory) {
  const StatusOr<Dir> dir = Dir::Open(directory);
  if (!dir.ok()) return std::nullopt;
  const auto names = dir->List();
  if (!names.ok()) return std::nullopt;
  DiskUse use;
  for (const std::string& name : *names) {
    if (const auto st = dir->Stat(name); st.ok()) use += {static_cast<uint64_t>(st->st_blocks) * 512, 1};
  }
  return use;
}

NodeUse ReadUse(Readers& readers, const NodeSource& source) {
  NodeUse out;
  const auto total = cadvisor::ReadMeminfo(readers.host, "MemTotal");
  if (const auto used = WorkingSet(readers, "/"); used && total.ok()) {
    out.node = NodeUse::Memory{*total - std::min(*total, *used), *used};
  }
  for (const NodeSource::System& system : source.system) {
    if (system.name != "pods") continue;
    const auto used = WorkingSet(readers, system.cgroup);
    const auto spec = readers.cgroups.ReadSpec(system.cgroup);
    if (!used || !spec.ok() || !spec->has_memory || spec->memory_limit > kUnlimited) continue;
    out.pods = NodeUse::Memory{spec->memory_limit - std::min(spec->memory_limit, *used), *used};
  }
  out.node_fs = FsOf(source.root_directory);
  // A runtime in another mount namespace may name a directory that is not here.
  const bool known = FsOf(source.image_directory).has_value();
  const std::string& images = known ? source.image_directory : source.root_directory;
  const bool layers_known = !source.container_directory.empty() && FsOf(source.container_directory).has_value();
  const std::string& layers = layers_known ? source.container_directory : images;
  out.image_fs = FsOf(images);
  out.container_fs = FsOf(layers);
  out.dedicated_image_fs = OnOtherDevices(source.root_directory, images);
  out.split_image_fs = OnOtherDevices(images, layers);
  if (const auto tasks = cadvisor::ReadTaskCounts(readers.host); tasks.ok()) {
    out.pids = NodeUse::Pids{tasks->max, tasks->running};
  }
  for (const PodSource& pod : source.pods) out.by_pod[pod.uid] = ReadPod(readers, pod);
  return out;
}

}  // namespace skiff::kubelet
