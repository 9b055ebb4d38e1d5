#include "cadvisor/families.h"

#include "cadvisor/family_values.h"

namespace skiff::cadvisor {
namespace {

using namespace family;  // NOLINT: the table is made of its functions

constexpr Family kFamilies[] = {
    {
        "container_blkio_device_usage_total",
        "Blkio Device bytes usage",
        "counter",
        BlkioDevices,
    },
    {
        "container_cpu_cfs_burst_periods_total",
        "Number of periods when burst occurs.",
        "counter",
        [](const R& r, Sink& s) {
          if (r.stats.spec.cpu_quota_us != 0) s.Add(D(Cpu(r).burst_periods));
        },
    },
    {
        "container_cpu_cfs_burst_seconds_total",
        "Total time duration the container has been bursted.",
        "counter",
        [](const R& r, Sink& s) {
          if (r.stats.spec.cpu_quota_us != 0) s.Add(Seconds(Cpu(r).burst_ns));
        },
    },
    {
        "container_cpu_cfs_periods_total",
        "Number of elapsed enforcement period intervals.",
        "counter",
        [](const R& r, Sink& s) {
          if (r.stats.spec.cpu_quota_us != 0) s.Add(D(Cpu(r).periods));
        },
    },
    {
        "container_cpu_cfs_throttled_periods_total",
        "Number of throttled period intervals.",
        "counter",
        [](const R& r, Sink& s) {
          if (r.stats.spec.cpu_quota_us != 0) s.Add(D(Cpu(r).throttled_periods));
        },
    },
    {
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
        "counter",
        [](const R& r, Sink& s) {
          if (r.stats.spec.cpu_quota_us != 0) s.Add(Seconds(Cpu(r).throttled_ns));
        },
    },
    {
        "container_cpu_load_average_10s",
        "Value of container cpu load average over the last 10 seconds.",
        "gauge",
        [](const R&, Sink& s) { s.Add(0); },
    },
    {
        "container_cpu_load_d_average_10s",
        "Value of container cpu load.d average over the last 10 seconds.",
        "gauge",
        [](const R&, Sink& s) { s.Add(0); },
    },
    {
        "container_cpu_system_seconds_total",
        "Cumulative system cpu time consumed in seconds.",
        "counter",
        [](const R& r, Sink& s) { s.Add(Seconds(Cpu(r).system_ns)); },
    },
    {
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed in seconds.",
        "counter",
        [](const R& r, Sink& s) {
          if (Cpu(r).usage_ns > 0) s.Add(Seconds(Cpu(r).usage_ns), {{"cpu", "total"}});
        },
    },
    {
        "container_cpu_user_seconds_total",
        "Cumulative user cpu time consumed in seconds.",
        "counter",
        [](const R& r, Sink& s) { s.Add(Seconds(Cpu(r).user_ns)); },
    },
    {
        "container_file_descriptors",
        "Number of open file descriptors for the container.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.pids.file_descriptors)); },
    },
    {
        "container_fs_inodes_free",
        "Number of available Inodes",
        "gauge",
        [](const R& r, Sink& s) { Filesystems(r, s, [](const FsStats& fs) { return D(fs.inodes_free); }); },
    },
    {
        "container_fs_inodes_total",
        "Number of Inodes",
        "gauge",
        [](const R& r, Sink& s) { Filesystems(r, s, [](const FsStats& fs) { return D(fs.inodes); }); },
    },
    {
        "container_fs_io_cost_indebt_seconds_total",
        "Cumulative IOCost debt in seconds",
        "counter",
        [](const R& r, Sink& s) { Cost(r, s, &DiskIo::Cost::indebt_us); },
    },
    {
        "container_fs_io_cost_indelay_seconds_total",
        "Cumulative IOCost delay in seconds",
        "counter",
        [](const R& r, Sink& s) { Cost(r, s, &DiskIo::Cost::indelay_us); },
    },
    {
        "container_fs_io_cost_usage_seconds_total",
        "Cumulative IOCost usage in seconds",
        "counter",
        [](const R& r, Sink& s) { Cost(r, s, &DiskIo::Cost::usage_us); },
    },
    {
        "container_fs_io_cost_wait_seconds_total",
        "Cumulative IOCost wait in seconds",
        "counter",
        [](const R& r, Sink& s) { Cost(r, s, &DiskIo::Cost::wait_us); },
    },
    {
        "container_fs_io_current",
        "Number of I/Os currently in progress",
        "gauge",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::queued, "Total", 1, [](const FsStats& fs) { return D(fs.io_in_progress); });
        },
    },
    {
        "container_fs_io_time_seconds_total",
        "Cumulative count of seconds spent doing I/Os",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::service_time_ns, "Total", 1e9, [](const FsStats& fs) { return DiskTime(fs.io_ms); });
        },
    },
    {
        "container_fs_io_time_weighted_seconds_total",
        "Cumulative weighted I/O time in seconds",
        "counter",
        [](const R& r, Sink& s) { Filesystems(r, s, [](const FsStats& fs) { return DiskTime(fs.weighted_io_ms); }); },
    },
    {
        "container_fs_limit_bytes",
        "Number of bytes that can be consumed by the container on this filesystem.",
        "gauge",
        [](const R& r, Sink& s) { Filesystems(r, s, [](const FsStats& fs) { return D(fs.capacity); }); },
    },
    {
        "container_fs_read_seconds_total",
        "Cumulative count of seconds spent reading",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::service_time_ns, "Read", 1e9, [](const FsStats& fs) { return DiskTime(fs.read_ms); });
        },
    },
    {
        "container_fs_reads_bytes_total",
        "Cumulative count of bytes read",
        "counter",
        [](const R& r, Sink& s) { Io(r, s, &DiskIo::bytes, "Read", 1, nullptr); },
    },
    {
        "container_fs_reads_merged_total",
        "Cumulative count of reads merged",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::merged, "Read", 1, [](const FsStats& fs) { return D(fs.reads_merged); });
        },
    },
    {
        "container_fs_reads_total",
        "Cumulative count of reads completed",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::operations, "Read", 1, [](const FsStats& fs) { return D(fs.reads); });
        },
    },
    {
        "container_fs_sector_reads_total",
        "Cumulative count of sector reads completed",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::sectors, "Read", 1, [](const FsStats& fs) { return D(fs.sectors_read); });
        },
    },
    {
        "container_fs_sector_writes_total",
        "Cumulative count of sector writes completed",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::sectors, "Write", 1, [](const FsStats& fs) { return D(fs.sectors_written); });
        },
    },
    {
        "container_fs_usage_bytes",
        "Number of bytes that are consumed by the container on this filesystem.",
        "gauge",
        [](const R& r, Sink& s) { Filesystems(r, s, [](const FsStats& fs) { return D(fs.usage()); }); },
    },
    {
        "container_fs_write_seconds_total",
        "Cumulative count of seconds spent writing",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::service_time_ns, "Write", 1e9, [](const FsStats& fs) { return DiskTime(fs.write_ms); });
        },
    },
    {
        "container_fs_writes_bytes_total",
        "Cumulative count of bytes written",
        "counter",
        [](const R& r, Sink& s) { Io(r, s, &DiskIo::bytes, "Write", 1, nullptr); },
    },
    {
        "container_fs_writes_merged_total",
        "Cumulative count of writes merged",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::merged, "Write", 1, [](const FsStats& fs) { return D(fs.writes_merged); });
        },
    },
    {
        "container_fs_writes_total",
        "Cumulative count of writes completed",
        "counter",
        [](const R& r, Sink& s) {
          Io(r, s, &DiskIo::operations, "Write", 1, [](const FsStats& fs) { return D(fs.writes); });
        },
    },
    {
        "container_health_state",
        "The result of the container's health check",
        "gauge",
        [](const R&, Sink& s) { s.Add(-1); },
    },
    {
        "container_last_seen",
        "Last time a container was seen by the exporter",
        "gauge",
        LastSeen,
        Timestamp::kNow,
    },
    {
        "container_memory_cache",
        "Number of bytes of page cache memory.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.cache)); },
    },
    {
        "container_memory_failcnt",
        "Number of memory usage hits limits",
        "counter",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.failcnt)); },
    },
    {
        "container_memory_failures_total",
        "Cumulative count of memory allocation failures.",
        "counter",
        MemoryFailures,
    },
    {
        "container_memory_kernel_usage",
        "Size of kernel memory allocated in bytes.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.kernel)); },
    },
    {
        "container_memory_mapped_file",
        "Size of memory mapped files in bytes.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.mapped_file)); },
    },
    {
        "container_memory_max_usage_bytes",
        "Maximum memory usage recorded in bytes",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.max_usage)); },
    },
    {
        "container_memory_rss",
        "Size of RSS in bytes.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.rss)); },
    },
    {
        "container_memory_swap",
        "Container swap usage in bytes.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.swap)); },
    },
    {
        "container_memory_total_active_file_bytes",
        "Current total active file in bytes.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.active_file)); },
    },
    {
        "container_memory_total_inactive_file_bytes",
        "Current total inactive file in bytes.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.inactive_file)); },
    },
    {
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.usage)); },
    },
    {
        "container_memory_working_set_bytes",
        "Current working set in bytes.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.working_set)); },
    },
    {
        "container_network_receive_bytes_total",
        "Cumulative count of bytes received",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::rx_bytes); },
    },
    {
        "container_network_receive_errors_total",
        "Cumulative count of errors encountered while receiving",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::rx_errors); },
    },
    {
        "container_network_receive_packets_dropped_total",
        "Cumulative count of packets dropped while receiving",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::rx_dropped); },
    },
    {
        "container_network_receive_packets_total",
        "Cumulative count of packets received",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::rx_packets); },
    },
    {
        "container_network_transmit_bytes_total",
        "Cumulative count of bytes transmitted",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::tx_bytes); },
    },
    {
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::tx_errors); },
    },
    {
        "container_network_transmit_packets_dropped_total",
        "Cumulative count of packets dropped while transmitting",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::tx_dropped); },
    },
    {
        "container_network_transmit_packets_total",
        "Cumulative count of packets transmitted",
        "counter",
        [](const R& r, Sink& s) { Network(r, s, &InterfaceStats::tx_packets); },
    },
    {
        "container_oom_events_total",
        "Count of out of memory events observed for the container",
        "counter",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.memory.oom_kills)); },
    },
    {
        "container_pressure_cpu_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
        "counter",
        [](const R& r, Sink& s) { Pressure(r.stats.cgroup.cpu.psi, &Psi::full, s); },
        Timestamp::kReading,
        true,
    },
    {
        "container_pressure_cpu_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to CPU congestion.",
        "counter",
        [](const R& r, Sink& s) { Pressure(r.stats.cgroup.cpu.psi, &Psi::some, s); },
        Timestamp::kReading,
        true,
    },
    {
        "container_pressure_io_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to IO congestion.",
        "counter",
        [](const R& r, Sink& s) { Pressure(r.stats.cgroup.io.psi, &Psi::full, s); },
        Timestamp::kReading,
        true,
    },
    {
        "container_pressure_io_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to IO congestion.",
        "counter",
        [](const R& r, Sink& s) { Pressure(r.stats.cgroup.io.psi, &Psi::some, s); },
        Timestamp::kReading,
        true,
    },
    {
        "container_pressure_memory_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to memory congestion.",
        "counter",
        [](const R& r, Sink& s) { Pressure(r.stats.cgroup.memory.psi, &Psi::full, s); },
        Timestamp::kReading,
        true,
    },
    {
        "container_pressure_memory_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to memory congestion.",
        "counter",
        [](const R& r, Sink& s) { Pressure(r.stats.cgroup.memory.psi, &Psi::some, s); },
        Timestamp::kReading,
        true,
    },
    {
        "container_processes",
        "Number of processes running inside the container.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.pids.processes)); },
    },
    {
        "container_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
        "gauge",
        nullptr,
    },
    {
        "container_sockets",
        "Number of open sockets for the container.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.pids.sockets)); },
    },
    {
        "container_spec_cpu_period",
        "CPU period of the container.",
        "gauge",
        [](const R& r, Sink& s) {
          if (r.stats.spec.has_cpu) s.Add(D(r.stats.spec.cpu_period_us));
        },
        Timestamp::kNone,
    },
    {
        "container_spec_cpu_quota",
        "CPU quota of the container.",
        "gauge",
        [](const R& r, Sink& s) {
          if (r.stats.spec.has_cpu && r.stats.spec.cpu_quota_us != 0) s.Add(D(r.stats.spec.cpu_quota_us));
        },
        Timestamp::kNone,
    },
    {
        "container_spec_cpu_shares",
        "CPU share of the container.",
        "gauge",
        [](const R& r, Sink& s) {
          if (r.stats.spec.has_cpu) s.Add(D(r.stats.spec.cpu_shares));
        },
        Timestamp::kNone,
    },
    {
        "container_spec_memory_limit_bytes",
        "Memory limit for the container.",
        "gauge",
        [](const R& r, Sink& s) {
          if (r.stats.spec.has_memory) s.Add(MemoryLimit(r.stats.spec.memory_limit));
        },
        Timestamp::kNone,
    },
    {
        "container_spec_memory_reservation_limit_bytes",
        "Memory reservation limit for the container.",
        "gauge",
        [](const R& r, Sink& s) {
          if (r.stats.spec.has_memory) s.Add(MemoryLimit(r.stats.spec.memory_reservation));
        },
        Timestamp::kNone,
    },
    {
        "container_spec_memory_swap_limit_bytes",
        "Memory swap limit for the container.",
        "gauge",
        [](const R& r, Sink& s) {
          if (r.stats.spec.has_memory) s.Add(MemoryLimit(r.stats.spec.memory_swap_limit));
        },
        Timestamp::kNone,
    },
    {
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds.",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(std::chrono::system_clock::to_time_t(r.stats.spec.created))); },
        Timestamp::kNone,
    },
    {
        "container_tasks_state",
        "Number of tasks in given state",
        "gauge",
        TaskStates,
    },
    {
        "container_threads",
        "Number of threads running inside the container",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.pids.threads)); },
    },
    {
        "container_threads_max",
        "Maximum number of threads allowed inside the container, infinity if value is zero",
        "gauge",
        [](const R& r, Sink& s) { s.Add(D(r.stats.cgroup.pids.threads_max)); },
    },
    {
        "container_ulimits_soft",
        "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice",
        "gauge",
        [](const R& r, Sink& s) {
          if (r.stats.cgroup.pids.max_open_files)
            s.Add(D(*r.stats.cgroup.pids.max_open_files), {{"ulimit", "max_open_files"}});
        },
    },
};

}  // namespace

std::span<const Family> ContainerFamilies() { return kFamilies; }

}  // namespace skiff::cadvisor
