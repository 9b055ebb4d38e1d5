// The bodies of the kubelet's statistics endpoints: /metrics/cadvisor, /metrics/resource and /stats/summary (upstream's
// k8s.io/kubelet/pkg/apis/stats/v1alpha1), from cgroups, procfs and file systems. Between requests nothing is read
// but volumes, whose walks go on to their end (volume_sizes.h), and nothing kept but the last CPU readings and what
// volumes hold. Call from the loop; the reading is done on the blocking pool, one request at a time.
#ifndef SKIFF_KUBELET_STATS_NODE_STATS_H_
#define SKIFF_KUBELET_STATS_NODE_STATS_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "kubelet/stats/usage.h"
#include "kubelet/stats/volume_sizes.h"

namespace skiff::kubelet {

// What the caller knows; what is empty is left out.
struct ContainerSource {
  std::string name, id, image;
  std::string cgroup;  // "/kubepods/burstable/pod<uid>/<id>"
  StatsTime started{};
  // Of the writable layer, as the runtime tells (CRI ContainerStats).
  std::optional<uint64_t> rootfs_used_bytes, rootfs_used_inodes;
  std::string log_directory;  // <pod log directory>/<name>
};

struct VolumeStatsSource {
  std::string name, path;
  std::string pvc_name;                    // "" for no claim
  bool ephemeral = false;                  // an emptyDir on disk: counts towards the pod's ephemeral storage
  bool walked = true;                      // else a file system of its own: that says what it holds
  std::optional<VolumeFigures> figures{};  // NodeStats fills it
};

// A claim and what its volume holds.
struct ClaimFigures {
  std::string namespace_, name;
  VolumeFigures figures;
};

struct PodSource {
  std::string name, namespace_, uid, cgroup;
  StatsTime started{};
  std::string sandbox_id, sandbox_cgroup, sandbox_image;
  bool host_network = false;                // the summary then shows no network figures for it
  std::vector<ContainerSource> containers;  // running ones
  std::vector<VolumeStatsSource> volumes;
  std::string hosts_file;  // its /etc/hosts on the node; counts towards ephemeral storage
};

struct NodeSource {
  std::string node_name;
  std::string root_directory = "/var/lib/kubelet";              // its file system is "fs"
  std::string image_directory = "/var/lib/containerd";          // its file system is "runtime.imageFs"
  std::string container_directory;                              // of writable layers; "": with the images
  std::optional<uint64_t> image_used_bytes, image_used_inodes;  // CRI ImageFsInfo
  std::optional<uint64_t> container_used_bytes, container_used_inodes;
  struct System {
    std::string name, cgroup;  // {"pods", "/kubepods"}, {"kubelet", ..}, {"runtime", ..}, {"misc", ..}
    StatsTime started{};       // none: when its cgroup was made
  };
  std::vector<System> system;
  std::vector<std::string> cgroups;  // further ones for /metrics/cadvisor: the pods' root and the QoS classes
  std::vector<PodSource> pods;
};

class NodeStats {
 public:
  struct Options {
    std::string root = "/";  // tests: a tree with proc and sys
    bool pressure = true;    // the KubeletPSI gate; shown only where the kernel has it
    std::string version;     // in cadvisor_version_info
    VolumeSizes::Options volumes{};
  };
  // Fails where no cgroups are mounted.
  static StatusOr<std::unique_ptr<NodeStats>> Open(Options options);
  ~NodeStats();
  NodeStats(const NodeStats&) = delete;
  NodeStats& operator=(const NodeStats&) = delete;

  // Text expositions ("text/plain; version=0.0.4; ..") and the JSON of the summary. What has vanished meanwhile is left
  // out. usageNanoCores needs an earlier call, of whichever kind, at least a second ago; it is left out before.
  Task<StatusOr<std::string>> CadvisorMetrics(NodeSource source);
  Task<StatusOr<std::string>> ResourceMetrics(NodeSource source);
  Task<StatusOr<std::string>> Summary(NodeSource source, bool only_cpu_and_memory);
  // The node's figures and those of the pods in `source`.
  Task<StatusOr<NodeUse>> Use(NodeSource source);
  // Of the claims of the pods in `source`, each once. Nothing else of it is looked at.
  Task<std::vector<ClaimFigures>> Claims(NodeSource source);

 private:
  struct State;
  NodeStats(std::shared_ptr<State> state, VolumeSizes::Options volumes);
  template <typename T>
  static Task<StatusOr<T>> InTurn(std::shared_ptr<State> state, std::function<StatusOr<T>(State&)> read);
  std::shared_ptr<State> state_;  // shared with the work on the pool
  const std::shared_ptr<VolumeSizes> volumes_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_STATS_NODE_STATS_H_
