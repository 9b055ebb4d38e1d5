// The disruption controller: keeps the status of pod disruption budgets, by which evictions are allowed, and takes back
// the announcement of a disruption that did not come. Follows upstream's pkg/controller/disruption; not there: the
// scale subresource of custom resources (a budget that needs it fails its sync, and allows no eviction).
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "api/int_or_string.h"
#include "api/scheme.h"
#include "api/selector.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/disruption_condition.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"

namespace skiff::controlplane {
namespace {

// An evicted pod is expected to begin its end within this time, and an announced disruption to come.
constexpr std::chrono::minutes kDeletionTimeout{2};

using BudgetPtr = std::shared_ptr<const policy::PodDisruptionBudget>;
using DisruptedPods = google::protobuf::Map<std::string, meta::Time>;

struct Expected {
  int pods = 0, healthy = 0;
  std::vector<std::string> unmanaged;  // pods without a controller, where controllers were asked
};

struct Scale {
  std::string uid;
  int replicas = 0;
};

bool IsOf(const meta::OwnerReference& owner, std::string_view kind, std::initializer_list<std::string_view> groups) {
  const size_t slash = owner.apiversion().find('/');
  const std::string_view group =
      slash == std::string::npos ? "" : std::string_view(owner.apiversion()).substr(0, slash);
  return owner.kind() == kind && std::find(groups.begin(), groups.end(), group) != groups.end();
}

// As Go prints it, which is what the event shows.
std::string Shown(const meta::LabelSelector& selector) {
  std::vector<std::string> labels, expressions;
  for (const auto& [key, value] : selector.matchlabels()) labels.push_back(absl::StrCat(key, ": ", value, ","));
  std::sort(labels.begin(), labels.end());
  for (const auto& e : selector.matchexpressions())
    expressions.push_back(absl::StrCat("LabelSelectorRequirement{Key:", e.key(), ",Operator:", e.operator_(),
                                       ",Values:[", absl::StrJoin(e.values(), " "), "],},"));
  return absl::StrCat("&LabelSelector{MatchLabels:map[string]string{", absl::StrJoin(labels, ""),
                      "},MatchExpressions:[]LabelSelectorRequirement{", absl::StrJoin(expressions, ""), "},}");
}

std::optional<api::LabelSelector> SelectorOf(const policy::PodDisruptionBudget& budget) {
  auto selector = api::LabelSelector::From(budget.spec().has_selector() ? &budget.spec().selector() : nullptr);
  if (!selector.ok()) return std::nullopt;
  return *std::move(selector);
}

class DisruptionController final : public Controller {
 public:
  explicit DisruptionController(const ControllerContext& context)
      : context_(context),
        events_(context.rest, "controllermanager", ""),
        queue_(context.executor(), context.clock(), "disruption-controller", 1,
               [this](std::string key) { return Sync(std::move(key)); }),
        announced_(context.executor(), context.clock(), "disruption-controller announced", 1,
                   [this](std::string key) { return TakeBack(std::move(key)); }) {
    context.informers->budgets->OnChange(
        [this](const policy::PodDisruptionBudget& budget) { queue_.Add(client::KeyOf(budget)); });
    context.informers->pods->AddHandler({
        .added = [this](const PodPtr& pod) { Changed(*pod); },
        .updated =
            [this](const PodPtr& before, const PodPtr& pod) {
              Changed(*pod);
              // A pod that left a budget matters to it as well.
              if (!Same(before->metadata().labels(), pod->metadata().labels())) Enqueue(*before);
            },
        .deleted = [this](const PodPtr& pod) { Enqueue(*pod); },
    });
  }

  Task<void> Run() override {
    TaskGroup group(context_.executor());
    group.Spawn("disruption events", events_.Run());
    group.Spawn("disruption budgets", queue_.Run());
    group.Spawn("announced disruptions", announced_.Run());
    co_await group.Join();
  }

