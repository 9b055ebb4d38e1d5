#include "cri/fake_runtime.h"

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

namespace skiff::cri {

#define SKIFF_FAKE(name) \
  Task<StatusOr<v1::name##Response>> FakeRuntime::name([[maybe_unused]] v1::name##Request request, CallOptions)
#define SKIFF_TAKE(name, what)                                  \
  if (absl::Status s = Take(#name, what); !s.ok()) co_return s; \
  v1::name##Response answer
#define SKIFF_UNPLAYED(name) \
  SKIFF_FAKE(name) { co_return absl::UnimplementedError("unknown method " #name); }

namespace {

std::string SandboxName(const v1::PodSandboxConfig& config) {
  return absl::StrCat(config.metadata().namespace_(), "/", config.metadata().name());
}
absl::Status NoContainer(const std::string& id) {
  return absl::NotFoundError(absl::StrCat("an error occurred when try to find container \"", id, "\": not found"));
}
absl::Status NoSandbox(const std::string& id) {
  return absl::NotFoundError(absl::StrCat("an error occurred when try to find sandbox \"", id, "\": not found"));
}
bool SameName(const v1::PodSandboxMetadata& a, const v1::PodSandboxMetadata& b) {
  return a.name() == b.name() && a.namespace_() == b.namespace_() && a.uid() == b.uid() && a.attempt() == b.attempt();
}
absl::Status Reserved(std::string_view what, std::string_view name, std::string_view id) {
  return absl::UnknownError(
      absl::StrCat("failed to reserve ", what, " name \"", name, "\": name is reserved for \"", id, "\""));
}
template <typename Labels>
bool Selected(const Labels& want, const Labels& have) {
  for (const auto& [key, value] : want) {
    auto it = have.find(key);
    if (it == have.end() || it->second != value) return false;
  }
  return true;
}

}  // namespace

int64_t FakeRuntime::NowNanos() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(clock_.Now().time_since_epoch()).count();
}

absl::Status FakeRuntime::Take(const std::string& method, const std::string& what) {
  calls.push_back(what.empty() ? method : absl::StrCat(method, " ", what));
  return NextFailure(method);
}

absl::Status FakeRuntime::TakeRead(const std::string& method) {
  ++reads[method];
  return NextFailure(method);
}

absl::Status FakeRuntime::NextFailure(const std::string& method) {
  auto it = failures.find(method);
  if (it == failures.end() || it->second.empty()) return absl::OkStatus();
  absl::Status status = it->second.front();
  it->second.pop_front();
  return status;
}

std::string FakeRuntime::NextId(char kind) { return absl::StrFormat("%c%063d", kind, ++next_); }

void FakeRuntime::AddImage(const std::string& tag, int64_t size) {
  std::string id = absl::StrCat("sha256:", NextId('a'));
  v1::Image image;
  image.set_id(id);
  image.add_repo_tags(tag);
  image.set_size(static_cast<uint64_t>(size));
  images[id] = std::move(image);
}

std::string FakeRuntime::ContainerNamed(std::string_view name) const {
  std::string best;
  int64_t at = -1;
  for (const auto& [id, c] : containers) {
    if (c.config.metadata().name() == name &&
        (c.status.created_at() > at || (c.status.created_at() == at && id > best))) {
      best = id;
      at = c.status.created_at();
    }
  }
  return best;
}

void FakeRuntime::Exit(const std::string& container_id, int32_t code, std::string reason, std::string message) {
  auto it = containers.find(container_id);
  if (it == containers.end()) return;
  auto& status = it->second.status;
  const bool ran = status.state() == v1::CONTAINER_RUNNING;
  status.set_state(v1::CONTAINER_EXITED);
  status.set_exit_code(code);
  status.set_reason(reason.empty() ? (code == 0 ? "Completed" : "Error") : std::move(reason));
  status.set_message(std::move(message));
  status.set_finished_at(NowNanos());
  Happened(v1::CONTAINER_STOPPED_EVENT, container_id, it->second.sandbox_id);
  if (ran && on_exit) on_exit(it->second);
}

const FakeRuntime::Sandbox* FakeRuntime::ReadySandbox(const std::string& id) const {
  auto it = sandboxes.find(id);
  return it == sandboxes.end() || it->second.status.state() != v1::SANDBOX_READY ? nullptr : &it->second;
}

void FakeRuntime::KillSandbox(const std::string& sandbox_id) {
  auto it = sandboxes.find(sandbox_id);
  if (it == sandboxes.end()) return;
  it->second.status.set_state(v1::SANDBOX_NOTREADY);
  it->second.status.clear_network();
  for (auto& [id, c] : containers) {
    if (c.sandbox_id == sandbox_id && c.status.state() == v1::CONTAINER_RUNNING) Exit(id, 255, "Unknown");
  }
  Happened(v1::CONTAINER_STOPPED_EVENT, sandbox_id, sandbox_id);
}

size_t FakeRuntime::CountCalls(std::string_view prefix) const {
  size_t n = 0;
  for (const auto& call : calls) n += call.starts_with(prefix) ? 1 : 0;
  return n;
}

SKIFF_FAKE(Version) {
  SKIFF_TAKE(Version, "");
  answer.set_version("0.1.0");
  answer.set_runtime_name("fake");
  answer.set_runtime_version("1.0.0");
  answer.set_runtime_api_version("v1");
  co_return answer;
}

SKIFF_FAKE(Status) {
  if (absl::Status s = TakeRead("Status"); !s.ok()) co_return s;
  v1::StatusResponse answer;
  if (maps_users || recursive_read_only) {
    auto* features = answer.add_runtime_handlers()->mutable_features();
    features->set_user_namespaces(maps_users);
    features->set_recursive_read_only_mounts(recursive_read_only);
  }
  auto* runtime = answer.mutable_status()->add_conditions();
  runtime->set_type("RuntimeReady");
  runtime->set_status(runtime_ready);
  auto* network = answer.mutable_status()->add_conditions();
  network->set_type("NetworkReady");
  network->set_status(network_ready);
  if (!network_ready) {
    network->set_reason("NetworkPluginNotReady");
    network->set_message("Network plugin returns error: cni plugin not initialized");
  }
  co_return answer;
}

SKIFF_FAKE(RunPodSandbox) {
  if (on_run) co_await on_run();
  SKIFF_TAKE(RunPodSandbox, SandboxName(request.config()));
  for (const auto& [other, sandbox] : sandboxes) {
    if (strict && SameName(sandbox.config.metadata(), request.config().metadata())) {
      co_return Reserved("sandbox", SandboxName(request.config()), other);
    }
  }
  std::string id = NextId('5');
  Sandbox& sandbox = sandboxes[id];
  sandbox.config = request.config();
  auto& status = sandbox.status;
  status.set_id(id);
  *status.mutable_metadata() = request.config().metadata();
  status.set_state(v1::SANDBOX_READY);
  status.set_created_at(NowNanos());
  *status.mutable_labels() = request.config().labels();
  *status.mutable_annotations() = request.config().annotations();
  *status.mutable_linux()->mutable_namespaces()->mutable_options() =
      request.config().linux().security_context().namespace_options();
  bool host_network = request.config().linux().security_context().namespace_options().network() == v1::NODE;
  if (!pod_ip.empty() && !host_network) {
    status.mutable_network()->set_ip(absl::EndsWith(pod_ip, ".") ? absl::StrCat(pod_ip, sandboxes.size() + 1) : pod_ip);
  }
  answer.set_pod_sandbox_id(id);
  Happened(v1::CONTAINER_CREATED_EVENT, id, id);
  Happened(v1::CONTAINER_STARTED_EVENT, id, id);
  co_return answer;
}

SKIFF_FAKE(StopPodSandbox) {
  SKIFF_TAKE(StopPodSandbox, "");
  auto it = sandboxes.find(request.pod_sandbox_id());
  if (it == sandboxes.end()) co_return answer;  // idempotent
  for (auto& [id, c] : containers) {
    if (c.sandbox_id == it->first && c.status.state() == v1::CONTAINER_RUNNING) Exit(id, 137);
  }
  const bool ran = it->second.status.state() == v1::SANDBOX_READY;
  it->second.status.set_state(v1::SANDBOX_NOTREADY);
  it->second.status.clear_network();
  if (ran) Happened(v1::CONTAINER_STOPPED_EVENT, it->first, it->first);
  co_return answer;
}

SKIFF_FAKE(RemovePodSandbox) {
  SKIFF_TAKE(RemovePodSandbox, "");
  if (strict) {
    for (auto& [other, c] : containers) {
      if (c.sandbox_id == request.pod_sandbox_id() && c.status.state() == v1::CONTAINER_RUNNING) Exit(other, 137);
    }
  }
  const std::string& id = request.pod_sandbox_id();
  if (sandboxes.erase(id) == 0) co_return answer;
  std::erase_if(containers, [&](const auto& c) { return c.second.sandbox_id == id; });
  Happened(v1::CONTAINER_DELETED_EVENT, id, id);
  co_return answer;
}

SKIFF_FAKE(PodSandboxStatus) {
  if (on_read) co_await on_read();
  if (absl::Status s = TakeRead("PodSandboxStatus"); !s.ok()) co_return s;
  auto it = sandboxes.find(request.pod_sandbox_id());
  if (it == sandboxes.end()) co_return NoSandbox(request.pod_sandbox_id());
  v1::PodSandboxStatusResponse answer;
  *answer.mutable_status() = it->second.status;
  co_return answer;
}

SKIFF_FAKE(ListPodSandbox) {
  if (on_read) co_await on_read();
  if (absl::Status s = TakeRead("ListPodSandbox"); !s.ok()) co_return s;
  v1::ListPodSandboxResponse answer;
  for (const auto& [id, sandbox] : sandboxes) {
    if (!request.filter().id().empty() && request.filter().id() != id) continue;
    if (!Selected(request.filter().label_selector(), sandbox.status.labels())) continue;
    auto* item = answer.add_items();
    item->set_id(id);
    *item->mutable_metadata() = sandbox.status.metadata();
    item->set_state(sandbox.status.state());
    item->set_created_at(sandbox.status.created_at());
    *item->mutable_labels() = sandbox.status.labels();
    *item->mutable_annotations() = sandbox.status.annotations();
  }
  co_return answer;
}

SKIFF_FAKE(CreateContainer) {
  SKIFF_TAKE(CreateContainer, request.config().metadata().name());
  if (!sandboxes.contains(request.pod_sandbox_id())) co_return NoSandbox(request.pod_sandbox_id());
  if (strict) {
    const Sandbox* sandbox = ReadySandbox(request.pod_sandbox_id());
    if (sandbox == nullptr) {
      co_return absl::UnknownError(absl::StrCat("sandbox \"", request.pod_sandbox_id(), "\" is not running"));
    }
    const auto& wanted = request.config().metadata();
    for (const auto& [other, c] : containers) {
      const auto& theirs = c.config.metadata();
      if (theirs.name() == wanted.name() && theirs.attempt() == wanted.attempt() && sandboxes.contains(c.sandbox_id) &&
          sandboxes.at(c.sandbox_id).config.metadata().uid() == sandbox->config.metadata().uid()) {
        co_return Reserved("container", wanted.name(), other);
      }
    }
  }
  std::string id = NextId('c');
  FakeContainer& c = containers[id];
  c.sandbox_id = request.pod_sandbox_id();
  c.config = request.config();
  auto& status = c.status;
  status.set_id(id);
  *status.mutable_metadata() = request.config().metadata();
  status.set_state(v1::CONTAINER_CREATED);
  status.set_created_at(NowNanos());
  *status.mutable_image() = request.config().image();
  status.set_image_ref(request.config().image().image());
  *status.mutable_labels() = request.config().labels();
  *status.mutable_annotations() = request.config().annotations();
  *status.mutable_mounts() = request.config().mounts();
  status.set_log_path(absl::StrCat(request.sandbox_config().log_directory(), "/", request.config().log_path()));
  answer.set_container_id(id);
  Happened(v1::CONTAINER_CREATED_EVENT, id, c.sandbox_id);
  co_return answer;
}

SKIFF_FAKE(StartContainer) {
  auto it = containers.find(request.container_id());
  if (it == containers.end()) co_return NoContainer(request.container_id());
  absl::Status taken = Take("StartContainer", it->second.config.metadata().name());
  if (!taken.ok()) {
    Exit(it->first, 128, "StartError", std::string(taken.message()));
    co_return taken;
  }
  if (strict && it->second.status.state() != v1::CONTAINER_CREATED) {
    co_return absl::UnknownError(
        absl::StrCat("container is in ", v1::ContainerState_Name(it->second.status.state()), " state"));
  }
  if (strict && ReadySandbox(it->second.sandbox_id) == nullptr) {
    co_return absl::UnknownError(absl::StrCat("sandbox container \"", it->second.sandbox_id, "\" is not running"));
  }
  it->second.status.set_state(v1::CONTAINER_RUNNING);
  it->second.status.set_started_at(NowNanos());
  Happened(v1::CONTAINER_STARTED_EVENT, it->first, it->second.sandbox_id);
  if (on_start) on_start(it->second);
  co_return v1::StartContainerResponse();
}

SKIFF_FAKE(StopContainer) {
  auto it = containers.find(request.container_id());
  SKIFF_TAKE(StopContainer,
             it == containers.end() ? "?" : absl::StrCat(it->second.config.metadata().name(), " ", request.timeout()));
  if (it != containers.end() && it->second.status.state() == v1::CONTAINER_RUNNING) {
    Exit(it->first, request.timeout() <= 0 ? 137 : exit_code_on_stop);
  }
  co_return answer;
}

SKIFF_FAKE(RemoveContainer) {
  SKIFF_TAKE(RemoveContainer, "");
  auto it = containers.find(request.container_id());
  if (it == containers.end()) co_return answer;
  if (strict && it->second.status.state() == v1::CONTAINER_RUNNING) Exit(it->first, 137);
  const std::string sandbox_id = it->second.sandbox_id;
  containers.erase(it);
  Happened(v1::CONTAINER_DELETED_EVENT, request.container_id(), sandbox_id);
  co_return answer;
}

SKIFF_FAKE(ListContainers) {
  if (on_read) co_await on_read();
  if (absl::Status s = TakeRead("ListContainers"); !s.ok()) co_return s;
  v1::ListContainersResponse answer;
  for (const auto& [id, c] : containers) {
    if (!request.filter().id().empty() && request.filter().id() != id) continue;
    if (!request.filter().pod_sandbox_id().empty() && request.filter().pod_sandbox_id() != c.sandbox_id) continue;
    if (!Selected(request.filter().label_selector(), c.status.labels())) continue;
    auto* item = answer.add_containers();
    item->set_id(id);
    item->set_pod_sandbox_id(c.sandbox_id);
    *item->mutable_metadata() = c.status.metadata();
    *item->mutable_image() = c.status.image();
    item->set_image_ref(c.status.image_ref());
    item->set_state(c.status.state());
    item->set_created_at(c.status.created_at());
    *item->mutable_labels() = c.status.labels();
    *item->mutable_annotations() = c.status.annotations();
  }
  co_return answer;
}

SKIFF_FAKE(ContainerStatus) {
  if (on_read) co_await on_read();
  if (absl::Status s = TakeRead("ContainerStatus"); !s.ok()) co_return s;
  auto it = containers.find(request.container_id());
  if (it == containers.end()) co_return NoContainer(request.container_id());
  v1::ContainerStatusResponse answer;
  *answer.mutable_status() = it->second.status;
  co_return answer;
}

SKIFF_FAKE(UpdateContainerResources) {
  auto it = containers.find(request.container_id());
  if (it == containers.end()) co_return NoContainer(request.container_id());
  SKIFF_TAKE(UpdateContainerResources, it->second.config.metadata().name());
  it->second.updated = request.linux();
  co_return answer;
}

SKIFF_FAKE(ReopenContainerLog) {
  SKIFF_TAKE(ReopenContainerLog, "");
  co_return answer;
}

SKIFF_FAKE(ExecSync) {
  auto it = containers.find(request.container_id());
  SKIFF_TAKE(ExecSync, it == containers.end() ? "?" : it->second.config.metadata().name());
  if (it == containers.end()) co_return NoContainer(request.container_id());
  if (on_exec) answer = on_exec(request);
  co_return answer;
}

SKIFF_FAKE(ListImages) {
  v1::ListImagesResponse answer;
  for (const auto& [id, image] : images) *answer.add_images() = image;
  co_return answer;
}

SKIFF_FAKE(ImageStatus) {
  if (absl::Status s = TakeRead("ImageStatus"); !s.ok()) co_return s;
  v1::ImageStatusResponse answer;
  for (const auto& [id, image] : images) {
    bool named = id == request.image().image();
    for (const auto& tag : image.repo_tags()) named = named || tag == request.image().image();
    if (named) *answer.mutable_image() = image;
  }
  co_return answer;
}

SKIFF_FAKE(PullImage) {
  SKIFF_TAKE(PullImage, request.image().image());
  pulls.push_back(request);
  if (on_pull) co_await on_pull();
  if (auto it = pull_failures.find(request.image().image()); it != pull_failures.end()) co_return it->second;
  AddImage(request.image().image());
  for (const auto& [id, image] : images) {
    if (image.repo_tags(0) == request.image().image()) answer.set_image_ref(id);
  }
  co_return answer;
}

SKIFF_FAKE(RemoveImage) {
  SKIFF_TAKE(RemoveImage, request.image().image());
  images.erase(request.image().image());
  co_return answer;
}

SKIFF_FAKE(ImageFsInfo) { co_return v1::ImageFsInfoResponse(); }
SKIFF_FAKE(UpdateRuntimeConfig) {
  SKIFF_TAKE(UpdateRuntimeConfig, request.runtime_config().network_config().pod_cidr());
  co_return answer;
}

SKIFF_FAKE(RuntimeConfig) {
  SKIFF_TAKE(RuntimeConfig, "");
  if (!cgroup_driver) co_return absl::UnimplementedError("unknown method RuntimeConfig");
  answer.mutable_linux()->set_cgroup_driver(*cgroup_driver);
  co_return answer;
}

SKIFF_UNPLAYED(Exec)
SKIFF_UNPLAYED(Attach)
SKIFF_UNPLAYED(PortForward)
SKIFF_UNPLAYED(ListContainerStats)
SKIFF_UNPLAYED(PodSandboxStats)
SKIFF_UNPLAYED(ListPodSandboxStats)
SKIFF_UNPLAYED(CheckpointContainer)
SKIFF_UNPLAYED(ListMetricDescriptors)
SKIFF_UNPLAYED(ListPodSandboxMetrics)
SKIFF_FAKE(ContainerStats) {
  if (!memory_usage) co_return absl::UnimplementedError("unknown method ContainerStats");
  if (!containers.contains(request.container_id())) co_return NoContainer(request.container_id());
  SKIFF_TAKE(ContainerStats, request.container_id());
  answer.mutable_stats()->mutable_memory()->mutable_usage_bytes()->set_value(*memory_usage);
  co_return answer;
}
SKIFF_FAKE(UpdatePodSandboxResources) {
  if (!sandbox_resources) co_return absl::UnimplementedError("unknown method UpdatePodSandboxResources");
  SKIFF_TAKE(UpdatePodSandboxResources, "");
  sandbox_resources = std::move(request);
  co_return answer;
}

}  // namespace skiff::cri
