// The packet programs (bpf/packet.bpf.c) on the node's network devices: for traffic from outside to NodePorts, load
// balancer and external addresses. They are attached by tc, stay when this process goes, and are replaced atomically.
// Loop thread only; blocking (milliseconds).
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
  bool operator==(const PacketDevice&) const = default;
};

// Which devices traffic from outside, or from other nodes, comes in by: those with a default route, those that hold an
// address of the Node object, and VXLAN devices; or just `only`, by name. Devices without Ethernet frames never.
std::vector<PacketDevice> SelectDevices(std::span<const Link> links, std::span<const ::skiff::Address> addresses,
                                        std::span<const Route> routes, std::span<const Address> node,
                                        std::span<const std::string> only);
// The same from the kernel, for the calling thread's network namespace.
StatusOr<std::vector<PacketDevice>> FindDevices(std::span<const Address> node, std::span<const std::string> only);

// Entries of the connection table. kNotFound where the packet path was never loaded.
StatusOr<size_t> CountFlows(const std::string& maps_dir);

class PacketPath {
 public:
  static StatusOr<std::unique_ptr<PacketPath>> Load(const std::string& maps_dir);
  // Attaches to these devices and no others. An error names the device; the others are done.
  Status Update(const std::vector<PacketDevice>& devices);

  // Takes the programs off every device of the calling thread's network namespace.
  static Status Remove();

 private:
  PacketPath() = default;
  Fd in_, out_, devices_map_;
  std::map<int, PacketDevice> attached_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PACKET_PATH_H_
