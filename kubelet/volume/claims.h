// From a pod's persistent volume claim to the directory that lies behind it: hostPath and local volumes.
// CSI and network volumes are refused, each by name. Loop only.
#ifndef SKIFF_KUBELET_VOLUME_CLAIMS_H_
#define SKIFF_KUBELET_VOLUME_CLAIMS_H_

#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

struct ClaimedVolume {
  std::string claim, volume;  // names
  bool local = false;         // a local volume, to be bound into the pod's directory; else a hostPath
  std::string path;           // on the host
  std::string host_path_type;
  bool read_only = false;
  bool one_pod = false;               // ReadWriteOncePod is its only access mode
  std::string gid;                    // that processes of its pods are to be in; ""
  std::optional<NodeSelector> nodes;  // where it can be reached
  std::vector<std::string> mount_options;
};

// Errors in upstream's words: "error processing PVC ns/name: PVC is not bound".
Task<StatusOr<ClaimedVolume>> ResolveClaim(ObjectSource& objects, std::shared_ptr<const Pod> pod,
                                           std::string volume_name);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_CLAIMS_H_
