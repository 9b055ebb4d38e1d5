// How volumes are set up: one, and the pass over all of a pod.
#include "api/quantity.h"
#include "base/files.h"
#include "base/foreign_work.h"
#include "base/go_text.h"
#include "base/log.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "kubelet/volume/claims.h"
#include "kubelet/volume/collect.h"
#include "kubelet/volume/host_path.h"
#include "kubelet/volume/local_volume.h"
#include "kubelet/volume/ownership_progress.h"
#include "kubelet/volume/volume_manager_impl.h"
#include "kubelet/volume/volume_setup.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
using namespace std::chrono_literals;
using Kind = VolumeKind;

constexpr std::chrono::nanoseconds kFirstPause = 500ms;
constexpr std::chrono::nanoseconds kLongestPause = 2min + 2s;

bool IsOffline(const Status& status) { return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status); }

}  // namespace

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

Task<Status> VolumeManager::Impl::CheckPath(std::string path, std::string type) {
  if (type.empty()) co_return CheckHostPath(path, type);  // which does not look there
  std::string key = absl::StrCat("look at ", path, " ", type);
  std::function<Status()> check = [path = std::move(path), type = std::move(type)] {
    return CheckHostPath(path, type);
  };
  co_return co_await ForeignWork::Of(executor).Run(std::move(key), std::move(check));
}

// A claim's volume: a directory of the host, as it is or bound into the pod's directory.
Task<Status> VolumeManager::Impl::SetUpClaim(PodPtr state, std::string name) {
  auto self = shared_from_this();
  const std::shared_ptr<const Pod> pod = state->pod;
  auto claimed = co_await ResolveClaim(objects, pod, name);
  if (state->removed || closed) co_return absl::CancelledError("pod removed");
  VolumeState& at = state->volumes[name];
  at.unresolved = !claimed.ok();
  CO_RETURN_IF_ERROR(claimed.status());
  at.claim = claimed->claim;
  at.persistent = claimed->volume;
  at.gid = claimed->gid;
  at.read_only = claimed->read_only;
  at.failing = "MountVolume.NodeAffinity check";
  if (claimed->nodes && options.matches_node && !options.matches_node(*claimed->nodes)) {
    co_return FailedPrecondition("no matching NodeSelectorTerms");
  }
  if (!claimed->local) {
    at.info.plugin = "kubernetes.io/host-path";
    at.path = claimed->path;
    at.failing = "MountVolume.MountOptionSupport check";
    if (!claimed->mount_options.empty()) {
      co_return FailedPrecondition("mount options are not supported for this volume type");
    }
    at.failing = "MountVolume.SetUp";
    co_return co_await CheckPath(claimed->path, claimed->host_path_type);
  }
  at.failing = "MountVolume.SetUp";
  LocalSetup setup;
  setup.root = options.root_dir;
  setup.uid = pod->metadata().uid();
  setup.volume = claimed->volume;
  setup.source = claimed->path;
  setup.dir = at.path = VolumeDir(options.root_dir, setup.uid, at.info.plugin, claimed->volume);
  setup.options = claimed->mount_options;
  if (pod->spec().securitycontext().has_fsgroup()) setup.fs_group = pod->spec().securitycontext().fsgroup();
  setup.on_root_mismatch = pod->spec().securitycontext().fsgroupchangepolicy() == "OnRootMismatch";
  setup.read_only = claimed->read_only;
  // Upstream's kubelet holds only volumes of its own directories to the access mode; a hostPath is the scheduler's.
  setup.one_pod = claimed->one_pod;
  setup.gate = state->gate;
  // Kept until the work has ended, also where nobody waits for that any more.
  const auto guard = std::make_shared<AsyncLock::Guard>();
  CO_ASSIGN_OR_RETURN(*guard, co_await LocalLock(claimed->path)->Lock());
  TaskGroup watch(executor);  // ends with this frame
  if (setup.fs_group && events) {
    watch.Spawn(
        "volume ownership",
        TellOwnershipProgress(clock, setup.progress, setup.dir, setup.uid, [self, pod](const std::string& message) {
          if (self->closed) return;
          self->events(*pod, "Warning", "VolumePermissionChangeInProgress", message);
        }));
  }
  const auto kept_group = std::make_shared<std::optional<gid_t>>();
  std::function<Status()> bind = [setup, kept_group, mounts = &mounter]() -> Status {
    ASSIGN_OR_RETURN(*kept_group, SetUpLocal(setup, *mounts));
    return absl::OkStatus();
  };
  CO_RETURN_IF_ERROR(
      co_await ForeignWork::Of(executor).Run(absl::StrCat("set up ", setup.dir), std::move(bind), guard));
  if (*kept_group && !closed && events) {
    events(*pod, "Warning", "AlreadyMountedVolume",
           absl::StrCat("The requested fsGroup is ", *setup.fs_group, ", but the volume ", setup.volume, " has GID ",
                        **kept_group, ". The volume may not be shareable."));
  }
  co_return absl::OkStatus();
}

