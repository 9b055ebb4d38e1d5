#include "kubelet/pod/actions.h"

#include <algorithm>

#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

using State = ContainerState::State;

bool Failed(const ContainerState& c) { return c.state != State::kExited || c.exit_code != 0; }

// An init container that was killed for lack of memory has not done its work, whatever its first process made of it.
bool InitFailed(const ContainerState& c) { return Failed(c) || c.reason == "OOMKilled"; }

// The pod's policy, or the container's own, lets a container that is killed come back.
bool RestartsAfterKill(const Pod& pod, const core::Container& c) {
  return (c.has_restartpolicy() ? c.restartpolicy() : pod.spec().restartpolicy()) != "Never";
}

bool RunOnce(const Pod& pod, const core::Container& c) {
  return (c.has_restartpolicy() ? c.restartpolicy() : pod.spec().restartpolicy()) == "OnFailure";
}

// Decides on the init containers. Returns true once initialization is complete; sets kill_pod when it has failed for
// good.
bool ComputeInitActions(const Pod& pod, const PodState& state, const ProbeResults& probes, PodActions* out) {
  const auto& inits = pod.spec().initcontainers();
  if (inits.empty()) return true;

  // A main container that runs proves that initialization was done, even when the init containers are gone from the
  // runtime. One that has exited proves nothing: it may belong to the sandbox before this one.
  bool initialized = false;
  for (const auto& c : pod.spec().containers()) {
    const ContainerState* s = state.Find(c.name());
    if (s != nullptr && state.IsActive(*s) && (s->state == State::kCreated || s->state == State::kRunning)) {
      initialized = true;
    }
  }
  bool previously = initialized;

  // From the last to the first: finished ones may have been removed already, so the last known one tells the progress.
  for (int i = inits.size() - 1; i >= 0; --i) {
    const core::Container& c = inits[i];
    const bool sidecar = IsSidecar(c);
    const ContainerState* s = state.Find(c.name());
    if (s == nullptr) {
      if (previously && sidecar) out->init_to_start.push_back(i);
      continue;
    }
    if (previously && !sidecar) continue;

    switch (s->state) {
      case State::kCreated: out->init_to_start.push_back(i); break;  // its start failed
      case State::kRunning: {
        if (!sidecar) break;
        if (c.has_startupprobe()) {
          ProbeResult startup = probes(ProbeKind::kStartup, s->id);
          if (startup == ProbeResult::kFailure) {
            out->to_kill.push_back({s->id, c.name(), absl::StrCat("Init container ", c.name(), " failed startup probe"),
                                    KillReason::kStartupProbe});
            out->init_to_start.push_back(i);
          }
          if (startup != ProbeResult::kSuccess) break;
        }
        if (i == inits.size() - 1) {
          initialized = true;
        } else if (!previously) {
          out->init_to_start.push_back(i + 1);
        }
        if (s->hash != 0 && s->hash != HashContainer(c)) {
          out->to_kill.push_back(
              {s->id, c.name(), absl::StrCat("Init container ", c.name(), " definition changed"), KillReason::kOther});
          out->init_to_start.push_back(i);
        } else if (c.has_livenessprobe() && probes(ProbeKind::kLiveness, s->id) == ProbeResult::kFailure) {
          out->to_kill.push_back({s->id, c.name(), absl::StrCat("Init container ", c.name(), " failed liveness probe"),
                                  KillReason::kLivenessProbe});
          out->init_to_start.push_back(i);
        }
        break;
      }
      case State::kExited: {
        if (sidecar) {
          out->init_to_start.push_back(i);
        } else if (InitFailed(*s)) {
          if (!ShouldBeStarted(pod, c, state)) {
            out->kill_pod = true;
            out->init_to_start.clear();
            return false;
          }
          out->init_to_start.push_back(i);
        } else if (i == inits.size() - 1) {
          initialized = true;
        } else {
          out->init_to_start.push_back(i + 1);
        }
        break;
      }
      case State::kUnknown: {
        if (!sidecar && !RestartsAfterKill(pod, c)) {
          out->kill_pod = true;
          out->init_to_start.clear();
          return false;
        }
        out->to_kill.push_back({s->id, c.name(),
                                "Init container is in \"unknown\" state, try killing it before restart",
                                KillReason::kUnknown});
        out->init_to_start.push_back(i);
        break;
      }
    }
    previously = true;
  }
  if (!previously) out->init_to_start.push_back(0);
  std::reverse(out->init_to_start.begin(), out->init_to_start.end());
  return initialized;
}

