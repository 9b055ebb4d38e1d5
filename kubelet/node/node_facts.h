// What this node is: machine, addresses, capacity, and what of it pods may have. Read from the kernel and the runtime;
// the shaping into a Node object is pure.
#ifndef SKIFF_KUBELET_NODE_NODE_FACTS_H_
#define SKIFF_KUBELET_NODE_NODE_FACTS_H_

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "kubelet/config.h"
#include "kubelet/node/node_addresses.h"
#include "kubelet/resources/pod_resources.h"
#include "runtime/v1/api.pb.h"

namespace skiff::kubelet {

struct NodeFacts {
  std::string name, hostname;
  std::vector<Ip> given_ips;     // --node-ip
  std::vector<std::string> ips;  // as last chosen (node_addresses.h); none yet, or none found
  std::string machine_id, system_uuid, boot_id, kernel_version, os_image, architecture;
  int cpus = 0;
  int64_t memory = 0, swap = 0;               // bytes
  std::map<std::string, int64_t> huge_pages;  // "2Mi" -> bytes
  int64_t disk_capacity = 0;                  // of the filesystem of the root directory, bytes
  std::string runtime_name, runtime_version;
};

// Of two addresses of a pod the one to name first; v4 where --node-ip says nothing.
inline bool PrefersV6(const NodeFacts& facts) { return !facts.given_ips.empty() && facts.given_ips.front().is_v6(); }

// All but the addresses. The node's name is the override, else the host's name in lower case.
StatusOr<NodeFacts> ReadNodeFacts(const Config& config);

// As /etc/os-release has it now.
std::string OsImage();

struct NodeResources {
  ResourceList capacity, allocatable;
};
// Errors name the field: `systemReserved: cpu: ...`.
StatusOr<NodeResources> ComputeNodeResources(const Config& config, const NodeFacts& facts);

// kInvalidArgument in upstream's words when more is reserved (evictions' thresholds included) than there is.
Status ValidateReservations(const Config& config, const NodeResources& resources);

// What changes from moment to moment.
struct NodeHealth {
  Status runtime;         // the runtime answers and says it is ready
  std::string not_ready;  // why not, else ""; joined reasons
  bool memory_pressure = false, disk_pressure = false, pid_pressure = false;
};

// The annotation that tells a cloud provider what --node-ip says.
inline constexpr char kProvidedNodeIp[] = "alpha.kubernetes.io/provided-node-ip";
// --cloud-provider=external: a cloud-controller-manager initializes the node and keeps its addresses.
bool HasExternalCloudProvider(const Config& config);

// Labels, annotations, taints and the status without conditions.
core::Node MakeNode(const Config& config, const NodeFacts& facts, const NodeResources& resources);
// Capacity and allocatable of what the kubelet counts; extended resources that others put there stay, all of them
// allocatable.
void SetResources(const NodeResources& resources, core::NodeStatus* status);
void SetImages(const ::runtime::v1::ListImagesResponse& images, int64_t most, core::NodeStatus* status);
void SetRuntimeFeatures(const ::runtime::v1::StatusResponse& answer, core::NodeStatus* status);
// The four conditions over what the node had before: transition times stay where the status does.
void SetConditions(const NodeHealth& health, const core::NodeStatus& before, WallTime now, core::NodeStatus* status);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_NODE_NODE_FACTS_H_
