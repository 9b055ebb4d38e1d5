#include "proxy/packet_path.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "bpf/devices.h"
#include "bpf/objects.h"
#include "bpf/skeletons.h"

namespace skiff::proxy {

namespace {

using bpf::Direction;

constexpr char kProgramPrefix[] = "packet_";

// Devices whose packets start with the IP header.
bool HasNoEthernet(const std::string& kind) {
  static const std::set<std::string> kKinds = {"tun",    "wireguard", "ipip", "sit",  "gre",   "ip6gre",
                                               "ip6tnl", "vti",       "vti6", "xfrm", "ipvlan"};
  return kKinds.contains(kind);
}

// An upgrade from a version without this table: every pod may have connections that are older than it. Pinned when it
// is filled, so that a start that is killed meanwhile is one that never was.
Status AssumeFlowsOfAllPods(const std::string& pin) {
  Fd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "pod_addresses", sizeof(uint32_t), sizeof(uint64_t), SKIFF_POD_SLOTS + 1,
                        nullptr));
  if (!map.valid()) return ErrnoStatus(errno, "create map pod_addresses");
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);  // as bpf_ktime_get_ns
  const uint64_t used = static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
  for (uint32_t slot = 0; slot <= SKIFF_POD_SLOTS; slot++) {
    if (bpf_map_update_elem(map.get(), &slot, &used, BPF_ANY) != 0) {
      return ErrnoStatus(errno, "update map pod_addresses");
    }
  }
  if (bpf_obj_pin(map.get(), pin.c_str()) != 0) return ErrnoStatus(errno, absl::StrCat("pin ", pin));
  return absl::OkStatus();
}

}  // namespace

std::vector<PacketDevice> SelectDevices(std::span<const Link> links, std::span<const ::skiff::Address> addresses,
                                        std::span<const Route> routes, const DeviceChoice& choice) {
  std::vector<PacketDevice> out;
  auto find_addresses = [&](int link, PacketDevice* device, bool* of_node) {
    for (const auto& a : addresses) {
      if (a.link != link) continue;
      auto parsed = ParseAddress(a.address);
      if (!parsed || IsLinkLocal(*parsed)) continue;
      Address& own = FamilyOf(*parsed) == Family::kIPv4 ? device->v4 : device->v6;
      if (own == Address{}) own = *parsed;
      if (std::find(choice.node.begin(), choice.node.end(), *parsed) != choice.node.end()) *of_node = true;
    }
  };
  for (const Link& link : links) {
    if (link.flags & IFF_LOOPBACK) continue;
    bool tap = link.kind == "tun" && link.master != 0;  // what a bridge takes has frames
    if (HasNoEthernet(link.kind) && !tap) continue;
    PacketDevice device{.index = link.index, .name = link.name};
    bool of_node = false;
    find_addresses(link.index, &device, &of_node);
    bool outside = of_node || link.kind == "vxlan";
    for (const Route& route : routes) {
      bool is_default =
          route.destination == "default" || route.destination == "::/0" || route.destination == "0.0.0.0/0";
      outside |= route.link == link.index && is_default;
    }
    if (!choice.only.empty()) {
      outside = std::find(choice.only.begin(), choice.only.end(), link.name) != choice.only.end();
    }
    if (!outside) {
      auto master = std::find_if(links.begin(), links.end(), [&](const Link& l) { return l.index == link.master; });
      bool port = !choice.bridge.empty() && master != links.end() && master->name == choice.bridge;
      device.local = port || (!choice.prefix.empty() && link.name.starts_with(choice.prefix));
      device.pod = link.kind == "veth" || tap || device.local;
      if (link.master != 0) find_addresses(link.master, &device, &of_node);
    }
    device.guard = outside && !choice.outside;
    if (!(outside ? choice.outside || choice.guard : choice.pods && device.pod)) continue;
    for (const Address& a : choice.node) {
      Address& own = FamilyOf(a) == Family::kIPv4 ? device.v4 : device.v6;
      if (own == Address{}) own = a;
    }
    out.push_back(std::move(device));
  }
  return out;
}

StatusOr<std::vector<PacketDevice>> FindDevices(const DeviceChoice& choice) {
  ASSIGN_OR_RETURN(auto netlink, Netlink::Open());
  ASSIGN_OR_RETURN(auto links, netlink->Links());
  ASSIGN_OR_RETURN(auto addresses, netlink->Addresses(0));
  ASSIGN_OR_RETURN(auto routes, netlink->Routes(AF_INET));
  ASSIGN_OR_RETURN(auto routes6, netlink->Routes(AF_INET6));
  routes.insert(routes.end(), routes6.begin(), routes6.end());
  return SelectDevices(links, addresses, routes, choice);
}

