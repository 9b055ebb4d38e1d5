// Deployments, replica sets, jobs and their kin.
#include "api/codec.h"
#include "controlplane/apiserver/pod_warnings.h"
#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/batch/v1/generated.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"

namespace skiff::controlplane {
namespace {

namespace apps = ::k8s::io::api::apps::v1;
namespace batch = ::k8s::io::api::batch::v1;
namespace core = ::k8s::io::api::core::v1;

// What is said of a template of pods, when it is new or changed.
template <typename Workload>
bool WarnOfTemplate(Context& context, const api::Object& object, const std::string& path = "spec.template.") {
  const auto* workload = object.As<Workload>();
  if (!workload) return false;
  const core::PodTemplateSpec* found = nullptr;
  if constexpr (std::is_same_v<Workload, batch::CronJob>)
    found = &workload->spec().jobtemplate().spec().template_();
  else
    found = &workload->spec().template_();
  for (std::string& warning : PodWarnings(found->metadata(), found->spec(), path))
    context.warnings.push_back(std::move(warning));
  return true;
}

class WorkloadStrategy : public Strategy {
 public:
  using Strategy::Strategy;
  void Warn(Context& context, const api::Object& object, const api::Object* old) const override {
    if (old && old->meta().generation() == object.meta().generation()) return;
    (void)(WarnOfTemplate<apps::Deployment>(context, object) || WarnOfTemplate<apps::ReplicaSet>(context, object) ||
           WarnOfTemplate<apps::StatefulSet>(context, object) || WarnOfTemplate<apps::DaemonSet>(context, object) ||
           WarnOfTemplate<batch::Job>(context, object) ||
           WarnOfTemplate<core::ReplicationController>(context, object) ||
           WarnOfTemplate<batch::CronJob>(context, object, "spec.jobTemplate.spec.template."));
  }
};

class DeploymentStrategy final : public WorkloadStrategy {
 public:
  using WorkloadStrategy::WorkloadStrategy;
  void PrepareForUpdate(Context& context, api::Object* updated, const api::Object& old) const override {
    Strategy::PrepareForUpdate(context, updated, old);
    // Annotations of a deployment go to its replica sets, so they count as its specification.
    const auto& a = updated->meta().annotations();
    const auto& b = old.meta().annotations();
    bool same = a.size() == b.size();
    for (const auto& [key, value] : a) {
      auto it = b.find(key);
      same = same && it != b.end() && it->second == value;
    }
    if (!same) updated->mutable_meta()->set_generation(old.meta().generation() + 1);
  }
  void PrepareForStatusUpdate(Context& context, api::Object* updated, const api::Object& old) const override {
    Strategy::PrepareForStatusUpdate(context, updated, old);
    *updated->mutable_meta()->mutable_labels() = old.meta().labels();
  }
};

class JobStrategy final : public WorkloadStrategy {
 public:
  using WorkloadStrategy::WorkloadStrategy;
  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    batch::Job& job = *object->As<batch::Job>();
    if (job.spec().has_manualselector() && job.spec().manualselector()) return;
    const std::string& uid = job.metadata().uid();
    auto& labels = *job.mutable_spec()->mutable_template_()->mutable_metadata()->mutable_labels();
    labels["controller-uid"] = uid;
    labels["job-name"] = job.metadata().name();
    labels["batch.kubernetes.io/controller-uid"] = uid;
    labels["batch.kubernetes.io/job-name"] = job.metadata().name();
    (*job.mutable_spec()->mutable_selector()->mutable_matchlabels())["batch.kubernetes.io/controller-uid"] = uid;
    // Without labels of its own a job shows its template's.
    if (job.metadata().labels().empty()) *job.mutable_metadata()->mutable_labels() = labels;
  }
  bool KnowsField(std::string_view field) const override { return field == "status.successful"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    if (field == "status.successful") return absl::StrCat(object.As<batch::Job>()->status().succeeded());
    return Strategy::FieldValue(object, field);
  }
};

class ReplicationControllerStrategy final : public WorkloadStrategy {
 public:
  using WorkloadStrategy::WorkloadStrategy;
  bool KnowsField(std::string_view field) const override { return field == "status.replicas"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    if (field == "status.replicas") return absl::StrCat(object.As<core::ReplicationController>()->status().replicas());
    return Strategy::FieldValue(object, field);
  }
};

}  // namespace

std::unique_ptr<Strategy> MakeWorkloadStrategy(const api::Resource& resource, KindTraits traits) {
  if (resource.plural == "deployments") return std::make_unique<DeploymentStrategy>(traits);
  if (resource.plural == "jobs") return std::make_unique<JobStrategy>(traits);
  if (resource.plural == "replicationcontrollers") return std::make_unique<ReplicationControllerStrategy>(traits);
  return std::make_unique<WorkloadStrategy>(traits);
}

}  // namespace skiff::controlplane
