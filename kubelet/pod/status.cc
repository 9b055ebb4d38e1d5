#include "kubelet/pod/status.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/quantity.h"
#include "api/time.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "kubelet/node/node_addresses.h"
#include "kubelet/pod/actions.h"
#include "kubelet/resources/pod_resources.h"

namespace skiff::kubelet {
namespace {

using State = ContainerState::State;
using Statuses = google::protobuf::RepeatedPtrField<core::ContainerStatus>;
using Containers = google::protobuf::RepeatedPtrField<core::Container>;

constexpr char kStatusUnknown[] = "ContainerStatusUnknown";
constexpr char kRestartingAll[] = "RestartingAllContainers";
constexpr char kNotLocated[] = "The container could not be located when the pod was terminated";

// The runtime's 0 for "never started" shows as 1970, as upstream has it.
void SetTime(int64_t nanos, meta::Time* to) { to->set_seconds(nanos > 0 ? nanos / 1000000000 : 0); }

const core::ContainerStatus* Named(const Statuses& list, std::string_view name) {
  for (const auto& s : list) {
    if (s.name() == name) return &s;
  }
  return nullptr;
}

void AddVolumeMounts(const core::Container& container, bool recursive_supported, core::ContainerStatus* out) {
  for (const auto& mount : container.volumemounts()) {
    auto* v = out->add_volumemounts();
    v->set_name(mount.name());
    v->set_mountpath(mount.mountpath());
    if (!mount.readonly()) continue;
    v->set_readonly(true);
    const std::string& want = mount.recursivereadonly();
    bool on = want == "Enabled" || (want == "IfPossible" && recursive_supported);
    v->set_recursivereadonly(on ? "Enabled" : "Disabled");
  }
}

// What the kernel enforces, where the runtime tells, over what was asked for.
void AddResources(const core::Container& container, const ContainerState& c, const StatusInputs& in,
                  core::ContainerStatus* out) {
  *out->mutable_resources() = container.resources();
  *out->mutable_allocatedresources() = container.resources().requests();
  if (c.state == State::kRunning && in.actual != nullptr) {
    const core::Container* actual = FindContainer(*in.actual, container.name());
    if (actual != nullptr) {
      *out->mutable_resources() = actual->resources();
      auto* limits = out->mutable_resources()->mutable_limits();
      for (const char* name : {"cpu", "memory"}) {
        // One that is recorded and not asked for is the pod's.
        if (!container.resources().limits().contains(name)) limits->erase(name);
      }
    }
  }
  if (c.state != State::kRunning || !c.resources) return;
  auto* resources = out->mutable_resources();
  // As upstream, whoever names one limit is shown both that hold, be the other one the pod's.
  if (container.resources().limits().empty()) return;
  auto set = [](auto* map, const char* name, api::Quantity q) {
    auto it = map->find(name);
    if (it != map->end() && api::Quantity::Of(it->second) == q) return;
    (*map)[name] = q.ToProto();
  };
  if (c.resources->cpu_quota > 0 && c.resources->cpu_period > 0) {
    int64_t milli = c.resources->cpu_quota * 1000 / c.resources->cpu_period;
    auto it = resources->limits().find("cpu");
    bool tiny = it != resources->limits().end() && api::Quantity::Of(it->second).MilliValue() <= 10 && milli <= 10;
    if (!tiny) set(resources->mutable_limits(), "cpu", api::Quantity::Milli(milli));
  }
  if (c.resources->memory_limit > 0) {
    set(resources->mutable_limits(), "memory", api::Quantity::Bytes(c.resources->memory_limit));
  }
  // Requests are kept as asked: shares round them, and that is no difference.
}

core::ContainerStatus Convert(const core::Container& container, const ContainerState& c,
                              const core::ContainerStatus* old, const StatusInputs& in) {
  core::ContainerStatus out;
  std::string id = absl::StrCat(in.runtime_name, "://", c.id);
  out.set_name(c.name);
  out.set_restartcount(c.restart_count);
  out.set_image(c.image);
  out.set_imageid(c.image_ref);
  out.set_containerid(id);
  if (old != nullptr) {
    *out.mutable_volumemounts() = old->volumemounts();
    if (old->restartcount() > out.restartcount()) out.set_restartcount(old->restartcount());
    if (old->containerid() != id && old->state().has_terminated()) {
      *out.mutable_laststate()->mutable_terminated() = old->state().terminated();
    } else if (old->laststate().has_terminated()) {
      *out.mutable_laststate()->mutable_terminated() = old->laststate().terminated();
    }
  }
  if (out.volumemounts_size() == 0) AddVolumeMounts(container, in.recursive_read_only, &out);
  switch (c.state) {
    case State::kRunning:
      SetTime(c.started_at, out.mutable_state()->mutable_running()->mutable_startedat());
      // Removed and made anew, it begins to count again in the runtime.
      if (old != nullptr && old->state().has_terminated() && old->restartcount() >= c.restart_count &&
          old->containerid() != id) {
        out.set_restartcount(old->restartcount() + 1);
      }
      if (old != nullptr && old->has_started()) out.set_started(old->started());
      break;
    case State::kExited: {
      auto* t = out.mutable_state()->mutable_terminated();
      t->set_exitcode(c.exit_code);
      t->set_reason(c.reason);
      t->set_message(c.message);
      SetTime(c.started_at, t->mutable_startedat());
      SetTime(c.finished_at, t->mutable_finishedat());
      t->set_containerid(id);
      break;
    }
    case State::kUnknown:
      if (old != nullptr && old->state().has_running()) {
        auto* t = out.mutable_state()->mutable_terminated();
        t->set_reason(ShouldRestartAll(*in.pod, in.state, in.old_status) ? kRestartingAll : kStatusUnknown);
        t->set_message(kNotLocated);
        t->set_exitcode(137);
        out.set_restartcount(old->restartcount() + 1);
        break;
      }
      [[fallthrough]];
    case State::kCreated: out.mutable_state()->mutable_waiting(); break;
  }
  AddResources(container, c, in, &out);
  if (c.user) {
    auto* user = out.mutable_user()->mutable_linux();
    user->set_uid(c.user->uid);
    user->set_gid(c.user->gid);
    for (int64_t group : c.user->groups) user->add_supplementalgroups(group);
  }
  return out;
}

void ConvertAll(const StatusInputs& in, const Containers& containers, const Statuses& old_list, ContainerKind kind,
                Statuses* result) {
  const Pod& pod = *in.pod;
  const bool has_inits = pod.spec().initcontainers_size() > 0;
  const std::string_view default_reason = has_inits ? "PodInitializing" : "ContainerCreating";
  const bool restarting = ShouldRestartAll(pod, in.state, in.old_status);
  std::vector<core::ContainerStatus> out;
  for (const auto& container : containers) {
    core::ContainerStatus status;
    const core::ContainerStatus* old = Named(old_list, container.name());
    const ContainerState* newest = in.state->Find(container.name());

    if (newest == nullptr && restarting && kind != ContainerKind::kEphemeral && old != nullptr &&
        !old->state().has_waiting()) {
      constexpr char kRemoved[] = "The container is removed because RestartAllContainers in place";
      status.set_name(container.name());
      status.set_image(container.image());
      AddVolumeMounts(container, in.recursive_read_only, &status);
      status.mutable_state()->mutable_waiting()->set_reason(kRestartingAll);
      status.mutable_state()->mutable_waiting()->set_message(kRemoved);
      auto* t = status.mutable_laststate()->mutable_terminated();
      t->set_reason(kRestartingAll);
      t->set_message(kRemoved);
      t->set_exitcode(137);
      status.set_restartcount(old->restartcount() + 1);
    } else if (newest == nullptr) {
      if (old != nullptr && old->state().has_terminated()) {
        status = *old;
      } else {
        status.set_name(container.name());
        status.set_image(container.image());
        status.mutable_state()->mutable_waiting()->set_reason(std::string(default_reason));
        AddVolumeMounts(container, in.recursive_read_only, &status);
        if (old != nullptr) {
          status.set_restartcount(old->restartcount());
          *status.mutable_laststate() = old->laststate();
          // It ran, and is gone without a trace: it has ended, with an exit code that nobody knows.
          if (old->state().has_running() && !status.laststate().has_terminated()) {
            auto* t = status.mutable_laststate()->mutable_terminated();
            t->set_reason(kStatusUnknown);
            t->set_message(
                "The container could not be located when the pod was deleted.  The container used to be Running");
            t->set_exitcode(137);
            if (!pod.metadata().has_deletiontimestamp()) status.set_restartcount(status.restartcount() + 1);
          }
        }
      }
    } else {
      status = Convert(container, *newest, old, in);
      // The one before it is the last state.
      for (const auto& c : in.state->containers) {
        if (c.name != container.name() || &c == newest) continue;
        core::ContainerStatus before = Convert(container, c, old, in);
        *status.mutable_laststate() = before.state();
        break;
      }
    }

    // What should run and does not is waiting, if it is known for what.
    bool skip = false;
    if (kind == ContainerKind::kInit) {
      if (newest != nullptr && newest->state == State::kExited && newest->exit_code == 0) skip = true;
      if (newest == nullptr && AnyMainContainerCreated(pod, *in.state) && !IsSidecar(container) &&
          status.state().has_waiting()) {
        auto* t = status.mutable_state()->mutable_terminated();
        status.mutable_state()->clear_waiting();
        t->set_reason("Completed");
        t->set_message(
            "Unable to get init container status from container runtime and pod has been initialized, treat it as "
            "exited normally");
        t->set_exitcode(0);
        skip = true;
      }
    }
    if (!skip && ShouldBeStarted(pod, container, *in.state) && in.reasons != nullptr) {
      auto it = in.reasons->find(container.name());
      if (it != in.reasons->end()) {
        if (status.state().has_terminated()) {
          *status.mutable_laststate() = status.state();
        }
        status.clear_state();
        auto* waiting = status.mutable_state()->mutable_waiting();
        waiting->set_reason(it->second.reason);
        waiting->set_message(it->second.message);
      }
    }
    out.push_back(std::move(status));
  }
  if (kind != ContainerKind::kInit) {
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name() < b.name(); });
  }
  for (auto& status : out) *result->Add() = std::move(status);
}

