// What /metrics tells of the kubelet's own work: upstream's names, read from the parts when asked for.
#include <cmath>

#include "base/log.h"
#include "client/component_metrics.h"
#include "client/request_metrics.h"
#include "kubelet/kubelet_parts.h"
#include "kubelet/volume/volume_kind.h"

namespace skiff::kubelet {

void Kubelet::RegisterVolumeMetrics() {
  using metrics::Emit;
  registry_.Collector("volume_manager_total_volumes", "[ALPHA] Number of volumes in Volume Manager", "gauge",
                      [this](const Emit& emit) {
                        std::map<std::pair<std::string, std::string>, double> counts;
                        // What lies behind a claim is known once it is mounted.
                        std::map<std::pair<std::string, std::string>, std::string> types;
                        for (const auto& uid : workers_->Known()) {
                          for (const auto& v : volumes_->MountedVolumes(uid)) {
                            ++counts[{v.type, "actual_state_of_world"}];
                            if (!v.claim.empty()) types[{uid, v.name}] = v.type;
                          }
                        }
                        for (const auto& pod : workers_->Active()) {
                          const auto used = UsedVolumes(*pod);  // others are not set up
                          for (const auto& v : pod->spec().volumes()) {
                            if (!used.contains(v.name())) continue;
                            const VolumeKindInfo kind = KindOf(v);
                            if (kind.kind == VolumeKind::kImage) continue;  // the runtime's
                            const auto known = types.find({pod->metadata().uid(), v.name()});
                            ++counts[{known == types.end() ? kind.plugin : known->second, "desired_state_of_world"}];
                          }
                        }
                        for (const auto& [of, n] : counts) {
                          emit({{{"plugin_name", of.first}, {"state", of.second}}, n});
                        }
                      });
  const auto add = [this](const char* name, const char* help, double (*value)(const VolumeFigures&)) {
    registry_.Collector(
        absl::StrCat("kubelet_volume_stats_", name), absl::StrCat("[ALPHA] ", help), "gauge",
        [this, value](const Emit& emit) {
          for (const ClaimFigures& claim : claims_) {
            emit({{{"namespace", claim.namespace_}, {"persistentvolumeclaim", claim.name}}, value(claim.figures)});
          }
        });
  };
  using F = VolumeFigures;
  add("capacity_bytes", "Capacity in bytes of the volume", [](const F& f) { return double(f.fs.capacity); });
  add("available_bytes", "Number of available bytes in the volume", [](const F& f) { return double(f.fs.available); });
  add("used_bytes", "Number of used bytes in the volume", [](const F& f) { return double(f.used.bytes); });
  add("inodes", "Maximum number of inodes in the volume", [](const F& f) { return double(f.fs.inodes); });
  add("inodes_free", "Number of free inodes in the volume", [](const F& f) { return double(f.fs.inodes_free); });
  add("inodes_used", "Number of used inodes in the volume", [](const F& f) { return double(f.used.inodes); });
}

void Kubelet::RegisterMetrics() {
  using metrics::Emit;
  registry_.AddProcessMetrics();
  registry_.AddMetaMetrics();
  client::EnableRequestMetrics(registry_);
  // What cannot be set was refused at the start.
  if (Status s = gates_.Set(config_.feature_gates); !s.ok()) VLOG(2, "Not all feature gates are told", {"err", s});
  client::AddComponentMetrics(registry_, gates_);
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
  registry_.Collector("kubelet_mirror_pods",
                      "[ALPHA] The number of mirror pods the kubelet will try to create (one per admitted static pod)",
                      "gauge", [this](const Emit& emit) {
                        double n = 0;
                        if (pods_ != nullptr) pods_->ForEach([&n](const PodPtr& pod) { n += IsMirror(*pod) ? 1 : 0; });
                        emit({{}, n});
                      });
  registry_.Collector(
      "kubelet_working_pods",
      "[ALPHA] Number of pods the kubelet is actually running, broken down by lifecycle phase, whether "
      "the pod is desired, orphaned, or runtime only (also orphaned), and whether the pod is static. An "
      "orphaned pod has been removed from local configuration or force deleted in the API and consumes "
      "resources that are not otherwise visible.",
      "gauge", [this](const Emit& emit) {
        auto counts = workers_->Working();
        for (const char* lifecycle : {"sync", "terminating", "terminated"}) {
          for (const auto& [config, fixed] : {std::pair("desired", ""),
                                              {"desired", "true"},
                                              {"orphan", ""},
                                              {"orphan", "true"},
                                              {"runtime_only", "unknown"}}) {
            emit({{{"config", config}, {"lifecycle", lifecycle}, {"static", fixed}},
                  static_cast<double>(counts[{lifecycle, config, fixed}])});
          }
        }
      });
  RegisterVolumeMetrics();
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
