#include "kubelet/volume/payload.h"

#include <cmath>

#include "api/quantity.h"
#include "base/go_text.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;

std::string FormatMap(const google::protobuf::Map<std::string, std::string>& map) {
  std::vector<std::pair<std::string_view, std::string_view>> sorted(map.begin(), map.end());
  std::sort(sorted.begin(), sorted.end());
  return absl::StrJoin(sorted, "\n", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, entry.first, "=", GoQuote(entry.second));
  });
}

std::string Lookup(const google::protobuf::Map<std::string, std::string>& map, const std::string& key) {
  auto found = map.find(key);
  return found == map.end() ? "" : found->second;
}

mode_t ModeOf(const core::KeyToPath& item, mode_t default_mode) { return item.has_mode() ? item.mode() : default_mode; }

const core::Container* FindContainer(const core::Pod& pod, const std::string& name) {
  for (const auto& c : pod.spec().containers()) {
    if (c.name() == name) return &c;
  }
  for (const auto& c : pod.spec().initcontainers()) {
    if (c.name() == name) return &c;
  }
  return nullptr;
}

using ResourceMap = google::protobuf::Map<std::string, api::Quantity::Proto>;

api::Quantity Resource(const ResourceMap& map, const std::string& name) {
  auto found = map.find(name);
  return found == map.end() ? api::Quantity() : api::Quantity::Of(found->second);
}

}  // namespace

Status AddConfigMap(const core::ConfigMap& object, const ItemList& items, mode_t default_mode, bool optional,
                    Payload* out) {
  if (items.empty()) {
    for (const auto& [key, value] : object.data()) (*out)[key] = {value, default_mode, std::nullopt};
    for (const auto& [key, value] : object.binarydata()) (*out)[key] = {value, default_mode, std::nullopt};
    return absl::OkStatus();
  }
  for (const auto& item : items) {
    const std::string* value = nullptr;
    if (auto found = object.data().find(item.key()); found != object.data().end()) {
      value = &found->second;
    } else if (auto binary = object.binarydata().find(item.key()); binary != object.binarydata().end()) {
      value = &binary->second;
    }
    if (value == nullptr) {
      if (optional) continue;
      return NotFound("configmap references non-existent config key: ", item.key());
    }
    (*out)[item.path()] = {*value, ModeOf(item, default_mode), std::nullopt};
  }
  return absl::OkStatus();
}

Status AddSecret(const core::Secret& object, const ItemList& items, mode_t default_mode, bool optional, Payload* out) {
  if (items.empty()) {
    for (const auto& [key, value] : object.data()) (*out)[key] = {value, default_mode, std::nullopt};
    return absl::OkStatus();
  }
  for (const auto& item : items) {
    auto found = object.data().find(item.key());
    if (found == object.data().end()) {
      if (optional) continue;
      return NotFound("references non-existent secret key: ", item.key());
    }
    (*out)[item.path()] = {found->second, ModeOf(item, default_mode), std::nullopt};
  }
  return absl::OkStatus();
}

StatusOr<std::string> PodFieldAsString(const core::Pod& pod, const std::string& path) {
  const auto& meta = pod.metadata();
  const size_t open = path.find("['");
  if (open != std::string::npos && open > 0 && absl::EndsWith(path, "']")) {
    const std::string_view base = std::string_view(path).substr(0, open);
    const std::string key = path.substr(open + 2, path.size() - open - 4);
    if (base == "metadata.annotations") return Lookup(meta.annotations(), key);
    if (base == "metadata.labels") return Lookup(meta.labels(), key);
    return InvalidArgument("fieldPath ", GoQuote(path), " does not support subscript");
  }
  if (path == "metadata.annotations") return FormatMap(meta.annotations());
  if (path == "metadata.labels") return FormatMap(meta.labels());
  if (path == "metadata.name") return meta.name();
  if (path == "metadata.namespace") return meta.namespace_();
  if (path == "metadata.uid") return meta.uid();
  return InvalidArgument("unsupported fieldPath: ", path);
}

