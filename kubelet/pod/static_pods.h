// Pods from manifests on this node, made complete as upstream makes static pods: name and node's name joined, a uid
// that follows from the content, annotation config.hash. A static pod that names API objects is refused. Pure but for
// the reading of files. Upstream: kubernetes.io/docs/tasks/configure-pod-container/static-pod.
#ifndef SKIFF_KUBELET_POD_STATIC_PODS_H_
#define SKIFF_KUBELET_POD_STATIC_PODS_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

struct ManifestOrigin {
  bool file = true;   // or a URL
  std::string where;  // the file's path or the URL
  std::string node_name;
};

// One manifest (YAML or JSON): a Pod, or, from a URL, also a PodList. Errors name the origin and the field, or the kind
// of API object that the pod refers to: "static pods may not reference secrets".
StatusOr<std::vector<Pod>> ParseManifest(std::string_view text, const ManifestOrigin& origin);

// What a static pod refers to in the API: "secrets", "configmaps (via projected volumes)"; "" if nothing.
std::string ApiObjectReference(const Pod& pod);

// The pod as it is created in the API: annotation config.mirror, owned by the node.
Pod MirrorOf(const Pod& static_pod, const std::string& node_name, const std::string& node_uid);
// Whether `mirror` shows this very static pod: same name, same hash.
bool IsMirrorOf(const Pod& mirror, const Pod& static_pod);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_STATIC_PODS_H_
