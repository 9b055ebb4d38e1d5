// What kind a volume is, and what upstream calls the plugin of it (which names its directory). Pure.
#ifndef SKIFF_KUBELET_VOLUME_VOLUME_KIND_H_
#define SKIFF_KUBELET_VOLUME_VOLUME_KIND_H_

#include <set>
#include <string>

#include "base/status.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::kubelet {

// Of claims, until a hostPath turns out to lie behind one.
inline constexpr char kLocalPlugin[] = "kubernetes.io/local-volume";

enum class VolumeKind {
  kEmptyDir,
  kConfigMap,
  kSecret,
  kDownwardApi,
  kProjected,
  kHostPath,
  kImage,
  kClaim,  // of a persistent volume; what lies behind it is asked for when it is set up
  kUnsupported
};

struct VolumeKindInfo {
  VolumeKind kind = VolumeKind::kUnsupported;
  std::string plugin;  // "kubernetes.io/configmap"; for unsupported kinds the field's name
};
VolumeKindInfo KindOf(const k8s::io::api::core::v1::Volume& volume);

// The names of the volumes that a container of any kind mounts, or uses as a device. Others are never set up: what a
// pod lists and does not use may be missing.
std::set<std::string> UsedVolumes(const k8s::io::api::core::v1::Pod& pod);

// Written by the kubelet from objects, and followed.
bool IsWritten(VolumeKind kind);

// Huge pages for an emptyDir of that medium ("HugePages", "HugePages-2Mi"): the mount option ("pagesize=2Mi"). Errors
// are upstream's: the pod must ask for huge pages, and without a size in the medium for one size only.
StatusOr<std::string> HugePagesOption(const k8s::io::api::core::v1::Pod& pod, const std::string& medium);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_VOLUME_KIND_H_
