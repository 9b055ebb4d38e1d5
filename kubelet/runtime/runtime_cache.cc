#include "kubelet/runtime/runtime_cache.h"

#include "base/log.h"
#include "cri/list_digest.h"
#include "kubelet/logs/container_log.h"
#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

// However unlikely it is that two different answers have one digest: not for long.
constexpr int kReadAfter = 60;

std::string Value(const StringMap& map, const char* key) {
  auto it = map.find(key);
  return it == map.end() ? "" : it->second;
}

// Calls that are under way at the same time.
class Together {
 public:
  explicit Together(asio::any_io_executor executor) : group_(std::move(executor)) {}
  // The result is there after Join.
  template <typename T>
  const StatusOr<T>& Begin(Task<StatusOr<T>> call) {
    auto result = std::make_shared<StatusOr<T>>(Internal("the call threw an exception"));
    results_.push_back(result);
    group_.Spawn("read from the runtime", Keep<T>(std::move(call), result));
    return *result;
  }
  Task<void> Join() { return group_.Join(); }

 private:
  template <typename T>
  static Task<void> Keep(Task<StatusOr<T>> call, std::shared_ptr<StatusOr<T>> result) {
    *result = co_await std::move(call);
  }
  std::vector<std::shared_ptr<void>> results_;
  TaskGroup group_;
};

}  // namespace

RuntimeCache::RuntimeCache(cri::Runtime& runtime, Clock& clock, std::string logs_dir)
    : runtime_(runtime), clock_(clock), logs_dir_(std::move(logs_dir)), last_relist_(clock.Steady()) {}

Task<StatusOr<RuntimeCache::Lists>> RuntimeCache::List(std::string uid) {
  cri_v1::ListPodSandboxRequest sandboxes;
  cri_v1::ListContainersRequest containers;
  (*sandboxes.mutable_filter()->mutable_label_selector())[kPodUidLabel] = uid;
  (*containers.mutable_filter()->mutable_label_selector())[kPodUidLabel] = uid;
  Together lists(co_await asio::this_coro::executor);
  const auto& sandbox_list = lists.Begin(runtime_.ListPodSandbox(std::move(sandboxes)));
  const auto& container_list = lists.Begin(runtime_.ListContainers(std::move(containers)));
  co_await lists.Join();
  CO_RETURN_IF_ERROR(sandbox_list.status(), "list pod sandboxes");
  CO_RETURN_IF_ERROR(container_list.status(), "list containers");
  co_return Collect(*sandbox_list, *container_list);
}

RuntimeCache::Lists RuntimeCache::Collect(const cri_v1::ListPodSandboxResponse& sandboxes,
                                          const cri_v1::ListContainersResponse& containers) {
  Lists out;
  for (const auto& item : sandboxes.items()) {
    std::string pod_uid = Value(item.labels(), kPodUidLabel);
    if (pod_uid.empty()) continue;  // not a kubelet's
    Listed& l = out[pod_uid];
    l.uid = pod_uid;
    l.name = Value(item.labels(), kPodNameLabel);
    l.ns = Value(item.labels(), kPodNamespaceLabel);
    l.sandboxes[item.id()] = item.state();
  }
  for (const auto& item : containers.containers()) {
    std::string pod_uid = Value(item.labels(), kPodUidLabel);
    if (pod_uid.empty()) continue;
    Listed& l = out[pod_uid];
    l.uid = pod_uid;
    if (l.name.empty()) {
      l.name = Value(item.labels(), kPodNameLabel);
      l.ns = Value(item.labels(), kPodNamespaceLabel);
    }
    l.containers[item.id()] = {item.state(), item.pod_sandbox_id()};
  }
  return out;
}

StatusOr<RuntimeCache::Lists> RuntimeCache::Decode(const std::string& sandboxes, const std::string& containers) {
  cri_v1::ListPodSandboxResponse sandbox_list;
  cri_v1::ListContainersResponse container_list;
  if (!sandbox_list.ParseFromString(sandboxes)) return Internal("list pod sandboxes: the answer is none");
  if (!container_list.ParseFromString(containers)) return Internal("list containers: the answer is none");
  return Collect(sandbox_list, container_list);
}

