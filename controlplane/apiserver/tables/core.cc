// Tables of core/v1.
#include "api/quantity.h"
#include "api/time.h"
#include "controlplane/apiserver/table.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/event.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/events/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

std::string Or(const std::string& text, const char* otherwise) { return text.empty() ? otherwise : text; }
std::string Age(const api::Object& object, WallTime now) { return AgeOf(object.meta().creationtimestamp(), now); }

// ---- pods ----

constexpr Column kPod[] = {{"Name", "string", 0, "name"},
                           {"Ready", "string"},
                           {"Status", "string"},
                           {"Restarts", "string"},
                           {"Age", "string"},
                           {"IP", "string", 1},
                           {"Node", "string", 1},
                           {"Nominated Node", "string", 1},
                           {"Readiness Gates", "string", 1}};

bool IsSidecar(const core::Pod& pod, const std::string& name) {
  for (const core::Container& container : pod.spec().initcontainers())
    if (container.name() == name) return container.restartpolicy() == "Always";
  return false;
}

bool IsTrue(const core::Pod& pod, std::string_view type) {
  for (const core::PodCondition& condition : pod.status().conditions())
    if (condition.type() == type) return condition.status() == "True";
  return false;
}

// The word that stands for what happens in a pod: its phase, or why the phase is not the whole story.
void PodCells(const api::Object& object, WallTime now, Cells& cells) {
  const core::Pod& pod = *object.As<core::Pod>();
  int restarts = 0, sidecar_restarts = 0, ready = 0, total = pod.spec().containers_size();
  metav1::Time last_restart, last_sidecar_restart;
  auto later = [](const metav1::Time& a, metav1::Time* b) {
    if (a.seconds() > b->seconds()) *b = a;
  };
  std::string reason = Or(pod.status().reason(), pod.status().phase().c_str());
  for (const core::PodCondition& condition : pod.status().conditions())
    if (condition.type() == "PodScheduled" && condition.reason() == "SchedulingGated") reason = "SchedulingGated";
  for (const core::Container& container : pod.spec().initcontainers())
    if (container.restartpolicy() == "Always") ++total;

  bool initializing = false;
  for (int i = 0; i < pod.status().initcontainerstatuses_size(); ++i) {
    const core::ContainerStatus& status = pod.status().initcontainerstatuses(i);
    restarts += status.restartcount();
    if (status.laststate().has_terminated()) later(status.laststate().terminated().finishedat(), &last_restart);
    if (IsSidecar(pod, status.name())) {
      sidecar_restarts += status.restartcount();
      if (status.laststate().has_terminated())
        later(status.laststate().terminated().finishedat(), &last_sidecar_restart);
    }
    const auto& state = status.state();
    if (state.has_terminated() && state.terminated().exitcode() == 0) continue;
    if (IsSidecar(pod, status.name()) && status.started()) {
      if (status.ready()) ++ready;
      continue;
    }
    if (state.has_terminated()) {
      if (!state.terminated().reason().empty())
        reason = "Init:" + state.terminated().reason();
      else if (state.terminated().signal() != 0)
        reason = absl::StrCat("Init:Signal:", state.terminated().signal());
      else
        reason = absl::StrCat("Init:ExitCode:", state.terminated().exitcode());
    } else if (state.has_waiting() && !state.waiting().reason().empty() &&
               state.waiting().reason() != "PodInitializing") {
      reason = "Init:" + state.waiting().reason();
    } else {
      reason = absl::StrCat("Init:", i, "/", pod.spec().initcontainers_size());
    }
    initializing = true;
    break;
  }
  if (!initializing || IsTrue(pod, "Initialized")) {
    restarts = sidecar_restarts;
    last_restart = last_sidecar_restart;
    bool running = false;
    for (int i = pod.status().containerstatuses_size() - 1; i >= 0; --i) {
      const core::ContainerStatus& status = pod.status().containerstatuses(i);
      restarts += status.restartcount();
      if (status.laststate().has_terminated()) later(status.laststate().terminated().finishedat(), &last_restart);
      const auto& state = status.state();
      if (state.has_waiting() && !state.waiting().reason().empty()) {
        reason = state.waiting().reason();
      } else if (state.has_terminated() && !state.terminated().reason().empty()) {
        reason = state.terminated().reason();
      } else if (state.has_terminated()) {
        reason = state.terminated().signal() != 0 ? absl::StrCat("Signal:", state.terminated().signal())
                                                  : absl::StrCat("ExitCode:", state.terminated().exitcode());
      } else if (status.ready() && state.has_running()) {
        running = true;
        ++ready;
      }
    }
    // Some ended, some run: the pod as a whole runs.
    if (reason == "Completed" && running) reason = IsTrue(pod, "Ready") ? "Running" : "NotReady";
  }
  if (pod.metadata().has_deletiontimestamp() && pod.status().reason() == "NodeLost")
    reason = "Unknown";
  else if (pod.metadata().has_deletiontimestamp() && pod.status().phase() != "Failed" &&
           pod.status().phase() != "Succeeded")
    reason = "Terminating";

  cells.Text(pod.metadata().name());
  cells.Text(absl::StrCat(ready, "/", total));
  cells.Text(reason);
  cells.Text(restarts != 0 && last_restart.seconds() > 0
                 ? absl::StrCat(restarts, " (", AgeOf(last_restart, now), " ago)")
                 : absl::StrCat(restarts));
  cells.Text(Age(object, now));
  cells.Text(Or(pod.status().podips_size() > 0 ? pod.status().podips(0).ip() : pod.status().podip(), "<none>"));
  cells.Text(Or(pod.spec().nodename(), "<none>"));
  cells.Text(Or(pod.status().nominatednodename(), "<none>"));
  if (pod.spec().readinessgates_size() == 0) {
    cells.Text("<none>");
  } else {
    int gates = 0;
    for (const auto& gate : pod.spec().readinessgates())
      if (IsTrue(pod, gate.conditiontype())) ++gates;
    cells.Text(absl::StrCat(gates, "/", pod.spec().readinessgates_size()));
  }
}

