// Where everything under the kubelet's root directory is, in upstream's layout, so that an operator can stop one
// kubelet, start the other on the same directory, and go back, with the pods running on. Whoever builds a path there
// builds it here. What is marked "not ours" is left alone, whoever wrote it. Pure; any thread.
//
//   ROOT (/var/lib/kubelet)                      0750
//   ├── pods/UID/                                0750
//   │   ├── userns                               a pod's own users: the host's ids that it has
//   │   ├── etc-hosts                            the managed /etc/hosts, mounted into the containers
//   │   ├── volumes/PLUGIN/NAME/                 PLUGIN with ~ for / (kubernetes.io~configmap)
//   │   ├── volume-subpaths/VOLUME/CONTAINER/N   bind mounts, N the index of the mount
//   │   ├── volumeDevices/                       not ours
//   │   ├── plugins/PLUGIN/NAME/ready            that an emptyDir, config map .. was set up
//   │   └── containers/NAME/HASH                 termination messages
//   ├── plugins/                                 not ours: CSI drivers' mounts
//   ├── plugins_registry/                        not ours
//   ├── device-plugins/                          sockets; kubelet_internal_checkpoint
//   ├── pod-resources/kubelet.sock
//   ├── pki/                                     0755
//   │   ├── kubelet.crt, kubelet.key             self-signed serving certificate
//   │   └── kubelet-{client,server}-current.pem  links to the rotated pairs beside them
//   ├── checkpoints/                             0700, archives of containers
//   ├── image_manager/{pulling,pulled}/          0700, who pulled which image (sha256-HASH)
//   ├── seccomp/                                 not ours: Localhost profiles
//   ├── allocated_pods_state, actuated_pods_state   in-place resizes
//   ├── cpu_manager_state, memory_manager_state, dra_manager_state
//   ├── graceful_node_shutdown_state             not ours
//   └── config.json, .dockercfg                  the node's registry credentials; not ours
//
// Besides: PODLOGS (/var/log/pods)/NS_NAME_UID/CONTAINER/N.log and links /var/log/containers/POD_NS_CONTAINER-ID.log.
#ifndef SKIFF_KUBELET_STATE_LAYOUT_H_
#define SKIFF_KUBELET_STATE_LAYOUT_H_

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace skiff::kubelet::layout {

inline std::string Pods(std::string_view root) { return absl::StrCat(root, "/pods"); }
inline std::string Pod(std::string_view root, std::string_view uid) { return absl::StrCat(root, "/pods/", uid); }

// Below a pod's directory.
inline std::string EtcHosts(std::string_view pod_dir) { return absl::StrCat(pod_dir, "/etc-hosts"); }
inline std::string UserNamespace(std::string_view pod_dir) { return absl::StrCat(pod_dir, "/userns"); }
inline std::string Volumes(std::string_view pod_dir) { return absl::StrCat(pod_dir, "/volumes"); }
inline std::string Volume(std::string_view pod_dir, std::string_view plugin, std::string_view name) {
  std::string escaped(plugin);
  std::replace(escaped.begin(), escaped.end(), '/', '~');
  return absl::StrCat(pod_dir, "/volumes/", escaped, "/", name);
}
inline std::string Subpaths(std::string_view pod_dir) { return absl::StrCat(pod_dir, "/volume-subpaths"); }
inline std::string Subpath(std::string_view pod_dir, std::string_view volume, std::string_view container, int index) {
  return absl::StrCat(pod_dir, "/volume-subpaths/", volume, "/", container, "/", index);
}
inline std::string PodPlugins(std::string_view pod_dir) { return absl::StrCat(pod_dir, "/plugins"); }
inline std::string Container(std::string_view pod_dir, std::string_view container) {
  return absl::StrCat(pod_dir, "/containers/", container);
}

// Below the root.
inline std::string Plugins(std::string_view root) { return absl::StrCat(root, "/plugins"); }
inline std::string Pki(std::string_view root) { return absl::StrCat(root, "/pki"); }
inline std::string Seccomp(std::string_view root) { return absl::StrCat(root, "/seccomp"); }
inline std::string Checkpoints(std::string_view root) { return absl::StrCat(root, "/checkpoints"); }
inline std::string ImagesPulling(std::string_view root) { return absl::StrCat(root, "/image_manager/pulling"); }
inline std::string ImagesPulled(std::string_view root) { return absl::StrCat(root, "/image_manager/pulled"); }
inline std::string AllocatedPods(std::string_view root) { return absl::StrCat(root, "/allocated_pods_state"); }
inline std::string ActuatedPods(std::string_view root) { return absl::StrCat(root, "/actuated_pods_state"); }
inline std::string CpuManagerState(std::string_view root) { return absl::StrCat(root, "/cpu_manager_state"); }
inline std::string MemoryManagerState(std::string_view root) { return absl::StrCat(root, "/memory_manager_state"); }

}  // namespace skiff::kubelet::layout

#endif  // SKIFF_KUBELET_STATE_LAYOUT_H_