 private:
  static bool Same(const api::Labels& a, const api::Labels& b) {
    if (a.size() != b.size()) return false;
    return std::all_of(a.begin(), a.end(), [&](const auto& pair) {
      const auto found = b.find(pair.first);
      return found != b.end() && found->second == pair.second;
    });
  }

  void Enqueue(const core::Pod& pod) {
    for (const BudgetPtr& budget : context_.informers->budgets->InNamespace(pod.metadata().namespace_())) {
      const auto selector = SelectorOf(*budget);
      if (selector && selector->Matches(pod.metadata().labels())) queue_.Add(client::KeyOf(*budget));
    }
  }
  void Changed(const core::Pod& pod) {
    Enqueue(pod);
    if (const auto wait = Announced(pod)) announced_.AddAfter(client::KeyOf(pod), *wait);
  }

  // How long until a disruption that the pod announces is overdue. Nothing where none is, or where only the kubelet
  // knows when it will be.
  std::optional<std::chrono::nanoseconds> Announced(const core::Pod& pod) const {
    if (IsBeingDeleted(pod.metadata()) || IsPodTerminal(pod)) return std::nullopt;
    const auto* condition = FindPodCondition(pod, "DisruptionTarget");
    if (condition == nullptr || condition->status() != "True" || condition->reason() == "TerminationByKubelet")
      return std::nullopt;
    const auto left = api::FromTime(condition->lasttransitiontime()) + kDeletionTimeout - context_.clock().Now();
    return std::max<std::chrono::nanoseconds>(left, std::chrono::nanoseconds(0));
  }

  Task<Status> TakeBack(std::string key) {
    const PodPtr pod = context_.informers->pods->Get(key);
    if (pod == nullptr) co_return absl::OkStatus();
    const auto wait = Announced(*pod);
    if (!wait) co_return absl::OkStatus();
    if (wait->count() > 0) {
      announced_.AddAfter(key, *wait);
      co_return absl::OkStatus();
    }
    const nlohmann::json condition = {{"type", "DisruptionTarget"},
                                      {"status", "False"},
                                      {"lastTransitionTime", api::FormatTime(context_.clock().Now())}};
    const nlohmann::json patch = {{"metadata", {{"uid", pod->metadata().uid()}}},
                                  {"status", {{"conditions", nlohmann::json::array({condition})}}}};
    const auto patched = co_await context_.rest->Patch<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(),
                                                                  patch.dump(), {.subresource = "status"});
    co_return absl::IsNotFound(patched.status()) ? absl::OkStatus() : patched.status();
  }

  Task<Status> Sync(std::string key) {
    const BudgetPtr budget = context_.informers->budgets->Get(key);
    if (budget == nullptr) co_return absl::OkStatus();
    const Status status = co_await TrySync(budget);
    if (status.ok() || client::IsConflict(status)) co_return status;
    // Without numbers nothing may be evicted.
    LOG_ERROR(status, "Failed to sync PDB", {"podDisruptionBudget", key});
    policy::PodDisruptionBudget failed = *budget;
    failed.mutable_status()->set_disruptionsallowed(0);
    SetDisruptionSyncFailed(context_.clock().Now(), std::string(status.message()), failed.mutable_status());
    if (api::Equal(failed, *budget)) co_return absl::OkStatus();
    co_return Forgive((co_await context_.rest->UpdateStatus(std::move(failed))).status());
  }
  static Status Forgive(const Status& status) { return absl::IsNotFound(status) ? absl::OkStatus() : status; }