std::string NameList(const std::vector<std::string>& names) {
  return absl::StrCat("[", absl::StrJoin(names, " "), "]");
}

core::PodCondition Condition(const Pod& pod, std::string_view type, bool value, std::string_view reason = "",
                             std::string_view message = "") {
  core::PodCondition c;
  c.set_type(std::string(type));
  c.set_status(value ? "True" : "False");
  if (!reason.empty()) c.set_reason(std::string(reason));
  if (!message.empty()) c.set_message(std::string(message));
  if (pod.metadata().generation() != 0) c.set_observedgeneration(pod.metadata().generation());
  return c;
}

core::PodCondition Initialized(const Pod& pod, const core::PodStatus& status, const core::PodStatus& old) {
  std::vector<std::string> unknown, incomplete;
  for (const auto& c : pod.spec().initcontainers()) {
    const auto* s = Named(status.initcontainerstatuses(), c.name());
    if (s == nullptr) {
      unknown.push_back(c.name());
    } else if (IsSidecar(c) ? !s->started() : !s->ready()) {
      incomplete.push_back(c.name());
    }
  }
  if (status.phase() == "Succeeded" && unknown.empty()) return Condition(pod, "Initialized", true, "PodCompleted");
  for (const auto& s : status.containerstatuses()) {
    if (s.state().has_running() || s.state().has_terminated()) return Condition(pod, "Initialized", true);
  }
  std::vector<std::string> messages;
  if (!unknown.empty()) messages.push_back("containers with unknown status: " + NameList(unknown));
  if (!incomplete.empty()) messages.push_back("containers with incomplete status: " + NameList(incomplete));
  if (messages.empty()) return Condition(pod, "Initialized", true);
  if (const auto* before = FindCondition(old, "Initialized"); before != nullptr && before->status() == "True") {
    return Condition(pod, "Initialized", true);
  }
  return Condition(pod, "Initialized", false, "ContainersNotInitialized", absl::StrJoin(messages, ", "));
}

