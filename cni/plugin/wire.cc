#include "cni/plugin/wire.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/files.h"
#include "base/netlink.h"
#include "cni/plugin/error.h"

namespace skiff::cni {
namespace {

// 64-bit FNV-1a: a name for an interface, nothing secret.
uint64_t Hash(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (unsigned char c : text) hash = (hash ^ c) * 1099511628211u;
  return hash;
}

StatusOr<Fd> OpenNetns(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid())
    return CniError(ErrorCode::kInvalidEnvironment,
                    ErrnoStatus(errno, absl::StrCat("failed to open netns \"", path, "\"")).message());
  struct statfs fs {};
  struct stat self {
  }, other{};
  if (fstatfs(fd.get(), &fs) != 0 || (fs.f_type != NSFS_MAGIC && fs.f_type != PROC_SUPER_MAGIC))
    return CniError(ErrorCode::kInvalidEnvironment,
                    absl::StrCat("failed to open netns \"", path, "\": not a network namespace"));
  if (stat("/proc/self/ns/net", &self) == 0 && fstat(fd.get(), &other) == 0 && self.st_ino == other.st_ino)
    return CniError(ErrorCode::kInvalidEnvironment,
                    absl::StrCat("CNI_NETNS \"", path, "\" is the network namespace that the plugin itself runs in"));
  return fd;
}

// Best effort: an IPv6-less kernel has no such file, and needs no such setting.
void SetSysctl(const std::string& interface, const char* family, const char* key, const char* value) {
  const std::string path = absl::StrCat("/proc/sys/net/", family, "/conf/", interface, "/", key);
  Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.valid() && write(fd.get(), value, 1) < 0) return;
}

void Forward(const std::vector<Ip>& addresses) {
  for (const Ip& ip : addresses) {
    Fd fd(open(ip.v6 ? "/proc/sys/net/ipv6/conf/all/forwarding" : "/proc/sys/net/ipv4/ip_forward", O_RDWR | O_CLOEXEC));
    char now = 0;
    if (fd.valid() && read(fd.get(), &now, 1) == 1 && now == '0' && pwrite(fd.get(), "1", 1, 0) < 0) return;
  }
}

Status ConfigurePod(Netlink& pod, const std::string& interface, const std::string& host_mac,
                    const std::vector<Ip>& addresses) {
  ASSIGN_OR_RETURN(const Link link, pod.LinkByName(interface));
  if (auto lo = pod.LinkByName("lo"); lo.ok()) RETURN_IF_ERROR(pod.SetUp(lo->index, true), "bring up lo");
  RETURN_IF_ERROR(pod.SetUp(link.index, true), "bring up ", interface);
  for (const Ip& ip : addresses) {
    Address address{link.index, ip.ToString(), ip.bits(), ip.v6 ? AF_INET6 : AF_INET};
    RETURN_IF_ERROR(pod.AddAddress(address), "add address ", address.address);
    const std::string gateway = ip.v6 ? kGateway6 : kGateway4;
    Neighbour neighbour;
    neighbour.link = link.index;
    neighbour.address = gateway;
    neighbour.mac = host_mac;
    RETURN_IF_ERROR(pod.ReplaceNeighbour(neighbour), "add neighbour ", gateway);
    Route route;
    route.destination = ip.v6 ? "::/0" : "default";
    route.gateway = gateway;
    route.link = link.index;
    route.onlink = true;
    RETURN_IF_ERROR(pod.ReplaceRoute(route), "add default route");
  }
  return absl::OkStatus();
}

Status ConfigureHost(Netlink& host, const Link& link, const std::string& pod_mac, const std::vector<Ip>& addresses) {
  // A pod's router advertisements must never configure the node (CVE-2020-10749), nor its source address pick a path.
  SetSysctl(link.name, "ipv6", "accept_ra", "0");
  SetSysctl(link.name, "ipv6", "accept_redirects", "0");
  RETURN_IF_ERROR(host.SetUp(link.index, true), "bring up ", link.name);
  for (const Ip& ip : addresses) {
    Neighbour neighbour;
    neighbour.link = link.index;
    neighbour.address = ip.ToString();
    neighbour.mac = pod_mac;
    RETURN_IF_ERROR(host.ReplaceNeighbour(neighbour), "add neighbour ", neighbour.address);
    Route route;
    route.destination = absl::StrCat(ip.ToString(), "/", ip.bits());
    route.link = link.index;
    route.scope = ip.v6 ? 0 : 253;  // RT_SCOPE_LINK
    RETURN_IF_ERROR(host.ReplaceRoute(route), "add route to ", route.destination);
  }
  return absl::OkStatus();
}

}  // namespace

std::string HostInterface(const Attachment& attachment) {
  const uint64_t hash = Hash(absl::StrCat(attachment.container_id, "/", attachment.interface));
  return absl::StrCat("skf", absl::Hex(hash >> 20, absl::kZeroPad11));
}

