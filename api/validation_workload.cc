// Deployments, replica sets, daemon sets, stateful sets, jobs.
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/selector.h"
#include "api/validation_parts.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/batch/v1/generated.pb.h"

namespace skiff::api::internal {
namespace {

namespace apps = k8s::io::api::apps::v1;
namespace batch = k8s::io::api::batch::v1;
namespace core = k8s::io::api::core::v1;

std::string PrintLabels(const StringMap& labels) {
  if (labels.empty()) return "null";
  json out = json::object();
  for (const auto& [key, value] : labels) out[key] = value;
  std::string text;
  AppendJson(out, &text);
  return text;
}

// `spec` is a deployment's or another kind's with a selector and a template; `old` is null on create.
template <typename Spec>
void ValidateTemplate(const Spec& spec, const Spec* old, const Path& path, std::string_view kind, FieldErrors* errors) {
  const core::PodTemplateSpec& pod = spec.template_();
  const StatusOr<LabelSelector> matcher = LabelSelector::From(spec.has_selector() ? &spec.selector() : nullptr);
  if (!matcher.ok()) return;
  if (!matcher->empty() && !matcher->Matches(pod.metadata().labels())) {
    const Path metadata = path.Child("metadata");
    errors->InvalidRaw(metadata.Child("labels"), PrintLabels(pod.metadata().labels()),
                       "`selector` does not match template `labels`");
  }
  ValidatePodTemplate(pod, old != nullptr ? &old->template_() : nullptr, path, errors);
  const Path pod_spec = path.Child("spec");
  if (pod.spec().restartpolicy() != "Always")
    errors->NotSupported(pod_spec.Child("restartPolicy"), pod.spec().restartpolicy(), {"Always"});
  if (pod.spec().has_activedeadlineseconds())
    errors->Forbidden(pod_spec.Child("activeDeadlineSeconds"),
                      absl::StrCat("activeDeadlineSeconds in ", kind, " is not Supported"));
}

void ValidateRequiredSelector(bool has, const LabelSelectorProto& selector, const Path& path, std::string_view kind,
                              FieldErrors* errors) {
  const Path at = path.Child("selector");
  if (!has) return errors->Required(at);
  ValidateSelector(selector, at, errors);
  if (selector.matchlabels().empty() && selector.matchexpressions().empty())
    errors->InvalidRaw(at, ToJson(selector), absl::StrCat("empty selector is invalid for ", kind));
}

void Percentage(const IntOrString& value, const Path& path, FieldErrors* errors) {
  if (IsString(value)) return InvalidAll(path, value.strval(), IsPercent(value.strval()), errors);
  NonNegative(path, value.intval(), errors);
}

int Amount(const IntOrString& value) {
  if (!IsString(value)) return value.intval();
  int percent = 0;
  return absl::SimpleAtoi(value.strval().substr(0, value.strval().size() - 1), &percent) ? percent : 0;
}

std::string Print(const IntOrString& value) { return ToJson(value); }

void ValidateDeployment(const apps::Deployment& deployment, const apps::Deployment* old, FieldErrors* errors) {
  const auto& spec = deployment.spec();
  const Path path("spec");
  NonNegative(path.Child("replicas"), spec.replicas(), errors);
  ValidateRequiredSelector(spec.has_selector(), spec.selector(), path, "deployment", errors);
  ValidateTemplate(spec, old != nullptr ? &old->spec() : nullptr, path.Child("template"), "ReplicaSet", errors);
  const Path strategy = path.Child("strategy");
  const std::string& type = spec.strategy().type();
  const Path rolling = strategy.Child("rollingUpdate");
  if (type == "Recreate") {
    if (spec.strategy().has_rollingupdate())
      errors->Forbidden(rolling, "may not be specified when strategy `type` is 'Recreate'");
  } else if (type == "RollingUpdate") {
    const auto& update = spec.strategy().rollingupdate();
    Percentage(update.maxunavailable(), rolling.Child("maxUnavailable"), errors);
    Percentage(update.maxsurge(), rolling.Child("maxSurge"), errors);
    if (Amount(update.maxunavailable()) == 0 && Amount(update.maxsurge()) == 0)
      errors->InvalidRaw(rolling.Child("maxUnavailable"), Print(update.maxunavailable()),
                         "may not be 0 when `maxSurge` is 0");
    if (IsString(update.maxunavailable()) && Amount(update.maxunavailable()) > 100)
      errors->InvalidRaw(rolling.Child("maxUnavailable"), Print(update.maxunavailable()),
                         "must not be greater than 100%");
  } else {
    errors->NotSupported(strategy, type, {"Recreate", "RollingUpdate"});
  }
  NonNegative(path.Child("minReadySeconds"), spec.minreadyseconds(), errors);
  NonNegative(path.Child("revisionHistoryLimit"), spec.revisionhistorylimit(), errors);
  if (spec.has_progressdeadlineseconds()) {
    NonNegative(path.Child("progressDeadlineSeconds"), spec.progressdeadlineseconds(), errors);
    if (spec.progressdeadlineseconds() <= spec.minreadyseconds())
      errors->Invalid(path.Child("progressDeadlineSeconds"), spec.progressdeadlineseconds(),
                      "must be greater than minReadySeconds");
  }
  if (old != nullptr && !Equal(spec.selector(), old->spec().selector()))
    errors->InvalidRaw(path.Child("selector"), ToJson(spec.selector()), "field is immutable");
}

void ValidateReplicaSet(const apps::ReplicaSet& set, const apps::ReplicaSet* old, FieldErrors* errors) {
  const auto& spec = set.spec();
  const Path path("spec");
  NonNegative(path.Child("replicas"), spec.replicas(), errors);
  NonNegative(path.Child("minReadySeconds"), spec.minreadyseconds(), errors);
  ValidateRequiredSelector(spec.has_selector(), spec.selector(), path, "deployment", errors);
  ValidateTemplate(spec, old != nullptr ? &old->spec() : nullptr, path.Child("template"), "ReplicaSet", errors);
  if (old != nullptr && !Equal(spec.selector(), old->spec().selector()))
    errors->InvalidRaw(path.Child("selector"), ToJson(spec.selector()), "field is immutable");
}

void ValidateDaemonSet(const apps::DaemonSet& set, const apps::DaemonSet* old, FieldErrors* errors) {
  const auto& spec = set.spec();
  const Path path("spec");
  ValidateRequiredSelector(spec.has_selector(), spec.selector(), path, "daemonset", errors);
  ValidateTemplate(spec, old != nullptr ? &old->spec() : nullptr, path.Child("template"), "DaemonSet", errors);
  NonNegative(path.Child("minReadySeconds"), spec.minreadyseconds(), errors);
  const Path strategy = path.Child("updateStrategy");
  const std::string& type = spec.updatestrategy().type();
  if (type != "RollingUpdate" && type != "OnDelete")
    errors->NotSupported(strategy.Child("type"), type, {"RollingUpdate", "OnDelete"});
  if (old != nullptr && !Equal(spec.selector(), old->spec().selector()))
    errors->InvalidRaw(path.Child("selector"), ToJson(spec.selector()), "field is immutable");
}

void ValidateStatefulSet(const apps::StatefulSet& set, const apps::StatefulSet* old, FieldErrors* errors) {
  const auto& spec = set.spec();
  const Path path("spec");
  NonNegative(path.Child("replicas"), spec.replicas(), errors);
  ValidateRequiredSelector(spec.has_selector(), spec.selector(), path, "statefulset", errors);
  ValidateTemplate(spec, old != nullptr ? &old->spec() : nullptr, path.Child("template"), "StatefulSet", errors);
  if (old == nullptr) return;
  apps::StatefulSetSpec same = spec;
  const auto& before = old->spec();
  if (before.has_replicas()) same.set_replicas(before.replicas());
  *same.mutable_template_() = before.template_();
  *same.mutable_updatestrategy() = before.updatestrategy();
  same.set_minreadyseconds(before.minreadyseconds());
  if (before.has_revisionhistorylimit()) same.set_revisionhistorylimit(before.revisionhistorylimit());
  if (before.has_ordinals())
    *same.mutable_ordinals() = before.ordinals();
  else
    same.clear_ordinals();
  *same.mutable_persistentvolumeclaimretentionpolicy() = before.persistentvolumeclaimretentionpolicy();
  if (!Equal(same, before))
    errors->Forbidden(path,
                      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                      "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                      "'minReadySeconds' are forbidden");
}

void ValidateJobSpec(const batch::JobSpec& spec, const batch::JobSpec* old, const Path& path, FieldErrors* errors) {
  NonNegative(path.Child("parallelism"), spec.parallelism(), errors);
  NonNegative(path.Child("completions"), spec.completions(), errors);
  NonNegative(path.Child("activeDeadlineSeconds"), spec.activedeadlineseconds(), errors);
  NonNegative(path.Child("backoffLimit"), spec.backofflimit(), errors);
  NonNegative(path.Child("ttlSecondsAfterFinished"), spec.ttlsecondsafterfinished(), errors);
  const Path pod = path.Child("template");
  ValidatePodTemplate(spec.template_(), old != nullptr ? &old->template_() : nullptr, pod, errors);
  const std::string& policy = spec.template_().spec().restartpolicy();
  if (policy == "Always") {
    const Path spec_path = pod.Child("spec");
    errors->Required(spec_path.Child("restartPolicy"), "valid values: \"OnFailure\", \"Never\"");
  }
}

}  // namespace

bool ValidateWorkloadKinds(const Object& object, const Object* old, FieldErrors* errors) {
  if (const auto* deployment = object.As<apps::Deployment>())
    return ValidateDeployment(*deployment, old ? old->As<apps::Deployment>() : nullptr, errors), true;
  if (const auto* set = object.As<apps::ReplicaSet>())
    return ValidateReplicaSet(*set, old ? old->As<apps::ReplicaSet>() : nullptr, errors), true;
  if (const auto* set = object.As<apps::DaemonSet>())
    return ValidateDaemonSet(*set, old ? old->As<apps::DaemonSet>() : nullptr, errors), true;
  if (const auto* set = object.As<apps::StatefulSet>())
    return ValidateStatefulSet(*set, old ? old->As<apps::StatefulSet>() : nullptr, errors), true;
  if (const auto* job = object.As<batch::Job>())
    return ValidateJobSpec(job->spec(), old ? &old->As<batch::Job>()->spec() : nullptr, Path("spec"), errors), true;
  if (const auto* cron = object.As<batch::CronJob>()) {
    const Path spec("spec");
    if (cron->spec().schedule().empty()) errors->Required(spec.Child("schedule"));
    const Path job = spec.Child("jobTemplate");
    const batch::JobSpec* before = old ? &old->As<batch::CronJob>()->spec().jobtemplate().spec() : nullptr;
    ValidateJobSpec(cron->spec().jobtemplate().spec(), before, job.Child("spec"), errors);
    return true;
  }
  return false;
}

}  // namespace skiff::api::internal
