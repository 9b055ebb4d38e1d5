#include "controlplane/apiserver/admission/pod_references.h"

#include <algorithm>

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

template <typename Container, typename From, typename Variable>
bool Any(const Container& container, const From& from, const Variable& variable) {
  return std::any_of(container.envfrom().begin(), container.envfrom().end(), from) ||
         std::any_of(container.env().begin(), container.env().end(), variable);
}

template <typename From, typename Variable>
bool AnyContainer(const core::PodSpec& spec, const From& from, const Variable& variable) {
  const auto refers = [&](const auto& container) { return Any(container, from, variable); };
  return std::any_of(spec.initcontainers().begin(), spec.initcontainers().end(), refers) ||
         std::any_of(spec.containers().begin(), spec.containers().end(), refers) ||
         std::any_of(spec.ephemeralcontainers().begin(), spec.ephemeralcontainers().end(),
                     [&](const auto& container) { return refers(container.ephemeralcontainercommon()); });
}

}  // namespace

bool RefersToSecrets(const core::PodSpec& spec) {
  if (spec.imagepullsecrets_size() > 0) return true;
  if (AnyContainer(
          spec, [](const auto& from) { return from.has_secretref(); },
          [](const auto& variable) { return variable.valuefrom().has_secretkeyref(); }))
    return true;
  return std::any_of(spec.volumes().begin(), spec.volumes().end(), [](const core::Volume& volume) {
    const auto& source = volume.volumesource();
    const auto& parts = source.projected().sources();
    return source.has_secret() || source.has_azurefile() || source.cephfs().has_secretref() ||
           source.cinder().has_secretref() || source.flexvolume().has_secretref() || source.rbd().has_secretref() ||
           source.scaleio().has_secretref() || source.iscsi().has_secretref() || source.storageos().has_secretref() ||
           source.csi().has_nodepublishsecretref() ||
           std::any_of(parts.begin(), parts.end(), [](const auto& part) { return part.has_secret(); });
  });
}

bool RefersToConfigMaps(const core::PodSpec& spec) {
  if (AnyContainer(
          spec, [](const auto& from) { return from.has_configmapref(); },
          [](const auto& variable) { return variable.valuefrom().has_configmapkeyref(); }))
    return true;
  return std::any_of(spec.volumes().begin(), spec.volumes().end(), [](const core::Volume& volume) {
    const auto& parts = volume.volumesource().projected().sources();
    return volume.volumesource().has_configmap() ||
           std::any_of(parts.begin(), parts.end(), [](const auto& part) { return part.has_configmap(); });
  });
}

}  // namespace skiff::controlplane
