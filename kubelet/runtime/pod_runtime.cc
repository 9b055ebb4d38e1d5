#include "kubelet/runtime/pod_runtime.h"

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/go_text.h"
#include "base/log.h"
#include "kubelet/runtime/dns_warnings.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

using State = ContainerState::State;

bool UsesClaims(const Pod& pod) {
  return pod.spec().resourceclaims_size() > 0 || pod.status().has_extendedresourceclaimstatus();
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
      if (reason != kMissingClusterDns || !hooks_.node_reference) continue;
      events_.Record(hooks_.node_reference(), client::kWarning, reason, kNoClusterDns);
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
  std::shared_ptr<ImagePuller::Ahead> ahead;
  if (actions.create_sandbox && UsesClaims(*pod)) {
    // Without its devices it would run, and do something else.
    const Status why = FailedPrecondition("this kubelet has no drivers of dynamic resources");
    events_.Record(*pod, client::kWarning, "FailedPrepareDynamicResources",
                   absl::StrCat("Failed to prepare dynamic resources: ", why.message()));
    stop(why);
    co_return result;
  }
  if (actions.create_sandbox) {
    ahead = std::make_shared<ImagePuller::Ahead>();
    Status s = co_await StartSandbox(pod, interrupt, &actions, &config, ahead);
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
    co_await StartOne(pod, AsContainer(ephemeral), state, actions.sandbox_id, config, ips, target, &ahead, interrupt,
                      &result);
  }
  for (int i : actions.init_to_start) {
    const core::Container& c = pod->spec().initcontainers(i);
    if (interrupt->stopped()) {
      stop(absl::CancelledError("pod is being ended"));
      co_return result;
    }
    bool ok = co_await StartOne(pod, c, state, actions.sandbox_id, config, ips, "", &ahead, interrupt, &result);
    if (!ok && !IsSidecar(c)) co_return result;
  }
  if (!resize.empty()) {
    Status s = co_await CheckMemoryDecreases(pod, resize);
    if (s.ok()) {
      result.changed = result.more = true;
      s = co_await Resize(pod, actions.sandbox_id, std::move(resize));
    }
    if (!s.ok()) {
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
    co_await StartOne(pod, pod->spec().containers(i), state, actions.sandbox_id, config, ips, "", &ahead, interrupt,
                      &result);
  }
  co_return result;
}

}  // namespace skiff::kubelet
