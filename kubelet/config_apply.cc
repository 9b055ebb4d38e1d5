// The document read into typed fields.
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/flags.h"
#include "base/log.h"
#include "kubelet/config.h"
#include "kubelet/config_checks.h"
#include "kubelet/config_document.h"
#include "kubelet/config_fields.h"
#include "kubelet/config_value_checks.h"
#include "kubelet/feature_gates.h"
#include "kubelet/server/tls_limits.h"
#include "kubelet/volume/payload.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;
using Type = ConfigField::Type;

// Reads one field of the document; the document holds defaults, so absent means zero.
struct Reader {
  const json& document;
  void operator()(std::string_view path, std::string* out) const {
    if (const json* v = FindConfigValue(document, path); v != nullptr && v->is_string()) *out = v->get<std::string>();
  }
  void operator()(std::string_view path, bool* out) const {
    if (const json* v = FindConfigValue(document, path); v != nullptr && v->is_boolean()) *out = v->get<bool>();
  }
  void operator()(std::string_view path, int64_t* out) const {
    if (const json* v = FindConfigValue(document, path); v != nullptr && v->is_number()) *out = v->get<int64_t>();
  }
  void operator()(std::string_view path, double* out) const {
    if (const json* v = FindConfigValue(document, path); v != nullptr && v->is_number()) *out = v->get<double>();
  }
  void operator()(std::string_view path, Nanos* out) const {
    const json* v = FindConfigValue(document, path);
    if (v == nullptr) return;
    if (v->is_string()) {
      if (auto d = ParseDuration(v->get_ref<const std::string&>()); d.ok()) *out = *d;
    } else if (v->is_number_integer()) {
      *out = Nanos(v->get<int64_t>());
    }
  }
  void operator()(std::string_view path, std::vector<std::string>* out) const {
    if (const json* v = FindConfigValue(document, path); v != nullptr && v->is_array())
      *out = v->get<std::vector<std::string>>();
  }
  template <typename T>
  void operator()(std::string_view path, std::map<std::string, T>* out) const {
    if (const json* v = FindConfigValue(document, path); v != nullptr && v->is_object())
      *out = v->get<std::map<std::string, T>>();
  }
};

// The document as upstream serialises it: fields that are no pointers there vanish when they are zero.
json Shown(json document) {
  static constexpr std::string_view kOmittedWhenZero[] = {
      "readOnlyPort",
      "rotateCertificates",
      "serverTLSBootstrap",
      "enableContentionProfiling",
      "runOnce",
      "evictionMaxPodGracePeriod",
      "podsPerCore",
      "protectKernelDefaults",
      "kernelMemcgNotification",
      "logging.options.text.splitStream",
      "logging.options.json.splitStream",
  };
  for (std::string_view path : kOmittedWhenZero) {
    const json* value = FindConfigValue(document, path);
    if (value == nullptr || (*value != json(false) && *value != json(0))) continue;
    const size_t dot = path.rfind('.');
    json* parent = dot == std::string_view::npos ? &document : ConfigValueAt(&document, path.substr(0, dot));
    parent->erase(std::string(dot == std::string_view::npos ? path : path.substr(dot + 1)));
  }
  // Headers for the URL of static pods carry credentials.
  if (auto headers = document.find("staticPodURLHeader"); headers != document.end() && headers->is_object()) {
    for (auto& [name, values] : headers->items()) values = json::array({"<masked>"});
  }
  for (const ConfigField& field : ConfigFields()) {
    if (field.type != Type::kString && field.type != Type::kStrings && field.type != Type::kMap &&
        field.type != Type::kBoolMap) {
      continue;
    }
    const size_t dot = field.path.rfind('.');
    if (dot != std::string_view::npos || !field.default_json.empty()) continue;
    auto found = document.find(std::string(field.path));
    if (found == document.end()) continue;
    if (found->empty() || (found->is_string() && found->get_ref<const std::string&>().empty())) document.erase(found);
  }
  return document;
}

}  // namespace