  Task<Status> TrySync(BudgetPtr budget) {
    std::vector<PodPtr> pods;
    const auto selector = SelectorOf(*budget);
    if (!selector) co_return absl::OkStatus();  // validation lets none through
    for (const PodPtr& pod : context_.informers->pods->InNamespace(budget->metadata().namespace_()))
      if (selector->Matches(pod->metadata().labels())) pods.push_back(pod);
    if (pods.empty()) events_.Record(*budget, client::kNormal, "NoPods", "No matching pods found");
    const auto expected = co_await Expect(budget, pods);
    if (!expected.ok()) {
      events_.Record(*budget, client::kWarning, "CalculateExpectedPodCountFailed",
                     absl::StrCat("Failed to calculate the number of expected pods: ", expected.status().message()));
      co_return expected.status();
    }
    if (!expected->unmanaged.empty()) {
      LOG_INFO("Found unmanaged pods associated with this PDB", {"pods", absl::StrJoin(expected->unmanaged, ",")});
      events_.Record(
          *budget, client::kWarning, "UnmanagedPods",
          absl::StrCat("Pods selected by this PodDisruptionBudget (selector: ", Shown(budget->spec().selector()),
                       ") were found to be unmanaged. As a result, the status of the PDB cannot be "
                       "calculated correctly, which may result in undefined behavior. To account for these "
                       "pods please set \".spec.minAvailable\" field of the PDB to an integer value."));
    }

    const WallTime now = context_.clock().Now();
    policy::PodDisruptionBudget updated = *budget;
    auto& status = *updated.mutable_status();
    WallTime next{};
    *status.mutable_disruptedpods() = StillDisrupted(*budget, pods, now, &next);
    int healthy = 0;
    for (const PodPtr& pod : pods) {
      if (IsBeingDeleted(pod->metadata()) || status.disruptedpods().contains(pod->metadata().name())) continue;
      if (IsPodReady(*pod)) ++healthy;
    }
    // A budget without pods allows nothing: its first pods may be there before it is looked at again.
    const int allowed = expected->pods > 0 ? std::max(0, healthy - expected->healthy) : 0;
    status.set_currenthealthy(healthy);
    status.set_desiredhealthy(expected->healthy);
    status.set_expectedpods(expected->pods);
    status.set_disruptionsallowed(allowed);
    status.set_observedgeneration(budget->metadata().generation());
    UpdateDisruptionCondition(now, &status);
    if (next != WallTime{}) queue_.AddAfter(client::KeyOf(*budget), next - now);
    if (api::Equal(updated, *budget)) co_return absl::OkStatus();
    co_return Forgive((co_await context_.rest->UpdateStatus(std::move(updated))).status());
  }

  // Of the pods that were evicted, those that are still expected to begin their end; `next`: when the first of them is
  // given up.
  DisruptedPods StillDisrupted(const policy::PodDisruptionBudget& budget, const std::vector<PodPtr>& pods, WallTime now,
                               WallTime* next) {
    DisruptedPods out;
    for (const PodPtr& pod : pods) {
      const auto found = budget.status().disruptedpods().find(pod->metadata().name());
      if (IsBeingDeleted(pod->metadata()) || found == budget.status().disruptedpods().end()) continue;
      const WallTime until = api::FromTime(found->second) + kDeletionTimeout;
      if (until < now) {
        VLOG(1, "pod was expected to be deleted but it wasn't, updating PDB", {"pod", client::KeyOf(*pod)});
        events_.Record(*pod, client::kWarning, "NotDeleted",
                       absl::StrCat("Pod was expected by PDB ", budget.metadata().namespace_(), "/",
                                    budget.metadata().namespace_(), " to be deleted but it wasn't"));
        continue;
      }
      if (*next == WallTime{} || until < *next) *next = until;
      out[pod->metadata().name()] = found->second;
    }
    return out;
  }

  // A number of available pods is counted against the pods there are; all else against what their controllers want.
  Task<StatusOr<Expected>> Expect(BudgetPtr budget, std::vector<PodPtr> pods) {
    Expected out;
    const auto& spec = budget->spec();
    if (spec.has_maxunavailable()) {
      CO_RETURN_IF_ERROR(co_await AddScales(pods, &out));
      const auto unavailable = api::ScaledIntOrPercent(spec.maxunavailable(), out.pods, true);
      CO_RETURN_IF_ERROR(unavailable.status());
      out.healthy = std::max(0, out.pods - *unavailable);
    } else if (spec.has_minavailable() && api::IsString(spec.minavailable())) {
      CO_RETURN_IF_ERROR(co_await AddScales(pods, &out));
      const auto available = api::ScaledIntOrPercent(spec.minavailable(), out.pods, true);
      CO_RETURN_IF_ERROR(available.status());
      out.healthy = *available;
    } else if (spec.has_minavailable()) {
      out.pods = static_cast<int>(pods.size());
      out.healthy = api::IntValue(spec.minavailable());
    }
    co_return out;
  }

