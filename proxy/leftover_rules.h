// What upstream's kube-proxy leaves in a kernel whose node changes over to this one: tables `kube-proxy` of nftables,
// and KUBE-* chains of iptables (its iptables mode's, and those of its ipvs mode) by whichever backend they were
// written (nft, legacy). Its rules would send connections to endpoints as they once were. The kubelet's own chains
// (KUBE-FIREWALL, KUBE-KUBELET-CANARY) stay, and so do connections: conntrack knows them without the rules.
// IPVS' own tables, sets and device are not touched.
#ifndef SKIFF_PROXY_LEFTOVER_RULES_H_
#define SKIFF_PROXY_LEFTOVER_RULES_H_

#include <string>
#include <string_view>

#include "base/async.h"

namespace skiff::proxy {

// In the calling thread's network namespace. Programs of iptables that are not installed have written nothing. An error
// names what could not be removed; the rest is.
Task<Status> RemoveLeftoverRules();

// Input for iptables-restore --noflush that removes upstream's chains, and the jumps to them, from what iptables-save
// printed; "" when there are none.
std::string RemovalOf(std::string_view saved);

// Deletes the tables `kube-proxy` of both families; how many there were.
StatusOr<int> DeleteNftTables();

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_LEFTOVER_RULES_H_
