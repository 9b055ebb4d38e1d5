// What the kubelet's parts count and time for /metrics, by upstream's names. One set a program: all do nothing before
// EnableWorkMetrics. Loop thread only.
#ifndef SKIFF_KUBELET_WORK_METRICS_H_
#define SKIFF_KUBELET_WORK_METRICS_H_

#include <chrono>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/metrics.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

// `registry` must outlive what counts. Again with another one: that counts from then on.
void EnableWorkMetrics(metrics::Registry& registry);
void DisableWorkMetrics();

// Sandboxes and containers that were to be started; `reason` as a status shows it ("ErrImagePull").
void CountSandboxStart();
void CountSandboxStartError();
void ObserveSandbox(const std::string& handler, bool ok, std::chrono::nanoseconds took);  // RunPodSandbox alone
void CountContainerStart(const Pod& pod, std::string_view container);
void CountContainerStartError(const Pod& pod, std::string_view container, const std::string& reason);

// One step of a pod's worker: "create" (the first), "update", "sync"; "terminated": from the wish to end it to its end.
void ObservePodWorker(const std::string& operation, std::chrono::nanoseconds took);
// From the first sight of a pod to its worker's first step; to its start.
void ObservePodWorkerStart(std::chrono::nanoseconds took);
void ObservePodStart(std::chrono::nanoseconds took);

void ObserveCgroupOperation(const std::string& method, std::chrono::nanoseconds took);  // "create", "update", "destroy"
// `operation`: "volume_mount", "volume_unmount".
void ObserveStorageOperation(const std::string& plugin, const std::string& operation, bool ok,
                             std::chrono::nanoseconds took);

// How long pods take from their creation until a watch shows all their containers running: each pod as the watch brings
// it. Pulls and init containers are not counted against the objective. Pods that came before the kubelet are not timed.
void SeePod(const Pod& pod, WallTime now);
void PullBegan(const std::string& uid, SteadyTime now);
void PullEnded(const std::string& uid, SteadyTime now);
void ForgetPod(const std::string& uid);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_WORK_METRICS_H_
