#include "cni/plugin/request.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "cni/plugin/error.h"

namespace skiff::cni {
namespace {

using nlohmann::json;

constexpr size_t kMaxInput = 1 << 20;

StatusOr<Verb> ParseVerb(std::string_view text) {
  if (text == "ADD") return Verb::kAdd;
  if (text == "DEL") return Verb::kDel;
  if (text == "CHECK") return Verb::kCheck;
  if (text == "VERSION") return Verb::kVersion;
  if (text == "GC") return Verb::kGc;
  if (text == "STATUS") return Verb::kStatus;
  return CniError(ErrorCode::kInvalidEnvironment, absl::StrCat("unknown CNI_COMMAND: \"", text, "\""));
}

// The specification's rule for container ids and network names: they become file names.
bool IsName(std::string_view text) {
  if (text.empty() || !isalnum(static_cast<unsigned char>(text[0]))) return false;
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return isalnum(c) || c == '_' || c == '.' || c == '-'; });
}

Status CheckInterface(std::string_view name) {
  const bool ok =
      !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
      std::none_of(name.begin(), name.end(), [](unsigned char c) { return c == '/' || c == ':' || isspace(c); });
  if (ok) return absl::OkStatus();
  return CniError(ErrorCode::kInvalidEnvironment, absl::StrCat("invalid CNI_IFNAME: \"", name, "\""));
}

Status Invalid(std::string_view field, std::string_view why) {
  return CniError(ErrorCode::kInvalidConfig, absl::StrCat("invalid network configuration: \"", field, "\" ", why));
}

// A string field; absent is `missing`.
StatusOr<std::string> String(const json& object, const char* field, std::string_view missing) {
  const auto it = object.find(field);
  if (it == object.end()) return std::string(missing);
  if (!it->is_string()) return Invalid(field, "must be a string");
  return it->get_ref<const std::string&>();
}

Status ParseRanges(const json& root, Config* config) {
  const auto it = root.find("ranges");
  if (it == root.end() || !it->is_array() || it->empty()) return Invalid("ranges", "must list at least one subnet");
  for (const json& item : *it) {
    if (!item.is_string()) return Invalid("ranges", "must hold strings");
    const auto prefix = Prefix::Parse(item.get_ref<const std::string&>());
    if (!prefix.ok()) return Invalid("ranges", prefix.status().message());
    if (prefix->ip.bits() - prefix->length < 2)
      return Invalid("ranges", prefix->ToString() + " is too small to allocate from");
    for (const Prefix& other : config->ranges)
      if (other.ip.v6 == prefix->ip.v6) return Invalid("ranges", "must hold at most one subnet of each family");
    config->ranges.push_back(*prefix);
  }
  return absl::OkStatus();
}

Status ParseConfig(const json& root, Verb verb, PluginType type, Config* config) {
  ASSIGN_OR_RETURN(config->cni_version, String(root, "cniVersion", "0.2.0"));
  if (std::find(std::begin(kVersions), std::end(kVersions), config->cni_version) == std::end(kVersions))
    return CniError(ErrorCode::kIncompatibleVersion,
                    absl::StrCat("incompatible CNI versions: config is \"", config->cni_version,
                                 "\", plugin supports [\"", absl::StrJoin(kVersions, "\" \""), "\"]"));
  if (verb == Verb::kVersion) return absl::OkStatus();
  ASSIGN_OR_RETURN(config->name, String(root, "name", ""));
  if (!IsName(config->name))
    return Invalid("name", absl::StrCat("is not a valid network name: \"", config->name, "\""));
  if (type == PluginType::kLoopback) return absl::OkStatus();
  ASSIGN_OR_RETURN(config->state_dir, String(root, "stateDir", config->state_dir));
  if (config->state_dir.empty() || config->state_dir[0] != '/') return Invalid("stateDir", "must be an absolute path");
  if (const auto mtu = root.find("mtu"); mtu != root.end()) {
    if (!mtu->is_number_integer() || mtu->get<int64_t>() < 576 || mtu->get<int64_t>() > 65535)
      return Invalid("mtu", "must be a number from 576 to 65535");
    config->mtu = mtu->get<uint32_t>();
  }
  return ParseRanges(root, config);
}

StatusOr<std::vector<Prefix>> ParsePrevious(const json& result) {
  std::vector<Prefix> addresses;
  const auto ips = result.find("ips");
  if (ips == result.end()) return addresses;
  if (!ips->is_array()) return Invalid("prevResult.ips", "must be a list");
  for (const json& ip : *ips) {
    if (!ip.is_object()) return Invalid("prevResult.ips", "must hold objects");
    ASSIGN_OR_RETURN(const std::string address, String(ip, "address", ""));
    const auto prefix = Prefix::Parse(address);
    if (!prefix.ok()) return Invalid("prevResult.ips", prefix.status().message());
    addresses.push_back(*prefix);
  }
  return addresses;
}

// With field names as the conventions have them: containerd writes Go's ("HostPort"), whose readers take any case.
json InConventionsCase(const json& object) {
  json out = json::object();
  for (const char* name : {"hostPort", "containerPort", "protocol", "hostIP"})
    for (const auto& [key, value] : object.items())
      if (absl::EqualsIgnoreCase(key, name) && (key == name || !out.contains(name))) out[name] = value;
  return out;
}