core::PodCondition ContainersReady(const Pod& pod, const core::PodStatus& status, std::string_view type) {
  std::vector<std::string> unknown, unready;
  auto look = [&](const core::Container& c, const Statuses& list) {
    const auto* s = Named(list, c.name());
    if (s == nullptr) {
      unknown.push_back(c.name());
    } else if (!s->ready()) {
      unready.push_back(c.name());
    }
  };
  for (const auto& c : pod.spec().initcontainers()) {
    if (IsSidecar(c)) look(c, status.initcontainerstatuses());
  }
  for (const auto& c : pod.spec().containers()) look(c, status.containerstatuses());
  if (status.phase() == "Succeeded" && unknown.empty()) return Condition(pod, type, false, "PodCompleted");
  if (status.phase() == "Failed") return Condition(pod, type, false, "PodFailed");
  std::vector<std::string> messages;
  if (!unknown.empty()) messages.push_back("containers with unknown status: " + NameList(unknown));
  if (!unready.empty()) messages.push_back("containers with unready status: " + NameList(unready));
  if (messages.empty()) return Condition(pod, type, true);
  return Condition(pod, type, false, "ContainersNotReady", absl::StrJoin(messages, ", "));
}

core::PodCondition Ready(const Pod& pod, const core::PodStatus& status) {
  core::PodCondition ready = ContainersReady(pod, status, "Ready");
  if (ready.status() != "True") return ready;
  std::vector<std::string> messages;
  for (const auto& gate : pod.spec().readinessgates()) {
    const auto* c = FindCondition(status, gate.conditiontype());
    if (c == nullptr) {
      messages.push_back(
          absl::StrCat("corresponding condition of pod readiness gate \"", gate.conditiontype(), "\" does not exist."));
    } else if (c->status() != "True") {
      messages.push_back(absl::StrCat("the status of pod readiness gate \"", gate.conditiontype(),
                                      "\" is not \"True\", but ", c->status()));
    }
  }
  if (messages.empty()) return ready;
  return Condition(pod, "Ready", false, "ReadinessGatesNotReady", absl::StrJoin(messages, ", "));
}

