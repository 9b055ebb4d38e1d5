// A pod's resolver settings and its hostname, as upstream makes them from policy, cluster DNS and the host's
// resolv.conf.
#ifndef SKIFF_KUBELET_RUNTIME_DNS_H_
#define SKIFF_KUBELET_RUNTIME_DNS_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

struct Resolver {
  std::vector<std::string> servers, searches, options;
  bool operator==(const Resolver&) const = default;
};

// resolv.conf's text: nameserver and options lines collect (of options of one name the last counts), of search lines
// the last counts. Comments and others are skipped. Error: a nameserver line that names none.
StatusOr<Resolver> ParseResolvConf(std::string_view text);

struct DnsSettings {
  std::vector<std::string> cluster_dns, node_ips;
  std::string cluster_domain;
  std::string resolv_conf;  // path; "": the pod is to resolve nothing
};
// Limits that cut something off are told in `warnings` (DNSConfigForming, MissingClusterDNS: reason, message).
StatusOr<Resolver> PodResolver(const Pod& pod, const DnsSettings& settings,
                               std::vector<std::pair<std::string, std::string>>* warnings);

// hostname without domain, and "subdomain.ns.svc.cluster.local" or "".
struct PodHostname {
  std::string name, domain;
};
StatusOr<PodHostname> HostnameOf(const Pod& pod, const std::string& cluster_domain);
// What the kernel is told: the full name when the pod asks for it and has a network of its own. Error when that is
// longer than 64 characters.
StatusOr<std::string> KernelHostname(const Pod& pod, const PodHostname& hostname);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_DNS_H_
