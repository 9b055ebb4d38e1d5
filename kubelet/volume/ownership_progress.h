// Giving a volume of many files to its group takes minutes: meanwhile its pod's events say so, as upstream's.
#ifndef SKIFF_KUBELET_VOLUME_OWNERSHIP_PROGRESS_H_
#define SKIFF_KUBELET_VOLUME_OWNERSHIP_PROGRESS_H_

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "kubelet/volume/ownership.h"

namespace skiff::kubelet {

// Messages of VolumePermissionChangeInProgress: the first after half a minute of walking, then one a minute with the
// files so far. `dir` is named from the pod's uid on. Until cancelled. Loop only.
Task<void> TellOwnershipProgress(Clock& clock, std::shared_ptr<const OwnershipProgress> progress, std::string dir,
                                 std::string uid, std::function<void(const std::string&)> tell);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_OWNERSHIP_PROGRESS_H_
