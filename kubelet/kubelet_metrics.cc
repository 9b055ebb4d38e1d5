// What /metrics tells of the kubelet's own work: upstream's names, read from the parts when asked for.
#include <cmath>

#include "client/request_metrics.h"
#include "kubelet/kubelet_parts.h"

namespace skiff::kubelet {

void Kubelet::RegisterMetrics() {
  using metrics::Emit;
  registry_.AddProcessMetrics();
  registry_.AddMetaMetrics();
  client::EnableRequestMetrics(registry_);
  const double started = std::floor(std::chrono::duration<double>(clock_.Now().time_since_epoch()).count() * 100) / 100;
  probe_registry_.Gauges("process_start_time_seconds", "[ALPHA] Start time of the process since unix epoch in seconds.")
      .With({})
      .Set(started);
  registry_.Gauges("kubelet_node_name", "[ALPHA] The node's name. The count is always 1.", {"node"})
      .With({node_name_})
      .Set(1);
  registry_.Gauges("kubelet_cgroup_version", "[ALPHA] cgroup version on the hosts.")
      .With({})
      .Set(cgroups_->v2() ? 2 : 1);
  registry_.Collector("kubelet_running_pods", "[ALPHA] Number of pods that have a running pod sandbox", "gauge",
                      [this](const Emit& emit) {
                        double n = 0;
                        for (const auto& state : cache_->All()) {
                          for (const auto& s : state->sandboxes) {
                            if (s.ready) {
                              ++n;
                              break;
                            }
                          }
                        }
                        emit({{}, n});
                      });
  registry_.Collector("kubelet_running_containers", "[ALPHA] Number of containers currently running", "gauge",
                      [this](const Emit& emit) {
                        std::map<std::string, double> counts;
                        for (const auto& state : cache_->All()) {
                          for (const auto& c : state->containers) {
                            switch (c.state) {
                              case ContainerState::State::kCreated: ++counts["created"]; break;
                              case ContainerState::State::kRunning: ++counts["running"]; break;
                              case ContainerState::State::kExited: ++counts["exited"]; break;
                              case ContainerState::State::kUnknown: ++counts["unknown"]; break;
                            }
                          }
                        }
                        for (const auto& [name, n] : counts) emit({{{"container_state", name}}, n});
                      });
  registry_.Collector("kubelet_pleg_last_seen_seconds", "[ALPHA] Timestamp in seconds when PLEG was last seen active.",
                      "gauge", [this](const Emit& emit) {
                        auto ago = clock_.Steady() - cache_->last_relist();
                        auto at = std::chrono::duration<double>((clock_.Now() - ago).time_since_epoch()).count();
                        emit({{}, static_cast<double>(static_cast<int64_t>(at))});
                      });
  auto split = [](const std::vector<PodPtr>& pods, const Emit& emit) {
    double fixed = 0;
    for (const auto& pod : pods) fixed += IsStatic(*pod) ? 1 : 0;
    emit({{{"static", ""}}, static_cast<double>(pods.size()) - fixed});
    emit({{{"static", "true"}}, fixed});
  };
  registry_.Collector("kubelet_desired_pods",
                      "[ALPHA] The number of pods the kubelet is being instructed to run. static is true if the pod is "
                      "not from the apiserver.",
                      "gauge", [this, split](const Emit& emit) { split(workers_->Pods(), emit); });
  registry_.Collector("kubelet_active_pods",
                      "[ALPHA] The number of pods the kubelet considers active and which are being considered when "
                      "admitting new pods. static is true if the pod is not from the apiserver.",
                      "gauge", [this, split](const Emit& emit) { split(workers_->Active(), emit); });
}

}  // namespace skiff::kubelet
