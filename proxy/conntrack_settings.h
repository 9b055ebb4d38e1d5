// The connection tracking settings of KubeProxyConfiguration (conntrack.*). Services use no conntrack here, but pods'
// other traffic does, and operators set the kernel's limits by way of kube-proxy. Blocking; used at start.
#ifndef SKIFF_PROXY_CONNTRACK_SETTINGS_H_
#define SKIFF_PROXY_CONNTRACK_SETTINGS_H_

#include <map>
#include <string>

#include "proxy/config.h"

namespace skiff::proxy {

// File name below /proc/sys/net/netfilter and the value to write; upstream's arithmetic. `cores`: of the machine.
std::map<std::string, int64_t> ConntrackSysctls(const Config::Conntrack& config, int cores);

// Writes those that differ, below `root` ("/proc/sys/net/netfilter"). What cannot be written (no connection tracking in
// this kernel, a container without the privilege, a network namespace where only the first has the setting) is logged
// and left: services do not depend on it. Upstream ends there.
void ApplyConntrackSysctls(const std::map<std::string, int64_t>& sysctls, const std::string& root);

// Entries and their limit, for metrics. kNotFound without connection tracking.
struct ConntrackFill {
  int64_t entries = 0, limit = 0;
};
StatusOr<ConntrackFill> ReadConntrackFill(const std::string& root);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_CONNTRACK_SETTINGS_H_
