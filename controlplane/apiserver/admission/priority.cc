#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/scheduling/v1/generated.pb.h"

namespace skiff::controlplane {

namespace core = ::k8s::io::api::core::v1;
namespace scheduling = ::k8s::io::api::scheduling::v1;

Status PriorityAdmission(const Admission& admission, const Attributes& attributes) {
  if (attributes.operation != Operation::kCreate || !attributes.object || !attributes.subresource.empty())
    return absl::OkStatus();
  core::Pod* pod = attributes.object->As<core::Pod>();
  if (!pod) return absl::OkStatus();
  const api::About about = attributes.kind.About(attributes.name);
  core::PodSpec& spec = *pod->mutable_spec();
  int32_t priority = 0;
  std::string policy = "PreemptLowerPriority";
  std::shared_ptr<const scheduling::PriorityClass> found;
  if (!spec.priorityclassname().empty()) {
    found =
        admission.Find<scheduling::PriorityClass>("priorityclasses", "", spec.priorityclassname(), "scheduling.k8s.io");
    if (!found)
      return api::ForbiddenError(about,
                                 absl::StrCat("no PriorityClass with name ", spec.priorityclassname(), " was found"));
  } else {
    // The class that says it is the default for all; of several, the lowest.
    const Kind* kind = admission.kinds().Find("scheduling.k8s.io", "v1", "priorityclasses");
    admission.store().PeekPrefix(kind->prefix, [&](const std::string& key, const ValuePtr& value) {
      auto object = kind->Decode(key, *value);
      if (!object.ok()) return true;
      const auto* candidate = object->As<scheduling::PriorityClass>();
      if (candidate->globaldefault() && (!found || candidate->value() < found->value()))
        found = std::make_shared<const scheduling::PriorityClass>(*candidate);
      return true;
    });
    if (found) spec.set_priorityclassname(found->metadata().name());
  }
  if (found) {
    priority = found->value();
    if (!found->preemptionpolicy().empty()) policy = found->preemptionpolicy();
  }
  if (spec.has_priority() && spec.priority() != priority)
    return api::ForbiddenError(
        about, absl::StrCat("the integer value of priority (", spec.priority(),
                            ") must not be provided in pod spec; priority admission controller computed ", priority,
                            " from the given PriorityClass name"));
  if (spec.has_preemptionpolicy() && spec.preemptionpolicy() != policy)
    return api::ForbiddenError(
        about, absl::StrCat("the string value of PreemptionPolicy (", spec.preemptionpolicy(),
                            ") must not be provided in pod spec; priority admission controller computed ", policy,
                            " from the given PriorityClass name"));
  spec.set_priority(priority);
  spec.set_preemptionpolicy(policy);
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