core::PodCondition AllRestarting(const StatusInputs& in, const core::PodStatus& status) {
  core::PodCondition c;
  c.set_type("AllContainersRestarting");
  c.set_status("False");
  if (IsTerminalPhase(status.phase())) {
    c.set_reason(status.phase() == "Failed" ? "PodFailed" : "PodCompleted");
  } else if (ShouldRestartAll(*in.pod, in.state, in.old_status) && !AllContainersRemoved(*in.pod, *in.state)) {
    c.set_status("True");
    c.set_reason("RestartAllContainersStarted");
    c.set_message("container exited with restart policy rule");
  }
  return c;
}

bool OwnedByKubelet(std::string_view type) {
  for (std::string_view own : {"PodScheduled", "Ready", "Initialized", "ContainersReady", "PodReadyToStartContainers",
                               "PodResizePending", "PodResizeInProgress", "AllContainersRestarting"}) {
    if (type == own) return true;
  }
  return false;
}

}  // namespace

std::string_view ComputePhase(const Pod& pod, const core::PodStatus& status, bool terminal, bool started) {
  auto restarts = [&](const core::Container& c, const core::ContainerStateTerminated& end) {
    return ShouldRestart(pod, c, end.exitcode()) || end.reason() == kRestartingAll;
  };
  int pending_init = 0, pending_sidecars = 0, failed_init = 0;
  int unknown = 0, running = 0, waiting = 0, stopped = 0, not_restartable = 0, succeeded = 0;
  for (const auto& c : pod.spec().initcontainers()) {
    const auto* s = Named(status.initcontainerstatuses(), c.name());
    if (IsSidecar(c)) {
      if (s == nullptr) {
        ++unknown;
      } else if (s->state().has_running()) {
        if (!s->started()) ++pending_sidecars;
        ++running;
      } else if (s->state().has_waiting()) {
        if (!s->laststate().has_terminated()) ++pending_sidecars, ++waiting;
      } else if (!s->state().has_terminated()) {
        ++pending_sidecars, ++unknown;
      }
      continue;
    }
    const core::ContainerStateTerminated* end = nullptr;
    if (s != nullptr && s->state().has_terminated()) {
      end = &s->state().terminated();
    } else if (s != nullptr && s->state().has_waiting() && s->laststate().has_terminated()) {
      end = &s->laststate().terminated();
    }
    if (end == nullptr) {
      ++pending_init;
    } else if (end->exitcode() != 0 && !restarts(c, *end)) {
      ++failed_init;
    }
  }
  for (const auto& c : pod.spec().containers()) {
    const auto* s = Named(status.containerstatuses(), c.name());
    if (s == nullptr) {
      ++unknown;
    } else if (s->state().has_running()) {
      ++running;
    } else if (s->state().has_terminated()) {
      ++stopped;
      if (!restarts(c, s->state().terminated())) ++not_restartable;
      if (s->state().terminated().exitcode() == 0) ++succeeded;
    } else if (s->state().has_waiting()) {
      if (s->laststate().has_terminated()) {
        ++stopped;
        if (!restarts(c, s->laststate().terminated())) ++not_restartable;
      } else {
        ++waiting;
      }
    } else {
      ++unknown;
    }
  }
  if (failed_init > 0) return "Failed";
  if (pending_init > 0 || (pending_sidecars > 0 && !started) || waiting > 0) return "Pending";
  if (running > 0 && unknown == 0) return "Running";
  if (running == 0 && stopped > 0 && unknown == 0) {
    if (terminal && !IsStatic(pod)) return stopped == succeeded ? "Succeeded" : "Failed";
    if (stopped != not_restartable) return "Running";
    return stopped == succeeded ? "Succeeded" : "Failed";
  }
  return "Pending";
}