StatusOr<uint16_t> Port(const json& object, const std::string& at, const char* field) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_number_integer() || it->get<int64_t>() < 1 || it->get<int64_t>() > 65535)
    return Invalid(absl::StrCat(at, ".", field), "must be a number from 1 to 65535");
  return it->get<uint16_t>();
}

Status ParsePorts(const json& root, std::vector<PortMapping>* out) {
  const auto runtime = root.find("runtimeConfig");
  if (runtime == root.end() || runtime->is_null()) return absl::OkStatus();
  if (!runtime->is_object()) return Invalid("runtimeConfig", "must be an object");
  const auto list = runtime->find("portMappings");
  if (list == runtime->end() || list->is_null()) return absl::OkStatus();
  if (!list->is_array()) return Invalid("runtimeConfig.portMappings", "must be a list");
  for (const json& given : *list) {
    const std::string at = absl::StrCat("runtimeConfig.portMappings[", out->size(), "]");
    if (!given.is_object()) return Invalid(at, "must be an object");
    const json item = InConventionsCase(given);
    PortMapping mapping;
    ASSIGN_OR_RETURN(mapping.host_port, Port(item, at, "hostPort"));
    ASSIGN_OR_RETURN(mapping.container_port, Port(item, at, "containerPort"));
    ASSIGN_OR_RETURN(const std::string protocol, String(item, "protocol", "tcp"));
    if ((mapping.protocol = ProtocolNumber(protocol)) == 0)
      return Invalid(at + ".protocol", absl::StrCat("must be tcp, udp or sctp, not \"", protocol, "\""));
    ASSIGN_OR_RETURN(const std::string host_ip, String(item, "hostIP", ""));
    if (!host_ip.empty()) {
      const auto ip = Ip::Parse(host_ip);
      if (!ip.ok()) return Invalid(at + ".hostIP", ip.status().message());
      mapping.host_ip = *ip;
    }
    out->push_back(mapping);
  }
  return absl::OkStatus();
}

Status ParseValidAttachments(const json& root, std::vector<Attachment>* out) {
  const auto list = root.find("cni.dev/valid-attachments");
  // Without the key nothing would be valid, and everything garbage. Null is how Go writes an empty list.
  if (list == root.end()) return Invalid("cni.dev/valid-attachments", "is missing");
  if (list->is_null()) return absl::OkStatus();
  if (!list->is_array()) return Invalid("cni.dev/valid-attachments", "must be a list");
  for (const json& item : *list) {
    if (!item.is_object()) return Invalid("cni.dev/valid-attachments", "must hold objects");
    ASSIGN_OR_RETURN(std::string id, String(item, "containerID", ""));
    ASSIGN_OR_RETURN(std::string interface, String(item, "ifname", ""));
    out->push_back({std::move(id), std::move(interface)});
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<Request> ParseRequest(const std::function<const char*(const char*)>& getenv, std::string_view input,
                               PluginType type) {
  auto env = [&](const char* name) -> std::string {
    const char* value = getenv(name);
    return value ? value : "";
  };
  Request request;
  const std::string command = env("CNI_COMMAND");
  if (command.empty()) return CniError(ErrorCode::kInvalidEnvironment, "required env variables [CNI_COMMAND] missing");
  ASSIGN_OR_RETURN(request.verb, ParseVerb(command));

  const bool attached = request.verb == Verb::kAdd || request.verb == Verb::kDel || request.verb == Verb::kCheck;
  if (attached) {
    request.attachment = {env("CNI_CONTAINERID"), env("CNI_IFNAME")};
    request.netns = env("CNI_NETNS");
    std::vector<std::string> missing;
    if (request.attachment.container_id.empty()) missing.push_back("CNI_CONTAINERID");
    if (request.netns.empty() && request.verb != Verb::kDel) missing.push_back("CNI_NETNS");
    if (request.attachment.interface.empty()) missing.push_back("CNI_IFNAME");
    if (!missing.empty())
      return CniError(ErrorCode::kInvalidEnvironment,
                      absl::StrCat("required env variables [", absl::StrJoin(missing, ","), "] missing"));
    if (!IsName(request.attachment.container_id) || request.attachment.container_id.size() > 200)
      return CniError(ErrorCode::kInvalidEnvironment,
                      absl::StrCat("invalid CNI_CONTAINERID: \"", request.attachment.container_id, "\""));
    RETURN_IF_ERROR(CheckInterface(request.attachment.interface));
  }
  if (input.size() > kMaxInput)
    return CniError(ErrorCode::kDecodeFailure, "network configuration is larger than 1 MiB");
  if (request.verb == Verb::kVersion && input.empty()) return request;

  const json root = json::parse(input, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return CniError(ErrorCode::kDecodeFailure, "network configuration is not valid JSON");
  if (!root.is_object()) return CniError(ErrorCode::kDecodeFailure, "network configuration is not a JSON object");
  RETURN_IF_ERROR(ParseConfig(root, request.verb, type, &request.config));
  if (const auto previous = root.find("prevResult"); previous != root.end() && previous->is_object()) {
    ASSIGN_OR_RETURN(request.previous, ParsePrevious(*previous));
  }
  if (request.verb == Verb::kGc && type == PluginType::kPod)
    RETURN_IF_ERROR(ParseValidAttachments(root, &request.valid_attachments));
  // DEL works from what ADD remembered: it must not fail over what it does not need.
  if (type == PluginType::kPod && (request.verb == Verb::kAdd || request.verb == Verb::kCheck))
    RETURN_IF_ERROR(ParsePorts(root, &request.ports));
  return request;
}

}  // namespace skiff::cni