Task<void> VolumeManager::Impl::Operate(PodPtr state, std::string name) {
  auto self = shared_from_this();
  const SteadyTime began = clock.Steady();
  Status status;
  try {
    if (state->volumes[name].info.kind == Kind::kClaim) {
      status = co_await SetUpClaim(state, name);
    } else if (const core::Volume* volume = FindVolume(*state->pod, name); volume != nullptr) {
      const auto& source = volume->volumesource().hostpath();
      status = co_await CheckPath(source.path(), source.type());
    }
  } catch (const std::exception& e) {
    status = Internal(e.what());  // a volume that stayed busy would never be tried again
  }
  state->volumes[name].busy = false;
  if (closed) co_return;
  if (!state->removed) Finish(state, name, status, began);
  for (const auto& waiter : state->waiting) waiter->Notify();
}

void VolumeManager::Impl::BeginOperations(const PodPtr& state) {
  if (state->removed) return;
  for (auto& [name, volume] : state->volumes) {
    if (!IsForeign(volume.info.kind) || volume.mounted || volume.busy || volume.next_try > clock.Steady()) continue;
    volume.busy = true;
    state->operations.Spawn(absl::StrCat("set up volume ", name), Operate(state, name));
  }
}

// One pass over the volumes whose time has come; `again` takes the mounted ones that follow objects.
Task<Status> VolumeManager::Impl::SetUpAll(PodPtr state, bool again) {
  auto self = shared_from_this();
  BeginOperations(state);
  CO_ASSIGN_OR_RETURN(auto guard, co_await state->lock->Lock());
  std::vector<std::string> names;
  for (const auto& [name, volume] : state->volumes) {
    const bool due = volume.next_try <= clock.Steady() && !IsForeign(volume.info.kind);
    if (due && (!volume.mounted || (again && IsWritten(volume.info.kind)))) names.push_back(name);
  }
  for (const std::string& name : names) {
    if (state->removed) co_return absl::CancelledError("pod removed");
    const SteadyTime began = clock.Steady();
    Status status = co_await SetUp(state, name);
    if (absl::IsCancelled(status)) co_return status;
    Finish(state, name, status, began);
  }
  if (state->changed) refresh.Notify();  // which passed over the pod meanwhile
  co_return absl::OkStatus();
}

void VolumeManager::Impl::Finish(const PodPtr& state, const std::string& name, const Status& status, SteadyTime began) {
  VolumeState& volume = state->volumes[name];
  if (!volume.unresolved) {
    ObserveStorageOperation(volume.info.plugin, "volume_mount", status.ok(), clock.Steady() - began);
  }
  if (status.ok()) {
    volume.mounted = true;
    volume.pause = {};
    volume.next_try = {};
    volume.error.clear();
    return;
  }
  volume.pause = volume.pause == 0ns ? kFirstPause : std::min(volume.pause * 2, kLongestPause);
  volume.next_try = clock.Steady() + volume.pause;
  volume.error = status.message();
  // A volume written by an earlier process is whole: without an API server its pod goes on with what is there.
  if (!volume.mounted && IsOffline(status) && IsWritten(volume.info.kind) &&
      Exists(absl::StrCat(volume.path, "/..data"))) {
    volume.mounted = true;
    return;
  }
  if (volume.unresolved) return;  // told by who waits for it
  LOG_ERROR(status, "MountVolume.SetUp failed",
            {"pod", absl::StrCat(state->pod->metadata().namespace_(), "/", state->pod->metadata().name())},
            {"volume", name});
  if (events) {
    events(*state->pod, "Warning", "FailedMount",
           absl::StrCat(volume.failing, " failed for volume ",
                        GoQuote(volume.persistent.empty() ? name : volume.persistent), " : ", status.message()));
  }
}

}  // namespace skiff::kubelet
