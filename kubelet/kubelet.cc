#include "kubelet/kubelet.h"

#include <unistd.h>

#include "base/files.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/program.h"
#include "base/sd_notify.h"
#include "base/vital.h"
#include "client/request_metrics.h"
#include "kubelet/kubelet_parts.h"
#include "kubelet/lock_file.h"
#include "kubelet/node/iptables_chains.h"
#include "kubelet/node/start_warnings.h"
#include "kubelet/own_limits.h"
#include "kubelet/resources/kernel_tunables.h"
#include "kubelet/runtime/dns_warnings.h"
#include "kubelet/server/flagz.h"
#include "kubelet/server/pages.h"
#include "kubelet/state/layout.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;

// The kernel keeps the kubelet longer than what it runs; lowering may be refused to a confined one.
void SetOwnOomScore(int64_t score) {
  auto dir = Dir::Open("/proc/self");
  Status s = dir.ok() ? dir->Write("oom_score_adj", absl::StrCat(score)) : dir.status();
  if (!s.ok()) LOG_WARNING("Cannot set the kubelet's own oom_score_adj", {"oomScoreAdj", score}, {"err", s});
}

Task<Status> StartAndRun(Kubelet& kubelet) {
  CO_RETURN_IF_ERROR(co_await kubelet.Start());
  if (auto told = SdNotify("READY=1"); !told.ok()) LOG_ERROR(told.status(), "Cannot tell systemd of the start");
  co_return co_await kubelet.Run();
}

// How often systemd wants to hear from us; 0: never.
StatusOr<std::chrono::nanoseconds> WatchdogInterval() {
  ASSIGN_OR_RETURN(const auto timeout, SdWatchdogTimeout(), "configure watchdog");
  if (timeout.count() == 0) {
    LOG_INFO("Systemd watchdog is not enabled");
    return std::chrono::nanoseconds(0);
  }
  if (timeout <= seconds(1)) return InvalidArgument("configure watchdog timeout too small: ", FormatDuration(timeout));
  return timeout / 2;
}

// Runs the kubelet until it ends or, where the file's name is given, until somebody else wants that file.
Task<Status> RunWhileUncontended(Kubelet& kubelet, std::string lock_file) {
  if (lock_file.empty()) co_return co_await StartAndRun(kubelet);
  TaskGroup group(co_await asio::this_coro::executor);
  struct Both {
    Status result;
    bool contended = false;
    std::function<void()> end_kubelet, end_watch;
  } both;
  both.end_watch = group.Spawn("lock file", [](std::string path, Both& b) -> Task<void> {
    Status seen = co_await AwaitLockContention(std::move(path));
    if (absl::IsCancelled(seen)) co_return;
    if (!seen.ok()) LOG_ERROR(seen, "The lock file cannot be watched");
    b.contended = true;
    if (b.end_kubelet) b.end_kubelet();
  }(std::move(lock_file), both));
  both.end_kubelet = group.Spawn("kubelet", [](Kubelet& k, Both& b) -> Task<void> {
    b.result = b.contended ? absl::CancelledError("stopped") : co_await StartAndRun(k);
    b.end_watch();
  }(kubelet, both));
  co_await group.Join();
  if (both.contended) {
    LOG_INFO("Another process wants the lock file: the kubelet gives way");
    co_return absl::OkStatus();
  }
  co_return both.result;
}

}  // namespace

