// The environment of a container: service variables, envFrom, env with references and $(VAR) expansion. The pure parts
// are apart, so that they are tested as tables. Upstream: kubernetes.io/docs/tasks/inject-data-application.
#ifndef SKIFF_KUBELET_RUNTIME_ENV_H_
#define SKIFF_KUBELET_RUNTIME_ENV_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "kubelet/pod/types.h"
#include "kubelet/resources/pod_resources.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

using Env = std::vector<std::pair<std::string, std::string>>;  // in order, names unique

// $(NAME) becomes what `lookup` gives; $$ is a dollar sign; unknown names and broken syntax stay as they are.
std::string Expand(std::string_view text, const std::function<const std::string*(std::string_view)>& lookup);

// Variables for services in creation order of the list; services without a cluster IP have none.
Env ServiceEnv(const std::vector<std::shared_ptr<const core::Service>>& services);
// The services a pod in `ns` sees: the API server's own, and, with links, those of its namespace.
std::vector<std::shared_ptr<const core::Service>> VisibleServices(
    const std::vector<std::shared_ptr<const core::Service>>& all, std::string_view ns, bool links);

// What a pod's own fields and the node say, for fieldRef and resourceFieldRef.
struct EnvFacts {
  std::string node_name, pod_ip;
  std::vector<std::string> pod_ips, host_ips;
  bool prefer_v6 = false;    // the node's family
  ResourceList allocatable;  // of the node: for limits that are not set
  std::string empty_dirs;    // where the pod's emptyDirs are, by their names: for fileKeyRef
};
// Errors as upstream's: "unsupported fieldPath: x", "unsupported container resource: y".
StatusOr<std::string> FieldValue(const Pod& pod, std::string_view field_path, const EnvFacts& facts);
StatusOr<std::string> ResourceFieldValue(const Pod& pod, const core::Container& container,
                                         const core::ResourceFieldSelector& selector, const EnvFacts& facts);

// Everything together. Errors go into the container's waiting message as they are: `configmap "x" not found`,
// `couldn't find key k in Secret ns/name`. `invalid_keys` gets one message for each source with unusable names.
Task<StatusOr<Env>> MakeEnv(const Pod& pod, const core::Container& container, const EnvFacts& facts,
                            const std::vector<std::shared_ptr<const core::Service>>& services, ObjectSource& objects,
                            std::vector<std::string>* invalid_keys);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_ENV_H_