StatusOr<std::unique_ptr<PacketPath>> PacketPath::Load(const std::string& maps_dir, bool xdp) {
  std::unique_ptr<PacketPath> out(new PacketPath());
  if (const std::string pin = JoinPath(maps_dir, "pod_addresses");
      Exists(JoinPath(maps_dir, "flows")) && !Exists(pin)) {
    RETURN_IF_ERROR(AssumeFlowsOfAllPods(pin));
  }
  ASSIGN_OR_RETURN(auto programs, bpf::Programs::Load(bpf::ProgramSet::kPacket, maps_dir));
  ASSIGN_OR_RETURN(out->in_, programs.Take("packet_in"));
  ASSIGN_OR_RETURN(out->out_, programs.Take("packet_out"));
  ASSIGN_OR_RETURN(out->pod_, programs.Take("packet_pod"));
  ASSIGN_OR_RETURN(out->guard_, programs.Take("packet_guard"));
  if (xdp) {
    ASSIGN_OR_RETURN(auto fast, bpf::Programs::Load(bpf::ProgramSet::kXdp, maps_dir));
    ASSIGN_OR_RETURN(out->xdp_, fast.Take("packet_xdp"));
  }
  ASSIGN_OR_RETURN(out->devices_map_, bpf::OpenPinned(JoinPath(maps_dir, "devices")));
  // An earlier process may have had other devices. Their programs go when Update does not name them.
  uint32_t key = 0, next = 0;
  std::vector<uint32_t> had;
  for (bool first = true; bpf_map_get_next_key(out->devices_map_.get(), first ? nullptr : &key, &next) == 0;
       key = next, first = false) {
    had.push_back(next);
  }
  for (uint32_t index : had) {
    out->attached_[static_cast<int>(index)] = PacketDevice{.index = static_cast<int>(index)};
  }
  return out;
}

Status PacketPath::Update(const std::vector<PacketDevice>& devices) {
  Status first_error;
  auto note = [&](const PacketDevice& device, const Status& status) {
    if (!status.ok() && first_error.ok()) first_error = Annotate(status, absl::StrCat("device ", device.name));
  };
  std::map<int, PacketDevice> wanted;
  for (const PacketDevice& device : devices) wanted[device.index] = device;
  for (const auto& [index, device] : wanted) {
    auto was = attached_.find(index);
    if (was != attached_.end() && was->second == device) continue;
    auto key = static_cast<uint32_t>(index);
    skiff_device value = {
        .v4 = device.v4, .v6 = device.v6, .flags = device.local ? uint32_t{SKIFF_DEVICE_LOCAL} : 0u, .reserved = 0};
    if (bpf_map_update_elem(devices_map_.get(), &key, &value, BPF_ANY) != 0) {
      note(device, ErrnoStatus(errno, "update map devices"));
      continue;
    }
    // Out before in: no connection starts whose answers would not be translated.
    const Fd& way_out = device.guard ? guard_ : device.pod ? pod_ : out_;
    Status status = bpf::AttachProgram(index, Direction::kOut, way_out.get(), kProgramPrefix);
    if (status.ok()) {
      status = device.guard
                   ? bpf::DetachProgram(index, Direction::kIn, kProgramPrefix)
                   : bpf::AttachProgram(index, Direction::kIn, (device.pod ? pod_ : in_).get(), kProgramPrefix);
    }
    note(device, status);
    if (!status.ok()) continue;
    attached_[index] = device;
    if (!xdp_.valid() || device.pod || device.guard) {
      (void)bpf::DetachXdp(index, kProgramPrefix);
      continue;
    }
    Status fast = bpf::AttachXdp(index, xdp_.get(), kProgramPrefix);
    if (!fast.ok()) {
      LOG_WARNING("No XDP on this device; packets take the way through the kernel", {"device", device.name},
                  {"reason", fast.message()});
      continue;
    }
    value.flags |= SKIFF_DEVICE_XDP;
    bpf_map_update_elem(devices_map_.get(), &key, &value, BPF_ANY);
  }
  for (auto it = attached_.begin(); it != attached_.end();) {
    if (wanted.contains(it->first)) {
      ++it;
      continue;
    }
    // The device is mostly gone.
    (void)bpf::DetachProgram(it->first, Direction::kIn, kProgramPrefix);
    (void)bpf::DetachProgram(it->first, Direction::kOut, kProgramPrefix);
    (void)bpf::DetachXdp(it->first, kProgramPrefix);
    auto key = static_cast<uint32_t>(it->first);
    bpf_map_delete_elem(devices_map_.get(), &key);
    it = attached_.erase(it);
  }
  return first_error;
}

Status PacketPath::Remove() {
  ASSIGN_OR_RETURN(auto netlink, Netlink::Open());
  ASSIGN_OR_RETURN(auto links, netlink->Links());
  for (const Link& link : links) {
    RETURN_IF_ERROR(bpf::DetachXdp(link.index, kProgramPrefix), link.name);
    RETURN_IF_ERROR(bpf::DetachProgram(link.index, Direction::kIn, kProgramPrefix), link.name);
    RETURN_IF_ERROR(bpf::DetachProgram(link.index, Direction::kOut, kProgramPrefix), link.name);
  }
  return absl::OkStatus();
}

}  // namespace skiff::proxy