Task<Status> RunKubelet(Config config) {
  auto executor = co_await asio::this_coro::executor;
  LOG_INFO("Kubelet version", {"kubeletVersion", kKubernetesVersion});
  if (config.exit_on_lock_contention && config.lock_file.empty())
    co_return InvalidArgument("cannot exit on lock file contention: no lock file specified");
  CO_ASSIGN_OR_RETURN(const auto watchdog, WatchdogInterval(), "create health checker");
  Fd lock;  // held while the kubelet runs
  if (!config.lock_file.empty()) {
    CO_ASSIGN_OR_RETURN(lock, co_await AcquireLockFile(config.lock_file, Clock::Real()));
  }
  SetOwnOomScore(config.oom_score_adj);
  if (Status s = SetMostOpenFiles(static_cast<uint64_t>(config.max_open_files)); !s.ok()) {
    LOG_ERROR(s, "Failed to set rlimit on max file handles");
  }
  for (const auto& dir : {config.root_dir, layout::Pods(config.root_dir), layout::Plugins(config.root_dir),
                          config.pod_logs_dir, config.container_logs_dir}) {
    CO_RETURN_IF_ERROR(MakeDirs(dir, dir == config.root_dir ? 0750 : 0755), "make directory");
  }
  std::string contended = config.exit_on_lock_contention ? config.lock_file : "";
  auto kubelet = std::make_shared<Kubelet>(executor, std::move(config));
  if (watchdog.count() > 0) kubelet->FeedWatchdog(watchdog);
  Status status = co_await RunWhileUncontended(*kubelet, std::move(contended));
  co_await ClearCancellation();
  co_await kubelet->Stop();
  co_return status;
}

void Kubelet::FeedWatchdog(std::chrono::nanoseconds interval) {
  LOG_INFO("Starting systemd watchdog with interval", {"interval", FormatDuration(interval)});
  auto unhealthy = [this]() -> std::string {
    if (watch_ == nullptr || SyncLoopAlive(config_.sync_frequency, *this, clock_)) return "";
    return "checker syncloop failed: sync Loop took longer than expected";
  };
  group_.Spawn("watchdog", FeedSdWatchdog(interval, unhealthy, clock_));
}

