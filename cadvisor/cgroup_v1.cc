// Upstream's choice of v1 files, as opencontainers/cgroups reads them.
#include "cadvisor/cgroup_dir.h"
#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

// cpuacct.stat counts in USER_HZ, which is 100 on every architecture that Kubernetes runs on.
constexpr uint64_t kNanosecondsPerTick = 10'000'000;

Status ReadCpu(const Cgroup& cgroup, CpuStats* cpu) {
  RETURN_IF_ERROR(cgroup.Number("cpuacct", "cpuacct.usage", &cpu->usage_ns));
  RETURN_IF_ERROR(cgroup.FlatKeyed("cpuacct", "cpuacct.stat", {{"user", &cpu->user_ns}, {"system", &cpu->system_ns}}));
  cpu->user_ns *= kNanosecondsPerTick;
  cpu->system_ns *= kNanosecondsPerTick;
  RETURN_IF_ERROR(cgroup.FlatKeyed("cpu", "cpu.stat",
                                   {{"nr_periods", &cpu->periods},
                                    {"nr_throttled", &cpu->throttled_periods},
                                    {"throttled_time", &cpu->throttled_ns}}));
  return absl::OkStatus();
}

Status ReadMemory(const Cgroup& cgroup, bool short_form, MemoryStats* memory) {
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.usage_in_bytes", &memory->usage));
  uint64_t hierarchy = 1;
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.use_hierarchy", &hierarchy));
  MemoryStats own;
  RETURN_IF_ERROR(cgroup.FlatKeyed("memory", "memory.stat",
                                   {{"cache", &own.cache},
                                    {"rss", &own.rss},
                                    {"swap", &own.swap},
                                    {"mapped_file", &own.mapped_file},
                                    {"pgfault", &memory->pgfault},
                                    {"pgmajfault", &memory->pgmajfault},
                                    {"total_cache", &memory->cache},
                                    {"total_rss", &memory->rss},
                                    {"total_swap", &memory->swap},
                                    {"total_mapped_file", &memory->mapped_file},
                                    {"total_inactive_file", &memory->inactive_file},
                                    {"total_active_file", &memory->active_file}}));
  if (hierarchy == 0) {
    memory->cache = own.cache;
    memory->rss = own.rss;
    memory->swap = own.swap;
    memory->mapped_file = own.mapped_file;
  }
  memory->working_set = memory->usage > memory->inactive_file ? memory->usage - memory->inactive_file : 0;
  if (short_form) return absl::OkStatus();
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.max_usage_in_bytes", &memory->max_usage));
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.failcnt", &memory->failcnt));
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.kmem.usage_in_bytes", &memory->kernel));
  RETURN_IF_ERROR(cgroup.FlatKeyed("memory", "memory.oom_control", {{"oom_kill", &memory->oom_kills}}));
  return absl::OkStatus();
}

