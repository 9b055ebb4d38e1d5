// How one container starts: its image, what it is given, and its first hook.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/flags.h"
#include "base/log.h"
#include "kubelet/node/node_addresses.h"
#include "kubelet/runtime/labels.h"
#include "kubelet/runtime/pod_runtime.h"
#include "kubelet/state/layout.h"
#include "kubelet/volume/hosts_file.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

using State = ContainerState::State;

std::string BackoffKey(const Pod& pod, const core::Container& c) {
  std::string key = absl::StrCat(pod.metadata().uid(), "/", c.name(), "/", HashContainer(c), "/");
  api::AppendJson(c.resources(), nullptr, &key);  // of another size it may be another matter
  return key;
}

// A fresh empty file that the container may write whatever its user.
StatusOr<std::string> MakeTerminationLog(const std::string& pod_dir, const std::string& container) {
  std::string dir = layout::Container(pod_dir, container);
  RETURN_IF_ERROR(MakeDirs(dir, 0750));
  static uint64_t counter = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::string path = absl::StrCat(dir, "/", absl::Hex(static_cast<uint32_t>(++counter), absl::kZeroPad8));
  int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create termination log ", path));
  ::fchmod(fd, 0666);
  ::close(fd);
  return path;
}

}  // namespace

Task<StatusOr<ImageUser>> PodRuntime::UserOf(ImagePuller::Result image) {
  if (!image.image) {
    cri_v1::ImageStatusRequest request;
    request.mutable_image()->set_image(image.image_ref);
    CO_ASSIGN_OR_RETURN(auto answer, co_await runtime_.ImageStatus(std::move(request)));
    image.image = std::move(*answer.mutable_image());
  }
  ImageUser out;
  if (image.image->has_uid()) {
    out.uid = image.image->uid().value();
  } else if (!image.image->username().empty()) {
    out.name = image.image->username();
  } else {
    out.uid = 0;
  }
  co_return out;
}

Task<StatusOr<ContainerInputs>> PodRuntime::Inputs(PodPtr pod, core::Container container, int restarts,
                                                   std::vector<std::string> ips) {
  ContainerInputs in;
  in.restart_count = restarts;
  EnvFacts facts = hooks_.env_facts ? hooks_.env_facts() : EnvFacts();
  ips = IsHostNetwork(*pod) && ips.empty() ? facts.host_ips : SortPodIps(ips, facts.prefer_v6);
  facts.pod_ips = ips;
  facts.empty_dirs = PodDir(options_.root_dir, pod->metadata().uid()) + "/volumes/kubernetes.io~empty-dir";
  facts.pod_ip = ips.empty() ? "" : ips.front();
  std::vector<std::string> invalid;
  auto services = hooks_.services ? hooks_.services() : std::vector<std::shared_ptr<const core::Service>>();
  CO_ASSIGN_OR_RETURN(in.env, co_await MakeEnv(*pod, container, facts, services, objects_, &invalid));
  for (const auto& message : invalid) {
    events_.Record(*pod, client::kWarning, "InvalidEnvironmentVariableNames", message);
  }
  std::map<std::string, std::string> env(in.env.begin(), in.env.end());
  CO_ASSIGN_OR_RETURN(in.mounts, co_await volumes_.ContainerMounts(pod, container.name(), env));
  in.volume_groups = volumes_.ExtraGroups(*pod);
  bool hosts_mounted = false;
  for (const auto& mount : in.mounts) hosts_mounted = hosts_mounted || mount.container_path == "/etc/hosts";
  if (!hosts_mounted && (!ips.empty() || IsHostNetwork(*pod))) {
    CO_ASSIGN_OR_RETURN(PodHostname hostname, HostnameOf(*pod, options_.dns.cluster_domain));
    CO_ASSIGN_OR_RETURN(in.hosts_file, WriteHostsFile(options_.root_dir, *pod, ips, hostname.name, hostname.domain));
  }
  if (!container.terminationmessagepath().empty()) {
    CO_ASSIGN_OR_RETURN(in.termination_log,
                        MakeTerminationLog(PodDir(options_.root_dir, pod->metadata().uid()), container.name()));
  }
  co_return in;
}

