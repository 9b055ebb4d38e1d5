// The kubelet's parts and how they hang together; private to kubelet*.cc.
#ifndef SKIFF_KUBELET_KUBELET_PARTS_H_
#define SKIFF_KUBELET_KUBELET_PARTS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/feature_gates.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/lease.h"
#include "client/rest.h"
#include "cri/client.h"
#include "k8s/io/api/node/v1/generated.pb.h"
#include "kubelet/certificates.h"
#include "kubelet/config.h"
#include "kubelet/eviction/eviction_manager.h"
#include "kubelet/logs/log_rotation.h"
#include "kubelet/node/node_agent.h"
#include "kubelet/pod/admission.h"
#include "kubelet/pod/allocations.h"
#include "kubelet/pod/manifest_sources.h"
#include "kubelet/pod/mirror_pods.h"
#include "kubelet/pod/pod_config.h"
#include "kubelet/pod/pod_workers.h"
#include "kubelet/pod/status_manager.h"
#include "kubelet/probe/prober.h"
#include "kubelet/resources/burstable_shares.h"
#include "kubelet/resources/cgroups.h"
#include "kubelet/resources/system_cgroups.h"
#include "kubelet/runtime/cgroup_driver.h"
#include "kubelet/runtime/container_gc.h"
#include "kubelet/runtime/image_gc.h"
#include "kubelet/runtime/metered_runtime.h"
#include "kubelet/runtime/pod_runtime.h"
#include "kubelet/runtime/runtime_cache.h"
#include "kubelet/runtime/runtime_watch.h"
#include "kubelet/server/reviewer.h"
#include "kubelet/server/server.h"
#include "kubelet/stats/stats.h"
#include "kubelet/volume/object_cache.h"
#include "kubelet/volume/volume_manager.h"

namespace skiff::kubelet {

namespace node_api = ::k8s::io::api::node::v1;

// Statuses to the API server.
class ApiStatusSink final : public StatusSink, public MirrorApi {
 public:
  // `unmark` takes away what only this kubelet adds to its pods.
  ApiStatusSink(std::shared_ptr<client::Rest> rest, std::function<void(Pod*)> unmark)
      : rest_(std::move(rest)), unmark_(std::move(unmark)) {}
  Task<Status> Create(Pod mirror) override;
  Task<StatusOr<Pod>> Get(std::string ns, std::string name) override;
  Task<StatusOr<Pod>> UpdateStatus(Pod pod) override;
  Task<Status> Delete(std::string ns, std::string name, std::string uid) override;

 private:
  std::shared_ptr<client::Rest> rest_;
  std::function<void(Pod*)> unmark_;
};

// Without an API server: events go to the log.
class LogEventSink final : public client::EventSink {
 public:
  using EventSink::Record;
  void Record(const client::ObjectReference& about, std::string_view type, std::string_view reason,
              std::string message) override;
};

// Without an API server there are no config maps and secrets.
class NoObjects final : public ObjectSource {
 public:
  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string ns, std::string name) override;
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string ns, std::string name) override;
  Task<StatusOr<Token>> GetToken(TokenRequest request) override;
  void RegisterPod(const Pod&) override {}
  void UnregisterPod(const std::string&) override {}
};

class Kubelet final : public ProbeHost, public ServerHost {
 public:
  Kubelet(asio::any_io_executor executor, Config config)
      : executor_(executor), config_(std::move(config)), clock_(Clock::Real()), group_(executor) {}

  void FeedWatchdog(std::chrono::nanoseconds interval);  // systemd's; until Stop
  Task<Status> Start();
  Task<Status> Run();
  Task<void> Stop();

  // ProbeHost
  std::optional<Container> ContainerOf(const std::string& uid, const std::string& container) override;
  std::string PodIp(const std::string& uid) override;
  bool PodFinished(const std::string& uid) override;
  bool PodTerminating(const std::string& uid) override;
  Task<StatusOr<ExecResult>> ExecSync(std::string container_id, std::vector<std::string> command,
                                      std::chrono::nanoseconds timeout) override;
  void ProbeChanged(const std::string& uid, const std::string& container, ProbeKind kind, ProbeResult result) override;
  void ProbeEvent(const Pod& pod, const std::string& container, std::string_view type, std::string_view reason,
                  std::string_view message) override;

  // ServerHost
  const std::string& NodeName() override { return node_name_; }
  std::vector<PodPtr> Pods() override;
  PodPtr PodByName(const std::string& ns, const std::string& name) override;
  Task<StatusOr<std::vector<RunningPod>>> RunningPods() override;
  StatusOr<std::string> RunningContainerId(const Pod& pod, const std::string& container) override;
  StatusOr<std::string> SandboxId(const Pod& pod) override;
  Task<StatusOr<ContainerLog>> LogOf(const Pod& pod, const std::string& container, bool previous) override;
  Task<StatusOr<bool>> IsRunning(std::string container_id) override;
  Task<StatusOr<std::string>> ExecUrl(std::string container_id, StreamOptions options) override;
  Task<StatusOr<std::string>> AttachUrl(std::string container_id, StreamOptions options) override;
  Task<StatusOr<std::string>> PortForwardUrl(std::string sandbox_id, std::vector<int32_t> ports) override;
  Task<StatusOr<RunResult>> RunInContainer(std::string container_id, std::vector<std::string> command,
                                           std::chrono::nanoseconds timeout) override;
  Task<Status> Checkpoint(std::string container_id, std::string location, int64_t timeout) override;
  std::string ConfigJson() override { return config_.json; }
  Task<StatusOr<std::string>> Metrics() override;
  Task<StatusOr<std::string>> CadvisorMetrics() override;
  Task<StatusOr<std::string>> ResourceMetrics() override;
  Task<StatusOr<std::string>> ProbeMetrics() override;
  Task<StatusOr<std::string>> StatsSummary(bool only_cpu_and_memory) override;
  std::chrono::steady_clock::time_point LastSync() override { return watch_->last_pass(); }

