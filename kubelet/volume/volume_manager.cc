#include "kubelet/volume/volume_manager.h"
#include "kubelet/state/layout.h"

#include <climits>
#include <cstdlib>
#include <random>

#include "api/quantity.h"
#include "base/async_lock.h"
#include "base/files.h"
#include "base/go_text.h"
#include "base/log.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "kubelet/volume/claims.h"
#include "kubelet/volume/collect.h"
#include "kubelet/volume/host_path.h"
#include "kubelet/volume/payload.h"
#include "kubelet/volume/subpath.h"
#include "kubelet/volume/volume_setup.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kFirstPause = 500ms;
constexpr std::chrono::nanoseconds kLongestPause = 2min + 2s;
constexpr std::chrono::nanoseconds kPatience = 2min + 3s;

using Kind = VolumeKind;

const core::Volume* FindVolume(const Pod& pod, const std::string& name) {
  for (const auto& volume : pod.spec().volumes()) {
    if (volume.name() == name) return &volume;
  }
  return nullptr;
}

// Whether a pod other than `uid` has the local volume. The disk and the mount table tell, so that pods of an earlier
// process count.
StatusOr<bool> HeldByAnother(const std::string& root, const std::string& uid, const std::string& volume,
                             Mounter& mounter) {
  if (!Exists(layout::Pods(root))) return false;
  ASSIGN_OR_RETURN(const auto uids, ListDir(layout::Pods(root)));
  for (const std::string& other : uids) {
    const std::string dir = VolumeDir(root, other, kLocalPlugin, volume);
    if (other == uid || !Exists(dir)) continue;
    ASSIGN_OR_RETURN(const bool mounted, mounter.IsMountPoint(dir));
    if (mounted) return true;
  }
  return false;
}

bool IsOffline(const Status& status) { return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status); }

}  // namespace

std::string PodDir(const std::string& root, const std::string& uid) { return layout::Pod(root, uid); }

std::string VolumeDir(const std::string& root, const std::string& uid, const std::string& plugin,
                      const std::string& volume) {
  return layout::Volume(PodDir(root, uid), plugin, volume);
}

