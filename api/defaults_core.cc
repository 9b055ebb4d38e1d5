// Defaults of the core group.
#include "absl/strings/ascii.h"
#include "api/default_table.h"
#include "api/defaults.h"
#include "api/int_or_string.h"
#include "api/pod_resources.h"
#include "api/quantity.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;

// "latest" where the reference has neither tag nor digest; "" for a reference that does not parse.
std::string TagOf(std::string_view image) {
  const size_t digest = image.find('@');
  std::string_view name = image.substr(0, digest);
  const size_t slash = name.rfind('/');
  const size_t colon = name.find(':', slash == std::string_view::npos ? 0 : slash);
  std::string_view tag;
  if (colon != std::string_view::npos) {
    tag = name.substr(colon + 1);
    name = name.substr(0, colon);
    if (tag.empty()) return {};
  }
  // Only a host (with a dot or port, or localhost) may have capitals.
  const size_t first = name.find('/');
  std::string_view path = name;
  if (first != std::string_view::npos &&
      (name.substr(0, first).find_first_of(".:") != std::string_view::npos || name.substr(0, first) == "localhost"))
    path = name.substr(first + 1);
  if (path.empty()) return {};
  for (const char c : path)
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '.' && c != '_' && c != '-' && c != '/') return {};
  if (!tag.empty()) return std::string(tag);
  return digest == std::string_view::npos ? "latest" : "";
}

const char* PullPolicyOf(std::string_view image) { return TagOf(image) == "latest" ? "Always" : "IfNotPresent"; }

template <typename C>
void Container(C* c) {
  if (c->imagepullpolicy().empty()) c->set_imagepullpolicy(PullPolicyOf(c->image()));
  if (c->terminationmessagepath().empty()) c->set_terminationmessagepath("/dev/termination-log");
  if (c->terminationmessagepolicy().empty()) c->set_terminationmessagepolicy("File");
}

void RequestsFromLimits(core::Container* c) {
  for (const auto& [name, limit] : c->resources().limits())
    if (!c->resources().requests().contains(name)) (*c->mutable_resources()->mutable_requests())[name] = limit;
}

void HostPorts(google::protobuf::RepeatedPtrField<core::Container>* containers) {
  for (core::Container& c : *containers)
    for (core::ContainerPort& port : *c.mutable_ports())
      if (port.hostport() == 0 && port.containerport() != 0) port.set_hostport(port.containerport());
}

bool PodLevelResource(const std::string& name) {
  return name == "cpu" || name == "memory" || name.starts_with("hugepages-");
}

void PodLevelResources(core::PodSpec* spec) {
  if (!spec->has_resources()) return;
  auto* resources = spec->mutable_resources();
  if (!resources->limits().empty() || !resources->requests().empty()) {
    const Amounts limits = AggregateContainers(*spec, &LimitsOf);
    for (const auto& [name, amount] : limits)
      if (name.starts_with("hugepages-") && !resources->requests().contains(name) &&
          !resources->limits().contains(name))
        (*resources->mutable_limits())[name] = amount;
  }
  if (resources->limits().empty()) return;
  const Amounts requests = AggregateContainers(*spec, &RequestsOf);
  for (const auto& [name, amount] : requests)
    if (!resources->requests().contains(name) && (name == "cpu" || name == "memory"))
      (*resources->mutable_requests())[name] = amount;
  for (const auto& [name, amount] : resources->limits())
    if (!resources->requests().contains(name) && PodLevelResource(name))
      (*resources->mutable_requests())[name] = amount;
}

void Pod(core::Pod* pod) {
  core::PodSpec* spec = pod->mutable_spec();
  for (core::Container& c : *spec->mutable_containers()) RequestsFromLimits(&c);
  for (core::Container& c : *spec->mutable_initcontainers()) RequestsFromLimits(&c);
  PodLevelResources(spec);
  if (!spec->has_enableservicelinks()) spec->set_enableservicelinks(true);
  if (spec->hostnetwork()) {
    HostPorts(spec->mutable_containers());
    HostPorts(spec->mutable_initcontainers());
  }
}

