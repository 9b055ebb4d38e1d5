// Figures of the node, its pods and their containers, from cgroups and /proc, in the forms that the kubelet serves:
// /metrics/cadvisor, /metrics/resource and /stats/summary. Reading blocks and goes to the blocking pool; one reading at
// a time. While nobody asks nothing is read but volumes, to the end of what was begun. Upstream:
// kubernetes.io/docs/reference/instrumentation/node-metrics.
#ifndef SKIFF_KUBELET_STATS_STATS_H_
#define SKIFF_KUBELET_STATS_STATS_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "kubelet/pod/types.h"
#include "kubelet/resources/cgroup_names.h"
#include "kubelet/runtime/pod_state.h"
#include "kubelet/stats/node_stats.h"
#include "kubelet/stats/usage.h"

namespace skiff::kubelet {

struct StatsPod {
  PodPtr pod;
  PodStatePtr state;
  struct Volume {
    std::string name, path, claim;
    bool walked = true;  // else a file system of its own says what it holds
  };
  std::vector<Volume> volumes;
};

// What the runtime alone can tell; asked for only where the summary shows it.
struct RuntimeUsage {
  struct Layer {
    uint64_t bytes = 0, inodes = 0;
  };
  std::map<std::string, Layer> writable_layers;  // by container id
  std::optional<Layer> images, containers;
  std::string image_directory, container_directory;  // "" where unknown
};

// The cgroup that a runtime makes for a container below its pod's: containerd ID, or cri-containerd-ID.scope with
// systemd; CRI-O crio-ID, or crio-ID.scope.
std::string ContainerCgroupName(std::string_view runtime_name, bool systemd, std::string_view id);

// Cgroups of what is no pod; "" where there is none.
struct SystemContainers {
  std::string kubelet, runtime, misc;
  StatsTime kubelet_started{};
};

// The image that a sandbox was made of, from what the runtime tells when asked to be verbose ("info"); "" without.
std::string SandboxImageOf(std::string_view info);

struct StatsInputs {
  std::string node_name;
  SystemContainers system;
  std::string sandbox_image;  // what pods' sandboxes are made of; "": not known
  std::vector<StatsPod> pods;
  RuntimeUsage runtime;
  bool only_cpu_and_memory = false;
};

class Stats {
 public:
  // `root_dir`'s file system is the node's. kNotFound where no cgroups are mounted.
  // `runtime_name` is what the runtime calls itself: it names its containers' cgroups.
  // Volumes are measured every `volume_period`; 0 and less: they have no figures.
  static StatusOr<std::unique_ptr<Stats>> Make(CgroupNames names, std::string runtime_name, std::string root_dir,
                                               std::string logs_dir, std::chrono::nanoseconds volume_period);
  ~Stats();

  Task<StatusOr<std::string>> Cadvisor(StatsInputs in);  // text exposition
  Task<StatusOr<std::string>> Resource(StatsInputs in);  // text exposition
  Task<StatusOr<std::string>> Summary(StatsInputs in);   // JSON
  Task<StatusOr<NodeUse>> Use(StatsInputs in);           // the node, and the pods of `in`
  Task<std::vector<ClaimFigures>> Claims(StatsInputs in);

 private:
  struct Impl;
  explicit Stats(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_STATS_STATS_H_
