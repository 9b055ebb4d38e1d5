// The kernel's links, addresses, routes, neighbours and forwarding entries by libnl-route, as values. One socket an
// object; blocking calls that answer in microseconds, so they run on the loop. Not thread-safe; one object a thread.
// Errors carry the errno (ErrnoOf): EEXIST and ENOENT/ESRCH/ENODEV are for callers to treat as done.
#ifndef SKIFF_BASE_NETLINK_H_
#define SKIFF_BASE_NETLINK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

struct nl_sock;

namespace skiff {

struct Link {
  int index = 0;
  std::string name, kind, mac;  // kind: "veth", "bridge", "vxlan", ...
  uint32_t mtu = 0, flags = 0;
  int master = 0, peer_index = 0;
  struct Vxlan { uint32_t vni = 0; std::string local; int device = 0; uint16_t port = 0; bool learning = false; };
  std::optional<Vxlan> vxlan;
};

struct Address { int link = 0; std::string address; int prefix = 0; int family = 0; };       // "10.0.0.1", 24
struct Route {
  std::string destination;  // "10.0.0.0/24", "default"; "::/0" for a v6 default
  std::string gateway;      // "" for on-link
  int link = 0; bool onlink = false; std::string source; uint8_t scope = 0; uint32_t table = 254; uint8_t protocol = 4;
};
struct Neighbour { int link = 0; std::string address, mac; bool fdb = false; bool permanent = true; };  // fdb: AF_BRIDGE

class Netlink {
 public:
  // In the calling thread's current network namespace; or in the one of an open /proc/PID/ns/net descriptor.
  static StatusOr<std::unique_ptr<Netlink>> Open();
  static StatusOr<std::unique_ptr<Netlink>> OpenIn(int netns_fd);
  ~Netlink();

  StatusOr<std::vector<Link>> Links();
  StatusOr<Link> LinkByName(const std::string& name);  // kNotFound
  // Makes a veth pair with the peer in another namespace (peer_netns_fd < 0: this one).
  Status AddVeth(const std::string& name, const std::string& peer, int peer_netns_fd, uint32_t mtu, const std::string& peer_mac = "");
  Status AddBridge(const std::string& name, uint32_t mtu);
  Status AddVxlan(const std::string& name, const Link::Vxlan& vxlan, const std::string& mac, uint32_t mtu);
  Status DeleteLink(int index);
  Status SetUp(int index, bool up);
  Status SetMtu(int index, uint32_t mtu);
  Status SetMaster(int index, int master);
  Status SetHairpin(int index, bool on);

  StatusOr<std::vector<Address>> Addresses(int link);  // 0: all links
  Status AddAddress(const Address& address);
  Status DeleteAddress(const Address& address);
  StatusOr<std::vector<Route>> Routes(int family);     // main table, AF_INET or AF_INET6
  Status ReplaceRoute(const Route& route);
  Status DeleteRoute(const Route& route);
  StatusOr<std::vector<Neighbour>> Neighbours(int link, bool fdb);
  Status ReplaceNeighbour(const Neighbour& neighbour);
  Status DeleteNeighbour(const Neighbour& neighbour);

 private:
  explicit Netlink(nl_sock* socket) : socket_(socket) {}
  nl_sock* socket_;
};

}  // namespace skiff

#endif  // SKIFF_BASE_NETLINK_H_
