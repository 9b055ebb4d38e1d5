// Network counters of a process's network namespace. Blocking.
#ifndef SKIFF_CADVISOR_NETWORK_H_
#define SKIFF_CADVISOR_NETWORK_H_

#include <sys/types.h>

#include <string_view>
#include <vector>

#include "cadvisor/host.h"
#include "cadvisor/stats.h"

namespace skiff::cadvisor {

// From /proc/PID/net/dev, in the kernel's order, without lo, veth*, docker* and nerdctl*, as upstream leaves them out.
StatusOr<std::vector<InterfaceStats>> ReadNetwork(const Host& host, pid_t pid);
StatusOr<std::vector<InterfaceStats>> ParseNetDev(std::string_view text);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_NETWORK_H_