Task<Status> Kubelet::Start() {
  CO_ASSIGN_OR_RETURN(runtime_,
                      cri::Connect(executor_, {config_.container_runtime_endpoint, config_.image_service_endpoint}));
  EnableWorkMetrics(registry_);
  runtime_ = Metered(std::move(runtime_), registry_, clock_);
  cri::RuntimeVersion version;
  for (int attempt = 0;; ++attempt) {
    auto asked = co_await cri::DetectVersion(*runtime_);
    if (asked.ok()) {
      version = *asked;
      break;
    }
    if (co_await IsCancelled()) co_return absl::CancelledError("stopped");
    if (absl::IsUnimplemented(asked.status())) co_return asked.status();
    if (attempt % 10 == 0) {
      LOG_ERROR(asked.status(), "The container runtime does not answer yet",
                {"endpoint", config_.container_runtime_endpoint});
    }
    CO_RETURN_IF_ERROR(co_await clock_.Sleep(seconds(1)));
  }
  LOG_INFO("Container runtime initialized", {"containerRuntime", version.name}, {"version", version.version},
           {"apiVersion", version.api_version});
  CO_ASSIGN_OR_RETURN(std::string cgroup_driver,
                      co_await CgroupDriver(*runtime_, clock_, config_.cgroup_driver, registry_));
  SetCgroupDriver(std::move(cgroup_driver), &config_);

  CO_ASSIGN_OR_RETURN(NodeFacts facts, ReadNodeFacts(config_));
  facts.runtime_name = version.name;
  facts.runtime_version = version.version;
  CO_ASSIGN_OR_RETURN(NodeResources resources, ComputeNodeResources(config_, facts));
  node_name_ = facts.name;

  if (facts.swap > 0 && config_.fail_swap_on) {
    co_return FailedPrecondition(
        "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false");
  }
  CO_ASSIGN_OR_RETURN(const Dir sys, Dir::Open("/proc/sys"));
  CO_RETURN_IF_ERROR(SetUpKernelTunables(sys, config_.protect_kernel_defaults), "Failed to start ContainerManager");
  CO_RETURN_IF_ERROR(MakeCgroups(resources), "Failed to start ContainerManager");

  if (!config_.kubeconfig.empty()) {
    CO_RETURN_IF_ERROR(co_await ReachApiServer());
    objects_ = std::make_unique<ObjectCache>(rest_, clock_);
    sink_ = std::make_unique<ApiStatusSink>(rest_, [this](Pod* pod) { pod_config_->Unmark(pod); });
  } else {
    LOG_INFO("Standalone mode, no API client");
    events_ = std::make_unique<LogEventSink>();
    objects_ = std::make_unique<NoObjects>();
  }
  agent_ = std::make_unique<NodeAgent>(executor_, heartbeats_, *runtime_, clock_, *events_, config_, std::move(facts),
                                       std::move(resources));
  agent_->SetAddresses([given = agent_->facts().given_ips, name = node_name_] { return NodeIps(given, name); });
  co_await agent_->FindAddresses();
  agent_->AddHealthCheck([this]() -> std::string {
    auto since = clock_.Steady() - cache_->last_relist();
    if (cache_->synced() && since < std::chrono::minutes(3)) return "";
    if (!cache_->synced()) return "PLEG is not healthy: pleg has yet to be successful";
    return absl::StrCat("PLEG is not healthy: pleg was last seen active ",
                        FormatDuration(std::chrono::floor<seconds>(since)), " ago; threshold is 3m0s");
  });
  if (!config_.image_credential_provider_config.empty()) {
    CO_ASSIGN_OR_RETURN(
        credential_plugins_,
        CredentialPlugins::Make(
            config_.image_credential_provider_config, config_.image_credential_provider_bin_dir, *objects_,
            [this](std::string ns, std::string name) { return GetServiceAccount(ns, name); }, clock_),
        "failed to register CRI auth plugins");
  }
  MakeParts(version.name);
  CO_RETURN_IF_ERROR(MakeResources());
  co_await pod_runtime_->images().Recover();
  auto event = [&](std::string_view type, std::string_view reason, std::string message) {
    events_->Record(agent_->Reference(), type, reason, std::move(message));
  };
  event(client::kNormal, "Starting", "Starting kubelet.");
  const bool swap = agent_->facts().swap > 0;
  for (auto& [reason, message] :
       StartWarnings({.cgroup_v2 = cgroups_->v2(), .swap = swap, .tmpfs_noswap = !swap || mounter_->TmpfsNoswap()})) {
    event(client::kWarning, reason, std::move(message));
  }
  CO_RETURN_IF_ERROR(co_await EnforceAllocatable(), "Failed to start ContainerManager");
  co_await agent_->CheckRuntime();
  if (config_.enable_server) {
    if (Status s = server_->Start(); !s.ok()) co_return s;
  }
  co_return absl::OkStatus();
}