void RuntimeCache::ReadTerminationMessage(const cri_v1::ContainerStatus& status, ContainerState* out) const {
  std::string path = Value(status.annotations(), kMessagePathAnnotation);
  if (path.empty()) return;
  std::string host_path;
  for (const auto& mount : status.mounts()) {
    if (mount.container_path() == path) host_path = mount.host_path();
  }
  bool fall_back = Value(status.annotations(), kMessagePolicyAnnotation) == "FallbackToLogsOnError" &&
                   out->exit_code != 0 && out->reason != "ContainerCannotRun";
  std::string text = kubelet::ReadTerminationMessage(host_path, fall_back, logs_dir_, status.log_path());
  if (text.empty()) return;
  out->message = out->message.empty() ? text : absl::StrCat(out->message, ": ", text);
}

ContainerState RuntimeCache::Read(const cri_v1::ContainerStatus& status, std::string sandbox_id) const {
  ContainerState out = ToContainerState(status, std::move(sandbox_id));
  if (out.state == ContainerState::State::kExited) {
    ReadTerminationMessage(status, &out);
    out.final = !KilledForUnknownReason(status);
  }
  return out;
}

Task<StatusOr<std::optional<SandboxState>>> RuntimeCache::InspectSandbox(std::string id) {
  cri_v1::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(id);
  auto answer = co_await runtime_.PodSandboxStatus(std::move(request));
  if (absl::IsNotFound(answer.status())) co_return std::nullopt;
  CO_RETURN_IF_ERROR(answer.status(), "sandbox ", id);
  co_return ToSandboxState(answer->status());
}

Task<StatusOr<std::optional<ContainerState>>> RuntimeCache::InspectContainer(std::string id, std::string sandbox_id) {
  cri_v1::ContainerStatusRequest request;
  request.set_container_id(id);
  auto answer = co_await runtime_.ContainerStatus(std::move(request));
  if (absl::IsNotFound(answer.status())) co_return std::nullopt;
  CO_RETURN_IF_ERROR(answer.status(), "container ", id);
  co_return Read(answer->status(), std::move(sandbox_id));
}

Task<StatusOr<PodStatePtr>> RuntimeCache::Inspect(Listed listed) {
  auto it = pods_.find(listed.uid);
  PodStatePtr before = it == pods_.end() ? nullptr : it->second.state;
  auto state = std::make_shared<PodState>();
  state->uid = listed.uid;
  state->name = listed.name;
  state->ns = listed.ns;
  // In the order of their ids: what is known, and what was asked for.
  Together calls(co_await asio::this_coro::executor);
  std::vector<std::pair<const SandboxState*, const StatusOr<std::optional<SandboxState>>*>> sandboxes;
  for (const auto& [id, sandbox_state] : listed.sandboxes) {
    const SandboxState* known = nullptr;
    if (before != nullptr) {
      for (const auto& s : before->sandboxes) {
        // Over for good: nothing changes any more.
        if (s.id == id && !s.ready && sandbox_state == cri_v1::SANDBOX_NOTREADY) known = &s;
      }
    }
    sandboxes.emplace_back(known, known != nullptr ? nullptr : &calls.Begin(InspectSandbox(id)));
  }
  std::vector<std::pair<const ContainerState*, const StatusOr<std::optional<ContainerState>>*>> containers;
  for (const auto& [id, info] : listed.containers) {
    const ContainerState* known = before == nullptr ? nullptr : before->FindId(id);
    if (known != nullptr && !(known->final && info.first == cri_v1::CONTAINER_EXITED)) known = nullptr;
    containers.emplace_back(known, known != nullptr ? nullptr : &calls.Begin(InspectContainer(id, info.second)));
  }
  co_await calls.Join();
  for (const auto& [known, asked] : sandboxes) {
    if (known != nullptr) {
      state->sandboxes.push_back(*known);
      continue;
    }
    CO_RETURN_IF_ERROR(asked->status());
    if (const auto& found = **asked) state->sandboxes.push_back(*found);
  }
  for (const auto& [known, asked] : containers) {
    if (known != nullptr) {
      state->containers.push_back(*known);
      continue;
    }
    CO_RETURN_IF_ERROR(asked->status());
    if (const auto& found = **asked) state->containers.push_back(*found);
  }
  if (before != nullptr) state->ips = before->ips;  // a stopped sandbox has none, its pod had
  Sort(state.get());
  co_return PodStatePtr(state);
}

