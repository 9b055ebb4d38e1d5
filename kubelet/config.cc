#include "kubelet/config.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/files.h"
#include "base/go_text.h"
#include "base/program.h"
#include "kubelet/config_checks.h"
#include "kubelet/config_document.h"
#include "kubelet/config_fields.h"
#include "kubelet/config_value_checks.h"
#include "kubelet/feature_gates.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;
using Type = ConfigField::Type;

constexpr auto kTrim = [](std::string_view text) { return std::string(absl::StripAsciiWhitespace(text)); };

// The bits of a whole number's type upstream.
int BitsOf(const ConfigField& field) { return field.path == "podPidsLimit" || field.path == "maxOpenFiles" ? 64 : 32; }

// A flag's text as the field's JSON value. `value` holds what the same flag said before: maps and some lists grow.
Status SetFlagValue(const ConfigField& field, std::string_view text, json* value) {
  switch (field.type) {
    case Type::kBool: {
      ASSIGN_OR_RETURN(*value, GoParseBool(text));
      return absl::OkStatus();
    }
    case Type::kInt: {
      ASSIGN_OR_RETURN(*value, GoParseInt(text, BitsOf(field)));
      return absl::OkStatus();
    }
    case Type::kDouble: {
      ASSIGN_OR_RETURN(*value, GoParseFloat(text));
      return absl::OkStatus();
    }
    case Type::kDuration: {
      ASSIGN_OR_RETURN(Nanos d, ParseDuration(text));
      *value = FormatDuration(d);
      return absl::OkStatus();
    }
    case Type::kMap: {
      if (value->is_null()) *value = json::object();
      const bool threshold = field.path == "evictionHard" || field.path == "evictionSoft";
      std::vector<std::string_view> pairs = {text};
      if (field.path != "cpuManagerPolicyOptions") pairs = absl::StrSplit(text, ',', absl::SkipEmpty());
      for (std::string_view pair : pairs) {
        const size_t at = pair.find(threshold ? '<' : '=');
        if (at == std::string_view::npos) {
          return InvalidArgument("malformed pair, expect string", threshold ? "<" : "=", "string");
        }
        (*value)[kTrim(pair.substr(0, at))] = kTrim(pair.substr(at + 1));
      }
      return absl::OkStatus();
    }
    case Type::kBoolMap: {
      if (value->is_null()) *value = json::object();
      for (std::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
        const size_t at = pair.find('=');
        if (at == std::string_view::npos) return InvalidArgument("malformed pair, expect string=bool");
        const std::string key = kTrim(pair.substr(0, at)), on = kTrim(pair.substr(at + 1));
        auto parsed = GoParseBool(on);
        if (!parsed.ok()) {
          return InvalidArgument("invalid value of ", key, ": ", on, ", err: ", parsed.status().message());
        }
        (*value)[key] = *parsed;
      }
      return absl::OkStatus();
    }
    default: break;
  }
  if (field.path == "address" || field.path == "healthzBindAddress") {
    if (text.empty()) return absl::OkStatus();
    if (!api::IsValidIp(text).empty()) return InvalidArgument(GoQuote(text), " is not a valid IP address");
  }
  *value = std::string(text);
  return absl::OkStatus();
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

StatusOr<json> ParseTaint(std::string_view text) {
  const std::vector<std::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() > 2) return InvalidArgument("invalid taint spec: ", text);
  std::string_view key = parts[0], value, effect;
  if (parts.size() == 2) {
    effect = parts[1];
    if (!IsTaintEffect(effect)) return InvalidArgument("invalid taint effect: ", effect, ", unsupported taint effect");
    const std::vector<std::string_view> pair = absl::StrSplit(parts[0], '=');
    if (pair.size() > 2) return InvalidArgument("invalid taint spec: ", text);
    key = pair[0];
    if (pair.size() == 2) value = pair[1];
    if (auto bad = api::IsValidLabelValue(value); !bad.empty()) {
      return InvalidArgument("invalid taint spec: ", text, ", ", absl::StrJoin(bad, "; "));
    }
  }
  if (auto bad = api::IsQualifiedName(key); !bad.empty()) {
    return InvalidArgument("invalid taint spec: ", text, ", ", absl::StrJoin(bad, "; "));
  }
  json taint = {{"key", std::string(key)}, {"effect", std::string(effect)}};
  if (!value.empty()) taint["value"] = std::string(value);
  return taint;
}

