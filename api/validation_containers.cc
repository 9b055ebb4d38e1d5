// Containers of pods: resources, ports, environment, mounts, probes.
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/quantity.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api::internal {

namespace core = k8s::io::api::core::v1;
using Names = std::set<std::string>;

namespace {

using Amounts = google::protobuf::Map<std::string, Quantity::Proto>;

// ---- resources ----

bool Integral(const std::string& name) {
  return name == "pods" || name == "services" || name.find('/') != std::string::npos;
}
bool Overcommitable(const std::string& name) {
  return name.find('/') == std::string::npos && !name.starts_with("hugepages-");
}

void ValidateAmountName(const std::string& name, const Path& path, FieldErrors* errors) {
  const Complaints bad = IsQualifiedName(name);
  InvalidAll(path, name, bad, errors);
  if (!bad.empty() || name.find('/') != std::string::npos) return;
  if (name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-")) return;
  static constexpr std::string_view kStandard[] = {"storage",
                                                   "pods",
                                                   "services",
                                                   "secrets",
                                                   "configmaps",
                                                   "resourcequotas",
                                                   "replicationcontrollers",
                                                   "persistentvolumeclaims"};
  bool standard = name.starts_with("requests.") || name.starts_with("limits.");
  for (const std::string_view one : kStandard) standard |= name == one;
  if (!standard) errors->Invalid(path, name, "must be a standard resource type or fully qualified");
  errors->Invalid(path, name, "must be a standard resource for containers");
}

void ValidateAmount(const std::string& name, const Quantity::Proto& amount, const Path& path, FieldErrors* errors) {
  const Quantity value = Quantity::Of(amount);
  if (value.Sign() < 0) errors->Invalid(path, amount.string(), "must be greater than or equal to 0");
  if (Integral(name) && value.MilliValue() % 1000 != 0) errors->Invalid(path, amount.string(), "must be an integer");
}

void ValidateResources(const Amounts& limits, const Amounts& requests, const Path& path, FieldErrors* errors) {
  const Path limit_path = path.Child("limits"), request_path = path.Child("requests");
  bool cpu_or_memory = false, huge = false;
  const auto note = [&](const std::string& name) {
    cpu_or_memory |= name == "cpu" || name == "memory";
    huge |= name.starts_with("hugepages-");
  };
  for (const std::string& name : SortedKeys(limits)) {
    const Path at = limit_path.Key(name);
    ValidateAmountName(name, at, errors);
    ValidateAmount(name, limits.at(name), at, errors);
    note(name);
  }
  for (const std::string& name : SortedKeys(requests)) {
    const Path at = request_path.Key(name);
    ValidateAmountName(name, at, errors);
    ValidateAmount(name, requests.at(name), at, errors);
    note(name);
    const auto limit = limits.find(name);
    if (limit != limits.end()) {
      const Quantity asked = Quantity::Of(requests.at(name)), most = Quantity::Of(limit->second);
      if (asked != most && !Overcommitable(name))
        errors->Invalid(request_path, requests.at(name).string(),
                        absl::StrCat("must be equal to ", name, " limit of ", limit->second.string()));
      else if (asked > most)
        errors->Invalid(request_path, requests.at(name).string(),
                        absl::StrCat("must be less than or equal to ", name, " limit of ", limit->second.string()));
    } else if (!Overcommitable(name)) {
      errors->Required(limit_path, "Limit must be set for non overcommitable resources");
    }
  }
  if (huge && !cpu_or_memory) errors->Forbidden(path, "HugePages require cpu or memory");
}

// ---- containers ----

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

void ValidateFieldRef(const core::ObjectFieldSelector& ref, const Path& path, FieldErrors* errors) {
  static constexpr std::string_view kPaths[] = {
      "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
      "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
  const std::string& field = ref.fieldpath();
  if (ref.apiversion().empty()) return errors->Required(path.Child("apiVersion"));
  if (field.empty()) return errors->Required(path.Child("fieldPath"));
  for (const std::string_view known : kPaths)
    if (field == known) return;
  if (field.ends_with("']") && (field.starts_with("metadata.labels['") || field.starts_with("metadata.annotations['")))
    return;
  if (field == "metadata.labels" || field == "metadata.annotations" ||
      (!field.starts_with("metadata.") && !field.starts_with("spec.") && !field.starts_with("status.")))
    return errors->Invalid(path.Child("fieldPath"), field,
                           absl::StrCat("error converting fieldPath: field label not supported: ", field));
  errors->NotSupported(path.Child("fieldPath"), field, {std::begin(kPaths), std::end(kPaths)});
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

// What every kind of container has.
void ValidateCommon(const core::Container& c, const Names& volumes, const Path& path, FieldErrors* errors) {
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
  ValidateResources(c.resources().limits(), c.resources().requests(), path.Child("resources"), errors);
  if (c.has_securitycontext()) ValidateContext(c.securitycontext(), path.Child("securityContext"), errors);
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

void ValidateContainers(const core::PodSpec& spec, const Names& volumes, const Path& path, FieldErrors* errors) {
  const Path containers = path.Child("containers");
  if (spec.containers().empty()) errors->Required(containers);
  Names names, ports;
  for (int i = 0; i < spec.containers_size(); ++i) {
    const core::Container& c = spec.containers(i);
    const Path at = containers.Index(i);
    ValidateCommon(c, volumes, at, errors);
    if (!names.insert(c.name()).second) errors->Duplicate(at.Child("name"), c.name());
    ValidateProbes(c, at, errors);
  }
  for (int i = 0; i < spec.containers_size(); ++i) HostPorts(spec.containers(i), containers.Index(i), &ports, errors);
  const Path inits = path.Child("initContainers");
  for (int i = 0; i < spec.initcontainers_size(); ++i) {
    const core::Container& c = spec.initcontainers(i);
    const Path at = inits.Index(i);
    ValidateCommon(c, volumes, at, errors);
    if (c.has_restartpolicy() && c.restartpolicy() != "Always" && c.restartpolicy() != "Never" &&
        c.restartpolicy() != "OnFailure")
      errors->NotSupported(at.Child("restartPolicy"), c.restartpolicy(), {"Always", "Never", "OnFailure"});
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
  }
  const Path ephemeral = path.Child("ephemeralContainers");
  for (int i = 0; i < spec.ephemeralcontainers_size(); ++i) {
    const auto& c = spec.ephemeralcontainers(i).ephemeralcontainercommon();
    const Path at = ephemeral.Index(i);
    if (c.name().empty())
      errors->Required(at.Child("name"));
    else
      InvalidAll(at.Child("name"), c.name(), IsDns1123Label(c.name()), errors);
    if (c.image().empty()) errors->Required(at.Child("image"));
    if (!names.insert(c.name()).second) errors->Duplicate(at.Child("name"), c.name());
    const std::string& target = spec.ephemeralcontainers(i).targetcontainername();
    if (!target.empty() && !names.contains(target)) errors->NotFound(at.Child("targetContainerName"), target);
    if (!c.ports().empty()) errors->Forbidden(at.Child("ports"), "cannot be set for an Ephemeral Container");
    if (c.has_livenessprobe()) errors->Forbidden(at.Child("livenessProbe"), "cannot be set for an Ephemeral Container");
  }
}

}  // namespace skiff::api::internal