Task<bool> PodRuntime::StartOne(PodPtr pod, core::Container container, PodStatePtr state, std::string sandbox_id,
                                cri_v1::PodSandboxConfig sandbox, std::vector<std::string> ips,
                                StatusOr<std::string> pid_target, std::shared_ptr<ImagePuller::Ahead>* ahead,
                                std::shared_ptr<Interrupt> interrupt, SyncResult* result) {
  const std::string& name = container.name();
  client::ObjectReference about = ContainerReference(*pod, name);
  auto fail = [&](std::string_view reason, std::string message, Status status) {
    if (reason != "ContainerCreating" && reason != "CrashLoopBackOff") {
      CountContainerStartError(*pod, name, std::string(reason));
    }
    result->failures[name] = {std::string(reason), std::move(message)};
    if (result->status.ok()) result->status = std::move(status);
    return false;
  };
  auto report = [&](std::string_view reason, const Status& status) {
    events_.Record(about, client::kWarning, "Failed", absl::StrCat("Error: ", status.message()));
    return fail(reason, std::string(status.message()), status);
  };

  // Made before, and its start or the answer to its making did not come: it is the one to start. Another beside it
  // might run twice, should that start be late, and would count as a restart.
  if (const ContainerState* made = state->Find(name); made != nullptr && made->state == State::kCreated &&
                                                      made->sandbox_id == sandbox_id &&
                                                      made->hash == HashContainer(container)) {
    CountContainerStart(*pod, name);
    auto slot = co_await starts_->Acquire(Age(*pod));
    if (!slot.ok()) co_return fail("ContainerCreating", "", slot.status());
    co_return co_await Begin(pod, container, made->id, made->log_path, ips.empty() ? "" : ips.front(), *std::move(slot),
                             interrupt, result);
  }

  // Crash loop: wait from the end of the last run.
  const ContainerState* last = nullptr;
  for (const auto& c : state->containers) {
    if (c.name == name && c.state == State::kExited) {
      last = &c;
      break;
    }
  }
  if (last != nullptr) {
    std::string key = BackoffKey(*pod, container);
    WallTime ended{std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(last->finished_at))};
    if (auto left = crashes_.LeftSince(key, ended); left.count() > 0) {
      events_.Record(about, client::kWarning, "BackOff",
                     absl::StrCat("Back-off restarting failed container ", name, " in pod ", FormatPod(*pod)));
      std::string message = absl::StrCat("back-off ", FormatDuration(crashes_.Delay(key)),
                                         " restarting failed container=", name, " pod=", FormatPod(*pod));
      if (result->retry_after.count() == 0 || left < result->retry_after) result->retry_after = left;
      co_return fail("CrashLoopBackOff", message, absl::UnavailableError(message));
    }
    crashes_.Next(key, ended);
  }
  CountContainerStart(*pod, name);

  for (const auto& mount : container.volumemounts()) {
    const auto volume = result->image_volumes.find(mount.name());
    if (volume == result->image_volumes.end() || volume->second.reason.empty()) continue;
    events_.Record(about, client::kWarning, "Failed", absl::StrCat("Error: ", volume->second.reason));
    co_return fail(volume->second.reason, volume->second.message, absl::UnavailableError(volume->second.reason));
  }

  // A pull goes on when its pod is deleted, as upstream's: other pods may wait for the same image.
  auto image = co_await images_.Ensure(pod, container, sandbox, about, std::exchange(*ahead, nullptr));
  if (!image.reason.empty()) {
    events_.Record(about, client::kWarning, "Failed", absl::StrCat("Error: ", image.reason));
    if (image.retry_after.count() > 0 &&
        (result->retry_after.count() == 0 || image.retry_after < result->retry_after)) {
      result->retry_after = image.retry_after;
    }
    co_return fail(image.reason, image.message, absl::UnavailableError(image.reason));
  }
  if (interrupt->stopped()) co_return fail("ContainerCreating", "", absl::CancelledError("pod is being ended"));

  int restarts = 0;
  if (const ContainerState* newest = state->Find(name)) {
    restarts = newest->restart_count + 1;
    if (newest->state == State::kCreated && newest->sandbox_id != sandbox_id) {
      // It never ran, and never will in a sandbox that is gone: no restart.
      result->more = true;
      if (Status s = co_await RemoveContainer(*state, *newest); !s.ok()) co_return report("CreateContainerError", s);
      restarts = newest->restart_count;
    }
  } else {
    restarts = RestartCountFromLogs(JoinPath(sandbox.log_directory(), name));
  }
  if (PodPtr had = restarts > 0 && hooks_.actuated ? hooks_.actuated(*pod) : nullptr; had != nullptr) {
    if (const auto room = RoomToStart(*pod, *had, *state, name)) {
      if (Status s = co_await ResizePodCgroup(*room, sandbox_id); !s.ok()) co_return report("CreateContainerError", s);
    }
  }
  if (!pid_target.ok()) co_return report("CreateContainerConfigError", pid_target.status());
  // A subPath may lie on a path of the host that does not answer.
  const Status ended = absl::CancelledError("pod is being ended");
  if (interrupt->stopped()) co_return fail("ContainerCreating", "", ended);
  auto inputs = co_await Interrupt::Run(interrupt, Inputs(pod, container, restarts, ips));
  if (interrupt->stopped()) co_return fail("ContainerCreating", "", ended);
  if (!inputs.ok()) co_return report("CreateContainerConfigError", inputs.status());
  for (auto& mount : inputs->mounts) {
    if (mount.image.empty()) continue;
    mount.image = result->image_volumes[mount.volume].image_ref;
  }
  inputs->image_ref = image.image_ref;
  inputs->pid_target = *pid_target;
  inputs->users = sandbox.linux().security_context().namespace_options().userns_options();
  auto user = co_await UserOf(std::move(image));
  if (!user.ok()) co_return report("CreateContainerConfigError", user.status());
  inputs->image_user = *user;
  auto config = MakeContainerConfig(*pod, container, *inputs, options_.node);
  if (!config.ok()) co_return report("CreateContainerConfigError", config.status());
  if (Status s = MakeDirs(JoinPath(sandbox.log_directory(), name)); !s.ok()) {
    co_return report("CreateContainerConfigError", s);
  }
  std::string log_path = JoinPath(sandbox.log_directory(), config->log_path());

  auto slot = co_await starts_->Acquire(Age(*pod));
  if (!slot.ok()) co_return fail("ContainerCreating", "", slot.status());
  cri_v1::CreateContainerRequest create;
  create.set_pod_sandbox_id(sandbox_id);
  *create.mutable_config() = *std::move(config);
  *create.mutable_sandbox_config() = sandbox;
  // It may be started much later, by when another size may have been granted.
  if (hooks_.container_made) hooks_.container_made(*pod, container);
  auto created = co_await runtime_.CreateContainer(std::move(create), {.timeout = options_.request_timeout});
  if (!created.ok()) {
    result->more = true;  // the answer may have been lost
    co_return report("CreateContainerError", created.status());
  }
  events_.Record(about, client::kNormal, "Created", "Container created");
  co_return co_await Begin(pod, container, created->container_id(), log_path, ips.empty() ? "" : ips.front(),
                           *std::move(slot), interrupt, result);
}