Status ReadBlkio(const Cgroup& cgroup, std::vector<DiskIo>* devices) {
  struct File {
    const char* name;
    DiskIo::Operations DiskIo::*field;
  };
  static constexpr File kBfq[] = {{"blkio.bfq.io_serviced_recursive", &DiskIo::operations},
                                  {"blkio.bfq.io_service_bytes_recursive", &DiskIo::bytes},
                                  {"blkio.bfq.sectors_recursive", &DiskIo::sectors},
                                  {"blkio.bfq.io_queued_recursive", &DiskIo::queued},
                                  {"blkio.bfq.io_service_time_recursive", &DiskIo::service_time_ns},
                                  {"blkio.bfq.io_merged_recursive", &DiskIo::merged}};
  static constexpr File kThrottle[] = {{"blkio.throttle.io_serviced_recursive", &DiskIo::operations},
                                       {"blkio.throttle.io_service_bytes_recursive", &DiskIo::bytes}};
  static constexpr File kOldThrottle[] = {{"blkio.throttle.io_serviced", &DiskIo::operations},
                                          {"blkio.throttle.io_service_bytes", &DiskIo::bytes}};
  const auto read = [&](std::span<const File> files) -> Status {
    for (const File& file : files) {
      ASSIGN_OR_RETURN(const std::optional<std::string> text, cgroup.Text("blkio", file.name));
      if (text) RETURN_IF_ERROR(ParseBlkio(cgroup.Name("blkio", file.name), *text, file.field, devices));
      // The first file decides whether this scheduler does the accounting.
      if (devices->empty()) return absl::OkStatus();
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read(kBfq));
  if (devices->empty()) RETURN_IF_ERROR(read(kThrottle));
  if (devices->empty()) RETURN_IF_ERROR(read(kOldThrottle));
  return absl::OkStatus();
}

Status ReadHugetlb(const Cgroup& cgroup, std::vector<HugetlbStats>* all) {
  if (!cgroup.Has("hugetlb")) return absl::OkStatus();
  const StatusOr<std::vector<std::string>> files = cgroup.dirs().find("hugetlb")->second.List();
  if (!files.ok()) return absl::OkStatus();
  constexpr std::string_view kPrefix = "hugetlb.", kSuffix = ".usage_in_bytes", kReserved = ".rsvd.usage_in_bytes";
  for (const std::string& file : *files) {
    if (!file.starts_with(kPrefix) || !file.ends_with(kSuffix) || file.ends_with(kReserved)) continue;
    const std::string size = file.substr(kPrefix.size(), file.size() - kPrefix.size() - kSuffix.size());
    // Reservations are what limits act on; kernels before 5.7 have only the faulted pages.
    const bool reserved =
        std::find(files->begin(), files->end(), absl::StrCat(kPrefix, size, kReserved)) != files->end();
    const std::string base = absl::StrCat(kPrefix, size, reserved ? ".rsvd" : "");
    HugetlbStats& stats = all->emplace_back();
    stats.page_size = size;
    RETURN_IF_ERROR(cgroup.Number("hugetlb", base + ".usage_in_bytes", &stats.usage));
    RETURN_IF_ERROR(cgroup.Number("hugetlb", base + ".max_usage_in_bytes", &stats.max_usage));
    RETURN_IF_ERROR(cgroup.Number("hugetlb", base + ".failcnt", &stats.failcnt));
  }
  return absl::OkStatus();
}

}  // namespace

Status ReadStatsV1(const Cgroup& cgroup, bool cpu_and_memory_only, CgroupStats* stats) {
  RETURN_IF_ERROR(ReadCpu(cgroup, &stats->cpu));
  RETURN_IF_ERROR(ReadMemory(cgroup, cpu_and_memory_only, &stats->memory));
  if (cpu_and_memory_only) return absl::OkStatus();
  RETURN_IF_ERROR(cgroup.Number("pids", "pids.current", &stats->pids.threads));
  RETURN_IF_ERROR(cgroup.Number("pids", "pids.max", &stats->pids.threads_max));
  if (stats->pids.threads_max == UINT64_MAX) stats->pids.threads_max = 0;
  RETURN_IF_ERROR(ReadBlkio(cgroup, &stats->io.devices));
  RETURN_IF_ERROR(ReadHugetlb(cgroup, &stats->hugetlb));
  return absl::OkStatus();
}

Status ReadSpecV1(const Cgroup& cgroup, CgroupSpec* spec) {
  spec->has_cpu = cgroup.Has("cpu");
  spec->has_memory = cgroup.Has("memory");
  spec->has_pids = cgroup.Has("pids");
  RETURN_IF_ERROR(cgroup.Number("cpu", "cpu.shares", &spec->cpu_shares));
  RETURN_IF_ERROR(cgroup.Number("cpu", "cpu.cfs_period_us", &spec->cpu_period_us));
  RETURN_IF_ERROR(cgroup.Number("cpu", "cpu.cfs_quota_us", &spec->cpu_quota_us));
  if (spec->cpu_quota_us == UINT64_MAX) spec->cpu_quota_us = 0;
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.limit_in_bytes", &spec->memory_limit));
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.memsw.limit_in_bytes", &spec->memory_swap_limit));
  RETURN_IF_ERROR(cgroup.Number("memory", "memory.soft_limit_in_bytes", &spec->memory_reservation));
  return absl::OkStatus();
}

}  // namespace skiff::cadvisor
