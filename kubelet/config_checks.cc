#include "kubelet/config_checks.h"

#include <algorithm>
#include <limits>
#include <set>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/flags.h"
#include "base/go_text.h"
#include "base/paths.h"
#include "base/program.h"
#include "kubelet/config_document.h"
#include "kubelet/config_value_checks.h"
#include "kubelet/feature_gates.h"
#include "kubelet/runtime/pull_records.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Problems = std::vector<std::string>;

constexpr int64_t kUserNamespaceUnit = 65536;

// A settings document with what validation asks of it, and where its findings go.
struct Check {
  const json& document;
  const Config& config;
  Problems problems;

  template <typename... A>
  void Add(const A&... parts) {
    problems.push_back(absl::StrCat("invalid configuration: ", parts...));
  }
  bool HasShutdownByPriority() const;
  bool On(std::string_view gate) const { return FeatureEnabled(gate, config.feature_gates); }

  std::string Text(std::string_view path) const {
    const json* value = FindConfigValue(document, path);
    return value != nullptr && value->is_string() ? value->get<std::string>() : "";
  }
  bool Bool(std::string_view path) const {
    const json* value = FindConfigValue(document, path);
    return value != nullptr && value->is_boolean() && value->get<bool>();
  }
  int64_t Int(std::string_view path) const {
    const json* value = FindConfigValue(document, path);
    return value != nullptr && value->is_number_integer() ? value->get<int64_t>() : 0;
  }
  Nanos Time(std::string_view path) const {
    const json* value = FindConfigValue(document, path);
    if (value == nullptr) return Nanos(0);
    if (value->is_number_integer()) return Nanos(value->get<int64_t>());
    return value->is_string() ? ParseDuration(value->get_ref<const std::string&>()).value_or(Nanos(0)) : Nanos(0);
  }

  void NotNegative(std::string_view what, int64_t value) {
    if (value < 0) Add(what, " ", value, " must not be a negative number");
  }
  void Between(std::string_view what, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most) Add(what, " ", value, " must be between ", least, " and ", most, ", inclusive");
  }

  void Numbers();
  void ImagePulls();
  void Taints();
  void Shutdown();
  void Allocatable();
  void ReservedMemory();
  void Tracing();
  void Logs();
  void Unsupported();
};

bool Check::HasShutdownByPriority() const {
  const json* by_priority = FindConfigValue(document, "shutdownGracePeriodByPodPriority");
  return by_priority != nullptr && by_priority->is_array() && !by_priority->empty();
}

