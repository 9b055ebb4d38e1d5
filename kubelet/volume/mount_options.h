// The mount options of a persistent volume, as far as a bind mount can have them. Pure.
#ifndef SKIFF_KUBELET_VOLUME_MOUNT_OPTIONS_H_
#define SKIFF_KUBELET_VOLUME_MOUNT_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

// Sorted, without duplicates: those of the annotation volume.beta.kubernetes.io/mount-options where there is one, else
// those of the spec.
std::vector<std::string> MountOptionsOf(const PersistentVolume& volume);

// For mount_setattr(2).
struct MountAttributes {
  uint64_t set = 0, clear = 0;
  std::vector<std::string> ignored;  // what means nothing for a bind mount; mount(8) passes over it too
};
MountAttributes AttributesOf(const std::vector<std::string>& options);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_MOUNT_OPTIONS_H_
