// Containers of pods: ports, environment, mounts, probes, restart rules.
#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api::internal {

namespace core = k8s::io::api::core::v1;
using Names = std::set<std::string>;

namespace {

void ValidatePorts(const core::Container& c, const Path& path, FieldErrors* errors) {
  Names names;
  for (int i = 0; i < c.ports_size(); ++i) {
    const auto& port = c.ports(i);
    const Path at = path.Index(i);
    if (!port.name().empty()) {
      const Complaints bad = IsValidPortName(port.name());
      InvalidAll(at.Child("name"), port.name(), bad, errors);
      if (bad.empty() && !names.insert(port.name()).second) errors->Duplicate(at.Child("name"), port.name());
    }
    if (port.containerport() == 0)
      errors->Required(at.Child("containerPort"));
    else
      for (const std::string& complaint : IsValidPortNum(port.containerport()))
        errors->Invalid(at.Child("containerPort"), port.containerport(), complaint);
    if (port.hostport() != 0)
      for (const std::string& complaint : IsValidPortNum(port.hostport()))
        errors->Invalid(at.Child("hostPort"), port.hostport(), complaint);
    OneOf(at.Child("protocol"), port.protocol(), {"SCTP", "TCP", "UDP"}, errors);
  }
}

void ValidateKeyRef(const std::string& name, const std::string& key, const Path& path, FieldErrors* errors) {
  InvalidAll(path.Child("name"), name, IsDns1123Subdomain(name), errors);
  if (key.empty())
    errors->Required(path.Child("key"));
  else
    InvalidAll(path.Child("key"), key, IsConfigMapKey(key), errors);
}

// metadata.labels['key']: the part before and inside the brackets.
bool SplitSubscript(std::string_view field, std::string_view* path, std::string_view* key) {
  const size_t bracket = field.find("['");
  if (!field.ends_with("']") || bracket == std::string_view::npos || bracket == 0) return false;
  *path = field.substr(0, bracket);
  *key = field.substr(bracket + 2, field.size() - bracket - 4);
  return true;
}

void ValidateFieldRef(const core::ObjectFieldSelector& ref, const Path& path, FieldErrors* errors) {
  static constexpr std::string_view kPaths[] = {
      "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
      "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
  // Fields of a pod that have a value, though not for a variable.
  static constexpr std::string_view kElsewhere[] = {"metadata.annotations", "metadata.labels", "spec.restartPolicy",
                                                    "spec.schedulerName", "status.phase"};
  const std::string& field = ref.fieldpath();
  if (ref.apiversion().empty()) return errors->Required(path.Child("apiVersion"));
  if (field.empty()) return errors->Required(path.Child("fieldPath"));
  const auto unknown = [&](std::string_view why, std::string_view what) {
    errors->Invalid(path.Child("fieldPath"), field, absl::StrCat("error converting fieldPath: ", why, ": ", what));
  };
  if (ref.apiversion() != "v1") return unknown("unsupported pod version", ref.apiversion());
  std::string_view map, key;
  if (SplitSubscript(field, &map, &key)) {
    if (map == "metadata.annotations")
      InvalidAll(path, absl::AsciiStrToLower(key), IsQualifiedName(absl::AsciiStrToLower(key)), errors);
    else if (map == "metadata.labels")
      InvalidAll(path, key, IsQualifiedName(key), errors);
    else
      unknown("field label does not support subscript", field);
    return;
  }
  if (field == "spec.host") return;  // what old clients call spec.nodeName
  for (const std::string_view known : kPaths)
    if (field == known) return;
  for (const std::string_view other : kElsewhere)
    if (field == other)
      return errors->NotSupported(path.Child("fieldPath"), field, {std::begin(kPaths), std::end(kPaths)});
  unknown("field label not supported", field);
}

void ValidateEnv(const core::Container& c, const Path& path, FieldErrors* errors) {
  const Path env = path.Child("env");
  for (int i = 0; i < c.env_size(); ++i) {
    const auto& var = c.env(i);
    const Path at = env.Index(i);
    if (var.name().empty())
      errors->Required(at.Child("name"));
    else
      InvalidAll(at.Child("name"), var.name(), IsEnvVarName(var.name()), errors);
    if (!var.has_valuefrom()) continue;
    const Path from = at.Child("valueFrom");
    const auto& source = var.valuefrom();
    int sources = 0;
    if (source.has_fieldref()) ++sources, ValidateFieldRef(source.fieldref(), from.Child("fieldRef"), errors);
    if (source.has_resourcefieldref()) {
      ++sources;
      const Path ref = from.Child("resourceFieldRef");
      if (source.resourcefieldref().resource().empty()) errors->Required(ref.Child("resource"));
    }
    if (source.has_configmapkeyref()) {
      ++sources;
      ValidateKeyRef(source.configmapkeyref().localobjectreference().name(), source.configmapkeyref().key(),
                     from.Child("configMapKeyRef"), errors);
    }
    if (source.has_secretkeyref()) {
      ++sources;
      ValidateKeyRef(source.secretkeyref().localobjectreference().name(), source.secretkeyref().key(),
                     from.Child("secretKeyRef"), errors);
    }
    if (source.has_filekeyref()) ++sources;
    if (sources == 0)
      errors->Invalid(from, "",
                      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                      "`fileKeyRef`");
    else if (!var.value().empty())
      errors->Invalid(from, "", "may not be specified when `value` is not empty");
    else if (sources > 1)
      errors->Invalid(from, "", "may not have more than one field specified at a time");
  }
  const Path env_from = path.Child("envFrom");
  for (int i = 0; i < c.envfrom_size(); ++i) {
    const auto& source = c.envfrom(i);
    const Path at = env_from.Index(i);
    if (!source.prefix().empty())
      InvalidAll(at.Child("prefix"), source.prefix(), IsEnvVarName(source.prefix()), errors);
    const auto name = [&](const std::string& value, std::string_view field) {
      const Path ref = at.Child(field);
      if (value.empty())
        errors->Required(ref.Child("name"));
      else
        InvalidAll(ref.Child("name"), value, IsDns1123Subdomain(value), errors);
    };
    if (source.has_configmapref()) name(source.configmapref().localobjectreference().name(), "configMapRef");
    if (source.has_secretref()) name(source.secretref().localobjectreference().name(), "secretRef");
    if (!source.has_configmapref() && !source.has_secretref())
      errors->Invalid(env_from, "", "must specify one of: `configMapRef` or `secretRef`");
    else if (source.has_configmapref() && source.has_secretref())
      errors->Invalid(env_from, "", "may not have more than one field specified at a time");
  }
}

void ValidateMounts(const core::Container& c, const Names& volumes, const Path& path, FieldErrors* errors) {
  const Path mounts = path.Child("volumeMounts");
  Names points;
  for (int i = 0; i < c.volumemounts_size(); ++i) {
    const auto& mount = c.volumemounts(i);
    const Path at = mounts.Index(i);
    if (mount.name().empty()) errors->Required(at.Child("name"));
    if (!volumes.contains(mount.name())) errors->NotFound(at.Child("name"), mount.name());
    if (mount.mountpath().empty()) errors->Required(at.Child("mountPath"));
    if (!points.insert(mount.mountpath()).second)
      errors->Invalid(at.Child("mountPath"), mount.mountpath(), "must be unique");
    if (!mount.subpath().empty()) RelativePath(mount.subpath(), mounts.Child("subPath"), errors);
    if (!mount.subpathexpr().empty()) {
      if (!mount.subpath().empty())
        errors->Invalid(at.Child("subPathExpr"), mount.subpathexpr(), "subPathExpr and subPath are mutually exclusive");
      RelativePath(mount.subpathexpr(), mounts.Child("subPathExpr"), errors);
    }
    if (mount.has_mountpropagation()) {
      const std::string& mode = mount.mountpropagation();
      if (mode == "Bidirectional" && !c.securitycontext().privileged())
        errors->Forbidden(mounts.Child("mountPropagation"),
                          "Bidirectional mount propagation is available only to privileged containers");
      else
        OneOf(mounts.Child("mountPropagation"), mode, {"Bidirectional", "HostToContainer", "None"}, errors);
    }
  }
}

template <typename H>
void ValidateHandler(const H& handler, bool has_grpc, int32_t grpc_port, bool has_sleep, const Path& path,
                     FieldErrors* errors) {
  int handlers = 0;
  const auto first = [&](std::string_view field) {
    if (handlers++ == 0) return true;
    errors->Forbidden(path.Child(field), "may not specify more than 1 handler type");
    return false;
  };
  if (handler.has_exec() && first("exec") && handler.exec().command().empty()) {
    const Path exec = path.Child("exec");
    errors->Required(exec.Child("command"));
  }
  if (handler.has_httpget() && first("httpGet")) {
    const Path get = path.Child("httpGet");
    if (handler.httpget().path().empty()) errors->Required(get.Child("path"));
    ValidatePortNumOrName(handler.httpget().port(), get.Child("port"), errors);
    if (handler.httpget().scheme() != "HTTP" && handler.httpget().scheme() != "HTTPS")
      errors->NotSupported(get.Child("scheme"), handler.httpget().scheme(), {"HTTP", "HTTPS"});
    for (const auto& header : handler.httpget().httpheaders())
      InvalidAll(get.Child("httpHeaders"), header.name(), IsHttpHeaderName(header.name()), errors);
  }
  if (handler.has_tcpsocket() && first("tcpSocket")) {
    const Path socket = path.Child("tcpSocket");
    ValidatePortNumOrName(handler.tcpsocket().port(), socket.Child("port"), errors);
  }
  if (has_grpc && first("grpc")) {
    const Path grpc = path.Child("grpc");
    for (const std::string& complaint : IsValidPortNum(grpc_port))
      errors->Invalid(grpc.Child("port"), grpc_port, complaint);
  }
  if (has_sleep) first("sleep");
  if (handlers == 0) errors->Required(path, "must specify a handler type");
}

void ValidateProbe(const core::Probe& probe, bool readiness, const Path& path, FieldErrors* errors) {
  ValidateHandler(probe.handler(), probe.handler().has_grpc(), probe.handler().grpc().port(), false, path, errors);
  NonNegative(path.Child("initialDelaySeconds"), probe.initialdelayseconds(), errors);
  NonNegative(path.Child("timeoutSeconds"), probe.timeoutseconds(), errors);
  NonNegative(path.Child("periodSeconds"), probe.periodseconds(), errors);
  NonNegative(path.Child("successThreshold"), probe.successthreshold(), errors);
  NonNegative(path.Child("failureThreshold"), probe.failurethreshold(), errors);
  if (probe.has_terminationgraceperiodseconds() && probe.terminationgraceperiodseconds() <= 0)
    errors->Invalid(path.Child("terminationGracePeriodSeconds"), probe.terminationgraceperiodseconds(),
                    "must be greater than 0");
  if (readiness) {
    if (probe.has_terminationgraceperiodseconds())
      errors->Invalid(path.Child("terminationGracePeriodSeconds"), probe.terminationgraceperiodseconds(),
                      "must not be set for readinessProbes");
  } else if (probe.successthreshold() != 1) {
    errors->Invalid(path.Child("successThreshold"), probe.successthreshold(), "must be 1");
  }
}

void ValidateProbes(const core::Container& c, const Path& path, FieldErrors* errors) {
  if (c.has_lifecycle()) {
    const Path lifecycle = path.Child("lifecycle");
    if (c.lifecycle().has_poststart()) {
      const auto& hook = c.lifecycle().poststart();
      ValidateHandler(hook, false, 0, hook.has_sleep(), lifecycle.Child("postStart"), errors);
    }
    if (c.lifecycle().has_prestop()) {
      const auto& hook = c.lifecycle().prestop();
      ValidateHandler(hook, false, 0, hook.has_sleep(), lifecycle.Child("preStop"), errors);
    }
  }
  if (c.has_livenessprobe()) ValidateProbe(c.livenessprobe(), false, path.Child("livenessProbe"), errors);
  if (c.has_readinessprobe()) ValidateProbe(c.readinessprobe(), true, path.Child("readinessProbe"), errors);
  if (c.has_startupprobe()) ValidateProbe(c.startupprobe(), false, path.Child("startupProbe"), errors);
}

void ValidateContext(const core::SecurityContext& context, const Path& path, FieldErrors* errors) {
  const auto id = [&](bool has, int64_t value, std::string_view field) {
    if (has && (value < 0 || value > 2147483647))
      errors->Invalid(path.Child(field), value, "must be between 0 and 2147483647, inclusive");
  };
  id(context.has_runasuser(), context.runasuser(), "runAsUser");
  id(context.has_runasgroup(), context.runasgroup(), "runAsGroup");
  if (context.has_procmount()) OneOf(path.Child("procMount"), context.procmount(), {"Default", "Unmasked"}, errors);
  if (context.has_allowprivilegeescalation() && !context.allowprivilegeescalation()) {
    if (context.privileged())
      errors->Invalid(path, ToJson(context), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    for (const std::string& capability : context.capabilities().add())
      if (capability == "CAP_SYS_ADMIN" || capability == "SYS_ADMIN")
        errors->Invalid(path, ToJson(context),
                        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
  }
}

void ValidateResizePolicy(const core::Container& c, std::string_view pod_policy, const Path& path,
                          FieldErrors* errors) {
  Names resources;
  for (int i = 0; i < c.resizepolicy_size(); ++i) {
    const core::ContainerResizePolicy& policy = c.resizepolicy(i);
    if (!resources.insert(policy.resourcename()).second) errors->Duplicate(path.Index(i), policy.resourcename());
    OneOf(path, policy.resourcename(), {"cpu", "memory"}, errors);
    OneOf(path, policy.restartpolicy(), {"NotRequired", "RestartContainer"}, errors);
    if (pod_policy == "Never" && policy.restartpolicy() != "NotRequired")
      errors->Invalid(path, policy.restartpolicy(), "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
  }
}

// `init` containers have nothing else said of rules without a policy.
void ValidateRestartPolicy(const core::Container& c, bool init, const Path& path, FieldErrors* errors) {
  const Path policy = path.Child("restartPolicy"), rules = path.Child("restartPolicyRules");
  if (!c.has_restartpolicy()) {
    if (c.restartpolicyrules().empty()) return;
    errors->Required(policy, "must specify restartPolicy when restart rules are used");
    if (init) return;
  } else if (c.restartpolicy() != "Always" && c.restartpolicy() != "Never" && c.restartpolicy() != "OnFailure") {
    errors->NotSupported(policy, c.restartpolicy(), {"Always", "Never", "OnFailure"});
  }
  constexpr int kMaxRules = 20, kMaxCodes = 255;
  if (c.restartpolicyrules_size() > kMaxRules) errors->TooMany(rules, c.restartpolicyrules_size(), kMaxRules);
  for (int i = 0; i < c.restartpolicyrules_size(); ++i) {
    const core::ContainerRestartRule& rule = c.restartpolicyrules(i);
    const Path at = rules.Index(i);
    if (rule.action() != "Restart" && rule.action() != "RestartAllContainers")
      errors->NotSupported(at.Child("action"), rule.action(), {"Restart", "RestartAllContainers"});
    const Path codes = at.Child("exitCodes");
    if (!rule.has_exitcodes()) {
      errors->Required(codes, "must be specified");
      continue;
    }
    const std::string& op = rule.exitcodes().operator_();
    if (op != "In" && op != "NotIn") errors->NotSupported(codes.Child("operator"), op, {"In", "NotIn"});
    if (rule.exitcodes().values_size() > kMaxCodes)
      errors->TooMany(codes.Child("values"), rule.exitcodes().values_size(), kMaxCodes);
  }
}

bool Restarts(const core::ContainerResizePolicy& policy) { return policy.restartpolicy() == "RestartContainer"; }

// A resize restarts sidecars only, not the init containers that end by themselves.
bool AnyInitRestarts(const core::PodSpec& spec) {
  for (const core::Container& c : spec.initcontainers())
    if (c.restartpolicy() != "Always" && std::any_of(c.resizepolicy().begin(), c.resizepolicy().end(), Restarts))
      return true;
  return false;
}

void ForbidRestarts(const core::Container& init, const Path& path, FieldErrors* errors) {
  const Path policies = path.Child("resizePolicy");
  for (int i = 0; i < init.resizepolicy_size(); ++i) {
    const Path policy = policies.Index(i);
    if (Restarts(init.resizepolicy(i)))
      errors->Invalid(policy.Child("restartPolicy"), "RestartContainer",
                      "must not be set to 'RestartContainer' for non-sidecar initContainers");
  }
}

void HostPorts(const core::Container& c, const Path& path, Names* seen, FieldErrors* errors) {
  const Path ports = path.Child("ports");
  for (int i = 0; i < c.ports_size(); ++i) {
    if (c.ports(i).hostport() == 0) continue;
    const std::string key = absl::StrCat(c.ports(i).protocol(), "/", c.ports(i).hostip(), "/", c.ports(i).hostport());
    const Path at = ports.Index(i);
    if (!seen->insert(key).second) errors->Duplicate(at.Child("hostPort"), key);
  }
}

}  // namespace

void ValidateContainerCommon(const core::Container& c, const core::PodSpec& spec, const Names& volumes,
                             const Path& path, FieldErrors* errors) {
  if (c.name().empty())
    errors->Required(path.Child("name"));
  else
    InvalidAll(path.Child("name"), c.name(), IsDns1123Label(c.name()), errors);
  if (c.image().empty()) errors->Required(path.Child("image"));
  OneOf(path.Child("terminationMessagePolicy"), c.terminationmessagepolicy(), {"File", "FallbackToLogsOnError"},
        errors);
  ValidatePorts(c, path.Child("ports"), errors);
  ValidateEnv(c, path, errors);
  ValidateMounts(c, volumes, path, errors);
  OneOf(path.Child("imagePullPolicy"), c.imagepullpolicy(), {"Always", "IfNotPresent", "Never"}, errors);
  ValidateContainerResources(c.resources(), path.Child("resources"), errors);
  ValidateResizePolicy(c, spec.restartpolicy(), path.Child("resizePolicy"), errors);
  if (c.has_securitycontext()) ValidateContext(c.securitycontext(), path.Child("securityContext"), errors);
}

void ValidateImage(std::string_view image, const Path& container, FieldErrors* errors) {
  if (absl::StripAsciiWhitespace(image).size() != image.size())
    errors->Invalid(container.Child("image"), image, "must not have leading or trailing whitespace");
}

void ValidateContainers(const core::PodSpec& spec, const core::PodSpec* old, const Names& volumes, const Path& path,
                        FieldErrors* errors) {
  const Path containers = path.Child("containers");
  if (spec.containers().empty()) errors->Required(containers);
  Names names, ports;
  for (int i = 0; i < spec.containers_size(); ++i) {
    const core::Container& c = spec.containers(i);
    const Path at = containers.Index(i);
    ValidateContainerCommon(c, spec, volumes, at, errors);
    if (!names.insert(c.name()).second) errors->Duplicate(at.Child("name"), c.name());
    ValidateProbes(c, at, errors);
    ValidateRestartPolicy(c, false, at, errors);
  }
  for (int i = 0; i < spec.containers_size(); ++i) HostPorts(spec.containers(i), containers.Index(i), &ports, errors);
  const Path inits = path.Child("initContainers");
  const bool restarts_may_stay = old != nullptr && AnyInitRestarts(*old);
  for (int i = 0; i < spec.initcontainers_size(); ++i) {
    const core::Container& c = spec.initcontainers(i);
    const Path at = inits.Index(i);
    ValidateContainerCommon(c, spec, volumes, at, errors);
    ValidateRestartPolicy(c, true, at, errors);
    if (!names.insert(c.name()).second) errors->Duplicate(at.Child("name"), c.name());
    Names own;
    HostPorts(c, at, &own, errors);
    if (c.restartpolicy() == "Always") {
      ValidateProbes(c, at, errors);
      continue;
    }
    constexpr char kWhy[] = "may not be set for init containers without restartPolicy=Always";
    if (c.has_lifecycle()) errors->Forbidden(at.Child("lifecycle"), kWhy);
    if (c.has_livenessprobe()) errors->Forbidden(at.Child("livenessProbe"), kWhy);
    if (c.has_readinessprobe()) errors->Forbidden(at.Child("readinessProbe"), kWhy);
    if (c.has_startupprobe()) errors->Forbidden(at.Child("startupProbe"), kWhy);
    if (!restarts_may_stay) ForbidRestarts(c, at, errors);
  }
}

}  // namespace skiff::api::internal