void Kubelet::MakeParts(const std::string& runtime_name) {
  runtime_name_ = runtime_name;
  const NodeFacts& facts = agent_->facts();
  cache_ = std::make_unique<RuntimeCache>(*runtime_, clock_, config_.pod_logs_dir);
  watch_ = std::make_unique<RuntimeWatch>(executor_, *runtime_, *cache_, clock_, registry_);
  watch_->SetHealthy([this] { return agent_->RuntimeErrors().empty(); });
  agent_->SetSourcesReady([this] { return sources_ready_ && pod_config_->SeenAll(); });
  mounter_ = NewMounter();
  if (Status s = mounter_->MakeShared(config_.root_dir); !s.ok()) {
    LOG_WARNING("Volumes that are mounted later do not reach running containers", {"err", s});
  }
  VolumeOptions volumes;
  volumes.root_dir = config_.root_dir;
  volumes.node_name = node_name_;
  auto allocatable = [this](const char* name) { return Get(agent_->resources().allocatable, name); };
  volumes.allocatable_memory = [allocatable] { return allocatable("memory").Value(); };
  volumes.allocatable_milli_cpu = [allocatable] { return allocatable("cpu").MilliValue(); };
  volumes.allocatable_ephemeral_storage = [allocatable] { return allocatable("ephemeral-storage").Value(); };
  auto handler_of = [this](const Pod& pod) -> StatusOr<std::string> {
    const std::string& name = pod.spec().runtimeclassname();
    if (name.empty()) return "";
    auto found = runtime_classes_ != nullptr ? runtime_classes_->Get(name) : nullptr;
    if (found == nullptr) return NotFound("runtimeclass.node.k8s.io \"", name, "\" not found");
    return found->handler();
  };
  auto recursive_read_only = [this, handler_of](const Pod& pod) {
    const auto handler = handler_of(pod);
    return handler.ok() && agent_->RecursiveReadOnly(*handler);
  };
  volumes.recursive_read_only = recursive_read_only;
  volumes.matches_node = [this](const core::NodeSelector& nodes) {
    return MatchesTerms(nodes, agent_->node().metadata().labels(), nullptr);
  };
  volumes.sync_period = config_.sync_frequency;
  volumes_ = std::make_unique<VolumeManager>(
      executor_, volumes, *objects_, *mounter_, clock_,
      [this](const Pod& pod, std::string_view type, std::string_view reason, std::string_view message) {
        events_->Record(pod, type, reason, std::string(message));
      });
  probes_ = std::make_unique<ProbeManager>(executor_, *this, clock_, &probe_registry_);
  statuses_ = std::make_unique<StatusManager>(executor_, sink_.get(), clock_);

  PodRuntimeOptions options;
  options.root_dir = config_.root_dir;
  options.container_logs_dir = config_.container_logs_dir;
  options.node.logs_dir = config_.pod_logs_dir;
  options.node.seccomp_root = layout::Seccomp(config_.root_dir);
  options.node.seccomp_default = config_.seccomp_default;
  options.node.cfs_quota = config_.cpu_cfs_quota;
  options.node.cfs_period_micros = config_.cpu_cfs_quota_period.count() / 1000;
  options.node.cgroup_v2 = cgroups_->v2();
  options.ids_per_pod = static_cast<uint32_t>(config_.user_namespace_ids);
  options.max_pods = config_.max_pods;
  options.node.single_process_oom_kill = config_.single_process_oom_kill;
  options.node.swap_controller =
      cgroups_->v2() && Exists(absl::StrCat("/sys/fs/cgroup/", cgroups_->names().Kubepods(), "/memory.swap.max"));
  options.node.memory_capacity = facts.memory;
  options.node.swap_capacity = facts.swap;
  options.node.limited_swap = config_.memory_swap_behavior == "LimitedSwap";
  options.node.page_sizes = HugePageSizes();
  options.node.selinux = Exists("/sys/fs/selinux/enforce");
  options.dns.cluster_dns = config_.cluster_dns;
  options.dns.cluster_domain = config_.cluster_domain;
  options.dns.resolv_conf = config_.resolv_conf;
  for (const Ip& ip : facts.given_ips) options.dns.node_ips.push_back(ip.to_string());
  options.cgroups = cgroups_->names();
  options.cgroups_per_qos = config_.cgroups_per_qos;
  options.cgroup_root = config_.cgroup_root;
  if (config_.max_container_restart_period.count() > 0) options.longest_backoff = config_.max_container_restart_period;
  options.start_slots = std::max(2, facts.cpus + facts.cpus / 2);
  ConfigureImages(&options.images);
  options.request_timeout = config_.runtime_request_timeout;
  PodRuntimeHooks hooks;
  hooks.env_facts = [this] {
    EnvFacts out;
    out.node_name = node_name_;
    out.host_ips = agent_->HostIps();
    out.prefer_v6 = PrefersV6(agent_->facts());
    out.allocatable = agent_->resources().allocatable;
    return out;
  };
  hooks.node_reference = [this] { return agent_->Reference(); };
  hooks.services = [this] {
    return services_ != nullptr ? services_->List() : std::vector<std::shared_ptr<const core::Service>>();
  };
  hooks.runtime_handler = handler_of;
  hooks.sandbox_ready = [this](const Pod& pod) { workers_->SandboxReady(pod); };
  hooks.container_stopped = [this](const std::string& id) { probes_->Forget(ContainerUrl(id)); };
  hooks.probes = [this](ProbeKind kind, const std::string& id) { return probes_->Get(kind, ContainerUrl(id)); };
  allocations_ = std::make_unique<Allocations>(executor_, clock_, config_.root_dir);
  allocations_->Load();
  hooks.actuated = [this](const Pod& pod) { return allocations_->Actuated(pod); };
  hooks.resize_from = [this](const Pod& pod) { return allocations_->ResizeFrom(pod); };
  hooks.pod_memory = [this](const Pod& pod) { return cgroups_->ReadPodMemory(pod); };
  hooks.update_pod_cgroup = [this](Pod pod) { return cgroups_->MakePod(std::move(pod)); };
  hooks.container_made = [this](const Pod& pod, const core::Container& container) {
    allocations_->SetActuated(pod, container);
  };
  hooks.container_resized = [this](const std::string& uid, const std::string& container,
                                   const core::ResourceRequirements& resources) {
    allocations_->SetActuated(uid, container, resources);
  };
  hooks.pod_resized = [this](const Pod& pod) { allocations_->SetActuatedPodLevel(pod); };
  pod_runtime_ = std::make_unique<PodRuntime>(executor_, *runtime_, *cache_, clock_, *objects_, *volumes_, *events_,
                                              options, std::move(hooks));

  PodWorkersOptions worker_options;
  worker_options.root_dir = config_.root_dir;
  worker_options.sync_frequency = config_.sync_frequency;
  worker_options.runtime_name = runtime_name;
  worker_options.prefer_v6 = PrefersV6(facts);
  worker_options.dead_containers_per_container = config_.maximum_dead_containers_per_container;
  PodWorkersHooks worker_hooks;
  auto& preemptions =
      registry_.Counters("kubelet_preemptions", "[ALPHA] Cumulative number of pod preemptions by preemption resource",
                         {"preemption_signal"});
  auto enabled = ReadFile("/sys/module/apparmor/parameters/enabled", 16);
  const bool app_armor = enabled.ok() && enabled->starts_with("Y");
  worker_hooks.admit = [this, &preemptions, app_armor](const Pod& pod, const std::vector<PodPtr>& others) {
    if (auto message = eviction_->Refuses(pod)) return AdmissionResult(Rejection{"Evicted", *std::move(message)});
    AdmissionResult result = Admit(pod, agent_->node(), others, {config_.allowed_unsafe_sysctls, app_armor});
    for (size_t i = 0; i < result.preempt.size(); ++i) preemptions.With({result.preempt_for}).Inc();
    return result;
  };
  if (rest_ != nullptr) worker_hooks.refresh_node = [this] { return RefreshNode(); };
  worker_hooks.resize_infeasible = [this, node = options.node](const Pod& wanted, const Pod& allocated) -> std::string {
    auto swaps = [&](const Pod& pod, const core::Container& container) { return MaySwap(pod, container, node); };
    if (ResizesSwap(wanted, allocated, swaps)) return "In-place resize of containers with swap is not supported.";
    if (QosClass(wanted) != "Guaranteed" || config_.cpu_manager_policy != "static") return "";
    if (Get(PodRequests(wanted), "cpu") == Get(PodRequests(allocated), "cpu")) return "";
    return "Resize is infeasible for Guaranteed Pods alongside CPU Manager policy \"static\"";
  };
  worker_hooks.host_ips = [this] { return agent_->HostIps(); };
  worker_hooks.network_ready = [this] { return agent_->network_ready(); };
  worker_hooks.recursive_read_only = recursive_read_only;
  burstable_shares_ = std::make_unique<BurstableShares>(executor_, clock_, *cgroups_, [this] {
    int64_t milli = 0;
    for (const auto& pod : workers_->Active()) {
      if (QosClass(*pod) == "Burstable") milli += Get(PodRequests(*pod), "cpu").MilliValue();
    }
    return milli;
  });
  worker_hooks.pods_changed = [this] { burstable_shares_->Changed(); };
  worker_hooks.pod_ended = [this] {
    if (mirrors_ != nullptr) mirrors_->Notify();
  };
  workers_ = std::make_unique<PodWorkers>(executor_, clock_, *cache_, *pod_runtime_, *statuses_, *probes_, *volumes_,
                                          *objects_, *cgroups_, *events_, worker_options, std::move(worker_hooks));
  workers_->SetAllocations(allocations_.get());
  statuses_->SetMayRun([this](const std::string& uid) { return workers_->MayRun(uid); });
  statuses_->SetLatest([this](const std::string& uid) {
    PodPtr pod = workers_->Find(uid);
    return pod != nullptr && IsStatic(*pod) ? MirrorFor(*pod) : pod;
  });
  cache_->OnChange([this](const std::string& uid) {
    ++changes_;
    workers_->Wake(uid);
  });
  MakeSources();

  KubeletServerOptions server;
  server.root_dir = config_.root_dir;
  server.address = config_.address;
  server.port = static_cast<int>(config_.port);
  server.healthz_address = config_.healthz_bind_address;
  server.healthz_port = static_cast<int>(config_.healthz_port);
  server.read_only_port = static_cast<int>(config_.read_only_port);
  server.cert_file = config_.tls_cert_file;
  server.key_file = config_.tls_private_key_file;
  server.cert_dir = config_.cert_dir;
  server.client_ca_file = config_.client_ca_file;
  server.tls_limits = config_.tls_limits;
  if (config_.server_tls_bootstrap && rest_ != nullptr && config_.tls_cert_file.empty()) {
    MakeServingRotator(&server);
  }
  server.hostname = facts.hostname;
  server.node_ips = facts.ips;
  server.enable_debugging_handlers = config_.enable_debugging_handlers;
  server.enable_system_log_handler = config_.enable_system_log_handler;
  server.flagz = FlagzPage(config_.arguments);
  server.metrics = &registry_;
  server.enable_profiling_handler = config_.enable_profiling_handler;
  server.enable_debug_flags_handler = config_.enable_debug_flags_handler;
  server.pod_logs_dir = config_.pod_logs_dir;
  server.stream_idle_timeout = config_.streaming_idle_timeout;
  server.sync_frequency = config_.sync_frequency;
  server.auth.anonymous = config_.anonymous_auth;
  server.auth.webhook_authentication = config_.webhook_auth;
  server.auth.webhook_authorization = config_.authorization_mode == "Webhook";
  server.auth.token_ttl = config_.webhook_cache_ttl;
  server.auth.allow_ttl = config_.authorized_ttl;
  server.auth.deny_ttl = config_.unauthorized_ttl;
  LogRotationOptions rotation;
  rotation.logs_dir = config_.pod_logs_dir;
  rotation.max_size = api::Quantity::Of(config_.container_log_max_size).Value();
  rotation.max_files = static_cast<int>(config_.container_log_max_files);
  rotation.max_workers = static_cast<size_t>(config_.container_log_max_workers);
  rotation.interval = config_.container_log_monitor_interval;
  rotator_ = std::make_unique<LogRotator>(
      rotation, [this] { return RunningLogs(); }, [this](std::string id) { return ReopenLog(std::move(id)); }, clock_);

  if (rest_ != nullptr) reviewer_ = NewReviewer(rest_);
  server_ = std::make_unique<KubeletServer>(executor_, server, *this, reviewer_.get(), clock_);
  RegisterMetrics();
}