core::PodStatus GenerateStatus(const StatusInputs& in) {
  const Pod& pod = *in.pod;
  const core::PodStatus& old = *in.old_status;
  core::PodStatus s;
  if (pod.metadata().generation() != 0) s.set_observedgeneration(pod.metadata().generation());
  for (const std::string& ip : SortPodIps(in.state->ips, in.prefer_v6)) s.add_podips()->set_ip(ip);
  if (s.podips_size() > 0) s.set_podip(s.podips(0).ip());
  s.set_qosclass(std::string(QosClass(pod)));

  ConvertAll(in, pod.spec().containers(), old.containerstatuses(), ContainerKind::kMain, s.mutable_containerstatuses());
  ConvertAll(in, pod.spec().initcontainers(), old.initcontainerstatuses(), ContainerKind::kInit,
             s.mutable_initcontainerstatuses());
  Containers ephemeral;
  for (const auto& e : pod.spec().ephemeralcontainers()) *ephemeral.Add() = AsContainer(e);
  ConvertAll(in, ephemeral, old.ephemeralcontainerstatuses(), ContainerKind::kEphemeral,
             s.mutable_ephemeralcontainerstatuses());
  if (pod.status().phase() == "Running" && in.cgroup_limits) {
    *s.mutable_resources() = RunningPodResources(pod, old, in.cgroup_limits(pod));
  } else {
    *s.mutable_resources() = PodLevelResources(in.actual != nullptr ? *in.actual : pod);
  }
  *s.mutable_allocatedresources() = PodRequests(pod);

  // `started` of running containers counts for the phase.
  bool started = false;
  for (const auto& c : in.state->containers) {
    for (const auto& m : pod.spec().containers()) started = started || (m.name() == c.name && in.state->IsActive(c));
  }
  s.set_phase(std::string(ComputePhase(pod, s, in.terminal, started)));
  if (!IsTerminalPhase(s.phase())) {
    if (IsTerminalPhase(old.phase())) {
      s.set_phase(old.phase());
    } else if (IsTerminalPhase(pod.status().phase())) {
      s.set_phase(pod.status().phase());
    }
  }
  if (s.phase() == old.phase()) {
    s.set_reason(!old.reason().empty() ? old.reason() : pod.status().reason());
    s.set_message(!old.message().empty() ? old.message() : pod.status().message());
    if (s.reason().empty()) s.clear_reason();
    if (s.message().empty()) s.clear_message();
  }
  auto fail = [&] {
    s.set_phase("Failed");
    s.set_reason(in.failure->reason);
    s.set_message(in.failure->message);
  };
  if (in.failure != nullptr && !in.failure_last) fail();
  if (IsTerminalPhase(pod.status().phase())) s.set_phase(pod.status().phase());  // never left again

  if (in.set_ready) in.set_ready(pod, &s);

  for (const auto& c : pod.status().conditions()) {
    if (!OwnedByKubelet(c.type()) && c.type() != "DisruptionTarget") *s.add_conditions() = c;
  }
  const core::PodCondition* disruption = in.disruption;
  if (disruption == nullptr) disruption = FindCondition(old, "DisruptionTarget");
  if (disruption == nullptr) disruption = FindCondition(pod.status(), "DisruptionTarget");
  if (disruption != nullptr) *s.add_conditions() = *disruption;
  std::vector<core::PodCondition> own = in.resize;
  own.push_back(Condition(pod, "PodReadyToStartContainers", !CheckSandbox(pod, *in.state).needed));
  own.push_back(Initialized(pod, s, old));
  own.push_back(Ready(pod, s));
  own.push_back(ContainersReady(pod, s, "ContainersReady"));
  own.push_back(Condition(pod, "PodScheduled", true));
  if (MayRestartAll(pod)) own.push_back(AllRestarting(in, s));
  for (auto& c : own) *s.add_conditions() = std::move(c);

  if (!in.host_ips.empty()) {
    s.set_hostip(in.host_ips.front());
    for (const std::string& ip : in.host_ips) s.add_hostips()->set_ip(ip);
    if (IsHostNetwork(pod) && s.podip().empty()) {
      s.set_podip(in.host_ips.front());
      for (const std::string& ip : in.host_ips) s.add_podips()->set_ip(ip);
    }
  }
  if (in.failure != nullptr && in.failure_last) fail();
  return s;
}