// A start that came late, after another container had taken the place, is undone: one of a name runs.
void KillSuperseded(const Pod& pod, const PodState& state, PodActions* out) {
  for (const auto& c : state.containers) {
    if (c.state != State::kRunning || state.Find(c.name) == &c || FindContainer(pod, c.name) == nullptr) continue;
    out->to_kill.push_back(
        {c.id, c.name, absl::StrCat("Container ", c.name, " was replaced by a newer one"), KillReason::kOther});
  }
}

}  // namespace

SandboxChange CheckSandbox(const Pod& pod, const PodState& state) {
  if (state.sandboxes.empty()) return {true, 0, ""};
  const SandboxState& newest = state.sandboxes.front();
  auto ready = std::count_if(state.sandboxes.begin(), state.sandboxes.end(), [](const auto& s) { return s.ready; });
  if (ready > 1 || !newest.ready) return {true, newest.attempt + 1, newest.id};
  if (newest.host_network != IsHostNetwork(pod)) return {true, newest.attempt + 1, ""};
  if (!IsHostNetwork(pod) && newest.has_network_status && newest.ips.empty()) {
    return {true, newest.attempt + 1, newest.id};
  }
  return {false, newest.attempt, newest.id};
}

bool ShouldBeStarted(const Pod& pod, const core::Container& container, const PodState& state) {
  if (pod.metadata().has_deletiontimestamp()) return false;
  const ContainerState* s = state.Find(container.name());
  if (s == nullptr) return true;
  switch (s->state) {
    case State::kRunning: return false;
    case State::kCreated:
    case State::kUnknown: return true;
    case State::kExited: return ShouldRestart(pod, container, s->exit_code);
  }
  return false;
}

bool AnyMainContainerCreated(const Pod& pod, const PodState& state) {
  for (const auto& c : pod.spec().containers()) {
    const ContainerState* s = state.Find(c.name());
    if (s != nullptr && s->state != State::kUnknown) return true;
  }
  return false;
}

bool ShouldRestartAll(const Pod& pod, const PodState* state, const core::PodStatus* status) {
  if (status != nullptr) {
    const auto* c = FindCondition(*status, "AllContainersRestarting");
    if (c != nullptr && c->status() == "True") return true;
  }
  if (!MayRestartAll(pod)) return false;
  for (const auto* list : {&pod.spec().initcontainers(), &pod.spec().containers()}) {
    for (const auto& c : *list) {
      if (state != nullptr) {
        const ContainerState* s = state->Find(c.name());
        if (s == nullptr || s->state != State::kExited) continue;
        if (RestartsAll(c, s->exit_code)) return true;
      }
      if (status != nullptr) {
        const auto* s = FindStatus(*status, c.name());
        if (s != nullptr && s->state().has_terminated() && RestartsAll(c, s->state().terminated().exitcode())) {
          return true;
        }
      }
    }
  }
  return false;
}

bool AllContainersRemoved(const Pod& pod, const PodState& state) {
  for (const auto* list : {&pod.spec().initcontainers(), &pod.spec().containers()}) {
    for (const auto& c : *list) {
      if (state.Find(c.name()) != nullptr) return false;
    }
  }
  return true;
}

