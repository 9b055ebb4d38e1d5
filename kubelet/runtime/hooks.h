// postStart and preStop handlers: exec through the runtime, HTTP GET to the pod, sleep. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_HOOKS_H_
#define SKIFF_KUBELET_RUNTIME_HOOKS_H_

#include <functional>
#include <string>

#include "base/async.h"
#include "base/clock.h"
#include "cri/runtime.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

struct HookTarget {
  PodPtr pod;
  core::Container container;
  std::string container_id, pod_ip;
};

// Error: the message for the container's waiting state
// ("Exec lifecycle hook ([..]) for Container "c" in Pod ".." failed - error: .., message: ".."). Ends with kCancelled
// when cancelled. `warn` gets the text of a LifecycleHTTPFallback event: an HTTPS hook that was answered in plain HTTP.
Task<Status> RunHook(cri::Runtime& runtime, Clock& clock, HookTarget target, core::LifecycleHandler handler,
                     std::function<void(std::string)> warn);

// Go's %q and %v of a list of strings.
std::string Quoted(std::string_view text);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_HOOKS_H_