struct VolumeManager::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor executor, VolumeOptions options, ObjectSource& objects, Mounter& mounter, Clock& clock,
       PodEventFn events)
      : options(std::move(options)),
        objects(objects),
        mounter(mounter),
        clock(clock),
        events(std::move(events)),
        refresh(executor) {
    // The mount table shows resolved paths; compare like with like.
    char resolved[PATH_MAX];
    if (realpath(this->options.root_dir.c_str(), resolved) != nullptr) this->options.root_dir = resolved;
  }

  struct VolumeState {
    VolumeKindInfo info;
    std::string path;
    bool mounted = false;
    SteadyTime next_try{};
    std::chrono::nanoseconds pause{0};
    std::string error;
    // Of a claim, once its persistent volume is known.
    std::string claim, persistent;  // names
    std::string gid;
    bool read_only = false;
    bool unresolved = false;   // what lies behind the claim cannot be told
    bool not_at_node = false;  // .. is not on this node
  };
  struct PodState {
    std::shared_ptr<const Pod> pod;
    std::map<std::string, VolumeState> volumes;  // by name
    std::shared_ptr<AsyncLock> lock = std::make_shared<AsyncLock>();
    SteadyTime next_refresh{};
    bool changed = false;  // look at it at once
    bool removed = false;
  };
  using PodPtr = std::shared_ptr<PodState>;

  VolumeOptions options;
  ObjectSource& objects;
  Mounter& mounter;
  Clock& clock;
  PodEventFn events;
  Wakeup refresh;
  std::map<std::string, PodPtr> pods;  // by uid
  // Held from the look whether another pod has a volume that only one may have until this pod has it.
  std::shared_ptr<AsyncLock> one_pod = std::make_shared<AsyncLock>();
  std::minstd_rand random{std::random_device{}()};

  std::string PodPath(const std::string& uid) const { return PodDir(options.root_dir, uid); }

  PodPtr StateOf(const std::shared_ptr<const Pod>& pod) {
    PodPtr& slot = pods[pod->metadata().uid()];
    if (slot == nullptr) {
      slot = std::make_shared<PodState>();
      slot->next_refresh = clock.Steady() + RefreshPause();
      objects.RegisterPod(*pod);
    }
    slot->pod = pod;
    const auto used = UsedVolumes(*pod);
    for (const auto& volume : pod->spec().volumes()) {
      if (!used.contains(volume.name())) continue;
      auto [at, added] = slot->volumes.try_emplace(volume.name());
      if (!added) continue;
      at->second.info = KindOf(volume);
      at->second.path = at->second.info.kind == Kind::kHostPath
                            ? volume.volumesource().hostpath().path()
                            : VolumeDir(options.root_dir, pod->metadata().uid(), at->second.info.plugin, volume.name());
    }
    return slot;
  }

  // Between 1 and 1.5 periods, as upstream spreads the work of its pods.
  std::chrono::nanoseconds RefreshPause() {
    const double factor = 1.0 + 0.5 * static_cast<double>(random()) / static_cast<double>(std::minstd_rand::max());
    return std::chrono::nanoseconds(static_cast<int64_t>(static_cast<double>(options.sync_period.count()) * factor));
  }

  Allocatable AllocatableNow() const {
    auto get = [](const std::function<int64_t()>& f) { return f ? f() : 0; };
    return {get(options.allocatable_milli_cpu), get(options.allocatable_memory),
            get(options.allocatable_ephemeral_storage)};
  }

  Task<Status> SetUp(PodPtr state, std::string name);
  Task<Status> SetUpClaim(PodPtr state, std::string name);
  Task<Status> SetUpAll(PodPtr state, bool again);
  Task<Status> WaitForMounts(std::shared_ptr<const Pod> pod);
  Task<StatusOr<std::vector<ContainerMount>>> ContainerMounts(std::shared_ptr<const Pod> pod, std::string container,
                                                              std::map<std::string, std::string> env);
  Task<Status> TearDown(std::string uid, bool remove_directory);
  Task<Status> CleanOrphans(std::set<std::string> keep);
  Task<void> Run();
};

Task<Status> VolumeManager::Impl::SetUp(PodPtr state, std::string name) {
  auto self = shared_from_this();
  const std::shared_ptr<const Pod> pod = state->pod;
  const core::Volume* volume = FindVolume(*pod, name);
  if (volume == nullptr) co_return absl::OkStatus();
  const VolumeState& at = state->volumes[name];
  const Kind kind = at.info.kind;
  if (kind == Kind::kUnsupported) {
    co_return absl::UnimplementedError(
        absl::StrCat("volume type ", at.info.plugin, " is not supported by this kubelet"));
  }
  if (kind == Kind::kImage) {
    co_return absl::OkStatus();  // the runtime mounts it; one that cannot says so when the container is made
  }
  if (kind == Kind::kClaim) co_return co_await SetUpClaim(state, name);
  if (kind == Kind::kHostPath) {
    const auto& source = volume->volumesource().hostpath();
    std::function<Status()> check = [path = source.path(), type = source.type()] { return CheckHostPath(path, type); };
    co_return co_await RunBlocking(std::move(check));
  }

  DirectorySetup setup;
  setup.pod_dir = PodPath(pod->metadata().uid());
  setup.dir = at.path;
  setup.ready_name = IsWritten(kind) ? absl::StrCat("wrapped_", name) : name;
  if (pod->spec().securitycontext().has_fsgroup()) setup.fs_group = pod->spec().securitycontext().fsgroup();
  int64_t limit = 0;
  if (kind == Kind::kEmptyDir) {
    const auto& source = volume->volumesource().emptydir();
    setup.memory = source.medium() == "Memory";
    if (!setup.memory && !source.medium().empty()) {
      if (!absl::StartsWith(source.medium(), "HugePages")) {
        co_return InvalidArgument("unknown storage medium ", GoQuote(source.medium()));
      }
      CO_ASSIGN_OR_RETURN(setup.huge_pages, HugePagesOption(*pod, source.medium()));
    }
    if (source.has_sizelimit()) limit = api::Quantity::Of(source.sizelimit()).Value();
  } else {
    setup.memory = kind != Kind::kConfigMap;
  }
  if (setup.memory) setup.size = TmpfsSize(*pod, AllocatableNow().memory, limit);

  Mounter* mounts = &mounter;
  if (kind == Kind::kEmptyDir) {
    std::function<Status()> make = [&setup, mounts] { return SetUpDirectory(setup, *mounts); };
    co_return co_await RunBlocking(std::move(make));
  }
  CO_ASSIGN_OR_RETURN(const Payload payload, co_await CollectPayload(objects, pod, *volume, kind, AllocatableNow()));
  const auto nested = NestedMountPoints(*pod, name);
  const WallTime now = clock.Now();
  std::function<Status()> write = [&setup, &nested, &payload, mounts, now] {
    return SetUpWritten(setup, nested, payload, *mounts, now).status();
  };
  co_return co_await RunBlocking(std::move(write));
}