// ---- nodes ----

constexpr Column kNode[] = {{"Name", "string", 0, "name"},
                            {"Status", "string"},
                            {"Roles", "string"},
                            {"Age", "string"},
                            {"Version", "string"},
                            {"Internal-IP", "string", 1},
                            {"External-IP", "string", 1},
                            {"OS-Image", "string", 1},
                            {"Kernel-Version", "string", 1},
                            {"Container-Runtime", "string", 1}};

void NodeCells(const api::Object& object, WallTime now, Cells& cells) {
  const core::Node& node = *object.As<core::Node>();
  std::string status;
  for (const core::NodeCondition& condition : node.status().conditions())
    if (condition.type() == "Ready") status = condition.status() == "True" ? "Ready" : "NotReady";
  if (status.empty()) status = "Unknown";
  if (node.spec().unschedulable()) status += ",SchedulingDisabled";
  std::vector<std::string> roles;
  for (const auto& [key, value] : node.metadata().labels()) {
    if (key.starts_with("node-role.kubernetes.io/") && key.size() > 24) roles.push_back(key.substr(24));
    if (key == "kubernetes.io/role" && !value.empty()) roles.push_back(value);
  }
  std::sort(roles.begin(), roles.end());
  std::string role_text;
  for (const std::string& role : roles) absl::StrAppend(&role_text, role_text.empty() ? "" : ",", role);
  auto address = [&](std::string_view type) -> std::string {
    for (const auto& entry : node.status().addresses())
      if (entry.type() == type) return entry.address();
    return "<none>";
  };
  const auto& info = node.status().nodeinfo();
  cells.Text(node.metadata().name());
  cells.Text(status);
  cells.Text(Or(role_text, "<none>"));
  cells.Text(Age(object, now));
  cells.Text(info.kubeletversion());
  cells.Text(address("InternalIP"));
  cells.Text(address("ExternalIP"));
  cells.Text(Or(info.osimage(), "<unknown>"));
  cells.Text(info.kernelversion().empty() ? "<unknown>"
                                          : absl::StrCat(info.kernelversion(), info.architecture().empty() ? "" : " (",
                                                         info.architecture(), info.architecture().empty() ? "" : ")"));
  cells.Text(Or(info.containerruntimeversion(), "<unknown>"));
}

// ---- services ----