 private:
  // For the tasks without which it is no kubelet (base/vital.h).
  void SpawnVital(const std::string& name, Task<void> task);
  Task<Status> ReachApiServer();  // makes the clients
  void MakeServingRotator(KubeletServerOptions* server);
  void ShowTtl(const std::string& metric, const std::string& help, const CertificateRotator& rotator);
  void MakeParts(const std::string& runtime_name);
  void RegisterMetrics();
  void RegisterVolumeMetrics();
  void ConfigureImages(ImagePullerOptions* options);
  Task<void> RefreshNode();  // from the API server, past the watch
  Task<StatusOr<ServiceAccountFacts>> GetServiceAccount(std::string ns, std::string name);
  std::string ContainerUrl(const std::string& id) const { return absl::StrCat(runtime_name_, "://", id); }
  StatsInputs MakeStatsInputs(bool only_cpu_and_memory);
  StatsPod StatsPodOf(PodPtr pod);
  Task<RuntimeUsage> AskRuntime(bool with_containers);
  Task<void> FindSandboxImage();
  // Cgroups, garbage collection and evictions (kubelet_resources.cc).
  Status MakeCgroups(const NodeResources& resources);
  Task<Status> EnforceAllocatable();
  Task<bool> LimitPods();
  Task<void> LimitPodsInTime();
  Status MakeResources();
  void StartResources();
  Task<void> KeepSystemCgroups();
  Task<void> CollectContainers();
  Task<void> ReportOoms();
  Task<StatusOr<NodeUse>> UseOf(std::vector<PodPtr> pods);
  Task<StatusOr<ImageGcHooks::Disk>> ImageDisk();
  Task<bool> EvictPod(PodPtr evicted, PodEviction what);
  StatusOr<Stats*> GetStats();  // made when first asked for
  void MakeSources();
  void SeenMirror(const Pod& mirror);
  PodPtr MirrorFor(const Pod& static_pod) const;  // null: none
  Task<void> Housekeep();
  void ReleaseMemoryWhenCalm();
  std::vector<LogRotator::Log> RunningLogs() const;
  Task<Status> ReopenLog(std::string container_id);

  asio::any_io_executor executor_;
  Config config_;
  Clock& clock_;
  const WallTime created_ = clock_.Now();
  std::string node_name_, runtime_name_;
  api::FeatureGates gates_;  // for the metrics
  metrics::Registry registry_, probe_registry_;
  std::unique_ptr<Stats> stats_;
  std::string sandbox_image_;         // asked for once: it is the runtime's configuration
  std::vector<ClaimFigures> claims_;  // at the time of the last scrape
  RuntimeUsage disks_;                // where the runtime keeps images and layers, as it last said; without figures

  // In the order of their making: later ones refer to earlier ones.
  std::unique_ptr<cri::Runtime> runtime_;
  std::shared_ptr<client::Rest> rest_, heartbeats_;
  std::unique_ptr<client::EventSink> events_;
  client::EventRecorder* recorder_ = nullptr;  // events_, when there is an API server
  std::unique_ptr<ObjectSource> objects_;
  std::unique_ptr<ApiStatusSink> sink_;
  std::unique_ptr<SystemdSlices> slices_;  // with the systemd cgroup driver
  std::unique_ptr<Cgroups> cgroups_;
  CgroupResources pods_limits_;  // of all pods together
  std::optional<SystemCgroups> system_cgroups_;
  std::unique_ptr<NodeAgent> agent_;
  std::unique_ptr<RuntimeCache> cache_;
  std::unique_ptr<RuntimeWatch> watch_;
  std::unique_ptr<Mounter> mounter_;
  std::unique_ptr<VolumeManager> volumes_;
  std::unique_ptr<ProbeManager> probes_;
  std::unique_ptr<StatusManager> statuses_;
  std::unique_ptr<CredentialPlugins> credential_plugins_;
  std::unique_ptr<Allocations> allocations_;
  std::unique_ptr<PodRuntime> pod_runtime_;
  std::unique_ptr<BurstableShares> burstable_shares_;
  std::unique_ptr<PodWorkers> workers_;
  std::unique_ptr<Reviewer> reviewer_;
  std::unique_ptr<CertificateRotator> client_rotator_, server_rotator_;
  std::unique_ptr<KubeletServer> server_;
  std::unique_ptr<LogRotator> rotator_;
  std::unique_ptr<ContainerGc> container_gc_;
  std::unique_ptr<ImageGc> image_gc_;
  std::unique_ptr<EvictionManager> eviction_;
  std::shared_ptr<client::Informer<core::Pod>> pods_;
  std::shared_ptr<client::Informer<core::Node>> nodes_;
  std::shared_ptr<client::Informer<core::Service>> services_;
  std::shared_ptr<client::Informer<node_api::RuntimeClass>> runtime_classes_;
  std::unique_ptr<PodConfig> pod_config_;
  std::unique_ptr<ManifestDirectory> manifests_;
  std::unique_ptr<ManifestUrl> manifest_url_;
  std::unique_ptr<MirrorPods> mirrors_;
  bool sources_ready_ = false;               // the API server's; manifests: pod_config_
  uint64_t changes_ = 1, seen_changes_ = 0;  // of pods in the runtime; the start is one
  bool released_ = false;                    // what the last of them needed
  TaskGroup group_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_KUBELET_PARTS_H_
