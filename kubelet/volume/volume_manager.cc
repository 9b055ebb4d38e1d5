#include "kubelet/volume/volume_manager.h"

#include <climits>
#include <cstdlib>
#include <random>

#include "api/quantity.h"
#include "base/files.h"
#include "base/go_text.h"
#include "base/log.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "kubelet/volume/async_lock.h"
#include "kubelet/volume/host_path.h"
#include "kubelet/volume/payload.h"
#include "kubelet/volume/subpath.h"
#include "kubelet/volume/volume_setup.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kFirstPause = 500ms;
constexpr std::chrono::nanoseconds kLongestPause = 2min + 2s;
constexpr std::chrono::nanoseconds kPatience = 2min + 3s;

enum class Kind { kEmptyDir, kConfigMap, kSecret, kDownwardApi, kProjected, kHostPath, kImage, kUnsupported };

struct KindInfo {
  Kind kind;
  std::string plugin;  // "kubernetes.io/configmap"; for unsupported kinds the field's name
};

KindInfo KindOf(const core::Volume& volume) {
  const auto& source = volume.volumesource();
  if (source.has_configmap()) return {Kind::kConfigMap, "kubernetes.io/configmap"};
  if (source.has_secret()) return {Kind::kSecret, "kubernetes.io/secret"};
  if (source.has_downwardapi()) return {Kind::kDownwardApi, "kubernetes.io/downward-api"};
  if (source.has_projected()) return {Kind::kProjected, "kubernetes.io/projected"};
  if (source.has_hostpath()) return {Kind::kHostPath, "kubernetes.io/host-path"};
  if (source.has_image()) return {Kind::kImage, "kubernetes.io/image"};
  if (source.has_emptydir()) return {Kind::kEmptyDir, "kubernetes.io/empty-dir"};
  const auto* reflection = source.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> set;
  reflection->ListFields(source, &set);
  if (!set.empty()) return {Kind::kUnsupported, std::string(set[0]->name())};
  return {Kind::kEmptyDir, "kubernetes.io/empty-dir"};  // no source: the API's default
}

bool IsWritten(Kind kind) {
  return kind == Kind::kConfigMap || kind == Kind::kSecret || kind == Kind::kDownwardApi || kind == Kind::kProjected;
}

std::string Escape(std::string_view plugin) {
  std::string out(plugin);
  std::replace(out.begin(), out.end(), '/', '~');
  return out;
}

const core::Volume* FindVolume(const Pod& pod, const std::string& name) {
  for (const auto& volume : pod.spec().volumes()) {
    if (volume.name() == name) return &volume;
  }
  return nullptr;
}

bool IsOffline(const Status& status) { return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status); }

}  // namespace

std::string PodDir(const std::string& root, const std::string& uid) { return absl::StrCat(root, "/pods/", uid); }