constexpr Column kService[] = {{"Name", "string", 0, "name"}, {"Type", "string"},    {"Cluster-IP", "string"},
                               {"External-IP", "string"},     {"Port(s)", "string"}, {"Age", "string"},
                               {"Selector", "string", 1}};

std::string ExternalAddress(const core::Service& service) {
  const core::ServiceSpec& spec = service.spec();
  std::string externals;
  for (const std::string& ip : spec.externalips()) absl::StrAppend(&externals, externals.empty() ? "" : ",", ip);
  if (spec.type() == "ExternalName") return spec.externalname();
  if (spec.type() == "LoadBalancer") {
    std::string balancers;
    for (const auto& ingress : service.status().loadbalancer().ingress())
      absl::StrAppend(&balancers, balancers.empty() ? "" : ",",
                      ingress.ip().empty() ? ingress.hostname() : ingress.ip());
    if (!balancers.empty()) return externals.empty() ? balancers : balancers + "," + externals;
    return Or(externals, "<pending>");
  }
  return Or(externals, "<none>");
}

void ServiceCells(const api::Object& object, WallTime now, Cells& cells) {
  const core::Service& service = *object.As<core::Service>();
  const core::ServiceSpec& spec = service.spec();
  std::string ports;
  for (const core::ServicePort& port : spec.ports()) {
    absl::StrAppend(&ports, ports.empty() ? "" : ",", port.port());
    if (port.nodeport() > 0) absl::StrAppend(&ports, ":", port.nodeport());
    absl::StrAppend(&ports, "/", port.protocol());
  }
  cells.Text(service.metadata().name());
  cells.Text(spec.type());
  cells.Text(Or(spec.clusterips_size() > 0 ? spec.clusterips(0) : spec.clusterip(), "<none>"));
  cells.Text(ExternalAddress(service));
  cells.Text(Or(ports, "<none>"));
  cells.Text(Age(object, now));
  cells.Text(LabelsText(spec.selector()));
}

// ---- small ones ----

constexpr Column kNamespace[] = {{"Name", "string", 0, "name"}, {"Status", "string"}, {"Age", "string"}};
void NamespaceCells(const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Text(object.As<core::Namespace>()->status().phase());
  cells.Text(Age(object, now));
}

constexpr Column kConfigMap[] = {{"Name", "string", 0, "name"}, {"Data", "string"}, {"Age", "string"}};
void ConfigMapCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& map = *object.As<core::ConfigMap>();
  cells.Text(object.meta().name());
  cells.Int(map.data_size() + map.binarydata_size());
  cells.Text(Age(object, now));
}

constexpr Column kSecret[] = {{"Name", "string", 0, "name"}, {"Type", "string"}, {"Data", "string"}, {"Age", "string"}};
void SecretCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& secret = *object.As<core::Secret>();
  cells.Text(object.meta().name());
  cells.Text(secret.type());
  cells.Int(secret.data_size());
  cells.Text(Age(object, now));
}

constexpr Column kServiceAccount[] = {{"Name", "string", 0, "name"}, {"Age", "string"}};
void ServiceAccountCells(const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Text(Age(object, now));
}

constexpr Column kEndpoints[] = {{"Name", "string", 0, "name"}, {"Endpoints", "string"}, {"Age", "string"}};
void EndpointsCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& endpoints = *object.As<core::Endpoints>();
  std::vector<std::string> all;
  for (const auto& subset : endpoints.subsets()) {
    for (const auto& address : subset.addresses()) {
      const std::string ip = address.ip().find(':') != std::string::npos ? "[" + address.ip() + "]" : address.ip();
      if (subset.ports_size() == 0) all.push_back(address.ip());
      for (const auto& port : subset.ports()) all.push_back(absl::StrCat(ip, ":", port.port()));
    }
  }
  std::string text;
  for (size_t i = 0; i < all.size() && i < 3; ++i) absl::StrAppend(&text, i > 0 ? "," : "", all[i]);
  if (all.size() > 3) absl::StrAppend(&text, " + ", all.size() - 3, " more...");
  cells.Text(object.meta().name());
  cells.Text(Or(text, "<none>"));
  cells.Text(Age(object, now));
}

// ---- volumes ----

