#include "kubelet/pod/resize.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "kubelet/resources/pod_resources.h"

namespace skiff::kubelet {
namespace {

using State = ContainerState::State;

// What the runtime is told of a container: bytes and milli-CPUs; a limit of the pod holds where there is no own one.
struct Amounts {
  int64_t memory_limit = 0, memory_request = 0, cpu_limit = 0, cpu_request = 0;
  bool operator==(const Amounts&) const = default;
};

Amounts AmountsOf(const Pod& pod, const core::Container& c) {
  const core::ResourceRequirements r = WithPodLimits(pod, c);
  return {Get(r.limits(), "memory").Value(), Get(r.requests(), "memory").Value(), Get(r.limits(), "cpu").MilliValue(),
          Get(r.requests(), "cpu").MilliValue()};
}

bool RestartsFor(const core::Container& c, std::string_view resource) {
  for (const auto& policy : c.resizepolicy()) {
    if (policy.resourcename() == resource) return policy.restartpolicy() == "RestartContainer";
  }
  return false;
}

// The newest container of that name, if it runs.
const ContainerState* Running(const PodState& state, const std::string& name) {
  const ContainerState* s = state.Find(name);
  return s != nullptr && s->state == State::kRunning ? s : nullptr;
}

// The runtime tells that the container has that size already. (Of memory requests it knows nothing.)
bool Enforced(const ContainerState& c, const Amounts& to) {
  if (!c.resources) return false;
  const auto& r = *c.resources;
  const int64_t cpu = r.cpu_quota > 0 && r.cpu_period > 0 ? r.cpu_quota * 1000 / r.cpu_period : 0;
  return r.memory_limit == to.memory_limit && cpu == to.cpu_limit && r.cpu_shares == MilliCpuToShares(to.cpu_request);
}

bool SameCpuAndMemory(const core::ResourceRequirements& a, const core::ResourceRequirements& b) {
  for (const char* name : {"cpu", "memory"}) {
    if (Get(a.requests(), name) != Get(b.requests(), name) || Get(a.limits(), name) != Get(b.limits(), name)) {
      return false;
    }
  }
  return true;
}

void Raise(const core::ResourceRequirements& from, core::ResourceRequirements* to) {
  for (const char* name : {"cpu", "memory"}) {
    for (bool limits : {false, true}) {
      const ResourceList& theirs = limits ? from.limits() : from.requests();
      ResourceList& ours = limits ? *to->mutable_limits() : *to->mutable_requests();
      if (limits && (!theirs.contains(name) || !ours.contains(name))) {
        ours.erase(name);  // no limit is the highest one
      } else if (theirs.contains(name) && Get(theirs, name) > Get(ours, name)) {
        ours[name] = theirs.at(name);
      }
    }
  }
}

// Pod-level resources are recorded when the first container starts: before that the pod's cgroup has what was granted.
bool PodLevelDiffers(const Pod& allocated, const Pod& actuated, const PodState& state) {
  if (!allocated.spec().has_resources()) return false;
  if (!actuated.spec().has_resources() && !state.AnyRunning()) return false;
  return !SameCpuAndMemory(allocated.spec().resources(), actuated.spec().resources());
}

}  // namespace

core::ResourceRequirements WithPodLimits(const Pod& pod, const core::Container& c) {
  core::ResourceRequirements out = c.resources();
  for (const char* name : {"cpu", "memory"}) {
    const ResourceList& limits = pod.spec().resources().limits();
    if (Get(out.limits(), name).IsZero() && !Get(limits, name).IsZero())
      (*out.mutable_limits())[name] = limits.at(name);
  }
  return out;
}

ResizePlan PlanResize(const Pod& allocated, const Pod& actuated, const PodState& state, PodActions* actions) {
  ResizePlan plan;
  plan.pod = PodLevelDiffers(allocated, actuated, state);
  auto add = [](std::vector<ContainerResize>* list, ContainerResize resize, int64_t to, int64_t from) {
    if (to < from) {
      list->insert(list->begin(), std::move(resize));
    } else {
      list->push_back(std::move(resize));
    }
  };
  auto look = [&](int i, const core::Container& c, const core::Container& now, std::vector<int>* start) {
    const ContainerState* running = Running(state, c.name());
    if (running == nullptr) return;
    if (std::any_of(actions->to_kill.begin(), actions->to_kill.end(),
                    [&](const auto& kill) { return kill.id == running->id; })) {
      return;  // it comes back with the new size
    }
    const Amounts to = AmountsOf(allocated, c), from = AmountsOf(actuated, now);
    if (to == from) return;
    const bool memory = to.memory_limit != from.memory_limit || to.memory_request != from.memory_request;
    const bool cpu = to.cpu_limit != from.cpu_limit || to.cpu_request != from.cpu_request;
    const bool restart = (memory && RestartsFor(c, "memory")) || (cpu && RestartsFor(c, "cpu"));
    if (restart && !(api::Equal(now.resources(), core::ResourceRequirements()) && Enforced(*running, to))) {
      actions->to_kill.push_back({running->id, c.name(),
                                  absl::StrCat("Container ", c.name(), " resize requires restart"),
                                  KillReason::kOther});
      start->push_back(i);
      plan.pod = true;
      return;
    }
    ContainerResize resize{running->id, &c, &now, to.memory_limit, from.memory_limit};
    if (to.memory_limit != from.memory_limit) {
      add(&plan.memory, resize, to.memory_limit, from.memory_limit);
    } else if (memory) {
      add(&plan.memory, resize, to.memory_request, from.memory_request);
    }
    if (to.cpu_limit != from.cpu_limit) {
      add(&plan.cpu, resize, to.cpu_limit, from.cpu_limit);
    } else if (cpu) {
      add(&plan.cpu, resize, to.cpu_request, from.cpu_request);
    }
  };
  for (int i = 0; i < allocated.spec().initcontainers_size(); ++i) {
    look(i, allocated.spec().initcontainers(i), actuated.spec().initcontainers(i), &actions->init_to_start);
  }
  for (int i = 0; i < allocated.spec().containers_size(); ++i) {
    look(i, allocated.spec().containers(i), actuated.spec().containers(i), &actions->to_start);
  }
  return plan;
}

bool ResizeInProgress(const Pod& allocated, const Pod& actuated, const PodState& state) {
  if (PodLevelDiffers(allocated, actuated, state)) return true;
  // The pod's limits are merged on both sides: an earlier kubelet recorded containers without them.
  auto differs = [&](const core::Container& c, const core::Container& now) {
    return Running(state, c.name()) != nullptr &&
           !SameCpuAndMemory(WithPodLimits(allocated, c), WithPodLimits(actuated, now));
  };
  for (int i = 0; i < allocated.spec().initcontainers_size(); ++i) {
    if (differs(allocated.spec().initcontainers(i), actuated.spec().initcontainers(i))) return true;
  }
  for (int i = 0; i < allocated.spec().containers_size(); ++i) {
    if (differs(allocated.spec().containers(i), actuated.spec().containers(i))) return true;
  }
  return false;
}

Pod LargerOf(const Pod& allocated, const Pod& actuated) {
  Pod out = allocated;
  for (int i = 0; i < out.spec().initcontainers_size(); ++i) {
    Raise(actuated.spec().initcontainers(i).resources(),
          out.mutable_spec()->mutable_initcontainers(i)->mutable_resources());
  }
  for (int i = 0; i < out.spec().containers_size(); ++i) {
    Raise(actuated.spec().containers(i).resources(), out.mutable_spec()->mutable_containers(i)->mutable_resources());
  }
  if (out.spec().has_resources() && actuated.spec().has_resources()) {
    Raise(actuated.spec().resources(), out.mutable_spec()->mutable_resources());
  }
  return out;
}

Pod HeldBy(const Pod& allocated, const Pod& actuated, const PodState& state) {
  Pod had = actuated;
  auto take = [&](const auto& granted, auto* list) {
    for (int i = 0; i < granted.size() && i < list->size(); ++i) {
      if (Running(state, granted[i].name()) == nullptr) *list->Mutable(i)->mutable_resources() = granted[i].resources();
    }
  };
  take(allocated.spec().initcontainers(), had.mutable_spec()->mutable_initcontainers());
  take(allocated.spec().containers(), had.mutable_spec()->mutable_containers());
  return LargerOf(allocated, had);
}

std::optional<Pod> RoomToStart(const Pod& allocated, const Pod& actuated, const PodState& state,
                               const std::string& container) {
  const core::Container *to = FindContainer(allocated, container), *from = FindContainer(actuated, container);
  if (to == nullptr || from == nullptr || AmountsOf(allocated, *to) == AmountsOf(actuated, *from)) return std::nullopt;
  return HeldBy(allocated, actuated, state);
}

bool ResizesSwap(const Pod& wanted, const Pod& allocated,
                 const std::function<bool(const Pod&, const core::Container&)>& swaps) {
  auto some = [&](const auto& containers) {
    return std::any_of(containers.begin(), containers.end(), [&](const core::Container& c) {
      const core::Container* now = FindContainer(allocated, c.name());
      return now != nullptr && Get(c.resources().requests(), "memory") != Get(now->resources().requests(), "memory") &&
             !RestartsFor(*now, "memory") && (swaps(wanted, c) || swaps(allocated, *now));
    });
  };
  return some(wanted.spec().containers()) || some(wanted.spec().initcontainers());
}

bool IncreasesRequests(const Pod& allocated, const Pod& wanted) {
  ResourceList before = PodRequests(allocated), now = PodRequests(wanted);
  return Get(now, "memory") > Get(before, "memory") || Get(now, "cpu") > Get(before, "cpu");
}

std::string ResizeMessage(std::string_view prefix, const Pod& pod, int64_t generation, std::string_view error) {
  std::string out = absl::StrCat(prefix, ": {");
  auto add = [&](std::string_view name, const auto& containers) {
    if (containers.empty()) return;
    absl::StrAppend(&out, "\"", name, "\":[");
    bool first = true;
    for (const auto& c : containers) {
      if (!std::exchange(first, false)) out += ',';
      out += "{\"name\":";
      api::AppendJsonString(c.name(), &out);
      out += ",\"resources\":";
      api::AppendJson(c.resources(), nullptr, &out);
      out += '}';
    }
    out += "],";
  };
  add("initContainers", pod.spec().initcontainers());
  add("containers", pod.spec().containers());
  absl::StrAppend(&out, "\"generation\":", generation);
  if (!error.empty()) {
    out += ",\"error\":";
    api::AppendJsonString(error, &out);
  }
  return out + "}";
}

}  // namespace skiff::kubelet
