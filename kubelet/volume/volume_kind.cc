#include "kubelet/volume/volume_kind.h"

#include <optional>
#include <vector>

#include "api/quantity.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;

constexpr char kHugePages[] = "HugePages";
constexpr std::string_view kResource = "hugepages-";

}  // namespace

VolumeKindInfo KindOf(const core::Volume& volume) {
  using Kind = VolumeKind;
  const auto& source = volume.volumesource();
  if (source.has_configmap()) return {Kind::kConfigMap, "kubernetes.io/configmap"};
  if (source.has_secret()) return {Kind::kSecret, "kubernetes.io/secret"};
  if (source.has_downwardapi()) return {Kind::kDownwardApi, "kubernetes.io/downward-api"};
  if (source.has_projected()) return {Kind::kProjected, "kubernetes.io/projected"};
  if (source.has_hostpath()) return {Kind::kHostPath, "kubernetes.io/host-path"};
  if (source.has_image()) return {Kind::kImage, "kubernetes.io/image"};
  if (source.has_persistentvolumeclaim() || source.has_ephemeral()) return {Kind::kClaim, kLocalPlugin};
  if (source.has_emptydir()) return {Kind::kEmptyDir, "kubernetes.io/empty-dir"};
  const auto* reflection = source.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> set;
  reflection->ListFields(source, &set);
  if (!set.empty()) return {Kind::kUnsupported, std::string(set[0]->name())};
  return {Kind::kEmptyDir, "kubernetes.io/empty-dir"};  // no source: the API's default
}

std::set<std::string> UsedVolumes(const core::Pod& pod) {
  std::set<std::string> out;
  auto visit = [&](const auto& container) {
    for (const auto& mount : container.volumemounts()) out.insert(mount.name());
    for (const auto& device : container.volumedevices()) out.insert(device.name());
  };
  for (const auto& c : pod.spec().initcontainers()) visit(c);
  for (const auto& c : pod.spec().containers()) visit(c);
  for (const auto& c : pod.spec().ephemeralcontainers()) visit(c.ephemeralcontainercommon());
  return out;
}

bool IsWritten(VolumeKind kind) {
  return kind == VolumeKind::kConfigMap || kind == VolumeKind::kSecret || kind == VolumeKind::kDownwardApi ||
         kind == VolumeKind::kProjected;
}

StatusOr<std::string> HugePagesOption(const core::Pod& pod, const std::string& medium) {
  std::optional<api::Quantity> wanted, found;
  if (medium != kHugePages) {
    ASSIGN_OR_RETURN(wanted, api::Quantity::Parse(std::string_view(medium).substr(sizeof kHugePages)));
  }
  bool several = false;
  auto look = [&](const core::ResourceRequirements& resources) {
    for (const auto& [name, quantity] : resources.requests()) {
      if (!name.starts_with(kResource)) continue;
      const api::Quantity size = api::Quantity::Of(std::string_view(name).substr(kResource.size()));
      if (wanted) {
        if (size == *wanted) found = size;
        continue;
      }
      several = several || (found && *found != size);
      found = size;
    }
  };
  look(pod.spec().resources());
  for (const auto& c : pod.spec().containers()) look(c.resources());
  for (const auto& c : pod.spec().initcontainers()) look(c.resources());
  if (several) {
    return InvalidArgument("medium: ", medium, " can't be used if container requests multiple huge page sizes");
  }
  if (!found) {
    return InvalidArgument("medium ", medium,
                           ": hugePages storage requested, but there is no resource request for huge pages");
  }
  return absl::StrCat("pagesize=", found->ToString());
}

}  // namespace skiff::kubelet
