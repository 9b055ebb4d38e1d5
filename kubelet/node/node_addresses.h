// The addresses that a node has for the rest of the cluster, chosen as upstream's kubelet does it: --node-ip, a host
// name that is an address, what the node's name resolves to, the interface of a default route. The choice is pure;
// ReadHost and NodeIps ask the machine and may block (the resolver). Upstream: nodestatus.NodeAddress,
// ResolveBindAddress.
#ifndef SKIFF_KUBELET_NODE_NODE_ADDRESSES_H_
#define SKIFF_KUBELET_NODE_NODE_ADDRESSES_H_

#include <boost/asio/ip/address.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/tls.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

using Ip = boost::asio::ip::address;  // never a v4 address in v6's clothes

// --node-ip: one address, or one of each family; 0.0.0.0 and :: alone name a family. What is no address is ignored, and
// appended to `ignored`. Errors are upstream's.
StatusOr<std::vector<Ip>> ParseNodeIp(const std::string& text, std::vector<std::string>* ignored = nullptr);

struct Interface {
  std::string name;
  uint32_t flags = 0;  // IFF_*
  std::vector<Ip> ips;
};
struct Host {
  std::vector<Interface> interfaces;                // in the kernel's order
  std::vector<std::string> v4_default, v6_default;  // interfaces of the default routes
  std::function<std::vector<Ip>(const std::string& name)> look_up;
};
StatusOr<Host> ReadHost();

// One address, or two if --node-ip names both. kInvalidArgument: --node-ip is none of this host's; kNotFound.
StatusOr<std::vector<std::string>> ChooseNodeIps(const std::vector<Ip>& given, const std::string& name,
                                                 const Host& host);
StatusOr<std::vector<std::string>> NodeIps(const std::vector<Ip>& given, const std::string& name);

// What pods are told of the node: its first address, internal ones before external ones, and the first of the other
// family.
std::vector<std::string> HostIps(const core::NodeStatus& status);

// A pod's addresses as the status lists them: the first of the node's family, then the first of the other.
std::vector<std::string> SortPodIps(const std::vector<std::string>& ips, bool prefer_v6);

// Into a request for a serving certificate: the names and addresses of a Node's status.
void ServingNames(const core::NodeStatus& status, CertificateRequest* request);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_NODE_NODE_ADDRESSES_H_
