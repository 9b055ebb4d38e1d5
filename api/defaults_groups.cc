// Defaults of the other groups.
#include "absl/strings/ascii.h"
#include "api/default_table.h"
#include "api/defaults.h"
#include "api/int_or_string.h"
#include "api/time.h"
#include "k8s/io/api/admissionregistration/v1/generated.pb.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/autoscaling/v1/generated.pb.h"
#include "k8s/io/api/autoscaling/v2/generated.pb.h"
#include "k8s/io/api/batch/v1/generated.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "k8s/io/api/flowcontrol/v1/generated.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"
#include "k8s/io/api/rbac/v1/generated.pb.h"
#include "k8s/io/api/resource/v1/generated.pb.h"
#include "k8s/io/api/scheduling/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"
#include "k8s/io/apiextensions_apiserver/pkg/apis/apiextensions/v1/generated.pb.h"
#include "k8s/io/kube_aggregator/pkg/apis/apiregistration/v1/generated.pb.h"

namespace skiff::api::internal {
namespace {

namespace admission = k8s::io::api::admissionregistration::v1;
namespace apiextensions = k8s::io::apiextensions_apiserver::pkg::apis::apiextensions::v1;
namespace apiregistration = k8s::io::kube_aggregator::pkg::apis::apiregistration::v1;
namespace apps = k8s::io::api::apps::v1;
namespace autoscaling1 = k8s::io::api::autoscaling::v1;
namespace autoscaling2 = k8s::io::api::autoscaling::v2;
namespace batch = k8s::io::api::batch::v1;
namespace discovery = k8s::io::api::discovery::v1;
namespace flowcontrol = k8s::io::api::flowcontrol::v1;
namespace networking = k8s::io::api::networking::v1;
namespace rbac = k8s::io::api::rbac::v1;
namespace resource = k8s::io::api::resource::v1;
namespace storage = k8s::io::api::storage::v1;

constexpr char kRbacGroup[] = "rbac.authorization.k8s.io";

void Deployment(apps::Deployment* d) {
  auto* spec = d->mutable_spec();
  if (!spec->has_replicas()) spec->set_replicas(1);
  auto* strategy = spec->mutable_strategy();
  if (strategy->type().empty()) strategy->set_type("RollingUpdate");
  if (strategy->type() == "RollingUpdate") {
    auto* rolling = strategy->mutable_rollingupdate();
    if (!rolling->has_maxunavailable()) *rolling->mutable_maxunavailable() = FromString("25%");
    if (!rolling->has_maxsurge()) *rolling->mutable_maxsurge() = FromString("25%");
  }
  if (!spec->has_revisionhistorylimit()) spec->set_revisionhistorylimit(10);
  if (!spec->has_progressdeadlineseconds()) spec->set_progressdeadlineseconds(600);
}

void DaemonSet(apps::DaemonSet* d) {
  auto* strategy = d->mutable_spec()->mutable_updatestrategy();
  if (strategy->type().empty()) strategy->set_type("RollingUpdate");
  if (strategy->type() == "RollingUpdate") {
    auto* rolling = strategy->mutable_rollingupdate();
    if (!rolling->has_maxunavailable()) *rolling->mutable_maxunavailable() = FromInt(1);
    if (!rolling->has_maxsurge()) *rolling->mutable_maxsurge() = FromInt(0);
  }
  if (!d->spec().has_revisionhistorylimit()) d->mutable_spec()->set_revisionhistorylimit(10);
  // Upstream keeps this counter beside the versioned object and shows it as an annotation; a new one is at 1.
  d->mutable_metadata()->mutable_annotations()->insert({"deprecated.daemonset.template.generation", "1"});
}

void StatefulSet(apps::StatefulSet* s) {
  auto* spec = s->mutable_spec();
  if (spec->podmanagementpolicy().empty()) spec->set_podmanagementpolicy("OrderedReady");
  auto* strategy = spec->mutable_updatestrategy();
  if (strategy->type().empty()) {
    strategy->set_type("RollingUpdate");
    strategy->mutable_rollingupdate();
  }
  if (strategy->type() == "RollingUpdate" && strategy->has_rollingupdate() &&
      !strategy->rollingupdate().has_partition())
    strategy->mutable_rollingupdate()->set_partition(0);
  auto* retention = spec->mutable_persistentvolumeclaimretentionpolicy();
  if (retention->whendeleted().empty()) retention->set_whendeleted("Retain");
  if (retention->whenscaled().empty()) retention->set_whenscaled("Retain");
  if (!spec->has_replicas()) spec->set_replicas(1);
  if (!spec->has_revisionhistorylimit()) spec->set_revisionhistorylimit(10);
}

void Job(batch::Job* j) {
  auto* spec = j->mutable_spec();
  if (!spec->has_completions() && !spec->has_parallelism()) spec->set_completions(1);
  if (!spec->has_parallelism()) spec->set_parallelism(1);
  if (!spec->has_backofflimit()) spec->set_backofflimit(spec->has_backofflimitperindex() ? 2147483647 : 6);
  const auto& labels = spec->template_().metadata().labels();
  if (!labels.empty() && j->metadata().labels().empty()) *j->mutable_metadata()->mutable_labels() = labels;
  if (!spec->has_completionmode()) spec->set_completionmode("NonIndexed");
  if (!spec->has_suspend()) spec->set_suspend(false);
  if (!spec->has_podreplacementpolicy())
    spec->set_podreplacementpolicy(spec->has_podfailurepolicy() ? "Failed" : "TerminatingOrFailed");
  if (!spec->has_manualselector()) spec->set_manualselector(false);
}

void CronJob(batch::CronJob* c) {
  auto* spec = c->mutable_spec();
  if (spec->concurrencypolicy().empty()) spec->set_concurrencypolicy("Allow");
  if (!spec->has_suspend()) spec->set_suspend(false);
  if (!spec->has_successfuljobshistorylimit()) spec->set_successfuljobshistorylimit(3);
  if (!spec->has_failedjobshistorylimit()) spec->set_failedjobshistorylimit(1);
}

void AddPolicy(autoscaling2::HPAScalingRules* rules, const char* type, int value) {
  auto* policy = rules->add_policies();
  policy->set_type(type);
  policy->set_value(value);
  policy->set_periodseconds(15);
}

void Autoscaler2(autoscaling2::HorizontalPodAutoscaler* h) {
  auto* spec = h->mutable_spec();
  if (!spec->has_minreplicas()) spec->set_minreplicas(1);
  if (spec->metrics().empty()) {
    auto* metric = spec->add_metrics();
    metric->set_type("Resource");
    metric->mutable_resource()->set_name("cpu");
    metric->mutable_resource()->mutable_target()->set_type("Utilization");
    metric->mutable_resource()->mutable_target()->set_averageutilization(80);
  }
  if (!spec->has_behavior()) return;
  auto* up = spec->mutable_behavior()->mutable_scaleup();
  if (!up->has_stabilizationwindowseconds()) up->set_stabilizationwindowseconds(0);
  if (!up->has_selectpolicy()) up->set_selectpolicy("Max");
  if (up->policies().empty()) {
    AddPolicy(up, "Pods", 4);
    AddPolicy(up, "Percent", 100);
  }
  auto* down = spec->mutable_behavior()->mutable_scaledown();
  if (!down->has_selectpolicy()) down->set_selectpolicy("Max");
  if (down->policies().empty()) AddPolicy(down, "Percent", 100);
}

template <typename W>
void Webhook(W* w) {
  if (!w->has_failurepolicy()) w->set_failurepolicy("Fail");
  if (!w->has_matchpolicy()) w->set_matchpolicy("Equivalent");
  w->mutable_namespaceselector();
  w->mutable_objectselector();
  if (!w->has_timeoutseconds()) w->set_timeoutseconds(10);
}

template <typename S>
void Port443(S* s) {
  if (!s->has_port()) s->set_port(443);
}

template <typename S>
void FailurePolicy(S* s) {
  if (!s->has_failurepolicy()) s->set_failurepolicy("Fail");
}

template <typename B>
void RoleRef(B* b) {
  if (b->roleref().apigroup().empty()) b->mutable_roleref()->set_apigroup(kRbacGroup);
}

template <typename R>
void DeviceRequest(R* r) {
  if (r->allocationmode().empty()) r->set_allocationmode("ExactCount");
  if (r->allocationmode() == "ExactCount" && r->count() == 0) r->set_count(1);
}

void CsiDriver(storage::CSIDriver* d) {
  auto* spec = d->mutable_spec();
  if (!spec->has_attachrequired()) spec->set_attachrequired(true);
  if (!spec->has_podinfoonmount()) spec->set_podinfoonmount(false);
  if (!spec->has_storagecapacity()) spec->set_storagecapacity(false);
  if (!spec->has_fsgrouppolicy()) spec->set_fsgrouppolicy("ReadWriteOnceWithFSType");
  if (spec->volumelifecyclemodes().empty()) spec->add_volumelifecyclemodes("Persistent");
  if (!spec->has_requiresrepublish()) spec->set_requiresrepublish(false);
  if (!spec->has_selinuxmount()) spec->set_selinuxmount(false);
}

void Definition(apiextensions::CustomResourceDefinition* c) {
  auto* names = c->mutable_spec()->mutable_names();
  if (names->singular().empty() && !names->kind().empty()) names->set_singular(absl::AsciiStrToLower(names->kind()));
  if (names->listkind().empty() && !names->kind().empty()) names->set_listkind(names->kind() + "List");
  if (!c->spec().has_conversion()) c->mutable_spec()->mutable_conversion()->set_strategy("None");
  if (!c->status().storedversions().empty()) return;
  for (const auto& version : c->spec().versions()) {
    if (!version.storage()) continue;
    c->mutable_status()->add_storedversions(version.name());
    break;
  }
}

}  // namespace

void AddGroupDefaults(DefaultTable* table) {
  table->Add(&Deployment);
  table->Add(&DaemonSet);
  table->Add(&StatefulSet);
  table->Add<apps::ReplicaSet>([](apps::ReplicaSet* r) {
    if (!r->spec().has_replicas()) r->mutable_spec()->set_replicas(1);
  });
  table->Add(&Job);
  table->Add(&CronJob);
  table->Add<batch::PodFailurePolicyOnPodConditionsPattern>([](batch::PodFailurePolicyOnPodConditionsPattern* p) {
    if (p->status().empty()) p->set_status("True");
  });
  table->Add(&Autoscaler2);
  table->Add<autoscaling1::HorizontalPodAutoscaler>([](autoscaling1::HorizontalPodAutoscaler* h) {
    if (!h->spec().has_minreplicas()) h->mutable_spec()->set_minreplicas(1);
    // Both versions are one stored object: v2's default metric is this field.
    if (!h->spec().has_targetcpuutilizationpercentage()) h->mutable_spec()->set_targetcpuutilizationpercentage(80);
  });
  table->Add<networking::NetworkPolicyPort>([](networking::NetworkPolicyPort* p) {
    if (!p->has_protocol()) p->set_protocol("TCP");
  });
  table->Add<networking::NetworkPolicy>([](networking::NetworkPolicy* p) {
    if (!p->spec().policytypes().empty()) return;
    p->mutable_spec()->add_policytypes("Ingress");
    if (!p->spec().egress().empty()) p->mutable_spec()->add_policytypes("Egress");
  });
  table->Add<networking::IngressClass>([](networking::IngressClass* c) {
    if (c->spec().has_parameters() && !c->spec().parameters().has_scope())
      c->mutable_spec()->mutable_parameters()->set_scope("Cluster");
  });
  table->Add(&RoleRef<rbac::ClusterRoleBinding>);
  table->Add(&RoleRef<rbac::RoleBinding>);
  table->Add<rbac::Subject>([](rbac::Subject* s) {
    if (s->apigroup().empty() && (s->kind() == "User" || s->kind() == "Group")) s->set_apigroup(kRbacGroup);
  });
  table->Add<storage::StorageClass>([](storage::StorageClass* c) {
    if (!c->has_reclaimpolicy()) c->set_reclaimpolicy("Delete");
    if (!c->has_volumebindingmode()) c->set_volumebindingmode("Immediate");
  });
  table->Add(&CsiDriver);
  table->Add<discovery::EndpointPort>([](discovery::EndpointPort* p) {
    if (!p->has_name()) p->set_name("");
    if (!p->has_protocol()) p->set_protocol("TCP");
  });
  table->Add<k8s::io::api::scheduling::v1::PriorityClass>([](k8s::io::api::scheduling::v1::PriorityClass* c) {
    if (!c->has_preemptionpolicy()) c->set_preemptionpolicy("PreemptLowerPriority");
  });
  table->Add(&Webhook<admission::ValidatingWebhook>);
  table->Add<admission::MutatingWebhook>([](admission::MutatingWebhook* w) {
    Webhook(w);
    if (!w->has_reinvocationpolicy()) w->set_reinvocationpolicy("Never");
  });
  table->Add<admission::Rule>([](admission::Rule* r) {
    if (!r->has_scope()) r->set_scope("*");
  });
  table->Add(&Port443<admission::ServiceReference>);
  table->Add(&FailurePolicy<admission::ValidatingAdmissionPolicySpec>);
  table->Add(&FailurePolicy<admission::MutatingAdmissionPolicySpec>);
  table->Add<admission::MatchResources>([](admission::MatchResources* m) {
    if (!m->has_matchpolicy()) m->set_matchpolicy("Equivalent");
    m->mutable_namespaceselector();
    m->mutable_objectselector();
  });
  table->Add(&DeviceRequest<resource::ExactDeviceRequest>);
  table->Add(&DeviceRequest<resource::DeviceSubRequest>);
  table->Add<resource::DeviceTaint>([](resource::DeviceTaint* t) {
    if (!t->has_timeadded()) *t->mutable_timeadded() = ToTime(std::chrono::system_clock::now());
  });
  table->Add<flowcontrol::FlowSchemaSpec>([](flowcontrol::FlowSchemaSpec* s) {
    if (s->matchingprecedence() == 0) s->set_matchingprecedence(1000);
  });
  table->Add<flowcontrol::ExemptPriorityLevelConfiguration>([](flowcontrol::ExemptPriorityLevelConfiguration* c) {
    if (!c->has_nominalconcurrencyshares()) c->set_nominalconcurrencyshares(0);
    if (!c->has_lendablepercent()) c->set_lendablepercent(0);
  });
  table->Add<flowcontrol::LimitedPriorityLevelConfiguration>([](flowcontrol::LimitedPriorityLevelConfiguration* c) {
    if (!c->has_nominalconcurrencyshares()) c->set_nominalconcurrencyshares(30);
    if (!c->has_lendablepercent()) c->set_lendablepercent(0);
  });
  table->Add<flowcontrol::QueuingConfiguration>([](flowcontrol::QueuingConfiguration* c) {
    if (c->handsize() == 0) c->set_handsize(8);
    if (c->queues() == 0) c->set_queues(64);
    if (c->queuelengthlimit() == 0) c->set_queuelengthlimit(50);
  });
  table->Add(&Definition);
  table->Add(&Port443<apiextensions::ServiceReference>);
  table->Add(&Port443<apiregistration::ServiceReference>);
}

}  // namespace skiff::api::internal

namespace skiff::api {

void SetDefaults(google::protobuf::Message* message) {
  static const auto* const table = [] {
    auto* out = new internal::DefaultTable;
    internal::AddCoreDefaults(out);
    internal::AddGroupDefaults(out);
    return out;
  }();
  table->Apply(message);
}

}  // namespace skiff::api
