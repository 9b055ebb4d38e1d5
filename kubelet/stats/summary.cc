// /stats/summary: upstream's v1alpha1 Summary as JSON.
#include <sys/stat.h>

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

#include "base/json_dump.h"
#include "base/log.h"
#include "cadvisor/network.h"
#include "kubelet/stats/readers.h"

namespace skiff::kubelet {
namespace {

using Json = nlohmann::ordered_json;
using cadvisor::ContainerStats;

std::string Rfc3339(StatsTime time) {
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

Json PsiJson(const std::optional<cadvisor::Psi>& psi) {
  const cadvisor::Psi value = psi.value_or(cadvisor::Psi{});
  const auto line = [](const cadvisor::Psi::Line& l) {
    return Json{{"total", l.total_us}, {"avg10", l.avg10}, {"avg60", l.avg60}, {"avg300", l.avg300}};
  };
  return Json{{"full", line(value.full)}, {"some", line(value.some)}};
}

// A file system's figures; `used` is what the owner takes of it.
struct FsJson {
  cadvisor::FsStats fs;
  uint64_t used_bytes = 0, used_inodes = 0;
  Json At(StatsTime time) const {
    return Json{{"time", Rfc3339(time)},    {"availableBytes", fs.available}, {"capacityBytes", fs.capacity},
                {"usedBytes", used_bytes},  {"inodesFree", fs.inodes_free},   {"inodes", fs.inodes},
                {"inodesUsed", used_inodes}};
  }
};

Json InterfaceJson(const cadvisor::InterfaceStats& i) {
  return Json{{"name", i.name},
              {"rxBytes", i.rx_bytes},
              {"rxErrors", i.rx_errors},
              {"txBytes", i.tx_bytes},
              {"txErrors", i.tx_errors}};
}

// The default interface (eth0, as upstream has it fixed) stands out, all stand in the list.
Json NetworkJson(const std::vector<cadvisor::InterfaceStats>& interfaces, StatsTime time) {
  Json out{{"time", Rfc3339(time)}};
  Json list = Json::array();
  for (const cadvisor::InterfaceStats& i : interfaces) {
    if (i.name == "eth0") out.update(InterfaceJson(i));
    list.push_back(InterfaceJson(i));
  }
  out["interfaces"] = std::move(list);
  return out;
}

class Builder {
 public:
  Builder(Readers& readers, const NodeSource& source, bool short_form)
      : readers_(readers), source_(source), short_(short_form), now_(std::chrono::system_clock::now()) {
    if (const auto swap = cadvisor::ReadMeminfo(readers.host, "SwapTotal"); swap.ok()) node_swap_ = *swap;
    if (const auto fs = cadvisor::StatFilesystem(source.root_directory); fs.ok()) node_fs_ = *fs;
  }

  Json Build() {
    Json out;
    out["node"] = Node();
    Json pods = Json::array();
    for (const PodSource& pod : source_.pods) {
      if (Json json = Pod(pod); !json.is_null()) pods.push_back(std::move(json));
    }
    out["pods"] = std::move(pods);
    return out;
  }

 private:
  // None where the cgroup is gone or unreadable (logged).
  std::optional<ContainerStats> Read(const std::string& cgroup) {
    if (cgroup.empty()) return std::nullopt;
    StatusOr<ContainerStats> stats = readers_.collector.ReadCpuAndMemory(cgroup);
    if (stats.ok()) {
      if (const auto spec = readers_.cgroups.ReadSpec(cgroup); spec.ok()) stats->spec = *spec;
      return *std::move(stats);
    }
    if (!absl::IsNotFound(stats.status())) {
      LOG_ERROR(stats.status(), "Failed to read statistics", {"cgroup", cgroup});
    }
    return std::nullopt;
  }

  // cpu, memory, io and swap of one cgroup. `available` where the memory is limited; containers show a 0 without.
  void AddCommon(Json& out, const ContainerStats& stats, std::optional<uint64_t> memory_limit, bool is_container) {
    const std::string time = Rfc3339(stats.time);
    const bool with_psi = !is_container || stats.cgroup.cpu.psi.has_value();
    Json cpu{{"time", time}};
    if (stats.usage_nano_cores) cpu["usageNanoCores"] = *stats.usage_nano_cores;
    cpu["usageCoreNanoSeconds"] = stats.cgroup.cpu.usage_ns;
    if (with_psi) cpu["psi"] = PsiJson(stats.cgroup.cpu.psi);
    out["cpu"] = std::move(cpu);
    const cadvisor::MemoryStats& m = stats.cgroup.memory;
    Json memory{{"time", time}};
    if (memory_limit) {
      memory["availableBytes"] = *memory_limit - std::min(*memory_limit, m.working_set);
    } else if (is_container) {
      memory["availableBytes"] = 0;
    }
    memory["usageBytes"] = m.usage;
    memory["workingSetBytes"] = m.working_set;
    memory["rssBytes"] = m.rss;
    memory["pageFaults"] = m.pgfault;
    memory["majorPageFaults"] = m.pgmajfault;
    if (with_psi) memory["psi"] = PsiJson(m.psi);
    out["memory"] = std::move(memory);
    if (short_) return;
    Json io{{"time", time}};
    if (with_psi) io["psi"] = PsiJson(stats.cgroup.io.psi);
    out["io"] = std::move(io);
  }

  Json Swap(const ContainerStats& stats, std::optional<uint64_t> limit) const {
    Json swap{{"time", Rfc3339(stats.time)}};
    if (limit) swap["swapAvailableBytes"] = *limit - std::min(*limit, stats.cgroup.memory.swap);
    swap["swapUsageBytes"] = stats.cgroup.memory.swap;
    return swap;
  }

  static std::optional<uint64_t> MemoryLimit(const cadvisor::CgroupSpec& spec) {
    if (!spec.has_memory || spec.memory_limit > (uint64_t{1} << 62)) return std::nullopt;
    return spec.memory_limit;
  }

  Json Node() {
    Json node{{"nodeName", source_.node_name}};
    Json system = Json::array();
    for (const NodeSource::System& s : source_.system) {
      const std::optional<ContainerStats> stats = Read(s.cgroup);
      if (!stats) continue;
      Json json{{"name", s.name}, {"startTime", Rfc3339(s.started == StatsTime{} ? stats->spec.created : s.started)}};
      AddCommon(json, *stats, MemoryLimit(stats->spec), false);
      json["swap"] = Swap(*stats, std::nullopt);
      system.push_back(std::move(json));
    }
    if (!system.empty()) node["systemContainers"] = std::move(system);
    const auto boot = cadvisor::ReadBootTime(readers_.host);
    node["startTime"] = Rfc3339(std::chrono::system_clock::from_time_t(boot.ok() ? *boot : 0));
    if (const std::optional<ContainerStats> stats = Read("/")) {
      const auto memory = cadvisor::ReadMeminfo(readers_.host, "MemTotal");
      AddCommon(node, *stats, memory.ok() ? std::optional<uint64_t>(*memory) : std::nullopt, false);
      if (!short_) AddNodeParts(node);
      node["swap"] = Swap(*stats, node_swap_);
    }
    return node;
  }

  void AddNodeParts(Json& node) {
    if (const auto network = cadvisor::ReadNetwork(readers_.host, 1); network.ok()) {
      node["network"] = NetworkJson(*network, now_);
    }
    if (node_fs_) {
      const FsJson fs{.fs = *node_fs_,
                      .used_bytes = node_fs_->usage(),
                      .used_inodes = node_fs_->inodes - std::min(node_fs_->inodes, node_fs_->inodes_free)};
      node["fs"] = fs.At(now_);
    }
    if (const auto image_fs = cadvisor::StatFilesystem(source_.image_directory); image_fs.ok()) {
      const FsJson fs{.fs = *image_fs,
                      .used_bytes = source_.image_used_bytes.value_or(image_fs->usage()),
                      .used_inodes = source_.image_used_inodes.value_or(
                          image_fs->inodes - std::min(image_fs->inodes, image_fs->inodes_free))};
      node["runtime"] = Json{{"imageFs", fs.At(now_)}, {"containerFs", ContainerFs(fs).At(now_)}};
    }
    if (const auto tasks = cadvisor::ReadTaskCounts(readers_.host); tasks.ok()) {
      node["rlimit"] = Json{{"time", Rfc3339(now_)}, {"maxpid", tasks->max}, {"curproc", tasks->running}};
    }
  }

  // The images' file system where writable layers are not on one of their own.
  FsJson ContainerFs(const FsJson& image_fs) const {
    const std::string& layers = source_.container_directory;
    if (layers.empty() || !OnOtherDevices(source_.image_directory, layers)) return image_fs;
    const auto fs = cadvisor::StatFilesystem(layers);
    if (!fs.ok()) return image_fs;
    return {.fs = *fs,
            .used_bytes = source_.container_used_bytes.value_or(fs->usage()),
            .used_inodes = source_.container_used_inodes.value_or(fs->inodes - std::min(fs->inodes, fs->inodes_free))};
  }

  std::optional<FsJson> Logs(const std::string& path) const {
    const std::optional<DiskUse> use = MeasureLogs(path);
    if (!use) return std::nullopt;
    return FsJson{.fs = *node_fs_, .used_bytes = use->bytes, .used_inodes = use->inodes};
  }

  Json Container(const ContainerSource& container, uint64_t* ephemeral_bytes, uint64_t* ephemeral_inodes) {
    const std::optional<ContainerStats> stats = Read(container.cgroup);
    if (!stats) return nullptr;
    Json json{{"name", container.name},
              {"startTime", Rfc3339(container.started == StatsTime{} ? stats->spec.created : container.started)}};
    AddCommon(json, *stats, MemoryLimit(stats->spec), true);
    if (!short_ && node_fs_) {
      if (container.rootfs_used_bytes) {
        const FsJson rootfs{.fs = *node_fs_,
                            .used_bytes = *container.rootfs_used_bytes,
                            .used_inodes = container.rootfs_used_inodes.value_or(0)};
        json["rootfs"] = rootfs.At(now_);
        *ephemeral_bytes += rootfs.used_bytes;
        *ephemeral_inodes += rootfs.used_inodes;
      }
      if (!container.log_directory.empty()) {
        if (const std::optional<FsJson> logs = Logs(container.log_directory)) {
          json["logs"] = logs->At(now_);
          *ephemeral_bytes += logs->used_bytes;
          *ephemeral_inodes += logs->used_inodes;
        }
      }
    }
    json["swap"] = Swap(*stats, std::min(SwapLimit(readers_, stats->spec).value_or(node_swap_), node_swap_));
    return json;
  }

  Json Pod(const PodSource& pod) {
    const std::optional<ContainerStats> stats = Read(pod.cgroup);
    if (!stats) return nullptr;
    Json json{{"podRef", Json{{"name", pod.name}, {"namespace", pod.namespace_}, {"uid", pod.uid}}},
              {"startTime", Rfc3339(pod.started == StatsTime{} ? stats->spec.created : pod.started)}};
    uint64_t ephemeral_bytes = 0, ephemeral_inodes = 0;
    Json containers = Json::array();
    for (const ContainerSource& container : pod.containers) {
      if (Json c = Container(container, &ephemeral_bytes, &ephemeral_inodes); !c.is_null()) {
        containers.push_back(std::move(c));
      }
    }
    json["containers"] = std::move(containers);
    AddCommon(json, *stats, MemoryLimit(stats->spec), false);
    if (!short_) {
      AddPodNetwork(json, pod);
      AddVolumes(json, pod, &ephemeral_bytes, &ephemeral_inodes);
      struct stat hosts {};
      if (!pod.hosts_file.empty() && lstat(pod.hosts_file.c_str(), &hosts) == 0) {
        ephemeral_bytes += static_cast<uint64_t>(hosts.st_blocks) * 512;
        ephemeral_inodes++;
      }
      if (node_fs_) {
        const FsJson ephemeral{.fs = *node_fs_, .used_bytes = ephemeral_bytes, .used_inodes = ephemeral_inodes};
        json["ephemeral-storage"] = ephemeral.At(now_);
      }
    }
    json["swap"] = Swap(*stats, std::nullopt);
    return json;
  }

  void AddPodNetwork(Json& json, const PodSource& pod) {
    if (pod.host_network || pod.sandbox_cgroup.empty()) return;
    const auto pids = readers_.cgroups.Pids(pod.sandbox_cgroup);
    if (!pids.ok() || pids->empty()) return;
    const auto network = cadvisor::ReadNetwork(readers_.host, pids->front());
    if (network.ok() && !network->empty()) json["network"] = NetworkJson(*network, now_);
  }

  void AddVolumes(Json& json, const PodSource& pod, uint64_t* ephemeral_bytes, uint64_t* ephemeral_inodes) {
    Json volumes = Json::array();
    for (const VolumeStatsSource& volume : pod.volumes) {
      if (!volume.figures) continue;
      const DiskUse& used = volume.figures->used;
      const FsJson figures{.fs = volume.figures->fs, .used_bytes = used.bytes, .used_inodes = used.inodes};
      Json v = figures.At(volume.figures->time);
      v["name"] = volume.name;
      if (!volume.pvc_name.empty()) v["pvcRef"] = Json{{"name", volume.pvc_name}, {"namespace", pod.namespace_}};
      volumes.push_back(std::move(v));
      if (volume.ephemeral) {
        *ephemeral_bytes += used.bytes;
        *ephemeral_inodes += used.inodes;
      }
    }
    if (!volumes.empty()) json["volume"] = std::move(volumes);
  }

  Readers& readers_;
  const NodeSource& source_;
  const bool short_;
  const StatsTime now_;
  uint64_t node_swap_ = 0;
  std::optional<cadvisor::FsStats> node_fs_;
};

}  // namespace

std::string SummaryJson(Readers& readers, const NodeSource& source, bool only_cpu_and_memory) {
  // Names come from the API and are UTF-8; anything else is replaced rather than thrown over.
  return DumpJson(Builder(readers, source, only_cpu_and_memory).Build());
}

}  // namespace skiff::kubelet
