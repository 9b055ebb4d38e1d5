// A pod's wire: a veth pair, one end in the pod, the other on the node, and routes; no bridge. In the pod everything
// goes to a link-local gateway whose neighbour entry is permanent and names the node's end, so that no ARP is needed
// and pods never see each other's frames; on the node each pod address is a host route to its veth.
//
// Rejected: a bridge (another forwarding table, flooding, ARP between pods, hairpin special cases), and proxy ARP (the
// first packet waits for an answer, and a node that answers for any address).
// Blocking; one thread.
#ifndef SKIFF_CNI_PLUGIN_WIRE_H_
#define SKIFF_CNI_PLUGIN_WIRE_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "cni/plugin/request.h"

namespace skiff::cni {

inline constexpr const char* kGateway4 = "169.254.1.1";
inline constexpr const char* kGateway6 = "fe80::1";

// The node's end: "skf" and eleven hex digits of a hash of the attachment, the same at every call.
std::string HostInterface(const Attachment& attachment);

struct Wire {
  std::string host_interface, host_mac, pod_mac;
  uint32_t mtu = 0;
};

// Connects; what an earlier, cut-off call left is replaced. On error nothing is left behind.
StatusOr<Wire> Connect(const Attachment& attachment, const std::string& netns, const std::vector<Ip>& addresses,
                       uint32_t mtu);
// Removes both ends and their routes. Fine when nothing is there. Routes go first and at once: from then on nobody
// reaches the pod's addresses through the node, and they may be given again. The kernel takes tens of milliseconds to
// take a device away (it waits for every processor); with kBackground a child process does that, and if it is killed,
// the pod's namespace takes the device along when the runtime removes it.
enum class Removal { kNow, kBackground };
Status Disconnect(const Attachment& attachment, Removal removal = Removal::kNow);
// Both ends, addresses and routes are as Connect made them; the error says what is not.
Status Check(const Attachment& attachment, const std::string& netns, const std::vector<Ip>& addresses);

Status BringUpLoopback(const std::string& netns);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_WIRE_H_
