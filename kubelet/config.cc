#include "kubelet/config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/program.h"
#include "kubelet/config_document.h"
#include "kubelet/config_fields.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;
using Type = ConfigField::Type;

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
  std::string config_dir;
  flags.String("config-dir", &config_dir,
               "A directory of drop-in files (*.conf) that override the configuration file, in lexical order.");
  for (const char* name : {"runtime-cgroups", "vmodule"}) {
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
  RETURN_IF_ERROR(ApplyConfig(document, &c), "failed to validate kubelet configuration");
  return c;
}

}  // namespace skiff::kubelet
