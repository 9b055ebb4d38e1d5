// The resize subresource: processor time and memory of containers and of the pod, and nothing else.
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/pod_resources.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
using Containers = google::protobuf::RepeatedPtrField<core::Container>;

bool Removed(const Amounts& now, const Amounts& before) {
  for (const auto& [name, quantity] : before)
    if (!now.contains(name)) return true;
  return false;
}

// Gives `to` the processor time and the memory of `from`.
void TakeResources(const core::ResourceRequirements& from, core::ResourceRequirements* to) {
  const auto take = [](const Amounts& source, Amounts* target) {
    for (const char* name : {"cpu", "memory"}) {
      target->erase(name);
      if (const auto it = source.find(name); it != source.end()) (*target)[name] = it->second;
    }
  };
  take(from.requests(), to->mutable_requests());
  take(from.limits(), to->mutable_limits());
}

bool HasPodResources(const core::PodSpec& spec) {
  return !spec.resources().requests().empty() || !spec.resources().limits().empty();
}

// Does `now` differ in nothing but what a resize may change? Makes it equal to `before` in that.
void ValidatePodLevel(const core::PodSpec& before, const Path& spec, core::PodSpec* now, FieldErrors* errors) {
  const Path path = spec.Child("resources");
  if (before.has_resources() && !now->has_resources())
    return errors->Forbidden(path, "pod-level resources cannot be removed");
  if (Removed(now->resources().requests(), before.resources().requests()))
    errors->Forbidden(path.Child("requests"), "pod-level resource requests cannot be removed");
  if (Removed(now->resources().limits(), before.resources().limits()))
    errors->Forbidden(path.Child("limits"), "pod-level resource limits cannot be removed");
  TakeResources(before.resources(), now->mutable_resources());
  if (!Equal(now->resources(), before.resources()))
    errors->Forbidden(spec, "only cpu and memory resources are mutable at pod-level");
  else if (!before.has_resources())
    now->clear_resources();
}

bool ValidateOrder(const Containers& now, const Containers& before, std::string_view list, const Path& spec,
                   FieldErrors* errors) {
  const Path path = spec.Child(list);
  if (now.size() != before.size()) {
    errors->Forbidden(path, absl::StrCat(list, " may not be added or removed on resize"));
    return false;
  }
  bool same = true;
  for (int i = 0; i < now.size(); ++i) {
    if (now[i].name() == before[i].name()) continue;
    const Path at = path.Index(i);
    errors->Forbidden(at.Child("name"), absl::StrCat(list, " may not be renamed or reordered on resize"));
    same = false;
  }
  return same;
}

void ValidateRemovals(const Containers& now, const Containers& before, const Path& path, FieldErrors* errors) {
  for (int i = 0; i < before.size(); ++i) {
    const Path at = path.Index(i);
    const Path resources = at.Child("resources");
    if (Removed(now[i].resources().requests(), before[i].resources().requests()))
      errors->Forbidden(resources.Child("requests"), "resource requests cannot be removed");
    if (Removed(now[i].resources().limits(), before[i].resources().limits()))
      errors->Forbidden(resources.Child("limits"), "resource limits cannot be removed");
  }
}

// A node that resizes says what its containers have.
bool NodeCanResize(const core::Pod& pod) {
  for (const core::ContainerStatus& status : pod.status().containerstatuses())
    if (status.state().has_running()) return status.has_resources();
  return true;
}

}  // namespace

void ValidatePodResize(const core::Pod& pod, const core::Pod& old, FieldErrors* errors) {
  const Path none(""), spec("spec");
  if (old.metadata().annotations().contains(kMirrorAnnotation))
    return errors->Forbidden(none, "static pods cannot be resized");
  if (old.spec().os().name() == "windows") return errors->Forbidden(none, "windows pods cannot be resized");
  ValidatePodContent(pod, &old, errors);
  const std::string_view qos = old.status().qosclass().empty() ? QosClassOf(old.spec()) : old.status().qosclass();
  if (qos != QosClassOf(pod.spec()))
    errors->Invalid(spec, pod.status().qosclass(), "Pod QOS Class may not change as a result of resizing");
  if (!NodeCanResize(old)) errors->Forbidden(spec, "Pod running on node without support for resize");

  core::PodSpec now = pod.spec();
  const core::PodSpec& before = old.spec();
  if (HasPodResources(now) || HasPodResources(before)) ValidatePodLevel(before, spec, &now, errors);
  if (!old.status().nodeallocatableresourceclaimstatuses().empty())
    errors->Forbidden(spec, "pods with node allocatable resource claims cannot be resized");

  const bool same = ValidateOrder(now.containers(), before.containers(), "containers", spec, errors);
  if (!ValidateOrder(now.initcontainers(), before.initcontainers(), "initContainers", spec, errors) || !same) return;
  const Path inits = spec.Child("initContainers");
  ValidateRemovals(now.initcontainers(), before.initcontainers(), inits, errors);
  ValidateRemovals(now.containers(), before.containers(), spec.Child("containers"), errors);

  for (int i = 0; i < now.containers_size(); ++i) {
    core::Container* container = now.mutable_containers(i);
    TakeResources(before.containers(i).resources(), container->mutable_resources());
    if (!Equal(*container, before.containers(i))) errors->Forbidden(spec, "only cpu and memory resources are mutable");
  }
  for (int i = 0; i < now.initcontainers_size(); ++i) {
    core::Container* container = now.mutable_initcontainers(i);
    const bool changed = !Equal(*container, before.initcontainers(i));
    const Path at = inits.Index(i);
    TakeResources(before.initcontainers(i).resources(), container->mutable_resources());
    if (!Equal(*container, before.initcontainers(i)))
      errors->Forbidden(at, "only cpu and memory resources for init or sidecar containers are mutable");
    if (!changed || container->restartpolicy() == "Always") continue;
    for (const core::ContainerResizePolicy& policy : container->resizepolicy())
      if (policy.restartpolicy() == "RestartContainer")
        errors->Forbidden(at, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
  }
  if (errors->ok() && !Equal(now, before)) errors->Forbidden(spec, "only cpu and memory resources are mutable");
}

}  // namespace skiff::api::internal
