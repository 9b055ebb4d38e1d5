#include "kubelet/stats/stats.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <map>
#include <optional>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "api/time.h"
#include "base/files.h"
#include "base/go_text.h"
#include "cadvisor/cgroup.h"
#include "cadvisor/collector.h"
#include "cadvisor/exposition.h"
#include "cadvisor/filesystem.h"
#include "cadvisor/host.h"
#include "cadvisor/machine.h"
#include "kubelet/volume/async_lock.h"
#include "kubelet/volume/volume_manager.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::ordered_json;
using cadvisor::ContainerReading;
using cadvisor::ContainerRecord;
using cadvisor::ContainerStats;
using State = ContainerState::State;

std::string Text(WallTime t) { return api::FormatTime(t); }

json CpuJson(const ContainerStats& s) {
  json out = {{"time", Text(s.time)}};
  out["usageNanoCores"] = s.usage_nano_cores.value_or(0);
  out["usageCoreNanoSeconds"] = s.cgroup.cpu.usage_ns;
  return out;
}

json MemoryJson(const ContainerStats& s, uint64_t limit) {
  const auto& m = s.cgroup.memory;
  json out = {{"time", Text(s.time)}};
  if (limit > 0) out["availableBytes"] = limit > m.working_set ? limit - m.working_set : 0;
  out["usageBytes"] = m.usage;
  out["workingSetBytes"] = m.working_set;
  out["rssBytes"] = m.rss;
  out["pageFaults"] = m.pgfault;
  out["majorPageFaults"] = m.pgmajfault;
  return out;
}

json NetworkJson(const ContainerStats& s, const std::string& main) {
  auto one = [](const cadvisor::InterfaceStats& i) {
    return json{{"name", i.name},
                {"rxBytes", i.rx_bytes},
                {"rxErrors", i.rx_errors},
                {"txBytes", i.tx_bytes},
                {"txErrors", i.tx_errors}};
  };
  json out = {{"time", Text(s.time)}};
  json list = json::array();
  for (const auto& i : s.network) {
    if (i.name == "lo") continue;
    if (i.name == main) {
      for (auto& [key, value] : one(i).items()) out[key] = value;
    }
    list.push_back(one(i));
  }
  out["interfaces"] = std::move(list);
  return out;
}

std::optional<json> FsJson(const std::string& path, WallTime now, std::optional<uint64_t> used = std::nullopt,
                           std::optional<uint64_t> inodes_used = std::nullopt) {
  struct statvfs v {};
  if (::statvfs(path.c_str(), &v) != 0) return std::nullopt;
  uint64_t block = v.f_frsize;
  json out = {{"time", Text(now)},
              {"availableBytes", v.f_bavail * block},
              {"capacityBytes", v.f_blocks * block},
              {"usedBytes", used.value_or((v.f_blocks - v.f_bfree) * block)},
              {"inodesFree", v.f_ffree},
              {"inodes", v.f_files},
              {"inodesUsed", inodes_used.value_or(v.f_files - v.f_ffree)}};
  return out;
}

void Sample(std::string* out, std::string_view name, std::string_view labels, double value,
            std::optional<WallTime> time = std::nullopt) {
  absl::StrAppend(out, name);
  if (!labels.empty()) absl::StrAppend(out, "{", labels, "}");
  absl::StrAppend(out, " ", GoFloat(value));
  if (time) {
    absl::StrAppend(out, " ", std::chrono::duration_cast<std::chrono::milliseconds>(time->time_since_epoch()).count());
  }
  absl::StrAppend(out, "\n");
}

}  // namespace

struct Stats::Impl {
  Impl(asio::any_io_executor ex, CgroupNames n, std::string root, std::string logs, cadvisor::Host h,
       cadvisor::CgroupTree tree, cadvisor::MachineInfo m)
      : executor(ex),
        names(std::move(n)),
        root_dir(std::move(root)),
        logs_dir(std::move(logs)),
        host(std::move(h)),
        cgroups(std::move(tree)),
        machine(std::move(m)),
        collector(host, cgroups) {}

  asio::any_io_executor executor;
  CgroupNames names;
  std::string root_dir, logs_dir;
  cadvisor::Host host;
  cadvisor::CgroupTree cgroups;
  cadvisor::MachineInfo machine;
  cadvisor::Collector collector;
  std::shared_ptr<AsyncLock> lock = std::make_shared<AsyncLock>();

