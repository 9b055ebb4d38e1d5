// From the kubelet's pods to what NodeStats reads.
#include "kubelet/stats/stats.h"

#include <nlohmann/json.hpp>

#include "api/time.h"
#include "base/files.h"
#include "kubelet/runtime/labels.h"
#include "kubelet/state/layout.h"
#include "kubelet/stats/node_stats.h"
#include "kubelet/volume/volume_manager.h"

namespace skiff::kubelet {
namespace {

// Volumes on the node's disk, which pods pay for with ephemeral storage.
bool IsEphemeral(const Pod& pod, const std::string& name) {
  for (const auto& volume : pod.spec().volumes()) {
    if (volume.name() != name) continue;
    const auto& source = volume.volumesource();
    return (source.has_emptydir() && source.emptydir().medium().empty()) || source.has_configmap();
  }
  return false;
}

}  // namespace

std::string ContainerCgroupName(std::string_view runtime_name, bool systemd, std::string_view id) {
  const bool crio = runtime_name == "cri-o";
  return systemd ? absl::StrCat(crio ? "crio-" : "cri-containerd-", id, ".scope")
                 : absl::StrCat(crio ? "crio-" : "", id);
}

std::string SandboxImageOf(std::string_view info) {
  const auto document = nlohmann::json::parse(info, nullptr, false);
  if (!document.is_object()) return "";
  const auto image = document.find("image");
  return image != document.end() && image->is_string() ? image->get<std::string>() : "";
}

struct Stats::Impl {
  std::unique_ptr<NodeStats> node_stats;
  CgroupNames names;
  std::string runtime_name, root_dir, logs_dir;

  std::string ContainerCgroup(const std::string& pod_cgroup, const std::string& id) const {
    return absl::StrCat(pod_cgroup, "/", ContainerCgroupName(runtime_name, names.systemd(), id));
  }
  PodSource SourceOf(const StatsPod& p, const RuntimeUsage& runtime) const;
  NodeSource SourceOf(const StatsInputs& in) const;
};

PodSource Stats::Impl::SourceOf(const StatsPod& p, const RuntimeUsage& runtime) const {
  const auto& metadata = p.pod->metadata();
  PodSource source;
  source.name = metadata.name();
  source.namespace_ = metadata.namespace_();
  source.uid = metadata.uid();
  source.cgroup = "/" + names.Pod(QosClass(*p.pod), metadata.uid());
  if (p.pod->status().has_starttime()) source.started = api::FromTime(p.pod->status().starttime());
  source.host_network = p.pod->spec().hostnetwork();
  source.hosts_file = layout::EtcHosts(layout::Pod(root_dir, metadata.uid()));
  for (const SandboxState& sandbox : p.state->sandboxes) {  // newest first
    if (!sandbox.ready) continue;
    source.sandbox_id = sandbox.id;
    source.sandbox_cgroup = ContainerCgroup(source.cgroup, sandbox.id);
    break;
  }
  const std::string logs = PodLogDir(logs_dir, metadata.namespace_(), metadata.name(), metadata.uid());
  for (const ContainerState& state : p.state->containers) {
    if (state.state != ContainerState::State::kRunning) continue;
    ContainerSource& container = source.containers.emplace_back();
    container.name = state.name;
    container.id = state.id;
    container.image = state.image;
    container.cgroup = ContainerCgroup(source.cgroup, state.id);
    container.started = StatsTime(std::chrono::nanoseconds(state.started_at));
    container.log_directory = JoinPath(logs, state.name);
    if (const auto layer = runtime.writable_layers.find(state.id); layer != runtime.writable_layers.end()) {
      container.rootfs_used_bytes = layer->second.bytes;
      container.rootfs_used_inodes = layer->second.inodes;
    }
  }
  for (const auto& [name, path, claim, walked] : p.volumes) {
    source.volumes.push_back(
        {.name = name, .path = path, .pvc_name = claim, .ephemeral = IsEphemeral(*p.pod, name), .walked = walked});
  }
  return source;
}

NodeSource Stats::Impl::SourceOf(const StatsInputs& in) const {
  NodeSource source;
  source.node_name = in.node_name;
  source.root_directory = root_dir;
  // Without the runtime's word images are taken to be on the node's file system.
  source.image_directory = in.runtime.image_directory.empty() ? root_dir : in.runtime.image_directory;
  source.container_directory = in.runtime.container_directory;
  if (in.runtime.images) {
    source.image_used_bytes = in.runtime.images->bytes;
    source.image_used_inodes = in.runtime.images->inodes;
  }
  if (in.runtime.containers) {
    source.container_used_bytes = in.runtime.containers->bytes;
    source.container_used_inodes = in.runtime.containers->inodes;
  }
  source.system = {{.name = "pods", .cgroup = "/" + names.Kubepods(), .started = {}}};
  const auto add_system = [&source](const char* name, const std::string& cgroup, StatsTime started) {
    if (cgroup.empty()) return;
    source.system.push_back(
        {.name = name, .cgroup = cgroup.front() == '/' ? cgroup : "/" + cgroup, .started = started});
  };
  add_system("kubelet", in.system.kubelet, in.system.kubelet_started);
  add_system("runtime", in.system.runtime, {});
  add_system("misc", in.system.misc, {});
  source.cgroups = {"/" + names.Kubepods(), "/" + names.Qos("Burstable"), "/" + names.Qos("BestEffort")};
  for (const StatsPod& pod : in.pods) {
    source.pods.push_back(SourceOf(pod, in.runtime));
    source.pods.back().sandbox_image = in.sandbox_image;
  }
  return source;
}

StatusOr<std::unique_ptr<Stats>> Stats::Make(CgroupNames names, std::string runtime_name, std::string root_dir,
                                             std::string logs_dir, std::chrono::nanoseconds volume_period) {
  ASSIGN_OR_RETURN(
      std::unique_ptr<NodeStats> node_stats,
      NodeStats::Open({.root = "/", .pressure = true, .version = "", .volumes = {.period = volume_period}}));
  return std::unique_ptr<Stats>(new Stats(std::make_shared<Impl>(Impl{.node_stats = std::move(node_stats),
                                                                      .names = std::move(names),
                                                                      .runtime_name = std::move(runtime_name),
                                                                      .root_dir = std::move(root_dir),
                                                                      .logs_dir = std::move(logs_dir)})));
}

Stats::~Stats() = default;

Task<StatusOr<std::string>> Stats::Cadvisor(StatsInputs in) {
  const auto impl = impl_;
  co_return co_await impl->node_stats->CadvisorMetrics(impl->SourceOf(in));
}

Task<StatusOr<std::string>> Stats::Resource(StatsInputs in) {
  const auto impl = impl_;
  co_return co_await impl->node_stats->ResourceMetrics(impl->SourceOf(in));
}

Task<StatusOr<std::string>> Stats::Summary(StatsInputs in) {
  const auto impl = impl_;
  co_return co_await impl->node_stats->Summary(impl->SourceOf(in), in.only_cpu_and_memory);
}

Task<StatusOr<NodeUse>> Stats::Use(StatsInputs in) {
  const auto impl = impl_;
  co_return co_await impl->node_stats->Use(impl->SourceOf(in));
}

Task<std::vector<ClaimFigures>> Stats::Claims(StatsInputs in) {
  const auto impl = impl_;
  co_return co_await impl->node_stats->Claims(impl->SourceOf(in));
}

}  // namespace skiff::kubelet
