// The per-node agent: announces this node, follows the others, keeps overlay, firewall and the runtime's configuration
// in step. Level-triggered: any change of a node, and every minute in any case, the whole desired state is computed
// and the difference applied; a restart finds the kernel as it was and changes nothing. One loop, no threads.
#ifndef SKIFF_CNI_AGENT_AGENT_H_
#define SKIFF_CNI_AGENT_AGENT_H_

#include <memory>
#include <string>

#include "base/async.h"
#include "client/rest.h"
#include "cni/agent/peer.h"

namespace skiff::cni {

struct AgentOptions {
  std::string node_name;
  Prefix cluster_cidr;
  std::string public_ip;  // "": the node's InternalIP
  std::string conf_dir = "/etc/cni/net.d";
  std::string state_dir = "/var/lib/cni/skiff";
  uint32_t vni = 1;
  uint16_t port = 8472;
};

// Until cancelled. Errors of the kernel and the API server are logged, put on the node as events and retried; only
// unusable options end it.
Task<Status> RunAgent(std::shared_ptr<client::Rest> rest, AgentOptions options);

// Removes what agents made on this node: device, rules, configuration.
Task<Status> Cleanup(AgentOptions options);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_AGENT_AGENT_H_
