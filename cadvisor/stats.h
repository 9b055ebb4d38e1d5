// What is known of one cgroup at one moment, as plain values. Units are in the names; counters count from the cgroup's
// creation. A figure that the kernel does not offer for this cgroup (no such controller, the v2 root) is 0.
// Upstream's definitions: google/cadvisor info/v1; working set = usage - inactive_file, not below 0.
#ifndef SKIFF_CADVISOR_STATS_H_
#define SKIFF_CADVISOR_STATS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace skiff::cadvisor {

// Pressure stall information (cgroup v2): averages are percentages of time, the total is in microseconds.
struct Psi {
  struct Line {
    double avg10 = 0, avg60 = 0, avg300 = 0;
    uint64_t total_us = 0;
  };
  Line some, full;
};

struct CpuStats {
  uint64_t usage_ns = 0, user_ns = 0, system_ns = 0;
  uint64_t periods = 0, throttled_periods = 0, throttled_ns = 0, burst_periods = 0, burst_ns = 0;
  std::optional<Psi> psi;
};

struct MemoryStats {
  uint64_t usage = 0, working_set = 0, max_usage = 0, rss = 0, cache = 0, mapped_file = 0, kernel = 0;
  uint64_t swap = 0;
  uint64_t active_file = 0, inactive_file = 0;
  uint64_t failcnt = 0, pgfault = 0, pgmajfault = 0;
  uint64_t oom_kills = 0;  // processes of this cgroup killed for lack of memory
  std::optional<Psi> psi;
};

struct PidsStats {
  uint64_t threads = 0, threads_max = 0;  // tasks in this cgroup and below; 0: no limit
  uint64_t processes = 0;                 // in this cgroup itself
  uint64_t file_descriptors = 0, sockets = 0;
  std::optional<int64_t> max_open_files;  // soft limit of the first process; -1: unlimited
};

struct HugetlbStats {
  std::string page_size;  // "2MB"
  uint64_t usage = 0, max_usage = 0, failcnt = 0;
};

struct IoCost {
  uint64_t usage_us = 0, wait_us = 0, indebt_us = 0, indelay_us = 0;
};

// One block device's figures. Operations are upstream's words: Read, Write, Sync, Async, Discard, Total (v1), or Read
// and Write (v2).
struct DiskIo {
  using Operations = std::vector<std::pair<std::string, uint64_t>>;
  uint32_t major = 0, minor = 0;
  std::string device;  // "/dev/vda", "" where unknown
  Operations bytes, operations;
  Operations sectors, merged, queued, service_time_ns;  // v1 with the BFQ scheduler only
  using Cost = IoCost;
  std::optional<Cost> cost;  // v2 with io.cost only
};

struct IoStats {
  std::vector<DiskIo> devices;
  std::optional<Psi> psi;
};

struct InterfaceStats {
  std::string name;
  uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};

// A mounted file system and its device's /proc/diskstats.
struct FsStats {
  std::string device, mountpoint, type;
  uint32_t major = 0, minor = 0;
  uint64_t capacity = 0, free = 0, available = 0;  // bytes; available: to the unprivileged
  uint64_t inodes = 0, inodes_free = 0;
  uint64_t reads = 0, reads_merged = 0, sectors_read = 0, read_ms = 0;
  uint64_t writes = 0, writes_merged = 0, sectors_written = 0, write_ms = 0;
  uint64_t io_in_progress = 0, io_ms = 0, weighted_io_ms = 0;
  uint64_t usage() const { return capacity - free; }
};

struct CgroupStats {
  CpuStats cpu;
  MemoryStats memory;
  PidsStats pids;
  IoStats io;
  std::vector<HugetlbStats> hugetlb;
};

// What the cgroup is allowed. UINT64_MAX: no limit.
struct CgroupSpec {
  std::chrono::system_clock::time_point created{};  // epoch where unknown
  bool has_cpu = false, has_memory = false, has_pids = false;
  uint64_t cpu_shares = 0, cpu_period_us = 0;
  uint64_t cpu_quota_us = 0;  // 0: none
  uint64_t memory_limit = 0, memory_reservation = 0;
  uint64_t memory_swap_limit = 0;  // v1: memory and swap together; v2: swap alone
};

struct ContainerStats {
  std::chrono::system_clock::time_point time{};
  CgroupSpec spec;
  CgroupStats cgroup;
  std::vector<InterfaceStats> network;  // empty where no process was given
  std::vector<FsStats> filesystems;     // of the machine ("/") only
  // CPU in use between two readings, in billionths of a core; none before the second reading.
  std::optional<uint64_t> usage_nano_cores;
};

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_STATS_H_
