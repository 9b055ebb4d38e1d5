// Upstream's choice of v2 files, as opencontainers/cgroups reads them.
#include "cadvisor/cgroup_dir.h"
#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

Status ReadCpu(const Cgroup& cgroup, CpuStats* cpu) {
  RETURN_IF_ERROR(cgroup.FlatKeyed("", "cpu.stat",
                                   {{"usage_usec", &cpu->usage_ns},
                                    {"user_usec", &cpu->user_ns},
                                    {"system_usec", &cpu->system_ns},
                                    {"nr_periods", &cpu->periods},
                                    {"nr_throttled", &cpu->throttled_periods},
                                    {"throttled_usec", &cpu->throttled_ns},
                                    {"nr_bursts", &cpu->burst_periods},
                                    {"burst_usec", &cpu->burst_ns}}));
  for (uint64_t* value : {&cpu->usage_ns, &cpu->user_ns, &cpu->system_ns, &cpu->throttled_ns, &cpu->burst_ns}) {
    *value *= 1000;
  }
  return absl::OkStatus();
}

Status ReadMemory(const Cgroup& cgroup, bool is_root, bool short_form, MemoryStats* memory) {
  RETURN_IF_ERROR(cgroup.FlatKeyed("", "memory.stat",
                                   {{"anon", &memory->rss},
                                    {"file", &memory->cache},
                                    {"file_mapped", &memory->mapped_file},
                                    {"inactive_file", &memory->inactive_file},
                                    {"active_file", &memory->active_file},
                                    {"pgfault", &memory->pgfault},
                                    {"pgmajfault", &memory->pgmajfault}}));
  if (is_root) {
    memory->usage = memory->rss + memory->cache;  // the root has no memory.current
  } else {
    RETURN_IF_ERROR(cgroup.Number("", "memory.current", &memory->usage));
  }
  memory->working_set = memory->usage > memory->inactive_file ? memory->usage - memory->inactive_file : 0;
  if (!is_root) RETURN_IF_ERROR(cgroup.Number("", "memory.swap.current", &memory->swap));
  if (short_form) return absl::OkStatus();
  RETURN_IF_ERROR(cgroup.Number("", "memory.peak", &memory->max_usage));
  // memory.events counts the cgroups below too; upstream counts kills at the cgroup that the victim was in.
  ASSIGN_OR_RETURN(const bool local, cgroup.FlatKeyed("", "memory.events.local", {{"oom_kill", &memory->oom_kills}}));
  if (!local) RETURN_IF_ERROR(cgroup.FlatKeyed("", "memory.events", {{"oom_kill", &memory->oom_kills}}));
  return absl::OkStatus();
}

Status ReadHugetlb(const Cgroup& cgroup, std::vector<HugetlbStats>* all) {
  const StatusOr<std::vector<std::string>> files = cgroup.dirs().begin()->second.List();
  if (!files.ok()) return absl::OkStatus();
  constexpr std::string_view kPrefix = "hugetlb.", kSuffix = ".current", kReserved = ".rsvd.current";
  for (const std::string& file : *files) {
    if (!file.starts_with(kPrefix) || !file.ends_with(kSuffix) || file.ends_with(kReserved)) continue;
    const std::string size = file.substr(kPrefix.size(), file.size() - kPrefix.size() - kSuffix.size());
    HugetlbStats& stats = all->emplace_back();
    stats.page_size = size;
    bool reserved = false;
    RETURN_IF_ERROR(cgroup.Number("", absl::StrCat(kPrefix, size, kReserved), &stats.usage, &reserved));
    if (!reserved) RETURN_IF_ERROR(cgroup.Number("", file, &stats.usage));
    RETURN_IF_ERROR(cgroup.FlatKeyed("", absl::StrCat(kPrefix, size, ".events"), {{"max", &stats.failcnt}}));
  }
  return absl::OkStatus();
}

}  // namespace

Status ReadStatsV2(const Cgroup& cgroup, bool is_root, bool cpu_and_memory_only, CgroupStats* stats) {
  RETURN_IF_ERROR(ReadCpu(cgroup, &stats->cpu));
  RETURN_IF_ERROR(ReadMemory(cgroup, is_root, cpu_and_memory_only, &stats->memory));
  ASSIGN_OR_RETURN(stats->cpu.psi, cgroup.Pressure("cpu.pressure"));
  ASSIGN_OR_RETURN(stats->memory.psi, cgroup.Pressure("memory.pressure"));
  if (cpu_and_memory_only) return absl::OkStatus();
  ASSIGN_OR_RETURN(stats->io.psi, cgroup.Pressure("io.pressure"));
  RETURN_IF_ERROR(cgroup.Number("", "pids.current", &stats->pids.threads));
  RETURN_IF_ERROR(cgroup.Number("", "pids.max", &stats->pids.threads_max));
  if (stats->pids.threads_max == UINT64_MAX) stats->pids.threads_max = 0;
  ASSIGN_OR_RETURN(const std::optional<std::string> io, cgroup.Text("", "io.stat"));
  if (io) RETURN_IF_ERROR(ParseIoStat(cgroup.Name("", "io.stat"), *io, &stats->io.devices));
  return ReadHugetlb(cgroup, &stats->hugetlb);
}

Status ReadSpecV2(const Cgroup& cgroup, bool is_root, CgroupSpec* spec) {
  spec->has_cpu = true;
  uint64_t weight = 0;
  RETURN_IF_ERROR(cgroup.Number("", "cpu.weight", &weight));
  // The weights 1..10000 are the shares 2..262144, the way container runtimes converted them.
  if (weight >= 1 && weight <= 10000) spec->cpu_shares = 2 + (weight - 1) * 262142 / 9999;
  ASSIGN_OR_RETURN(const std::optional<std::string> max, cgroup.Text("", "cpu.max"));
  if (max) {
    std::string_view line = Trim(*max), quota, period;
    if (!NextWord(&line, &quota) || !NextWord(&line, &period) || !ParseNumber(period, &spec->cpu_period_us) ||
        (quota != "max" && !ParseNumber(quota, &spec->cpu_quota_us))) {
      return Malformed(cgroup.Name("", "cpu.max"), *max);
    }
  }
  RETURN_IF_ERROR(cgroup.Number("", "memory.max", &spec->memory_limit, &spec->has_memory));
  RETURN_IF_ERROR(cgroup.Number("", "memory.min", &spec->memory_reservation));
  RETURN_IF_ERROR(cgroup.Number("", "memory.swap.max", &spec->memory_swap_limit));
  uint64_t pids = 0;
  RETURN_IF_ERROR(cgroup.Number("", "pids.max", &pids, &spec->has_pids));
  if (is_root) spec->has_pids = true;
  return absl::OkStatus();
}

}  // namespace skiff::cadvisor
