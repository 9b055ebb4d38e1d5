// The eviction subresource: deletes a pod unless its disruption budget forbids that. Follows
// https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ .
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "api/errors.h"
#include "api/field_errors.h"
#include "api/selector.h"
#include "api/time.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/server_parts.h"
#include "controlplane/disruption_condition.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/policy/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace policy = ::k8s::io::api::policy::v1;

constexpr int kAttempts = 20;
// More evictions than this that no controller has taken note of: something is wrong with it.
constexpr int kMostDisrupted = 2000;
constexpr char kBudgetForbids[] = "Cannot evict pod as it would violate the pod's disruption budget.";

Status TooMany(const std::string& cause_message, int retry_after) {
  api::StatusMessage status = api::ToStatusMessage(api::TooManyRequestsError(kBudgetForbids, retry_after));
  status.set_message(kBudgetForbids);
  auto* cause = status.mutable_details()->add_causes();
  cause->set_reason("DisruptionBudget");
  cause->set_message(cause_message);
  return api::FromStatusMessage(std::move(status));
}

Status StillProcessed(std::string_view budget) {
  return TooMany(absl::StrCat("The disruption budget ", budget, " is still being processed by the server."), 10);
}

Status NoneAllowed(const policy::PodDisruptionBudget& budget) {
  const auto& status = budget.status();
  const std::string& name = budget.metadata().name();
  const auto* condition = FindDisruptionCondition(status);
  const bool told = condition != nullptr && condition->status() == "False" && !condition->message().empty();
  // After a failed sync the numbers are not to be trusted.
  if (told && condition->reason() == kDisruptionSyncFailed)
    return TooMany(
        absl::StrCat("The disruption budget ", name,
                     " does not allow evicting pods currently because it failed sync: ", condition->message()),
        0);
  if (status.currenthealthy() <= status.desiredhealthy())
    return TooMany(absl::StrCat("The disruption budget ", name, " needs ", status.desiredhealthy(),
                                " healthy pods and has ", status.currenthealthy(), " currently"),
                   0);
  const std::string currently = absl::StrCat("The disruption budget ", name, " does not allow evicting pods currently");
  return TooMany(told ? absl::StrCat(currently, " (", condition->reason(), "): ", condition->message()) : currently, 0);
}