// A claim's volume: a directory of the host, as it is or bound into the pod's directory.
Task<Status> VolumeManager::Impl::SetUpClaim(PodPtr state, std::string name) {
  const std::shared_ptr<const Pod> pod = state->pod;
  auto claimed = co_await ResolveClaim(objects, pod, name);
  if (!claimed.ok()) {
    state->volumes[name].unresolved = true;
    co_return claimed.status();
  }
  VolumeState& at = state->volumes[name];
  at.unresolved = false;
  at.claim = claimed->claim;
  at.persistent = claimed->volume;
  at.gid = claimed->gid;
  at.read_only = claimed->read_only;
  at.not_at_node = claimed->nodes && options.matches_node && !options.matches_node(*claimed->nodes);
  if (at.not_at_node) co_return FailedPrecondition("no matching NodeSelectorTerms");
  if (!claimed->local) {
    at.info.plugin = "kubernetes.io/host-path";
    at.path = claimed->path;
    std::function<Status()> check = [claimed = *claimed] {
      return CheckHostPath(claimed.path, claimed.host_path_type);
    };
    co_return co_await RunBlocking(std::move(check));
  }
  LocalSetup setup;
  setup.pod_dir = PodPath(pod->metadata().uid());
  setup.source = claimed->path;
  setup.dir = at.path = VolumeDir(options.root_dir, pod->metadata().uid(), at.info.plugin, claimed->volume);
  if (pod->spec().securitycontext().has_fsgroup()) setup.fs_group = pod->spec().securitycontext().fsgroup();
  setup.on_root_mismatch = pod->spec().securitycontext().fsgroupchangepolicy() == "OnRootMismatch";
  setup.read_only = claimed->read_only;
  Mounter* mounts = &mounter;
  // Upstream's kubelet holds only volumes of its own directories to the access mode; a hostPath is the scheduler's.
  AsyncLock::Guard guard;
  const bool alone = claimed->one_pod;
  if (alone) {
    CO_ASSIGN_OR_RETURN(guard, co_await one_pod->Lock());
  }
  std::function<Status()> bind = [setup, mounts, alone, root = options.root_dir, uid = pod->metadata().uid(),
                                  volume = claimed->volume]() -> Status {
    if (alone) {
      ASSIGN_OR_RETURN(const bool held, HeldByAnother(root, uid, volume, *mounts));
      if (held) {
        return FailedPrecondition("volume uses the ReadWriteOncePod access mode and is already in use by another pod");
      }
    }
    return SetUpLocal(setup, *mounts);
  };
  co_return co_await RunBlocking(std::move(bind));
}

