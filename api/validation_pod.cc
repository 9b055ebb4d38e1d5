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

void ValidateSpec(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  if (!spec.has_terminationgraceperiodseconds()) errors->Required(path.Child("terminationGracePeriodSeconds"));
  const Names volumes = ValidateVolumes(spec, path, errors);
  ValidateContainers(spec, volumes, path, errors);
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

// A resize restarts sidecars only, not the init containers that end by themselves.
bool AsksForRestart(const core::Container& init, const core::ContainerResizePolicy& policy) {
  return init.restartpolicy() != "Always" && policy.restartpolicy() == "RestartContainer";
}

bool AnyAsksForRestart(const core::PodSpec& spec) {
  for (const core::Container& c : spec.initcontainers())
    for (const core::ContainerResizePolicy& policy : c.resizepolicy())
      if (AsksForRestart(c, policy)) return true;
  return false;
}

void ValidateInitResizePolicies(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  const Path list = path.Child("initContainers");
  for (int i = 0; i < spec.initcontainers_size(); ++i) {
    const core::Container& c = spec.initcontainers(i);
    const Path at = list.Index(i);
    const Path policies = at.Child("resizePolicy");
    for (int j = 0; j < c.resizepolicy_size(); ++j) {
      const Path policy = policies.Index(j);
      if (AsksForRestart(c, c.resizepolicy(j)))
        errors->Invalid(policy.Child("restartPolicy"), "RestartContainer",
                        "must not be set to 'RestartContainer' for non-sidecar initContainers");
    }
  }
}

void ValidatePodUpdate(const core::Pod& pod, const core::Pod& old, FieldErrors* errors) {
  ValidatePodContent(pod, &old, errors);
  ValidatePodAnnotationUpdates(pod, old, errors);
  const Path spec("spec");
  if (pod.spec().containers_size() != old.spec().containers_size())
    return errors->Forbidden(spec.Child("containers"), "pod updates may not add or remove containers");
  if (pod.spec().initcontainers_size() != old.spec().initcontainers_size())
    return errors->Forbidden(spec.Child("initContainers"), "pod updates may not add or remove containers");
  const auto& now = pod.spec();
  const auto& before = old.spec();
  if (now.has_activedeadlineseconds()) {
    if (before.has_activedeadlineseconds() && before.activedeadlineseconds() < now.activedeadlineseconds())
      return errors->Invalid(spec.Child("activeDeadlineSeconds"), now.activedeadlineseconds(),
                             "must be less than or equal to previous value");
  } else if (before.has_activedeadlineseconds()) {
    errors->InvalidRaw(spec.Child("activeDeadlineSeconds"), "null",
                       "must not update from a positive integer to nil value");
  }
  for (core::Toleration each : before.tolerations()) {
    bool found = false;
    for (const auto& t : now.tolerations()) {
      if (t.has_tolerationseconds())
        each.set_tolerationseconds(t.tolerationseconds());
      else
        each.clear_tolerationseconds();
      found |= Equal(each, t);
    }
    if (found) continue;
    errors->Forbidden(spec.Child("tolerations"),
                      "existing toleration can not be modified except its tolerationSeconds");
    break;
  }
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
}

}  // namespace

void ValidatePodContent(const core::Pod& pod, const core::Pod* old, FieldErrors* errors) {
  const Path spec("spec");
  ValidatePodAnnotations(pod, old, errors);
  ValidateSpec(pod.spec(), spec, errors);
  ValidateImages(pod.spec(), spec, errors);
  // What older servers took may stay.
  if (old == nullptr || !AnyAsksForRestart(old->spec())) ValidateInitResizePolicies(pod.spec(), spec, errors);
}

void ValidatePodTemplate(const core::PodTemplateSpec& pod, const Path& path, FieldErrors* errors) {
  ValidateLabels(pod.metadata().labels(), path.Child("labels"), errors);
  ValidateAnnotations(pod.metadata().annotations(), path.Child("annotations"), errors);
  const Path spec = path.Child("spec");
  ValidateSpec(pod.spec(), spec, errors);
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
      ValidatePodTemplate(rc->spec().template_(), spec.Child("template"), errors);
    return true;
  }
  return false;
}

}  // namespace skiff::api::internal