StatusOr<Wire> Connect(const Attachment& attachment, const std::string& netns, const std::vector<Ip>& addresses,
                       uint32_t mtu) {
  ASSIGN_OR_RETURN(const Fd ns, OpenNetns(netns));
  ASSIGN_OR_RETURN(const auto host, Netlink::Open());
  ASSIGN_OR_RETURN(const auto pod, Netlink::OpenIn(ns.get()));
  const std::string name = HostInterface(attachment);
  if (auto old = host->LinkByName(name); old.ok()) {
    RETURN_IF_ERROR(host->DeleteLink(old->index), "remove left-over ", name);
  }
  if (pod->LinkByName(attachment.interface).ok())
    return absl::AlreadyExistsError(absl::StrCat("container veth name \"", attachment.interface, "\" already exists"));
  RETURN_IF_ERROR(host->AddVeth(name, attachment.interface, ns.get(), mtu), "create veth ", name);

  auto configure = [&]() -> StatusOr<Wire> {
    ASSIGN_OR_RETURN(const Link outer, host->LinkByName(name));
    ASSIGN_OR_RETURN(const Link inner, pod->LinkByName(attachment.interface));
    Forward(addresses);
    RETURN_IF_ERROR(ConfigureHost(*host, outer, inner.mac, addresses), "configure ", name);
    RETURN_IF_ERROR(ConfigurePod(*pod, attachment.interface, outer.mac, addresses), "configure ", attachment.interface,
                    " in ", netns);
    return Wire{name, outer.mac, inner.mac, mtu};
  };
  auto wire = configure();
  if (!wire.ok()) {
    if (auto made = host->LinkByName(name); made.ok())
      RETURN_IF_ERROR(host->DeleteLink(made->index), wire.status().message());
  }
  return wire;
}

Status Disconnect(const Attachment& attachment, Removal removal) {
  ASSIGN_OR_RETURN(const auto host, Netlink::Open());
  auto link = host->LinkByName(HostInterface(attachment));
  if (!link.ok()) return link.status().code() == absl::StatusCode::kNotFound ? absl::OkStatus() : link.status();
  for (const int family : {AF_INET, AF_INET6}) {
    ASSIGN_OR_RETURN(const std::vector<Route> routes, host->Routes(family));
    for (const Route& route : routes) {
      if (route.link != link->index || route.destination.starts_with("fe80")) continue;
      Status removed = host->DeleteRoute(route);
      if (!removed.ok() && ErrnoOf(removed) != ESRCH) return Annotate(removed, "remove route to " + route.destination);
    }
  }
  if (removal == Removal::kBackground) {
    const pid_t child = fork();
    if (child > 0) return absl::OkStatus();
    if (child == 0) {
      // The runtime reads our output to its end: the child must not hold it open.
      for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(fd);
      (void)host->DeleteLink(link->index).ok();
      _exit(0);
    }
    // No process to be had: the parent does it itself.
  }
  Status deleted = host->DeleteLink(link->index);
  if (ErrnoOf(deleted) == ENODEV) return absl::OkStatus();  // the namespace went away in the same moment
  return deleted;
}

Status Check(const Attachment& attachment, const std::string& netns, const std::vector<Ip>& addresses) {
  ASSIGN_OR_RETURN(const Fd ns, OpenNetns(netns));
  ASSIGN_OR_RETURN(const auto host, Netlink::Open());
  ASSIGN_OR_RETURN(const auto pod, Netlink::OpenIn(ns.get()));
  const std::string name = HostInterface(attachment);
  ASSIGN_OR_RETURN(const Link outer, host->LinkByName(name), "the node's end of the pod's veth");
  ASSIGN_OR_RETURN(const Link inner, pod->LinkByName(attachment.interface), "the pod's interface");
  for (const Link* link : {&outer, &inner})
    if (!(link->flags & IFF_UP)) return FailedPrecondition("interface ", link->name, " is down");
  ASSIGN_OR_RETURN(const std::vector<Address> have, pod->Addresses(inner.index));
  for (const Ip& ip : addresses) {
    const std::string text = ip.ToString();
    if (std::none_of(have.begin(), have.end(), [&](const Address& a) { return a.address == text; }))
      return FailedPrecondition("interface ", inner.name, " of the pod does not have address ", text);
    const int family = ip.v6 ? AF_INET6 : AF_INET;
    ASSIGN_OR_RETURN(const std::vector<Route> routes, host->Routes(family));
    const std::string destination = absl::StrCat(text, "/", ip.bits());
    if (std::none_of(routes.begin(), routes.end(), [&](const Route& r) {
          return (r.destination == destination || r.destination == text) && r.link == outer.index;
        }))
      return FailedPrecondition("the node has no route to ", destination, " through ", name);
    ASSIGN_OR_RETURN(const std::vector<Route> inside, pod->Routes(family));
    const std::string gateway = ip.v6 ? kGateway6 : kGateway4;
    if (std::none_of(inside.begin(), inside.end(),
                     [&](const Route& r) { return r.gateway == gateway && r.link == inner.index; }))
      return FailedPrecondition("the pod has no default route through ", gateway);
  }
  return absl::OkStatus();
}

Status BringUpLoopback(const std::string& netns) {
  ASSIGN_OR_RETURN(const Fd ns, OpenNetns(netns));
  ASSIGN_OR_RETURN(const auto pod, Netlink::OpenIn(ns.get()));
  ASSIGN_OR_RETURN(const Link lo, pod->LinkByName("lo"));
  return Annotate(pod->SetUp(lo.index, true), "bring up lo");
}

}  // namespace skiff::cni