PodStatePtr RuntimeCache::Keep(Listed listed, PodStatePtr state, uint64_t began, bool partial) {
  Entry& entry = pods_[listed.uid];
  if (entry.began < began) {
    if (entry.listed != listed) read_ = 0;
    entry.listed = std::move(listed);
    entry.state = std::move(state);
    entry.began = began;
    entry.partial = partial;
  }
  entry.looked = ++looks_;
  return entry.state;
}

Task<StatusOr<PodStatePtr>> RuntimeCache::Refresh(std::string uid) {
  const SteadyTime at = clock_.Steady();
  PodStatePtr out;
  for (bool again = true; again;) {
    const uint64_t began = ++looks_;
    CO_ASSIGN_OR_RETURN(auto listed, co_await List(uid));
    if (auto it = listed.find(uid); it != listed.end()) {
      CO_ASSIGN_OR_RETURN(PodStatePtr state, co_await Inspect(it->second));
      out = Keep(std::move(it->second), std::move(state), began);
    } else {
      auto known = pods_.find(uid);
      auto empty = std::make_shared<PodState>();
      empty->uid = uid;
      if (known != pods_.end()) empty->ips = known->second.state->ips;
      Listed none;
      none.uid = uid;
      out = Keep(std::move(none), std::move(empty), began);
    }
    // What was found gave way to a later look, and that one was not at everything.
    const Entry& entry = pods_[uid];
    again = entry.began > began && entry.partial;
  }
  if (timer_ != nullptr) timer_->Observe(std::chrono::duration<double>(clock_.Steady() - at).count());
  co_return out;
}

Task<StatusOr<PodStatePtr>> RuntimeCache::See(Made made) {
  const uint64_t began = ++looks_;
  std::optional<SandboxState> sandbox;
  int sandbox_state = 0;
  if (made.containers.empty()) {
    cri_v1::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(made.sandbox);
    CO_ASSIGN_OR_RETURN(auto answer, co_await runtime_.PodSandboxStatus(std::move(request)), "sandbox ", made.sandbox);
    sandbox_state = answer.status().state();
    sandbox = ToSandboxState(answer.status());
  }
  std::vector<std::pair<int, ContainerState>> containers;
  for (const auto& id : made.containers) {
    cri_v1::ContainerStatusRequest request;
    request.set_container_id(id);
    auto answer = co_await runtime_.ContainerStatus(std::move(request));
    if (absl::IsNotFound(answer.status())) co_return co_await Refresh(made.uid);
    CO_RETURN_IF_ERROR(answer.status(), "container ", id);
    containers.emplace_back(answer->status().state(), Read(answer->status(), made.sandbox));
  }
  const auto known = pods_.find(made.uid);
  if (known != pods_.end() && known->second.began > began) co_return co_await Refresh(made.uid);
  Listed listed;
  auto state = std::make_shared<PodState>();
  if (known != pods_.end()) {
    listed = known->second.listed;
    *state = *known->second.state;
  }
  listed.uid = state->uid = made.uid;
  listed.name = state->name = made.name;
  listed.ns = state->ns = made.ns;
  if (sandbox) {
    listed.sandboxes[made.sandbox] = sandbox_state;
    std::erase_if(state->sandboxes, [&](const SandboxState& s) { return s.id == made.sandbox; });
    state->sandboxes.push_back(*std::move(sandbox));
  }
  for (auto& [container_state, container] : containers) {
    listed.containers[container.id] = {container_state, made.sandbox};
    std::erase_if(state->containers, [&](const ContainerState& c) { return c.id == container.id; });
    state->containers.push_back(std::move(container));
  }
  Sort(state.get());
  co_return Keep(std::move(listed), std::move(state), began, true);
}

