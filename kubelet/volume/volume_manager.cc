#include "kubelet/volume/volume_manager.h"

#include <climits>
#include <cstdlib>

#include "base/files.h"
#include "base/go_text.h"
#include "base/log.h"
#include "base/timed_wait.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "kubelet/state/layout.h"
#include "kubelet/volume/volume_manager_impl.h"
#include "kubelet/volume/volume_setup.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kPatience = 2min + 3s;
// Pods refreshed side by side: an API server that answers one of them slowly does not hold up the others.
constexpr size_t kRefreshers = 4;
// A pod that was passed over, because its volumes were being worked on, is looked at again after so long.
constexpr std::chrono::nanoseconds kPassedOver = 1s;

// In `list` while it lives.
class Waiting {
 public:
  Waiting(std::vector<std::shared_ptr<Wakeup>>& list, const asio::any_io_executor& executor)
      : list_(list), turn_(std::make_shared<Wakeup>(executor)) {
    list_.push_back(turn_);
  }
  ~Waiting() { std::erase(list_, turn_); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  Wakeup& turn() { return *turn_; }

 private:
  std::vector<std::shared_ptr<Wakeup>>& list_;
  const std::shared_ptr<Wakeup> turn_;
};

}  // namespace

std::string PodDir(const std::string& root, const std::string& uid) { return layout::Pod(root, uid); }

std::string VolumeDir(const std::string& root, const std::string& uid, const std::string& plugin,
                      const std::string& volume) {
  return layout::Volume(PodDir(root, uid), plugin, volume);
}

const k8s::io::api::core::v1::Volume* FindVolume(const Pod& pod, const std::string& name) {
  for (const auto& volume : pod.spec().volumes()) {
    if (volume.name() == name) return &volume;
  }
  return nullptr;
}

VolumeManager::Impl::Impl(asio::any_io_executor executor, VolumeOptions options, ObjectSource& objects,
                          Mounter& mounter, Clock& clock, PodEventFn events)
    : executor(executor),
      options(std::move(options)),
      objects(objects),
      mounter(mounter),
      clock(clock),
      events(std::move(events)),
      refresh(executor) {
  // The mount table shows resolved paths; compare like with like.
  char resolved[PATH_MAX];
  if (realpath(this->options.root_dir.c_str(), resolved) != nullptr) this->options.root_dir = resolved;
}

VolumeManager::Impl::PodPtr VolumeManager::Impl::StateOf(const std::shared_ptr<const Pod>& pod) {
  PodPtr& slot = pods[pod->metadata().uid()];
  if (slot == nullptr) {
    slot = std::make_shared<PodState>(executor, ++lives);
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
    at->second.path = at->second.info.kind == VolumeKind::kHostPath
                          ? volume.volumesource().hostpath().path()
                          : VolumeDir(options.root_dir, pod->metadata().uid(), at->second.info.plugin, volume.name());
  }
  return slot;
}

// Between 1 and 1.5 periods, as upstream spreads the work of its pods.
std::chrono::nanoseconds VolumeManager::Impl::RefreshPause() {
  const double factor = 1.0 + 0.5 * static_cast<double>(random()) / static_cast<double>(std::minstd_rand::max());
  return std::chrono::nanoseconds(static_cast<int64_t>(static_cast<double>(options.sync_period.count()) * factor));
}

Allocatable VolumeManager::Impl::AllocatableNow() const {
  auto get = [](const std::function<int64_t()>& f) { return f ? f() : 0; };
  return {get(options.allocatable_milli_cpu), get(options.allocatable_memory),
          get(options.allocatable_ephemeral_storage)};
}

