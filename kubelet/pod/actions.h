// The decision: what to do next for a pod, given its spec, what the runtime has, and what its probes say. A pure
// function, so that it is tested as a table of state in, actions out.
#ifndef SKIFF_KUBELET_POD_ACTIONS_H_
#define SKIFF_KUBELET_POD_ACTIONS_H_

#include <functional>
#include <string>
#include <vector>

#include "kubelet/pod/types.h"
#include "kubelet/probe/prober.h"
#include "kubelet/runtime/pod_state.h"

namespace skiff::kubelet {

enum class KillReason { kOther, kUnknown, kStartupProbe, kLivenessProbe, kPostStartHook };

struct PodActions {
  bool kill_pod = false;        // all containers, then the sandboxes
  bool create_sandbox = false;  // after killing
  std::string sandbox_id;       // the one to use; when create_sandbox: the one that is replaced ("" if none)
  uint32_t attempt = 0;
  std::vector<int> init_to_start, to_start, ephemeral_to_start;  // indexes into the spec, in order
  struct Kill {
    std::string id, name, message;
    KillReason reason = KillReason::kOther;
    bool operator==(const Kill&) const = default;
  };
  std::vector<Kill> to_kill;
  // All containers begin anew in their sandbox: ended without grace and removed, in this order, those whose end asked
  // for it last.
  struct Reset {
    std::string id, name;
    bool kill = false;
    bool operator==(const Reset&) const = default;
  };
  std::vector<Reset> to_reset;

  bool empty() const {
    return !kill_pod && !create_sandbox && init_to_start.empty() && to_start.empty() && ephemeral_to_start.empty() &&
           to_kill.empty() && to_reset.empty();
  }
};

// The latest result of a probe of the container with this (bare) id; kUnknown when there is none.
using ProbeResults = std::function<ProbeResult(ProbeKind, const std::string& container_id)>;

// `restart_all`: the pod has the condition AllContainersRestarting.
PodActions ComputeActions(const Pod& pod, const PodState& state, const ProbeResults& probes, bool restart_all = false);

// A container has ended, by the runtime's (`state`) or the API's word (`status`), whose rule restarts all containers of
// the pod; or that is under way. Either may be null.
bool ShouldRestartAll(const Pod& pod, const PodState* state, const core::PodStatus* status);
// No container of the pod is left in the runtime.
bool AllContainersRemoved(const Pod& pod, const PodState& state);

// Whether a new sandbox is needed; the attempt number for it and the id of the one it replaces.
struct SandboxChange {
  bool needed = false;
  uint32_t attempt = 0;
  std::string id;
};
SandboxChange CheckSandbox(const Pod& pod, const PodState& state);

// Whether a container that does not run should be started (again) at the next sync.
bool ShouldBeStarted(const Pod& pod, const core::Container& container, const PodState& state);
// Any main container has been created, whatever became of it.
bool AnyMainContainerCreated(const Pod& pod, const PodState& state);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_ACTIONS_H_