// "key=value:effect" entries as a JSON list of taints. One that ends in - would take a taint away: it adds none.
StatusOr<json> ParseTaints(std::string_view text) {
  json list = json::array();
  if (text.empty()) return list;
  std::set<std::pair<std::string, std::string>> seen;
  for (std::string_view part : absl::StrSplit(text, ',')) {
    const bool removes = part.ends_with('-');
    if (removes) part.remove_suffix(1);
    ASSIGN_OR_RETURN(json taint, ParseTaint(part));
    if (removes) continue;
    if (taint["effect"] == "") return InvalidArgument("invalid taint spec: ", part);
    if (!seen.emplace(taint["key"].get<std::string>(), taint["effect"].get<std::string>()).second) {
      return InvalidArgument("duplicated taints with the same key and effect: ", TaintText(taint));
    }
    list.push_back(std::move(taint));
  }
  return list;
}

// "name:value" pairs as a JSON object of lists.
Status AddHeaders(std::string_view text, json* headers) {
  if (headers->is_null()) *headers = json::object();
  for (std::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const size_t colon = part.find(':');
    if (colon == std::string_view::npos) return InvalidArgument("malformed pair, expect string:string");
    (*headers)[kTrim(part.substr(0, colon))].push_back(kTrim(part.substr(colon + 1)));
  }
  return absl::OkStatus();
}

// "node:type=quantity,type=quantity" entries, between them semicolons.
Status AddReservedMemory(std::string_view text, json* list) {
  if (list->is_null()) *list = json::array();
  if (text.empty()) return absl::OkStatus();
  for (std::string_view entry : absl::StrSplit(text, ';')) {
    const std::vector<std::string_view> parts = absl::StrSplit(entry, ':');
    if (parts.size() != 2) {
      return InvalidArgument(
          "the reserved memory has incorrect format, expected numaNodeID:type=quantity[,type=quantity...], got ",
          entry);
    }
    int32_t node = 0;
    if (!absl::SimpleAtoi(parts[0], &node)) {
      return InvalidArgument("failed to convert the NUMA node ID, expected integer, got ", parts[0]);
    }
    json limits = json::object();
    for (std::string_view one : absl::StrSplit(parts[1], ',')) {
      const std::vector<std::string_view> pair = absl::StrSplit(one, '=');
      if (pair.size() != 2) {
        return InvalidArgument("the reserved limit has incorrect value, expected type=quantity, got ", one);
      }
      if (!IsReservableMemory(pair[0])) {
        return InvalidArgument("memory type conversion error, unknown type: ", GoQuote(pair[0]));
      }
      if (!api::Quantity::Parse(pair[1]).ok()) return InvalidArgument("failed to parse the quantity: ", pair[1]);
      limits[std::string(pair[0])] = std::string(pair[1]);
    }
    list->push_back({{"numaNode", node}, {"limits", std::move(limits)}});
  }
  return absl::OkStatus();
}

