// The statistics endpoints' bodies.
#include "kubelet/kubelet_parts.h"

namespace skiff::kubelet {

StatsInputs Kubelet::MakeStatsInputs(bool only_cpu_and_memory) {
  StatsInputs in;
  in.node_name = node_name_;
  in.only_cpu_and_memory = only_cpu_and_memory;
  for (auto& pod : workers_->Pods()) {
    StatsPod one{pod, cache_->Get(pod->metadata().uid()), {}};
    if (!one.state->AnyRunning()) continue;
    for (const auto& volume : volumes_->MountedVolumes(pod->metadata().uid())) {
      one.volumes.emplace_back(volume.name, volume.path);
    }
    in.pods.push_back(std::move(one));
  }
  return in;
}

StatusOr<Stats*> Kubelet::GetStats() {
  if (stats_ == nullptr) {
    ASSIGN_OR_RETURN(stats_, Stats::Make(cgroups_->names(), config_.root_dir, config_.pod_logs_dir));
  }
  return stats_.get();
}

Task<StatusOr<std::string>> Kubelet::Metrics() { co_return registry_.Expose(); }

Task<StatusOr<std::string>> Kubelet::ProbeMetrics() { co_return probe_registry_.Expose(); }

Task<StatusOr<std::string>> Kubelet::CadvisorMetrics() {
  CO_ASSIGN_OR_RETURN(Stats * stats, GetStats());
  co_return co_await stats->Cadvisor(MakeStatsInputs(false));
}

Task<StatusOr<std::string>> Kubelet::ResourceMetrics() {
  CO_ASSIGN_OR_RETURN(Stats * stats, GetStats());
  co_return co_await stats->Resource(MakeStatsInputs(true));
}

Task<StatusOr<std::string>> Kubelet::StatsSummary(bool only_cpu_and_memory) {
  CO_ASSIGN_OR_RETURN(Stats * stats, GetStats());
  co_return co_await stats->Summary(MakeStatsInputs(only_cpu_and_memory));
}

}  // namespace skiff::kubelet