// Takes one disruption from the budget for `pod`, if there is one.
Status TakeDisruption(const std::string& pod, WallTime now, policy::PodDisruptionBudget* budget) {
  auto& status = *budget->mutable_status();
  const std::string& name = budget->metadata().name();
  if (status.observedgeneration() < budget->metadata().generation()) return StillProcessed(name);
  const api::About about{"policy", "poddisruptionbudget", name};
  if (status.disruptionsallowed() < 0) return api::ForbiddenError(about, "pdb disruptions allowed is negative");
  if (status.disruptedpods_size() > kMostDisrupted)
    return api::ForbiddenError(about, "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
  if (status.disruptionsallowed() == 0) return NoneAllowed(*budget);
  status.set_disruptionsallowed(status.disruptionsallowed() - 1);
  if (status.disruptionsallowed() == 0) UpdateDisruptionCondition(now, &status);
  // The controller counts the pod as gone from now on, and forgets about it when it is still there much later.
  (*status.mutable_disruptedpods())[pod] = api::ToTime(now);
  return absl::OkStatus();
}

bool IsReady(const core::Pod& pod) {
  for (const auto& condition : pod.status().conditions())
    if (condition.type() == "Ready") return condition.status() == "True";
  return false;
}

class Evictor {
 public:
  Evictor(ServerParts& parts, Call& call, metav1::DeleteOptions options)
      : parts_(parts),
        context_(call.context),
        pods_(parts.kinds.Core("pods")),
        ns_(call.info().ns),
        name_(call.info().name),
        options_(std::move(options)) {
    // Whoever may evict need not be allowed to delete pods or to write budgets.
    context_.internal = true;
  }

  Task<Status> Evict() {
    const bool own_version = HasVersion(options_);
    core::Pod pod;
    for (int attempt = 1;; ++attempt) {
      auto found = co_await parts_.registry.Get(pods_, ns_, name_);
      if (!found.ok()) co_return found.status();
      pod = *found->As<core::Pod>();
      const std::string& phase = pod.status().phase();
      const bool over = phase == "Succeeded" || phase == "Failed" || pod.metadata().has_deletiontimestamp();
      // What does not run is disrupted already.
      if (!over && phase != "Pending") break;
      metav1::DeleteOptions options = options_;
      // A pod that became ready meanwhile must not slip past its budget.
      if (!over && !own_version) options.mutable_preconditions()->set_resourceversion(pod.metadata().resourceversion());
      const Status deleted = co_await MarkAndDelete(std::move(options));
      if (deleted.ok() || own_version || api::ReasonOf(deleted) != "Conflict" || attempt == kAttempts)
        co_return deleted;
    }
    const std::vector<policy::PodDisruptionBudget> budgets = BudgetsOf(pod);
    if (budgets.size() > 1)
      co_return PlainError(
          "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    metav1::DeleteOptions options = options_;
    bool unready_goes = false;
    if (budgets.size() == 1) {
      const auto& spec = budgets[0].spec();
      const auto& status = budgets[0].status();
      // A pod that is not ready counts for nothing: its end takes nothing from a budget that holds.
      unready_goes = !IsReady(pod) &&
                     ((spec.has_unhealthypodevictionpolicy() && spec.unhealthypodevictionpolicy() == "AlwaysAllow") ||
                      (status.currenthealthy() >= status.desiredhealthy() && status.desiredhealthy() > 0));
      if (unready_goes) {
        options.mutable_preconditions()->set_resourceversion(pod.metadata().resourceversion());
      } else {
        Status taken = co_await Take(budgets[0].metadata().name());
        if (!taken.ok()) co_return taken;
      }
    }
    Status deleted = co_await MarkAndDelete(std::move(options));
    if (unready_goes && !own_version && api::ReasonOf(deleted) == "Conflict")
      co_return StillProcessed(budgets[0].metadata().name());
    co_return deleted;
  }

 private:
  static bool HasVersion(const metav1::DeleteOptions& options) { return options.preconditions().has_resourceversion(); }

  std::vector<policy::PodDisruptionBudget> BudgetsOf(const core::Pod& pod) const {
    std::vector<policy::PodDisruptionBudget> out;
    const Kind& kind = *parts_.kinds.Find("policy", "v1", "poddisruptionbudgets");
    parts_.store.PeekPrefix(kind.Prefix(ns_), [&](const std::string& key, const ValuePtr& value) {
      auto found = kind.Decode(key, *value);
      if (!found.ok()) return true;
      const auto& budget = *found->As<policy::PodDisruptionBudget>();
      auto selector = api::LabelSelector::From(budget.spec().has_selector() ? &budget.spec().selector() : nullptr);
      if (selector.ok() && selector->Matches(pod.metadata().labels())) out.push_back(budget);
      return true;
    });
    return out;
  }

  Task<Status> Take(std::string budget) {
    UpdateRequest request;
    request.ns = ns_;
    request.name = std::move(budget);
    request.subresource = "status";
    request.change = [this](const api::Object* existing) -> StatusOr<api::Object> {
      api::Object updated = existing->Clone();
      RETURN_IF_ERROR(TakeDisruption(name_, context_.now, updated.As<policy::PodDisruptionBudget>()));
      return updated;
    };
    auto result =
        co_await parts_.registry.Update(context_, *parts_.kinds.Find("policy", "v1", "poddisruptionbudgets"), request);
    co_return result.status();
  }

  // Says on the pod why it goes, then deletes it.
  Task<Status> MarkAndDelete(metav1::DeleteOptions options) {
    if (!context_.dry_run) {
      UpdateRequest request;
      request.ns = ns_;
      request.name = name_;
      request.subresource = "status";
      request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
        RETURN_IF_ERROR(CheckPreconditions(pods_, options, existing->meta()));
        api::Object updated = existing->Clone();
        Mark(updated.As<core::Pod>());
        return updated;
      };
      auto marked = co_await parts_.registry.Update(context_, pods_, request);
      if (!marked.ok()) co_return marked.status();
      if (HasVersion(options))
        options.mutable_preconditions()->set_resourceversion(marked->object.meta().resourceversion());
    }
    auto deleted = co_await parts_.registry.Delete(context_, pods_, ns_, name_, std::move(options));
    co_return deleted.status();
  }

  void Mark(core::Pod* pod) const {
    core::PodCondition* condition = nullptr;
    for (auto& have : *pod->mutable_status()->mutable_conditions())
      if (have.type() == "DisruptionTarget") condition = &have;
    if (condition == nullptr) condition = pod->mutable_status()->add_conditions();
    if (condition->status() != "True") *condition->mutable_lasttransitiontime() = api::ToTime(context_.now);
    condition->set_type("DisruptionTarget");
    condition->set_status("True");
    condition->set_reason("EvictionByEvictionAPI");
    condition->set_message("Eviction API: evicting");
  }

  ServerParts& parts_;
  Context context_;
  const Kind& pods_;
  const std::string ns_, name_;
  const metav1::DeleteOptions options_;
};

// A dry run may be asked for in the query, in the body, or in both alike.
Status MergeDryRun(const http::Request& request, metav1::DeleteOptions* options, Context* context) {
  std::vector<std::string> asked;
  for (const std::string& value : request.query.All("dryRun")) asked.push_back(value);
  if (options->dryrun_size() == 0) {
    for (const std::string& value : asked) options->add_dryrun(value);
  } else if (!asked.empty() &&
             !std::equal(asked.begin(), asked.end(), options->dryrun().begin(), options->dryrun().end())) {
    return PlainError(absl::StrCat("Non-matching dry-run options in request and content: [", absl::StrJoin(asked, " "),
                                   "] and [", absl::StrJoin(options->dryrun(), " "), "]"));
  }
  if (options->dryrun_size() > 0) context->dry_run = true;
  return absl::OkStatus();
}

}  // namespace

