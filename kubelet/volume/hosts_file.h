// The /etc/hosts of containers, as upstream writes it to ROOT/pods/UID/etc-hosts. Blocking, small; any thread.
#ifndef SKIFF_KUBELET_VOLUME_HOSTS_FILE_H_
#define SKIFF_KUBELET_VOLUME_HOSTS_FILE_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::kubelet {

// The content for a pod with its own network. `hostname` without domain; `domain` "" or "sub.ns.svc.cluster.local".
std::string ManagedHostsFile(const k8s::io::api::core::v1::Pod& pod, const std::vector<std::string>& pod_ips,
                             const std::string& hostname, const std::string& domain);

// The content for a pod on the host's network: the host's own file with a heading, and the pod's hostAliases.
std::string HostNetworkHostsFile(const k8s::io::api::core::v1::Pod& pod, const std::string& host_file);

// Writes one of the two to ROOT/pods/UID/etc-hosts (mode 0644) and returns its path. `host_hosts_path` is /etc/hosts.
StatusOr<std::string> WriteHostsFile(const std::string& root_dir, const k8s::io::api::core::v1::Pod& pod,
                                     const std::vector<std::string>& pod_ips, const std::string& hostname,
                                     const std::string& domain, const std::string& host_hosts_path = "/etc/hosts");

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_HOSTS_FILE_H_
