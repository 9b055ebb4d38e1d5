// A pod's and a container's specification as the runtime's configuration. Pure but for the clock-free inputs given;
// errors are what the user sees as CreateContainerConfigError.
#ifndef SKIFF_KUBELET_RUNTIME_CONTAINER_CONFIG_H_
#define SKIFF_KUBELET_RUNTIME_CONTAINER_CONFIG_H_

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "kubelet/pod/types.h"
#include "kubelet/runtime/dns.h"
#include "kubelet/runtime/env.h"
#include "kubelet/volume/volume_manager.h"
#include "runtime/v1/api.pb.h"

namespace skiff::kubelet {

namespace cri_v1 = ::runtime::v1;

struct NodeSettings {
  std::string logs_dir, seccomp_root;  // seccomp_root: ROOT/seccomp
  bool seccomp_default = false, cfs_quota = true, cgroup_v2 = false;
  bool single_process_oom_kill = false, swap_controller = false;
  bool limited_swap = false;            // memorySwap.swapBehavior LimitedSwap
  int64_t swap_capacity = 0;            // bytes
  std::vector<std::string> page_sizes;  // of huge pages that the kernel has: "2MB"
  bool selinux = false;                 // enabled on the host
  int64_t cfs_period_micros = 100000;
  int64_t memory_capacity = 0;  // bytes
};

inline cri_v1::UserNamespace HostUsers() {
  cri_v1::UserNamespace out;
  out.set_mode(cri_v1::NODE);
  return out;
}

struct SandboxInputs {
  uint32_t attempt = 0;
  std::string cgroup_parent, hostname;
  Resolver resolver;
  std::vector<int64_t> volume_groups;  // see VolumeManager::ExtraGroups
  cri_v1::UserNamespace users = HostUsers();
};
// What the pod costs as a whole, and the sandbox beside it, for runtimes that size virtual machines.
void SetSandboxResources(const Pod& pod, const NodeSettings& node, cri_v1::LinuxContainerResources* resources,
                         cri_v1::LinuxContainerResources* overhead);
// As a resize tells the runtime: what the pod's cgroup gets. No limit unless all containers have one.
void SetSandboxUpdate(const Pod& pod, const NodeSettings& node, cri_v1::LinuxContainerResources* resources,
                      cri_v1::LinuxContainerResources* overhead);
StatusOr<cri_v1::PodSandboxConfig> SandboxConfig(const Pod& pod, const SandboxInputs& in, const NodeSettings& node);

struct ImageUser {
  std::optional<int64_t> uid;
  std::string name;
};
struct ContainerInputs {
  std::string image_ref;
  ImageUser image_user;
  int restart_count = 0;
  Env env;
  std::vector<ContainerMount> mounts;
  std::vector<int64_t> volume_groups;
  std::string hosts_file;       // "": not mounted
  std::string termination_log;  // host path of the termination message file; "": not mounted
  std::string pid_target;       // container whose processes an ephemeral container sees
  cri_v1::UserNamespace users = HostUsers();
};
StatusOr<cri_v1::ContainerConfig> MakeContainerConfig(const Pod& pod, const core::Container& container,
                                                      const ContainerInputs& in, const NodeSettings& node);

// The container's own settings over the pod's.
core::SecurityContext EffectiveSecurityContext(const Pod& pod, const core::Container& container);
// "container has runAsNonRoot and image will run as root (pod: ..., container: c)" and its kin.
Status CheckNonRoot(const Pod& pod, const core::Container& container, const ImageUser& user);
// An empty Localhost profile is an error, never unconfined.
StatusOr<cri_v1::SecurityProfile> SeccompProfile(const Pod& pod, const core::Container& container,
                                                 const NodeSettings& node);
// LimitedSwap holds for it: containers of Burstable pods whose memory may grow.
bool MaySwap(const Pod& pod, const core::Container& container, const NodeSettings& node);
cri_v1::LinuxContainerResources ContainerResources(const Pod& pod, const core::Container& container,
                                                   const NodeSettings& node);
cri_v1::NamespaceOption Namespaces(const Pod& pod, const cri_v1::UserNamespace& users);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_CONTAINER_CONFIG_H_
