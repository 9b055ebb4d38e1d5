// The plugin loads host ports when a pod comes or goes. Where somebody flushed the host's rules in between, the agent
// does: pods would not be reached, and those with a way for 127.0.0.1 would be without the rules that guard it.
#ifndef SKIFF_CNI_AGENT_HOST_PORT_REPAIR_H_
#define SKIFF_CNI_AGENT_HOST_PORT_REPAIR_H_

#include <string>

#include "base/status.h"

namespace skiff::cni {

// Loads the table of the agent's network if it is missing and pods have host ports. One question to the kernel where it
// is there, a look at the reservations where it is not. Blocking.
Status RepairHostPorts(const std::string& state_dir);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_AGENT_HOST_PORT_REPAIR_H_
