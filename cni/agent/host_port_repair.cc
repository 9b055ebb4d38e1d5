#include "cni/agent/host_port_repair.h"

#include <linux/netfilter.h>

#include "base/files.h"
#include "base/log.h"
#include "cni/agent/conflist.h"
#include "cni/agent/nft_table.h"
#include "cni/plugin/host_ports.h"
#include "cni/plugin/ipam.h"

namespace skiff::cni {

Status RepairHostPorts(const std::string& state_dir) {
  ASSIGN_OR_RETURN(const auto table, FindTable(NFPROTO_INET, HostPortTable(kNetworkName)));
  if (table) return absl::OkStatus();
  if (!Exists(JoinPath(state_dir, kNetworkName))) return absl::OkStatus();  // no pod yet
  ASSIGN_OR_RETURN(std::string boot_id, ReadFile("/proc/sys/kernel/random/boot_id", 128));
  // Its lock is held until the rules are there: a plugin that loads others waits.
  ASSIGN_OR_RETURN(const Ipam ipam, Ipam::Open(state_dir, kNetworkName, std::move(boot_id)));
  ASSIGN_OR_RETURN(const std::vector<HostPort> ports, ipam.HostPorts());
  if (ports.empty()) return absl::OkStatus();
  LOG_WARNING("Somebody removed the rules of pods' host ports; loading them again", {"ports", ports.size()});
  return LoadHostPorts(kNetworkName, ports);
}

}  // namespace skiff::cni