// One pass over the volumes whose time has come; `again` takes the mounted ones that follow objects.
Task<Status> VolumeManager::Impl::SetUpAll(PodPtr state, bool again) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(auto guard, co_await state->lock->Lock());
  std::vector<std::string> names;
  for (const auto& [name, volume] : state->volumes) {
    const bool due = volume.next_try <= clock.Steady();
    if (due && (!volume.mounted || (again && IsWritten(volume.info.kind)))) names.push_back(name);
  }
  for (const std::string& name : names) {
    if (state->removed) co_return absl::CancelledError("pod removed");
    const SteadyTime began = clock.Steady();
    Status status = co_await SetUp(state, name);
    if (absl::IsCancelled(status)) co_return status;
    VolumeState& volume = state->volumes[name];
    if (!volume.mounted && !volume.unresolved) {
      ObserveStorageOperation(volume.info.plugin, "volume_mount", status.ok(), clock.Steady() - began);
    }
    if (status.ok()) {
      volume.mounted = true;
      volume.pause = {};
      volume.next_try = {};
      volume.error.clear();
      continue;
    }
    volume.pause = volume.pause == 0ns ? kFirstPause : std::min(volume.pause * 2, kLongestPause);
    volume.next_try = clock.Steady() + volume.pause;
    volume.error = status.message();
    // A volume written by an earlier process is whole: without an API server its pod goes on with what is there.
    if (!volume.mounted && IsOffline(status) && IsWritten(volume.info.kind) &&
        Exists(absl::StrCat(volume.path, "/..data"))) {
      volume.mounted = true;
      continue;
    }
    if (volume.unresolved) continue;  // told by who waits for it
    LOG_ERROR(status, "MountVolume.SetUp failed",
              {"pod", absl::StrCat(state->pod->metadata().namespace_(), "/", state->pod->metadata().name())},
              {"volume", name});
    if (events) {
      events(*state->pod, "Warning", "FailedMount",
             absl::StrCat(volume.not_at_node ? "MountVolume.NodeAffinity check" : "MountVolume.SetUp",
                          " failed for volume ", GoQuote(volume.persistent.empty() ? name : volume.persistent), " : ",
                          status.message()));
    }
  }
  co_return absl::OkStatus();
}

Task<Status> VolumeManager::Impl::WaitForMounts(std::shared_ptr<const Pod> pod) {
  auto self = shared_from_this();
  if (pod->spec().volumes().empty()) {
    StateOf(pod);
    co_return absl::OkStatus();
  }
  PodPtr state = StateOf(pod);
  const SteadyTime deadline = clock.Steady() + kPatience;
  for (;;) {
    CO_RETURN_IF_ERROR(co_await SetUpAll(state, false));
    if (state->removed) co_return absl::CancelledError("pod removed");
    std::vector<std::string> missing, unprocessed, reasons;
    SteadyTime next = deadline;
    for (const auto& [name, at] : state->volumes) {
      if (at.mounted) continue;
      missing.push_back(name);
      next = std::min(next, at.next_try);
      if (!at.unresolved) continue;
      unprocessed.push_back(name);
      reasons.push_back(at.error);
    }
    if (missing.empty()) co_return absl::OkStatus();
    if (!unprocessed.empty()) {
      // Nothing to wait for here: somebody must bind the claim. The pod is tried again.
      co_return FailedPrecondition("unmounted volumes=[", absl::StrJoin(missing, " "),
                                   "], unattached volumes=[], failed to process volumes=[",
                                   absl::StrJoin(unprocessed, " "), "]: ", Aggregate(reasons).message());
    }
    const SteadyTime now = clock.Steady();
    if (now >= deadline) {
      co_return absl::DeadlineExceededError(
          absl::StrCat("unmounted volumes=[", absl::StrJoin(missing, " "),
                       "], unattached volumes=[], failed to process volumes=[]: context deadline exceeded"));
    }
    CO_RETURN_IF_ERROR(co_await clock.Sleep(std::max<std::chrono::nanoseconds>(next - now, 1ms)));
  }
}