Status ApplyConfig(const nlohmann::json& document, Config* c) {
  Reader read{document};
  read("containerRuntimeEndpoint", &c->container_runtime_endpoint);
  read("imageServiceEndpoint", &c->image_service_endpoint);
  read("staticPodPath", &c->static_pod_path);
  read("staticPodURL", &c->static_pod_url);
  read("podLogsDir", &c->pod_logs_dir);
  read("address", &c->address);
  read("tlsCertFile", &c->tls_cert_file);
  read("tlsPrivateKeyFile", &c->tls_private_key_file);
  read("authentication.x509.clientCAFile", &c->client_ca_file);
  read("authorization.mode", &c->authorization_mode);
  read("healthzBindAddress", &c->healthz_bind_address);
  read("clusterDomain", &c->cluster_domain);
  read("cgroupRoot", &c->cgroup_root);
  read("cgroupDriver", &c->cgroup_driver);
  read("resolvConf", &c->resolv_conf);
  read("podCIDR", &c->pod_cidr);
  read("providerID", &c->provider_id);
  read("logging.format", &c->logging_format);
  read("cpuManagerPolicy", &c->cpu_manager_policy);
  read("memorySwap.swapBehavior", &c->memory_swap_behavior);
  read("contentType", &c->content_type);
  read("systemReservedCgroup", &c->system_reserved_cgroup);
  read("kubeReservedCgroup", &c->kube_reserved_cgroup);
  read("reservedSystemCPUs", &c->reserved_system_cpus);
  read("clusterDNS", &c->cluster_dns);
  read("allowedUnsafeSysctls", &c->allowed_unsafe_sysctls);
  read("enforceNodeAllocatable", &c->enforce_node_allocatable);
  read("systemReserved", &c->system_reserved);
  read("kubeReserved", &c->kube_reserved);
  read("evictionHard", &c->eviction_hard);
  read("evictionSoft", &c->eviction_soft);
  read("evictionSoftGracePeriod", &c->eviction_soft_grace_period);
  read("evictionMinimumReclaim", &c->eviction_minimum_reclaim);
  read("evictionPressureTransitionPeriod", &c->eviction_pressure_transition_period);
  read("evictionMaxPodGracePeriod", &c->eviction_max_pod_grace_period);
  read("imageMinimumGCAge", &c->image_minimum_gc_age);
  read("imageMaximumGCAge", &c->image_maximum_gc_age);
  read("imageGCHighThresholdPercent", &c->image_gc_high_threshold_percent);
  read("imageGCLowThresholdPercent", &c->image_gc_low_threshold_percent);
  read("qosReserved", &c->qos_reserved);
  read("memoryManagerPolicy", &c->memory_manager_policy);
  read("topologyManagerPolicy", &c->topology_manager_policy);
  read("memoryReservationPolicy", &c->memory_reservation_policy);
  read("memoryThrottlingFactor", &c->memory_throttling_factor);
  read("shutdownGracePeriod", &c->shutdown_grace_period);
  read("featureGates", &c->feature_gates);
  read("enableServer", &c->enable_server);
  read("authentication.anonymous.enabled", &c->anonymous_auth);
  read("authentication.webhook.enabled", &c->webhook_auth);
  read("registerNode", &c->register_node);
  read("cgroupsPerQOS", &c->cgroups_per_qos);
  read("cpuCFSQuota", &c->cpu_cfs_quota);
  read("serializeImagePulls", &c->serialize_image_pulls);
  read("seccompDefault", &c->seccomp_default);
  read("failSwapOn", &c->fail_swap_on);
  read("failCgroupV1", &c->fail_cgroup_v1);
  read("enableDebuggingHandlers", &c->enable_debugging_handlers);
  read("enableSystemLogHandler", &c->enable_system_log_handler);
  read("enableSystemLogQuery", &c->enable_system_log_query);
  read("rotateCertificates", &c->rotate_certificates);
  read("makeIPTablesUtilChains", &c->make_iptables_util_chains);
  read("serverTLSBootstrap", &c->server_tls_bootstrap);
  read("enableProfilingHandler", &c->enable_profiling_handler);
  read("enableDebugFlagsHandler", &c->enable_debug_flags_handler);
  read("enableControllerAttachDetach", &c->enable_controller_attach_detach);
  read("localStorageCapacityIsolation", &c->local_storage_capacity_isolation);
  read("protectKernelDefaults", &c->protect_kernel_defaults);
  read("singleProcessOOMKill", &c->single_process_oom_kill);
  read("port", &c->port);
  read("readOnlyPort", &c->read_only_port);
  read("healthzPort", &c->healthz_port);
  read("maxPods", &c->max_pods);
  read("podsPerCore", &c->pods_per_core);
  read("podPidsLimit", &c->pod_pids_limit);
  read("kubeletCgroups", &c->kubelet_cgroups);
  read("systemCgroups", &c->system_cgroups);
  read("oomScoreAdj", &c->oom_score_adj);
  read("maxOpenFiles", &c->max_open_files);
  read("nodeStatusMaxImages", &c->node_status_max_images);
  read("userNamespaces.idsPerPod", &c->user_namespace_ids);
  read("nodeLeaseDurationSeconds", &c->node_lease_duration_seconds);
  read("kubeAPIQPS", &c->kube_api_qps);
  read("kubeAPIBurst", &c->kube_api_burst);
  read("eventRecordQPS", &c->event_qps);
  read("eventBurst", &c->event_burst);
  read("registryPullQPS", &c->registry_qps);
  read("registryBurst", &c->registry_burst);
  read("maxParallelImagePulls", &c->max_parallel_image_pulls);
  read("volumeStatsAggPeriod", &c->volume_stats_agg_period);
  read("syncFrequency", &c->sync_frequency);
  read("fileCheckFrequency", &c->file_check_frequency);
  read("httpCheckFrequency", &c->http_check_frequency);
  read("streamingConnectionIdleTimeout", &c->streaming_idle_timeout);
  read("nodeStatusUpdateFrequency", &c->node_status_update_frequency);
  read("nodeStatusReportFrequency", &c->node_status_report_frequency);
  read("runtimeRequestTimeout", &c->runtime_request_timeout);
  read("cpuCFSQuotaPeriod", &c->cpu_cfs_quota_period);
  read("authentication.webhook.cacheTTL", &c->webhook_cache_ttl);
  read("authorization.webhook.cacheAuthorizedTTL", &c->authorized_ttl);
  read("authorization.webhook.cacheUnauthorizedTTL", &c->unauthorized_ttl);
  read("crashLoopBackOff.maxContainerRestartPeriod", &c->max_container_restart_period);
  read("imagePullCredentialsVerificationPolicy", &c->image_pull_verification);
  read("preloadedImagesVerificationAllowlist", &c->preloaded_images_allowlist);
  read("containerLogMaxSize", &c->container_log_max_size);
  read("containerLogMaxFiles", &c->container_log_max_files);
  read("containerLogMaxWorkers", &c->container_log_max_workers);
  read("containerLogMonitorInterval", &c->container_log_monitor_interval);
  int64_t verbosity = c->verbosity;
  read("logging.verbosity", &verbosity);
  c->verbosity = static_cast<int>(verbosity);
  if (const json* taints = FindConfigValue(document, "registerWithTaints"))
    c->register_with_taints_json = taints->dump();

  std::vector<std::string> problems;
  if (const json* headers = FindConfigValue(document, "staticPodURLHeader");
      headers != nullptr && !headers->is_null()) {
    c->static_pod_url_headers.clear();
    bool right = headers->is_object();
    if (right) {
      for (const auto& [name, values] : headers->items()) {
        right = right && values.is_array();
        if (!right) break;
        for (const json& value : values) {
          right = right && value.is_string();
          if (right) c->static_pod_url_headers.emplace_back(name, value.get<std::string>());
        }
      }
    }
    if (!right) problems.push_back("staticPodURLHeader: must be a map of lists of strings");
  }
  RETURN_IF_ERROR(Aggregate(LoggingProblems(document, *c)), "initialize logging");
  RETURN_IF_ERROR(CheckFeatureGates(c->feature_gates), "failed to validate kubelet configuration, error");
  for (const auto& [name, value] : c->feature_gates) {
    if (value && IsAlphaGate(name)) {
      LOG_WARNING("Alpha feature gates are accepted but never on", {"gate", name});
    }
  }
  for (std::string& problem : ConfigProblems(document, *c, Exists("/sys/fs/cgroup/cgroup.controllers"))) {
    problems.push_back(std::move(problem));
  }
  if (Status s = Aggregate(problems); !s.ok()) {
    return InvalidArgument("failed to validate kubelet configuration, error: ", s.message(),
                           ", path: ", Shown(document).dump());
  }
  std::string min_version;
  std::vector<std::string> suites;
  std::vector<int64_t> curves;
  read("tlsMinVersion", &min_version);
  read("tlsCipherSuites", &suites);
  if (const json* ids = FindConfigValue(document, "tlsCurvePreferences"); ids != nullptr && ids->is_array()) {
    for (const json& id : *ids) curves.push_back(id.is_number_integer() ? id.get<int64_t>() : 0);
  }
  ASSIGN_OR_RETURN(c->tls_limits, ReadTlsLimits(min_version, suites, curves),
                   "failed to construct kubelet dependencies");
  if (c->authorization_mode.empty()) return InvalidArgument("failed to run Kubelet: no authorization mode specified");
  if (c->authorization_mode != "Webhook" && c->authorization_mode != "AlwaysAllow") {
    return InvalidArgument("failed to run Kubelet: unknown authorization mode ", c->authorization_mode);
  }
  if (!c->reserved_system_cpus.empty()) {
    // Whole CPUs take the place of what was said of them otherwise.
    LOG_INFO(
        "Option --reserved-cpus is specified, it will overwrite the cpu setting in KubeReserved and SystemReserved",
        {"reservedSystemCPUs", c->reserved_system_cpus});
    ASSIGN_OR_RETURN(const int count, CountCpus(c->reserved_system_cpus));
    c->kube_reserved.erase("cpu");
    c->system_reserved["cpu"] = absl::StrCat(count);
  }
  RETURN_IF_ERROR(CheckReserved(c->kube_reserved), "failed to run Kubelet");
  RETURN_IF_ERROR(CheckReserved(c->system_reserved), "failed to run Kubelet");
  RETURN_IF_ERROR(CheckQosReserved(c->qos_reserved), "failed to run Kubelet");
  c->json = Shown(document).dump();
  return absl::OkStatus();
}

void SetCgroupDriver(std::string driver, Config* config) {
  if (config->cgroup_driver == driver) return;
  json shown = json::parse(config->json, nullptr, /*allow_exceptions=*/false);
  if (shown.is_object()) {
    shown["cgroupDriver"] = driver;
    config->json = shown.dump();
  }
  config->cgroup_driver = std::move(driver);
}

}  // namespace skiff::kubelet
