// The kernel's links, addresses, routes, neighbours and forwarding entries over rtnetlink, as values. Messages are
// built and parsed with libnl's core: its route library reports its own error numbers and loses the kernel's errno,
// which callers need. One socket an object; blocking calls that answer in microseconds, so they run on the loop. Not
// thread-safe; one object a thread. Errors carry the errno (ErrnoOf) and the kernel's own words where it sends some:
// EEXIST and ENOENT/ESRCH/ENODEV are for callers to treat as done.
#ifndef SKIFF_BASE_NETLINK_H_
#define SKIFF_BASE_NETLINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

struct nl_sock;
struct nl_msg;
struct nlmsghdr;

namespace skiff {

struct VxlanLink {
  uint32_t vni = 0;
  std::string local;  // "" for any
  int device = 0;     // the link below, 0 for none
  uint16_t port = 0;
  bool learning = false;
};

struct Link {
  int index = 0;
  std::string name, kind, mac;     // kind: "veth", "bridge", "vxlan", ...
  uint32_t mtu = 0, flags = 0;     // flags: IFF_*
  int master = 0, peer_index = 0;  // peer_index: of a veth, in the peer's namespace
  using Vxlan = VxlanLink;
  std::optional<Vxlan> vxlan;
};

struct Address {
  int link = 0;
  std::string address;  // "10.0.0.1"
  int prefix = 0;       // 24
  int family = 0;       // AF_INET or AF_INET6; filled in answers, ignored in requests
};

struct Route {
  std::string destination;  // "10.0.0.0/24", "default"; "::/0" for a v6 default
  std::string gateway;      // "" for on-link
  int link = 0;
  bool onlink = false;   // the gateway is on the link although no address says so
  std::string source;    // preferred source address
  uint8_t scope = 0;     // in requests 0 is global, or link where a v4 route has no gateway, as `ip route` has it
  uint32_t table = 254;  // main
  uint8_t protocol = 4;  // RTPROT_STATIC
};

struct Neighbour {
  int link = 0;
  std::string address, mac;
  bool fdb = false;  // a forwarding entry (AF_BRIDGE) of the link itself: frames for `mac` go to the VTEP `address`
  bool permanent = true;
};

class Netlink {
 public:
  // In the calling thread's current network namespace; or in the one of an open /proc/PID/ns/net descriptor.
  static StatusOr<std::unique_ptr<Netlink>> Open();
  static StatusOr<std::unique_ptr<Netlink>> OpenIn(int netns_fd);
  ~Netlink();

  StatusOr<std::vector<Link>> Links();
  StatusOr<Link> LinkByName(const std::string& name);  // kNotFound
  // Makes a veth pair with the peer in another namespace (peer_netns_fd < 0: this one).
  // mtu 0: the kernel's default. Hardware addresses "" are random.
  Status AddVeth(const std::string& name, const std::string& peer, int peer_netns_fd, uint32_t mtu,
                 const std::string& peer_mac = "", const std::string& mac = "");
  Status AddBridge(const std::string& name, uint32_t mtu);
  Status AddVxlan(const std::string& name, const Link::Vxlan& vxlan, const std::string& mac, uint32_t mtu);
  Status DeleteLink(int index);
  Status SetUp(int index, bool up);
  Status SetMtu(int index, uint32_t mtu);
  Status SetMac(int index, const std::string& mac);
  Status SetMaster(int index, int master);  // 0: none
  Status SetHairpin(int index, bool on);    // of a bridge port

  StatusOr<std::vector<Address>> Addresses(int link);  // 0: all links
  Status AddAddress(const Address& address);
  Status DeleteAddress(const Address& address);
  StatusOr<std::vector<Route>> Routes(int family);  // main table, AF_INET or AF_INET6; the first hop of several
  Status ReplaceRoute(const Route& route);
  Status DeleteRoute(const Route& route);
  StatusOr<std::vector<Neighbour>> Neighbours(int link, bool fdb);
  Status ReplaceNeighbour(const Neighbour& neighbour);
  Status DeleteNeighbour(const Neighbour& neighbour);

 private:
  explicit Netlink(nl_sock* socket) : socket_(socket) {}
  Status Request(nl_msg* message, const std::string& context);
  Status Dump(nl_msg* message, const std::string& context, const std::function<void(const nlmsghdr&)>& each);
  Status ChangeLink(int index, const std::string& context, const std::function<void(nl_msg*)>& attributes,
                    uint32_t flags = 0, uint32_t change = 0);
  Status ChangeNeighbour(int type, int flags, const Neighbour& neighbour);
  Status ChangeRoute(int type, int flags, const Route& route);
  Status ChangeAddress(int type, int flags, const Address& address);
  nl_sock* socket_;
};

}  // namespace skiff

#endif  // SKIFF_BASE_NETLINK_H_
