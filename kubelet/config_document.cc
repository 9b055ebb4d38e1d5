#include "kubelet/config_document.h"

#include <sys/stat.h>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/log.h"
#include "kubelet/config.h"
#include "kubelet/config_fields.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;
using Type = ConfigField::Type;

constexpr char kEvictionHard[] = "evictionHard";

const ConfigField* FindField(std::string_view path) {
  for (const ConfigField& field : ConfigFields()) {
    if (field.path == path) return &field;
  }
  return nullptr;
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

// `keep_nulls`: for a merge patch, where null takes a field away.
Status MergeInto(const json& from, const std::string& prefix, const std::string& origin, bool keep_nulls, json* into) {
  for (const auto& [key, value] : from.items()) {
    std::string path = prefix.empty() ? key : absl::StrCat(prefix, ".", key);
    const ConfigField* field = FindField(path);
    if (field == nullptr) {
      LOG_WARNING("Using lenient decoding as strict decoding failed", {"file", origin},
                  {"err", absl::StrCat("unknown field \"", path, "\"")});
      continue;
    }
    if (value.is_null()) {
      if (keep_nulls) (*into)[key] = value;
      continue;
    }
    if (std::string problem = TypeProblem(field->type, value); !problem.empty()) {
      return InvalidArgument(origin, ": ", path, ": ", problem, ", but is ", value.dump());
    }
    // Maps of free keys replace the default as a whole; objects are walked.
    if (field->type == Type::kObject) {
      json& child = (*into)[key];
      if (!child.is_object()) child = json::object();
      RETURN_IF_ERROR(MergeInto(value, path, origin, keep_nulls, &child));
    } else {
      (*into)[key] = value;
    }
  }
  return absl::OkStatus();
}

// A file's document, its kind checked.
StatusOr<json> ReadDocument(std::string_view text, const std::string& origin) {
  api::FieldProblems problems;
  ASSIGN_OR_RETURN(std::string as_json, api::YamlToJson(text, &problems), origin);
  for (const std::string& problem : problems) {
    LOG_WARNING("Using lenient decoding as strict decoding failed", {"file", origin}, {"err", problem});
  }
  ASSIGN_OR_RETURN(json document, api::ParseJson(as_json), origin);
  if (!document.is_object()) return InvalidArgument(origin, ": must be a KubeletConfiguration object");
  std::string kind, version;
  for (const auto& [name, text] : {std::pair("kind", &kind), std::pair("apiVersion", &version)}) {
    const auto found = document.find(name);
    if (found == document.end() || found->is_null()) continue;
    if (!found->is_string()) return InvalidArgument(origin, ": ", name, ": must be a string, but is ", found->dump());
    *text = found->get<std::string>();
  }
  if (kind.empty()) return InvalidArgument(origin, ": Object 'Kind' is missing");
  if (version.empty()) return InvalidArgument(origin, ": Object 'apiVersion' is missing");
  if (kind != "KubeletConfiguration" || version != "kubelet.config.k8s.io/v1beta1") {
    return InvalidArgument(origin, ": no kind \"", kind, "\" is registered for version \"", version,
                           "\": must be KubeletConfiguration of kubelet.config.k8s.io/v1beta1");
  }
  return document;
}

bool IsZero(const ConfigField& field, const json& value) {
  if (field.type == Type::kDuration && value.is_string()) {
    return ParseDuration(value.get_ref<const std::string&>()).value_or(Nanos(1)).count() == 0;
  }
  return value == json(0) || value == json("");
}

// The defaults of what nobody has set, as upstream sets them after a file and again after the drop-in files.
void SetDefaults(json* document) {
  auto unset = [&](const ConfigField& field) {
    const json* value = FindConfigValue(*document, field.path);
    return value == nullptr || (field.zero_is_unset && IsZero(field, *value));
  };
  // Whoever sets how often the status is computed alone means how often it is sent, too.
  if (const ConfigField& update = *FindField("nodeStatusUpdateFrequency");
      !unset(update) && unset(*FindField("nodeStatusReportFrequency"))) {
    (*document)["nodeStatusReportFrequency"] = *FindConfigValue(*document, update.path);
  }
  if (FindConfigValue(*document, "serializeImagePulls") == nullptr) {
    const json* parallel = FindConfigValue(*document, "maxParallelImagePulls");
    (*document)["serializeImagePulls"] = parallel == nullptr || parallel->get<int64_t>() < 2;
  }
  if (const json* pids = FindConfigValue(*document, "podPidsLimit"); pids != nullptr && pids->get<int64_t>() < 0) {
    (*document)["podPidsLimit"] = -1;
  }
  for (const ConfigField& field : ConfigFields()) {
    if (!field.default_json.empty() && unset(field) && field.path != kEvictionHard) {
      *ConfigValueAt(document, field.path) = json::parse(field.default_json);
    }
  }
}

// Thresholds are a file's: without one, and where a drop-in file takes them away, upstream has none.
void SetDefaultThresholds(json* document) {
  const json defaults = json::parse(FindField(kEvictionHard)->default_json);
  json& thresholds = (*document)[kEvictionHard];
  const json* merge = FindConfigValue(*document, "mergeDefaultEvictionSettings");
  if (thresholds.is_null()) {
    thresholds = defaults;
  } else if (merge != nullptr && *merge == json(true)) {
    thresholds.insert(defaults.begin(), defaults.end());  // what is there stays
  }
}

// A drop-in file as a merge patch of known fields of the right types.
StatusOr<json> ReadDropIn(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 4 << 20));
  if (text.empty()) return InvalidArgument("kubelet config file \"", path, "\" was empty");
  ASSIGN_OR_RETURN(const json file, ReadDocument(text, path));
  json patch = json::object();
  RETURN_IF_ERROR(MergeInto(file, "", path, true, &patch));
  return patch;
}

