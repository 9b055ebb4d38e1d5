// --lock-file and --exit-on-lock-contention: one kubelet at a time holds the file; the one that runs gives way when
// somebody else opens it. Loop only.
#ifndef SKIFF_KUBELET_LOCK_FILE_H_
#define SKIFF_KUBELET_LOCK_FILE_H_

#include <string>

#include "base/async.h"
#include "base/clock.h"
#include "base/files.h"

namespace skiff::kubelet {

// Makes the file where it is absent and waits until nobody else holds it (flock); it is held while the descriptor is
// open.
Task<StatusOr<Fd>> AcquireLockFile(std::string path, Clock& clock);

// Until somebody opens or deletes the file. Errors: the file cannot be watched.
Task<Status> AwaitLockContention(std::string path);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_LOCK_FILE_H_
