// Upstream's kube-proxy ends when its configuration file is written to, so that whoever started it starts it again with
// the new one. Loop thread only.
#ifndef SKIFF_PROXY_CONFIG_WATCH_H_
#define SKIFF_PROXY_CONFIG_WATCH_H_

#include <string>

#include "base/async.h"

namespace skiff::proxy {

// Returns upstream's words for it (kFailedPrecondition) once the file was written to or renamed; kCancelled when
// cancelled. A file that is removed or replaced by another (as the kubelet swaps a ConfigMap's) is not that, as
// upstream has it. Other errors: the file cannot be watched.
Task<Status> WatchConfigFile(asio::any_io_executor executor, std::string path);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_CONFIG_WATCH_H_
