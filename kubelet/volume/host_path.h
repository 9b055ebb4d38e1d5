// hostPath volumes: upstream's checks of the type field. Blocking; any thread.
#ifndef SKIFF_KUBELET_VOLUME_HOST_PATH_H_
#define SKIFF_KUBELET_VOLUME_HOST_PATH_H_

#include <string>

#include "base/status.h"

namespace skiff::kubelet {

// Checks, or makes for the ...OrCreate types. Errors: "hostPath type check failed: /x is not a directory".
Status CheckHostPath(const std::string& path, const std::string& type);

// "must not contain '..'" where a component is "..".
Status ValidateNoBacksteps(std::string_view path);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_HOST_PATH_H_
