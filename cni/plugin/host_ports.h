// Host ports in the kernel: one nftables table a network, `skiff-hostports-NETWORK`, loaded whole and in one
// transaction from what is claimed (ipam.h), so that whatever happened before, the next pod with a host port puts it
// right.
//
// - Destinations are changed only of what is addressed to the node itself, and after the chains of a kube-proxy that
//   works with netfilter: a Service's address or node port with the same number stays the Service's (CVE-2019-9946).
// - A pod that reaches itself through its host port, and what comes from 127.0.0.1, gets an address of the node as its
//   source. The latter needs route_localnet on the pod's link; the table's first chain takes from such a pod everything
//   that names a loopback address, so that it reaches nothing else that way (CVE-2020-8558).
// - Two pods that claim the same port: the later claim holds, as when a pod is replaced.
//
// nft(8) is run: in a pod's life it is called twice, and only where it has host ports. Blocking.
#ifndef SKIFF_CNI_PLUGIN_HOST_PORTS_H_
#define SKIFF_CNI_PLUGIN_HOST_PORTS_H_

#include <string>
#include <vector>

#include "cni/plugin/ipam.h"

namespace skiff::cni {

std::string HostPortTable(const std::string& network);

// Pure: what nft loads. Without ports the table is removed.
std::string HostPortRules(const std::string& network, const std::vector<HostPort>& ports);
// Loads these, and forgets UDP flows through them that go elsewhere: a client that never pauses would keep to a flow of
// before for ever.
Status LoadHostPorts(const std::string& network, const std::vector<HostPort>& ports);
// The kernel has these; the error names the first that is missing.
Status CheckHostPorts(const std::string& network, const std::vector<HostPort>& ports);

// Lets 127.0.0.1 of the node reach the pod through its link, or no longer. Best effort.
void RouteLoopback(const Attachment& attachment, bool on);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_HOST_PORTS_H_
