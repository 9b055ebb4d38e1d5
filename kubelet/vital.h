// Coroutines that the kubelet cannot do without.
#ifndef SKIFF_KUBELET_VITAL_H_
#define SKIFF_KUBELET_VITAL_H_

#include <string>

#include "base/async.h"

namespace skiff::kubelet {

// `task`, which runs as long as the kubelet. An exception out of it (a bug) ends the process with exit code 1 and a
// line in the log: whoever supervises it starts it anew, and pods do not notice; without that part it would go on and
// look well. Upstream's panics do the same.
Task<void> Vital(std::string name, Task<void> task);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VITAL_H_
