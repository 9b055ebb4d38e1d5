// A runtime in memory for tests: sandboxes and containers as the CRI describes their states, images, recorded calls and
// injected failures. Time comes from the clock it is given. What it does not play answers kUnimplemented. With
// `has_events` it tells of changes as containerd does, before the call that made them returns; tests lose them, keep
// them back, hand them out in any order, and break the stream.
#ifndef SKIFF_CRI_FAKE_RUNTIME_H_
#define SKIFF_CRI_FAKE_RUNTIME_H_

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cri/runtime.h"

namespace skiff::cri {

class FakeRuntime final : public Runtime {
 public:
  explicit FakeRuntime(Clock& clock);
  ~FakeRuntime() override;  // streams end with kCancelled

  struct Sandbox {
    v1::PodSandboxConfig config;
    v1::PodSandboxStatus status;
  };
  struct FakeContainer {
    std::string sandbox_id;
    v1::ContainerConfig config;
    v1::ContainerStatus status;
    v1::LinuxContainerResources updated;
  };

  // As strict as containerd: names are reserved while their bearers are there, containers are made and started in ready
  // sandboxes only and started once, removing ends what runs.
  bool strict = false;
  // Told of every start and of every end of a container that ran.
  std::function<void(const FakeContainer&)> on_start, on_exit;

  // What tests look at and steer.
  std::map<std::string, Sandbox> sandboxes;
  std::map<std::string, FakeContainer> containers;
  std::map<std::string, v1::Image> images;                   // by id; AddImage fills
  std::vector<std::string> calls;                            // "RunPodSandbox ns/name", "StartContainer c", in order
  std::map<std::string, int> reads;                          // how often each call that only asks came, by method
  std::map<std::string, std::deque<absl::Status>> failures;  // by method: the next calls end so
  std::map<std::string, absl::Status> pull_failures;         // by image
  std::vector<v1::PullImageRequest> pulls;
  std::function<Task<void>()> on_pull;  // awaited by every pull before it ends
  std::function<Task<void>()> on_run;   // .. and by every sandbox that is made
  std::function<Task<void>()> on_read;  // .. and by every call that asks of pods and containers, before it is counted
  std::function<v1::ExecSyncResponse(const v1::ExecSyncRequest&)> on_exec;
  int32_t exit_code_on_stop = 0;  // of a container that StopContainer ends
  bool runtime_ready = true, network_ready = true;
  bool maps_users = false;           // the default handler supports user namespaces
  bool recursive_read_only = false;  // .. and recursive read-only mounts
  std::string pod_ip = "10.244.0.";  // "": none; ending in "." a number is added
  // UpdatePodSandboxResources is implemented; what it was told last.
  std::optional<v1::UpdatePodSandboxResourcesRequest> sandbox_resources;
  std::optional<uint64_t> memory_usage;           // ContainerStats is implemented and tells it of all containers
  std::optional<v1::CgroupDriver> cgroup_driver;  // that RuntimeConfig names; none: it is not implemented

  // Events (fake_runtime_events.cc).
  bool has_events = false;                        // GetContainerEvents is implemented
  bool hold_events = false;                       // they are kept in `events` and not told
  std::deque<v1::ContainerEventResponse> events;  // held ones, oldest first
  size_t streams() const { return streams_.size(); }
  void Tell(const v1::ContainerEventResponse& event);  // to all that watch; lost where nobody does
  void EndStreams(absl::Status status);

  void AddImage(const std::string& tag, int64_t size = 1000);
  // The newest container of that name in any pod ("" when there is none).
  std::string ContainerNamed(std::string_view name) const;
  void Exit(const std::string& container_id, int32_t code, std::string reason = "", std::string message = "");
  void KillSandbox(const std::string& sandbox_id);  // as after a reboot: not ready, containers exited
  size_t CountCalls(std::string_view prefix) const;

#define SKIFF_CRI_OVERRIDE(name) \
  Task<StatusOr<v1::name##Response>> name(v1::name##Request request, CallOptions options = {}) override;
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_CRI_OVERRIDE)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_CRI_OVERRIDE)
#undef SKIFF_CRI_OVERRIDE
  Task<absl::Status> WatchContainerEvents(std::function<void(const v1::ContainerEventResponse&)> on_event) override;

 private:
  int64_t NowNanos() const;
  absl::Status Take(const std::string& method, const std::string& what);
  absl::Status NextFailure(const std::string& method);
  absl::Status TakeRead(const std::string& method);
  std::string NextId(char kind);
  // Something has happened to the container or sandbox `id` of that sandbox.
  void Happened(v1::ContainerEventType what, const std::string& id, const std::string& sandbox_id);
  const Sandbox* ReadySandbox(const std::string& id) const;  // null: not there or not ready

  struct Watcher;
  Clock& clock_;
  std::list<std::shared_ptr<Watcher>> streams_;
  int next_ = 0;
};

}  // namespace skiff::cri

#endif  // SKIFF_CRI_FAKE_RUNTIME_H_
