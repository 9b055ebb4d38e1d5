// What the runtime says about one pod, in a compact form: its sandboxes and containers, newest first. Plain values.
#ifndef SKIFF_KUBELET_RUNTIME_POD_STATE_H_
#define SKIFF_KUBELET_RUNTIME_POD_STATE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/v1/api.pb.h"

namespace skiff::kubelet {

namespace cri_v1 = ::runtime::v1;

struct ContainerState {
  enum class State { kCreated, kRunning, kExited, kUnknown };
  std::string id;  // without scheme
  std::string name, sandbox_id, image, image_ref, log_path;
  State state = State::kUnknown;
  int64_t created_at = 0, started_at = 0, finished_at = 0;  // nanoseconds since the epoch
  int32_t exit_code = 0;
  std::string reason, message;  // message holds the termination message as well
  bool final = false;           // exited, and the runtime will say nothing else about it
  int restart_count = 0;
  uint64_t hash = 0;
  struct User {
    int64_t uid = 0, gid = 0;
    std::vector<int64_t> groups;
  };
  std::optional<User> user;
  // What the kernel enforces, where the runtime says so.
  struct Resources {
    int64_t cpu_shares = 0, cpu_quota = 0, cpu_period = 0, memory_limit = 0;
  };
  std::optional<Resources> resources;
};

struct SandboxState {
  std::string id;
  uint32_t attempt = 0;
  bool ready = false;
  bool host_network = false;
  bool has_network_status = false;
  int64_t created_at = 0;
  std::vector<std::string> ips;
};

struct PodState {
  std::string uid, name, ns;
  std::vector<SandboxState> sandboxes;
  std::vector<ContainerState> containers;
  std::vector<std::string> ips;  // of the newest sandbox that had any

  // The newest container of that name; nullptr when there is none.
  const ContainerState* Find(std::string_view container_name) const;
  const ContainerState* FindId(std::string_view id) const;
  bool AnyRunning() const;
  bool AnyReady() const;  // of the sandboxes
  // A container of the newest sandbox.
  bool IsActive(const ContainerState& container) const;
};
using PodStatePtr = std::shared_ptr<const PodState>;

// From the runtime's answers. The termination message of an exited container is read by the caller.
ContainerState ToContainerState(const cri_v1::ContainerStatus& status, std::string sandbox_id);
// Ended by SIGKILL, and the runtime names no reason (yet): containerd learns of a kill for lack of memory by another
// way than of the exit, at times afterwards.
bool KilledForUnknownReason(const cri_v1::ContainerStatus& status);
SandboxState ToSandboxState(const cri_v1::PodSandboxStatus& status);
// Newest first; ips filled from the newest sandbox.
void Sort(PodState* state);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_POD_STATE_H_
