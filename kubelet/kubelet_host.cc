// What the kubelet's prober, server and API sinks ask of it.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/log.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "kubelet/kubelet_parts.h"
#include "kubelet/runtime/labels.h"
#include "kubelet/state/layout.h"

namespace skiff::kubelet {

using State = ContainerState::State;

Task<StatusOr<Pod>> ApiStatusSink::Get(std::string ns, std::string name) {
  return rest_->Get<core::Pod>(std::move(ns), std::move(name));
}

Task<StatusOr<Pod>> ApiStatusSink::UpdateStatus(Pod pod) {
  unmark_(&pod);
  return rest_->UpdateStatus(std::move(pod));
}

Task<Status> ApiStatusSink::Create(Pod mirror) { co_return (co_await rest_->Create(std::move(mirror))).status(); }

Task<Status> ApiStatusSink::Delete(std::string ns, std::string name, std::string uid) {
  meta::DeleteOptions options;
  options.set_graceperiodseconds(0);
  options.mutable_preconditions()->set_uid(std::move(uid));
  return rest_->Delete<core::Pod>(std::move(ns), std::move(name), std::move(options));
}

void LogEventSink::Record(const client::ObjectReference& about, std::string_view type, std::string_view reason,
                          std::string message) {
  LOG_INFO("Event occurred", {"object", absl::StrCat(about.namespace_(), "/", about.name())},
           {"fieldPath", about.fieldpath()}, {"type", type}, {"reason", reason}, {"message", message});
}

Task<StatusOr<std::shared_ptr<const ConfigMap>>> NoObjects::GetConfigMap(std::string, std::string name) {
  co_return NotFound("configmap \"", name, "\" not found");
}
Task<StatusOr<std::shared_ptr<const Secret>>> NoObjects::GetSecret(std::string, std::string name) {
  co_return NotFound("secret \"", name, "\" not found");
}
Task<StatusOr<Token>> NoObjects::GetToken(TokenRequest) {
  co_return Unavailable("cannot use TokenManager when kubelet is in standalone mode");
}

// ---- prober ----

std::optional<ProbeHost::Container> Kubelet::ContainerOf(const std::string& uid, const std::string& container) {
  const core::PodStatus* status = statuses_->Get(uid);
  const core::ContainerStatus* s = status == nullptr ? nullptr : FindStatus(*status, container);
  if (s == nullptr || s->containerid().empty()) return std::nullopt;
  Container out;
  out.id = s->containerid();
  out.running = s->state().has_running();
  out.terminated = s->state().has_terminated();
  out.started = s->started();
  PodPtr pod = workers_->Find(uid);
  const core::Container* spec = pod == nullptr ? nullptr : FindContainer(*pod, container);
  if (out.terminated && spec != nullptr) {
    const bool sidecar = IsInitContainer(*pod, container) && IsSidecar(*spec);
    out.restarts = sidecar || ShouldRestartAll(*pod, nullptr, status) ||
                   ShouldRestart(*pod, *spec, s->state().terminated().exitcode());
  }
  if (out.running) {
    out.started_at =
        std::chrono::system_clock::time_point(std::chrono::seconds(s->state().running().startedat().seconds()));
  }
  return out;
}

std::string Kubelet::PodIp(const std::string& uid) {
  const core::PodStatus* status = statuses_->Get(uid);
  return status == nullptr ? "" : status->podip();
}

bool Kubelet::PodFinished(const std::string& uid) {
  const core::PodStatus* status = statuses_->Get(uid);
  return status != nullptr && IsTerminalPhase(status->phase());
}

bool Kubelet::PodTerminating(const std::string& uid) { return workers_->Terminating(uid); }

namespace {

std::string BareId(std::string id) {
  size_t at = id.find("://");
  return at == std::string::npos ? id : id.substr(at + 3);
}

}  // namespace

Task<StatusOr<ProbeHost::ExecResult>> Kubelet::ExecSync(std::string container_id, std::vector<std::string> command,
                                                        std::chrono::nanoseconds timeout) {
  cri_v1::ExecSyncRequest request;
  request.set_container_id(BareId(std::move(container_id)));
  for (auto& word : command) request.add_cmd(std::move(word));
  request.set_timeout(std::chrono::ceil<std::chrono::seconds>(timeout).count());
  // The runtime's own limit comes first, and then it has to clean up.
  auto answer = co_await runtime_->ExecSync(
      std::move(request), {.timeout = timeout.count() > 0 ? timeout + config_.runtime_request_timeout : timeout});
  if (!answer.ok()) co_return answer.status();
  ExecResult out;
  out.exit_code = answer->exit_code();
  out.output = answer->stdout() + answer->stderr();
  co_return out;
}

void Kubelet::ProbeChanged(const std::string& uid, const std::string& container, ProbeKind kind, ProbeResult result) {
  workers_->ProbeChanged(uid, container, kind, result);
}

void Kubelet::ProbeEvent(const Pod& pod, const std::string& container, std::string_view type, std::string_view reason,
                         std::string_view message) {
  events_->Record(pod_runtime_->ContainerReference(pod, container), type, reason, std::string(message));
}

// ---- log rotation ----

std::vector<LogRotator::Log> Kubelet::RunningLogs() const {
  std::vector<LogRotator::Log> out;
  for (const auto& state : cache_->All()) {
    for (const auto& c : state->containers) {
      if (c.state == State::kRunning && !c.log_path.empty()) out.push_back({c.id, c.log_path});
    }
  }
  return out;
}

Task<Status> Kubelet::ReopenLog(std::string container_id) {
  cri_v1::ReopenContainerLogRequest request;
  request.set_container_id(std::move(container_id));
  co_return (co_await runtime_->ReopenContainerLog(std::move(request))).status();
}

// ---- server ----

std::vector<PodPtr> Kubelet::Pods() { return workers_->Pods(); }
PodPtr Kubelet::PodByName(const std::string& ns, const std::string& name) { return workers_->FindByName(ns, name); }

Task<StatusOr<std::vector<ServerHost::RunningPod>>> Kubelet::RunningPods() {
  std::vector<RunningPod> out;
  for (const auto& state : cache_->All()) {
    if (!state->AnyRunning()) continue;
    RunningPod pod{state->ns, state->name, state->uid, {}};
    for (const auto& c : state->containers) {
      // By id, as the kubelet gave it to the runtime.
      if (c.state == State::kRunning) pod.containers.push_back({c.name, c.image_ref.empty() ? c.image : c.image_ref});
    }
    out.push_back(std::move(pod));
  }
  co_return out;
}

StatusOr<std::string> Kubelet::RunningContainerId(const Pod& pod, const std::string& container) {
  PodStatePtr state = cache_->Get(pod.metadata().uid());
  for (const auto& c : state->containers) {
    if (c.name == container && c.state == State::kRunning) return c.id;
  }
  return NotFound("container not found (\"", container, "\")");
}

StatusOr<std::string> Kubelet::SandboxId(const Pod& pod) {
  PodStatePtr state = cache_->Get(pod.metadata().uid());
  for (const auto& s : state->sandboxes) {
    if (s.ready) return s.id;
  }
  return NotFound("failed to find sandbox for pod \"", FormatPod(pod), "\"");
}

Task<StatusOr<ServerHost::ContainerLog>> Kubelet::LogOf(const Pod& pod, const std::string& container, bool previous) {
  const std::string name = pod.metadata().name();
  const core::PodStatus* known = statuses_->Get(pod.metadata().uid());
  const core::PodStatus& status = known != nullptr ? *known : pod.status();
  const core::ContainerStatus* s = FindStatus(status, container);
  if (s == nullptr) {
    co_return InvalidArgument("container \"", container, "\" in pod \"", name, "\" is not available");
  }
  std::string url;
  const auto& last = s->laststate();
  const auto& now = s->state();
  if (previous) {
    if (!last.has_terminated() || last.terminated().containerid().empty()) {
      co_return InvalidArgument("previous terminated container \"", container, "\" in pod \"", name, "\" not found");
    }
    url = last.terminated().containerid();
  } else if (now.has_running()) {
    url = s->containerid();
  } else if (now.has_terminated()) {
    // A container that never came to be is told of by its predecessor.
    url = now.terminated().containerid();
    if (url.empty() && last.has_terminated()) url = last.terminated().containerid();
    if (url.empty()) {
      co_return InvalidArgument("container \"", container, "\" in pod \"", name, "\" is terminated");
    }
  } else if (last.has_terminated() && !last.terminated().containerid().empty()) {
    url = last.terminated().containerid();
  } else if (now.has_waiting()) {
    const std::string& reason = now.waiting().reason();
    if (reason == "ErrImagePull" || reason == "ImagePullBackOff") {
      co_return InvalidArgument(
          "container \"", container, "\" in pod \"", name, "\" is waiting to start: ",
          reason == "ErrImagePull" ? "image can't be pulled" : "trying and failing to pull image");
    }
    co_return InvalidArgument("container \"", container, "\" in pod \"", name, "\" is waiting to start: ", reason);
  } else {
    co_return InvalidArgument("container \"", container, "\" in pod \"", name, "\" is waiting to start - no logs yet");
  }
  ContainerLog out;
  out.id = BareId(url);
  PodStatePtr state = cache_->Get(pod.metadata().uid());
  const ContainerState* c = state->FindId(out.id);
  if (c != nullptr) {
    out.path = c->log_path;
  } else {
    cri_v1::ContainerStatusRequest request;
    request.set_container_id(out.id);
    auto answer = co_await runtime_->ContainerStatus(std::move(request));
    if (!answer.ok()) {
      co_return NotFound("unable to retrieve container logs for ", url);
    }
    out.path = answer->status().log_path();
  }
  const core::Container* spec = FindContainer(pod, container);
  out.tty = spec != nullptr && spec->tty();
  co_return out;
}

Task<StatusOr<bool>> Kubelet::IsRunning(std::string container_id) {
  cri_v1::ContainerStatusRequest request;
  request.set_container_id(container_id);
  auto answer = co_await runtime_->ContainerStatus(std::move(request));
  if (absl::IsNotFound(answer.status())) co_return false;
  if (!answer.ok()) co_return answer.status();
  co_return answer->status().state() == cri_v1::CONTAINER_RUNNING;
}

Task<StatusOr<std::string>> Kubelet::ExecUrl(std::string container_id, StreamOptions options) {
  cri_v1::ExecRequest request;
  request.set_container_id(std::move(container_id));
  for (auto& word : options.command) request.add_cmd(std::move(word));
  request.set_tty(options.tty);
  request.set_stdin(options.stdin_);
  request.set_stdout(options.stdout_);
  request.set_stderr(options.stderr_);
  auto answer = co_await runtime_->Exec(std::move(request));
  if (!answer.ok()) co_return answer.status();
  co_return answer->url();
}

Task<StatusOr<std::string>> Kubelet::AttachUrl(std::string container_id, StreamOptions options) {
  cri_v1::AttachRequest request;
  request.set_container_id(std::move(container_id));
  request.set_tty(options.tty);
  request.set_stdin(options.stdin_);
  request.set_stdout(options.stdout_);
  request.set_stderr(options.stderr_);
  auto answer = co_await runtime_->Attach(std::move(request));
  if (!answer.ok()) co_return answer.status();
  co_return answer->url();
}

Task<StatusOr<std::string>> Kubelet::PortForwardUrl(std::string sandbox_id, std::vector<int32_t> ports) {
  cri_v1::PortForwardRequest request;
  request.set_pod_sandbox_id(std::move(sandbox_id));
  for (int32_t port : ports) request.add_port(port);
  auto answer = co_await runtime_->PortForward(std::move(request));
  if (!answer.ok()) co_return answer.status();
  co_return answer->url();
}

Task<StatusOr<ServerHost::RunResult>> Kubelet::RunInContainer(std::string container_id,
                                                              std::vector<std::string> command,
                                                              std::chrono::nanoseconds timeout) {
  auto answer = co_await ExecSync(std::move(container_id), std::move(command), timeout);
  if (!answer.ok()) co_return answer.status();
  co_return RunResult{answer->exit_code, answer->output};
}

Task<Status> Kubelet::Checkpoint(std::string container_id, std::string location, int64_t timeout) {
  const int64_t least = std::chrono::floor<std::chrono::seconds>(config_.runtime_request_timeout).count();
  cri_v1::CheckpointContainerRequest request;
  request.set_container_id(std::move(container_id));
  request.set_location(std::move(location));
  request.set_timeout(std::max(timeout, least));
  CO_RETURN_IF_ERROR(MakeDirs(layout::Checkpoints(config_.root_dir), 0700));
  co_return (co_await runtime_->CheckpointContainer(std::move(request),
                                                    {.timeout = std::chrono::seconds(std::max(timeout, least))}))
      .status();
}

// ---- images ----

void Kubelet::ConfigureImages(ImagePullerOptions* options) {
  options->parallel = config_.serialize_image_pulls          ? 1
                      : config_.max_parallel_image_pulls > 0 ? static_cast<int>(config_.max_parallel_image_pulls)
                                                             : 1000;  // no limit that anybody would notice
  options->qps = static_cast<double>(config_.registry_qps);
  options->burst = static_cast<int>(config_.registry_burst);
  options->root_dir = config_.root_dir;
  if (auto policy = ParsePullVerification(config_.image_pull_verification); policy.ok())
    options->verification = *policy;
  options->allowlist = config_.preloaded_images_allowlist;
  options->plugins = credential_plugins_.get();
  options->metrics = &registry_;
}

Task<void> Kubelet::RefreshNode() {
  auto node = co_await rest_->Get<core::Node>("", node_name_);
  if (node.ok()) {
    agent_->Seen(*node);
  } else {
    LOG_ERROR(node.status(), "Failed to synchronously fetch node info");
  }
}

Task<StatusOr<ServiceAccountFacts>> Kubelet::GetServiceAccount(std::string ns, std::string name) {
  if (rest_ == nullptr) co_return Unavailable("no API server to ask for service accounts");
  CO_ASSIGN_OR_RETURN(const auto account, co_await rest_->Get<core::ServiceAccount>(std::move(ns), std::move(name)));
  ServiceAccountFacts out;
  out.uid = account.metadata().uid();
  for (const auto& [key, value] : account.metadata().annotations()) out.annotations[key] = value;
  co_return out;
}

}  // namespace skiff::kubelet