  Task<Status> AddScales(std::vector<PodPtr> pods, Expected* out) {
    std::set<std::string> seen;         // owners of pods
    std::map<std::string, int> scales;  // a deployment counts once, whatever replica sets it has
    for (const PodPtr& pod : pods) {
      const auto* owner = client::ControllerOf(pod->metadata());
      if (owner == nullptr) {
        out->unmanaged.push_back(pod->metadata().name());
        continue;
      }
      if (!seen.insert(owner->uid()).second) continue;
      const auto scale = co_await ScaleOf(*owner, pod->metadata().namespace_());
      CO_RETURN_IF_ERROR(scale.status());
      if (!scale->has_value()) co_return NotFound("found no controllers for pod \"", pod->metadata().name(), "\"");
      scales[(*scale)->uid] = (*scale)->replicas;
    }
    for (const auto& [uid, replicas] : scales) out->pods += replicas;
    co_return absl::OkStatus();
  }

  // Nothing where the owner is gone.
  Task<StatusOr<std::optional<Scale>>> ScaleOf(meta::OwnerReference owner, std::string ns) {
    const auto& informers = *context_.informers;
    if (IsOf(owner, "ReplicaSet", {"apps", "extensions"})) {
      const auto set = informers.replica_sets->Get(ns, owner.name());
      if (set == nullptr || set->metadata().uid() != owner.uid()) co_return std::nullopt;
      const auto* above = client::ControllerOf(set->metadata());
      if (above == nullptr || !IsOf(*above, "Deployment", {"apps", "extensions"}))
        co_return Scale{owner.uid(), set->spec().replicas()};
      const auto deployment = informers.deployments->Get(ns, above->name());
      if (deployment == nullptr || deployment->metadata().uid() != above->uid()) co_return std::nullopt;
      co_return Scale{above->uid(), deployment->spec().replicas()};
    }
    if (IsOf(owner, "StatefulSet", {"apps"})) {
      const auto set = informers.stateful_sets->Get(ns, owner.name());
      if (set == nullptr || set->metadata().uid() != owner.uid()) co_return std::nullopt;
      co_return Scale{owner.uid(), set->spec().replicas()};
    }
    if (IsOf(owner, "ReplicationController", {""})) {
      // Rare enough not to be watched.
      const auto controller = co_await context_.rest->Get<core::ReplicationController>(ns, owner.name());
      if (absl::IsNotFound(controller.status())) co_return std::nullopt;
      if (!controller.ok()) co_return controller.status();
      if (controller->metadata().uid() != owner.uid()) co_return std::nullopt;
      co_return Scale{owner.uid(), controller->spec().replicas()};
    }
    const size_t slash = owner.apiversion().find('/');
    const std::string group = slash == std::string::npos ? "" : owner.apiversion().substr(0, slash);
    const std::string version = slash == std::string::npos ? owner.apiversion() : owner.apiversion().substr(slash + 1);
    const api::Resource* resource = api::FindResourceByKind(group, version, owner.kind());
    if (resource == nullptr) co_return std::nullopt;
    const std::string named =
        group.empty() ? std::string(resource->plural) : absl::StrCat(resource->plural, ".", group);
    co_return InvalidArgument(named, " does not implement the scale subresource");
  }

  const ControllerContext context_;
  client::EventRecorder events_;
  WorkQueue queue_, announced_;
};

}  // namespace

std::unique_ptr<Controller> MakeDisruptionController(const ControllerContext& context) {
  return std::make_unique<DisruptionController>(context);
}

}  // namespace skiff::controlplane
