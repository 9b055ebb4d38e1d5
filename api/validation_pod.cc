// Pods and pod templates.
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
using Containers = google::protobuf::RepeatedPtrField<core::Container>;
using Names = std::set<std::string>;

// ---- the pod ----

// Segments of lower-case letters, digits, and - _ inside, joined by dots or slashes.
bool IsSysctlName(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool begin = true, end = false;  // of a segment
  for (char c : name) {
    if (c == '.' || c == '/') {
      if (!end) return false;
      begin = true, end = false;
    } else if (alnum(c)) {
      begin = false, end = true;
    } else if ((c == '-' || c == '_') && !begin) {
      end = false;
    } else {
      return false;
    }
  }
  return end;
}

void ValidateSysctls(const core::PodSecurityContext& context, const Path& path, FieldErrors* errors) {
  std::set<std::string> names;
  for (int i = 0; i < context.sysctls_size(); ++i) {
    const std::string& name = context.sysctls(i).name();
    const Path entry = path.Index(i);  // paths refer to their parents
    const Path at = entry.Child("name");
    if (name.empty()) {
      errors->Required(at);
    } else if (!IsSysctlName(name)) {
      errors->Invalid(at, name,
                      "must have at most 253 characters and match regex "
                      "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
    } else if (!names.insert(name).second) {
      errors->Duplicate(at, name);
    }
  }
}

void ValidateTolerations(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  for (int i = 0; i < spec.tolerations_size(); ++i) {
    const auto& t = spec.tolerations(i);
    const Path at = path.Index(i);
    if (!t.key().empty()) InvalidAll(at.Child("key"), t.key(), IsQualifiedName(t.key()), errors);
    if (t.key().empty() && t.operator_() != "Exists")
      errors->Invalid(at.Child("operator"), t.operator_(),
                      "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (t.has_tolerationseconds() && t.effect() != "NoExecute")
      errors->Invalid(at.Child("effect"), t.effect(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (t.operator_().empty() || t.operator_() == "Equal") {
      if (const Complaints bad = IsValidLabelValue(t.value()); !bad.empty())
        errors->Invalid(at.Child("operator"), t.value(), absl::StrJoin(bad, ";"));
    } else if (t.operator_() == "Exists") {
      if (!t.value().empty())
        errors->Invalid(at.Child("operator"), t.value(), "value must be empty when `operator` is 'Exists'");
    } else {
      errors->NotSupported(at.Child("operator"), t.operator_(), {"Equal", "Exists"});
    }
    if (!t.effect().empty())
      OneOf(at.Child("effect"), t.effect(), {"NoSchedule", "PreferNoSchedule", "NoExecute"}, errors);
  }
}

void ValidateHostnameOverride(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  constexpr int kMaxBytes = 64;  // the kernel's limit for a host's name
  if (spec.sethostnameasfqdn()) errors->Forbidden(path, "may not be specified when setHostnameAsFQDN is true");
  if (spec.hostnetwork()) errors->Forbidden(path, "may not be specified when hostNetwork is true");
  if (spec.hostnameoverride().size() > kMaxBytes) errors->TooLong(path, kMaxBytes);
  InvalidAll(path, spec.hostnameoverride(), IsDns1123Subdomain(spec.hostnameoverride()), errors);
}

void ValidateSpec(const core::PodSpec& spec, const core::PodSpec* old, const Path& path, FieldErrors* errors) {
  if (!spec.has_terminationgraceperiodseconds()) errors->Required(path.Child("terminationGracePeriodSeconds"));
  const Names volumes = ValidateVolumes(spec, path, errors);
  ValidateContainers(spec, old, volumes, path, errors);
  ValidateEphemeralContainers(spec, volumes, path, errors);
  ValidatePodLevelResources(spec, path, errors);
  if (spec.hostnetwork()) {
    const Path containers = path.Child("containers");
    for (int i = 0; i < spec.containers_size(); ++i) {
      const Path at = containers.Index(i);
      const Path ports = at.Child("ports");
      for (int j = 0; j < spec.containers(i).ports_size(); ++j) {
        const auto& port = spec.containers(i).ports(j);
        const Path item = ports.Index(j);
        if (port.hostport() != port.containerport())
          errors->Invalid(item.Child("hostPort"), port.hostport(),
                          "must match `containerPort` when `hostNetwork` is true");
      }
    }
  }
  OneOf(path.Child("restartPolicy"), spec.restartpolicy(), {"Always", "OnFailure", "Never"}, errors);
  OneOf(path.Child("dnsPolicy"), spec.dnspolicy(), {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"},
        errors);
  ValidateLabels(spec.nodeselector(), path.Child("nodeSelector"), errors);
  const Path context = path.Child("securityContext");
  const auto id = [&](bool has, int64_t value, std::string_view field) {
    if (has && (value < 0 || value > 2147483647))
      errors->Invalid(context.Child(field), value, "must be between 0 and 2147483647, inclusive");
  };
  id(spec.securitycontext().has_runasuser(), spec.securitycontext().runasuser(), "runAsUser");
  id(spec.securitycontext().has_runasgroup(), spec.securitycontext().runasgroup(), "runAsGroup");
  id(spec.securitycontext().has_fsgroup(), spec.securitycontext().fsgroup(), "fsGroup");
  ValidateSysctls(spec.securitycontext(), context.Child("sysctls"), errors);
  if (spec.dnspolicy() == "None" && spec.dnsconfig().nameservers().empty()) {
    const Path config = path.Child("dnsConfig");
    errors->Required(spec.has_dnsconfig() ? config.Child("nameservers") : path.Child("dnsConfig"),
                     spec.has_dnsconfig() ? "must provide at least one DNS nameserver when `dnsPolicy` is None"
                                          : "must provide `dnsConfig` when `dnsPolicy` is None");
  }
  ValidateGates(spec, path.Child("schedulingGates"), errors);
  if (spec.has_hostnameoverride()) ValidateHostnameOverride(spec, path.Child("hostnameOverride"), errors);
  if (!spec.serviceaccountname().empty())
    InvalidAll(path.Child("serviceAccountName"), spec.serviceaccountname(),
               IsDns1123Subdomain(spec.serviceaccountname()), errors);
  if (!spec.nodename().empty())
    InvalidAll(path.Child("nodeName"), spec.nodename(), IsDns1123Subdomain(spec.nodename()), errors);
  if (spec.has_activedeadlineseconds() &&
      (spec.activedeadlineseconds() < 1 || spec.activedeadlineseconds() > 2147483647))
    errors->Invalid(path.Child("activeDeadlineSeconds"), spec.activedeadlineseconds(),
                    "must be between 1 and 2147483647, inclusive");
  if (!spec.hostname().empty())
    InvalidAll(path.Child("hostname"), spec.hostname(), IsDns1123Label(spec.hostname()), errors);
  if (!spec.subdomain().empty())
    InvalidAll(path.Child("subdomain"), spec.subdomain(), IsDns1123Label(spec.subdomain()), errors);
  ValidateTolerations(spec, path.Child("tolerations"), errors);
  const Path aliases = path.Child("hostAliases");
  for (int i = 0; i < spec.hostaliases_size(); ++i) {
    const Path at = aliases.Index(i);
    InvalidAll(at.Child("ip"), spec.hostaliases(i).ip(), IsValidIp(spec.hostaliases(i).ip()), errors);
    const Path names = at.Child("hostnames");
    for (int j = 0; j < spec.hostaliases(i).hostnames_size(); ++j)
      InvalidAll(names.Index(j), spec.hostaliases(i).hostnames(j), IsDns1123Subdomain(spec.hostaliases(i).hostnames(j)),
                 errors);
  }
  if (!spec.priorityclassname().empty())
    InvalidAll(path.Child("priorityClassName"), spec.priorityclassname(), IsDns1123Subdomain(spec.priorityclassname()),
               errors);
  if (spec.has_runtimeclassname())
    InvalidAll(path.Child("runtimeClassName"), spec.runtimeclassname(), IsDns1123Subdomain(spec.runtimeclassname()),
               errors);
}

void ValidateImages(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  const Path containers = path.Child("containers"), inits = path.Child("initContainers");
  for (int i = 0; i < spec.containers_size(); ++i)
    ValidateImage(spec.containers(i).image(), containers.Index(i), errors);
  for (int i = 0; i < spec.initcontainers_size(); ++i)
    ValidateImage(spec.initcontainers(i).image(), inits.Index(i), errors);
}

// False where the lists cannot be compared any further. Images are looked at here and with the whole specification, and
// both say what is wrong, as upstream does.
bool ValidateContainerUpdates(const Containers& now, const Containers& before, const Path& path, FieldErrors* errors) {
  if (now.size() != before.size()) {
    errors->Forbidden(path, "pod updates may not add or remove containers");
    return false;
  }
  for (int i = 0; i < now.size(); ++i) {
    const Path at = path.Index(i);
    if (now[i].image().empty()) errors->Required(at.Child("image"));
    ValidateImage(now[i].image(), at, errors);
  }
  return true;
}

bool ValidateDeadlineUpdate(const core::PodSpec& now, const core::PodSpec& before, const Path& path,
                            FieldErrors* errors) {
  if (!now.has_activedeadlineseconds()) {
    if (before.has_activedeadlineseconds())
      errors->InvalidRaw(path, "null", "must not update from a positive integer to nil value");
    return true;
  }
  const int64_t seconds = now.activedeadlineseconds();
  if (seconds < 0 || seconds > INT32_MAX)
    errors->Invalid(path, seconds, "must be between 0 and 2147483647, inclusive");
  else if (before.has_activedeadlineseconds() && before.activedeadlineseconds() < seconds)
    errors->Invalid(path, seconds, "must be less than or equal to previous value");
  else
    return true;
  return false;
}

void ValidateTolerationUpdates(const core::PodSpec& now, const core::PodSpec& before, const Path& path,
                               FieldErrors* errors) {
  for (core::Toleration each : before.tolerations()) {
    bool found = false;
    for (const auto& t : now.tolerations()) {
      if (t.has_tolerationseconds())
        each.set_tolerationseconds(t.tolerationseconds());
      else
        each.clear_tolerationseconds();
      found |= Equal(each, t);
    }
    if (!found) return errors->Forbidden(path, "existing toleration can not be modified except its tolerationSeconds");
  }
  ValidateTolerations(now, path, errors);
}

void ValidatePodUpdate(const core::Pod& pod, const core::Pod& old, FieldErrors* errors) {
  ValidatePodContent(pod, &old, errors);
  ValidatePodAnnotationUpdates(pod, old, errors);
  const Path spec("spec");
  const core::PodSpec &now = pod.spec(), &before = old.spec();
  if (Equal(now, before)) return;
  if (!ValidateContainerUpdates(now.containers(), before.containers(), spec.Child("containers"), errors) ||
      !ValidateContainerUpdates(now.initcontainers(), before.initcontainers(), spec.Child("initContainers"), errors) ||
      !ValidateDeadlineUpdate(now, before, spec.Child("activeDeadlineSeconds"), errors))
    return;
  ValidateTolerationUpdates(now, before, spec.Child("tolerations"), errors);
  ValidateGatesUpdate(now, before, spec, errors);
  core::PodSpec same = now;
  for (int i = 0; i < same.containers_size(); ++i) same.mutable_containers(i)->set_image(before.containers(i).image());
  for (int i = 0; i < same.initcontainers_size(); ++i)
    same.mutable_initcontainers(i)->set_image(before.initcontainers(i).image());
  if (before.has_activedeadlineseconds())
    same.set_activedeadlineseconds(before.activedeadlineseconds());
  else
    same.clear_activedeadlineseconds();
  *same.mutable_tolerations() = before.tolerations();
  *same.mutable_schedulinggates() = before.schedulinggates();
  if (before.terminationgraceperiodseconds() < 0 && now.terminationgraceperiodseconds() == 1)
    same.set_terminationgraceperiodseconds(before.terminationgraceperiodseconds());
  ValidateGatedPlacement(before, spec, &same, errors);
  if (!Equal(same, before))
    errors->Forbidden(
        spec,
        "pod updates may not change fields other than "
        "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
        "(allow it to be set to 1 if it was previously negative)");
}

void ValidatePodCreate(const core::Pod& pod, FieldErrors* errors) {
  ValidatePodContent(pod, nullptr, errors);
  const Path spec("spec");
  if (!pod.spec().ephemeralcontainers().empty())
    errors->Forbidden(spec.Child("ephemeralContainers"), "cannot be set on create");
  if (!pod.spec().nodename().empty() && !pod.spec().schedulinggates().empty())
    errors->Forbidden(spec.Child("nodeName"), "cannot be set until all schedulingGates have been cleared");
  ValidateAnnotationsMatchFields(pod.metadata().annotations(), pod.spec(), spec, errors);
}

}  // namespace

void ValidatePodContent(const core::Pod& pod, const core::Pod* old, FieldErrors* errors) {
  const Path metadata("metadata"), spec("spec");
  ValidatePodAnnotations(pod.metadata().annotations(), pod.spec(),
                         old != nullptr ? &old->metadata().annotations() : nullptr, metadata.Child("annotations"),
                         errors);
  if (old != nullptr && Equal(pod.spec(), old->spec())) return;
  ValidateSpec(pod.spec(), old != nullptr ? &old->spec() : nullptr, spec, errors);
  ValidateImages(pod.spec(), spec, errors);
}

void ValidatePodTemplate(const core::PodTemplateSpec& pod, const core::PodTemplateSpec* old, const Path& path,
                         FieldErrors* errors) {
  // One that an earlier server took stands in the way of no other change.
  if (old != nullptr && Equal(pod, *old)) return;
  const Path annotations = path.Child("annotations"), spec = path.Child("spec");
  ValidateLabels(pod.metadata().labels(), path.Child("labels"), errors);
  ValidateAnnotations(pod.metadata().annotations(), annotations, errors);
  ValidatePodAnnotations(pod.metadata().annotations(), pod.spec(),
                         old != nullptr ? &old->metadata().annotations() : nullptr, annotations, errors);
  ValidateSpec(pod.spec(), old != nullptr ? &old->spec() : nullptr, spec, errors);
  ValidateAnnotationsMatchFields(pod.metadata().annotations(), pod.spec(), spec, errors);
  if (!pod.spec().ephemeralcontainers().empty())
    errors->Forbidden(spec.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
}

bool ValidatePodKinds(const Object& object, const Object* old, std::string_view subresource, FieldErrors* errors) {
  if (const auto* pod = object.As<core::Pod>()) {
    const auto* before = old != nullptr ? old->As<core::Pod>() : nullptr;
    if (before == nullptr)
      ValidatePodCreate(*pod, errors);
    else if (subresource == "status")
      ValidatePodStatus(*pod, *before, errors);
    else if (subresource == "resize")
      ValidatePodResize(*pod, *before, errors);
    else if (subresource == "ephemeralcontainers")
      ValidateEphemeralContainersUpdate(*pod, *before, errors);
    else if (subresource != "binding")
      ValidatePodUpdate(*pod, *before, errors);
    return true;
  }
  if (const auto* rc = object.As<core::ReplicationController>(); rc != nullptr && subresource.empty()) {
    const Path spec("spec");
    NonNegative(spec.Child("replicas"), rc->spec().replicas(), errors);
    if (rc->spec().selector().empty()) errors->Required(spec.Child("selector"));
    if (!rc->spec().has_template_())
      errors->Required(spec.Child("template"));
    else
      ValidatePodTemplate(rc->spec().template_(),
                          old != nullptr ? &old->As<core::ReplicationController>()->spec().template_() : nullptr,
                          spec.Child("template"), errors);
    return true;
  }
  return false;
}

}  // namespace skiff::api::internal
