// The Container Runtime Interface (v1) as coroutines: the door to the runtime. Real: client.h. In tests:
// fake_runtime.h. Loop only. Errors keep gRPC's code and the runtime's message as it is (kUnavailable: nobody answers
// the socket; kDeadlineExceeded: options.timeout passed; kCancelled: the caller was cancelled; kUnimplemented: an older
// runtime). Upstream: k8s.io/cri-api.
#ifndef SKIFF_CRI_RUNTIME_H_
#define SKIFF_CRI_RUNTIME_H_

#include <chrono>
#include <functional>
#include <string>

#include "base/async.h"
#include "runtime/v1/api.pb.h"

namespace skiff::cri {

namespace v1 = ::runtime::v1;

struct CallOptions {
  std::chrono::nanoseconds timeout = std::chrono::minutes(2);  // upstream's runtimeRequestTimeout; 0: none
};

// M(method): request is v1::<method>Request, answer v1::<method>Response.
#define SKIFF_CRI_RUNTIME_METHODS(M) \
  M(Version)                         \
  M(RunPodSandbox)                   \
  M(StopPodSandbox)                  \
  M(RemovePodSandbox)                \
  M(PodSandboxStatus)                \
  M(ListPodSandbox)                  \
  M(CreateContainer)                 \
  M(StartContainer)                  \
  M(StopContainer)                   \
  M(RemoveContainer)                 \
  M(ListContainers)                  \
  M(ContainerStatus)                 \
  M(UpdateContainerResources)        \
  M(ReopenContainerLog)              \
  M(ExecSync)                        \
  M(Exec)                            \
  M(Attach)                          \
  M(PortForward)                     \
  M(ContainerStats)                  \
  M(ListContainerStats)              \
  M(PodSandboxStats)                 \
  M(ListPodSandboxStats)             \
  M(UpdateRuntimeConfig)             \
  M(Status)                          \
  M(CheckpointContainer)             \
  M(ListMetricDescriptors)           \
  M(ListPodSandboxMetrics)           \
  M(RuntimeConfig)                   \
  M(UpdatePodSandboxResources)

#define SKIFF_CRI_IMAGE_METHODS(M) \
  M(ListImages)                    \
  M(ImageStatus)                   \
  M(PullImage)                     \
  M(RemoveImage)                   \
  M(ImageFsInfo)

class Runtime {
 public:
  virtual ~Runtime() = default;

#define SKIFF_CRI_DECLARE(name) \
  virtual Task<StatusOr<v1::name##Response>> name(v1::name##Request request, CallOptions options = {}) = 0;
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_CRI_DECLARE)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_CRI_DECLARE)
#undef SKIFF_CRI_DECLARE

  // The same calls without a filter, their answers not decoded (see list_digest.h): for whoever asks every second and
  // mostly hears what it knows.
  virtual Task<StatusOr<std::string>> ListPodSandboxEncoded(CallOptions options = {});
  virtual Task<StatusOr<std::string>> ListContainersEncoded(CallOptions options = {});

  // Calls `on_event` on the loop for every container event until the stream ends (its status is returned) or the caller
  // is cancelled. containerd 1.6 answers kUnimplemented.
  virtual Task<absl::Status> WatchContainerEvents(std::function<void(const v1::ContainerEventResponse&)> on_event) = 0;
};

}  // namespace skiff::cri

#endif  // SKIFF_CRI_RUNTIME_H_
