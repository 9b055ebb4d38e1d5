// The packet programs (bpf/packet.bpf.c) on the node's network devices: for traffic from outside to NodePorts, load
// balancer and external addresses, and for what pods send to services past the hooks at their sockets. They are
// attached by tcx or tc (bpf/devices.h), stay when this process goes, and are replaced atomically. Loop thread only;
// blocking (milliseconds).
#ifndef SKIFF_PROXY_PACKET_PATH_H_
#define SKIFF_PROXY_PACKET_PATH_H_

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/netlink.h"
#include "proxy/address.h"

namespace skiff::proxy {

struct PacketDevice {
  int index = 0;
  std::string name;
  Address v4 = {}, v6 = {};  // what masquerading takes; zero: none
  bool pod = false;          // a pod is at its other end
  bool guard = false;  // of the outside, where nothing is translated: only what leaves for cluster IPs is looked at
  bool local = false;  // whatever it sends is a local pod's (detectLocalMode by device)
  bool operator==(const PacketDevice&) const = default;
};

struct DeviceChoice {
  // Devices that traffic from outside, or from other nodes, comes in by: those with a default route, those that hold
  // one of the addresses in `node`, and VXLAN devices; or just `only`, by name.
  bool outside = true;
  bool guard = false;  // and where `outside` is false, these get the guard
  std::vector<std::string> only;
  // Devices of pods: veth devices, and tap devices that are ports of a bridge, that are not devices for the outside.
  bool pods = false;
  std::string bridge, prefix;  // a port of this bridge, or a device so called, is `local`
  std::vector<Address> node;   // the Node object's addresses; the first of a family where a device has none
};

// Devices without Ethernet frames never.
std::vector<PacketDevice> SelectDevices(std::span<const Link> links, std::span<const ::skiff::Address> addresses,
                                        std::span<const Route> routes, const DeviceChoice& choice);
// The same from the kernel, for the calling thread's network namespace.
StatusOr<std::vector<PacketDevice>> FindDevices(const DeviceChoice& choice);

class PacketPath {
 public:
  // Takes a fraction of a second, most of it the kernel's verifier: any thread. `xdp`: connections of the outside to
  // endpoints on other nodes are forwarded at the drivers of devices that can, once the tc programs have placed them.
  static StatusOr<std::unique_ptr<PacketPath>> Load(const std::string& maps_dir, bool xdp = false);
  // Attaches to these devices and no others. An error names the device; the others are done.
  Status Update(const std::vector<PacketDevice>& devices);

  // Takes the programs off every device of the calling thread's network namespace.
  static Status Remove();

 private:
  PacketPath() = default;
  Fd in_, out_, pod_, guard_, xdp_, devices_map_;
  std::map<int, PacketDevice> attached_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PACKET_PATH_H_
