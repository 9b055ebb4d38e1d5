// What a node says of itself in its annotations, in flannel's format, read strictly as data: an annotation that is not
// exactly what it should be disables that peer alone (security row annotation-injection). Pure.
//
//   flannel.alpha.coreos.com/backend-type: vxlan
//   flannel.alpha.coreos.com/backend-data: {"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}
//   flannel.alpha.coreos.com/public-ip: 10.0.0.7
//   flannel.alpha.coreos.com/kube-subnet-manager: "true"
#ifndef SKIFF_CNI_AGENT_PEER_H_
#define SKIFF_CNI_AGENT_PEER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "cni/plugin/ip.h"
#include "k8s/io/api/core/v1/node.pb.h"

namespace skiff::cni {

inline constexpr const char* kBackendType = "flannel.alpha.coreos.com/backend-type";
inline constexpr const char* kBackendData = "flannel.alpha.coreos.com/backend-data";
inline constexpr const char* kPublicIp = "flannel.alpha.coreos.com/public-ip";
inline constexpr const char* kSubnetManager = "flannel.alpha.coreos.com/kube-subnet-manager";

struct Peer {
  std::string node;
  Ip public_ip;     // IPv4: where its VXLAN frames come from and go to
  Prefix pod_cidr;  // IPv4
  std::string mac;  // of its VXLAN device, lower case
  uint32_t vni = 1;
  auto operator<=>(const Peer&) const = default;
};

// kNotFound: the node has not announced itself (or uses another backend), which is no fault. kInvalidArgument: it has,
// wrongly; the message names the annotation and the value.
StatusOr<Peer> ReadPeer(const k8s::io::api::core::v1::Node& node);
// The other nodes that are peers, and why the ones that announced themselves wrongly are none, by node. A subnet,
// address or MAC has one owner: this node, then whoever was a peer with it before, then the oldest node. So nobody can
// push another out by claiming what is the other's.
struct Peers {
  std::vector<Peer> good;
  std::map<std::string, std::string> bad;
};
Peers ChoosePeers(const Peer& self, const Prefix& cluster_cidr,
                  std::vector<std::shared_ptr<const k8s::io::api::core::v1::Node>> nodes,
                  const std::vector<Peer>& before);
// The annotations that make other nodes' agents, ours or flannel's, see this one.
std::map<std::string, std::string> Announce(const Peer& self);
// spec.podCIDR, or the first of spec.podCIDRs, of the IPv4 family. kNotFound where none is assigned yet.
StatusOr<Prefix> PodCidr(const k8s::io::api::core::v1::Node& node);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_AGENT_PEER_H_