  std::string PodCgroup(const Pod& pod) const { return "/" + names.Pod(QosClass(pod), pod.metadata().uid()); }
  std::string ContainerCgroup(const Pod& pod, const std::string& id) const {
    return names.systemd() ? absl::StrCat(PodCgroup(pod), "/cri-containerd-", id, ".scope")
                           : absl::StrCat(PodCgroup(pod), "/", id);
  }
  std::vector<ContainerRecord> Records(const StatsInputs& in) const;
  StatusOr<std::string> Cadvisor(const StatsInputs& in);
  StatusOr<std::string> Resource(const StatsInputs& in);
  StatusOr<std::string> Summary(const StatsInputs& in);
  pid_t PidOf(const std::string& cgroup) const {
    auto pids = cgroups.Pids(cgroup);
    return pids.ok() && !pids->empty() ? pids->front() : 0;
  }
};

StatusOr<std::unique_ptr<Stats>> Stats::Make(asio::any_io_executor executor, CgroupNames names, std::string root_dir,
                                             std::string logs_dir) {
  ASSIGN_OR_RETURN(cadvisor::Host host, cadvisor::Host::Open("/"));
  ASSIGN_OR_RETURN(cadvisor::CgroupTree tree, cadvisor::CgroupTree::Detect(host.sys));
  ASSIGN_OR_RETURN(cadvisor::MachineInfo machine, cadvisor::ReadMachine(host));
  return std::unique_ptr<Stats>(
      new Stats(std::make_shared<Impl>(executor, std::move(names), std::move(root_dir), std::move(logs_dir),
                                       std::move(host), std::move(tree), std::move(machine))));
}

Stats::~Stats() = default;

std::vector<ContainerRecord> Stats::Impl::Records(const StatsInputs& in) const {
  std::vector<ContainerRecord> out;
  auto plain = [&](std::string cgroup, pid_t pid = 0) {
    ContainerRecord r;
    r.cgroup = std::move(cgroup);
    r.network_pid = pid;
    out.push_back(std::move(r));
  };
  plain("/", 1);
  plain("/" + names.Kubepods());
  plain("/" + names.Qos("Burstable"));
  plain("/" + names.Qos("BestEffort"));
  for (const auto& p : in.pods) {
    ContainerRecord base;
    base.pod = p.pod->metadata().name();
    base.namespace_ = p.pod->metadata().namespace_();
    ContainerRecord pod = base;
    pod.cgroup = PodCgroup(*p.pod);
    out.push_back(pod);
    for (const auto& s : p.state->sandboxes) {
      if (!s.ready) continue;
      ContainerRecord r = base;
      r.cgroup = ContainerCgroup(*p.pod, s.id);
      r.name = s.id;
      if (!s.host_network) r.network_pid = PidOf(r.cgroup);
      out.push_back(std::move(r));
    }
    for (const auto& c : p.state->containers) {
      if (c.state != State::kRunning) continue;
      ContainerRecord r = base;
      r.cgroup = ContainerCgroup(*p.pod, c.id);
      r.name = c.id;
      r.container = c.name;
      r.image = c.image;
      out.push_back(std::move(r));
    }
  }
  return out;
}

StatusOr<std::string> Stats::Impl::Cadvisor(const StatsInputs& in) {
  bool error = false;
  auto readings = cadvisor::ReadAll(collector, Records(in), &error);
  cadvisor::ExpositionOptions options;
  cadvisor::Exposition exposition(machine, readings, error, options);
  std::string out, part;
  while (exposition.Next(&part)) out += part;
  return out;
}

