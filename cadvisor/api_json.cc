#include "cadvisor/api_json.h"

#include <cstdio>
#include <ctime>

#include "base/go_text.h"

namespace skiff::cadvisor {
namespace {

// Writes JSON in order; commas are put by itself.
class Writer {
 public:
  Writer& Key(std::string_view key) {
    Comma();
    AppendJsonString(&out_, key);
    out_ += ':';
    comma_ = false;
    return *this;
  }
  void Open(char bracket) {
    Comma();
    out_ += bracket;
    comma_ = false;
  }
  void Close(char bracket) {
    out_ += bracket;
    comma_ = true;
  }
  void Text(std::string_view value) {
    Comma();
    AppendJsonString(&out_, value);
  }
  template <typename T>
  void Number(T value) {
    Comma();
    if constexpr (std::is_floating_point_v<T>) {
      AppendGoFloat(&out_, value);
    } else {
      absl::StrAppend(&out_, value);
    }
  }
  void Bool(bool value) { Raw(value ? "true" : "false"); }
  void Raw(std::string_view value) {
    Comma();
    out_.append(value);
  }
  std::string Take() { return std::move(out_); }

 private:
  void Comma() {
    if (comma_) out_ += ',';
    comma_ = true;
  }
  std::string out_;
  bool comma_ = false;
};

// RFC 3339 with nanoseconds, in UTC.
std::string Time(std::chrono::system_clock::time_point time) {
  const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  const time_t seconds = ns / 1'000'000'000;
  tm utc{};
  gmtime_r(&seconds, &utc);
  char text[48];
  snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09lldZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
           utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<long long>(ns % 1'000'000'000));
  return text;
}

void WriteHugePages(Writer& w, const std::vector<HugePages>& pages) {
  w.Key("hugepages").Open('[');
  for (const HugePages& p : pages) {
    w.Open('{');
    w.Key("page_size").Number(p.page_size_kb);
    w.Key("num_pages").Number(p.count);
    w.Close('}');
  }
  w.Close(']');
}

void WriteTopology(Writer& w, const std::vector<NumaNode>& nodes) {
  w.Key("topology").Open('[');
  for (const NumaNode& node : nodes) {
    w.Open('{');
    w.Key("node_id").Number(node.id);
    w.Key("memory").Number(node.memory);
    WriteHugePages(w, node.huge_pages);
    w.Key("cores").Open('[');
    for (const NumaNode::Core& core : node.cores) {
      w.Open('{');
      w.Key("core_id").Number(core.id);
      w.Key("thread_ids").Open('[');
      for (const int thread : core.threads) w.Number(thread);
      w.Close(']');
      w.Key("socket_id").Number(core.socket);
      w.Close('}');
    }
    w.Close(']');
    w.Close('}');
  }
  w.Close(']');
}

void WritePsi(Writer& w, const std::optional<Psi>& psi) {
  const Psi value = psi.value_or(Psi{});
  w.Key("psi").Open('{');
  for (const auto& [name, line] : {std::pair("full", &value.full), std::pair("some", &value.some)}) {
    w.Key(name).Open('{');
    w.Key("total").Number(line->total_us);
    w.Key("avg10").Number(line->avg10);
    w.Key("avg60").Number(line->avg60);
    w.Key("avg300").Number(line->avg300);
    w.Close('}');
  }
  w.Close('}');
}

void WriteCpu(Writer& w, const CpuStats& cpu) {
  w.Key("cpu").Open('{');
  w.Key("usage").Open('{');
  w.Key("total").Number(cpu.usage_ns);
  w.Key("user").Number(cpu.user_ns);
  w.Key("system").Number(cpu.system_ns);
  w.Close('}');
  w.Key("cfs").Open('{');
  w.Key("periods").Number(cpu.periods);
  w.Key("throttled_periods").Number(cpu.throttled_periods);
  w.Key("throttled_time").Number(cpu.throttled_ns);
  w.Key("bursts_periods").Number(cpu.burst_periods);
  w.Key("burst_time").Number(cpu.burst_ns);
  w.Close('}');
  WritePsi(w, cpu.psi);
  w.Close('}');
}

void WriteMemory(Writer& w, const MemoryStats& memory) {
  w.Key("memory").Open('{');
  for (const auto& [name, value] :
       {std::pair("usage", memory.usage), std::pair("max_usage", memory.max_usage), std::pair("cache", memory.cache),
        std::pair("rss", memory.rss), std::pair("swap", memory.swap), std::pair("mapped_file", memory.mapped_file),
        std::pair("working_set", memory.working_set), std::pair("total_active_file", memory.active_file),
        std::pair("total_inactive_file", memory.inactive_file), std::pair("failcnt", memory.failcnt),
        std::pair("kernel", memory.kernel)}) {
    w.Key(name).Number(value);
  }
  for (const char* scope : {"container_data", "hierarchical_data"}) {
    w.Key(scope).Open('{');
    w.Key("pgfault").Number(memory.pgfault);
    w.Key("pgmajfault").Number(memory.pgmajfault);
    w.Close('}');
  }
  WritePsi(w, memory.psi);
  w.Close('}');
}

void WriteIo(Writer& w, const IoStats& io) {
  w.Key("diskio").Open('{');
  for (const auto& [name, field] :
       {std::pair("io_service_bytes", &DiskIo::bytes), std::pair("io_serviced", &DiskIo::operations)}) {
    w.Key(name).Open('[');
    for (const DiskIo& device : io.devices) {
      if ((device.*field).empty()) continue;
      w.Open('{');
      w.Key("device").Text(device.device);
      w.Key("major").Number(device.major);
      w.Key("minor").Number(device.minor);
      w.Key("stats").Open('{');
      for (const auto& [operation, count] : device.*field) w.Key(operation).Number(count);
      w.Close('}');
      w.Close('}');
    }
    w.Close(']');
  }
  WritePsi(w, io.psi);
  w.Close('}');
}

void WriteNetwork(Writer& w, const std::vector<InterfaceStats>& interfaces) {
  w.Key("network").Open('{');
  w.Key("interfaces").Open('[');
  for (const InterfaceStats& i : interfaces) {
    w.Open('{');
    w.Key("name").Text(i.name);
    w.Key("rx_bytes").Number(i.rx_bytes);
    w.Key("rx_packets").Number(i.rx_packets);
    w.Key("rx_errors").Number(i.rx_errors);
    w.Key("rx_dropped").Number(i.rx_dropped);
    w.Key("tx_bytes").Number(i.tx_bytes);
    w.Key("tx_packets").Number(i.tx_packets);
    w.Key("tx_errors").Number(i.tx_errors);
    w.Key("tx_dropped").Number(i.tx_dropped);
    w.Close('}');
  }
  w.Close(']');
  w.Close('}');
}

}  // namespace

std::string MachineJson(const MachineInfo& machine, const std::vector<FsStats>& filesystems,
                        std::chrono::system_clock::time_point now) {
  Writer w;
  w.Open('{');
  w.Key("timestamp").Text(Time(now));
  w.Key("vendor_id").Text(machine.cpu_vendor);
  w.Key("num_cores").Number(machine.cores);
  w.Key("num_physical_cores").Number(machine.physical_cores);
  w.Key("num_sockets").Number(machine.sockets);
  w.Key("cpu_frequency_khz").Number(machine.cpu_khz);
  w.Key("memory_capacity").Number(machine.memory);
  w.Key("swap_capacity").Number(machine.swap);
  WriteHugePages(w, machine.huge_pages);
  w.Key("machine_id").Text(machine.machine_id);
  w.Key("system_uuid").Text(machine.system_uuid);
  w.Key("boot_id").Text(machine.boot_id);
  w.Key("filesystems").Open('[');
  for (const FsStats& fs : filesystems) {
    w.Open('{');
    w.Key("device").Text(fs.device);
    w.Key("capacity").Number(fs.capacity);
    w.Key("type").Text("vfs");
    w.Key("inodes").Number(fs.inodes);
    w.Key("has_inodes").Bool(true);
    w.Close('}');
  }
  w.Close(']');
  w.Key("disk_map").Open('{');
  for (const BlockDevice& device : machine.block_devices) {
    w.Key(absl::StrCat(device.major, ":", device.minor)).Open('{');
    w.Key("name").Text(device.name);
    w.Key("major").Number(device.major);
    w.Key("minor").Number(device.minor);
    w.Key("size").Number(device.size);
    w.Key("scheduler").Text(device.scheduler);
    w.Close('}');
  }
  w.Close('}');
  w.Key("network_devices").Open('[');
  for (const NetworkDevice& device : machine.network_devices) {
    w.Open('{');
    w.Key("name").Text(device.name);
    w.Key("mac_address").Text(device.mac);
    w.Key("speed").Number(device.speed_mbit);
    w.Key("mtu").Number(device.mtu);
    w.Close('}');
  }
  w.Close(']');
  WriteTopology(w, machine.nodes);
  // Asking the cloud's metadata services is not done.
  w.Key("cloud_provider").Text("Unknown");
  w.Key("instance_type").Text("Unknown");
  w.Key("instance_id").Text("None");
  w.Close('}');
  return w.Take();
}

std::string ContainerJson(const std::string& cgroup, const std::vector<std::string>& subcontainers,
                          const ContainerStats& stats) {
  Writer w;
  w.Open('{');
  w.Key("name").Text(cgroup);
  w.Key("subcontainers").Open('[');
  for (const std::string& name : subcontainers) {
    w.Open('{');
    w.Key("name").Text(name);
    w.Close('}');
  }
  w.Close(']');
  const CgroupSpec& spec = stats.spec;
  w.Key("spec").Open('{');
  w.Key("creation_time").Text(Time(spec.created));
  w.Key("has_cpu").Bool(spec.has_cpu);
  w.Key("cpu").Open('{');
  w.Key("limit").Number(spec.cpu_shares);
  w.Key("max_limit").Number(0);
  if (spec.cpu_quota_us != 0) w.Key("quota").Number(spec.cpu_quota_us);
  if (spec.cpu_period_us != 0) w.Key("period").Number(spec.cpu_period_us);
  w.Close('}');
  w.Key("has_memory").Bool(spec.has_memory);
  w.Key("memory").Open('{');
  w.Key("limit").Number(spec.memory_limit);
  w.Key("reservation").Number(spec.memory_reservation);
  w.Key("swap_limit").Number(spec.memory_swap_limit);
  w.Close('}');
  w.Key("has_network").Bool(!stats.network.empty());
  w.Key("has_processes").Bool(spec.has_pids);
  w.Key("has_filesystem").Bool(!stats.filesystems.empty());
  w.Key("has_diskio").Bool(true);
  w.Close('}');
  w.Key("stats").Open('[');
  w.Open('{');
  w.Key("timestamp").Text(Time(stats.time));
  WriteCpu(w, stats.cgroup.cpu);
  WriteIo(w, stats.cgroup.io);
  WriteMemory(w, stats.cgroup.memory);
  WriteNetwork(w, stats.network);
  w.Key("processes").Open('{');
  w.Key("process_count").Number(stats.cgroup.pids.processes);
  w.Key("fd_count").Number(stats.cgroup.pids.file_descriptors);
  w.Key("socket_count").Number(stats.cgroup.pids.sockets);
  w.Key("threads_current").Number(stats.cgroup.pids.threads);
  w.Key("threads_max").Number(stats.cgroup.pids.threads_max);
  w.Close('}');
  w.Close('}');
  w.Close(']');
  w.Close('}');
  return w.Take();
}

std::string VersionJson(const MachineInfo& machine, const std::string& version) {
  Writer w;
  w.Open('{');
  w.Key("kernel_version").Text(machine.kernel_version);
  w.Key("container_os_version").Text(machine.os_image);
  w.Key("docker_version").Text("");
  w.Key("docker_api_version").Text("");
  w.Key("cadvisor_version").Text(version);
  w.Key("cadvisor_revision").Text("");
  w.Close('}');
  return w.Take();
}

}  // namespace skiff::cadvisor
