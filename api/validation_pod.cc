// Pods and pod templates.
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "api/quantity.h"
#include "api/validation_parts.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
using Amounts = google::protobuf::Map<std::string, Quantity::Proto>;
using Names = std::set<std::string>;

constexpr char kFileMode[] = "must be a number between 0 and 0777 (octal), both inclusive";

// ---- volumes ----

void RelativePath(std::string_view value, const Path& path, FieldErrors* errors) {
  if (value.starts_with('/')) errors->Invalid(path, value, "must be a relative path");
  for (const std::string_view part : absl::StrSplit(value, '/'))
    if (part == "..") return errors->Invalid(path, value, "must not contain '..'");
}

template <typename Items>
void ValidateItems(const Items& items, const Path& path, FieldErrors* errors) {
  const Path list = path.Child("items");
  for (int i = 0; i < items.size(); ++i) {
    const Path at = list.Index(i);
    const auto& item = items.Get(i);
    if (item.key().empty()) errors->Required(at.Child("key"));
    if (item.path().empty()) errors->Required(at.Child("path"));
    RelativePath(item.path(), at.Child("path"), errors);
    if (item.path().starts_with("..") && item.path() != "..")
      errors->Invalid(at.Child("path"), item.path(), "must not start with '..'");
    if (item.has_mode() && (item.mode() > 0777 || item.mode() < 0))
      errors->Invalid(at.Child("mode"), item.mode(), kFileMode);
  }
}

template <typename V>
void ValidateMode(const V& volume, const Path& path, FieldErrors* errors) {
  if (volume.has_defaultmode() && (volume.defaultmode() > 0777 || volume.defaultmode() < 0))
    errors->Invalid(path.Child("defaultMode"), volume.defaultmode(), kFileMode);
}