Task<Status> RuntimeCache::Look(std::string uid) {
  Listed before;
  if (auto it = pods_.find(uid); it != pods_.end()) before = it->second.listed;
  before.uid = uid;
  CO_RETURN_IF_ERROR((co_await Refresh(uid)).status());
  auto it = pods_.find(uid);
  if (on_change_ && it != pods_.end() && it->second.listed != before) on_change_(uid);
  co_return absl::OkStatus();
}

Task<StatusOr<std::vector<std::string>>> RuntimeCache::Relist() {
  const uint64_t began = ++looks_;
  CO_ASSIGN_OR_RETURN(const std::string sandboxes, co_await runtime_.ListPodSandboxEncoded(), "list pod sandboxes");
  CO_ASSIGN_OR_RETURN(const std::string containers, co_await runtime_.ListContainersEncoded(), "list containers");
  uint64_t digest = cri::ListDigest(sandboxes) + 31 * cri::ListDigest(containers);
  if (digest == 0) digest = 1;
  if (digest == read_ && ++unread_ < kReadAfter) {
    last_relist_ = clock_.Steady();
    co_return std::vector<std::string>();
  }
  CO_ASSIGN_OR_RETURN(auto listed, Decode(sandboxes, containers));
  read_ = digest;  // until something else is known than this said, or something could not be looked at
  unread_ = 0;
  std::vector<std::string> changed;
  std::set<std::string> unseen;
  for (auto& [uid, l] : listed) {
    auto it = pods_.find(uid);
    if (it != pods_.end() && it->second.listed == l) continue;
    auto state = co_await Inspect(l);
    if (!state.ok()) {
      read_ = 0;
      if (absl::IsCancelled(state.status()) || absl::IsUnavailable(state.status())) co_return state.status();
      LOG_ERROR(state.status(), "Cannot read a pod's state from the runtime", {"podUID", uid});
      unseen.insert(uid);
      continue;
    }
    it = pods_.find(uid);
    if (it != pods_.end() && it->second.looked > began) {
      read_ = 0;
      continue;
    }
    pods_[uid] = {l, *state, began, 0};
    changed.push_back(uid);
  }
  std::vector<std::string> gone;
  for (const auto& [uid, entry] : pods_) {
    if (listed.contains(uid)) continue;
    if (entry.looked <= began) {
      gone.push_back(uid);
    } else {
      read_ = 0;
    }
  }
  for (const auto& uid : gone) {
    auto it = pods_.find(uid);
    const Listed& last = it->second.listed;
    if (!last.sandboxes.empty() || !last.containers.empty()) changed.push_back(uid);
    pods_.erase(it);
  }
  synced_ = true;
  unseen_ = std::move(unseen);
  last_relist_ = clock_.Steady();
  if (on_change_) {
    for (const auto& uid : changed) on_change_(uid);
  }
  co_return changed;
}

bool RuntimeCache::Knows(const RuntimeEvent& event) const {
  static const Listed nothing;
  auto it = pods_.find(event.pod_uid);
  const Listed& known = it == pods_.end() ? nothing : it->second.listed;
  for (const auto& [id, state] : event.sandboxes) {
    auto found = known.sandboxes.find(id);
    if (found == known.sandboxes.end() || found->second != state) return false;
  }
  for (const auto& [id, state] : event.containers) {
    auto found = known.containers.find(id);
    if (found == known.containers.end() || found->second.first != state) return false;
  }
  for (const auto& id : event.removed) {
    if (known.sandboxes.contains(id) || known.containers.contains(id)) return false;
  }
  return true;
}

std::string RuntimeCache::PodOf(const std::string& id) const {
  for (const auto& [uid, entry] : pods_) {
    if (entry.listed.sandboxes.contains(id) || entry.listed.containers.contains(id)) return uid;
  }
  return "";
}

PodStatePtr RuntimeCache::Get(const std::string& uid) const {
  auto it = pods_.find(uid);
  if (it != pods_.end()) return it->second.state;
  auto empty = std::make_shared<PodState>();
  empty->uid = uid;
  return empty;
}

std::vector<PodStatePtr> RuntimeCache::All() const {
  std::vector<PodStatePtr> out;
  out.reserve(pods_.size());
  for (const auto& [uid, entry] : pods_) out.push_back(entry.state);
  return out;
}

}  // namespace skiff::kubelet