Task<StatusOr<std::vector<ContainerMount>>> VolumeManager::Impl::ContainerMounts(
    std::shared_ptr<const Pod> pod, std::string container_name, std::map<std::string, std::string> env) {
  auto self = shared_from_this();
  PodPtr state = StateOf(pod);
  const google::protobuf::RepeatedPtrField<core::VolumeMount>* mounts = nullptr;
  for (const auto& c : pod->spec().initcontainers()) {
    if (c.name() == container_name) mounts = &c.volumemounts();
  }
  for (const auto& c : pod->spec().containers()) {
    if (c.name() == container_name) mounts = &c.volumemounts();
  }
  for (const auto& c : pod->spec().ephemeralcontainers()) {
    if (c.ephemeralcontainercommon().name() == container_name) mounts = &c.ephemeralcontainercommon().volumemounts();
  }
  if (mounts == nullptr) co_return NotFound("container ", container_name, " not found");

  std::vector<ContainerMount> out;
  for (int i = 0; i < mounts->size(); ++i) {
    const auto& mount = mounts->Get(i);
    auto found = state->volumes.find(mount.name());
    const core::Volume* volume = FindVolume(*pod, mount.name());
    if (volume == nullptr || found == state->volumes.end() || !found->second.mounted) {
      co_return NotFound("cannot find volume ", GoQuote(mount.name()), " to mount into container ",
                         GoQuote(container_name));
    }
    const VolumeState& at = found->second;
    ContainerMount one;
    one.volume = mount.name();
    one.container_path = absl::StartsWith(mount.mountpath(), "/") ? mount.mountpath() : "/" + mount.mountpath();
    one.read_only = mount.readonly() || IsWritten(at.info.kind) || at.read_only;
    // Neither what is not the kubelet's (directories of the host) nor what the runtime mounts (images).
    one.relabel =
        IsWritten(at.info.kind) || at.info.kind == Kind::kEmptyDir || (at.info.plugin == kLocalPlugin && !at.read_only);
    const std::string& propagation = mount.mountpropagation();
    if (propagation == "HostToContainer") {
      one.propagation = ContainerMount::Propagation::kHostToContainer;
    } else if (propagation == "Bidirectional") {
      one.propagation = ContainerMount::Propagation::kBidirectional;
    } else if (!propagation.empty() && propagation != "None") {
      co_return InvalidArgument("invalid MountPropagation mode: ", GoQuote(propagation));
    }
    const std::string& recursive = mount.recursivereadonly();
    const bool possible = !recursive.empty() && options.recursive_read_only && options.recursive_read_only(*pod);
    if (recursive == "IfPossible") {
      one.recursive_read_only = possible;
    } else if (recursive == "Enabled") {
      if (!possible) {
        co_return FailedPrecondition("failed to resolve recursive read-only mode: volume ", GoQuote(mount.name()),
                                     " requested recursive read-only mode, but it is not supported by the runtime");
      }
      one.recursive_read_only = true;
    }

    std::string sub_path = mount.subpath();
    if (!mount.subpathexpr().empty()) {
      CO_ASSIGN_OR_RETURN(sub_path, ExpandSubPathExpr(mount.subpathexpr(), env));
    }
    if (!sub_path.empty()) {
      if (sub_path[0] == '/') {
        co_return InvalidArgument("error SubPath `", sub_path, "` must not be an absolute path");
      }
      if (Status status = ValidateNoBacksteps(sub_path); !status.ok()) {
        co_return InvalidArgument("unable to provision SubPath `", sub_path, "`: ", status.message());
      }
    }
    if (at.info.kind == Kind::kImage) {
      one.image = volume->volumesource().image().reference();
      one.image_sub_path = sub_path;
      one.read_only = true;
      out.push_back(std::move(one));
      continue;
    }
    one.host_path = at.path;
    if (!sub_path.empty()) {
      SubPath sub;
      sub.volume_path = at.path;
      sub.sub_path = sub_path;
      sub.target = layout::Subpath(PodPath(pod->metadata().uid()), mount.name(), container_name, i);
      Mounter* door = &mounter;
      std::function<Status()> bind = [&sub, door] { return BindSubPath(sub, *door); };
      Status status = co_await RunBlocking(std::move(bind));
      if (!status.ok()) {
        LOG_ERROR(status, "Failed to prepare subPath for volumeMount of the container",
                  {"containerName", container_name}, {"volumeMountName", mount.name()});
        co_return Status(status.code(), absl::StrCat("failed to prepare subPath for volumeMount ",
                                                     GoQuote(mount.name()), " of container ", GoQuote(container_name)));
      }
      one.host_path = sub.target;
    }
    out.push_back(std::move(one));
  }
  co_return out;
}

