// subPath mounts: a directory or file inside a volume that a container may be changing while it is being mounted.
// Paths are walked by the kernel with RESOLVE_BENEATH from the volume's directory, and what was found is bound through
// its descriptor, so no swapped symbolic link leads outside (CVE-2017-1002101, CVE-2021-25741). Blocking; any thread.
#ifndef SKIFF_KUBELET_VOLUME_SUBPATH_H_
#define SKIFF_KUBELET_VOLUME_SUBPATH_H_

#include <map>
#include <memory>
#include <string>

#include "base/files.h"
#include "kubelet/volume/mount_gate.h"
#include "kubelet/volume/mounter.h"

namespace skiff::kubelet {

// Opens `relative` beneath the directory `volume_fd` as an O_PATH descriptor. Symbolic links are followed as long as
// they stay beneath, absolute ones too (read as the host reads them). Errors: errno EXDEV when it would leave the
// volume.
StatusOr<Fd> OpenBeneath(int volume_fd, const std::string& relative);

// Makes the missing directories of `relative`, with exactly `mode`.
Status MakeDirsBeneath(int volume_fd, const std::string& relative, mode_t mode);

struct SubPath {
  std::string volume_path;  // the volume's directory on the host
  std::string sub_path;     // relative
  std::string target;       // POD/volume-subpaths/VOLUME/CONTAINER/INDEX
  // It is bound only while this is open.
  std::shared_ptr<MountGate> gate = std::make_shared<MountGate>();
};

// Binds the subPath at its target (made as needed) and leaves it if it is there already. A missing path is made as a
// directory with the volume's mode.
Status BindSubPath(const SubPath& sub, Mounter& mounter);
// Whether an error of BindSubPath's is of making the missing path.
bool FailedToMake(const Status& error);

// Unmounts and removes everything below POD/volume-subpaths.
Status CleanSubPaths(const std::string& pod_dir, Mounter& mounter);

// Expands $(NAME) in a subPathExpr; $$ is $. Absent or empty names: "missing value for A, B".
StatusOr<std::string> ExpandSubPathExpr(const std::string& text, const std::map<std::string, std::string>& env);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_SUBPATH_H_
