// Tables of apps, batch, policy and replication controllers.
#include "api/int_or_string.h"
#include "api/time.h"
#include "controlplane/apiserver/table.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/batch/v1/generated.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"
#include "k8s/io/api/policy/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace apps = ::k8s::io::api::apps::v1;
namespace batch = ::k8s::io::api::batch::v1;
namespace core = ::k8s::io::api::core::v1;
namespace policy = ::k8s::io::api::policy::v1;

std::string Age(const api::Object& object, WallTime now) { return AgeOf(object.meta().creationtimestamp(), now); }

void ContainersAndImages(const core::PodSpec& spec, Cells& cells) {
  std::string names, images;
  for (const core::Container& container : spec.containers()) {
    absl::StrAppend(&names, names.empty() ? "" : ",", container.name());
    absl::StrAppend(&images, images.empty() ? "" : ",", container.image());
  }
  cells.Text(names);
  cells.Text(images);
}

constexpr Column kDeployment[] = {{"Name", "string", 0, "name"}, {"Ready", "string"},      {"Up-to-date", "string"},
                                  {"Available", "string"},       {"Age", "string"},        {"Containers", "string", 1},
                                  {"Images", "string", 1},       {"Selector", "string", 1}};
void DeploymentCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& deployment = *object.As<apps::Deployment>();
  cells.Text(object.meta().name());
  cells.Text(absl::StrCat(deployment.status().readyreplicas(), "/", deployment.spec().replicas()));
  cells.Int(deployment.status().updatedreplicas());
  cells.Int(deployment.status().availablereplicas());
  cells.Text(Age(object, now));
  ContainersAndImages(deployment.spec().template_().spec(), cells);
  cells.Text(SelectorText(deployment.spec().has_selector() ? &deployment.spec().selector() : nullptr));
}

constexpr Column kReplicaSet[] = {{"Name", "string", 0, "name"}, {"Desired", "integer"},   {"Current", "integer"},
                                  {"Ready", "integer"},          {"Age", "string"},        {"Containers", "string", 1},
                                  {"Images", "string", 1},       {"Selector", "string", 1}};
void ReplicaSetCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& set = *object.As<apps::ReplicaSet>();
  cells.Text(object.meta().name());
  cells.Int(set.spec().replicas());
  cells.Int(set.status().replicas());
  cells.Int(set.status().readyreplicas());
  cells.Text(Age(object, now));
  ContainersAndImages(set.spec().template_().spec(), cells);
  cells.Text(SelectorText(set.spec().has_selector() ? &set.spec().selector() : nullptr));
}
void ReplicationControllerCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& controller = *object.As<core::ReplicationController>();
  cells.Text(object.meta().name());
  cells.Int(controller.spec().replicas());
  cells.Int(controller.status().replicas());
  cells.Int(controller.status().readyreplicas());
  cells.Text(Age(object, now));
  ContainersAndImages(controller.spec().template_().spec(), cells);
  cells.Text(LabelsText(controller.spec().selector()));
}

constexpr Column kStatefulSet[] = {{"Name", "string", 0, "name"},
                                   {"Ready", "string"},
                                   {"Age", "string"},
                                   {"Containers", "string", 1},
                                   {"Images", "string", 1}};
void StatefulSetCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& set = *object.As<apps::StatefulSet>();
  cells.Text(object.meta().name());
  cells.Text(absl::StrCat(set.status().readyreplicas(), "/", set.spec().replicas()));
  cells.Text(Age(object, now));
  ContainersAndImages(set.spec().template_().spec(), cells);
}

constexpr Column kDaemonSet[] = {{"Name", "string", 0, "name"}, {"Desired", "integer"},    {"Current", "integer"},
                                 {"Ready", "integer"},          {"Up-to-date", "integer"}, {"Available", "integer"},
                                 {"Node Selector", "string"},   {"Age", "string"},         {"Containers", "string", 1},
                                 {"Images", "string", 1},       {"Selector", "string", 1}};
void DaemonSetCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& set = *object.As<apps::DaemonSet>();
  cells.Text(object.meta().name());
  cells.Int(set.status().desirednumberscheduled());
  cells.Int(set.status().currentnumberscheduled());
  cells.Int(set.status().numberready());
  cells.Int(set.status().updatednumberscheduled());
  cells.Int(set.status().numberavailable());
  cells.Text(LabelsText(set.spec().template_().spec().nodeselector()));
  cells.Text(Age(object, now));
  ContainersAndImages(set.spec().template_().spec(), cells);
  cells.Text(SelectorText(set.spec().has_selector() ? &set.spec().selector() : nullptr));
}

constexpr Column kJob[] = {{"Name", "string", 0, "name"}, {"Status", "string"},     {"Completions", "string"},
                           {"Duration", "string"},        {"Age", "string"},        {"Containers", "string", 1},
                           {"Images", "string", 1},       {"Selector", "string", 1}};
void JobCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& job = *object.As<batch::Job>();
  auto is = [&](std::string_view type) {
    for (const auto& condition : job.status().conditions())
      if (condition.type() == type && condition.status() == "True") return true;
    return false;
  };
  const char* status = is("Complete")                           ? "Complete"
                       : is("Failed")                           ? "Failed"
                       : job.metadata().has_deletiontimestamp() ? "Terminating"
                       : is("Suspended")                        ? "Suspended"
                       : is("FailureTarget")                    ? "FailureTarget"
                       : is("SuccessCriteriaMet")               ? "SuccessCriteriaMet"
                                                                : "Running";
  std::string completions;
  if (job.spec().has_completions())
    completions = absl::StrCat(job.status().succeeded(), "/", job.spec().completions());
  else if (job.spec().parallelism() > 1)
    completions = absl::StrCat(job.status().succeeded(), "/1 of ", job.spec().parallelism());
  else
    completions = absl::StrCat(job.status().succeeded(), "/1");
  std::string duration;
  if (job.status().has_starttime()) {
    const WallTime end = job.status().has_completiontime() ? api::FromTime(job.status().completiontime()) : now;
    duration = api::HumanDuration(end - api::FromTime(job.status().starttime()));
  }
  cells.Text(object.meta().name());
  cells.Text(status);
  cells.Text(completions);
  cells.Text(duration);
  cells.Text(Age(object, now));
  ContainersAndImages(job.spec().template_().spec(), cells);
  cells.Text(SelectorText(job.spec().has_selector() ? &job.spec().selector() : nullptr));
}

constexpr Column kCronJob[] = {
    {"Name", "string", 0, "name"}, {"Schedule", "string"},      {"Timezone", "string"}, {"Suspend", "boolean"},
    {"Active", "integer"},         {"Last Schedule", "string"}, {"Age", "string"},      {"Containers", "string", 1},
    {"Images", "string", 1},       {"Selector", "string", 1}};
void CronJobCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& job = *object.As<batch::CronJob>();
  cells.Text(object.meta().name());
  cells.Text(job.spec().schedule());
  cells.Text(job.spec().has_timezone() ? job.spec().timezone() : "<none>");
  cells.Text(job.spec().suspend() ? "True" : "False");
  cells.Int(job.status().active_size());
  cells.Text(job.status().has_lastscheduletime() ? AgeOf(job.status().lastscheduletime(), now) : "<none>");
  cells.Text(Age(object, now));
  const auto& spec = job.spec().jobtemplate().spec();
  ContainersAndImages(spec.template_().spec(), cells);
  cells.Text(SelectorText(spec.has_selector() ? &spec.selector() : nullptr));
}

constexpr Column kRevision[] = {
    {"Name", "string", 0, "name"}, {"Controller", "string"}, {"Revision", "string"}, {"Age", "string"}};
void RevisionCells(const api::Object& object, WallTime now, Cells& cells) {
  std::string controller = "<none>";
  for (const auto& owner : object.meta().ownerreferences()) {
    if (!owner.controller()) continue;
    std::string kind = owner.kind();
    for (char& c : kind) c = static_cast<char>(tolower(c));
    const size_t slash = owner.apiversion().find('/');
    controller = absl::StrCat(kind, slash == std::string::npos ? "" : "." + owner.apiversion().substr(0, slash), "/",
                              owner.name());
  }
  cells.Text(object.meta().name());
  cells.Text(controller);
  cells.Int(object.As<apps::ControllerRevision>()->revision());
  cells.Text(Age(object, now));
}

constexpr Column kBudget[] = {{"Name", "string", 0, "name"},
                              {"Min Available", "string"},
                              {"Max Unavailable", "string"},
                              {"Allowed Disruptions", "integer"},
                              {"Age", "string"}};
void BudgetCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& budget = *object.As<policy::PodDisruptionBudget>();
  cells.Text(object.meta().name());
  cells.Text(budget.spec().has_minavailable() ? api::ToString(budget.spec().minavailable()) : "N/A");
  cells.Text(budget.spec().has_maxunavailable() ? api::ToString(budget.spec().maxunavailable()) : "N/A");
  cells.Int(budget.status().disruptionsallowed());
  cells.Text(Age(object, now));
}

struct Row {
  std::string_view group, plural;
  TableForm form;
};
const Row kForms[] = {
    {"apps", "deployments", {kDeployment, DeploymentCells}},
    {"apps", "replicasets", {kReplicaSet, ReplicaSetCells}},
    {"", "replicationcontrollers", {kReplicaSet, ReplicationControllerCells}},
    {"apps", "statefulsets", {kStatefulSet, StatefulSetCells}},
    {"apps", "daemonsets", {kDaemonSet, DaemonSetCells}},
    {"apps", "controllerrevisions", {kRevision, RevisionCells}},
    {"batch", "jobs", {kJob, JobCells}},
    {"batch", "cronjobs", {kCronJob, CronJobCells}},
    {"policy", "poddisruptionbudgets", {kBudget, BudgetCells}},
};

}  // namespace

const TableForm* WorkloadTable(std::string_view group, std::string_view plural) {
  for (const Row& row : kForms)
    if (row.group == group && row.plural == plural) return &row.form;
  return nullptr;
}

}  // namespace skiff::controlplane
