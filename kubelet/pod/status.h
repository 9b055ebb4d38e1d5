// The pod's status as the API shows it, computed from spec, earlier status and what the runtime says. Pure functions;
// words and order are upstream's.
#ifndef SKIFF_KUBELET_POD_STATUS_H_
#define SKIFF_KUBELET_POD_STATUS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kubelet/pod/types.h"
#include "kubelet/resources/pod_cgroup_limits.h"
#include "kubelet/runtime/pod_state.h"

namespace skiff::kubelet {

// Why a container could not be started at the last try: the reason and message of its waiting state.
struct WaitReason {
  std::string reason, message;
};

struct StatusInputs {
  const Pod* pod = nullptr;
  const core::PodStatus* old_status = nullptr;  // as last computed here, else the API's
  const PodState* state = nullptr;
  bool terminal = false;                                       // all containers have ended and none will start
  const std::map<std::string, WaitReason>* reasons = nullptr;  // by container
  const WaitReason* failure = nullptr;                         // the kubelet ends the pod for this
  // The failure is told last: until all has ended the conditions are those of a pod that runs. (Evictions; a deadline
  // shows in them at once.)
  bool failure_last = false;
  const Pod* actual = nullptr;                     // the pod with the resources that its containers have; null: `pod`
  std::vector<core::PodCondition> resize;          // conditions of a resize, to come first
  const core::PodCondition* disruption = nullptr;  // .. with this condition (DisruptionTarget)
  std::vector<std::string> host_ips;
  bool prefer_v6 = false;                   // the node's family: of the pod's addresses the one to name first
  std::string runtime_name = "containerd";  // the scheme of container ids
  bool recursive_read_only = false;         // the runtime supports it
  std::function<PodCgroupLimits(const Pod&)> cgroup_limits;     // empty: not known
  std::function<void(const Pod&, core::PodStatus*)> set_ready;  // fills ready and started (the prober)
};

core::PodStatus GenerateStatus(const StatusInputs& in);

// The phase alone. `started` says that a main container of the current sandbox exists.
std::string_view ComputePhase(const Pod& pod, const core::PodStatus& status, bool terminal, bool started);

// What a status becomes when it is taken over from the one before: transition times kept where nothing changed, the
// start time set once, ready conditions marked when the pod has failed.
void CarryOver(const Pod& pod, const core::PodStatus& before, WallTime now, core::PodStatus* status);

// What a probe of a running container says, put into a status at once: `ready` or `started`, and the conditions that
// follow from it. False when that changes nothing.
bool ApplyReadiness(const Pod& pod, std::string_view container, bool ready, core::PodStatus* status);
bool ApplyStarted(std::string_view container, bool started, core::PodStatus* status);
// PodReadyToStartContainers becomes True, ahead of everything else that a new sandbox changes.
void MarkSandboxReady(const Pod& pod, core::PodStatus* status);

// The status of a pod that is over for good: containers that never ended get ContainerStatusUnknown, the phase becomes
// final.
void Finalize(const Pod& pod, core::PodStatus* status);

// Times truncated to seconds and field order made stable, so that statuses compare by their bytes.
std::string Fingerprint(const core::PodStatus& status);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_STATUS_H_
