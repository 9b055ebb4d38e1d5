// What the kubelet keeps in iptables for others (makeIPTablesUtilChains): the chain whose existence tells images with
// both backends which one the host uses (iptables-wrapper looks for it), and a rule that drops packets from elsewhere
// to 127.0.0.0/8, which net.ipv4.conf.all.route_localnet would let in. Upstream: pkg/kubelet/kubelet_network_linux.go.
#ifndef SKIFF_KUBELET_NODE_IPTABLES_CHAINS_H_
#define SKIFF_KUBELET_NODE_IPTABLES_CHAINS_H_

#include "base/async.h"
#include "base/clock.h"

namespace skiff::kubelet {

// By the host's iptables and ip6tables, each where it is there and works, in the process's network namespace. After
// that an own chain is looked at once a minute, which goes with everything when somebody flushes: then all is made
// again. Until cancelled; what was made stays.
Task<void> KeepIptablesChains(asio::any_io_executor executor, Clock& clock);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_NODE_IPTABLES_CHAINS_H_
