// What of a node's name servers is told on the Node itself. Blocking file read, small.
#ifndef SKIFF_KUBELET_RUNTIME_DNS_WARNINGS_H_
#define SKIFF_KUBELET_RUNTIME_DNS_WARNINGS_H_

#include <string>

namespace skiff::kubelet {

inline constexpr char kMissingClusterDns[] = "MissingClusterDNS";
// .. and its message; a pod's names the pod before it.
inline constexpr char kNoClusterDns[] =
    "kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. Falling back "
    "to \"Default\" policy.";

inline constexpr char kCheckResolvConf[] = "CheckLimitsForResolvConf";
// What makes this file unfit for pods, whose own domains come before its search line; "" if nothing does.
std::string ResolvConfProblem(const std::string& path, const std::string& cluster_domain);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_DNS_WARNINGS_H_