std::string Modes(const google::protobuf::RepeatedPtrField<std::string>& modes) {
  std::string out;
  for (std::string_view mode : {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}) {
    for (const std::string& have : modes) {
      if (have != mode) continue;
      absl::StrAppend(&out, out.empty() ? "" : ",",
                      mode == "ReadWriteOnce"   ? "RWO"
                      : mode == "ReadOnlyMany"  ? "ROX"
                      : mode == "ReadWriteMany" ? "RWX"
                                                : "RWOP");
      break;
    }
  }
  return out;
}

constexpr Column kVolume[] = {{"Name", "string", 0, "name"}, {"Capacity", "string"},
                              {"Access Modes", "string"},    {"Reclaim Policy", "string"},
                              {"Status", "string"},          {"Claim", "string"},
                              {"StorageClass", "string"},    {"VolumeAttributesClass", "string"},
                              {"Reason", "string"},          {"Age", "string"},
                              {"VolumeMode", "string", 1}};
void VolumeCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& volume = *object.As<core::PersistentVolume>();
  const auto& spec = volume.spec();
  auto capacity = spec.capacity().find("storage");
  cells.Text(object.meta().name());
  cells.Text(capacity == spec.capacity().end() ? "" : api::Quantity::Of(capacity->second).ToString());
  cells.Text(Modes(spec.accessmodes()));
  cells.Text(spec.persistentvolumereclaimpolicy());
  cells.Text(object.meta().has_deletiontimestamp() ? "Terminating" : volume.status().phase());
  cells.Text(spec.has_claimref() ? absl::StrCat(spec.claimref().namespace_(), "/", spec.claimref().name()) : "");
  cells.Text(spec.storageclassname());
  cells.Text(spec.has_volumeattributesclassname() ? spec.volumeattributesclassname() : "<unset>");
  cells.Text(volume.status().reason());
  cells.Text(Age(object, now));
  cells.Text(spec.has_volumemode() ? spec.volumemode() : "<unset>");
}

constexpr Column kClaim[] = {{"Name", "string", 0, "name"},
                             {"Status", "string"},
                             {"Volume", "string"},
                             {"Capacity", "string"},
                             {"Access Modes", "string"},
                             {"StorageClass", "string"},
                             {"VolumeAttributesClass", "string"},
                             {"Age", "string"},
                             {"VolumeMode", "string", 1}};
void ClaimCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& claim = *object.As<core::PersistentVolumeClaim>();
  std::string capacity, modes;
  if (!claim.spec().volumename().empty()) {
    modes = Modes(claim.status().accessmodes());
    auto it = claim.status().capacity().find("storage");
    if (it != claim.status().capacity().end()) capacity = api::Quantity::Of(it->second).ToString();
  }
  cells.Text(object.meta().name());
  cells.Text(object.meta().has_deletiontimestamp() ? "Terminating" : claim.status().phase());
  cells.Text(claim.spec().volumename());
  cells.Text(capacity);
  cells.Text(modes);
  cells.Text(claim.spec().storageclassname());
  cells.Text(claim.spec().has_volumeattributesclassname() ? claim.spec().volumeattributesclassname() : "<unset>");
  cells.Text(Age(object, now));
  cells.Text(claim.spec().has_volumemode() ? claim.spec().volumemode() : "<unset>");
}

struct Row {
  std::string_view plural;
  TableForm form;
};
const Row kForms[] = {
    {"pods", {kPod, PodCells}},
    {"nodes", {kNode, NodeCells}},
    {"services", {kService, ServiceCells}},
    {"namespaces", {kNamespace, NamespaceCells}},
    {"configmaps", {kConfigMap, ConfigMapCells}},
    {"secrets", {kSecret, SecretCells}},
    {"serviceaccounts", {kServiceAccount, ServiceAccountCells}},
    {"endpoints", {kEndpoints, EndpointsCells}},
    {"persistentvolumes", {kVolume, VolumeCells}},
    {"persistentvolumeclaims", {kClaim, ClaimCells}},
};

}  // namespace

const TableForm* CoreTable(std::string_view plural) {
  for (const Row& row : kForms)
    if (row.plural == plural) return &row.form;
  return nullptr;
}

}  // namespace skiff::controlplane