PodActions ComputeActions(const Pod& pod, const PodState& state, const ProbeResults& probes, bool restart_all) {
  PodActions out;
  SandboxChange sandbox = CheckSandbox(pod, state);
  out.kill_pod = out.create_sandbox = sandbox.needed;
  out.attempt = sandbox.attempt;
  out.sandbox_id = sandbox.id;
  if (restart_all) {
    out.kill_pod = out.create_sandbox = false;
    std::vector<PodActions::Reset> last;
    auto reset = [&](const auto& containers, std::vector<PodActions::Reset>* sources) {
      for (const auto& c : containers) {
        for (const auto& s : state.containers) {
          if (s.name != c.name()) continue;
          const bool exited = s.state == State::kExited;
          auto* to = exited && RestartsAll(c, s.exit_code) ? sources : &out.to_reset;
          to->push_back({s.id, c.name(), !exited});
        }
      }
    };
    std::vector<PodActions::Reset> init_last;
    reset(pod.spec().containers(), &last);
    reset(pod.spec().initcontainers(), &init_last);
    out.to_reset.insert(out.to_reset.end(), last.begin(), last.end());
    out.to_reset.insert(out.to_reset.end(), init_last.begin(), init_last.end());
    return out;
  }

  if (sandbox.needed) {
    // A pod that may not run again, and that has run: end it, do not build it anew.
    if (pod.spec().restartpolicy() == "Never" && sandbox.attempt != 0 && !state.containers.empty()) {
      out.create_sandbox = false;
      return out;
    }
    std::vector<int> start;
    for (int i = 0; i < pod.spec().containers_size(); ++i) {
      const auto& c = pod.spec().containers(i);
      const ContainerState* s = state.Find(c.name());
      if (RunOnce(pod, c) && s != nullptr && !Failed(*s)) continue;
      start.push_back(i);
    }
    if (start.empty() && AnyMainContainerCreated(pod, state)) {
      out.create_sandbox = false;
      return out;
    }
    if (pod.spec().initcontainers_size() > 0) {
      out.init_to_start = {0};
    } else {
      out.to_start = std::move(start);
    }
    return out;
  }

  for (int i = 0; i < pod.spec().ephemeralcontainers_size(); ++i) {
    const ContainerState* s = state.Find(pod.spec().ephemeralcontainers(i).ephemeralcontainercommon().name());
    if (s == nullptr || (s->state == State::kCreated && state.IsActive(*s))) out.ephemeral_to_start.push_back(i);
  }
  KillSuperseded(pod, state, &out);
  if (!ComputeInitActions(pod, state, probes, &out) || out.kill_pod) return out;

  int keep = 0;
  for (int i = 0; i < pod.spec().containers_size(); ++i) {
    const auto& c = pod.spec().containers(i);
    const ContainerState* s = state.Find(c.name());
    if (s == nullptr || s->state != State::kRunning) {
      if (ShouldBeStarted(pod, c, state)) {
        out.to_start.push_back(i);
        if (s != nullptr && s->state == State::kUnknown) {
          out.to_kill.push_back({s->id, c.name(), "Container is in \"unknown\" state, try killing it before restart",
                                 KillReason::kUnknown});
        }
      }
      continue;
    }
    PodActions::Kill kill{s->id, c.name(), "", KillReason::kOther};
    bool restart = RestartsAfterKill(pod, c);
    if (s->hash != 0 && s->hash != HashContainer(c)) {
      kill.message = absl::StrCat("Container ", c.name(), " definition changed");
      restart = true;
    } else if (probes(ProbeKind::kLiveness, s->id) == ProbeResult::kFailure) {
      kill.message = absl::StrCat("Container ", c.name(), " failed liveness probe");
      kill.reason = KillReason::kLivenessProbe;
    } else if (probes(ProbeKind::kStartup, s->id) == ProbeResult::kFailure) {
      kill.message = absl::StrCat("Container ", c.name(), " failed startup probe");
      kill.reason = KillReason::kStartupProbe;
    } else {
      ++keep;
      continue;
    }
    if (restart) {
      kill.message += ", will be restarted";
      out.to_start.push_back(i);
    }
    out.to_kill.push_back(std::move(kill));
  }
  if (keep == 0 && out.to_start.empty()) {
    out.kill_pod = true;
    out.init_to_start.clear();  // sidecars do not keep a pod alive
  }
  return out;
}

}  // namespace skiff::kubelet