// The start and every burst of pods touch code and heap that a kubelet at rest does not use.
void Kubelet::ReleaseMemoryWhenCalm() {
  const bool calm = std::exchange(seen_changes_, changes_) == changes_;
  if (calm && !released_) ReleaseStartupMemory();
  released_ = calm;
}

Task<void> Kubelet::Housekeep() {
  while (!co_await IsCancelled()) {
    if (absl::IsCancelled(co_await clock_.Sleep(seconds(2)))) break;
    ReleaseMemoryWhenCalm();
    if (!sources_ready_ || !pod_config_->SeenAll() || !cache_->synced()) continue;
    workers_->EndUnknown();
    allocations_->Keep(workers_->Known());
    for (const auto& uid : cgroups_->PodsOnDisk()) {
      if (workers_->Knows(uid)) continue;  // it may have come while others went
      const Status s = co_await cgroups_->RemovePod(uid);
      if (absl::IsCancelled(s)) break;
      if (!s.ok()) VLOG(2, "Cannot remove an orphan's cgroup", {"err", s});
    }
    if (Status s = co_await volumes_->CleanOrphans(workers_->Known()); !s.ok() && !absl::IsCancelled(s)) {
      VLOG(2, "Cannot clean up orphaned volumes", {"err", s});
    }
    if (absl::IsCancelled(co_await clock_.Sleep(seconds(28)))) break;
  }
}

