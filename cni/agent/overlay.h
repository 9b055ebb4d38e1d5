// The kernel's side of the overlay: the VXLAN device, and per peer one route, one neighbour and one forwarding entry,
// level-triggered: Apply makes the kernel equal to the list and touches only what differs. No learning, no flooding: a
// frame goes to a node that is known or nowhere. Device name, port and entry layout are flannel's, so that either agent
// takes over from the other without a packet lost.
//
//   route       PEER_CIDR via PEER_CIDR.0 dev flannel.1 onlink
//   neighbour   PEER_CIDR.0 lladdr VTEP_MAC dev flannel.1 permanent
//   forwarding  VTEP_MAC dst PUBLIC_IP dev flannel.1 permanent
//
// History of the design (flannel's own, kept because the reasons hold): a forwarding entry a pod and ARP answered by
// the agent on L3MISS lost packets whenever the agent was away; one multicast group a VNI needs multicast. One static
// triple a node needs the agent only when nodes come and go. Blocking; loop thread only.
#ifndef SKIFF_CNI_AGENT_OVERLAY_H_
#define SKIFF_CNI_AGENT_OVERLAY_H_

#include <memory>
#include <string>
#include <vector>

#include "base/netlink.h"
#include "cni/agent/peer.h"

namespace skiff::cni {

struct OverlayConfig {
  uint32_t vni = 1;
  uint16_t port = 8472;
  Ip local;  // this node's address; the device that has it carries the frames
  Prefix pod_cidr;
};

class Overlay {
 public:
  // Makes the device, or takes over one that fits (its MAC stays, so that peers' entries do).
  static StatusOr<Overlay> Open(OverlayConfig config);

  const std::string& mac() const { return device_.mac; }
  const std::string& name() const { return device_.name; }
  uint32_t mtu() const { return device_.mtu; }  // for pods: the carrying device's less 50
  // Changes made; errors of single peers are collected into one, the others are applied all the same.
  struct Changes {
    int added = 0, removed = 0;
    Status status;
  };
  Changes Apply(const std::vector<Peer>& peers);

  // Removes the device and with it every entry.
  static Status Remove(uint32_t vni);

 private:
  Overlay(std::unique_ptr<Netlink> netlink, OverlayConfig config, Link device)
      : netlink_(std::move(netlink)), config_(std::move(config)), device_(std::move(device)) {}
  std::unique_ptr<Netlink> netlink_;
  OverlayConfig config_;
  Link device_;
};

}  // namespace skiff::cni

#endif  // SKIFF_CNI_AGENT_OVERLAY_H_
