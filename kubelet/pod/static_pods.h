// Pods from manifests in a directory (or one file): read again at an interval, made complete as upstream makes static
// pods. Names that start with a dot are left out. A static pod that names API objects is refused.
#ifndef SKIFF_KUBELET_POD_STATIC_PODS_H_
#define SKIFF_KUBELET_POD_STATIC_PODS_H_

#include <map>
#include <string>
#include <string_view>

#include "base/status.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

// One manifest (YAML or JSON) as this node's pod. Errors name file and field.
StatusOr<PodPtr> ParseStaticPod(std::string_view text, const std::string& file, const std::string& node_name);

// All manifests below `path`, by uid. Bad files are logged and left out. An error when the path cannot be read at all.
StatusOr<std::map<std::string, PodPtr>> ReadStaticPods(const std::string& path, const std::string& node_name);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_STATIC_PODS_H_