void Kubelet::SpawnVital(const std::string& name, Task<void> task) { skiff::SpawnVital(group_, name, std::move(task)); }

Task<Status> Kubelet::Run() {
  // What the runtime has must be known before anything is decided.
  for (;;) {
    const auto listed = co_await cache_->Relist();
    if (listed.ok()) break;
    LOG_ERROR(listed.status(), "Cannot list what the runtime has");
    CO_RETURN_IF_ERROR(co_await clock_.Sleep(seconds(1)));
  }
  if (!config_.resolv_conf.empty()) {
    if (std::string problem = ResolvConfProblem(config_.resolv_conf, config_.cluster_domain); !problem.empty()) {
      events_->Record(agent_->Reference(), client::kWarning, kCheckResolvConf, std::move(problem));
    }
  }
  SpawnVital("watch the runtime", watch_->Run());
  SpawnVital("statuses", statuses_->Run());
  SpawnVital("volumes", volumes_->Run());
  SpawnVital("allocations", allocations_->Run());
  if (cgroups_->enabled()) SpawnVital("QoS cgroups", burstable_shares_->Run());
  SpawnVital("rotate logs", rotator_->Run());
  if (client_rotator_) {
    SpawnVital("client certificate", client_rotator_->Run());
    SpawnVital("loss of the client certificate", [](const CertificateRotator& rotator, Clock& clock) -> Task<void> {
      const Status lost = co_await AwaitLostCertificate(rotator, clock);
      if (absl::IsCancelled(lost)) co_return;
      LOG_ERROR(lost, "The kubelet ends: the next start may have other credentials");
      ::_exit(1);
    }(*client_rotator_, clock_));
  }
  if (server_rotator_) SpawnVital("serving certificate", server_rotator_->Run());
  SpawnVital("node", agent_->Run());
  if (config_.make_iptables_util_chains) SpawnVital("iptables", KeepIptablesChains(executor_, clock_));
  if (recorder_ != nullptr) {
    recorder_->SetDelay({.busy = [this] { return pod_runtime_->starting(); }});
    SpawnVital("events", recorder_->Run());
  }
  // Disks fill and memory runs out while the API server is away, too. What goes only with pods that nobody knows waits
  // for the sources (ContainerGcHooks::sources_ready).
  StartResources();

  if (manifests_ != nullptr) SpawnVital("manifests", manifests_->Run());
  if (manifest_url_ != nullptr) SpawnVital("manifest URL", manifest_url_->Run());

  if (rest_ != nullptr) {
    client::NodeLeaseOptions lease;
    lease.node_name = node_name_;
    lease.duration = seconds(config_.node_lease_duration_seconds);
    lease.node_uid = [this] { return agent_->uid(); };
    SpawnVital("lease", client::RunNodeLease(heartbeats_, lease));

    nodes_ = std::make_shared<client::Informer<core::Node>>(
        rest_, client::InformerOptions{.field_selector = "metadata.name=" + node_name_});
    nodes_->OnChange([this](const core::Node& node) {
      nodes_->Get(node_name_) != nullptr ? agent_->Seen(node) : agent_->Gone(node);
      mirrors_->Notify();
    });
    services_ = std::make_shared<client::Informer<core::Service>>(rest_);
    services_->SetTransform([](core::Service& s) {
      // Names, addresses and ports are all that becomes environment.
      core::Service kept;
      kept.mutable_metadata()->set_name(s.metadata().name());
      kept.mutable_metadata()->set_namespace_(s.metadata().namespace_());
      kept.mutable_metadata()->set_resourceversion(s.metadata().resourceversion());
      kept.mutable_metadata()->set_uid(s.metadata().uid());
      kept.mutable_spec()->set_clusterip(s.spec().clusterip());
      *kept.mutable_spec()->mutable_ports() = s.spec().ports();
      s = std::move(kept);
    });
    runtime_classes_ = std::make_shared<client::Informer<node_api::RuntimeClass>>(rest_);
    pods_ = std::make_shared<client::Informer<core::Pod>>(
        rest_, client::InformerOptions{.field_selector = "spec.nodeName=" + node_name_});
    pods_->SetTransform([this](Pod& pod) { pod_config_->MarkApi(&pod); });
    auto update = [this](const PodPtr& pod) {
      SeePod(*pod, clock_.Now());
      if (IsMirror(*pod)) {
        SeenMirror(*pod);
      } else if (sources_ready_) {
        workers_->Update(pod);
      }
    };
    pods_->AddHandler({.added = update,
                       .updated = [update](const PodPtr&, const PodPtr& now) { update(now); },
                       .deleted =
                           [this](const PodPtr& pod) {
                             pod_config_->ForgetApi(pod->metadata().uid());
                             ForgetPod(pod->metadata().uid());
                             if (IsMirror(*pod)) {
                               mirrors_->Notify();
                             } else if (sources_ready_) {
                               workers_->Remove(pod->metadata().uid());
                             }
                           }});
    SpawnVital("watch nodes", nodes_->Run());
    SpawnVital("watch services", services_->Run());
    SpawnVital("watch runtime classes", runtime_classes_->Run());
    SpawnVital("watch pods", pods_->Run());
    // Service variables are part of a container's environment: none starts before they are known.
    std::vector<client::InformerBase*> all = {nodes_.get(), services_.get(), pods_.get()};
    CO_RETURN_IF_ERROR(co_await client::WaitForSync(all));
  }
  sources_ready_ = true;
  if (pods_ != nullptr) {
    // Oldest first: they were admitted first.
    std::vector<PodPtr> found = pods_->List();
    std::sort(found.begin(), found.end(), [](const PodPtr& a, const PodPtr& b) {
      return a->metadata().creationtimestamp().seconds() < b->metadata().creationtimestamp().seconds();
    });
    for (const auto& pod : found) {
      if (!IsMirror(*pod)) workers_->Update(pod);
    }
  }
  if (mirrors_ != nullptr) SpawnVital("mirror pods", mirrors_->Run());
  SpawnVital("housekeeping", Housekeep());
  LOG_INFO("Starting kubelet main sync loop");
  co_await group_.Join();
  co_return absl::CancelledError("stopped");
}

Task<void> Kubelet::Stop() {
  if (workers_ != nullptr) co_await workers_->Shutdown();
  group_.Cancel();
  co_await group_.Join();
  if (server_ != nullptr) co_await server_->Shutdown(seconds(1));
  DisableWorkMetrics();
  client::DisableRequestMetrics();  // a request that outlives this must not count in its registry
}

}  // namespace skiff::kubelet
