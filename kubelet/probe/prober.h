// Startup, readiness and liveness probes of the node's containers: when to probe, what the thresholds make of it, and
// what it means for the pod's status. One coroutine a probe, no threads, connections closed with a reset. Loop only.
// Upstream: kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes.
#ifndef SKIFF_KUBELET_PROBE_PROBER_H_
#define SKIFF_KUBELET_PROBE_PROBER_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/pod_status.pb.h"

namespace skiff::kubelet {

enum class ProbeKind { kStartup, kReadiness, kLiveness };
enum class ProbeResult { kUnknown, kSuccess, kFailure };

// What the prober asks of the kubelet's core.
class ProbeHost {
 public:
  virtual ~ProbeHost() = default;

  struct Container {
    std::string id;  // "containerd://..."
    bool running = false;
    bool terminated = false;
    bool restarts = true;  // terminated, and its policy starts it again
    bool started = false;  // the status's `started`: its startup probe passed, or it has none
    std::chrono::system_clock::time_point started_at;
  };
  // The container as the pod's current status has it; nullopt when the pod or the container is not there yet.
  virtual std::optional<Container> ContainerOf(const std::string& uid, const std::string& container) = 0;
  virtual std::string PodIp(const std::string& uid) = 0;  // "" when none yet
  // The pod reached a final phase, or is being deleted (then readiness goes on and liveness and startup pass).
  virtual bool PodFinished(const std::string& uid) = 0;
  virtual bool PodTerminating(const std::string& uid) = 0;

  struct ExecResult {
    int exit_code = 0;
    std::string output;  // standard output and error; the first 10 KiB count
  };
  // Runs a command in a container by CRI. kDeadlineExceeded when it took longer than `timeout`.
  virtual Task<StatusOr<ExecResult>> ExecSync(std::string container_id, std::vector<std::string> command,
                                              std::chrono::nanoseconds timeout) = 0;

  // The result of a probe changed: look at the pod again (kill after liveness or startup kFailure, status otherwise).
  virtual void ProbeChanged(const std::string& uid, const std::string& container, ProbeKind kind,
                            ProbeResult result) = 0;
  // An event on the container (field path spec.containers{NAME}): Unhealthy, ProbeWarning.
  virtual void ProbeEvent(const k8s::io::api::core::v1::Pod& pod, const std::string& container, std::string_view type,
                          std::string_view reason, std::string_view message) = 0;
};

class ProbeManager {
 public:
  ProbeManager(asio::any_io_executor executor, ProbeHost& host, Clock& clock, metrics::Registry* metrics = nullptr);
  ~ProbeManager();

  // Starts the probes that the pod's containers (sidecars too) name and that do not run yet. Idempotent; call at every
  // sync. After a restart of the kubelet, `status` (the pod's status as last written) keeps containers that were ready
  // or started so until a probe says otherwise (no flapping).
  void AddPod(std::shared_ptr<const k8s::io::api::core::v1::Pod> pod);
  void StopLivenessAndStartup(const std::string& uid);  // the pod is being ended; readiness goes on
  void RemovePod(const std::string& uid);

  // Sets `started` and `ready` of every container status (running ones with a probe as the probe says; without one true
  // while running), as upstream's status does.
  void UpdateStatus(const k8s::io::api::core::v1::Pod& pod, k8s::io::api::core::v1::PodStatus* status);

  // The latest result for a container by its id ("containerd://..."), kUnknown if there is none.
  ProbeResult Get(ProbeKind kind, const std::string& container_id) const;
  // Sets readiness to failure (a container is about to be killed) or forgets what is known about a dead container.
  void SetNotReady(const std::string& uid, const std::string& container_id);
  void Forget(const std::string& container_id);

  // The Prometheus text of /metrics/probes (prober_probe_total, prober_probe_duration_seconds) comes from `metrics`.

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_PROBE_PROBER_H_
