#include "kubelet/runtime/pod_runtime.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/flags.h"
#include "base/go_text.h"
#include "base/log.h"
#include "kubelet/node/node_addresses.h"
#include "kubelet/runtime/dns_warnings.h"
#include "kubelet/runtime/labels.h"
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

bool UsesClaims(const Pod& pod) {
  return pod.spec().resourceclaims_size() > 0 || pod.status().has_extendedresourceclaimstatus();
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

// Many times what a start takes on a busy machine.
constexpr std::chrono::milliseconds kLongestStart{5000};
// A crash that comes later than this after the last start is the first one again, however short the longest back-off
// is.
constexpr std::chrono::minutes kCrashMemory{10};

PodRuntime::PodRuntime(asio::any_io_executor executor, cri::Runtime& runtime, RuntimeCache& cache, Clock& clock,
                       ObjectSource& objects, VolumeManager& volumes, client::EventSink& events,
                       PodRuntimeOptions options, PodRuntimeHooks hooks)
    : executor_(executor),
      runtime_(runtime),
      cache_(cache),
      clock_(clock),
      objects_(objects),
      volumes_(volumes),
      events_(events),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      images_(executor, runtime, clock, events, objects, options_.images),
      starts_(std::make_shared<StartQueue>(executor, options_.start_slots, kLongestStart)),
      crashes_(clock, std::chrono::seconds(10), options_.longest_backoff, kCrashMemory) {}

std::pair<int64_t, std::string> PodRuntime::Age(const Pod& pod) const {
  return {pod.metadata().creationtimestamp().seconds(), PodKey(pod)};
}

std::string PodRuntime::CgroupParent(const Pod& pod) const {
  if (!options_.cgroups_per_qos) return options_.cgroup_root;
  return options_.cgroups.ForRuntime(QosClass(pod), pod.metadata().uid());
}

client::ObjectReference PodRuntime::ContainerReference(const Pod& pod, std::string_view container) const {
  std::string_view list = "containers";
  if (IsInitContainer(pod, container)) list = "initContainers";
  if (FindEphemeral(pod, container) != nullptr) list = "ephemeralContainers";
  return client::ReferenceTo(pod, absl::StrCat("spec.", list, "{", container, "}"));
}

void PodRuntime::HookFellBack(const Pod& pod, const std::string& text) {
  events_.Record(pod, client::kWarning, "LifecycleHTTPFallback", text);
}

void PodRuntime::Forget(const std::string& uid) {
  stopped_sandboxes_.erase(uid);
  crashes_.Forget(uid + "/");
  images_.ForgetPod(uid);
}

// A pod that wants users of its own (hostUsers: false) gets them or is refused, it never runs with the host's.
Task<StatusOr<cri_v1::UserNamespace>> PodRuntime::UsersOf(PodPtr pod) {
  if (!pod->spec().has_hostusers() || pod->spec().hostusers()) co_return HostUsers();
  std::string handler;
  if (hooks_.runtime_handler) {
    CO_ASSIGN_OR_RETURN(handler, hooks_.runtime_handler(*pod));
  }
  CO_ASSIGN_OR_RETURN(auto runtime, co_await runtime_.Status({}));
  const auto supported = HandlerMapsUsers(runtime, handler);
  if (!supported.ok() || !*supported) {
    std::string text = "can't set `spec.hostUsers: false`, runtime does not support user namespaces";
    if (!handler.empty()) {
      text = absl::StrCat("can't set `spec.hostUsers: false`, RuntimeClass handler ", GoQuote(handler),
                          " does not support user namespaces");
    }
    if (!supported.ok()) absl::StrAppend(&text, ": ", supported.status().message());
    co_return absl::UnimplementedError(text);
  }
  CO_ASSIGN_OR_RETURN(const auto guard, co_await ids_lock_->Lock());
  if (!pod_ids_) {
    CO_ASSIGN_OR_RETURN(pod_ids_, co_await KubeletIds(options_.ids_per_pod, options_.max_pods));
  }
  std::function<StatusOr<uint32_t>()> take = [root = options_.root_dir, uid = pod->metadata().uid(), ids = *pod_ids_,
                                              length = options_.ids_per_pod] {
    return UserNamespaceOf(root, uid, ids, length);
  };
  CO_ASSIGN_OR_RETURN(const uint32_t first, co_await RunBlockingFor<uint32_t>(std::move(take)),
                      "create user namespace");
  co_return MappedUsers(first, options_.ids_per_pod);
}

Task<StatusOr<cri_v1::PodSandboxConfig>> PodRuntime::MakeSandboxConfig(PodPtr pod, uint32_t attempt, bool report) {
  SandboxInputs in;
  in.attempt = attempt;
  in.cgroup_parent = CgroupParent(*pod);
  CO_ASSIGN_OR_RETURN(in.users, co_await UsersOf(pod));
  in.volume_groups = volumes_.ExtraGroups(*pod);
  std::vector<std::pair<std::string, std::string>> warnings;
  CO_ASSIGN_OR_RETURN(in.resolver, PodResolver(*pod, options_.dns, &warnings));
  if (report) {
    for (const auto& [reason, message] : warnings) {
      events_.Record(*pod, client::kWarning, reason, message);
      if (reason != kMissingClusterDns) continue;
      client::ObjectReference node;
      node.set_kind("Node");
      node.set_apiversion("v1");
      if (hooks_.env_facts) node.set_name(hooks_.env_facts().node_name);
      events_.Record(node, client::kWarning, reason, kNoClusterDns);
    }
  }
  CO_ASSIGN_OR_RETURN(PodHostname hostname, HostnameOf(*pod, options_.dns.cluster_domain));
  CO_ASSIGN_OR_RETURN(in.hostname, KernelHostname(*pod, hostname));
  co_return SandboxConfig(*pod, in, options_.node);
}

namespace {

// The container that is started first in a new sandbox, of which one starts at a time; null: none.
const core::Container* FirstToStart(const Pod& pod, const PodActions& actions) {
  if (!actions.init_to_start.empty()) return &pod.spec().initcontainers(actions.init_to_start.front());
  return actions.to_start.empty() ? nullptr : &pod.spec().containers(actions.to_start.front());
}

}  // namespace

Task<Status> PodRuntime::StartSandbox(PodPtr pod, std::shared_ptr<Interrupt> interrupt, PodActions* actions,
                                      cri_v1::PodSandboxConfig* config, std::shared_ptr<ImagePuller::Ahead> ahead) {
  CountSandboxStart();
  auto fail = [&](const Status& why, const std::string& text) {
    CountSandboxStartError();
    events_.Record(*pod, client::kWarning, "FailedCreatePodSandBox",
                   absl::StrCat("Failed to create pod sandbox: ", text));
    return why;
  };
  cri_v1::RunPodSandboxRequest request;
  if (hooks_.runtime_handler) {
    auto handler = hooks_.runtime_handler(*pod);
    if (!handler.ok()) co_return fail(handler.status(), std::string(handler.status().message()));
    request.set_runtime_handler(*handler);
  }
  auto made = co_await MakeSandboxConfig(pod, actions->attempt, true);
  if (!made.ok()) co_return fail(made.status(), std::string(made.status().message()));
  *config = *made;
  *request.mutable_config() = *std::move(made);
  if (Status s = MakeDirs(config->log_directory()); !s.ok()) co_return fail(s, std::string(s.message()));
  CO_ASSIGN_OR_RETURN(auto slot, co_await starts_->Acquire(Age(*pod)));
  const std::string handler = request.runtime_handler();
  const SteadyTime began = clock_.Steady();
  TaskGroup beside(executor_);
  if (const auto* first = FirstToStart(*pod, *actions))
    beside.Spawn("ask for an image", images_.Ask(pod, *first, ahead));
  // Setting up a network may take long; upstream gives it twice the usual time.
  auto answer = co_await runtime_.RunPodSandbox(std::move(request), {.timeout = 2 * options_.request_timeout});
  slot.Release();
  ObserveSandbox(handler, answer.ok(), clock_.Steady() - began);
  if (!answer.ok()) beside.Cancel();
  co_await beside.Join();
  if (absl::IsCancelled(answer.status())) co_return answer.status();
  // Many networks refuse a pod that the API has no more: nothing to tell of one that is being ended.
  if (!answer.ok() && interrupt->stopped()) co_return absl::CancelledError("pod is being ended");
  if (!answer.ok()) co_return fail(answer.status(), GrpcErrorText(answer.status()));
  actions->sandbox_id = answer->pod_sandbox_id();
  co_return absl::OkStatus();
}

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
                                StatusOr<std::string> pid_target, std::shared_ptr<Interrupt> interrupt,
                                SyncResult* result) {
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
  auto image = co_await images_.Ensure(pod, container, sandbox, about, std::exchange(result->ahead, nullptr));
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

Task<PodRuntime::SyncResult> PodRuntime::Sync(PodPtr pod, PodStatePtr state, std::shared_ptr<Interrupt> interrupt,
                                              bool restart_all) {
  SyncResult result;
  result.made.uid = pod->metadata().uid();
  result.made.name = pod->metadata().name();
  result.made.ns = pod->metadata().namespace_();
  PodActions actions = ComputeActions(*pod, *state, hooks_.probes, restart_all);
  ResizePlan resize;
  // `resize` points into it.
  PodPtr from = actions.kill_pod || restart_all || !hooks_.resize_from ? nullptr : hooks_.resize_from(*pod);
  if (from != nullptr) resize = PlanResize(*pod, *from, *state, &actions);
  if (actions.empty() && resize.empty()) co_return result;
  auto stop = [&](Status status) {
    if (result.status.ok()) result.status = std::move(status);
  };
  std::vector<std::string> ips = state->ips;

  if (actions.kill_pod) {
    if (actions.create_sandbox && !actions.sandbox_id.empty()) {
      events_.Record(*pod, client::kNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
    }
    bool anything = state->AnyRunning();
    for (const auto& s : state->sandboxes) anything = anything || s.ready;
    if (anything || (actions.create_sandbox && !actions.sandbox_id.empty())) {
      result.changed = result.more = true;
      if (Status s = co_await Kill(pod, state, std::nullopt); !s.ok()) {
        stop(s);
        co_return result;
      }
    }
    // Init containers of the old sandbox must not be taken for those of the new one.
    if (actions.create_sandbox) {
      for (const auto& c : state->containers) {
        if (!IsInitContainer(*pod, c.name)) continue;
        if (Status s = co_await RemoveContainer(*state, c); !s.ok()) {
          stop(s);
          co_return result;
        }
      }
    }
  } else {
    for (const auto& kill : actions.to_kill) {
      const core::Container* container = FindContainer(*pod, kill.name);
      if (container == nullptr) continue;
      result.changed = result.more = true;
      Status s = co_await KillContainer(pod, kill.id, *container, ips.empty() ? "" : ips.front(), kill.message,
                                        kill.reason, std::nullopt, nullptr);
      if (!s.ok()) {
        stop(s);
        co_return result;
      }
    }
    for (const auto& reset : actions.to_reset) {
      result.changed = result.more = true;
      const core::Container* container = FindContainer(*pod, reset.name);
      const ContainerState* there = state->FindId(reset.id);
      if (container == nullptr || there == nullptr) continue;
      Status s;
      if (reset.kill) {
        s = co_await KillContainer(pod, reset.id, *container, ips.empty() ? "" : ips.front(), "killing",
                                   KillReason::kOther, 0, nullptr);
      }
      if (s.ok()) s = co_await RemoveContainer(*state, *there, true);
      if (!s.ok()) {
        stop(s);
        co_return result;
      }
    }
    // `state` stays as it was before the kills: a container that a probe ended is started again at once, and the
    // crash-loop rules look at the run before it, as upstream's do.
  }

  result.made.sandbox = actions.sandbox_id;
  cri_v1::PodSandboxConfig config;
  if (actions.create_sandbox && UsesClaims(*pod)) {
    // Without its devices it would run, and do something else.
    const Status why = FailedPrecondition("this kubelet has no drivers of dynamic resources");
    events_.Record(*pod, client::kWarning, "FailedPrepareDynamicResources",
                   absl::StrCat("Failed to prepare dynamic resources: ", why.message()));
    stop(why);
    co_return result;
  }
  if (actions.create_sandbox) {
    result.ahead = std::make_shared<ImagePuller::Ahead>();
    Status s = co_await StartSandbox(pod, interrupt, &actions, &config, result.ahead);
    if (!s.ok()) {
      stop(s);
      co_return result;
    }
    result.changed = true;
    // The pod's first sandbox is all that there is of it.
    result.made.sandbox = actions.sandbox_id;
    const bool first = state->sandboxes.empty() && state->containers.empty();
    auto fresh = first ? co_await cache_.See(result.made) : co_await cache_.Refresh(pod->metadata().uid());
    if (!fresh.ok()) {
      events_.Record(*pod, client::kWarning, "FailedPodSandBoxStatus",
                     absl::StrCat("Unable to get pod sandbox status: ", fresh.status().message()));
      stop(fresh.status());
      co_return result;
    }
    // Init containers that were removed above go on counting from where they were; one that was never started had not
    // come to count.
    auto known = std::make_shared<PodState>(**fresh);
    for (const auto& c : state->containers) {
      if (known->Find(c.name) == nullptr && c.state != State::kCreated) known->containers.push_back(c);
    }
    state = known;
    ips = state->ips;
    if (hooks_.sandbox_ready) hooks_.sandbox_ready(*pod);
  } else if (!actions.init_to_start.empty() || !actions.to_start.empty() || !actions.ephemeral_to_start.empty()) {
    auto made = co_await MakeSandboxConfig(pod, actions.attempt, false);
    if (!made.ok()) {
      stop(made.status());
      co_return result;
    }
    config = *std::move(made);
  }

  if (!actions.ephemeral_to_start.empty() || !actions.init_to_start.empty() || !actions.to_start.empty()) {
    for (const auto& volume : pod->spec().volumes()) {
      if (!volume.volumesource().has_image()) continue;
      core::Container image;
      image.set_image(volume.volumesource().image().reference());
      image.set_imagepullpolicy(volume.volumesource().image().pullpolicy());
      result.image_volumes[volume.name()] = co_await images_.Ensure(pod, image, config, client::ReferenceTo(*pod));
    }
  }
  for (int i : actions.ephemeral_to_start) {
    const auto& ephemeral = pod->spec().ephemeralcontainers(i);
    StatusOr<std::string> target = "";
    if (const std::string& name = ephemeral.targetcontainername(); !name.empty()) {
      const ContainerState* c = state->Find(name);
      target = c != nullptr ? StatusOr<std::string>(c->id) : NotFound("unable to find target container ", name);
    }
    co_await StartOne(pod, AsContainer(ephemeral), state, actions.sandbox_id, config, ips, target, interrupt, &result);
  }
  for (int i : actions.init_to_start) {
    const core::Container& c = pod->spec().initcontainers(i);
    if (interrupt->stopped()) {
      stop(absl::CancelledError("pod is being ended"));
      co_return result;
    }
    bool ok = co_await StartOne(pod, c, state, actions.sandbox_id, config, ips, "", interrupt, &result);
    if (!ok && !IsSidecar(c)) co_return result;
  }
  if (!resize.empty()) {
    result.changed = result.more = true;
    if (Status s = co_await Resize(pod, actions.sandbox_id, std::move(resize)); !s.ok()) {
      if (absl::IsCancelled(s)) {
        stop(s);
        co_return result;
      }
      LOG_ERROR(s, "Resize of the pod failed", {"pod", PodKey(*pod)});
      result.resize_error = std::string(s.message());
      stop(s);
    }
  }
  for (int i : actions.to_start) {
    if (interrupt->stopped()) {
      stop(absl::CancelledError("pod is being ended"));
      co_return result;
    }
    co_await StartOne(pod, pod->spec().containers(i), state, actions.sandbox_id, config, ips, "", interrupt, &result);
  }
  co_return result;
}

}  // namespace skiff::kubelet
