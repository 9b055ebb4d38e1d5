// Carries out what ComputeActions decided for one pod: sandboxes, containers, hooks, kills. Holds the back-offs of
// crash loops; everything else it knows comes from the runtime. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_POD_RUNTIME_H_
#define SKIFF_KUBELET_RUNTIME_POD_RUNTIME_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async_lock.h"
#include "client/events.h"
#include "cri/runtime.h"
#include "kubelet/pod/actions.h"
#include "kubelet/pod/interrupt.h"
#include "kubelet/pod/resize.h"
#include "kubelet/pod/status.h"
#include "kubelet/resources/cgroup_names.h"
#include "kubelet/runtime/backoff.h"
#include "kubelet/runtime/container_config.h"
#include "kubelet/runtime/hooks.h"
#include "kubelet/runtime/image_puller.h"
#include "kubelet/runtime/runtime_cache.h"
#include "kubelet/runtime/start_queue.h"
#include "kubelet/runtime/user_namespaces.h"

namespace skiff::kubelet {

struct PodRuntimeOptions {
  std::string root_dir, container_logs_dir;
  NodeSettings node;
  DnsSettings dns;
  CgroupNames cgroups{"", false};
  bool cgroups_per_qos = true;
  std::string cgroup_root;  // the parent of pods when cgroups_per_qos is off
  std::chrono::nanoseconds longest_backoff = std::chrono::minutes(5);
  int start_slots = 4;
  uint32_t ids_per_pod = kUserNamespaceUnit;  // of pods with users of their own
  int64_t max_pods = 110;
  ImagePullerOptions images;
  std::chrono::nanoseconds request_timeout = std::chrono::minutes(2);
};

// What the rest of the kubelet gives.
struct PodRuntimeHooks {
  std::function<EnvFacts()> env_facts;
  std::function<client::ObjectReference()> node_reference;  // for events that are the node's too
  std::function<std::vector<std::shared_ptr<const core::Service>>()> services;
  std::function<StatusOr<std::string>(const Pod&)> runtime_handler;        // of the pod's RuntimeClass
  std::function<void(const Pod&)> sandbox_ready;                           // report the condition right away
  std::function<void(const std::string& container_id)> container_stopped;  // forget probe results
  ProbeResults probes;
  // In-place resizes. `actuated`: the pod with the resources that its containers have; null when they are the granted
  // ones. `resize_from`: the same, where those that nothing is recorded of have none. The others tell what changed.
  std::function<PodPtr(const Pod&)> actuated, resize_from;
  std::function<std::optional<PodMemory>(const Pod&)> pod_memory;  // nullopt: pods have no cgroups
  std::function<Task<Status>(Pod)> update_pod_cgroup;
  std::function<void(const Pod&, const core::Container&)> container_made;  // about to be
  std::function<void(const std::string& uid, const std::string& container, const core::ResourceRequirements&)>
      container_resized;
  std::function<void(const Pod&)> pod_resized;
};

class PodRuntime {
 public:
  PodRuntime(asio::any_io_executor executor, cri::Runtime& runtime, RuntimeCache& cache, Clock& clock,
             ObjectSource& objects, VolumeManager& volumes, client::EventSink& events, PodRuntimeOptions options,
             PodRuntimeHooks hooks);

  ImagePuller& images() { return images_; }
  bool starting() const { return starts_->busy(); }

  struct SyncResult {
    Status status;                               // the first thing that went wrong
    std::map<std::string, WaitReason> failures;  // containers that could not be started
    std::vector<std::string> started;            // containers that were
    std::map<std::string, ImagePuller::Result> image_volumes;
    std::string resize_error;                 // why a resize did not succeed
    bool changed = false;                     // something has; look at the pod again at once ..
    bool more = false;                        // .. at all of it: other things have changed than `made`
    RuntimeCache::Made made;                  // the containers that were started
    std::chrono::nanoseconds retry_after{0};  // when to try again; 0: the usual time
  };
  // One step towards what the spec wants. Interrupted: hooks end, calls to the runtime are completed.
  // `restart_all`: the pod's containers are to begin anew (see ComputeActions).
  Task<SyncResult> Sync(PodPtr pod, PodStatePtr state, std::shared_ptr<Interrupt> interrupt, bool restart_all = false);

