// Small rules: pods tolerate node trouble for five minutes, new nodes start tainted, runtime classes must exist.
#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/node/v1/generated.pb.h"

namespace skiff::controlplane {

namespace core = ::k8s::io::api::core::v1;
namespace node_api = ::k8s::io::api::node::v1;

Status DefaultTolerations(const Attributes& attributes) {
  if (!attributes.object || !attributes.subresource.empty()) return absl::OkStatus();
  core::Pod* pod = attributes.object->As<core::Pod>();
  if (!pod || attributes.operation != Operation::kCreate) return absl::OkStatus();
  for (const char* key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    bool tolerated = false;
    for (const core::Toleration& toleration : pod->spec().tolerations())
      if ((toleration.key() == key || toleration.key().empty()) &&
          (toleration.effect() == "NoExecute" || toleration.effect().empty()))
        tolerated = true;
    if (tolerated) continue;
    core::Toleration* added = pod->mutable_spec()->add_tolerations();
    added->set_key(key);
    added->set_operator_("Exists");
    added->set_effect("NoExecute");
    added->set_tolerationseconds(300);
  }
  return absl::OkStatus();
}

Status TaintNewNodes(const Attributes& attributes) {
  if (!attributes.object || attributes.operation != Operation::kCreate) return absl::OkStatus();
  core::Node* node = attributes.object->As<core::Node>();
  if (!node) return absl::OkStatus();
  for (const core::Taint& taint : node->spec().taints())
    if (taint.key() == "node.kubernetes.io/not-ready" && taint.effect() == "NoSchedule") return absl::OkStatus();
  core::Taint* taint = node->mutable_spec()->add_taints();
  taint->set_key("node.kubernetes.io/not-ready");
  taint->set_effect("NoSchedule");
  return absl::OkStatus();
}

Status RuntimeClassAdmission(const Admission& admission, const Attributes& attributes) {
  if (!attributes.object || attributes.operation != Operation::kCreate || !attributes.subresource.empty())
    return absl::OkStatus();
  core::Pod* pod = attributes.object->As<core::Pod>();
  if (!pod) return absl::OkStatus();
  const api::About about = attributes.kind.About(attributes.name);
  auto no_overhead = [&] {
    if (pod->spec().overhead().empty()) return absl::OkStatus();
    return api::ForbiddenError(about,
                               "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
  };
  if (pod->spec().runtimeclassname().empty()) return no_overhead();
  auto found =
      admission.Find<node_api::RuntimeClass>("runtimeclasses", "", pod->spec().runtimeclassname(), "node.k8s.io");
  if (!found)
    return api::ForbiddenError(
        about, absl::StrCat("pod rejected: RuntimeClass \"", pod->spec().runtimeclassname(), "\" not found"));
  if (found->has_overhead()) {
    auto same = [&] {
      const auto &given = pod->spec().overhead(), &fixed = found->overhead().podfixed();
      if (given.size() != fixed.size()) return false;
      for (const auto& [name, quantity] : given) {
        const auto it = fixed.find(name);
        if (it == fixed.end() || it->second.string() != quantity.string()) return false;
      }
      return true;
    };
    if (!pod->spec().overhead().empty() && !same())
      return api::ForbiddenError(about, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    *pod->mutable_spec()->mutable_overhead() = found->overhead().podfixed();
  } else {
    RETURN_IF_ERROR(no_overhead());
  }
  if (found->has_scheduling()) {
    for (const auto& [key, value] : found->scheduling().nodeselector())
      (*pod->mutable_spec()->mutable_nodeselector())[key] = value;
    for (const core::Toleration& toleration : found->scheduling().tolerations())
      *pod->mutable_spec()->add_tolerations() = toleration;
  }
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
