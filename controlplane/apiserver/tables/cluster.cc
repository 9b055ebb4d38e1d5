// Tables of rbac, scheduling, storage, node, apiregistration and other cluster matters.
#include "controlplane/apiserver/table.h"
#include "k8s/io/api/admissionregistration/v1/generated.pb.h"
#include "k8s/io/api/coordination/v1/generated.pb.h"
#include "k8s/io/api/core/v1/options.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"
#include "k8s/io/api/node/v1/generated.pb.h"
#include "k8s/io/api/rbac/v1/generated.pb.h"
#include "k8s/io/api/scheduling/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"
#include "k8s/io/kube_aggregator/pkg/apis/apiregistration/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace admission = ::k8s::io::api::admissionregistration::v1;
namespace coordination = ::k8s::io::api::coordination::v1;
namespace core = ::k8s::io::api::core::v1;
namespace networking = ::k8s::io::api::networking::v1;
namespace node_api = ::k8s::io::api::node::v1;
namespace rbac = ::k8s::io::api::rbac::v1;
namespace registration = ::k8s::io::kube_aggregator::pkg::apis::apiregistration::v1;
namespace scheduling = ::k8s::io::api::scheduling::v1;
namespace storage = ::k8s::io::api::storage::v1;

std::string Age(const api::Object& object, WallTime now) { return AgeOf(object.meta().creationtimestamp(), now); }

template <typename List>
void Subjects(const List& subjects, Cells& cells) {
  std::string users, groups, accounts;
  auto add = [](std::string* to, const std::string& text) { absl::StrAppend(to, to->empty() ? "" : ", ", text); };
  for (const rbac::Subject& subject : subjects) {
    if (subject.kind() == "User") add(&users, subject.name());
    if (subject.kind() == "Group") add(&groups, subject.name());
    if (subject.kind() == "ServiceAccount") add(&accounts, absl::StrCat(subject.namespace_(), "/", subject.name()));
  }
  cells.Text(users);
  cells.Text(groups);
  cells.Text(accounts);
}

constexpr Column kBinding[] = {
    {"Name", "string", 0, "name"}, {"Role", "string"},      {"Age", "string"},
    {"Users", "string", 1},        {"Groups", "string", 1}, {"ServiceAccounts", "string", 1}};
template <typename T>
void BindingCells(const api::Object& object, WallTime now, Cells& cells) {
  const T& binding = *object.As<T>();
  cells.Text(object.meta().name());
  cells.Text(absl::StrCat(binding.roleref().kind(), "/", binding.roleref().name()));
  cells.Text(Age(object, now));
  Subjects(binding.subjects(), cells);
}

constexpr Column kPriority[] = {{"Name", "string", 0, "name"},
                                {"Value", "integer"},
                                {"Global-Default", "boolean"},
                                {"Age", "string"},
                                {"PreemptionPolicy", "string"}};
void PriorityCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& priority = *object.As<scheduling::PriorityClass>();
  cells.Text(object.meta().name());
  cells.Int(priority.value());
  cells.Bool(priority.globaldefault());
  cells.Text(Age(object, now));
  cells.Text(priority.preemptionpolicy());
}

constexpr Column kLease[] = {{"Name", "string", 0, "name"}, {"Holder", "string"}, {"Age", "string"}};
void LeaseCells(const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Text(object.As<coordination::Lease>()->spec().holderidentity());
  cells.Text(Age(object, now));
}

constexpr Column kRuntimeClass[] = {{"Name", "string", 0, "name"}, {"Handler", "string"}, {"Age", "string"}};
void RuntimeClassCells(const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Text(object.As<node_api::RuntimeClass>()->handler());
  cells.Text(Age(object, now));
}

constexpr Column kStorageClass[] = {{"Name", "string", 0, "name"},       {"Provisioner", "string"},
                                    {"ReclaimPolicy", "string"},         {"VolumeBindingMode", "string"},
                                    {"AllowVolumeExpansion", "boolean"}, {"Age", "string"}};
void StorageClassCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& entry = *object.As<storage::StorageClass>();
  auto marked = entry.metadata().annotations().find("storageclass.kubernetes.io/is-default-class");
  const bool is_default = marked != entry.metadata().annotations().end() && marked->second == "true";
  cells.Text(absl::StrCat(object.meta().name(), is_default ? " (default)" : ""));
  cells.Text(entry.provisioner());
  cells.Text(entry.has_reclaimpolicy() ? entry.reclaimpolicy() : "Delete");
  cells.Text(entry.has_volumebindingmode() ? entry.volumebindingmode() : "Immediate");
  cells.Bool(entry.allowvolumeexpansion());
  cells.Text(Age(object, now));
}

constexpr Column kCsiNode[] = {{"Name", "string", 0, "name"}, {"Drivers", "integer"}, {"Age", "string"}};
void CsiNodeCells(const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Int(object.As<storage::CSINode>()->spec().drivers_size());
  cells.Text(Age(object, now));
}

constexpr Column kCsiDriver[] = {{"Name", "string", 0, "name"}, {"AttachRequired", "boolean"},
                                 {"PodInfoOnMount", "boolean"}, {"StorageCapacity", "boolean"},
                                 {"TokenRequests", "string"},   {"RequiresRepublish", "boolean"},
                                 {"Modes", "string"},           {"Age", "string"}};
void CsiDriverCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& spec = object.As<storage::CSIDriver>()->spec();
  std::string tokens, modes;
  for (const auto& request : spec.tokenrequests())
    absl::StrAppend(&tokens, tokens.empty() ? "" : ",", request.audience());
  for (const std::string& mode : spec.volumelifecyclemodes()) absl::StrAppend(&modes, modes.empty() ? "" : ",", mode);
  cells.Text(object.meta().name());
  cells.Bool(!spec.has_attachrequired() || spec.attachrequired());
  cells.Bool(spec.podinfoonmount());
  cells.Bool(spec.storagecapacity());
  cells.Text(tokens.empty() ? "<unset>" : tokens);
  cells.Bool(spec.requiresrepublish());
  cells.Text(modes.empty() ? "<none>" : modes);
  cells.Text(Age(object, now));
}

constexpr Column kApiService[] = {
    {"Name", "string", 0, "name"}, {"Service", "string"}, {"Available", "string"}, {"Age", "string"}};
void ApiServiceCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& service = *object.As<registration::APIService>();
  std::string available = "Unknown";
  for (const auto& condition : service.status().conditions()) {
    if (condition.type() != "Available") continue;
    available = condition.status();
    if (available != "True") absl::StrAppend(&available, " (", condition.reason(), ")");
  }
  cells.Text(object.meta().name());
  cells.Text(service.spec().has_service()
                 ? absl::StrCat(service.spec().service().namespace_(), "/", service.spec().service().name())
                 : "Local");
  cells.Text(available);
  cells.Text(Age(object, now));
}

constexpr Column kWebhooks[] = {{"Name", "string", 0, "name"}, {"Webhooks", "integer"}, {"Age", "string"}};
template <typename T>
void WebhookCells(const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Int(object.As<T>()->webhooks_size());
  cells.Text(Age(object, now));
}

constexpr Column kServiceCidr[] = {{"Name", "string", 0, "name"}, {"CIDRs", "string"}, {"Age", "string"}};
void ServiceCidrCells(const api::Object& object, WallTime now, Cells& cells) {
  std::string cidrs;
  for (const std::string& cidr : object.As<networking::ServiceCIDR>()->spec().cidrs())
    absl::StrAppend(&cidrs, cidrs.empty() ? "" : ",", cidr);
  cells.Text(object.meta().name());
  cells.Text(cidrs);
  cells.Text(Age(object, now));
}

constexpr Column kPodTemplate[] = {
    {"Name", "string", 0, "name"}, {"Containers", "string"}, {"Images", "string"}, {"Pod Labels", "string"}};
void PodTemplateCells(const api::Object& object, WallTime, Cells& cells) {
  const auto& pod = object.As<core::PodTemplate>()->template_();
  std::string names, images;
  for (const core::Container& container : pod.spec().containers()) {
    absl::StrAppend(&names, names.empty() ? "" : ",", container.name());
    absl::StrAppend(&images, images.empty() ? "" : ",", container.image());
  }
  cells.Text(object.meta().name());
  cells.Text(names);
  cells.Text(images);
  cells.Text(LabelsText(pod.metadata().labels()));
}

constexpr Column kComponent[] = {
    {"Name", "string", 0, "name"}, {"Status", "string"}, {"Message", "string"}, {"Error", "string"}};
void ComponentCells(const api::Object& object, WallTime, Cells& cells) {
  std::string status = "Unknown", message, error;
  for (const auto& condition : object.As<core::ComponentStatus>()->conditions()) {
    if (condition.type() != "Healthy") continue;
    status = condition.status() == "True" ? "Healthy" : condition.status() == "False" ? "Unhealthy" : "Unknown";
    message = condition.message();
    error = condition.error();
  }
  cells.Text(object.meta().name());
  cells.Text(status);
  cells.Text(message);
  cells.Text(error);
}

struct Row {
  std::string_view group, plural;
  TableForm form;
};
const Row kForms[] = {
    {"rbac.authorization.k8s.io", "rolebindings", {kBinding, BindingCells<rbac::RoleBinding>}},
    {"rbac.authorization.k8s.io", "clusterrolebindings", {kBinding, BindingCells<rbac::ClusterRoleBinding>}},
    {"scheduling.k8s.io", "priorityclasses", {kPriority, PriorityCells}},
    {"coordination.k8s.io", "leases", {kLease, LeaseCells}},
    {"node.k8s.io", "runtimeclasses", {kRuntimeClass, RuntimeClassCells}},
    {"storage.k8s.io", "storageclasses", {kStorageClass, StorageClassCells}},
    {"storage.k8s.io", "csinodes", {kCsiNode, CsiNodeCells}},
    {"storage.k8s.io", "csidrivers", {kCsiDriver, CsiDriverCells}},
    {"apiregistration.k8s.io", "apiservices", {kApiService, ApiServiceCells}},
    {"admissionregistration.k8s.io",
     "validatingwebhookconfigurations",
     {kWebhooks, WebhookCells<admission::ValidatingWebhookConfiguration>}},
    {"admissionregistration.k8s.io",
     "mutatingwebhookconfigurations",
     {kWebhooks, WebhookCells<admission::MutatingWebhookConfiguration>}},
    {"networking.k8s.io", "servicecidrs", {kServiceCidr, ServiceCidrCells}},
    {"", "componentstatuses", {kComponent, ComponentCells}},
    {"", "podtemplates", {kPodTemplate, PodTemplateCells}},
};

}  // namespace

const TableForm* ClusterTable(std::string_view group, std::string_view plural) {
  for (const Row& row : kForms)
    if (row.group == group && row.plural == plural) return &row.form;
  return nullptr;
}

}  // namespace skiff::controlplane