  // Ends all containers (sidecars after the others, in reverse order) and stops the sandboxes. `grace` overrides the
  // pod's. When cancelled it returns early; calling again with a shorter grace goes on from there.
  Task<Status> Kill(PodPtr pod, PodStatePtr state, std::optional<int64_t> grace);

  // Removes what a pod has left in the runtime: containers, then sandboxes, then its logs.
  Task<Status> Remove(PodStatePtr state);
  // Removes dead containers but the newest `keep` of each name, and old sandboxes without containers.
  Task<Status> CollectGarbage(PodStatePtr state, int keep);

  void Forget(const std::string& uid);  // the pod is over: its back-offs
  client::ObjectReference ContainerReference(const Pod& pod, std::string_view container) const;
  void HookFellBack(const Pod& pod, const std::string& text);

 private:
  struct Ordering;
  Task<Status> Resize(PodPtr pod, std::string sandbox_id, ResizePlan plan);
  Task<Status> ResizePodCgroup(Pod to, std::string sandbox_id);
  Task<Status> CheckMemoryDecreases(PodPtr pod, const ResizePlan& plan);
  Task<Status> StartSandbox(PodPtr pod, std::shared_ptr<Interrupt> interrupt, PodActions* actions,
                            cri_v1::PodSandboxConfig* config, std::shared_ptr<ImagePuller::Ahead> ahead);
  Task<StatusOr<cri_v1::UserNamespace>> UsersOf(PodPtr pod);
  Task<StatusOr<cri_v1::PodSandboxConfig>> MakeSandboxConfig(PodPtr pod, uint32_t attempt, bool report);
  // `ahead`: what was asked beside the making of the sandbox, for the first one whose image is looked at.
  Task<bool> StartOne(PodPtr pod, core::Container container, PodStatePtr state, std::string sandbox_id,
                      cri_v1::PodSandboxConfig sandbox, std::vector<std::string> ips, StatusOr<std::string> pid_target,
                      std::shared_ptr<ImagePuller::Ahead>* ahead, std::shared_ptr<Interrupt> interrupt,
                      SyncResult* result);
  // Starts a container that was made, now or by a call whose answer never came.
  Task<bool> Begin(PodPtr pod, core::Container container, std::string id, std::string log_path, std::string pod_ip,
                   StartQueue::Slot slot, std::shared_ptr<Interrupt> interrupt, SyncResult* result);
  Task<bool> RunsAlready(std::string id);
  Task<Status> KillContainer(PodPtr pod, std::string id, core::Container container, std::string pod_ip,
                             std::string message, KillReason reason, std::optional<int64_t> grace,
                             std::shared_ptr<Ordering> ordering);
  Task<StatusOr<ImageUser>> UserOf(ImagePuller::Result image);
  Task<StatusOr<ContainerInputs>> Inputs(PodPtr pod, core::Container container, int restarts,
                                         std::vector<std::string> ips);
  std::string CgroupParent(const Pod& pod) const;
  Task<Status> RemoveContainer(const PodState& state, ContainerState container, bool keep_logs = false);
  std::pair<int64_t, std::string> Age(const Pod& pod) const;

  asio::any_io_executor executor_;
  cri::Runtime& runtime_;
  RuntimeCache& cache_;
  Clock& clock_;
  ObjectSource& objects_;
  VolumeManager& volumes_;
  client::EventSink& events_;
  PodRuntimeOptions options_;
  PodRuntimeHooks hooks_;
  ImagePuller images_;
  std::shared_ptr<StartQueue> starts_;
  Backoff crashes_;
  std::map<std::string, std::set<std::string>> stopped_sandboxes_;  // by pod, until it is gone
  std::optional<IdRange> pod_ids_;  // that pods may have; found out when the first one asks
  // Held from the look which ranges are free until one is taken.
  std::shared_ptr<AsyncLock> ids_lock_ = std::make_shared<AsyncLock>();
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_POD_RUNTIME_H_