std::string Braced(Nanos duration) { return absl::StrCat("{", FormatDuration(duration), "}"); }

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// "" where the text is not a URL as Go reads it; then `problem` says why.
std::string SchemeOf(const std::string& url, std::string* problem) {
  for (size_t i = 0; i < url.size(); ++i) {
    const char c = url[i];
    if (absl::ascii_isalpha(static_cast<unsigned char>(c))) continue;
    if (i > 0 && (absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.')) continue;
    if (c == ':' && i > 0) return absl::AsciiStrToLower(url.substr(0, i));
    if (c == ':') *problem = "missing protocol scheme";
    break;
  }
  if (problem->empty() && url.find(':') < url.find('/')) *problem = "first path segment in URL cannot contain colon";
  return "";
}

}  // namespace

std::string TaintText(const json& taint) {
  const std::string added = TextOf(taint, "timeAdded");
  return absl::StrCat("{", TextOf(taint, "key"), " ", TextOf(taint, "value"), " ", TextOf(taint, "effect"), " ",
                      added.empty() ? "<nil>" : added, "}");
}

std::vector<std::string> LoggingProblems(const json& document, const Config& c) {
  Check check{document, c, {}};
  Problems out;
  if (const json* flush = FindConfigValue(document, "logging.flushFrequency");
      flush != nullptr && check.Time("logging.flushFrequency").count() <= 0) {
    out.push_back(
        absl::StrCat("logging.flushFrequency: Invalid value: ", flush->dump(), ": Must be greater than zero"));
  }
  if (c.logging_format != "text" && c.logging_format != "json") {
    out.push_back(
        absl::StrCat("logging.format: Invalid value: ", GoQuote(c.logging_format), ": Unsupported log format"));
  }
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const std::string too_much = absl::StrCat(": Must be <= ", kMost);
  if (const int64_t verbosity = check.Int("logging.verbosity"); verbosity > kMost) {
    out.push_back(absl::StrCat("logging.verbosity: Invalid value: ", verbosity, too_much));
  }
  if (const json* modules = FindConfigValue(document, "logging.vmodule"); modules != nullptr && modules->is_array()) {
    if (!modules->empty() && c.logging_format != "text" && !c.logging_format.empty()) {
      out.emplace_back("logging.vmodule: Forbidden: Only supported for text log format");
    }
    for (size_t i = 0; i < modules->size(); ++i) {
      const json& item = (*modules)[i];
      const std::string at = absl::StrCat("logging.vmodule[", i, "]: ");
      const std::string pattern = TextOf(item, "filePattern");
      if (pattern.empty()) out.push_back(at + "Required value: File pattern must not be empty");
      if (pattern.find_first_of("=,") != std::string::npos) {
        out.push_back(absl::StrCat(at, "Invalid value: ", GoQuote(pattern),
                                   ": File pattern must not contain equal sign or comma"));
      }
      if (const auto level = item.find("verbosity");
          level != item.end() && level->is_number_integer() && level->get<int64_t>() > kMost) {
        out.push_back(absl::StrCat(at, "Invalid value: ", level->get<int64_t>(), too_much));
      }
    }
  }
  if (!check.On("LoggingAlphaOptions")) {
    for (const char* format : {"text", "json"}) {
      const std::string at = absl::StrCat("logging.options.", format, ".");
      const auto forbidden = [&](const char* what) {
        out.push_back(absl::StrCat(at, what, ": Forbidden: Feature LoggingAlphaOptions is disabled"));
      };
      if (check.Bool(at + "splitStream")) forbidden("splitStream");
      if (api::Quantity::Of(check.Text(at + "infoBufferSize")).Sign() != 0) forbidden("infoBufferSize");
    }
  }
  return out;
}

namespace {

void Check::Numbers() {
  const Config& c = config;
  if (c.node_lease_duration_seconds <= 0) Add("nodeLeaseDurationSeconds must be greater than 0");
  if (!Text("systemCgroups").empty() && c.cgroup_root.empty()) {
    Add("systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not specified");
  }
  NotNegative("eventBurst (--event-burst)", c.event_burst);
  NotNegative("eventRecordQPS (--event-qps)", c.event_qps);
  if (c.healthz_port != 0) Between("healthzPort (--healthz-port)", c.healthz_port, 1, 65535);
  const std::string quota = absl::StrCat("cpuCFSQuotaPeriod (--cpu-cfs-quota-period) ", Braced(c.cpu_cfs_quota_period));
  if (!On("CustomCPUCFSQuotaPeriod")) {
    if (c.cpu_cfs_quota_period != milliseconds(100)) Add(quota, " requires feature gate CustomCPUCFSQuotaPeriod");
  } else if (c.cpu_cfs_quota_period < milliseconds(1) || c.cpu_cfs_quota_period > seconds(1)) {
    Add(quota, " must be between 1ms and 1sec, inclusive");
  }
  const int64_t high = c.image_gc_high_threshold_percent, low = c.image_gc_low_threshold_percent;
  Between("imageGCHighThresholdPercent (--image-gc-high-threshold)", high, 0, 100);
  Between("imageGCLowThresholdPercent (--image-gc-low-threshold)", low, 0, 100);
  if (low >= high) {
    Add("imageGCLowThresholdPercent (--image-gc-low-threshold) ", low,
        " must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) ", high);
  }
  const Nanos least = c.image_minimum_gc_age, most = c.image_maximum_gc_age;
  if (least.count() < 0) Add("imageMinimumGCAge ", FormatDuration(least), " must not be negative");
  if (most.count() < 0) Add("imageMaximumGCAge ", FormatDuration(most), " must not be negative");
  if (most.count() > 0 && most <= least) {
    Add("imageMaximumGCAge ", FormatDuration(most), " must be greater than imageMinimumGCAge ", FormatDuration(least));
  }
  Between("iptablesDropBit (--iptables-drop-bit)", Int("iptablesDropBit"), 0, 31);
  Between("iptablesMasqueradeBit (--iptables-masquerade-bit)", Int("iptablesMasqueradeBit"), 0, 31);
  NotNegative("kubeAPIBurst (--kube-api-burst)", c.kube_api_burst);
  NotNegative("kubeAPIQPS (--kube-api-qps)", c.kube_api_qps);
  if (c.node_status_max_images < -1) {
    Add("nodeStatusMaxImages (--node-status-max-images) ", c.node_status_max_images, " must be -1 or greater");
  }
  NotNegative("maxOpenFiles (--max-open-files)", Int("maxOpenFiles"));
  NotNegative("maxPods (--max-pods)", c.max_pods);
  Between("oomScoreAdj (--oom-score-adj)", c.oom_score_adj, -1000, 1000);
  NotNegative("podsPerCore (--pods-per-core)", c.pods_per_core);
  Between("port (--port)", c.port, 1, 65535);
  Between("readOnlyPort (--read-only-port)", c.read_only_port, 0, 65535);
  NotNegative("registryBurst (--registry-burst)", c.registry_burst);
  NotNegative("registryPullQPS (--registry-qps)", c.registry_qps);
}

void Check::ImagePulls() {
  if (!On("KubeletEnsureSecretPulledImages")) {
    // Without the gate upstream has no default; here the default then says nothing.
    if (!config.image_pull_verification.empty() && config.image_pull_verification != "NeverVerifyPreloadedImages") {
      Add("`imagePullCredentialsVerificationPolicy` must not be set if KubeletEnsureSecretPulledImages feature gate is "
          "not enabled");
    }
    if (!config.preloaded_images_allowlist.empty()) {
      Add("`preloadedImagesVerificationAllowlist` must not be set if KubeletEnsureSecretPulledImages feature gate is "
          "not enabled");
    }
    return;
  }
  const auto policy = ParsePullVerification(config.image_pull_verification);
  if (!policy.ok()) {
    Add("option ", GoQuote(config.image_pull_verification),
        " specified for imagePullCredentialsVerificationPolicy. Valid options are \"NeverVerify\", "
        "\"NeverVerifyPreloadedImages\", \"NeverVerifyAllowlistedImages\" or \"AlwaysVerify\"");
  }
  if (config.preloaded_images_allowlist.empty()) return;
  if (!policy.ok() || *policy != PullVerification::kNeverVerifyAllowlistedImages) {
    Add("can't set `preloadedImagesVerificationAllowlist` if `imagePullCredentialsVertificationPolicy` is not "
        "\"NeverVerifyAllowlistedImages\"");
    return;
  }
  for (const std::string& pattern : config.preloaded_images_allowlist) {
    if (Status s = CheckAllowlistPattern(pattern); !s.ok()) {
      Add("invalid image pattern in `preloadedImagesVerificationAllowlist`: ", s.message());
    }
  }
}

void Check::Taints() {
  const json* taints = FindConfigValue(document, "registerWithTaints");
  if (taints == nullptr) return;
  const auto is_text = [](const json& taint, const char* key) {
    const auto found = taint.find(key);
    return found == taint.end() || found->is_null() || found->is_string();
  };
  if (!taints->is_array() || !std::all_of(taints->begin(), taints->end(), [&](const json& taint) {
        return taint.is_object() && is_text(taint, "key") && is_text(taint, "value") && is_text(taint, "effect") &&
               is_text(taint, "timeAdded");
      })) {
    problems.emplace_back("registerWithTaints: must be a list of taints");
    return;
  }
  for (const json& taint : *taints) {
    const std::string effect = TextOf(taint, "effect");
    if (!api::IsQualifiedName(TextOf(taint, "key")).empty() ||
        !api::IsValidLabelValue(TextOf(taint, "value")).empty() || (!effect.empty() && !IsTaintEffect(effect))) {
      problems.push_back(absl::StrCat("invalid taint: ", TaintText(taint)));
    }
    if (!TextOf(taint, "timeAdded").empty()) Add("taint.TimeAdded is not nil");
  }
}

void Check::Shutdown() {
  const Nanos all = Time("shutdownGracePeriod"), critical = Time("shutdownGracePeriodCriticalPods");
  if (!On("GracefulNodeShutdown")) {
    if (all.count() > 0 || critical.count() > 0) {
      Add("specifying shutdownGracePeriod or shutdownGracePeriodCriticalPods requires feature gate "
          "GracefulNodeShutdown");
    }
  } else {
    if (critical > all) {
      Add("shutdownGracePeriodCriticalPods ", Braced(critical), " must be <= shutdownGracePeriod ", Braced(all));
    }
    for (const auto& [what, value] :
         {std::pair("shutdownGracePeriod", all), std::pair("shutdownGracePeriodCriticalPods", critical)}) {
      if (value.count() < 0 || (value.count() > 0 && value < seconds(1))) {
        Add(what, " ", Braced(value), " must be either zero or otherwise >= 1 sec");
      }
    }
  }
  if (!HasShutdownByPriority()) return;
  if (!On("GracefulNodeShutdownBasedOnPodPriority")) {
    Add("Specifying shutdownGracePeriodByPodPriority requires feature gate GracefulNodeShutdownBasedOnPodPriority");
  } else if (all.count() > 0 || critical.count() > 0) {
    Add("Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the same time");
  }
}

void Check::Allocatable() {
  const Config& c = config;
  constexpr char kWhere[] = "enforceNodeAllocatable (--enforce-node-allocatable)";
  const std::set<std::string> named(c.enforce_node_allocatable.begin(), c.enforce_node_allocatable.end());
  for (const char* whose : {"system", "kube"}) {
    const std::string all = absl::StrCat(whose, "-reserved"), part = absl::StrCat(all, "-compressible");
    if (named.contains(all) && named.contains(part)) {
      Add("both ", GoQuote(all), " and ", GoQuote(part), " cannot be specified together in ", kWhere);
    }
  }
  std::set<std::string> seen;
  for (const std::string& key : c.enforce_node_allocatable) {
    if (!seen.insert(key).second) {
      Add("duplicated enforcements ", GoQuote(key), " in ", kWhere);
      continue;
    }
    if (key == "none") {
      if (c.enforce_node_allocatable.size() > 1) {
        Add(kWhere, " may not contain additional enforcements when \"none\" is specified");
      }
      continue;
    }
    const bool system = key == "system-reserved" || key == "system-reserved-compressible";
    if (system || key == "kube-reserved" || key == "kube-reserved-compressible") {
      const char* whose = system ? "system" : "kube";
      if ((system ? c.system_reserved_cgroup : c.kube_reserved_cgroup).empty()) {
        Add(whose, "ReservedCgroup (--", whose, "-reserved-cgroup) must be specified when \"", whose,
            "-reserved\" or \"", whose, "-reserved-compressible\" included in ", kWhere);
      }
    } else if (key != "pods") {
      Add("option ", GoQuote(key), " specified for ", kWhere,
          ". Valid options are \"pods\", \"system-reserved\", \"system-reserved-compressible\", \"kube-reserved\", "
          "\"kube-reserved-compressible\" or \"none\"");
      continue;
    }
    if (!c.cgroups_per_qos) {
      Add("cgroupsPerQOS (--cgroups-per-qos) must be set to true when ", GoQuote(key), " contained in ", kWhere);
    }
  }
}

void Check::ReservedMemory() {
  const json* list = FindConfigValue(document, "reservedMemory");
  if (list == nullptr) return;
  const auto well_formed = [](const json& entry) {
    if (!entry.is_object()) return false;
    const auto limits = entry.find("limits");
    return limits == entry.end() || limits->is_null() || limits->is_object();
  };
  if (!list->is_array() || !std::all_of(list->begin(), list->end(), well_formed)) {
    problems.emplace_back("reservedMemory: must be a list of memory reservations");
    return;
  }
  std::set<std::pair<int64_t, std::string>> seen;
  for (const json& entry : *list) {
    const auto numa = entry.find("numaNode");
    const int64_t node = numa != entry.end() && numa->is_number_integer() ? numa->get<int64_t>() : 0;
    const auto limits = entry.find("limits");
    if (limits == entry.end()) continue;
    for (const auto& [name, amount] : limits->items()) {
      if (!IsReservableMemory(name)) {
        Add("the limit type ", GoQuote(name), " for NUMA node ", node,
            " is not supported, only [memory hugepages-<HugePageSize>] is accepted");
      }
      const auto quantity = api::Quantity::Parse(amount.is_string() ? amount.get<std::string>() : amount.dump());
      if (!quantity.ok()) {
        problems.push_back(absl::StrCat("reservedMemory: ", quantity.status().message()));
      } else if (quantity->Sign() == 0) {
        Add("reserved memory may not be zero for NUMA node ", node, " and resource ", GoQuote(name));
      }
      if (!seen.emplace(node, name).second) {
        Add("the reserved memory has a duplicate value for NUMA node ", node, " and resource ", GoQuote(name));
      }
    }
  }
}

void Check::Tracing() {
  if (FindConfigValue(document, "tracing.samplingRatePerMillion") != nullptr) {
    const int64_t rate = Int("tracing.samplingRatePerMillion");
    const std::string what = absl::StrCat("tracing.samplingRatePerMillion: Invalid value: ", rate, ": ");
    if (rate < 0) problems.push_back(what + "sampling rate must be positive");
    if (rate > 1000000) {
      problems.push_back(what + "sampling rate per million must be less than or equal to one million");
    }
  }
  if (FindConfigValue(document, "tracing.endpoint") == nullptr) return;
  std::string endpoint = Text("tracing.endpoint"), broken;
  if (endpoint.find("//") == std::string::npos) endpoint = "dns://" + endpoint;
  const std::string scheme = SchemeOf(endpoint, &broken);
  const std::string what = absl::StrCat("tracing.endpoint: Invalid value: ", GoQuote(endpoint), ": ");
  if (!broken.empty()) {
    problems.push_back(absl::StrCat(what, "parse ", GoQuote(endpoint), ": ", broken));
  } else if (scheme != "dns" && scheme != "unix" && scheme != "unix-abstract") {
    problems.push_back(absl::StrCat(what, "unsupported scheme: ", scheme,
                                    ".  Options are none, dns, unix, or unix-abstract.  See "
                                    "https://github.com/grpc/grpc/blob/master/doc/naming.md"));
  }
}

void Check::Logs() {
  if (Int("containerLogMaxWorkers") < 1) Add("containerLogMaxWorkers must be greater than or equal to 1");
  if (config.container_log_monitor_interval < seconds(3)) {
    Add("containerLogMonitorInterval must be a positive time duration greater than or equal to 3s");
  }
  if (config.container_log_max_files <= 1) Add("containerLogMaxFiles must be greater than 1");
  const std::string& dir = config.pod_logs_dir;
  const auto path = [&](const char* must) { Add("pod logs path ", GoQuote(dir), " ", must); };
  if (dir.empty()) Add("podLogsDir was not specified");
  const bool absolute = absl::StartsWith(dir, "/");
  if (!absolute) path("must be absolute path");
  if (dir.empty() || (absolute ? CleanPath(dir) : CleanPath("/" + dir).substr(1)) != dir) path("must be normalized");
  if (std::any_of(dir.begin(), dir.end(), [](char c) { return static_cast<unsigned char>(c) > 127; })) {
    path("mut contains ASCII characters only");
  }
}

// What upstream can and this kubelet cannot: better no kubelet than pods that believe to have CPUs of their own.
void Check::Unsupported() {
  const auto only_none = [&](const char* field, const std::string& policy, std::string_view none) {
    if (!policy.empty() && policy != none) {
      Add(field, " ", GoQuote(policy), " is not supported by this kubelet, only ", GoQuote(none), " is");
    }
  };
  only_none("cpuManagerPolicy (--cpu-manager-policy)", config.cpu_manager_policy, "none");
  only_none("memoryManagerPolicy (--memory-manager-policy)", config.memory_manager_policy, "None");
  only_none("topologyManagerPolicy (--topology-manager-policy)", config.topology_manager_policy, "none");
  if (config.shutdown_grace_period.count() > 0) {
    Add("shutdownGracePeriod ", FormatDuration(config.shutdown_grace_period),
        " is not supported by this kubelet, only 0s is");
  }
  if (HasShutdownByPriority()) {
    Add("shutdownGracePeriodByPodPriority is not supported by this kubelet");
  }
  if (config.cgroup_driver != "cgroupfs" && config.cgroup_driver != "systemd") {
    Add("cgroupDriver (--cgroup-driver) ", GoQuote(config.cgroup_driver), " must be cgroupfs or systemd");
  }
}

}  // namespace

std::vector<std::string> ConfigProblems(const json& document, const Config& c, bool cgroup_v2) {
  Check check{document, c, {}};
  auto one_of = [](const std::string& value, std::initializer_list<std::string_view> valid) {
    return std::find(valid.begin(), valid.end(), value) != valid.end();
  };
  check.Numbers();
  if (const json* pulls = FindConfigValue(document, "maxParallelImagePulls"); pulls != nullptr) {
    if (c.max_parallel_image_pulls < 1) {
      check.Add("maxParallelImagePulls ", c.max_parallel_image_pulls, " must be a positive number");
    }
    if (c.serialize_image_pulls && c.max_parallel_image_pulls > 1) {
      check.Add(
          "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) is set "
          "to false");
    }
  }
  if (c.server_tls_bootstrap && !check.On("RotateKubeletServerCertificate")) {
    check.Add("serverTLSBootstrap true requires feature gate RotateKubeletServerCertificate");
  }
  if (check.Bool("runOnce")) {
    check.Add("runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set");
  }
  check.Taints();
  if (!one_of(c.topology_manager_policy, {"none", "best-effort", "restricted", "single-numa-node"})) {
    check.Add("topologyManagerPolicy (--topology-manager-policy) ", GoQuote(c.topology_manager_policy),
              " must be one of: [\"none\" \"best-effort\" \"restricted\" \"single-numa-node\"]");
  }
  if (const std::string scope = check.Text("topologyManagerScope"); !one_of(scope, {"container", "pod"})) {
    check.Add("topologyManagerScope (--topology-manager-scope) ", GoQuote(scope),
              " must be one of: \"container\", or \"pod\"");
  }
  check.Shutdown();
  if (!one_of(c.memory_swap_behavior, {"", "NoSwap", "LimitedSwap"})) {
    check.Add("memorySwap.swapBehavior ", GoQuote(c.memory_swap_behavior),
              " must be one of: \"\", \"LimitedSwap\" or \"NoSwap\"");
  }
  const Nanos longest = c.max_container_restart_period;
  if (!check.On("KubeletCrashLoopBackOffMax")) {
    // As with the pull policy: the default says nothing.
    if (longest.count() != 0 && longest != seconds(300)) {
      check.Add(
          "FeatureGate KubeletCrashLoopBackOffMax not enabled, CrashLoopBackOff.MaxContainerRestartPeriod must not be "
          "set");
    }
  } else if (longest < seconds(1) || longest >= milliseconds(300001)) {
    check.Add("CrashLoopBackOff.MaxContainerRestartPeriod (got: ",
              GoFloat(std::chrono::duration<double>(longest).count()), " seconds) must be set between 1s and 300s");
  }
  check.Allocatable();
  if (const std::string mode = check.Text("hairpinMode");
      !one_of(mode, {"none", "hairpin-veth", "promiscuous-bridge"})) {
    check.Add("option ", GoQuote(mode),
              " specified for hairpinMode (--hairpin-mode). Valid options are \"none\", "
              "\"hairpin-veth\" or \"promiscuous-bridge\"");
  }
  check.ImagePulls();
  if (!c.reserved_system_cpus.empty()) {
    if (!c.system_reserved_cgroup.empty() || !c.kube_reserved_cgroup.empty()) {
      check.Add(
          "can't use reservedSystemCPUs (--reserved-cpus) with systemReservedCgroup (--system-reserved-cgroup) or "
          "kubeReservedCgroup (--kube-reserved-cgroup)");
    }
    if (auto count = CountCpus(c.reserved_system_cpus); !count.ok()) {
      check.Add("unable to parse reservedSystemCPUs (--reserved-cpus) ", c.reserved_system_cpus,
                ", error: ", count.status().message());
    }
  }
  check.ReservedMemory();
  if (!cgroup_v2 && FindConfigValue(document, "singleProcessOOMKill") != nullptr && !c.single_process_oom_kill) {
    check.Add("singleProcessOOMKill must not be explicitly set to false when using cgroup v1");
  } else if (c.user_namespace_ids < kUserNamespaceUnit) {
    check.Add("userNamespaces.idsPerPod must not be less than ", kUserNamespaceUnit);
  } else if (c.user_namespace_ids % kUserNamespaceUnit != 0) {
    check.Add("userNamespaces.idsPerPod must be a multiple of ", kUserNamespaceUnit);
  } else if (c.user_namespace_ids > 0xffffffff) {
    check.Add("userNamespaces.idsPerPod must not be more than 4294967295");
  }
  if (const std::string shown = check.Text("showHiddenMetricsForVersion"); !shown.empty()) {
    const std::vector<std::string_view> parts = absl::StrSplit(std::string_view(kKubernetesVersion).substr(1), '.');
    int minor = 0;
    (void)absl::SimpleAtoi(parts[1], &minor);
    const std::string previous = absl::StrCat(parts[0], ".", minor - 1);
    if (shown != previous) {
      check.problems.push_back(absl::StrCat(
          "invalid showHiddenMetricsForVersion: showHiddenMetricsForVersion: Invalid value: ", GoQuote(shown),
          ": must be omitted or have the value '", previous, "'; only the previous minor version is allowed"));
    }
  }
  for (std::string& problem : LoggingProblems(document, c)) check.problems.push_back(std::move(problem));
  check.Tracing();
  if (c.memory_throttling_factor <= 0 || c.memory_throttling_factor > 1) {
    check.Add("memoryThrottlingFactor ", GoFloat(c.memory_throttling_factor),
              " must be greater than 0 and less than or equal to 1.0");
  }
  if (c.memory_reservation_policy == "TieredReservation" && !check.On("MemoryQoS")) {
    check.Add("memoryReservationPolicy \"TieredReservation\" requires MemoryQoS feature gate to be enabled");
  }
  if (!one_of(c.memory_reservation_policy, {"None", "TieredReservation"})) {
    check.Add("option ", GoQuote(c.memory_reservation_policy),
              " specified for memoryReservationPolicy. Valid options are \"None\" or \"TieredReservation\"");
  }
  if (c.container_runtime_endpoint.empty()) check.Add("the containerRuntimeEndpoint was not specified or empty");
  if (c.enable_system_log_query && !c.enable_system_log_handler) {
    check.Add("enableSystemLogHandler is required for enableSystemLogQuery");
  }
  check.Logs();
  check.Unsupported();
  return std::move(check.problems);
}

}  // namespace skiff::kubelet
