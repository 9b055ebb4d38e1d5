// The statistics endpoints' bodies.
#include <algorithm>

#include "base/log.h"
#include "kubelet/kubelet_parts.h"

namespace skiff::kubelet {

StatsInputs Kubelet::MakeStatsInputs(bool only_cpu_and_memory) {
  StatsInputs in;
  in.node_name = node_name_;
  in.only_cpu_and_memory = only_cpu_and_memory;
  in.system = {.kubelet = system_cgroups_->kubelet(),
               .runtime = config_.runtime_cgroups,
               .misc = system_cgroups_->system(),
               .kubelet_started = created_};
  in.sandbox_image = sandbox_image_;
  for (auto& pod : workers_->Pods()) {
    StatsPod one = StatsPodOf(pod);
    if (one.state->AnyRunning()) in.pods.push_back(std::move(one));
  }
  return in;
}

StatsPod Kubelet::StatsPodOf(PodPtr pod) {
  StatsPod out{std::move(pod), nullptr, {}};
  const std::string& uid = out.pod->metadata().uid();
  out.state = cache_->Get(uid);
  for (const auto& volume : volumes_->MountedVolumes(uid)) {
    // What lies in a directory of the host is the host's.
    if (volume.type != "kubernetes.io/host-path") {
      const bool walked = volume.type != "kubernetes.io/local-volume";
      out.volumes.push_back({volume.name, volume.path, volume.claim, walked});
    }
  }
  return out;
}

StatusOr<Stats*> Kubelet::GetStats() {
  if (stats_ == nullptr) {
    ASSIGN_OR_RETURN(stats_, Stats::Make(cgroups_->names(), runtime_name_, config_.root_dir, config_.pod_logs_dir,
                                         config_.volume_stats_agg_period));
  }
  return stats_.get();
}

Task<StatusOr<std::string>> Kubelet::Metrics() {
  StatsInputs in;
  // Few pods have claims, and copies of all the others would cost more than the rest of the answer.
  for (const std::string& uid : workers_->Known()) {
    if (!workers_->Wanted(uid)) continue;
    const auto mounted = volumes_->MountedVolumes(uid);
    if (std::all_of(mounted.begin(), mounted.end(), [](const auto& v) { return v.claim.empty(); })) continue;
    StatsPod one = StatsPodOf(workers_->Find(uid));
    if (one.state->AnyRunning()) in.pods.push_back(std::move(one));
  }
  std::vector<ClaimFigures> claims;
  if (!in.pods.empty()) {
    if (const auto stats = GetStats(); stats.ok()) claims = co_await (*stats)->Claims(std::move(in));
  }
  claims_ = std::move(claims);
  co_return registry_.Expose();
}

Task<StatusOr<std::string>> Kubelet::ProbeMetrics() { co_return probe_registry_.Expose(); }

Task<StatusOr<std::string>> Kubelet::CadvisorMetrics() {
  CO_ASSIGN_OR_RETURN(Stats * stats, GetStats());
  if (sandbox_image_.empty()) co_await FindSandboxImage();
  co_return co_await stats->Cadvisor(MakeStatsInputs(false));
}

Task<StatusOr<std::string>> Kubelet::ResourceMetrics() {
  CO_ASSIGN_OR_RETURN(Stats * stats, GetStats());
  co_return co_await stats->Resource(MakeStatsInputs(true));
}

Task<void> Kubelet::FindSandboxImage() {
  for (const auto& state : cache_->All()) {
    for (const SandboxState& sandbox : state->sandboxes) {
      if (!sandbox.ready) continue;
      cri_v1::PodSandboxStatusRequest request;
      request.set_pod_sandbox_id(sandbox.id);
      request.set_verbose(true);
      const auto answer = co_await runtime_->PodSandboxStatus(std::move(request), {.timeout = std::chrono::seconds(2)});
      if (!answer.ok()) co_return;
      if (const auto info = answer->info().find("info"); info != answer->info().end()) {
        sandbox_image_ = SandboxImageOf(info->second);
      }
      co_return;
    }
  }
}

// An answer that does not come leaves these figures out.
Task<RuntimeUsage> Kubelet::AskRuntime(bool with_containers) {
  RuntimeUsage usage;
  if (with_containers) {
    if (const auto stats = co_await runtime_->ListContainerStats({}); stats.ok()) {
      for (const auto& one : stats->stats()) {
        if (!one.has_writable_layer()) continue;
        usage.writable_layers[one.attributes().id()] = {.bytes = one.writable_layer().used_bytes().value(),
                                                        .inodes = one.writable_layer().inodes_used().value()};
      }
    } else {
      LOG_ERROR(stats.status(), "Failed to get container stats from the runtime");
    }
  }
  const auto images = co_await runtime_->ImageFsInfo({});
  if (images.ok() && images->image_filesystems_size() > 0) {
    const auto& first = images->image_filesystems(0);
    usage.images = {.bytes = first.used_bytes().value(), .inodes = first.inodes_used().value()};
    usage.image_directory = first.fs_id().mountpoint();
    if (images->container_filesystems_size() > 0) {
      const auto& layers = images->container_filesystems(0);
      usage.container_directory = layers.fs_id().mountpoint();
      usage.containers = {.bytes = layers.used_bytes().value(), .inodes = layers.inodes_used().value()};
    }
    disks_.image_directory = usage.image_directory;
    disks_.container_directory = usage.container_directory;
  } else if (!images.ok()) {
    LOG_ERROR(images.status(), "Failed to get image file system info from the runtime");
  }
  co_return usage;
}

Task<StatusOr<std::string>> Kubelet::StatsSummary(bool only_cpu_and_memory) {
  CO_ASSIGN_OR_RETURN(Stats * stats, GetStats());
  StatsInputs in = MakeStatsInputs(only_cpu_and_memory);
  if (!only_cpu_and_memory) in.runtime = co_await AskRuntime(true);
  co_return co_await stats->Summary(std::move(in));
}

}  // namespace skiff::kubelet