StatusOr<std::string> Stats::Impl::Resource(const StatsInputs& in) {
  struct One {
    std::string labels;
    ContainerStats stats;
    double started = 0;
  };
  std::vector<One> containers, pods;
  bool error = false;
  auto read = [&](const std::string& cgroup, std::string labels, double started, std::vector<One>* to) {
    auto stats = collector.ReadCpuAndMemory(cgroup);
    if (stats.ok()) {
      to->push_back({std::move(labels), *std::move(stats), started});
    } else if (!absl::IsNotFound(stats.status())) {
      error = true;
    }
  };
  for (const auto& p : in.pods) {
    std::string pod =
        absl::StrCat("namespace=\"", p.pod->metadata().namespace_(), "\",pod=\"", p.pod->metadata().name(), "\"");
    bool any = false;
    for (const auto& c : p.state->containers) {
      if (c.state != State::kRunning) continue;
      any = true;
      read(ContainerCgroup(*p.pod, c.id), absl::StrCat("container=\"", c.name, "\",", pod),
           static_cast<double>(c.started_at) / 1e9, &containers);
    }
    if (any) read(PodCgroup(*p.pod), pod, 0, &pods);
  }
  auto by_labels = [](const One& a, const One& b) { return a.labels < b.labels; };
  std::sort(containers.begin(), containers.end(), by_labels);
  std::sort(pods.begin(), pods.end(), by_labels);
  auto node = collector.ReadCpuAndMemory("/");
  if (!node.ok()) return node.status();
  std::string out;
  auto family = [&](const char* name, const char* help, const char* type, const std::vector<One>& list, auto value,
                    bool timed = true) {
    if (list.empty()) return;
    absl::StrAppend(&out, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
    for (const auto& one : list) {
      Sample(&out, name, one.labels, value(one), timed ? std::optional(one.stats.time) : std::nullopt);
    }
  };
  std::vector<One> machine_wide;
  machine_wide.push_back({"", *std::move(node), 0});
  auto cpu = [](const One& o) { return static_cast<double>(o.stats.cgroup.cpu.usage_ns) / 1e9; };
  auto memory = [](const One& o) { return static_cast<double>(o.stats.cgroup.memory.working_set); };
  auto swap = [](const One& o) { return static_cast<double>(o.stats.cgroup.memory.swap); };
  family("container_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
         "counter", containers, cpu);
  family("container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes", "gauge",
         containers, memory);
  family(
      "container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds", "gauge",
      containers, [](const One& o) { return o.started; }, false);
  family("container_swap_usage_bytes",
         "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems", "gauge",
         containers, swap);
  family("node_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the node in core-seconds", "counter",
         machine_wide, cpu);
  family("node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes", "gauge", machine_wide,
         memory);
  family("node_swap_usage_bytes",
         "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems", "gauge", machine_wide,
         swap);
  family("pod_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", "counter",
         pods, cpu);
  family("pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes", "gauge", pods, memory);
  family("pod_swap_usage_bytes",
         "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems", "gauge", pods,
         swap);
  absl::StrAppend(&out,
                  "# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 "
                  "otherwise\n# TYPE resource_scrape_error gauge\nresource_scrape_error ",
                  error ? 1 : 0, "\n");
  return out;
}

StatusOr<std::string> Stats::Impl::Summary(const StatsInputs& in) {
  const WallTime now = std::chrono::system_clock::now();
  auto read = [&](const std::string& cgroup, pid_t network) {
    ContainerRecord record;
    record.cgroup = cgroup;
    record.network_pid = network;
    return in.only_cpu_and_memory ? collector.ReadCpuAndMemory(cgroup) : collector.Read(record);
  };
  ASSIGN_OR_RETURN(ContainerStats node, read("/", 1), "failed to get root cgroup stats");
  json out_node = {{"nodeName", in.node_name}};
  json system = json::array();
  if (auto pods = read("/" + names.Kubepods(), 0); pods.ok()) {
    json one = {{"name", "pods"}};
    if (pods->spec.created.time_since_epoch().count() > 0) one["startTime"] = Text(pods->spec.created);
    one["cpu"] = CpuJson(*pods);
    one["memory"] = MemoryJson(*pods, machine.memory);
    one["swap"] = {{"time", Text(pods->time)}, {"swapUsageBytes", pods->cgroup.memory.swap}};
    system.push_back(std::move(one));
  }
  out_node["systemContainers"] = std::move(system);
  if (auto boot = cadvisor::ReadBootTime(host); boot.ok())
    out_node["startTime"] = Text(WallTime(std::chrono::seconds(*boot)));
  out_node["cpu"] = CpuJson(node);
  out_node["memory"] = MemoryJson(node, machine.memory);
  std::string main_interface;
  for (const auto& i : node.network) {
    if (main_interface.empty() && (i.name.starts_with("e") || i.name.starts_with("w"))) main_interface = i.name;
  }
  if (!in.only_cpu_and_memory) {
    out_node["network"] = NetworkJson(node, main_interface);
    if (auto fs = FsJson(root_dir, now)) {
      out_node["fs"] = *fs;
      out_node["runtime"] = {{"imageFs", *fs}, {"containerFs", *fs}};
    }
    if (auto tasks = cadvisor::ReadTaskCounts(host); tasks.ok()) {
      out_node["rlimit"] = {{"time", Text(now)}, {"maxpid", tasks->max}, {"curproc", tasks->running}};
    }
  }
  out_node["swap"] = {
      {"time", Text(node.time)},
      {"swapAvailableBytes", machine.swap > node.cgroup.memory.swap ? machine.swap - node.cgroup.memory.swap : 0},
      {"swapUsageBytes", node.cgroup.memory.swap}};
  json pods = json::array();
  for (const auto& p : in.pods) {
    std::string sandbox;
    for (const auto& s : p.state->sandboxes) {
      if (s.ready && !s.host_network && sandbox.empty()) sandbox = s.id;
    }
    auto whole = read(PodCgroup(*p.pod), sandbox.empty() ? 0 : PidOf(ContainerCgroup(*p.pod, sandbox)));
    if (!whole.ok()) continue;
    json one = {{"podRef",
                 {{"name", p.pod->metadata().name()},
                  {"namespace", p.pod->metadata().namespace_()},
                  {"uid", p.pod->metadata().uid()}}}};
    one["startTime"] = Text(api::FromTime(p.pod->status().starttime()));
    json containers = json::array();
    uint64_t ephemeral_bytes = 0, ephemeral_inodes = 0;
    for (const auto& c : p.state->containers) {
      if (c.state != State::kRunning) continue;
      auto stats = read(ContainerCgroup(*p.pod, c.id), 0);
      if (!stats.ok()) continue;
      json container = {{"name", c.name}};
      container["startTime"] = Text(WallTime(std::chrono::seconds(c.started_at / 1000000000)));
      container["cpu"] = CpuJson(*stats);
      uint64_t limit = stats->spec.has_memory && stats->spec.memory_limit < (1ULL << 60) ? stats->spec.memory_limit : 0;
      container["memory"] = MemoryJson(*stats, limit);
      if (!in.only_cpu_and_memory) {
        size_t slash = c.log_path.rfind('/');
        if (slash != std::string::npos) {
          auto dir = Dir::Open(c.log_path.substr(0, slash));
          if (dir.ok()) {
            if (auto used = cadvisor::MeasureDir(*dir); used.ok()) {
              if (auto fs = FsJson(logs_dir, now, used->bytes, used->inodes)) container["logs"] = *fs;
              ephemeral_bytes += used->bytes;
              ephemeral_inodes += used->inodes;
            }
          }
        }
      }
      container["swap"] = {{"time", Text(stats->time)}, {"swapUsageBytes", stats->cgroup.memory.swap}};
      containers.push_back(std::move(container));
    }
    one["containers"] = std::move(containers);
    one["cpu"] = CpuJson(*whole);
    uint64_t limit = whole->spec.has_memory && whole->spec.memory_limit < (1ULL << 60) ? whole->spec.memory_limit : 0;
    one["memory"] = MemoryJson(*whole, limit);
    if (!in.only_cpu_and_memory) {
      if (!whole->network.empty()) one["network"] = NetworkJson(*whole, "eth0");
      json volumes = json::array();
      for (const auto& [name, path] : p.volumes) {
        auto dir = Dir::Open(path);
        if (!dir.ok()) continue;
        auto used = cadvisor::MeasureDir(*dir);
        if (!used.ok()) continue;
        auto fs = FsJson(path, now, used->bytes, used->inodes);
        if (!fs) continue;
        (*fs)["name"] = name;
        volumes.push_back(*std::move(fs));
      }
      if (!volumes.empty()) one["volume"] = std::move(volumes);
      // A pod's own /etc/hosts counts as well.
      if (auto dir = Dir::Open(PodDir(root_dir, p.pod->metadata().uid())); dir.ok() && dir->Exists("etc-hosts")) {
        ephemeral_bytes += 4096;
        ephemeral_inodes += 1;
      }
      if (auto fs = FsJson(root_dir, now, ephemeral_bytes, ephemeral_inodes)) one["ephemeral-storage"] = *fs;
      if (auto tasks = cgroups.ReadStats(PodCgroup(*p.pod)); tasks.ok()) {
        one["process_stats"] = {{"process_count", tasks->pids.threads}};
      }
    }
    one["swap"] = {{"time", Text(whole->time)}, {"swapUsageBytes", whole->cgroup.memory.swap}};
    pods.push_back(std::move(one));
  }
  json out = {{"node", std::move(out_node)}, {"pods", std::move(pods)}};
  return out.dump(1);
}

namespace {

// One reading at a time, off the loop; the lock is held by the coroutine.
template <typename F>
Task<StatusOr<std::string>> Blocking(F read) {
  std::function<StatusOr<std::string>()> work = std::move(read);
  co_return co_await RunBlockingFor<std::string>(std::move(work));
}

}  // namespace

Task<StatusOr<std::string>> Stats::Cadvisor(StatsInputs in) {
  auto impl = impl_;
  auto held = co_await impl->lock->Lock();
  if (!held.ok()) co_return held.status();
  co_return co_await Blocking([impl, in = std::move(in)] { return impl->Cadvisor(in); });
}

Task<StatusOr<std::string>> Stats::Resource(StatsInputs in) {
  auto impl = impl_;
  auto held = co_await impl->lock->Lock();
  if (!held.ok()) co_return held.status();
  co_return co_await Blocking([impl, in = std::move(in)] { return impl->Resource(in); });
}

Task<StatusOr<std::string>> Stats::Summary(StatsInputs in) {
  auto impl = impl_;
  auto held = co_await impl->lock->Lock();
  if (!held.ok()) co_return held.status();
  co_return co_await Blocking([impl, in = std::move(in)] { return impl->Summary(in); });
}

}  // namespace skiff::kubelet