namespace {

core::ContainerStatus* Running(std::string_view container, core::PodStatus* status) {
  for (auto* list : {status->mutable_initcontainerstatuses(), status->mutable_containerstatuses()}) {
    for (auto& s : *list) {
      if (s.name() == container && s.state().has_running()) return &s;
    }
  }
  return nullptr;
}

void SetCondition(core::PodCondition condition, core::PodStatus* status) {
  for (auto& c : *status->mutable_conditions()) {
    if (c.type() != condition.type()) continue;
    c = std::move(condition);
    return;
  }
  *status->add_conditions() = std::move(condition);
}

}  // namespace

bool ApplyReadiness(const Pod& pod, std::string_view container, bool ready, core::PodStatus* status) {
  core::ContainerStatus* s = Running(container, status);
  if (s == nullptr || s->ready() == ready) return false;
  s->set_ready(ready);
  SetCondition(Ready(pod, *status), status);
  SetCondition(ContainersReady(pod, *status, "ContainersReady"), status);
  return true;
}

bool ApplyStarted(std::string_view container, bool started, core::PodStatus* status) {
  core::ContainerStatus* s = Running(container, status);
  if (s == nullptr || (s->has_started() && s->started() == started)) return false;
  s->set_started(started);
  return true;
}

void MarkSandboxReady(const Pod& pod, core::PodStatus* status) {
  SetCondition(Condition(pod, "PodReadyToStartContainers", true), status);
}