Task<Status> VolumeManager::Impl::TearDown(std::string uid, bool remove_directory) {
  auto self = shared_from_this();
  AsyncLock::Guard guard;
  std::vector<std::string> plugins;
  if (auto found = pods.find(uid); found != pods.end()) {
    PodPtr state = found->second;
    state->removed = true;
    CO_ASSIGN_OR_RETURN(guard, co_await state->lock->Lock());
    for (const auto& [name, volume] : state->volumes) {
      if (volume.mounted) plugins.push_back(volume.info.plugin);
    }
  }
  if (uid.empty() || absl::StrContains(uid, '/') || uid == "." || uid == "..") {
    co_return InvalidArgument("bad pod uid ", GoQuote(uid));
  }
  Mounter* door = &mounter;
  const std::string dir = PodPath(uid);
  std::function<Status()> work = [&dir, remove_directory, door] { return TearDownPod(dir, remove_directory, *door); };
  const SteadyTime began = clock.Steady();
  const Status done = co_await RunBlocking(std::move(work));
  for (const std::string& plugin : plugins) {
    ObserveStorageOperation(plugin, "volume_unmount", done.ok(), clock.Steady() - began);  // all of the pod's at once
  }
  CO_RETURN_IF_ERROR(done, "tear down the volumes of pod ", uid);
  pods.erase(uid);
  objects.UnregisterPod(uid);
  co_return absl::OkStatus();
}

Task<Status> VolumeManager::Impl::CleanOrphans(std::set<std::string> keep) {
  auto self = shared_from_this();
  const std::string root = layout::Pods(options.root_dir);
  std::function<StatusOr<std::vector<std::string>>()> list = [&root]() -> StatusOr<std::vector<std::string>> {
    if (!Exists(root)) return std::vector<std::string>();
    return ListDir(root);
  };
  CO_ASSIGN_OR_RETURN(const auto uids, co_await RunBlockingFor<std::vector<std::string>>(std::move(list)));
  Status first;
  for (const std::string& uid : uids) {
    if (keep.contains(uid) || pods.contains(uid)) continue;
    Status status = co_await TearDown(uid, true);
    if (absl::IsCancelled(status)) co_return status;
    if (status.ok()) {
      LOG_INFO("Cleaned up orphaned pod volumes dir", {"podUID", uid});
    } else {
      LOG_ERROR(status, "Could not clean up an orphaned pod's directory", {"podUID", uid});
      first.Update(status);
    }
  }
  co_return first;
}

