// Changes the resources of containers while they run: the pod's cgroup grows before its containers and shrinks after
// them, memory and CPU each on their own, decreases before increases. What fails is tried again with the next sync.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "base/log.h"
#include "kubelet/pod/resize.h"
#include "kubelet/runtime/pod_runtime.h"

namespace skiff::kubelet {
namespace {

// `base` with one resource of `from`.
core::ResourceRequirements Mixed(const core::ResourceRequirements& base, const core::ResourceRequirements& from,
                                 const std::string& name) {
  core::ResourceRequirements out = base;
  auto take = [&](const ResourceList& source, ResourceList* to) {
    auto it = source.find(name);
    if (it == source.end()) {
      to->erase(name);
    } else {
      (*to)[name] = it->second;
    }
  };
  take(from.limits(), out.mutable_limits());
  take(from.requests(), out.mutable_requests());
  return out;
}

}  // namespace

// A limit below what is in use would make the kernel kill: refused before anything is changed. The pod's limit is the
// one of its cgroup; where a container has none of its own the pod's is its limit.
Task<Status> PodRuntime::CheckMemoryDecreases(PodPtr pod, const ResizePlan& plan) {
  if (plan.memory.empty() && !plan.pod) co_return absl::OkStatus();
  std::vector<std::string> problems;
  const auto want = PodCgroupResources(*pod, options_.node.cfs_quota, options_.node.cfs_period_micros, -1);
  const auto has = hooks_.pod_memory && want.memory_limit.value_or(0) > 0 ? hooks_.pod_memory(*pod) : std::nullopt;
  if (has && (!has->limit || *want.memory_limit < *has->limit)) {
    if (!has->usage) {
      problems.emplace_back("missing pod memory usage");
    } else if (*has->usage >= *want.memory_limit) {
      problems.push_back(absl::StrCat("attempting to set pod memory limit (", *want.memory_limit,
                                      ") below current usage (", *has->usage, ")"));
    }
  }
  for (const ContainerResize& resize : plan.memory) {
    const int64_t to = resize.memory_limit, from = resize.memory_limit_before;
    if (to == 0 || (from != 0 && to >= from)) continue;
    cri_v1::ContainerStatsRequest request;
    request.set_container_id(resize.id);
    auto answer = co_await runtime_.ContainerStats(std::move(request), {.timeout = options_.request_timeout});
    if (!answer.ok()) co_return Annotate(answer.status(), "cannot decrease memory limits: unable to read memory usage");
    const auto& memory = answer->stats().memory();
    const uint64_t used = memory.has_usage_bytes() ? memory.usage_bytes().value() : memory.working_set_bytes().value();
    if (used >= static_cast<uint64_t>(to)) {
      problems.push_back(absl::StrCat("attempting to set container \"", resize.to->name(), "\" memory limit (", to,
                                      ") below current usage (", used, ")"));
    }
  }
  if (problems.empty()) co_return absl::OkStatus();
  std::string text = absl::StrJoin(problems, ", ");
  if (problems.size() > 1) text = absl::StrCat("[", text, "]");
  co_return FailedPrecondition("cannot decrease memory limits: ", text);
}

// The runtime hears of it first: one that sizes a virtual machine by it may refuse. Most know nothing of the call;
// containerd 2.2 says so with another code.
Task<Status> PodRuntime::ResizePodCgroup(Pod to, std::string sandbox_id) {
  cri_v1::UpdatePodSandboxResourcesRequest request;
  SetSandboxUpdate(to, options_.node, request.mutable_resources(), request.mutable_overhead());
  request.set_pod_sandbox_id(std::move(sandbox_id));
  const Status told =
      (co_await runtime_.UpdatePodSandboxResources(std::move(request), {.timeout = options_.request_timeout})).status();
  const bool unknown_call =
      absl::IsUnimplemented(told) || (absl::IsUnknown(told) && absl::StrContains(told.message(), "not implemented"));
  if (!unknown_call) CO_RETURN_IF_ERROR(told, "the runtime refuses the pod's resize");
  if (!hooks_.update_pod_cgroup) co_return absl::OkStatus();
  co_return Annotate(co_await hooks_.update_pod_cgroup(std::move(to)), "failed to set pod cgroup config");
}

Task<Status> PodRuntime::Resize(PodPtr pod, std::string sandbox_id, ResizePlan plan) {
  // What is not recorded asks for no room beside what was granted.
  const PodPtr had = hooks_.actuated ? hooks_.actuated(*pod) : nullptr;
  CO_RETURN_IF_ERROR(co_await ResizePodCgroup(had == nullptr ? *pod : LargerOf(*pod, *had), sandbox_id));
  std::map<std::string, core::ResourceRequirements> now;  // by container, as far as the change has come
  for (const char* name : {"memory", "cpu"}) {
    for (const ContainerResize& resize : std::string_view(name) == "memory" ? plan.memory : plan.cpu) {
      // Of one whose size is not known nothing can be left as it is: it gets all at once.
      const bool known = !api::Equal(resize.from->resources(), core::ResourceRequirements());
      core::Container container = *resize.to;
      *container.mutable_resources() = WithPodLimits(*pod, *resize.to);
      auto [it, added] = now.emplace(container.name(), known ? resize.from->resources() : container.resources());
      *container.mutable_resources() = Mixed(it->second, core::ResourceRequirements(container.resources()), name);
      cri_v1::UpdateContainerResourcesRequest request;
      request.set_container_id(resize.id);
      *request.mutable_linux() = ContainerResources(*pod, container, options_.node);
      auto answer =
          co_await runtime_.UpdateContainerResources(std::move(request), {.timeout = options_.request_timeout});
      if (!answer.ok()) co_return answer.status();
      it->second = container.resources();
      if (hooks_.container_resized) hooks_.container_resized(pod->metadata().uid(), container.name(), it->second);
    }
  }
  // What is told in other terms than cpu and memory, or by no more than an absent value, is the same to the runtime.
  for (const auto& [name, resources] : now) {
    const core::Container* to = FindContainer(*pod, name);
    if (to != nullptr && hooks_.container_resized) {
      hooks_.container_resized(pod->metadata().uid(), name, WithPodLimits(*pod, *to));
    }
  }
  CO_RETURN_IF_ERROR(co_await ResizePodCgroup(*pod, std::move(sandbox_id)));
  if (hooks_.pod_resized) hooks_.pod_resized(*pod);
  co_return absl::OkStatus();
}

}  // namespace skiff::kubelet
