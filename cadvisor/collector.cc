#include "cadvisor/collector.h"

#include <algorithm>
#include <cerrno>

#include "cadvisor/filesystem.h"
#include "cadvisor/network.h"
#include "cadvisor/parse.h"
#include "cadvisor/processes.h"

namespace skiff::cadvisor {
namespace {

// Readings closer than this give rates that say more about the kernel's accounting steps than about the container.
constexpr auto kLeastInterval = std::chrono::seconds(1);

// "/dev/vda" for 254:0.
std::string DeviceName(const Host& host, uint32_t major, uint32_t minor) {
  const StatusOr<Dir> dir = host.sys.FollowDir(absl::StrCat("dev/block/", major, ":", minor));
  if (!dir.ok()) return "";
  const StatusOr<std::string> uevent = dir->Read("uevent");
  if (!uevent.ok()) return "";
  std::string_view rest = *uevent, line;
  while (NextLine(&rest, &line)) {
    if (line.starts_with("DEVNAME=")) return absl::StrCat("/dev/", Trim(line.substr(8)));
  }
  return "";
}

}  // namespace

Collector::Collector(const Host& host, const CgroupTree& cgroups, Clock& clock)
    : host_(host), cgroups_(cgroups), clock_(clock) {}

std::optional<uint64_t> Collector::Rate(const std::string& cgroup, uint64_t usage_ns) {
  const Reading now{.time = clock_.Steady(), .usage_ns = usage_ns};
  const auto [it, is_new] = history_.try_emplace(cgroup);
  History& history = it->second;
  if (is_new || usage_ns < history.newer.usage_ns) {  // less than before: another cgroup of the same name
    history = {.older = {}, .newer = now, .has_older = false};
    return std::nullopt;
  }
  if (now.time - history.newer.time >= kLeastInterval) {
    history = {.older = history.newer, .newer = now, .has_older = true};
  }
  if (!history.has_older) return std::nullopt;
  const auto elapsed = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time - history.older.time).count();
  if (elapsed <= 0) return std::nullopt;
  return static_cast<uint64_t>(static_cast<double>(usage_ns - history.older.usage_ns) * 1e9 /
                               static_cast<double>(elapsed));
}

StatusOr<ContainerStats> Collector::ReadCpuAndMemory(const std::string& cgroup) {
  ContainerStats stats;
  ASSIGN_OR_RETURN(stats.cgroup, cgroups_.ReadCpuAndMemory(cgroup));
  stats.time = clock_.Now();
  stats.usage_nano_cores = Rate(cgroup, stats.cgroup.cpu.usage_ns);
  if (cgroup == "/" && cgroups_.version() == CgroupTree::Version::kV2) {
    ASSIGN_OR_RETURN(const uint64_t total, ReadMeminfo(host_, "SwapTotal"));
    ASSIGN_OR_RETURN(const uint64_t free, ReadMeminfo(host_, "SwapFree"));
    stats.cgroup.memory.swap = total - std::min(total, free);
  }
  return stats;
}

StatusOr<ContainerStats> Collector::Read(const ContainerRecord& record) {
  const bool is_machine = record.cgroup == "/";
  ContainerStats stats;
  ASSIGN_OR_RETURN(stats.cgroup, cgroups_.ReadStats(record.cgroup));
  stats.time = clock_.Now();
  stats.usage_nano_cores = Rate(record.cgroup, stats.cgroup.cpu.usage_ns);
  ASSIGN_OR_RETURN(stats.spec, cgroups_.ReadSpec(record.cgroup));
  // Nothing is older than the machine's start, whatever time stamps of kernel file systems say.
  if (const StatusOr<int64_t> boot = ReadBootTime(host_); boot.ok()) {
    stats.spec.created = std::max(stats.spec.created, std::chrono::system_clock::from_time_t(*boot));
  }

  ASSIGN_OR_RETURN(const std::vector<pid_t> pids, cgroups_.Pids(record.cgroup));
  PidsStats& processes = stats.cgroup.pids;
  for (const pid_t pid : pids) CountDescriptors(host_, pid, &processes.file_descriptors, &processes.sockets);
  pid_t first = is_machine ? 1 : 0;
  if (!record.name.empty() && !pids.empty()) first = pids.front();
  if (first != 0) {
    ASSIGN_OR_RETURN(processes.max_open_files, ReadMaxOpenFiles(host_, first));
  }

  if (record.network_pid > 0) {
    StatusOr<std::vector<InterfaceStats>> network = ReadNetwork(host_, record.network_pid);
    if (network.ok()) {
      stats.network = *std::move(network);
    } else if (ErrnoOf(network.status()) == 0) {
      return network.status();  // malformed; a process that has ended has an errno
    }
  }

  if (is_machine) {
    ASSIGN_OR_RETURN(const uint64_t memory, ReadMeminfo(host_, "MemTotal"));
    ASSIGN_OR_RETURN(const uint64_t swap, ReadMeminfo(host_, "SwapTotal"));
    stats.spec.has_memory = true;
    stats.spec.memory_limit = memory;
    stats.spec.memory_swap_limit = swap;
    if (cgroups_.version() == CgroupTree::Version::kV2) {
      ASSIGN_OR_RETURN(const uint64_t free, ReadMeminfo(host_, "SwapFree"));
      stats.cgroup.memory.swap = swap - std::min(swap, free);
    }
    ASSIGN_OR_RETURN(stats.filesystems, ReadFilesystems(host_));
  }

  for (DiskIo& io : stats.cgroup.io.devices) {
    const auto [it, is_new] = device_names_.try_emplace({io.major, io.minor});
    if (is_new) it->second = DeviceName(host_, io.major, io.minor);
    io.device = it->second;
  }
  return stats;
}

void Collector::Retain(const std::set<std::string>& cgroups) {
  std::erase_if(history_, [&](const auto& entry) { return !cgroups.contains(entry.first); });
  device_names_.clear();  // devices come and go; their names are found again cheaply
}

}  // namespace skiff::cadvisor