StatusOr<std::string> ContainerResourceAsString(const core::Pod& pod, const core::ResourceFieldSelector& selector,
                                                const std::string& name, const Allocatable& allocatable) {
  const core::Container* container = FindContainer(pod, name);
  if (container == nullptr) return NotFound("container ", name, " not found");
  const std::string& resource = selector.resource();
  const bool limit = absl::StartsWith(resource, "limits.");
  if (!limit && !absl::StartsWith(resource, "requests.")) {
    return InvalidArgument("unsupported container resource : ", resource);
  }
  const std::string kind = resource.substr(limit ? 7 : 9);
  const bool cpu = kind == "cpu";
  if (!cpu && kind != "memory" && kind != "ephemeral-storage" && !absl::StartsWith(kind, "hugepages-")) {
    return InvalidArgument("unsupported container resource : ", resource);
  }
  api::Quantity value = Resource(limit ? container->resources().limits() : container->resources().requests(), kind);
  if (limit && value.IsZero()) {
    if (cpu) value = api::Quantity::Milli(allocatable.milli_cpu);
    if (kind == "memory") value = api::Quantity::Bytes(allocatable.memory);
    if (kind == "ephemeral-storage") value = api::Quantity::Bytes(allocatable.ephemeral_storage);
  }
  api::Quantity divisor = api::Quantity::Of(selector.divisor());
  if (divisor.IsZero()) divisor = api::Quantity(1);
  const double top = cpu ? static_cast<double>(value.MilliValue()) : static_cast<double>(value.Value());
  const double bottom = cpu ? static_cast<double>(divisor.MilliValue()) : static_cast<double>(divisor.Value());
  return absl::StrCat(static_cast<int64_t>(std::ceil(top / bottom)));
}

Status AddDownwardApi(const core::Pod& pod, const DownwardItems& items, mode_t default_mode,
                      const Allocatable& allocatable, Payload* out) {
  std::vector<std::string> errors;
  for (const auto& item : items) {
    FileProjection file;
    file.mode = item.has_mode() ? item.mode() : default_mode;
    StatusOr<std::string> text = std::string();
    if (item.has_fieldref()) {
      text = PodFieldAsString(pod, item.fieldref().fieldpath());
    } else if (item.has_resourcefieldref()) {
      text =
          ContainerResourceAsString(pod, item.resourcefieldref(), item.resourcefieldref().containername(), allocatable);
    }
    if (!text.ok()) {
      errors.emplace_back(text.status().message());
      continue;
    }
    file.data = *std::move(text);
    (*out)[item.path()] = std::move(file);
  }
  return Aggregate(errors);
}

Status Aggregate(const std::vector<std::string>& errors) {
  std::vector<std::string_view> unique;
  for (const std::string& error : errors) {
    if (std::find(unique.begin(), unique.end(), error) == unique.end()) unique.push_back(error);
  }
  if (unique.empty()) return absl::OkStatus();
  if (unique.size() == 1) return InvalidArgument(unique[0]);
  return InvalidArgument("[", absl::StrJoin(unique, ", "), "]");
}

std::optional<int64_t> VolumeUserOf(const core::Pod& pod) {
  std::optional<int64_t> user;
  auto agree = [&](const auto& container) {
    std::optional<int64_t> own;
    if (pod.spec().securitycontext().has_runasuser()) own = pod.spec().securitycontext().runasuser();
    if (container.securitycontext().has_runasuser()) own = container.securitycontext().runasuser();
    if (!own || (user && *user != *own)) return false;
    user = own;
    return true;
  };
  for (const auto& c : pod.spec().initcontainers()) {
    if (!agree(c)) return std::nullopt;
  }
  for (const auto& c : pod.spec().containers()) {
    if (!agree(c)) return std::nullopt;
  }
  return user;
}

int64_t TmpfsSize(const core::Pod& pod, int64_t allocatable_memory, int64_t size_limit) {
  int64_t size = allocatable_memory;
  int64_t limit = 0;
  if (pod.spec().resources().limits().count("memory") > 0) {
    limit = Resource(pod.spec().resources().limits(), "memory").Value();
  } else {
    int64_t main = 0, sidecars = 0, init_peak = 0;
    bool all = true;
    for (const auto& c : pod.spec().containers()) {
      const int64_t own = Resource(c.resources().limits(), "memory").Value();
      all = all && own > 0;
      main += own;
    }
    for (const auto& c : pod.spec().initcontainers()) {
      const int64_t own = Resource(c.resources().limits(), "memory").Value();
      all = all && own > 0;
      if (c.restartpolicy() == "Always") {
        sidecars += own;
        init_peak = std::max(init_peak, sidecars);
      } else {
        init_peak = std::max(init_peak, sidecars + own);
      }
    }
    if (all) limit = std::max(main + sidecars, init_peak);
  }
  // A node that does not know its memory yet (0) sets no bound.
  if (limit > 0 && (size <= 0 || limit <= size)) size = limit;
  if (size_limit > 0 && (size <= 0 || size_limit <= size)) size = size_limit;
  return size;
}

}  // namespace skiff::kubelet
