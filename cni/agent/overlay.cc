#include "cni/agent/overlay.h"

#include <sys/socket.h>

#include <algorithm>
#include <set>

#include "base/files.h"
#include "base/tls.h"

namespace skiff::cni {
namespace {

constexpr uint32_t kEncapsulation = 50;  // outer IPv4, UDP, VXLAN and inner Ethernet headers

std::string DeviceName(uint32_t vni) { return absl::StrCat("flannel.", vni); }

std::string RandomMac() {
  std::string raw = RandomBytes(6);
  raw[0] = static_cast<char>((raw[0] & 0xfc) | 0x02);  // locally administered, unicast
  std::string text;
  for (unsigned char c : raw) absl::StrAppend(&text, text.empty() ? "" : ":", absl::Hex(c, absl::kZeroPad2));
  return text;
}

StatusOr<Link> Carrier(Netlink& netlink, const Ip& local) {
  ASSIGN_OR_RETURN(const std::vector<Address> addresses, netlink.Addresses(0));
  const std::string text = local.ToString();
  for (const Address& address : addresses) {
    if (address.address != text) continue;
    ASSIGN_OR_RETURN(const std::vector<Link> links, netlink.Links());
    for (const Link& link : links)
      if (link.index == address.link) return link;
  }
  return NotFound("no interface of this node has the address ", text);
}

}  // namespace

StatusOr<Overlay> Overlay::Open(OverlayConfig config) {
  ASSIGN_OR_RETURN(auto netlink, Netlink::Open());
  ASSIGN_OR_RETURN(const Link carrier, Carrier(*netlink, config.local));
  const std::string name = DeviceName(config.vni);
  const uint32_t mtu = carrier.mtu > kEncapsulation ? carrier.mtu - kEncapsulation : carrier.mtu;
  auto device = netlink->LinkByName(name);
  if (device.ok()) {
    const bool fits = device->vxlan && device->vxlan->vni == config.vni && device->vxlan->port == config.port &&
                      device->vxlan->local == config.local.ToString() && device->vxlan->device == carrier.index &&
                      !device->vxlan->learning;
    if (!fits) {
      RETURN_IF_ERROR(netlink->DeleteLink(device->index), "replace ", name);
      device = NotFound(name);
    }
  }
  if (!device.ok()) {
    Link::Vxlan vxlan;
    vxlan.vni = config.vni;
    vxlan.local = config.local.ToString();
    vxlan.device = carrier.index;
    vxlan.port = config.port;
    RETURN_IF_ERROR(netlink->AddVxlan(name, vxlan, RandomMac(), mtu), "create ", name);
    device = netlink->LinkByName(name);
    if (!device.ok()) return device.status();
  }
  if (device->mtu != mtu) {
    RETURN_IF_ERROR(netlink->SetMtu(device->index, mtu), "set the MTU of ", name);
    device->mtu = mtu;
  }
  RETURN_IF_ERROR(netlink->SetUp(device->index, true), "bring up ", name);
  // The subnet's own network address: the source of what the node itself sends to pods elsewhere.
  Address address{device->index, config.pod_cidr.First().ToString(), 32, AF_INET};
  ASSIGN_OR_RETURN(const std::vector<Address> have, netlink->Addresses(device->index));
  for (const Address& other : have)
    if (other.family == AF_INET && other.address != address.address)
      RETURN_IF_ERROR(netlink->DeleteAddress(other), "remove the old address of ", name);
  const Status added = netlink->AddAddress(address);
  if (!added.ok() && ErrnoOf(added) != EEXIST) return Annotate(added, absl::StrCat("address ", name));
  return Overlay(std::move(netlink), std::move(config), *std::move(device));
}

Overlay::Changes Overlay::Apply(const std::vector<Peer>& peers) {
  Changes changes;
  auto note = [&](const Status& status, const std::string& what) {
    if (!status.ok() && changes.status.ok()) changes.status = Annotate(status, what);
    return status.ok();
  };
  auto fdb = netlink_->Neighbours(device_.index, true);
  auto neighbours = netlink_->Neighbours(device_.index, false);
  auto routes = netlink_->Routes(AF_INET);
  if (!note(fdb.status(), "read forwarding entries") || !note(neighbours.status(), "read neighbours") ||
      !note(routes.status(), "read routes"))
    return changes;

  std::set<std::pair<std::string, std::string>> want_fdb, want_neighbours, want_routes;
  for (const Peer& peer : peers) {
    const std::string gateway = peer.pod_cidr.First().ToString();
    const std::string cidr = Prefix{peer.pod_cidr.First(), peer.pod_cidr.length}.ToString();
    Neighbour entry{device_.index, peer.public_ip.ToString(), peer.mac, true, true};
    Neighbour neighbour{device_.index, gateway, peer.mac, false, true};
    want_fdb.insert({entry.mac, entry.address});
    want_neighbours.insert({neighbour.address, neighbour.mac});
    want_routes.insert({cidr, gateway});
    // In the order a packet needs them last to first: a route only leads to what is complete.
    if (std::none_of(fdb->begin(), fdb->end(),
                     [&](const Neighbour& n) { return n.mac == entry.mac && n.address == entry.address; }))
      changes.added += note(netlink_->ReplaceNeighbour(entry), absl::StrCat("node ", peer.node, ": forwarding entry"));
    if (std::none_of(neighbours->begin(), neighbours->end(),
                     [&](const Neighbour& n) { return n.address == gateway && n.mac == peer.mac; }))
      changes.added += note(netlink_->ReplaceNeighbour(neighbour), absl::StrCat("node ", peer.node, ": neighbour"));
    if (std::none_of(routes->begin(), routes->end(), [&](const Route& r) {
          return r.link == device_.index && r.destination == cidr && r.gateway == gateway;
        })) {
      Route route;
      route.destination = cidr;
      route.gateway = gateway;
      route.link = device_.index;
      route.onlink = true;
      changes.added += note(netlink_->ReplaceRoute(route), absl::StrCat("node ", peer.node, ": route to ", cidr));
    }
  }
  for (const Route& route : *routes)
    if (route.link == device_.index && !route.gateway.empty() &&
        !want_routes.contains({route.destination, route.gateway}))
      changes.removed += note(netlink_->DeleteRoute(route), absl::StrCat("remove route to ", route.destination));
  for (const Neighbour& n : *neighbours)
    if (n.permanent && n.address.find(':') == std::string::npos && !want_neighbours.contains({n.address, n.mac}))
      changes.removed += note(netlink_->DeleteNeighbour(n), absl::StrCat("remove neighbour ", n.address));
  for (const Neighbour& n : *fdb)
    if (!n.address.empty() && !want_fdb.contains({n.mac, n.address}))
      changes.removed += note(netlink_->DeleteNeighbour(n), absl::StrCat("remove forwarding entry ", n.mac));
  return changes;
}

Status Overlay::Remove(uint32_t vni) {
  ASSIGN_OR_RETURN(const auto netlink, Netlink::Open());
  const auto device = netlink->LinkByName(DeviceName(vni));
  if (!device.ok()) return device.status().code() == absl::StatusCode::kNotFound ? absl::OkStatus() : device.status();
  return netlink->DeleteLink(device->index);
}

}  // namespace skiff::cni