Task<Status> ServeEviction(ServerParts& parts, Call& call) {
  auto query = ParseWriteQuery(call.request(), "CreateOptions", &call.context);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto object =
      DecodeBody(call.request(), *body, api::TypeOpsOf<policy::Eviction>(), query->field_validation, &call.context);
  if (!object.ok()) co_return object.status();
  const policy::Eviction& eviction = *object->As<policy::Eviction>();
  const std::string ns = call.info().ns, name = call.info().name;
  if (eviction.metadata().name() != name)
    co_return api::BadRequestError("name in URL does not match name in Eviction object");
  metav1::DeleteOptions options;
  if (eviction.has_deleteoptions()) options = eviction.deleteoptions();
  if (options.ignorestorereaderrorwithclusterbreakingpotential()) {
    api::FieldErrors errors;
    errors.InvalidRaw(api::Path("deleteOptions").Child("ignoreStoreReadErrorWithClusterBreakingPotential"), "true",
                      "can not be set for pod eviction, try after removing the option");
    co_return errors.ToStatus("policy", "Eviction", name);
  }
  if (Status status = MergeDryRun(call.request(), &options, &call.context); !status.ok()) co_return status;
  const Attributes attributes{call.kind, Operation::kCreate, "eviction", ns, name, &*object, nullptr};
  if (Status status = parts.admission.Validate(call.context, attributes); !status.ok()) co_return status;
  Evictor evictor(parts, call, std::move(options));
  Status evicted = co_await evictor.Evict();
  if (!evicted.ok()) co_return evicted;
  co_return co_await AnswerSuccess(call, 201);
}

}  // namespace skiff::controlplane
