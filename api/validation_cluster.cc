// Nodes, namespaces, storage, rbac and the other cluster-wide kinds: the rules that protect what depends on them.
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/quantity.h"
#include "api/text.h"
#include "api/validation_parts.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/rbac/v1/generated.pb.h"
#include "k8s/io/api/scheduling/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"
#include "k8s/io/apiextensions_apiserver/pkg/apis/apiextensions/v1/generated.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
namespace rbac = k8s::io::api::rbac::v1;
namespace storage = k8s::io::api::storage::v1;
namespace apiextensions = k8s::io::apiextensions_apiserver::pkg::apis::apiextensions::v1;
using PriorityClass = k8s::io::api::scheduling::v1::PriorityClass;

void ValidateNode(const core::Node& node, const core::Node* old, FieldErrors* errors) {
  const Path spec("spec");
  const Path taints = spec.Child("taints");
  std::set<std::pair<std::string, std::string>> seen;
  for (int i = 0; i < node.spec().taints_size(); ++i) {
    const auto& taint = node.spec().taints(i);
    const Path at = taints.Index(i);
    InvalidAll(at.Child("key"), taint.key(), IsQualifiedName(taint.key()), errors);
    InvalidAll(at.Child("value"), taint.value(), IsValidLabelValue(taint.value()), errors);
    OneOf(at.Child("effect"), taint.effect(), {"NoSchedule", "PreferNoSchedule", "NoExecute"}, errors);
    if (!seen.emplace(taint.key(), taint.effect()).second) errors->DuplicateRaw(at, ToJson(taint));
  }
  if (old == nullptr) return;
  if (!old->spec().podcidrs().empty()) {
    bool same = old->spec().podcidrs_size() == node.spec().podcidrs_size();
    for (int i = 0; same && i < node.spec().podcidrs_size(); ++i)
      same = old->spec().podcidrs(i) == node.spec().podcidrs(i);
    if (!same)
      errors->Forbidden(spec.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
  }
  if (!old->spec().providerid().empty() && old->spec().providerid() != node.spec().providerid())
    errors->Forbidden(spec.Child("providerID"), "node updates may not change providerID except from \"\" to valid");
}

template <typename B>
void ValidateBinding(const B& binding, const B* old, FieldErrors* errors) {
  const Path ref("roleRef"), subjects("subjects");
  if (binding.roleref().apigroup() != "rbac.authorization.k8s.io")
    errors->NotSupported(ref.Child("apiGroup"), binding.roleref().apigroup(), {"rbac.authorization.k8s.io"});
  if (binding.roleref().kind() != "Role" && binding.roleref().kind() != "ClusterRole")
    errors->NotSupported(ref.Child("kind"), binding.roleref().kind(), {"ClusterRole", "Role"});
  if (binding.roleref().name().empty())
    errors->Required(ref.Child("name"));
  else
    InvalidAll(ref.Child("name"), binding.roleref().name(), IsPathSegmentName(binding.roleref().name()), errors);
  for (int i = 0; i < binding.subjects_size(); ++i) {
    const auto& subject = binding.subjects(i);
    const Path at = subjects.Index(i);
    if (subject.name().empty()) errors->Required(at.Child("name"));
    if (subject.kind() == "ServiceAccount") {
      if (!subject.name().empty())
        InvalidAll(at.Child("name"), subject.name(), IsDns1123Subdomain(subject.name()), errors);
      if (!subject.apigroup().empty()) errors->NotSupported(at.Child("apiGroup"), subject.apigroup(), {""});
      if (subject.namespace_().empty()) errors->Required(at.Child("namespace"));
    } else if (subject.kind() == "User" || subject.kind() == "Group") {
      if (subject.apigroup() != "rbac.authorization.k8s.io")
        errors->NotSupported(at.Child("apiGroup"), subject.apigroup(), {"rbac.authorization.k8s.io"});
    } else {
      errors->NotSupported(at.Child("kind"), subject.kind(), {"ServiceAccount", "User", "Group"});
    }
  }
  if (old != nullptr && !Equal(binding.roleref(), old->roleref()))
    errors->InvalidRaw(ref,
                       absl::StrCat("{\"APIGroup\":", GoQuote(binding.roleref().apigroup()),
                                    ",\"Kind\":", GoQuote(binding.roleref().kind()),
                                    ",\"Name\":", GoQuote(binding.roleref().name()), "}"),
                       "cannot change roleRef");
}

template <typename R>
void ValidateRules(const R& role, FieldErrors* errors) {
  const Path rules("rules");
  for (int i = 0; i < role.rules_size(); ++i) {
    const auto& rule = role.rules(i);
    const Path at = rules.Index(i);
    if (rule.verbs().empty()) errors->Required(at.Child("verbs"), "verbs must contain at least one value");
    if (!rule.nonresourceurls().empty()) {
      if (!rule.apigroups().empty() || !rule.resources().empty() || !rule.resourcenames().empty())
        errors->InvalidRaw(
            at.Child("nonResourceURLs"),
            json(std::vector<std::string>(rule.nonresourceurls().begin(), rule.nonresourceurls().end())).dump(),
            "rules cannot apply to both regular resources and non-resource URLs");
      continue;
    }
    if (rule.apigroups().empty())
      errors->Required(at.Child("apiGroups"), "resource rules must supply at least one api group");
    if (rule.resources().empty())
      errors->Required(at.Child("resources"), "resource rules must supply at least one resource");
  }
}

void ValidateClaim(const core::PersistentVolumeClaim& claim, const core::PersistentVolumeClaim* old,
                   FieldErrors* errors) {
  const Path spec("spec");
  if (claim.spec().accessmodes().empty())
    errors->Required(spec.Child("accessModes"), "at least 1 access mode is required");
  for (const std::string& mode : claim.spec().accessmodes())
    if (mode != "ReadWriteOnce" && mode != "ReadOnlyMany" && mode != "ReadWriteMany" && mode != "ReadWriteOncePod")
      errors->NotSupported(spec.Child("accessModes"), mode,
                           {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"});
  const Path resources = spec.Child("resources");
  const auto& requests = claim.spec().resources().requests();
  if (const auto it = requests.find("storage"); it == requests.end()) {
    errors->Required(resources.Child("storage"));
  } else if (Quantity::Of(it->second).Sign() <= 0) {
    errors->Invalid(resources.Child("requests").Key("storage"), it->second.string(), "must be greater than zero");
  }
  if (old == nullptr) return;
  core::PersistentVolumeClaimSpec same = claim.spec();
  if (old->spec().volumename().empty()) same.clear_volumename();
  *same.mutable_resources()->mutable_requests() = old->spec().resources().requests();
  if (old->spec().has_volumeattributesclassname())
    same.set_volumeattributesclassname(old->spec().volumeattributesclassname());
  else
    same.clear_volumeattributesclassname();
  if (!old->spec().has_storageclassname()) same.clear_storageclassname();
  if (!Equal(same, old->spec()))
    errors->Forbidden(
        spec,
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
        "claims");
}

bool SameMap(const StringMap& a, const StringMap& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a) {
    const auto it = b.find(key);
    if (it == b.end() || it->second != value) return false;
  }
  return true;
}

void ValidateStorageClass(const storage::StorageClass& c, const storage::StorageClass* old, FieldErrors* errors) {
  if (c.provisioner().empty()) errors->Required(Path("provisioner"));
  if (old == nullptr) return;
  if (!SameMap(c.parameters(), old->parameters()))
    errors->Forbidden(Path("parameters"), "updates to parameters are forbidden.");
  if (c.provisioner() != old->provisioner())
    errors->Invalid(Path("provisioner"), c.provisioner(), "field is immutable");
  if (c.reclaimpolicy() != old->reclaimpolicy())
    errors->Invalid(Path("reclaimPolicy"), c.reclaimpolicy(), "field is immutable");
  if (c.volumebindingmode() != old->volumebindingmode())
    errors->Invalid(Path("volumeBindingMode"), c.volumebindingmode(), "field is immutable");
}

void ValidateDefinition(const apiextensions::CustomResourceDefinition& crd, FieldErrors* errors) {
  const Path metadata("metadata"), spec("spec");
  const auto& names = crd.spec().names();
  if (crd.metadata().name() != absl::StrCat(names.plural(), ".", crd.spec().group()))
    errors->Invalid(metadata.Child("name"), crd.metadata().name(), "must be spec.names.plural+\".\"+spec.group");
  if (crd.spec().group().empty()) errors->Required(spec.Child("group"));
  if (crd.spec().scope().empty())
    errors->Required(spec.Child("scope"));
  else if (crd.spec().scope() != "Namespaced" && crd.spec().scope() != "Cluster")
    errors->NotSupported(spec.Child("scope"), crd.spec().scope(), {"Cluster", "Namespaced"});
  const Path versions = spec.Child("versions");
  int stored = 0;
  std::set<std::string> seen;
  for (int i = 0; i < crd.spec().versions_size(); ++i) {
    const auto& version = crd.spec().versions(i);
    stored += version.storage();
    const Path at = versions.Index(i);
    InvalidAll(at.Child("name"), version.name(), IsDns1035Label(version.name()), errors);
    if (!seen.insert(version.name()).second) errors->Duplicate(at.Child("name"), version.name());
    if (!version.has_schema() || !version.schema().has_openapiv3schema()) {
      const Path schema = at.Child("schema");
      errors->Required(schema.Child("openAPIV3Schema"));
    }
  }
  if (stored != 1)
    errors->InvalidRaw(versions, json(std::vector<std::string>(seen.begin(), seen.end())).dump(),
                       "must have exactly one version marked as storage version");
  const Path names_path = spec.Child("names");
  if (names.plural().empty()) errors->Required(names_path.Child("plural"));
  if (names.kind().empty()) errors->Required(names_path.Child("kind"));
}

}  // namespace

bool ValidateClusterKinds(const Object& object, const Object* old, FieldErrors* errors) {
  if (const auto* node = object.As<core::Node>())
    return ValidateNode(*node, old ? old->As<core::Node>() : nullptr, errors), true;
  if (const auto* b = object.As<rbac::RoleBinding>())
    return ValidateBinding(*b, old ? old->As<rbac::RoleBinding>() : nullptr, errors), true;
  if (const auto* b = object.As<rbac::ClusterRoleBinding>())
    return ValidateBinding(*b, old ? old->As<rbac::ClusterRoleBinding>() : nullptr, errors), true;
  if (const auto* r = object.As<rbac::Role>()) return ValidateRules(*r, errors), true;
  if (const auto* r = object.As<rbac::ClusterRole>()) return ValidateRules(*r, errors), true;
  if (const auto* c = object.As<core::PersistentVolumeClaim>())
    return ValidateClaim(*c, old ? old->As<core::PersistentVolumeClaim>() : nullptr, errors), true;
  if (const auto* c = object.As<storage::StorageClass>())
    return ValidateStorageClass(*c, old ? old->As<storage::StorageClass>() : nullptr, errors), true;
  if (const auto* c = object.As<apiextensions::CustomResourceDefinition>()) return ValidateDefinition(*c, errors), true;
  if (const auto* c = object.As<PriorityClass>()) {
    const auto* before = old ? old->As<PriorityClass>() : nullptr;
    if (before && before->value() != c->value()) errors->Forbidden(Path("value"), "may not be changed in an update.");
    if (before && before->preemptionpolicy() != c->preemptionpolicy())
      errors->Invalid(Path("preemptionPolicy"), c->preemptionpolicy(), "field is immutable");
    return true;
  }
  return false;
}

}  // namespace skiff::api::internal
