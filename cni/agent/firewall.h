// The agent's nftables table: masquerading of pods' traffic that leaves the cluster, and the guards of the overlay.
// The whole table is one text, loaded in one transaction by nft(8), and only when it differs from the last one loaded
// or when the kernel's table is no longer that one. nft is run rather than libnftables linked: the library's 2 MiB
// would stay resident for a call a node change.
#ifndef SKIFF_CNI_AGENT_FIREWALL_H_
#define SKIFF_CNI_AGENT_FIREWALL_H_

#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "cni/agent/nft_table.h"
#include "cni/agent/peer.h"

namespace skiff::cni {

struct FirewallConfig {
  std::string table = "skiff-cni";
  Prefix cluster_cidr;  // pods reach these addresses with their own
  Prefix pod_cidr;      // this node's
  std::string device;   // the overlay's
  uint16_t port = 8472;
};

// Pure: the ruleset text. Frames are taken only from nodes, and only with inner sources of the cluster's other subnets
// (security row vxlan-spoof).
std::string Ruleset(const FirewallConfig& config, const std::vector<Peer>& peers);

class Firewall {
 public:
  explicit Firewall(FirewallConfig config) : config_(std::move(config)) {}
  Task<Status> Apply(const std::vector<Peer>& peers);
  // The table, and the one that the plugin keeps for host ports.
  static Task<Status> Remove(std::string table);

 private:
  FirewallConfig config_;
  std::string loaded_;
  std::optional<TableIdentity> identity_;  // the kernel's, after loading
};

}  // namespace skiff::cni

#endif  // SKIFF_CNI_AGENT_FIREWALL_H_
