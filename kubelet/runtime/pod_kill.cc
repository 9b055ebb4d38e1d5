// How pods end: hooks, order of sidecars, grace periods, and what is removed afterwards.
#include <unistd.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/log.h"
#include "base/timed_wait.h"
#include "kubelet/runtime/container_gc.h"
#include "kubelet/runtime/labels.h"
#include "kubelet/runtime/pod_runtime.h"

namespace skiff::kubelet {

using State = ContainerState::State;

// Containers of a pod with sidecars end in order: the main ones first, then the sidecars from the last to the first.
struct PodRuntime::Ordering {
  explicit Ordering(asio::any_io_executor executor) : executor(std::move(executor)) {}
  std::map<std::string, std::vector<std::string>> after;  // container -> those that must have ended before
  std::set<std::string> ended;
  std::vector<std::shared_ptr<Wakeup>> waiting;
  asio::any_io_executor executor;

  bool Turn(const std::string& name) const {
    auto it = after.find(name);
    if (it == after.end()) return true;
    for (const auto& other : it->second) {
      if (!ended.contains(other)) return false;
    }
    return true;
  }
  void Ended(const std::string& name) {
    ended.insert(name);
    for (const auto& wakeup : waiting) wakeup->Notify();
  }
};

Task<Status> PodRuntime::KillContainer(PodPtr pod, std::string id, core::Container container, std::string pod_ip,
                                       std::string message, KillReason reason, std::optional<int64_t> grace_override,
                                       std::shared_ptr<Ordering> ordering) {
  int64_t grace = 2;  // the least, so that no process is killed without a word
  if (pod->metadata().has_deletiongraceperiodseconds()) {
    grace = pod->metadata().deletiongraceperiodseconds();
  } else if (pod->spec().has_terminationgraceperiodseconds()) {
    grace = pod->spec().terminationgraceperiodseconds();
    const core::Probe* probe = reason == KillReason::kStartupProbe    ? &container.startupprobe()
                               : reason == KillReason::kLivenessProbe ? &container.livenessprobe()
                                                                      : nullptr;
    if (probe != nullptr && probe->has_terminationgraceperiodseconds()) grace = probe->terminationgraceperiodseconds();
  }
  client::ObjectReference about = ContainerReference(*pod, container.name());
  if (message.empty()) message = absl::StrCat("Stopping container ", container.name());
  events_.Record(about, client::kNormal, "Killing", message);
  if (grace_override) grace = *grace_override;
  const SteadyTime began = clock_.Steady();
  auto left = [&] { return grace - std::chrono::duration_cast<std::chrono::seconds>(clock_.Steady() - began).count(); };

  if (container.lifecycle().has_prestop() && grace > 0) {
    HookTarget target{pod, container, id, pod_ip};
    Status hook = co_await WithTimeout(clock_, std::chrono::seconds(grace), "preStop hook",
                                       RunHook(runtime_, clock_, target, container.lifecycle().prestop(),
                                               [this, pod](std::string text) { HookFellBack(*pod, text); }));
    if (absl::IsCancelled(hook)) co_return hook;
    if (!hook.ok()) {
      LOG_ERROR(hook, "PreStop hook failed", {"pod", PodKey(*pod)}, {"container", container.name()});
      // What runs in the container fails with its end. A sleep that is too long does not.
      if (!container.lifecycle().prestop().has_sleep()) {
        events_.Record(about, client::kWarning, "FailedPreStopHook", "PreStopHook failed");
      }
    }
  }
  if (ordering != nullptr && !ordering->Turn(container.name())) {
    auto wakeup = std::make_shared<Wakeup>(ordering->executor);
    ordering->waiting.push_back(wakeup);
    while (!ordering->Turn(container.name()) && left() > 0) {
      Status waited = co_await WaitFor(clock_, *wakeup, std::chrono::seconds(left()));
      if (absl::IsCancelled(waited)) co_return waited;
    }
  }
  const int64_t timeout = std::max<int64_t>(left(), 2);
  cri_v1::StopContainerRequest request;
  request.set_container_id(id);
  request.set_timeout(timeout);
  auto stopped = co_await runtime_.StopContainer(std::move(request),
                                                 {.timeout = std::chrono::seconds(timeout) + options_.request_timeout});
  if (!stopped.ok() && !absl::IsNotFound(stopped.status())) {
    co_return Annotate(stopped.status(), absl::StrCat("stop container ", container.name()));
  }
  if (hooks_.container_stopped) hooks_.container_stopped(id);
  if (ordering != nullptr) ordering->Ended(container.name());
  co_return absl::OkStatus();
}

namespace {

// Collects what several kills say.
struct KillOutcome {
  Status first;
};

}  // namespace

Task<Status> PodRuntime::Kill(PodPtr pod, PodStatePtr state, std::optional<int64_t> grace) {
  auto executor = co_await asio::this_coro::executor;
  std::shared_ptr<Ordering> ordering;
  std::vector<std::string> sidecars, mains;
  for (const auto& c : pod->spec().initcontainers()) {
    if (IsSidecar(c)) sidecars.push_back(c.name());
  }
  auto is_up = [](const ContainerState& c) { return c.state == State::kRunning || c.state == State::kUnknown; };
  if (!sidecars.empty()) {
    ordering = std::make_shared<Ordering>(executor);
    std::set<std::string> running;
    for (const auto& c : state->containers) {
      if (is_up(c)) running.insert(c.name);
    }
    std::vector<std::string> before;
    for (const auto& c : pod->spec().containers()) {
      if (running.contains(c.name())) before.push_back(c.name());
    }
    for (auto it = sidecars.rbegin(); it != sidecars.rend(); ++it) {
      if (!running.contains(*it)) continue;
      ordering->after[*it] = before;
      before.push_back(*it);
    }
  }
  std::string ip = state->ips.empty() ? "" : state->ips.front();
  auto outcome = std::make_shared<KillOutcome>();
  TaskGroup group(executor);
  struct One {
    static Task<void> Run(PodRuntime* self, PodPtr pod, std::string id, core::Container container, std::string ip,
                          std::optional<int64_t> grace, std::shared_ptr<Ordering> ordering,
                          std::shared_ptr<KillOutcome> outcome) {
      Status s =
          co_await self->KillContainer(pod, id, container, ip, "", KillReason::kOther, grace, std::move(ordering));
      if (!s.ok() && outcome->first.ok()) outcome->first = s;
    }
  };
  for (const auto& c : state->containers) {
    if (!is_up(c)) continue;
    core::Container container;
    if (const core::Container* found = FindContainer(*pod, c.name)) {
      container = *found;
    } else if (const core::EphemeralContainer* ephemeral = FindEphemeral(*pod, c.name)) {
      container = AsContainer(*ephemeral);
    } else {
      container.set_name(c.name);
    }
    group.Spawn(absl::StrCat("kill ", c.name), One::Run(this, pod, c.id, container, ip, grace, ordering, outcome));
  }
  co_await group.Join();
  if (co_await IsCancelled()) co_return absl::CancelledError("kill was cancelled");
  CO_RETURN_IF_ERROR(outcome->first);
  // Those that are not ready too: what died by itself has its network still.
  for (const auto& s : state->sandboxes) {
    std::set<std::string>& stopped_before = stopped_sandboxes_[pod->metadata().uid()];
    if (!s.ready && stopped_before.contains(s.id)) continue;
    cri_v1::StopPodSandboxRequest request;
    request.set_pod_sandbox_id(s.id);
    auto stopped = co_await runtime_.StopPodSandbox(std::move(request), {.timeout = options_.request_timeout});
    if (!stopped.ok() && !absl::IsNotFound(stopped.status())) {
      co_return Annotate(stopped.status(), "stop pod sandbox");
    }
    stopped_sandboxes_[pod->metadata().uid()].insert(s.id);
  }
  co_return absl::OkStatus();
}

Task<Status> PodRuntime::RemoveContainer(const PodState& state, ContainerState container, bool keep_logs) {
  std::string link =
      JoinPath(options_.container_logs_dir, LogLinkName(state.name, state.ns, container.name, container.id));
  cri_v1::RemoveContainerRequest request;
  request.set_container_id(container.id);
  auto removed = co_await runtime_.RemoveContainer(std::move(request), {.timeout = options_.request_timeout});
  if (!removed.ok() && !absl::IsNotFound(removed.status())) {
    co_return Annotate(removed.status(), absl::StrCat("remove container ", container.name));
  }
  ::unlink(link.c_str());
  if (!keep_logs) co_await RemoveContainerLogs(options_.node.logs_dir, container.log_path);
  if (hooks_.container_stopped) hooks_.container_stopped(container.id);
  co_return absl::OkStatus();
}

Task<Status> PodRuntime::Remove(PodStatePtr state) {
  for (const auto& c : state->containers) CO_RETURN_IF_ERROR(co_await RemoveContainer(*state, c));
  for (const auto& s : state->sandboxes) {
    cri_v1::StopPodSandboxRequest stop;
    stop.set_pod_sandbox_id(s.id);
    auto stopped = co_await runtime_.StopPodSandbox(std::move(stop), {.timeout = options_.request_timeout});
    if (!stopped.ok() && !absl::IsNotFound(stopped.status())) co_return Annotate(stopped.status(), "stop pod sandbox");
    cri_v1::RemovePodSandboxRequest request;
    request.set_pod_sandbox_id(s.id);
    auto removed = co_await runtime_.RemovePodSandbox(std::move(request), {.timeout = options_.request_timeout});
    if (!removed.ok() && !absl::IsNotFound(removed.status())) {
      co_return Annotate(removed.status(), "remove pod sandbox");
    }
  }
  if (!state->name.empty() && !state->uid.empty()) {
    std::function<Status()> remove = [dir = PodLogDir(options_.node.logs_dir, state->ns, state->name, state->uid)] {
      return RemoveAll(dir);
    };
    if (Status s = co_await RunBlocking(std::move(remove)); !s.ok() && ErrnoOf(s) != ENOENT) co_return s;
  }
  co_return absl::OkStatus();
}

Task<Status> PodRuntime::CollectGarbage(PodStatePtr state, int keep) {
  std::map<std::string, int> kept;
  std::set<std::string> used;
  for (const auto& c : state->containers) {  // newest first
    if (c.state == State::kRunning || c.state == State::kUnknown) {
      used.insert(c.sandbox_id);
      continue;
    }
    // The newest of each name carries the restart count and the last state.
    if (keep < 0 || kept[c.name]++ < keep + 1) {
      used.insert(c.sandbox_id);
      continue;
    }
    CO_RETURN_IF_ERROR(co_await RemoveContainer(*state, c));
  }
  for (size_t i = 1; i < state->sandboxes.size(); ++i) {
    const auto& s = state->sandboxes[i];
    if (s.ready || used.contains(s.id)) continue;
    cri_v1::RemovePodSandboxRequest request;
    request.set_pod_sandbox_id(s.id);
    auto removed = co_await runtime_.RemovePodSandbox(std::move(request), {.timeout = options_.request_timeout});
    if (!removed.ok() && !absl::IsNotFound(removed.status())) {
      co_return Annotate(removed.status(), "remove pod sandbox");
    }
  }
  co_return absl::OkStatus();
}

}  // namespace skiff::kubelet
