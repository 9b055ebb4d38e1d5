#include "kubelet/config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/log.h"
#include "base/program.h"
#include "kubelet/config_checks.h"
#include "kubelet/config_fields.h"
#include "kubelet/feature_gates.h"
#include "kubelet/runtime/pull_records.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;
using Type = ConfigField::Type;

const ConfigField* FindField(std::string_view path) {
  for (const ConfigField& field : ConfigFields()) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

json* At(json* document, std::string_view path) {
  json* at = document;
  for (std::string_view part : absl::StrSplit(path, '.')) {
    if (!at->is_object()) *at = json::object();
    at = &(*at)[std::string(part)];
  }
  return at;
}

const json* Find(const json& document, std::string_view path) {
  const json* at = &document;
  for (std::string_view part : absl::StrSplit(path, '.')) {
    if (!at->is_object()) return nullptr;
    auto it = at->find(std::string(part));
    if (it == at->end()) return nullptr;
    at = &*it;
  }
  return at->is_null() ? nullptr : at;
}

// What is wrong with a value, or "".
std::string TypeProblem(Type type, const json& v) {
  switch (type) {
    case Type::kString: return v.is_string() ? "" : "must be a string";
    case Type::kBool: return v.is_boolean() ? "" : "must be a boolean";
    case Type::kInt: return v.is_number_integer() ? "" : "must be an integer";
    case Type::kDouble: return v.is_number() ? "" : "must be a number";
    case Type::kDuration:
      if (v.is_number_integer()) return "";
      if (!v.is_string()) return "must be a duration such as \"1m0s\"";
      if (auto d = ParseDuration(v.get_ref<const std::string&>()); !d.ok()) return std::string(d.status().message());
      return "";
    case Type::kStrings:
      if (!v.is_array()) return "must be a list of strings";
      for (const auto& e : v) {
        if (!e.is_string()) return "must be a list of strings";
      }
      return "";
    case Type::kMap:
      if (!v.is_object()) return "must be a map of strings";
      for (const auto& [key, e] : v.items()) {
        if (!e.is_string()) return absl::StrCat("must be a map of strings, but ", key, " is ", e.dump());
      }
      return "";
    case Type::kBoolMap:
      if (!v.is_object()) return "must be a map of booleans";
      for (const auto& [key, e] : v.items()) {
        if (!e.is_boolean()) return absl::StrCat("must be a map of booleans, but ", key, " is ", e.dump());
      }
      return "";
    case Type::kObject: return v.is_object() ? "" : "must be an object";
    case Type::kAny: return "";
  }
  return "";
}

Status MergeInto(const json& from, const std::string& prefix, const std::string& origin, json* into) {
  for (const auto& [key, value] : from.items()) {
    std::string path = prefix.empty() ? key : absl::StrCat(prefix, ".", key);
    const ConfigField* field = FindField(path);
    if (field == nullptr) {
      LOG_WARNING("Using lenient decoding as strict decoding failed", {"file", origin},
                  {"err", absl::StrCat("unknown field \"", path, "\"")});
      continue;
    }
    if (value.is_null()) continue;
    if (std::string problem = TypeProblem(field->type, value); !problem.empty()) {
      return InvalidArgument(origin, ": ", path, ": ", problem, ", but is ", value.dump());
    }
    // Maps of free keys replace the default as a whole; objects are walked.
    if (field->type == Type::kObject) {
      json& child = (*into)[key];
      if (!child.is_object()) child = json::object();
      RETURN_IF_ERROR(MergeInto(value, path, origin, &child));
    } else {
      (*into)[key] = value;
    }
  }
  return absl::OkStatus();
}

// A flag's text as the field's JSON value.
StatusOr<json> FlagValue(const ConfigField& field, std::string_view text) {
  switch (field.type) {
    case Type::kBool:
      if (text == "true" || text == "1" || text == "t" || text == "T" || text == "TRUE" || text == "True")
        return json(true);
      if (text == "false" || text == "0" || text == "f" || text == "F" || text == "FALSE" || text == "False") {
        return json(false);
      }
      return InvalidArgument("strconv.ParseBool: parsing \"", text, "\": invalid syntax");
    case Type::kInt: {
      int64_t v;
      if (!absl::SimpleAtoi(text, &v)) {
        return InvalidArgument("strconv.ParseInt: parsing \"", text, "\": invalid syntax");
      }
      return json(v);
    }
    case Type::kDouble: {
      double v;
      if (!absl::SimpleAtod(text, &v)) {
        return InvalidArgument("strconv.ParseFloat: parsing \"", text, "\": invalid syntax");
      }
      return json(v);
    }
    case Type::kDuration: {
      ASSIGN_OR_RETURN(Nanos d, ParseDuration(text));
      return json(FormatDuration(d));
    }
    case Type::kStrings: {
      json list = json::array();
      if (!text.empty()) {
        for (std::string_view part : absl::StrSplit(text, ',')) list.push_back(std::string(part));
      }
      return list;
    }
    case Type::kMap: {
      json map = json::object();
      // eviction thresholds are written with < instead of =.
      for (std::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
        size_t at = part.find_first_of("=<");
        if (at == std::string_view::npos) return InvalidArgument("malformed pair, expect string=string");
        map[std::string(part.substr(0, at))] = std::string(part.substr(at + 1));
      }
      return map;
    }
    case Type::kBoolMap: {
      json map = json::object();
      for (std::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
        size_t at = part.find('=');
        if (at == std::string_view::npos) return InvalidArgument("missing bool value for ", part);
        std::string_view value = part.substr(at + 1);
        if (value != "true" && value != "false") {
          return InvalidArgument("invalid value of ", part.substr(0, at), "=", value,
                                 ", err: strconv.ParseBool: parsing \"", value, "\": invalid syntax");
        }
        map[std::string(part.substr(0, at))] = value == "true";
      }
      return map;
    }
    default: return json(std::string(text));
  }
}

std::string_view FlagTypeName(Type type) {
  switch (type) {
    case Type::kBool: return "bool";
    case Type::kInt: return "int";
    case Type::kDouble: return "float";
    case Type::kDuration: return "duration";
    case Type::kStrings: return "strings";
    case Type::kMap: return "mapStringString";
    case Type::kBoolMap: return "mapStringBool";
    default: return "string";
  }
}

// "key=value:effect" entries as a JSON list of taints.
StatusOr<json> ParseTaints(std::string_view text) {
  json list = json::array();
  for (std::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    size_t colon = part.rfind(':');
    if (colon == std::string_view::npos) return InvalidArgument("invalid taint spec: ", part);
    std::string_view left = part.substr(0, colon), effect = part.substr(colon + 1);
    if (effect != "NoSchedule" && effect != "PreferNoSchedule" && effect != "NoExecute") {
      return InvalidArgument("invalid taint effect: ", effect, ", unsupported taint effect");
    }
    size_t eq = left.find('=');
    json taint = {{"key", std::string(left.substr(0, eq))}, {"effect", std::string(effect)}};
    if (eq != std::string_view::npos) taint["value"] = std::string(left.substr(eq + 1));
    list.push_back(std::move(taint));
  }
  return list;
}

// "name:value" pairs as a JSON object of lists.
StatusOr<json> ParseHeaders(std::string_view text) {
  json out = json::object();
  for (std::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    size_t colon = part.find(':');
    if (colon == std::string_view::npos) return InvalidArgument("malformed pair, expect string:string");
    out[std::string(absl::StripAsciiWhitespace(part.substr(0, colon)))].push_back(
        std::string(absl::StripAsciiWhitespace(part.substr(colon + 1))));
  }
  return out;
}

// Reads one field of the document; the document holds defaults, so absent means zero.
struct Reader {
  const json& document;
  void operator()(std::string_view path, std::string* out) const {
    if (const json* v = Find(document, path); v != nullptr && v->is_string()) *out = v->get<std::string>();
  }
  void operator()(std::string_view path, bool* out) const {
    if (const json* v = Find(document, path); v != nullptr && v->is_boolean()) *out = v->get<bool>();
  }
  void operator()(std::string_view path, int64_t* out) const {
    if (const json* v = Find(document, path); v != nullptr && v->is_number()) *out = v->get<int64_t>();
  }
  void operator()(std::string_view path, double* out) const {
    if (const json* v = Find(document, path); v != nullptr && v->is_number()) *out = v->get<double>();
  }
  void operator()(std::string_view path, Nanos* out) const {
    const json* v = Find(document, path);
    if (v == nullptr) return;
    if (v->is_string()) {
      if (auto d = ParseDuration(v->get_ref<const std::string&>()); d.ok()) *out = *d;
    } else if (v->is_number_integer()) {
      *out = Nanos(v->get<int64_t>());
    }
  }
  void operator()(std::string_view path, std::vector<std::string>* out) const {
    if (const json* v = Find(document, path); v != nullptr && v->is_array()) *out = v->get<std::vector<std::string>>();
  }
  template <typename T>
  void operator()(std::string_view path, std::map<std::string, T>* out) const {
    if (const json* v = Find(document, path); v != nullptr && v->is_object()) *out = v->get<std::map<std::string, T>>();
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
    const json* value = Find(document, path);
    if (value == nullptr || (*value != json(false) && *value != json(0))) continue;
    const size_t dot = path.rfind('.');
    json* parent = dot == std::string_view::npos ? &document : At(&document, path.substr(0, dot));
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

nlohmann::json DefaultConfig(bool without_file) {
  json document = json::object();
  for (const ConfigField& field : ConfigFields()) {
    if (!field.default_json.empty()) *At(&document, field.path) = json::parse(field.default_json);
  }
  if (without_file) {
    *At(&document, "authentication.anonymous.enabled") = true;
    *At(&document, "authentication.webhook.enabled") = false;
    *At(&document, "authorization.mode") = "AlwaysAllow";
    *At(&document, "readOnlyPort") = 10255;
  }
  return document;
}

StatusOr<nlohmann::json> ParseConfigFile(std::string_view text, const std::string& origin) {
  api::FieldProblems problems;
  ASSIGN_OR_RETURN(std::string as_json, api::YamlToJson(text, &problems), origin);
  for (const std::string& problem : problems) {
    LOG_WARNING("Using lenient decoding as strict decoding failed", {"file", origin}, {"err", problem});
  }
  ASSIGN_OR_RETURN(json document, api::ParseJson(as_json), origin);
  if (!document.is_object()) return InvalidArgument(origin, ": must be a KubeletConfiguration object");
  std::string kind = document.value("kind", ""), version = document.value("apiVersion", "");
  if (kind.empty()) return InvalidArgument(origin, ": Object 'Kind' is missing");
  if (version.empty()) return InvalidArgument(origin, ": Object 'apiVersion' is missing");
  if (kind != "KubeletConfiguration" || version != "kubelet.config.k8s.io/v1beta1") {
    return InvalidArgument(origin, ": no kind \"", kind, "\" is registered for version \"", version,
                           "\": must be KubeletConfiguration of kubelet.config.k8s.io/v1beta1");
  }
  json result = DefaultConfig(false);
  RETURN_IF_ERROR(MergeInto(document, "", origin, &result));
  // The report frequency follows the update frequency when only that is set.
  if (document.contains("nodeStatusUpdateFrequency") && !document.contains("nodeStatusReportFrequency")) {
    result["nodeStatusReportFrequency"] = result["nodeStatusUpdateFrequency"];
  }
  return result;
}

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
  read("oomScoreAdj", &c->oom_score_adj);
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
  read("containerLogMonitorInterval", &c->container_log_monitor_interval);
  int64_t verbosity = c->verbosity;
  read("logging.verbosity", &verbosity);
  c->verbosity = static_cast<int>(verbosity);
  if (const json* taints = Find(document, "registerWithTaints")) c->register_with_taints_json = taints->dump();

  std::vector<std::string> problems;
  if (const json* headers = Find(document, "staticPodURLHeader"); headers != nullptr && !headers->is_null()) {
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
  auto port_ok = [&](std::string_view what, int64_t port, int64_t least) {
    if (port < least || port > 65535) {
      problems.push_back(absl::StrCat("invalid configuration: ", what, " ", port, " must be between ", least,
                                      " and 65535, inclusive"));
    }
  };
  port_ok("port (--port)", c->port, 1);
  port_ok("healthzPort (--healthz-port)", c->healthz_port, 0);
  port_ok("readOnlyPort (--read-only-port)", c->read_only_port, 0);
  if (c->max_pods < 0) {
    problems.push_back(
        absl::StrCat("invalid configuration: maxPods (--max-pods) ", c->max_pods, " must not be a negative number"));
  }
  if (c->oom_score_adj < -1000 || c->oom_score_adj > 1000) {
    problems.push_back(absl::StrCat("invalid configuration: oomScoreAdj (--oom-score-adj) ", c->oom_score_adj,
                                    " must be between -1000 and 1000, inclusive"));
  }
  if (c->cgroup_driver != "cgroupfs" && c->cgroup_driver != "systemd") {
    problems.push_back(absl::StrCat("invalid configuration: cgroupDriver (--cgroup-driver) \"", c->cgroup_driver,
                                    "\" must be cgroupfs or systemd"));
  }
  if (c->authorization_mode != "Webhook" && c->authorization_mode != "AlwaysAllow") {
    problems.push_back(absl::StrCat("invalid configuration: authorization.mode (--authorization-mode) \"",
                                    c->authorization_mode, "\" must be AlwaysAllow or Webhook"));
  }
  if (c->logging_format != "text" && c->logging_format != "json") {
    problems.push_back(
        absl::StrCat("logging.format: Invalid value: \"", c->logging_format, "\": Unsupported log format"));
  }
  if (Find(document, "maxParallelImagePulls") != nullptr && c->max_parallel_image_pulls < 1) {
    problems.push_back(absl::StrCat("invalid configuration: maxParallelImagePulls ", c->max_parallel_image_pulls,
                                    " must be a positive number"));
  }
  if (c->serialize_image_pulls && c->max_parallel_image_pulls > 1) {
    problems.emplace_back(
        "invalid configuration: maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls "
        "(--serialize-image-pulls) is set to false");
  }
  if (auto policy = ParsePullVerification(c->image_pull_verification); !policy.ok()) {
    problems.push_back(absl::StrCat("invalid configuration: option \"", c->image_pull_verification,
                                    "\" specified for imagePullCredentialsVerificationPolicy. Valid options are "
                                    "\"NeverVerify\", \"NeverVerifyPreloadedImages\", "
                                    "\"NeverVerifyAllowlistedImages\" or \"AlwaysVerify\""));
  } else if (*policy != PullVerification::kNeverVerifyAllowlistedImages && !c->preloaded_images_allowlist.empty()) {
    problems.emplace_back(
        "invalid configuration: can't set `preloadedImagesVerificationAllowlist` if "
        "`imagePullCredentialsVertificationPolicy` is not \"NeverVerifyAllowlistedImages\"");
  } else {
    for (const std::string& pattern : c->preloaded_images_allowlist) {
      if (Status s = CheckAllowlistPattern(pattern); !s.ok()) {
        problems.push_back(absl::StrCat(
            "invalid configuration: invalid image pattern in `preloadedImagesVerificationAllowlist`: ", s.message()));
      }
    }
  }
  for (const auto& [name, value] : c->feature_gates) {
    if (Status s = CheckFeatureGate(name, value); !s.ok()) problems.emplace_back(s.message());
    if (value && IsAlphaGate(name)) {
      LOG_WARNING("Alpha feature gates are accepted but never on", {"gate", name});
    }
  }
  for (const std::string& key : c->enforce_node_allocatable) {
    if (key != "pods" && key != "none" && key != "system-reserved" && key != "kube-reserved" &&
        key != "system-reserved-compressible" && key != "kube-reserved-compressible") {
      problems.push_back(absl::StrCat("invalid configuration: option \"", key,
                                      "\" specified for enforceNodeAllocatable (--enforce-node-allocatable). Valid "
                                      "options are \"pods\", \"system-reserved\", \"system-reserved-compressible\", "
                                      "\"kube-reserved\", \"kube-reserved-compressible\" or \"none\""));
    }
  }
  CheckResourceSettings(*c, &problems);
  if (!problems.empty()) return InvalidArgument(absl::StrJoin(problems, ", "));
  if (!c->reserved_system_cpus.empty()) {
    // Whole CPUs take the place of what was said of them otherwise.
    LOG_INFO(
        "Option --reserved-cpus is specified, it will overwrite the cpu setting in KubeReserved and SystemReserved",
        {"reservedSystemCPUs", c->reserved_system_cpus});
    ASSIGN_OR_RETURN(const int count, CountCpus(c->reserved_system_cpus));
    c->kube_reserved.erase("cpu");
    c->system_reserved["cpu"] = absl::StrCat(count);
  }
  bool merge_eviction = false;
  read("mergeDefaultEvictionSettings", &merge_eviction);
  if (merge_eviction) {
    const json defaults = DefaultConfig(false);
    std::map<std::string, std::string> all;
    Reader{defaults}("evictionHard", &all);
    c->eviction_hard.insert(all.begin(), all.end());
  }
  c->json = Shown(document).dump();
  return absl::OkStatus();
}

StatusOr<Config> LoadConfig(int argc, const char* const* argv) {
  Config c;
  FlagSet flags("kubelet", "The kubelet is the agent that runs on each node and keeps its pods running.");
  flags.String("config", &c.config_file,
               "The Kubelet will load its initial configuration from this file. Command-line flags override it.");
  flags.String("kubeconfig", &c.kubeconfig,
               "Path to a kubeconfig file, specifying how to connect to the API server. Omitting it enables standalone "
               "mode.");
  flags.String("bootstrap-kubeconfig", &c.bootstrap_kubeconfig,
               "Path to a kubeconfig file that will be used to get client certificate for kubelet.");
  flags.String("hostname-override", &c.hostname_override, "Use this as the node's name instead of the hostname.");
  flags.String("node-ip", &c.node_ip, "IP address (or comma-separated dual-stack IP addresses) of the node.");
  flags.String("cert-dir", &c.cert_dir, "The directory where the TLS certs are located.");
  flags.String("root-dir", &c.root_dir, "Directory path for managing kubelet files (volume mounts, etc).");
  flags.String("cloud-provider", &c.cloud_provider, "The provider for cloud services: empty or 'external'.");
  flags.String("lock-file", &c.lock_file, "The path to file for kubelet to use as a lock file.");
  flags.Bool("exit-on-lock-contention", &c.exit_on_lock_contention, "Exit when another process wants the lock file.");
  flags.Map("node-labels", &c.node_labels, "Labels to add when registering the node in the cluster.");
  flags.String("boot-id-file", &c.boot_id_file, "Comma-separated list of files to check for boot-id.");
  flags.String("machine-id-file", &c.machine_id_files, "Comma-separated list of files to check for machine-id.");
  flags.Duration("minimum-container-ttl-duration", &c.minimum_container_ttl,
                 "Minimum age for a finished container before it is garbage collected.");
  auto int_flag = [&](std::string_view name, int* value, std::string_view text) {
    flags.Custom(name, "int32", absl::StrCat(*value), text, [value](std::string_view v) -> Status {
      if (!absl::SimpleAtoi(v, value)) return InvalidArgument("strconv.ParseInt: parsing \"", v, "\": invalid syntax");
      return absl::OkStatus();
    });
  };
  int_flag("maximum-dead-containers", &c.maximum_dead_containers,
           "Maximum number of old instances of containers to retain globally.");
  int_flag("maximum-dead-containers-per-container", &c.maximum_dead_containers_per_container,
           "Maximum number of old instances to retain per container.");
  bool version = false;
  flags.Bool("version", &version, "Print version information and quit.");
  std::string ignored;
  bool ignored_bool = false;
  Nanos ignored_duration{0};
  flags.String("image-credential-provider-config", &c.image_credential_provider_config,
               "Path to the credential provider plugin config file or directory.");
  flags.String("image-credential-provider-bin-dir", &c.image_credential_provider_bin_dir,
               "The path to the directory where credential provider plugin binaries are located.");
  for (const char* name : {"config-dir", "runtime-cgroups", "vmodule"}) {
    flags.String(name, &ignored, "Accepted for compatibility; has no effect.");
  }
  for (const char* name : {"housekeeping-interval", "max-housekeeping-interval"}) {
    flags.Duration(name, &ignored_duration, "Accepted for compatibility; has no effect.");
  }
  for (const char* name :
       {"application-metrics-count-limit", "container-hints", "containerd", "containerd-namespace",
        "event-storage-age-limit", "event-storage-event-limit", "experimental-mounter-path", "storage-driver-db",
        "storage-driver-host", "storage-driver-password", "storage-driver-table", "storage-driver-user"}) {
    flags.String(name, &ignored, "Accepted for compatibility; has no effect.");
    flags.Deprecate(name, "will be removed in a future version");
  }
  for (const char* name : {"enable-load-reader", "log-cadvisor-usage", "storage-driver-secure",
                           "experimental-allocatable-ignore-eviction"}) {
    flags.Bool(name, &ignored_bool, "Accepted for compatibility; has no effect.");
    flags.Deprecate(name, "will be removed in a future version");
  }
  for (const char* name : {"global-housekeeping-interval", "storage-driver-buffer-duration"}) {
    flags.Duration(name, &ignored_duration, "Accepted for compatibility; has no effect.");
    flags.Deprecate(name, "will be removed in a future version");
  }
  // Flags that set a field of the configuration file, in the order given.
  std::vector<std::pair<const ConfigField*, json>> overrides;
  for (const ConfigField& field : ConfigFields()) {
    if (field.flag.empty() || field.flag == "v") continue;
    auto set = [&overrides, &field](std::string_view text) -> Status {
      json value;
      if (field.path == "registerWithTaints") {
        ASSIGN_OR_RETURN(value, ParseTaints(text));
      } else if (field.path == "staticPodURLHeader") {
        ASSIGN_OR_RETURN(value, ParseHeaders(text));
      } else {
        ASSIGN_OR_RETURN(value, FlagValue(field, text));
      }
      overrides.emplace_back(&field, std::move(value));
      return absl::OkStatus();
    };
    std::string help = absl::StrCat("Sets ", field.path, " of the configuration file.");
    if (field.flag_deprecated) {
      absl::StrAppend(&help,
                      " (DEPRECATED: This parameter should be set via the config file specified by the kubelet's ",
                      "--config flag.)");
    }
    flags.Custom(field.flag, FlagTypeName(field.type), std::string(field.default_json), help, set,
                 field.type == Type::kBool ? "true" : "");
  }
  int64_t verbosity = 0;
  flags.Int("v", &verbosity, "number for the log level verbosity", 'v');
  ASSIGN_OR_RETURN(std::vector<std::string> rest, flags.Parse(argc, argv));
  if (argc > 1) c.arguments.assign(argv + 1, argv + argc);
  if (version) return absl::CancelledError(absl::StrCat("Kubernetes ", kKubernetesVersion, "\n"));
  if (!rest.empty()) return InvalidArgument("unknown command ", rest[0]);

  json document = DefaultConfig(c.config_file.empty());
  if (!c.config_file.empty()) {
    ASSIGN_OR_RETURN(std::string text, ReadFile(c.config_file, 4 << 20), "failed to load Kubelet config file ",
                     c.config_file);
    ASSIGN_OR_RETURN(document, ParseConfigFile(text, c.config_file), "failed to load kubelet config file");
  }
  for (auto& [field, value] : overrides) {
    json* at = At(&document, field->path);
    // Gates given by flag join those of the file; every other flag replaces.
    if (field->type == Type::kBoolMap && at->is_object()) {
      at->update(value);
    } else {
      *at = std::move(value);
    }
  }
  if (flags.Changed("v")) *At(&document, "logging.verbosity") = verbosity;
  RETURN_IF_ERROR(ApplyConfig(document, &c), "failed to validate kubelet configuration");
  return c;
}

}  // namespace skiff::kubelet
