// A local persistent volume: a directory of the host, bound into the pod's. Blocking, and for ever where the directory
// lies on a file system that does not answer; any thread; one caller a source at a time.
#ifndef SKIFF_KUBELET_VOLUME_LOCAL_VOLUME_H_
#define SKIFF_KUBELET_VOLUME_LOCAL_VOLUME_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kubelet/volume/mount_gate.h"
#include "kubelet/volume/mounter.h"
#include "kubelet/volume/ownership.h"

namespace skiff::kubelet {

struct LocalSetup {
  std::string root;                  // the kubelet's
  std::string uid;                   // the pod's
  std::string volume;                // the persistent volume's name
  std::string source;                // a directory of the host
  std::string dir;                   // where the pod's containers get it from
  std::vector<std::string> options;  // of the mount: "noexec"
  std::optional<gid_t> fs_group;
  bool on_root_mismatch = false;  // fsGroupChangePolicy: all is left alone where the root fits
  bool read_only = false;
  bool one_pod = false;  // ReadWriteOncePod
  std::shared_ptr<OwnershipProgress> progress = std::make_shared<OwnershipProgress>();
  // Mounts are made only while it is open.
  std::shared_ptr<MountGate> gate = std::make_shared<MountGate>();
};

// The source bound onto `dir`, and given to the fsGroup by the first pod that has it. Idempotent. The group that the
// volume keeps, where another pod has it and that is not the one asked for. Errors: it is not a directory, or not
// there; another pod has what one may have; kCancelled when the gate was closed meanwhile.
StatusOr<std::optional<gid_t>> SetUpLocal(const LocalSetup& setup, Mounter& mounter);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_LOCAL_VOLUME_H_
