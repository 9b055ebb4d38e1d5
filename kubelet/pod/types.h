// Short names for the API's types and the small helpers on pods that everything in the kubelet uses. Pure; any thread.
#ifndef SKIFF_KUBELET_POD_TYPES_H_
#define SKIFF_KUBELET_POD_TYPES_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/pod_status.pb.h"

namespace skiff::kubelet {

namespace core = ::k8s::io::api::core::v1;
namespace meta = ::k8s::io::apimachinery::pkg::apis::meta::v1;

using Pod = core::Pod;
using PodPtr = std::shared_ptr<const core::Pod>;

// Annotations by which a pod's source is known. Upstream: pkg/kubelet/types.
inline constexpr char kSourceAnnotation[] = "kubernetes.io/config.source";  // "api", "file" or "http"
inline constexpr char kSeenAnnotation[] = "kubernetes.io/config.seen";
inline constexpr char kHashAnnotation[] = "kubernetes.io/config.hash";      // of a static pod's manifest
inline constexpr char kMirrorAnnotation[] = "kubernetes.io/config.mirror";  // the same, on its mirror pod

// The value of an annotation; "" when there is none.
const std::string& Annotation(const Pod& pod, const char* name);

// "name_namespace(uid)", as messages name a pod.
std::string FormatPod(const Pod& pod);
// "namespace/name".
std::string PodKey(const Pod& pod);

enum class ContainerKind { kInit, kMain, kEphemeral };

// An ephemeral container has the same fields at the same numbers as a container; this is its copy as one.
core::Container AsContainer(const core::EphemeralContainer& ephemeral);
// The container of that name, of any kind; nullptr when there is none. (Ephemeral ones: see EphemeralNamed.)
const core::Container* FindContainer(const Pod& pod, std::string_view name);
const core::EphemeralContainer* FindEphemeral(const Pod& pod, std::string_view name);
bool IsInitContainer(const Pod& pod, std::string_view name);
// An init container with restartPolicy Always ("sidecar").
bool IsSidecar(const core::Container& init_container);

inline bool IsTerminalPhase(std::string_view phase) { return phase == "Failed" || phase == "Succeeded"; }
inline bool IsHostNetwork(const Pod& pod) { return pod.spec().hostnetwork(); }
// Made from a manifest on this node: annotation kubernetes.io/config.source is "file" or "http".
bool IsStatic(const Pod& pod);
// The API server's image of a static pod: annotation kubernetes.io/config.mirror.
bool IsMirror(const Pod& pod);
// A static, mirror or system-priority pod, which admission and eviction spare.
bool IsCritical(const Pod& pod);

// The first of the container's restartPolicyRules that this exit code matches; null: none.
const core::ContainerRestartRule* MatchingRule(const core::Container& container, int32_t exit_code);
// A rule that restarts all containers of the pod in place.
bool RestartsAll(const core::Container& container, int32_t exit_code);
bool MayRestartAll(const Pod& pod);
// Whether a container that ended with this code runs again: container rules, container policy, pod policy.
bool ShouldRestart(const Pod& pod, const core::Container& container, int32_t exit_code);

const core::ContainerStatus* FindStatus(const core::PodStatus& status, std::string_view name);
const core::PodCondition* FindCondition(const core::PodStatus& status, std::string_view type);

// "Guaranteed", "Burstable" or "BestEffort": as the status says it, else of the spec by the API server's rule, which
// refuses a status that says otherwise.
std::string_view QosClass(const Pod& pod);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_TYPES_H_
