#include "kubelet/pod/allocations.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "api/codec.h"
#include "api/quantity.h"
#include "base/files.h"
#include "base/files_ordered.h"
#include "base/log.h"
#include "kubelet/pod/resize.h"

namespace skiff::kubelet {
namespace {

// Many pods that start together are one write: each costs a commit of the disk's journal, for which starts wait too.
constexpr auto kCoalesce = std::chrono::milliseconds(500);
constexpr auto kRetry = std::chrono::seconds(10);  // after a write that failed

// Without looking at what the texts mean: they are mostly the very same, and every admission compares those of all
// pods.
bool SameTexts(const core::ResourceRequirements& a, const core::ResourceRequirements& b) {
  auto same = [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::all_of(x.begin(), x.end(), [&](const auto& entry) {
             const auto found = y.find(entry.first);
             return found != y.end() && found->second.string() == entry.second.string();
           });
  };
  return a.claims_size() == 0 && b.claims_size() == 0 && same(a.requests(), b.requests()) &&
         same(a.limits(), b.limits());
}

bool Same(const core::ResourceRequirements& a, const core::ResourceRequirements& b) {
  return SameTexts(a, b) || api::Equal(a, b);
}

// `pod` with other resources in place; null when nothing would change. `recorded` tells those of a container, null
// where it has the pod's.
template <typename Recorded>
std::shared_ptr<Pod> With(const Pod& pod, const core::ResourceRequirements* level, const Recorded& recorded) {
  std::shared_ptr<Pod> out;
  auto copy = [&]() -> Pod& {
    if (out == nullptr) out = std::make_shared<Pod>(pod);
    return *out;
  };
  if (level != nullptr && !(pod.spec().has_resources() && Same(pod.spec().resources(), *level))) {
    *copy().mutable_spec()->mutable_resources() = *level;
  }
  for (int i = 0; i < pod.spec().containers_size(); ++i) {
    if (const auto* r = recorded(pod.spec().containers(i))) {
      *copy().mutable_spec()->mutable_containers(i)->mutable_resources() = *r;
    }
  }
  for (int i = 0; i < pod.spec().initcontainers_size(); ++i) {
    if (const auto* r = recorded(pod.spec().initcontainers(i))) {
      *copy().mutable_spec()->mutable_initcontainers(i)->mutable_resources() = *r;
    }
  }
  return out;
}

const core::ResourceRequirements* LevelOf(const ResourceCheckpoint::PodResources* state) {
  return state != nullptr && state->pod ? &*state->pod : nullptr;
}

const core::ResourceRequirements* Find(const ResourceCheckpoint::PodResources* state, const std::string& container) {
  if (state == nullptr) return nullptr;
  auto it = state->containers.find(container);
  return it == state->containers.end() ? nullptr : &it->second;
}

// The same as what `c` was granted, whether or not the record names the pod's limits.
bool AsGranted(const Pod& pod, const core::Container& c, const core::ResourceRequirements& recorded) {
  return Same(c.resources(), recorded) || (pod.spec().has_resources() && Same(WithPodLimits(pod, c), recorded));
}

ResourceCheckpoint::PodResources ResourcesOf(const Pod& pod) {
  ResourceCheckpoint::PodResources out;
  if (pod.spec().has_resources()) out.pod = pod.spec().resources();
  for (const auto* list : {&pod.spec().containers(), &pod.spec().initcontainers()}) {
    for (const auto& c : *list) out.containers[c.name()] = c.resources();
  }
  return out;
}

StatusOr<std::map<std::string, ResourceCheckpoint::PodResources>> Parse(std::string_view data) {
  std::map<std::string, ResourceCheckpoint::PodResources> out;
  ASSIGN_OR_RETURN(api::json document, api::ParseJson(data));
  auto entries = document.find("entries");
  if (!document.is_object() || entries == document.end() || entries->is_null()) return out;
  if (!entries->is_object()) return InvalidArgument("entries: must be an object");
  for (const auto& [uid, entry] : entries->items()) {
    ResourceCheckpoint::PodResources& pod = out[uid];
    if (!entry.is_object()) return InvalidArgument("entries.", uid, ": must be an object");
    if (auto level = entry.find("PodLevelResources"); level != entry.end() && level->is_object()) {
      RETURN_IF_ERROR(api::FromJsonValue(*level, &pod.pod.emplace()), "entries.", uid, ".PodLevelResources");
    }
    auto containers = entry.find("ContainerResources");
    if (containers == entry.end() || !containers->is_object()) continue;
    for (const auto& [name, resources] : containers->items()) {
      RETURN_IF_ERROR(api::FromJsonValue(resources, &pod.containers[name]), "entries.", uid, ".ContainerResources.",
                      name);
    }
  }
  return out;
}

}  // namespace

uint32_t CheckpointChecksum(std::string_view data) {
  uint32_t hash = 2166136261u;
  for (std::string_view part : {std::string_view("(string)"), data}) {
    for (unsigned char c : part) hash = (hash ^ c) * 16777619u;
  }
  return hash;
}

Status ResourceCheckpoint::Load() {
  if (path_.empty()) return absl::OkStatus();
  auto text = ReadFile(path_, 64 << 20);
  if (ErrnoOf(text.status()) == ENOENT) return absl::OkStatus();
  if (!text.ok()) return text.status();
  ASSIGN_OR_RETURN(api::json file, api::ParseJson(*text), path_);
  auto data = file.is_object() ? file.find("data") : file.end();
  if (!file.is_object() || data == file.end() || !data->is_string()) {
    return InvalidArgument(path_, ": data: must be a string");
  }
  const std::string& inner = data->get_ref<const std::string&>();
  auto checksum = file.find("checksum");
  if (checksum == file.end() || !checksum->is_number_integer() ||
      checksum->get<uint64_t>() != CheckpointChecksum(inner)) {
    return InvalidArgument(path_, ": checkpoint is corrupted");
  }
  ASSIGN_OR_RETURN(pods_, Parse(inner), path_);
  dirty_ = false;
  return absl::OkStatus();
}

void ResourceCheckpoint::SetAside() const {
  const std::string aside = path_ + ".broken";
  if (::rename(path_.c_str(), aside.c_str()) != 0)
    LOG_ERROR(ErrnoStatus(errno, aside), "Cannot set a checkpoint aside");
}

std::string ResourceCheckpoint::Text() const {
  std::string data = "{";
  if (!pods_.empty()) {
    data += "\"entries\":{";
    bool first = true;
    for (const auto& [uid, pod] : pods_) {
      if (!std::exchange(first, false)) data += ',';
      api::AppendJsonString(uid, &data);
      data += ":{\"ContainerResources\":{";
      bool first_container = true;
      for (const auto& [name, resources] : pod.containers) {
        if (!std::exchange(first_container, false)) data += ',';
        api::AppendJsonString(name, &data);
        data += ':';
        api::AppendJson(resources, nullptr, &data);
      }
      data += "},\"PodLevelResources\":";
      if (pod.pod) {
        api::AppendJson(*pod.pod, nullptr, &data);
      } else {
        data += "null";
      }
      data += '}';
    }
    data += '}';
  }
  data += '}';
  std::string file = "{\"data\":";
  api::AppendJsonString(data, &file);
  absl::StrAppend(&file, ",\"checksum\":", CheckpointChecksum(data), "}");
  return file;
}

std::function<Status()> ResourceCheckpoint::TakeWrite(bool durable) {
  if (path_.empty() || !(durable ? file_->synced < state_ : dirty_)) return nullptr;
  dirty_ = false;
  return [file = file_, path = path_, text = Text(), state = state_, durable]() -> Status {
    std::lock_guard lock(file->mutex);
    if (state <= file->synced) return absl::OkStatus();
    if (state > file->written) {
      RETURN_IF_ERROR(WriteFileOrdered(path, text, 0600));
      file->written = state;
    }
    if (!durable) return absl::OkStatus();
    RETURN_IF_ERROR(SyncFileName(path));
    file->synced = file->written;
    return absl::OkStatus();
  };
}

Status ResourceCheckpoint::Save() {
  const auto write = TakeWrite(true);
  if (write == nullptr) return absl::OkStatus();
  Status status = write();
  if (!status.ok()) Failed();
  return status;
}

const ResourceCheckpoint::PodResources* ResourceCheckpoint::Get(const std::string& uid) const {
  auto it = pods_.find(uid);
  return it == pods_.end() ? nullptr : &it->second;
}

const core::ResourceRequirements* ResourceCheckpoint::Get(const std::string& uid, const std::string& container) const {
  const PodResources* pod = Get(uid);
  if (pod == nullptr) return nullptr;
  auto it = pod->containers.find(container);
  return it == pod->containers.end() ? nullptr : &it->second;
}

void ResourceCheckpoint::Set(const std::string& uid, PodResources resources) {
  pods_[uid] = std::move(resources);
  Changed();
}

void ResourceCheckpoint::Set(const std::string& uid, const std::string& container,
                             core::ResourceRequirements resources) {
  pods_[uid].containers[container] = std::move(resources);
  Changed();
}

void ResourceCheckpoint::SetPodLevel(const std::string& uid, core::ResourceRequirements resources) {
  pods_[uid].pod = std::move(resources);
  Changed();
}

void ResourceCheckpoint::Remove(const std::string& uid) {
  if (pods_.erase(uid) > 0) Changed();
}

void ResourceCheckpoint::Keep(const std::set<std::string>& uids) {
  if (std::erase_if(pods_, [&](const auto& entry) { return !uids.contains(entry.first); }) > 0) Changed();
}

Pod GrantedByStatus(const Pod& pod) {
  using List = google::protobuf::Map<std::string, api::Quantity::Proto>;
  auto take = [](const List& told, List* to, bool absent_is_none) {
    for (const char* name : {"cpu", "memory"}) {
      if (auto it = told.find(name); it != told.end() && to->contains(name)) {
        (*to)[name] = it->second;
      } else if (it == told.end() && absent_is_none) {
        to->erase(name);
      }
    }
  };
  Pod out = pod;
  auto apply = [&](const auto& statuses, auto* containers) {
    for (core::Container& c : *containers) {
      for (const core::ContainerStatus& s : statuses) {
        if (s.name() != c.name()) continue;
        auto* resources = c.mutable_resources();
        if (!s.allocatedresources().empty()) take(s.allocatedresources(), resources->mutable_requests(), true);
        take(s.resources().limits(), resources->mutable_limits(), false);
      }
    }
  };
  apply(pod.status().containerstatuses(), out.mutable_spec()->mutable_containers());
  apply(pod.status().initcontainerstatuses(), out.mutable_spec()->mutable_initcontainers());
  if (pod.spec().has_resources()) {
    take(pod.status().allocatedresources(), out.mutable_spec()->mutable_resources()->mutable_requests(), false);
  }
  return out;
}

Allocations::Allocations(asio::any_io_executor executor, Clock& clock, const std::string& root_dir)
    : clock_(clock),
      allocated_(root_dir.empty() ? "" : JoinPath(root_dir, "allocated_pods_state")),
      actuated_(root_dir.empty() ? "" : JoinPath(root_dir, "actuated_pods_state")),
      wakeup_(executor) {}

void Allocations::Load() {
  for (ResourceCheckpoint* checkpoint : {&allocated_, &actuated_}) {
    if (Status s = checkpoint->Load(); !s.ok()) {
      LOG_ERROR(s, "Cannot read a checkpoint of resources; it is set aside and begun anew");
      checkpoint->SetAside();
    }
  }
}

void Allocations::SaveFailed() {
  allocated_.Failed();
  Changed();
}

Task<void> Allocations::Run() {
  std::chrono::nanoseconds pause = kCoalesce;
  for (;;) {
    Status waited = co_await wakeup_.Wait();
    if (waited.ok()) waited = co_await clock_.Sleep(std::exchange(pause, kCoalesce));
    const bool last = absl::IsCancelled(waited);
    for (ResourceCheckpoint* checkpoint : {&allocated_, &actuated_}) {
      auto write = checkpoint->TakeWrite();
      if (write == nullptr) continue;
      Status written;
      if (last) {
        written = write();
      } else {
        written = co_await RunBlocking(std::move(write));
      }
      if (written.ok()) continue;
      checkpoint->Failed();
      LOG_ERROR(written, "Cannot write a checkpoint of resources");
      pause = kRetry;
      Changed();
    }
    if (last) co_return;
  }
}

PodPtr Allocations::Allocated(const PodPtr& pod) const {
  const auto* state = allocated_.Get(pod->metadata().uid());
  if (state == nullptr) return pod;
  PodPtr out = With(*pod, LevelOf(state), [&](const core::Container& c) {
    const auto* r = Find(state, c.name());
    return r != nullptr && !Same(c.resources(), *r) ? r : nullptr;
  });
  return out == nullptr ? pod : out;
}

void Allocations::Allocate(const Pod& pod) {
  allocated_.Set(pod.metadata().uid(), ResourcesOf(pod));
  Changed();
}

PodPtr Allocations::Actuated(const Pod& allocated) const {
  const auto* state = actuated_.Get(allocated.metadata().uid());
  if (state == nullptr) return nullptr;
  return With(allocated, LevelOf(state), [&](const core::Container& c) {
    const auto* r = Find(state, c.name());
    return r != nullptr && !AsGranted(allocated, c, *r) ? r : nullptr;
  });
}

PodPtr Allocations::ResizeFrom(const Pod& allocated) const {
  static const core::ResourceRequirements kNothing;
  const auto* state = actuated_.Get(allocated.metadata().uid());
  auto out = With(allocated, LevelOf(state), [&](const core::Container& c) {
    const auto* r = Find(state, c.name());
    if (r == nullptr) r = &kNothing;
    return !AsGranted(allocated, c, *r) ? r : nullptr;
  });
  if (allocated.spec().has_resources() && LevelOf(state) == nullptr) {
    if (out == nullptr) out = std::make_shared<Pod>(allocated);
    out->mutable_spec()->clear_resources();
  }
  return out;
}

void Allocations::SetActuated(const Pod& pod, const core::Container& container) {
  if (FindContainer(pod, container.name()) == nullptr) return;  // ephemeral ones have no resources
  actuated_.Set(pod.metadata().uid(), container.name(), WithPodLimits(pod, container));
  if (pod.spec().has_resources() &&
      (actuated_.Get(pod.metadata().uid()) == nullptr || !actuated_.Get(pod.metadata().uid())->pod)) {
    actuated_.SetPodLevel(pod.metadata().uid(), pod.spec().resources());
  }
  Changed();
}

void Allocations::SetActuated(const std::string& uid, const std::string& container,
                              core::ResourceRequirements resources) {
  actuated_.Set(uid, container, std::move(resources));
  Changed();
}

void Allocations::SetActuatedPodLevel(const Pod& pod) {
  if (!pod.spec().has_resources()) return;
  actuated_.SetPodLevel(pod.metadata().uid(), pod.spec().resources());
  Changed();
}

const Allocations::Conditions* Allocations::FindConditions(const std::string& uid) const {
  auto it = conditions_.find(uid);
  return it == conditions_.end() ? nullptr : &it->second;
}

void Allocations::Remove(const std::string& uid) {
  allocated_.Remove(uid);
  actuated_.Remove(uid);
  conditions_.erase(uid);
  Changed();
}

void Allocations::Keep(const std::set<std::string>& uids) {
  allocated_.Keep(uids);
  actuated_.Keep(uids);
  std::erase_if(conditions_, [&](const auto& entry) { return !uids.contains(entry.first); });
  if (allocated_.dirty() || actuated_.dirty()) Changed();
}

}  // namespace skiff::kubelet
