// The kubelet's settings: command-line flags over the configuration file over defaults, all of upstream's 1.36 flags
// and fields accepted. Read once at start; plain values. Upstream:
// kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1.
#ifndef SKIFF_KUBELET_CONFIG_H_
#define SKIFF_KUBELET_CONFIG_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/flags.h"
#include "base/status.h"
#include "base/tls_limits.h"

namespace skiff::kubelet {

using Nanos = std::chrono::nanoseconds;

// What the kubelet acts on, by the names of the fields (or flags) that set them.
struct Config {
  // Flags only.
  std::string kubeconfig, bootstrap_kubeconfig, hostname_override, node_ip, cert_dir = "/var/lib/kubelet/pki";
  std::string root_dir = "/var/lib/kubelet", cloud_provider, lock_file;
  std::string image_credential_provider_config, image_credential_provider_bin_dir;
  std::map<std::string, std::string> node_labels;
  std::string runtime_cgroups;
  bool exit_on_lock_contention = false;
  int maximum_dead_containers = -1, maximum_dead_containers_per_container = 1;
  Nanos minimum_container_ttl{0};
  std::string boot_id_file = "/proc/sys/kernel/random/boot_id";
  std::string machine_id_files = "/etc/machine-id,/var/lib/dbus/machine-id";
  std::string config_file;

  // Where containers' logs get links for log collectors. (Upstream's constant; tests have another.)
  std::string container_logs_dir = "/var/log/containers";

  // Fields of KubeletConfiguration.
  std::string container_runtime_endpoint, image_service_endpoint;
  std::string static_pod_url;
  std::vector<std::pair<std::string, std::string>> static_pod_url_headers;
  std::string static_pod_path, pod_logs_dir, address, tls_cert_file, tls_private_key_file, client_ca_file;
  std::string authorization_mode, healthz_bind_address, cluster_domain, cgroup_root, cgroup_driver, resolv_conf;
  std::string pod_cidr, provider_id, logging_format, cpu_manager_policy, memory_swap_behavior, content_type;
  std::string kubelet_cgroups, system_cgroups;
  std::string system_reserved_cgroup, kube_reserved_cgroup, reserved_system_cpus;
  std::vector<std::string> cluster_dns, allowed_unsafe_sysctls, enforce_node_allocatable;
  std::map<std::string, std::string> system_reserved, kube_reserved;
  std::map<std::string, std::string> eviction_hard, eviction_soft, eviction_soft_grace_period;
  std::map<std::string, std::string> eviction_minimum_reclaim, qos_reserved;
  std::string memory_manager_policy, topology_manager_policy, memory_reservation_policy;
  std::map<std::string, bool> feature_gates;
  std::string register_with_taints_json;  // JSON list of core/v1 Taint
  bool enable_server = true, anonymous_auth = false, webhook_auth = true, register_node = true, cgroups_per_qos = true;
  bool cpu_cfs_quota = true, serialize_image_pulls = true, seccomp_default = false, fail_swap_on = true;
  bool fail_cgroup_v1 = true, enable_debugging_handlers = true, enable_system_log_handler = true;
  bool enable_profiling_handler = true, enable_debug_flags_handler = true, enable_controller_attach_detach = true;
  bool local_storage_capacity_isolation = true, protect_kernel_defaults = false, single_process_oom_kill = false;
  int64_t port = 10250, read_only_port = 0, healthz_port = 10248, max_pods = 110, pods_per_core = 0,
          pod_pids_limit = -1;
  int64_t oom_score_adj = -999, node_status_max_images = 50, user_namespace_ids = 65536,
          node_lease_duration_seconds = 40, max_open_files = 1000000;
  int64_t kube_api_qps = 50, kube_api_burst = 100, event_qps = 50, event_burst = 100, registry_qps = 5,
          registry_burst = 10;
  int64_t max_parallel_image_pulls = 0, container_log_max_files = 5, container_log_max_workers = 1;
  std::string container_log_max_size, image_pull_verification;
  std::vector<std::string> preloaded_images_allowlist;
  TlsLimits tls_limits;  // of tlsMinVersion, tlsCipherSuites, tlsCurvePreferences
  Nanos container_log_monitor_interval{0};
  Nanos http_check_frequency{0};
  Nanos volume_stats_agg_period{0};
  Nanos sync_frequency{0}, file_check_frequency{0}, streaming_idle_timeout{0}, node_status_update_frequency{0};
  Nanos node_status_report_frequency{0}, runtime_request_timeout{0}, cpu_cfs_quota_period{0}, webhook_cache_ttl{0};
  Nanos authorized_ttl{0}, unauthorized_ttl{0}, max_container_restart_period{0};
  Nanos eviction_pressure_transition_period{0}, image_minimum_gc_age{0}, image_maximum_gc_age{0};
  Nanos shutdown_grace_period{0};
  int64_t eviction_max_pod_grace_period = 0;
  int64_t image_gc_high_threshold_percent = 85, image_gc_low_threshold_percent = 80;
  double memory_throttling_factor = 0.9;
  int verbosity = 0;

  bool enable_system_log_query = false, rotate_certificates = false, server_tls_bootstrap = false;
  bool make_iptables_util_chains = true;

  std::string json;                    // the KubeletConfiguration in effect, for /configz
  std::vector<std::string> arguments;  // the command line, for /flagz
};

// Parses the command line and the file it names. kCancelled carries the text to print for --help and --version. Errors
// name the flag, or file and field: `/etc/k.yaml: evictionHard: must be a map of strings`.
StatusOr<Config> LoadConfig(int argc, const char* const* argv);

// The configuration file's text alone, over the defaults: a JSON object. Unknown fields are dropped with a warning, as
// upstream's lenient decoding does; wrong types, kinds and versions are errors.
StatusOr<nlohmann::json> ParseConfigFile(std::string_view text, const std::string& origin);

// Fills the typed fields and checks what upstream's validation checks. Errors join all findings, as upstream does:
// "failed to validate kubelet configuration, error: [invalid configuration: maxPods (--max-pods) -1 must ..., ...],
// path: <the configuration>".
Status ApplyConfig(const nlohmann::json& document, Config* config);

// The runtime's word on the cgroup driver, which goes before the configured one; /configz shows it.
void SetCgroupDriver(std::string driver, Config* config);

// Defaults as the file has them; `without_file` uses those of a kubelet started without --config, which has no eviction
// thresholds.
nlohmann::json DefaultConfig(bool without_file);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CONFIG_H_
