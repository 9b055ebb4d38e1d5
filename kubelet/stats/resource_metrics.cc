// /metrics/resource: upstream's small set for autoscalers.
#include "base/log.h"
#include "base/metrics.h"
#include "kubelet/stats/readers.h"

namespace skiff::kubelet {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

int64_t Milliseconds(StatsTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// The samples of all families; the registry sorts them.
class Samples {
 public:
  void Add(const std::string& family, const Labels& labels, double value, int64_t timestamp) {
    families_[family].push_back({.labels = labels, .value = value, .timestamp_ms = timestamp});
  }
  void Family(metrics::Registry& registry, const std::string& name, std::string help, std::string type) {
    registry.Collector(name, std::move(help), std::move(type), [this, name](const metrics::Emit& emit) {
      for (metrics::Sample& sample : families_[name]) emit(std::move(sample));
    });
  }

 private:
  std::map<std::string, std::vector<metrics::Sample>> families_;
};

}  // namespace

std::string ResourceText(Readers& readers, const NodeSource& source) {
  Samples samples;
  bool error = false;
  const auto read = [&](const std::string& cgroup) -> std::optional<cadvisor::ContainerStats> {
    if (cgroup.empty()) return std::nullopt;
    StatusOr<cadvisor::ContainerStats> stats = readers.collector.ReadCpuAndMemory(cgroup);
    if (stats.ok()) return *std::move(stats);
    if (!absl::IsNotFound(stats.status())) {
      LOG_ERROR(stats.status(), "Failed to read statistics", {"cgroup", cgroup});
      error = true;
    }
    return std::nullopt;
  };
  const auto add = [&](const std::string& prefix, const Labels& labels, const cadvisor::ContainerStats& stats) {
    const int64_t time = Milliseconds(stats.time);
    const cadvisor::MemoryStats& memory = stats.cgroup.memory;
    samples.Add(prefix + "_cpu_usage_seconds_total", labels, static_cast<double>(stats.cgroup.cpu.usage_ns) / 1e9,
                time);
    samples.Add(prefix + "_memory_working_set_bytes", labels, static_cast<double>(memory.working_set), time);
    samples.Add(prefix + "_swap_usage_bytes", labels, static_cast<double>(memory.swap), time);
  };
  const StatusOr<uint64_t> node_swap = cadvisor::ReadMeminfo(readers.host, "SwapTotal");
  if (const auto stats = read("/")) add("node", {}, *stats);
  for (const PodSource& pod : source.pods) {
    if (const auto stats = read(pod.cgroup)) add("pod", {{"namespace", pod.namespace_}, {"pod", pod.name}}, *stats);
    for (const ContainerSource& container : pod.containers) {
      const auto stats = read(container.cgroup);
      if (!stats) continue;
      const Labels labels{{"container", container.name}, {"namespace", pod.namespace_}, {"pod", pod.name}};
      add("container", labels, *stats);
      const int64_t started =
          std::chrono::duration_cast<std::chrono::nanoseconds>(container.started.time_since_epoch()).count();
      if (started > 0) samples.Add("container_start_time_seconds", labels, static_cast<double>(started) / 1e9, 0);
      const StatusOr<cadvisor::CgroupSpec> spec = readers.cgroups.ReadSpec(container.cgroup);
      if (!spec.ok() || !node_swap.ok()) continue;
      const uint64_t limit = std::min(SwapLimit(readers, *spec).value_or(*node_swap), *node_swap);
      samples.Add("container_swap_limit_bytes", labels, static_cast<double>(limit), Milliseconds(stats->time));
    }
  }
  metrics::Registry registry;
  const char* const counter = "counter";
  const char* const gauge = "gauge";
  samples.Family(registry, "node_cpu_usage_seconds_total",
                 "[STABLE] Cumulative cpu time consumed by the node in core-seconds", counter);
  samples.Family(registry, "node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes", gauge);
  samples.Family(registry, "node_swap_usage_bytes",
                 "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems", gauge);
  samples.Family(registry, "container_cpu_usage_seconds_total",
                 "[STABLE] Cumulative cpu time consumed by the container in core-seconds", counter);
  samples.Family(registry, "container_memory_working_set_bytes",
                 "[STABLE] Current working set of the container in bytes", gauge);
  samples.Family(registry, "container_swap_usage_bytes",
                 "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
                 gauge);
  samples.Family(registry, "container_swap_limit_bytes",
                 "[ALPHA] Current amount of the container swap limit in bytes. Reported only on non-windows systems",
                 gauge);
  samples.Family(registry, "container_start_time_seconds",
                 "[STABLE] Start time of the container since unix epoch in seconds", gauge);
  samples.Family(registry, "pod_cpu_usage_seconds_total",
                 "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", counter);
  samples.Family(registry, "pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes", gauge);
  samples.Family(registry, "pod_swap_usage_bytes",
                 "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems", gauge);
  registry
      .Gauges("resource_scrape_error", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise")
      .With({})
      .Set(error);
  return registry.Expose();
}

}  // namespace skiff::kubelet