// After an error: the answer may have been lost, or the call have come twice.
Task<bool> PodRuntime::RunsAlready(std::string id) {
  cri_v1::ContainerStatusRequest request;
  request.set_container_id(std::move(id));
  auto answer = co_await runtime_.ContainerStatus(std::move(request), {.timeout = options_.request_timeout});
  co_return answer.ok() && answer->status().state() == cri_v1::CONTAINER_RUNNING;
}

Task<bool> PodRuntime::Begin(PodPtr pod, core::Container container, std::string id, std::string log_path,
                             std::string pod_ip, StartQueue::Slot slot, std::shared_ptr<Interrupt> interrupt,
                             SyncResult* result) {
  const std::string& name = container.name();
  client::ObjectReference about = ContainerReference(*pod, name);
  auto fail = [&](std::string_view reason, const Status& status) {
    CountContainerStartError(*pod, name, std::string(reason));
    result->failures[name] = {std::string(reason), std::string(status.message())};
    if (result->status.ok()) result->status = status;
    return false;
  };
  result->changed = true;
  cri_v1::StartContainerRequest start;
  start.set_container_id(id);
  auto started = co_await runtime_.StartContainer(std::move(start), {.timeout = options_.request_timeout});
  slot.Release();
  if (started.ok()) {
    result->made.containers.push_back(id);
  } else {
    result->more = true;
  }
  if (!started.ok() && !co_await RunsAlready(id)) {
    // Each try has an id of its own: without it they are one event that is counted.
    events_.Record(about, client::kWarning, "Failed",
                   absl::StrCat("Error: ", absl::StrReplaceAll(started.status().message(), {{id, name}})));
    co_return fail("RunContainerError", started.status());
  }
  events_.Record(about, client::kNormal, "Started", "Container started");
  result->started.push_back(name);

  std::string link = JoinPath(options_.container_logs_dir,
                              LogLinkName(pod->metadata().name(), pod->metadata().namespace_(), name, id));
  if (Exists(log_path)) {
    if (::symlink(log_path.c_str(), link.c_str()) != 0 && errno != EEXIST) {
      VLOG(3, "Cannot link container log", {"link", link}, {"err", ErrnoStatus(errno, "symlink")});
    }
  }
  if (container.lifecycle().has_poststart()) {
    HookTarget target{pod, container, id, pod_ip};
    Status hook =
        co_await Interrupt::Run(interrupt, RunHook(runtime_, clock_, target, container.lifecycle().poststart(),
                                                   [this, pod](std::string text) { HookFellBack(*pod, text); }));
    if (absl::IsCancelled(hook)) {
      result->failures[name] = {"PostStartHookError", "cancelled"};
      if (result->status.ok()) result->status = hook;
      co_return false;
    }
    if (!hook.ok()) {
      events_.Record(about, client::kWarning, "FailedPostStartHook", "PostStartHook failed");
      result->more = true;
      Status killed = co_await KillContainer(pod, id, container, target.pod_ip, "FailedPostStartHook",
                                             KillReason::kPostStartHook, std::nullopt, nullptr);
      if (!killed.ok()) LOG_ERROR(killed, "Failed to kill container", {"pod", PodKey(*pod)}, {"container", name});
      std::erase(result->started, name);
      co_return fail("PostStartHookError", hook);
    }
  }
  co_return true;
}

}  // namespace skiff::kubelet