void PodSpec(core::PodSpec* spec) {
  if (spec->dnspolicy().empty()) spec->set_dnspolicy("ClusterFirst");
  if (spec->restartpolicy().empty()) spec->set_restartpolicy("Always");
  spec->mutable_securitycontext();
  if (!spec->has_terminationgraceperiodseconds()) spec->set_terminationgraceperiodseconds(30);
  if (spec->schedulername().empty()) spec->set_schedulername("default-scheduler");
  // The deprecated name follows the one that replaced it.
  if (spec->serviceaccountname().empty()) spec->set_serviceaccountname(spec->serviceaccount());
  if (spec->serviceaccountname().empty())
    spec->clear_serviceaccountname();
  else
    spec->set_serviceaccount(spec->serviceaccountname());
}

void Volume(core::Volume* volume) {
  auto* source = volume->mutable_volumesource();
  std::vector<const google::protobuf::FieldDescriptor*> set;
  source->GetReflection()->ListFields(*source, &set);
  if (set.empty()) source->mutable_emptydir();
  if (source->has_image() && source->image().pullpolicy().empty())
    source->mutable_image()->set_pullpolicy(PullPolicyOf(source->image().reference()));
}

void Probe(core::Probe* probe) {
  if (probe->timeoutseconds() == 0) probe->set_timeoutseconds(1);
  if (probe->periodseconds() == 0) probe->set_periodseconds(10);
  if (probe->successthreshold() == 0) probe->set_successthreshold(1);
  if (probe->failurethreshold() == 0) probe->set_failurethreshold(3);
}

template <typename V>
void DefaultMode(V* volume) {
  if (!volume->has_defaultmode()) volume->set_defaultmode(0644);
}

void Service(core::Service* service) {
  auto* spec = service->mutable_spec();
  if (spec->sessionaffinity().empty()) spec->set_sessionaffinity("None");
  if (spec->sessionaffinity() == "None") spec->clear_sessionaffinityconfig();
  if (spec->sessionaffinity() == "ClientIP" && !spec->sessionaffinityconfig().clientip().has_timeoutseconds()) {
    spec->clear_sessionaffinityconfig();
    spec->mutable_sessionaffinityconfig()->mutable_clientip()->set_timeoutseconds(10800);
  }
  if (spec->type().empty()) spec->set_type("ClusterIP");
  for (auto& port : *spec->mutable_ports()) {
    if (port.protocol().empty()) port.set_protocol("TCP");
    const bool no_target =
        IsString(port.targetport()) ? port.targetport().strval().empty() : port.targetport().intval() == 0;
    if (no_target) *port.mutable_targetport() = FromInt(port.port());
  }
  const std::string& type = spec->type();
  const bool external =
      type == "LoadBalancer" || type == "NodePort" || (type == "ClusterIP" && spec->externalips_size() > 0);
  if (external && spec->externaltrafficpolicy().empty()) spec->set_externaltrafficpolicy("Cluster");
  if (!spec->has_internaltrafficpolicy() && (type == "NodePort" || type == "LoadBalancer" || type == "ClusterIP"))
    spec->set_internaltrafficpolicy("Cluster");
  if (type != "LoadBalancer") return;
  if (!spec->has_allocateloadbalancernodeports()) spec->set_allocateloadbalancernodeports(true);
  if (!service->has_status()) return;
  for (auto& ingress : *service->mutable_status()->mutable_loadbalancer()->mutable_ingress())
    if (!ingress.ip().empty() && !ingress.has_ipmode()) ingress.set_ipmode("VIP");
}

void LimitRangeItem(core::LimitRangeItem* item) {
  if (item->type() != "Container") return;
  for (const auto& [name, amount] : item->max())
    if (!item->default_().contains(name)) (*item->mutable_default_())[name] = amount;
  for (const auto& [name, amount] : item->default_())
    if (!item->defaultrequest().contains(name)) (*item->mutable_defaultrequest())[name] = amount;
  for (const auto& [name, amount] : item->min())
    if (!item->defaultrequest().contains(name)) (*item->mutable_defaultrequest())[name] = amount;
}

void ReplicationController(core::ReplicationController* rc) {
  const auto labels = rc->spec().template_().metadata().labels();
  if (labels.empty()) return;
  if (rc->spec().selector().empty()) *rc->mutable_spec()->mutable_selector() = labels;
  if (rc->metadata().labels().empty()) *rc->mutable_metadata()->mutable_labels() = labels;
}

}  // namespace