std::string VolumeDir(const std::string& root, const std::string& uid, const std::string& plugin,
                      const std::string& volume) {
  return absl::StrCat(PodDir(root, uid), "/volumes/", Escape(plugin), "/", volume);
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
    KindInfo info;
    std::string path;
    bool mounted = false;
    SteadyTime next_try{};
    std::chrono::nanoseconds pause{0};
    std::string error;
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
    for (const auto& volume : pod->spec().volumes()) {
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

  Task<StatusOr<Payload>> Collect(std::shared_ptr<const Pod> pod, const core::Volume& volume, Kind kind);
  Task<Status> CollectProjected(std::shared_ptr<const Pod> pod, const core::ProjectedVolumeSource& source,
                                Payload* out);
  Task<Status> AddConfigMapNamed(std::string ns, std::string name, const ItemList& items, mode_t mode, bool optional,
                                 Payload* out);
  Task<Status> AddSecretNamed(std::string ns, std::string name, const ItemList& items, mode_t mode, bool optional,
                              Payload* out);
  Task<Status> SetUp(PodPtr state, std::string name);
  Task<Status> SetUpAll(PodPtr state, bool again);
  Task<Status> WaitForMounts(std::shared_ptr<const Pod> pod);
  Task<StatusOr<std::vector<ContainerMount>>> ContainerMounts(std::shared_ptr<const Pod> pod, std::string container,
                                                              std::map<std::string, std::string> env);
  Task<Status> TearDown(std::string uid, bool remove_directory);
  Task<Status> CleanOrphans(std::set<std::string> keep);
  Task<void> Run();
};

Task<Status> VolumeManager::Impl::AddConfigMapNamed(std::string ns, std::string name, const ItemList& items,
                                                    mode_t mode, bool optional, Payload* out) {
  auto object = co_await objects.GetConfigMap(ns, name);
  if (object.ok()) co_return AddConfigMap(**object, items, mode, optional, out);
  if (optional && absl::IsNotFound(object.status())) co_return absl::OkStatus();
  co_return object.status();
}

Task<Status> VolumeManager::Impl::AddSecretNamed(std::string ns, std::string name, const ItemList& items, mode_t mode,
                                                 bool optional, Payload* out) {
  auto object = co_await objects.GetSecret(ns, name);
  if (object.ok()) co_return AddSecret(**object, items, mode, optional, out);
  if (optional && absl::IsNotFound(object.status())) co_return absl::OkStatus();
  co_return object.status();
}

Task<Status> VolumeManager::Impl::CollectProjected(std::shared_ptr<const Pod> pod,
                                                   const core::ProjectedVolumeSource& source, Payload* out) {
  const mode_t mode = source.has_defaultmode() ? source.defaultmode() : 0644;
  const std::string& ns = pod->metadata().namespace_();
  const auto user = VolumeUserOf(*pod);
  std::vector<std::string> errors;
  Status first;
  for (const auto& projection : source.sources()) {
    Status status;
    if (projection.has_configmap()) {
      const auto& from = projection.configmap();
      status =
          co_await AddConfigMapNamed(ns, from.localobjectreference().name(), from.items(), mode, from.optional(), out);
    } else if (projection.has_secret()) {
      const auto& from = projection.secret();
      status =
          co_await AddSecretNamed(ns, from.localobjectreference().name(), from.items(), mode, from.optional(), out);
    } else if (projection.has_downwardapi()) {
      status = AddDownwardApi(*pod, projection.downwardapi().items(), mode, AllocatableNow(), out);
    } else if (projection.has_serviceaccounttoken()) {
      const auto& from = projection.serviceaccounttoken();
      TokenRequest request;
      request.ns = ns;
      request.service_account = pod->spec().serviceaccountname();
      request.audience = from.audience();
      if (from.has_expirationseconds()) request.expiration_seconds = from.expirationseconds();
      request.pod_name = pod->metadata().name();
      request.pod_uid = pod->metadata().uid();
      auto token = co_await objects.GetToken(std::move(request));
      status = token.status();
      if (token.ok()) {
        FileProjection& file = (*out)[from.path()];
        file.data = std::move(token->token);
        file.mode = user || pod->spec().securitycontext().has_fsgroup() ? 0600 : mode;
        if (user) file.user = *user;
      }
    } else if (projection.has_clustertrustbundle()) {
      status = absl::UnimplementedError("projected source clusterTrustBundle is not supported by this kubelet");
    } else if (projection.has_podcertificate()) {
      status = absl::UnimplementedError("projected source podCertificate is not supported by this kubelet");
    }
    if (absl::IsCancelled(status)) co_return status;
    if (!status.ok()) {
      errors.emplace_back(status.message());
      first.Update(status);
    }
  }
  if (errors.empty()) co_return absl::OkStatus();
  co_return Status(first.code(), Aggregate(errors).message());
}

Task<StatusOr<Payload>> VolumeManager::Impl::Collect(std::shared_ptr<const Pod> pod, const core::Volume& volume,
                                                     Kind kind) {
  const auto& source = volume.volumesource();
  const std::string& ns = pod->metadata().namespace_();
  Payload out;
  Status status;
  if (kind == Kind::kConfigMap) {
    const auto& from = source.configmap();
    status = co_await AddConfigMapNamed(ns, from.localobjectreference().name(), from.items(),
                                        from.has_defaultmode() ? from.defaultmode() : 0644, from.optional(), &out);
  } else if (kind == Kind::kSecret) {
    const auto& from = source.secret();
    status = co_await AddSecretNamed(ns, from.secretname(), from.items(),
                                     from.has_defaultmode() ? from.defaultmode() : 0644, from.optional(), &out);
  } else if (kind == Kind::kDownwardApi) {
    const auto& from = source.downwardapi();
    status =
        AddDownwardApi(*pod, from.items(), from.has_defaultmode() ? from.defaultmode() : 0644, AllocatableNow(), &out);
  } else {
    status = co_await CollectProjected(pod, source.projected(), &out);
  }
  if (!status.ok()) co_return status;
  co_return out;
}

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
    if (options.image_volumes) co_return absl::OkStatus();
    co_return absl::UnimplementedError("volume type image is not supported by this kubelet and its container runtime");
  }
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
      if (absl::StartsWith(source.medium(), "HugePages")) {
        co_return absl::UnimplementedError("emptyDir medium HugePages is not supported by this kubelet");
      }
      co_return InvalidArgument("unknown storage medium ", GoQuote(source.medium()));
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
  CO_ASSIGN_OR_RETURN(const Payload payload, co_await Collect(pod, *volume, kind));
  const auto nested = NestedMountPoints(*pod, name);
  const WallTime now = clock.Now();
  std::function<Status()> write = [&setup, &nested, &payload, mounts, now] {
    return SetUpWritten(setup, nested, payload, *mounts, now).status();
  };
  co_return co_await RunBlocking(std::move(write));
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
    Status status = co_await SetUp(state, name);
    if (absl::IsCancelled(status)) co_return status;
    VolumeState& volume = state->volumes[name];
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
    LOG_ERROR(status, "MountVolume.SetUp failed",
              {"pod", absl::StrCat(state->pod->metadata().namespace_(), "/", state->pod->metadata().name())},
              {"volume", name});
    if (events) {
      events(*state->pod, "Warning", "FailedMount",
             absl::StrCat("MountVolume.SetUp failed for volume ", GoQuote(name), " : ", status.message()));
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
    std::vector<std::string> missing;
    SteadyTime next = deadline;
    for (const auto& volume : state->pod->spec().volumes()) {
      const VolumeState& at = state->volumes[volume.name()];
      if (at.mounted) continue;
      missing.push_back(volume.name());
      next = std::min(next, at.next_try);
    }
    if (missing.empty()) co_return absl::OkStatus();
    const SteadyTime now = clock.Steady();
    if (now >= deadline) {
      std::sort(missing.begin(), missing.end());
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
    one.read_only = mount.readonly() || IsWritten(at.info.kind);
    const std::string& propagation = mount.mountpropagation();
    if (propagation == "HostToContainer") {
      one.propagation = ContainerMount::Propagation::kHostToContainer;
    } else if (propagation == "Bidirectional") {
      one.propagation = ContainerMount::Propagation::kBidirectional;
    } else if (!propagation.empty() && propagation != "None") {
      co_return InvalidArgument("invalid MountPropagation mode: ", GoQuote(propagation));
    }
    const std::string& recursive = mount.recursivereadonly();
    if (recursive == "IfPossible") {
      one.recursive_read_only = options.recursive_read_only;
    } else if (recursive == "Enabled") {
      if (!options.recursive_read_only) {
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
      sub.target =
          absl::StrCat(PodPath(pod->metadata().uid()), "/volume-subpaths/", mount.name(), "/", container_name, "/", i);
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
  if (auto found = pods.find(uid); found != pods.end()) {
    PodPtr state = found->second;
    state->removed = true;
    CO_ASSIGN_OR_RETURN(guard, co_await state->lock->Lock());
  }
  if (uid.empty() || absl::StrContains(uid, '/') || uid == "." || uid == "..") {
    co_return InvalidArgument("bad pod uid ", GoQuote(uid));
  }
  Mounter* door = &mounter;
  const std::string dir = PodPath(uid);
  std::function<Status()> work = [&dir, remove_directory, door] { return TearDownPod(dir, remove_directory, *door); };
  CO_RETURN_IF_ERROR(co_await RunBlocking(std::move(work)), "tear down the volumes of pod ", uid);
  pods.erase(uid);
  objects.UnregisterPod(uid);
  co_return absl::OkStatus();
}

Task<Status> VolumeManager::Impl::CleanOrphans(std::set<std::string> keep) {
  auto self = shared_from_this();
  const std::string root = absl::StrCat(options.root_dir, "/pods");
  std::function<StatusOr<std::vector<std::string>>()> list = [&root]() -> StatusOr<std::vector<std::string>> {
    if (!Exists(root)) return std::vector<std::string>();
    return ListDir(root);
  };
  CO_ASSIGN_OR_RETURN(const auto uids, co_await RunBlockingFor<std::vector<std::string>>(std::move(list)));
  Status first;
  for (const std::string& uid : uids) {
    if (keep.count(uid) > 0 || pods.count(uid) > 0) continue;
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
    if (volume.mounted && volume.info.kind != Kind::kImage) out.push_back({name, volume.path, volume.info.plugin});
  }
  return out;
}

}  // namespace skiff::kubelet