std::shared_ptr<AsyncLock> VolumeManager::Impl::LocalLock(const std::string& path) {
  std::erase_if(local_locks, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<AsyncLock>& slot = local_locks[path];
  auto lock = slot.lock();
  if (lock == nullptr) slot = lock = std::make_shared<AsyncLock>();
  return lock;
}

Task<Status> VolumeManager::Impl::WaitForMounts(std::shared_ptr<const Pod> pod) {
  auto self = shared_from_this();
  if (pod->spec().volumes().empty()) {
    StateOf(pod);
    co_return absl::OkStatus();
  }
  PodPtr state = StateOf(pod);
  const SteadyTime deadline = clock.Steady() + kPatience;
  Waiting waiting(state->waiting, executor);
  for (;;) {
    CO_RETURN_IF_ERROR(co_await SetUpAll(state, false));
    if (state->removed) co_return absl::CancelledError("pod removed");
    std::vector<std::string> missing, unprocessed, reasons;
    SteadyTime next = deadline;
    for (const auto& [name, at] : state->volumes) {
      if (at.mounted) continue;
      missing.push_back(name);
      if (at.busy) continue;
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
    const Status waited = co_await WaitFor(clock, waiting.turn(), std::max<std::chrono::nanoseconds>(next - now, 1ms));
    if (absl::IsCancelled(waited)) co_return waited;
  }
}

Task<Status> VolumeManager::Impl::TearDown(std::string uid, bool remove_directory) {
  auto self = shared_from_this();
  AsyncLock::Guard guard;
  std::vector<std::string> plugins;
  auto gate = std::make_shared<MountGate>();
  if (auto found = pods.find(uid); found != pods.end()) {
    PodPtr state = found->second;
    state->removed = true;
    state->operations.Cancel();
    gate = state->gate;
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
  std::function<Status()> work = [&dir, remove_directory, door, &gate] {
    gate->Close();
    return TearDownPod(dir, remove_directory, *door);
  };
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

Task<void> VolumeManager::Impl::RefreshDue() {
  auto self = shared_from_this();
  while (!due.empty()) {
    const PodPtr state = std::move(due.front());
    due.pop_front();
    if (state->removed) continue;
    if (absl::IsCancelled(co_await SetUpAll(state, true)) && co_await IsCancelled()) co_return;
  }
}

Task<void> VolumeManager::Impl::Run() {
  auto self = shared_from_this();
  TaskGroup refreshers(executor);
  for (;;) {
    const SteadyTime now = clock.Steady();
    SteadyTime next = now + options.sync_period;
    for (const auto& [uid, state] : pods) {
      if (state->removed) continue;
      bool follows = false;
      for (const auto& [name, volume] : state->volumes) follows = follows || IsWritten(volume.info.kind);
      if (!follows) continue;
      if ((state->changed || state->next_refresh <= now) && state->lock->held()) {
        next = std::min(next, now + kPassedOver);
        continue;
      }
      if (state->changed || state->next_refresh <= now) {
        state->changed = false;
        state->next_refresh = now + RefreshPause();
        due.push_back(state);
      }
      next = std::min(next, state->next_refresh);
    }
    const size_t more = std::min(due.size(), kRefreshers - std::min(kRefreshers, refreshers.size()));
    for (size_t i = 0; i < more; ++i) refreshers.Spawn("refresh volumes", RefreshDue());
    const auto wait = std::max<std::chrono::nanoseconds>(next - clock.Steady(), 100ms);
    // A wake-up from UpdatePod or the time, whichever comes first; tests drive the time through the clock.
    Status status = co_await refresh.WaitFor(wait);
    if (absl::IsCancelled(status)) break;
  }
  due.clear();
  co_await refreshers.Join();
}

VolumeManager::VolumeManager(asio::any_io_executor executor, VolumeOptions options, ObjectSource& objects,
                             Mounter& mounter, Clock& clock, PodEventFn events)
    : impl_(std::make_shared<Impl>(executor, std::move(options), objects, mounter, clock, std::move(events))) {}

VolumeManager::~VolumeManager() {
  impl_->closed = true;
  for (const auto& [uid, state] : impl_->pods) {
    state->operations.Cancel();
    state->gate->Close();
  }
}

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
    if (!volume.mounted || volume.info.kind == VolumeKind::kImage) continue;
    out.push_back({name, volume.path, volume.info.plugin, volume.claim});
  }
  return out;
}

}  // namespace skiff::kubelet
