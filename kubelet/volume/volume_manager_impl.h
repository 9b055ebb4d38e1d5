// The volume manager's own state, for its .cc files alone.
#ifndef SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_IMPL_H_
#define SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_IMPL_H_

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/async_lock.h"
#include "kubelet/volume/mount_gate.h"
#include "kubelet/volume/payload.h"
#include "kubelet/volume/volume_kind.h"
#include "kubelet/volume/volume_manager.h"

namespace skiff::kubelet {

// Volumes that the kubelet makes of its own are set up one after the other under their pod's lock. What lies on paths
// of the host may not answer for days: each of those is an operation of its own, which nobody has to wait for.
struct VolumeManager::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor executor, VolumeOptions options, ObjectSource& objects, Mounter& mounter, Clock& clock,
       PodEventFn events);

  struct VolumeState {
    VolumeKindInfo info;
    std::string path;
    bool mounted = false;
    bool busy = false;  // an operation is under way
    SteadyTime next_try{};
    std::chrono::nanoseconds pause{0};
    std::string error;
    // Of a claim, once its persistent volume is known.
    std::string claim, persistent;  // names
    std::string gid;
    bool read_only = false;
    bool unresolved = false;                         // what lies behind the claim cannot be told
    std::string_view failing = "MountVolume.SetUp";  // what a failure is of
  };
  struct PodState {
    PodState(const asio::any_io_executor& executor, uint64_t life) : life(life), operations(executor) {}
    const uint64_t life;  // tells the pod from one of the same uid that was here before
    std::shared_ptr<const Pod> pod;
    std::map<std::string, VolumeState> volumes;  // by name
    std::shared_ptr<AsyncLock> lock = std::make_shared<AsyncLock>();
    TaskGroup operations;
    std::shared_ptr<MountGate> gate = std::make_shared<MountGate>();
    std::vector<std::shared_ptr<Wakeup>> waiting;  // for operations to end
    SteadyTime next_refresh{};
    bool changed = false;  // look at it at once
    bool removed = false;
  };
  using PodPtr = std::shared_ptr<PodState>;

  const asio::any_io_executor executor;
  VolumeOptions options;
  ObjectSource& objects;
  Mounter& mounter;
  Clock& clock;
  PodEventFn events;
  Wakeup refresh;
  std::map<std::string, PodPtr> pods;  // by uid
  uint64_t lives = 0;                  // of pods, so far
  std::deque<PodPtr> due;              // to be refreshed
  bool closed = false;                 // what the references above lead to may be gone
  std::map<std::string, std::weak_ptr<AsyncLock>> local_locks;
  std::minstd_rand random{std::random_device{}()};

  std::string PodPath(const std::string& uid) const { return PodDir(options.root_dir, uid); }
  PodPtr StateOf(const std::shared_ptr<const Pod>& pod);
  std::chrono::nanoseconds RefreshPause();
  Allocatable AllocatableNow() const;
  // One set-up at a time for a local volume's directory, from the look whether another pod has it until this one does.
  std::shared_ptr<AsyncLock> LocalLock(const std::string& path);

  // volume_operations.cc
  Task<Status> SetUp(PodPtr state, std::string name);  // of the kubelet's own
  Task<Status> SetUpAll(PodPtr state, bool again);
  void BeginOperations(const PodPtr& state);
  Task<void> Operate(PodPtr state, std::string name);
  Task<Status> CheckPath(std::string path, std::string type);
  Task<Status> SetUpClaim(PodPtr state, std::string name);
  void Finish(const PodPtr& state, const std::string& name, const Status& status, SteadyTime began);

  // container_mounts.cc
  Task<StatusOr<std::vector<ContainerMount>>> ContainerMounts(std::shared_ptr<const Pod> pod, std::string container,
                                                              std::map<std::string, std::string> env);

  // volume_manager.cc
  Task<Status> WaitForMounts(std::shared_ptr<const Pod> pod);
  Task<Status> TearDown(std::string uid, bool remove_directory);
  Task<Status> CleanOrphans(std::set<std::string> keep);
  Task<void> Run();
  Task<void> RefreshDue();
};

// nullptr if the pod has none of that name.
const k8s::io::api::core::v1::Volume* FindVolume(const Pod& pod, const std::string& name);
// Whether it lies on a path that is not the kubelet's.
inline bool IsForeign(VolumeKind kind) { return kind == VolumeKind::kHostPath || kind == VolumeKind::kClaim; }

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_IMPL_H_
