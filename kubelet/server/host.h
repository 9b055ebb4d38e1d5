// What the kubelet's HTTP server asks of the kubelet's core. Loop only. Errors become HTTP answers: kNotFound 404,
// kInvalidArgument 400, others 500 with the message as the body.
#ifndef SKIFF_KUBELET_SERVER_HOST_H_
#define SKIFF_KUBELET_SERVER_HOST_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::kubelet {

class ServerHost {
 public:
  using Pod = k8s::io::api::core::v1::Pod;
  virtual ~ServerHost() = default;

  virtual const std::string& NodeName() = 0;

  // Pods that the kubelet knows (API and static), with the status that it last computed.
  virtual std::vector<std::shared_ptr<const Pod>> Pods() = 0;
  virtual std::shared_ptr<const Pod> PodByName(const std::string& ns, const std::string& name) = 0;  // null: none

  // What the runtime says is running, whoever made it: for /runningpods/.
  struct RunningContainer {
    std::string name, image;
  };
  struct RunningPod {
    std::string ns, name, uid;
    std::vector<RunningContainer> containers;
  };
  virtual Task<StatusOr<std::vector<RunningPod>>> RunningPods() = 0;

  // The CRI id (without scheme) of the running container, or kNotFound.
  virtual StatusOr<std::string> RunningContainerId(const Pod& pod, const std::string& container) = 0;
  virtual StatusOr<std::string> SandboxId(const Pod& pod) = 0;

  // The log of the container's current (or previous) instance as its status has it. Errors in upstream's words
  // (`container "c" in pod "p" is waiting to start: ContainerCreating`,
  // `previous terminated container "c" in pod "p" not found`) with kInvalidArgument; kNotFound: the runtime does not
  // have the container any more.
  struct ContainerLog {
    std::string id;    // CRI id
    std::string path;  // the CRI log file
    bool tty = false;
  };
  virtual Task<StatusOr<ContainerLog>> LogOf(const Pod& pod, const std::string& container, bool previous) = 0;
  // Whether that container instance still runs (following ends when it does not).
  virtual Task<StatusOr<bool>> IsRunning(std::string container_id) = 0;

  // CRI streaming: URLs at the runtime's streaming server. `timeout` none.
  struct StreamOptions {
    std::vector<std::string> command;
    bool stdin_ = false, stdout_ = false, stderr_ = false, tty = false;
  };
  virtual Task<StatusOr<std::string>> ExecUrl(std::string container_id, StreamOptions options) = 0;
  virtual Task<StatusOr<std::string>> AttachUrl(std::string container_id, StreamOptions options) = 0;
  virtual Task<StatusOr<std::string>> PortForwardUrl(std::string sandbox_id, std::vector<int32_t> ports) = 0;

  struct RunResult {
    int exit_code = 0;
    std::string output;  // standard output and error
  };
  virtual Task<StatusOr<RunResult>> RunInContainer(std::string container_id, std::vector<std::string> command,
                                                   std::chrono::nanoseconds timeout) = 0;

  // The runtime's checkpoint of a running container, as an archive at `location`. `timeout` in seconds. The error is
  // the runtime's.
  virtual Task<Status> Checkpoint(std::string container_id, std::string location, int64_t timeout) = 0;

  // The KubeletConfiguration in effect as its JSON object (no secrets), for /configz.
  virtual std::string ConfigJson() = 0;

  // Bodies of the statistics endpoints. Text exposition for the first three, JSON for the summary.
  virtual Task<StatusOr<std::string>> Metrics() = 0;          // /metrics
  virtual Task<StatusOr<std::string>> CadvisorMetrics() = 0;  // /metrics/cadvisor
  virtual Task<StatusOr<std::string>> ResourceMetrics() = 0;  // /metrics/resource
  virtual Task<StatusOr<std::string>> ProbeMetrics() = 0;     // /metrics/probes
  virtual Task<StatusOr<std::string>> StatsSummary(bool only_cpu_and_memory) = 0;

  // When the sync loop last came round; /healthz/syncloop fails when it is too long ago.
  virtual std::chrono::steady_clock::time_point LastSync() = 0;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_HOST_H_