StatusOr<json> LoadConfigFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 4 << 20));
  return ParseConfigFile(text, path);
}

}  // namespace

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
  flags.Custom("node-labels", "mapStringString", "", "Labels to add when registering the node in the cluster.",
               [&c](std::string_view text) {
                 for (std::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
                   const size_t at = std::min(pair.find('='), pair.size());
                   c.node_labels[kTrim(pair.substr(0, at))] = kTrim(pair.substr(std::min(at + 1, pair.size())));
                 }
                 return absl::OkStatus();
               });
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
  std::string config_dir;
  flags.String("config-dir", &config_dir,
               "A directory of drop-in files (*.conf) that override the configuration file, in lexical order.");
  flags.String("runtime-cgroups", &c.runtime_cgroups, "The cgroup that the container runtime runs in.");
  flags.String("vmodule", &ignored, "Accepted for compatibility; has no effect.");
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
  // What flags say of the configuration file's fields.
  std::map<const ConfigField*, json> overrides;
  std::map<const ConfigField*, std::vector<std::string>> lists;
  for (const ConfigField& field : ConfigFields()) {
    if (field.flag.empty() || field.flag == "v") continue;
    auto set = [&overrides, &field](std::string_view text) -> Status {
      json& value = overrides[&field];
      if (field.path == "staticPodURLHeader") return AddHeaders(text, &value);
      if (field.path == "reservedMemory") return AddReservedMemory(text, &value);
      if (field.path != "registerWithTaints") return SetFlagValue(field, text, &value);
      ASSIGN_OR_RETURN(value, ParseTaints(text));
      return absl::OkStatus();
    };
    std::string help = absl::StrCat("Sets ", field.path, " of the configuration file.");
    if (field.flag_deprecated) {
      absl::StrAppend(&help,
                      " (DEPRECATED: This parameter should be set via the config file specified by the kubelet's ",
                      "--config flag.)");
    }
    if (field.type == Type::kStrings) {
      flags.Strings(field.flag, &lists[&field], help);
      continue;
    }
    flags.Custom(field.flag, FlagTypeName(field.type), std::string(field.default_json), help, set,
                 field.type == Type::kBool ? "true" : "");
  }
  int64_t verbosity = 0;
  flags.Int("v", &verbosity, "number for the log level verbosity", 'v');
  auto rest = flags.Parse(argc, argv);
  if (absl::IsCancelled(rest.status())) return rest.status();
  RETURN_IF_ERROR(rest.status(), "failed to parse kubelet flag");
  if (argc > 1) c.arguments.assign(argv + 1, argv + argc);
  if (version) return absl::CancelledError(absl::StrCat("Kubernetes ", kKubernetesVersion, "\n"));
  if (!rest->empty()) return InvalidArgument("unknown command ", rest->front());
  for (auto& [field, list] : lists) {
    if (flags.Changed(field->flag)) overrides[field] = std::move(list);
  }
  std::erase_if(overrides, [](const auto& entry) { return entry.second.is_null(); });
  for (const auto& [field, value] : overrides) {
    if (field->type == Type::kBoolMap) {
      RETURN_IF_ERROR(CheckFeatureGates(value.get<std::map<std::string, bool>>()),
                      "failed to set feature gates from initial flags-based config");
    }
  }
  RETURN_IF_ERROR(CheckNodeLabels(c.node_labels), "failed to validate kubelet flags");

  json document = DefaultConfig(c.config_file.empty());
  if (!c.config_file.empty()) {
    auto file = LoadConfigFile(c.config_file);
    if (!file.ok()) {
      return Status(file.status().code(), absl::StrCat("failed to load kubelet config file, path: ", c.config_file,
                                                       ", error: failed to load Kubelet config file ", c.config_file,
                                                       ", error ", file.status().message()));
    }
    document = *std::move(file);
  }
  if (!config_dir.empty()) {
    RETURN_IF_ERROR(MergeConfigDirectory(config_dir, &document),
                    "failed to merge kubelet configs: failed to walk through ", "kubelet dropin directory \"",
                    config_dir, "\"");
  }
  for (auto& [field, value] : overrides) {
    json* at = ConfigValueAt(&document, field->path);
    // Gates given by flag join those of the file; every other flag replaces.
    if (field->type == Type::kBoolMap && at->is_object()) {
      at->update(value);
    } else {
      *at = std::move(value);
    }
  }
  if (flags.Changed("v")) *ConfigValueAt(&document, "logging.verbosity") = verbosity;
  RETURN_IF_ERROR(ApplyConfig(document, &c));
  return c;
}

}  // namespace skiff::kubelet