void CarryOver(const Pod& pod, const core::PodStatus& before, WallTime now, core::PodStatus* status) {
  for (auto& c : *status->mutable_conditions()) {
    const auto* old = FindCondition(before, c.type());
    if (old != nullptr && old->status() == c.status() && old->has_lasttransitiontime()) {
      *c.mutable_lasttransitiontime() = old->lasttransitiontime();
    } else if (!c.has_lasttransitiontime() || OwnedByKubelet(c.type())) {
      *c.mutable_lasttransitiontime() = api::ToTime(now);
      c.mutable_lasttransitiontime()->clear_nanos();
    }
  }
  if (before.has_starttime() && before.starttime().seconds() != 0) {
    *status->mutable_starttime() = before.starttime();
  } else if (pod.status().has_starttime() && pod.status().starttime().seconds() != 0) {
    *status->mutable_starttime() = pod.status().starttime();
  } else if (!status->has_starttime()) {
    *status->mutable_starttime() = api::ToTime(now);
    status->mutable_starttime()->clear_nanos();
  }
  // A pod whose sandbox is gone keeps the address it had.
  if (status->podip().empty() && !before.podip().empty()) {
    status->set_podip(before.podip());
    *status->mutable_podips() = before.podips();
  }
}

void Finalize(const Pod& pod, core::PodStatus* status) {
  auto end = [](core::ContainerStatus* s) {
    if (s->state().has_terminated()) return;
    s->clear_state();
    auto* t = s->mutable_state()->mutable_terminated();
    t->set_reason(kStatusUnknown);
    t->set_message(kNotLocated);
    t->set_exitcode(137);
  };
  // Containers that never had their turn keep waiting: main ones before initialization, init ones after the first that
  // did not complete.
  bool initialized = true;
  int began = 0;
  for (int i = 0; i < status->initcontainerstatuses_size(); ++i) {
    auto& s = *status->mutable_initcontainerstatuses(i);
    bool started = s.state().has_terminated() || s.state().has_running() || s.laststate().has_terminated();
    if (started) began = i + 1;
    const core::Container* c = FindContainer(pod, s.name());
    bool sidecar = c != nullptr && IsSidecar(*c);
    if (sidecar ? !s.started() : !(s.state().has_terminated() && s.state().terminated().exitcode() == 0)) {
      initialized = false;
    }
  }
  for (const auto& s : status->containerstatuses()) {
    if (s.state().has_running() || s.state().has_terminated() || s.laststate().has_terminated()) initialized = true;
  }
  if (initialized) {
    for (auto& s : *status->mutable_containerstatuses()) end(&s);
    began = status->initcontainerstatuses_size();
  }
  if (began == 0 && status->initcontainerstatuses_size() > 0) began = 1;
  for (int i = 0; i < began; ++i) end(status->mutable_initcontainerstatuses(i));
  if (!IsStatic(pod) && !IsTerminalPhase(status->phase())) status->set_phase("Failed");
}

std::string Fingerprint(const core::PodStatus& status) {
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    status.SerializePartialToCodedStream(&coded);
  }
  return out;
}

}  // namespace skiff::kubelet
