// Names under which the kubelet keeps its knowledge in the runtime: labels and annotations of sandboxes and containers,
// log paths. Upstream's exactly, so that either kubelet can take over from the other. Pure; any thread.
#ifndef SKIFF_KUBELET_RUNTIME_LABELS_H_
#define SKIFF_KUBELET_RUNTIME_LABELS_H_

#include <string>
#include <string_view>

#include "google/protobuf/map.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

inline constexpr char kPodNameLabel[] = "io.kubernetes.pod.name";
inline constexpr char kPodNamespaceLabel[] = "io.kubernetes.pod.namespace";
inline constexpr char kPodUidLabel[] = "io.kubernetes.pod.uid";
inline constexpr char kContainerNameLabel[] = "io.kubernetes.container.name";
inline constexpr char kContainerHashAnnotation[] = "io.kubernetes.container.hash";
inline constexpr char kRestartCountAnnotation[] = "io.kubernetes.container.restartCount";
inline constexpr char kMessagePathAnnotation[] = "io.kubernetes.container.terminationMessagePath";
inline constexpr char kMessagePolicyAnnotation[] = "io.kubernetes.container.terminationMessagePolicy";
inline constexpr char kPreStopAnnotation[] = "io.kubernetes.container.preStopHandler";
inline constexpr char kPortsAnnotation[] = "io.kubernetes.container.ports";
inline constexpr char kDeletionGraceAnnotation[] = "io.kubernetes.pod.deletionGracePeriod";
inline constexpr char kTerminationGraceAnnotation[] = "io.kubernetes.pod.terminationGracePeriod";

using StringMap = google::protobuf::Map<std::string, std::string>;

void SetSandboxLabels(const Pod& pod, StringMap* labels, StringMap* annotations);
void SetContainerLabels(const Pod& pod, const core::Container& container, int restart_count, StringMap* labels,
                        StringMap* annotations);

// Changes when name or image change: then the container is replaced.
uint64_t HashContainer(const core::Container& container);

// LOGS/NS_NAME_UID, and CONTAINER/RESTARTS.log below it.
std::string PodLogDir(const std::string& logs_dir, std::string_view ns, std::string_view name, std::string_view uid);
std::string ContainerLogPath(std::string_view container, int restart_count);
// NAME_NS_CONTAINER-ID.log, shortened as upstream does to 251 characters before ".log".
std::string LogLinkName(std::string_view pod, std::string_view ns, std::string_view container, std::string_view id);
// The restart count that follows the newest log of a container whose status the runtime has forgotten; 0 without logs.
int RestartCountFromLogs(const std::string& container_log_dir);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_LABELS_H_