Task<void> VolumeManager::Impl::Run() {
  auto self = shared_from_this();
  for (;;) {
    const SteadyTime now = clock.Steady();
    SteadyTime next = now + options.sync_period;
    std::vector<PodPtr> due;
    for (const auto& [uid, state] : pods) {
      if (state->removed) continue;
      bool follows = false;
      for (const auto& [name, volume] : state->volumes) follows = follows || IsWritten(volume.info.kind);
      if (!follows) continue;
      if (state->changed || state->next_refresh <= now) {
        due.push_back(state);
      } else {
        next = std::min(next, state->next_refresh);
      }
    }
    for (const PodPtr& state : due) {
      state->changed = false;
      state->next_refresh = clock.Steady() + RefreshPause();
      next = std::min(next, state->next_refresh);
      if (state->removed) continue;
      if (absl::IsCancelled(co_await SetUpAll(state, true)) && co_await IsCancelled()) co_return;
    }
    const auto wait = std::max<std::chrono::nanoseconds>(next - clock.Steady(), 100ms);
    // A wake-up from UpdatePod or the time, whichever comes first; tests drive the time through the clock.
    Status status = co_await refresh.WaitFor(wait);
    if (absl::IsCancelled(status)) co_return;
  }
}

VolumeManager::VolumeManager(asio::any_io_executor executor, VolumeOptions options, ObjectSource& objects,
                             Mounter& mounter, Clock& clock, PodEventFn events)
    : impl_(std::make_shared<Impl>(executor, std::move(options), objects, mounter, clock, std::move(events))) {}

VolumeManager::~VolumeManager() = default;

Task<Status> VolumeManager::WaitForMounts(std::shared_ptr<const Pod> pod) {
  return impl_->WaitForMounts(std::move(pod));
}

void VolumeManager::UpdatePod(std::shared_ptr<const Pod> pod) {
  auto found = impl_->pods.find(pod->metadata().uid());
  if (found == impl_->pods.end()) return;
  found->second->pod = pod;
  found->second->changed = true;
  impl_->objects.RegisterPod(*pod);
  impl_->refresh.Notify();
}

Task<StatusOr<std::vector<ContainerMount>>> VolumeManager::ContainerMounts(std::shared_ptr<const Pod> pod,
                                                                           std::string container,
                                                                           std::map<std::string, std::string> env) {
  return impl_->ContainerMounts(std::move(pod), std::move(container), std::move(env));
}

std::vector<int64_t> VolumeManager::ExtraGroups(const Pod& pod) const {
  std::set<int64_t> groups;
  auto found = impl_->pods.find(pod.metadata().uid());
  if (found == impl_->pods.end()) return {};
  for (const auto& [name, volume] : found->second->volumes) {
    int64_t group;
    if (volume.mounted && absl::SimpleAtoi(volume.gid, &group)) groups.insert(group);
  }
  for (int64_t own : pod.spec().securitycontext().supplementalgroups()) groups.erase(own);
  return {groups.begin(), groups.end()};
}

Task<Status> VolumeManager::TearDown(std::string uid, bool remove_directory) {
  return impl_->TearDown(std::move(uid), remove_directory);
}

Task<Status> VolumeManager::CleanOrphans(std::set<std::string> keep) { return impl_->CleanOrphans(std::move(keep)); }

bool VolumeManager::HasVolumes(const std::string& uid) const {
  const std::string volumes = absl::StrCat(impl_->PodPath(uid), "/volumes");
  auto plugins = ListDir(volumes);
  if (!plugins.ok()) return false;
  for (const std::string& plugin : *plugins) {
    auto names = ListDir(absl::StrCat(volumes, "/", plugin));
    if (names.ok() && !names->empty()) return true;
  }
  return false;
}

Task<void> VolumeManager::Run() { return impl_->Run(); }

std::vector<VolumeManager::Mounted> VolumeManager::MountedVolumes(const std::string& uid) const {
  std::vector<Mounted> out;
  auto found = impl_->pods.find(uid);
  if (found == impl_->pods.end()) return out;
  for (const auto& [name, volume] : found->second->volumes) {
    if (!volume.mounted || volume.info.kind == Kind::kImage) continue;
    out.push_back({name, volume.path, volume.info.plugin, volume.claim});
  }
  return out;
}

}  // namespace skiff::kubelet