void ValidateSource(const core::VolumeSource& source, const Path& path, FieldErrors* errors) {
  std::vector<const google::protobuf::FieldDescriptor*> set;
  source.GetReflection()->ListFields(source, &set);
  if (set.empty()) return errors->Required(path, "must specify a volume type");
  for (size_t i = 1; i < set.size(); ++i)
    errors->Forbidden(path.Child(set[i]->name()), "may not specify more than 1 volume type");
  if (source.has_emptydir() && source.emptydir().has_sizelimit() &&
      Quantity::Of(source.emptydir().sizelimit()).Sign() < 0) {
    const Path dir = path.Child("emptyDir");
    errors->Forbidden(dir.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
  }
  if (source.has_hostpath()) {
    const Path at = path.Child("hostPath");
    if (source.hostpath().path().empty()) errors->Required(at.Child("path"));
    for (const std::string_view part : absl::StrSplit(source.hostpath().path(), '/'))
      if (part == "..") {
        errors->Invalid(at.Child("path"), source.hostpath().path(), "must not contain '..'");
        break;
      }
    const std::string& type = source.hostpath().type();
    if (!type.empty())
      OneOf(at.Child("type"), type,
            {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"},
            errors);
  }
  if (source.has_secret()) {
    const Path at = path.Child("secret");
    if (source.secret().secretname().empty()) errors->Required(at.Child("secretName"));
    ValidateMode(source.secret(), at, errors);
    ValidateItems(source.secret().items(), at, errors);
  }
  if (source.has_configmap()) {
    const Path at = path.Child("configMap");
    if (source.configmap().localobjectreference().name().empty()) errors->Required(at.Child("name"));
    ValidateMode(source.configmap(), at, errors);
    ValidateItems(source.configmap().items(), at, errors);
  }
  if (source.has_persistentvolumeclaim()) {
    const Path at = path.Child("persistentVolumeClaim");
    if (source.persistentvolumeclaim().claimname().empty()) errors->Required(at.Child("claimName"));
  }
  if (source.has_nfs()) {
    const Path at = path.Child("nfs");
    if (source.nfs().server().empty()) errors->Required(at.Child("server"));
    if (source.nfs().path().empty())
      errors->Required(at.Child("path"));
    else if (!source.nfs().path().starts_with('/'))
      errors->Invalid(at.Child("path"), source.nfs().path(), "must be an absolute path");
  }
  if (source.has_projected()) {
    const Path at = path.Child("projected");
    ValidateMode(source.projected(), at, errors);
    const Path sources = at.Child("sources");
    for (int i = 0; i < source.projected().sources_size(); ++i) {
      const auto& one = source.projected().sources(i);
      const Path item = sources.Index(i);
      if (one.has_secret() && one.secret().localobjectreference().name().empty()) {
        const Path secret = item.Child("secret");
        errors->Required(secret.Child("name"));
      }
      if (one.has_configmap() && one.configmap().localobjectreference().name().empty()) {
        const Path map = item.Child("configMap");
        errors->Required(map.Child("name"));
      }
      if (one.has_serviceaccounttoken()) {
        const Path token = item.Child("serviceAccountToken");
        const auto& t = one.serviceaccounttoken();
        if (t.has_expirationseconds() && t.expirationseconds() < 600)
          errors->Invalid(token.Child("expirationSeconds"), t.expirationseconds(),
                          "may not specify a duration less than 10 minutes");
        if (t.has_expirationseconds() && t.expirationseconds() > (int64_t{1} << 32))
          errors->Invalid(token.Child("expirationSeconds"), t.expirationseconds(),
                          "may not specify a duration larger than 2^32 seconds");
        if (t.path().empty()) errors->Required(token.Child("path"));
      }
    }
  }
}

Names ValidateVolumes(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  Names names;
  const Path volumes = path.Child("volumes");
  for (int i = 0; i < spec.volumes_size(); ++i) {
    const core::Volume& volume = spec.volumes(i);
    const Path at = volumes.Index(i);
    const size_t before = errors->causes().size();
    ValidateSource(volume.volumesource(), at, errors);
    if (volume.name().empty())
      errors->Required(at.Child("name"));
    else
      InvalidAll(at.Child("name"), volume.name(), IsDns1123Label(volume.name()), errors);
    if (names.contains(volume.name())) errors->Duplicate(at.Child("name"), volume.name());
    if (errors->causes().size() == before) names.insert(volume.name());
  }
  return names;
}

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

// ---- the pod ----

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

void ValidateSpec(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  if (!spec.has_terminationgraceperiodseconds()) errors->Required(path.Child("terminationGracePeriodSeconds"));
  const Names volumes = ValidateVolumes(spec, path, errors);
  ValidateContainers(spec, volumes, path, errors);
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
  if (spec.dnspolicy() == "None" && spec.dnsconfig().nameservers().empty()) {
    const Path config = path.Child("dnsConfig");
    errors->Required(spec.has_dnsconfig() ? config.Child("nameservers") : path.Child("dnsConfig"),
                     spec.has_dnsconfig() ? "must provide at least one DNS nameserver when `dnsPolicy` is None"
                                          : "must provide `dnsConfig` when `dnsPolicy` is None");
  }
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
  const auto check = [&](const auto& containers, std::string_view field) {
    const Path list = path.Child(field);
    for (int i = 0; i < containers.size(); ++i) {
      const std::string& image = containers.Get(i).image();
      const Path at = list.Index(i);
      if (absl::StripAsciiWhitespace(image).size() != image.size())
        errors->Invalid(at.Child("image"), image, "must not have leading or trailing whitespace");
    }
  };
  check(spec.containers(), "containers");
  check(spec.initcontainers(), "initContainers");
}

void ValidatePodUpdate(const core::Pod& pod, const core::Pod& old, FieldErrors* errors) {
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
  if (!before.schedulinggates().empty()) {
    *same.mutable_nodeselector() = before.nodeselector();
    if (before.has_affinity())
      *same.mutable_affinity() = before.affinity();
    else
      same.clear_affinity();
  }
  if (!Equal(same, before))
    errors->Forbidden(
        spec,
        "pod updates may not change fields other than "
        "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
        "(allow it to be set to 1 if it was previously negative)");
}

}  // namespace

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
    if (subresource == "status" || subresource == "binding" || subresource == "resize") return true;
    const Path spec("spec");
    ValidateSpec(pod->spec(), spec, errors);
    ValidateImages(pod->spec(), spec, errors);
    const auto* before = old != nullptr ? old->As<core::Pod>() : nullptr;
    if (before == nullptr) {
      if (!pod->spec().ephemeralcontainers().empty())
        errors->Forbidden(spec.Child("ephemeralContainers"), "cannot be set on create");
    } else if (subresource == "ephemeralcontainers") {
      const Path path = spec.Child("ephemeralContainers");
      for (const auto& existing : before->spec().ephemeralcontainers()) {
        const std::string& name = existing.ephemeralcontainercommon().name();
        const core::EphemeralContainer* now = nullptr;
        for (const auto& each : pod->spec().ephemeralcontainers())
          if (each.ephemeralcontainercommon().name() == name) now = &each;
        if (now == nullptr)
          errors->Forbidden(path, absl::StrCat("existing ephemeral containers \"", name, "\" may not be removed\n"));
        else if (!Equal(*now, existing))
          errors->Forbidden(path, absl::StrCat("existing ephemeral containers \"", name, "\" may not be changed\n"));
      }
    } else {
      ValidatePodUpdate(*pod, *before, errors);
    }
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
