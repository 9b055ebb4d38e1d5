// Removes what dead containers leave in the runtime and on disk: old instances, sandboxes without containers, log
// directories of pods that are no more, links to logs that are gone. Loop only. Upstream:
// kubernetes.io/docs/concepts/architecture/garbage-collection.
#ifndef SKIFF_KUBELET_RUNTIME_CONTAINER_GC_H_
#define SKIFF_KUBELET_RUNTIME_CONTAINER_GC_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cri/runtime.h"

namespace skiff::kubelet {

struct ContainerGcOptions {
  std::chrono::nanoseconds min_age{0};  // --minimum-container-ttl-duration
  int max_per_container = 1;            // --maximum-dead-containers-per-container; below 0: no limit
  int max_containers = -1;              // --maximum-dead-containers; below 0: no limit
  std::string logs_dir;                 // podLogsDir
  std::string container_logs_dir;       // links to containers' logs
  std::chrono::nanoseconds request_timeout = std::chrono::minutes(2);
};

struct ContainerGcHooks {
  std::function<bool()> sources_ready;                        // what no source knows is gone for good
  std::function<bool(const std::string& uid)> content_gone;   // the pod is no more: everything of it may go
  std::function<bool(const std::string& uid)> runtime_ended;  // no container of it will run again
};

class ContainerGc {
 public:
  ContainerGc(cri::Runtime& runtime, Clock& clock, ContainerGcOptions options, ContainerGcHooks hooks)
      : runtime_(runtime), clock_(clock), options_(std::move(options)), hooks_(std::move(hooks)) {}

  // One pass. `everything_dead`: containers of pods that have ended go as well, although the pods are still there. The
  // first error that kept it from looking; what could not be removed is logged and left for the next pass.
  Task<Status> Collect(bool everything_dead);

 private:
  struct Dead {
    std::string id, name;
    int64_t created = 0;   // by the wall clock, which may have been set back since ..
    uint32_t attempt = 0;  // .. so that among those of one name this counts
    bool unknown = false;
  };
  using Unit = std::vector<Dead>;  // one pod's dead containers of one name, or of all names
  Task<void> RemoveOldest(Unit* unit, size_t count, bool one_name = true);
  Task<void> RemoveSandbox(std::string id);
  Task<Status> CollectContainers(bool everything_dead);
  Task<Status> CollectSandboxes(bool everything_dead);
  Task<Status> CollectLogs();
  bool Gone(const std::string& uid, bool everything_dead) const;

  cri::Runtime& runtime_;
  Clock& clock_;
  ContainerGcOptions options_;
  ContainerGcHooks hooks_;
};

// Removes a container's log and its rotated ones, given the path that the runtime names. Nothing outside `logs_dir`.
// Large files take the disk a while: it does so on a thread of the pool.
Task<void> RemoveContainerLogs(std::string logs_dir, std::string log_path);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_CONTAINER_GC_H_