Status MergeDirectory(const std::string& directory, json* document) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDir(directory));
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(directory, "/", name);
    struct stat status;
    if (::lstat(path.c_str(), &status) != 0) return ErrnoStatus(errno, absl::StrCat("lstat ", path));
    if (S_ISDIR(status.st_mode)) {
      RETURN_IF_ERROR(MergeDirectory(path, document));
      continue;
    }
    if (!absl::EndsWith(name, ".conf")) {
      LOG_INFO("Skipped a file of the drop-in directory that does not end in .conf", {"path", path});
      continue;
    }
    auto patch = ReadDropIn(path);
    if (!patch.ok()) {
      return Status(patch.status().code(), absl::StrCat("failed to load kubelet dropin file, path: ", path,
                                                        ", error: failed to load drop-in kubelet config file ", path,
                                                        ", error ", patch.status().message()));
    }
    document->merge_patch(*patch);
  }
  return absl::OkStatus();
}

}  // namespace

json* ConfigValueAt(json* document, std::string_view path) {
  json* at = document;
  for (std::string_view part : absl::StrSplit(path, '.')) {
    if (!at->is_object()) *at = json::object();
    at = &(*at)[std::string(part)];
  }
  return at;
}

const json* FindConfigValue(const json& document, std::string_view path) {
  const json* at = &document;
  for (std::string_view part : absl::StrSplit(path, '.')) {
    if (!at->is_object()) return nullptr;
    auto it = at->find(std::string(part));
    if (it == at->end()) return nullptr;
    at = &*it;
  }
  return at->is_null() ? nullptr : at;
}

nlohmann::json DefaultConfig(bool without_file) {
  json document = json::object();
  SetDefaults(&document);
  if (!without_file) {
    SetDefaultThresholds(&document);
  } else {
    *ConfigValueAt(&document, "authentication.anonymous.enabled") = true;
    *ConfigValueAt(&document, "authentication.webhook.enabled") = false;
    *ConfigValueAt(&document, "authorization.mode") = "AlwaysAllow";
    *ConfigValueAt(&document, "readOnlyPort") = 10255;
  }
  return document;
}

StatusOr<nlohmann::json> ParseConfigFile(std::string_view text, const std::string& origin) {
  ASSIGN_OR_RETURN(const json document, ReadDocument(text, origin));
  json result = json::object();
  RETURN_IF_ERROR(MergeInto(document, "", origin, false, &result));
  SetDefaults(&result);
  SetDefaultThresholds(&result);
  return result;
}

Status MergeConfigDirectory(const std::string& directory, nlohmann::json* document) {
  RETURN_IF_ERROR(MergeDirectory(directory, document));
  SetDefaults(document);
  return absl::OkStatus();
}

}  // namespace skiff::kubelet
