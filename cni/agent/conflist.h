// The network configuration that the runtime reads: written when the overlay is ready, because its presence is what
// makes a node's runtime say NetworkReady.
#ifndef SKIFF_CNI_AGENT_CONFLIST_H_
#define SKIFF_CNI_AGENT_CONFLIST_H_

#include <string>

#include "base/status.h"
#include "cni/plugin/ip.h"

namespace skiff::cni {

inline constexpr const char* kConflistName = "10-skiff.conflist";
inline constexpr const char* kNetworkName = "skiff";

std::string Conflist(const Prefix& pod_cidr, uint32_t mtu, const std::string& state_dir);
// Written only when it differs.
Status WriteConflist(const std::string& conf_dir, const std::string& text);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_AGENT_CONFLIST_H_