void AddCoreDefaults(DefaultTable* table) {
  table->Add(&Pod);
  table->Add(&PodSpec);
  table->Add(&Volume);
  table->Add(&Container<core::Container>);
  table->Add(&Container<core::EphemeralContainerCommon>);
  table->Add(&Probe);
  table->Add(&Service);
  table->Add(&DefaultMode<core::SecretVolumeSource>);
  table->Add(&DefaultMode<core::ConfigMapVolumeSource>);
  table->Add(&DefaultMode<core::DownwardAPIVolumeSource>);
  table->Add(&DefaultMode<core::ProjectedVolumeSource>);
  table->Add(&LimitRangeItem);
  table->Add(&ReplicationController);
  table->Add<core::Secret>([](core::Secret* s) {
    if (s->type().empty()) s->set_type("Opaque");
    // Write-only: folded into data.
    for (const auto& [key, value] : s->stringdata()) (*s->mutable_data())[key] = value;
    s->clear_stringdata();
  });
  table->Add<core::NodeSpec>([](core::NodeSpec* s) {
    // The singular field is the first of the plural one.
    if (s->podcidrs().empty() && !s->podcidr().empty())
      s->add_podcidrs(s->podcidr());
    else if (!s->podcidrs().empty())
      s->set_podcidr(s->podcidrs(0));
  });
  table->Add<core::PodStatus>([](core::PodStatus* s) {
    // The singular field is what old kubelets write; it holds where the two differ.
    if (!s->podips().empty() && !s->podip().empty() && s->podip() != s->podips(0).ip()) s->clear_podips();
    if (s->podips().empty() && !s->podip().empty())
      s->add_podips()->set_ip(s->podip());
    else if (!s->podips().empty())
      s->set_podip(s->podips(0).ip());
  });
  table->Add<core::ServiceAccountTokenProjection>([](core::ServiceAccountTokenProjection* p) {
    if (!p->has_expirationseconds()) p->set_expirationseconds(3600);
  });
  table->Add<core::PersistentVolume>([](core::PersistentVolume* v) {
    if (v->status().phase().empty()) v->mutable_status()->set_phase("Pending");
    if (v->spec().persistentvolumereclaimpolicy().empty())
      v->mutable_spec()->set_persistentvolumereclaimpolicy("Retain");
    if (!v->spec().has_volumemode()) v->mutable_spec()->set_volumemode("Filesystem");
  });
  table->Add<core::PersistentVolumeClaim>([](core::PersistentVolumeClaim* c) {
    if (c->status().phase().empty()) c->mutable_status()->set_phase("Pending");
  });
  table->Add<core::PersistentVolumeClaimSpec>([](core::PersistentVolumeClaimSpec* s) {
    if (!s->has_volumemode()) s->set_volumemode("Filesystem");
  });
  table->Add<core::EndpointPort>([](core::EndpointPort* p) {
    if (p->protocol().empty()) p->set_protocol("TCP");
  });
  table->Add<core::HTTPGetAction>([](core::HTTPGetAction* a) {
    if (a->path().empty()) a->set_path("/");
    if (a->scheme().empty()) a->set_scheme("HTTP");
  });
  table->Add<core::HostPathVolumeSource>([](core::HostPathVolumeSource* v) {
    if (!v->has_type()) v->set_type("");
  });
  table->Add<core::ObjectFieldSelector>([](core::ObjectFieldSelector* s) {
    if (s->apiversion().empty()) s->set_apiversion("v1");
  });
  // A value in Go, so never absent: patches made from the JSON form would see a change otherwise.
  table->Add<core::ResourceFieldSelector>([](core::ResourceFieldSelector* s) {
    if (!s->has_divisor()) s->mutable_divisor()->set_string("0");
  });
  table->Add<core::Namespace>([](core::Namespace* n) {
    if (!n->metadata().name().empty())
      (*n->mutable_metadata()->mutable_labels())["kubernetes.io/metadata.name"] = n->metadata().name();
  });
  table->Add<core::NamespaceStatus>([](core::NamespaceStatus* s) {
    if (s->phase().empty()) s->set_phase("Active");
  });
  table->Add<core::NodeStatus>([](core::NodeStatus* s) {
    if (s->allocatable().empty() && !s->capacity().empty()) *s->mutable_allocatable() = s->capacity();
  });
}

}  // namespace skiff::api::internal

namespace skiff::api {

void SetPodDefaults(k8s::io::api::core::v1::Pod* pod) {
  static const auto* const table = [] {
    auto* out = new internal::DefaultTable;
    internal::AddCoreDefaults(out);
    return out;
  }();
  table->Apply(pod);
}

}  // namespace skiff::api
