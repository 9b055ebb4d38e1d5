// Small rules: pods tolerate node trouble for five minutes, new nodes start tainted, runtime classes must exist.
#include <algorithm>
#include <map>

#include "api/codec.h"
#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/node/v1/generated.pb.h"

namespace skiff::controlplane {

namespace core = ::k8s::io::api::core::v1;
namespace node_api = ::k8s::io::api::node::v1;

namespace {

using Tolerations = google::protobuf::RepeatedPtrField<core::Toleration>;

// Whether `wide` tolerates all that `narrow` does.
bool Covers(const core::Toleration& wide, const core::Toleration& narrow) {
  if (api::Equal(wide, narrow)) return true;
  if (narrow.key() != wide.key() && (!wide.key().empty() || wide.operator_() != "Exists")) return false;
  if (narrow.effect() != wide.effect() && !wide.effect().empty()) return false;
  if (wide.effect() == "NoExecute" && wide.has_tolerationseconds() &&
      (!narrow.has_tolerationseconds() || narrow.tolerationseconds() > wide.tolerationseconds()))
    return false;
  if (wide.operator_() == "Exists") return true;
  return (wide.operator_() == "Equal" || wide.operator_().empty()) && narrow.operator_() == "Equal" &&
         narrow.value() == wide.value();
}

// Of the pod's and the class's tolerations, those that no other covers; of equal ones the first.
void MergeTolerations(const Tolerations& added, Tolerations* tolerations) {
  tolerations->MergeFrom(added);
  Tolerations merged;
  for (int i = 0; i < tolerations->size(); ++i) {
    const core::Toleration& one = tolerations->Get(i);
    bool covered = std::any_of(merged.begin(), merged.end(), [&](const auto& other) { return Covers(other, one); });
    for (int j = i + 1; j < tolerations->size() && !covered; ++j)
      covered = !api::Equal(one, tolerations->Get(j)) && Covers(tolerations->Get(j), one);
    if (!covered) *merged.Add() = one;
  }
  tolerations->Swap(&merged);
}

}  // namespace

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
    auto& selector = *pod->mutable_spec()->mutable_nodeselector();
    const std::map<std::string, std::string> wanted(found->scheduling().nodeselector().begin(),
                                                    found->scheduling().nodeselector().end());
    for (const auto& [key, value] : wanted) {
      if (const auto has = selector.find(key); has != selector.end() && has->second != value)
        return api::ForbiddenError(about, absl::StrCat("conflict: runtimeClass.scheduling.nodeSelector[", key, "] = ",
                                                       value, "; pod.spec.nodeSelector[", key, "] = ", has->second));
    }
    for (const auto& [key, value] : wanted) selector[key] = value;
    MergeTolerations(found->scheduling().tolerations(), pod->mutable_spec()->mutable_tolerations());
  }
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
