// The replica set controller: as many active pods as the spec says, and a status that tells. Follows upstream's
// pkg/controller/replicaset in behaviour, events and conditions.
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/selector.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/owned_pods.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/controllers/replica_set.h"

namespace skiff::controlplane {

apps::ReplicaSetStatus ReplicaSetStatusOf(const apps::ReplicaSet& set, const std::vector<PodPtr>& active,
                                          int terminating, const Status& manage, WallTime now) {
  apps::ReplicaSetStatus status = set.status();
  int labelled = 0, ready = 0, available = 0;
  const auto selector = api::LabelSelector::FromMap(set.spec().template_().metadata().labels());
  for (const PodPtr& pod : active) {
    if (selector.Matches(pod->metadata().labels())) ++labelled;
    if (!IsPodReady(*pod)) continue;
    ++ready;
    if (IsPodAvailable(*pod, set.spec().minreadyseconds(), now)) ++available;
  }
  status.set_replicas(static_cast<int32_t>(active.size()));
  status.set_fullylabeledreplicas(labelled);
  status.set_readyreplicas(ready);
  status.set_availablereplicas(available);
  status.set_terminatingreplicas(terminating);
  status.set_observedgeneration(set.metadata().generation());

  auto* conditions = status.mutable_conditions();
  const auto failure =
      std::find_if(conditions->begin(), conditions->end(), [](const auto& c) { return c.type() == "ReplicaFailure"; });
  if (manage.ok()) {
    if (failure != conditions->end()) conditions->erase(failure);
  } else if (failure == conditions->end()) {
    auto* condition = conditions->Add();
    condition->set_type("ReplicaFailure");
    condition->set_status("True");
    *condition->mutable_lasttransitiontime() = api::ToTime(now);
    const int diff = static_cast<int>(active.size()) - set.spec().replicas();
    condition->set_reason(diff < 0 ? "FailedCreate" : diff > 0 ? "FailedDelete" : "");
    condition->set_message(std::string(manage.message()));
  }
  return status;
}

namespace {

constexpr int kBurst = 500;  // pods made or deleted in one sync
constexpr size_t kWorkers = 5;

class ReplicaSetController final : public Controller {
 public:
  explicit ReplicaSetController(const ControllerContext& context)
      : context_(context),
        events_(context.rest, "replicaset-controller", ""),
        expectations_(context.clock()),
        queue_(context.executor(), context.clock(), "replicaset-controller", kWorkers,
               [this](std::string key) { return Sync(std::move(key)); }) {
    auto& informers = *context.informers;
    informers.replica_sets->AddHandler({
        .added = [this](const auto& set) { queue_.Add(client::KeyOf(*set)); },
        .updated = [this](const auto&, const auto& set) { queue_.Add(client::KeyOf(*set)); },
        .deleted =
            [this](const auto& set) {
              expectations_.Forget(client::KeyOf(*set));
              queue_.Add(client::KeyOf(*set));
            },
    });
    FollowOwnedPods(informers, "ReplicaSet", &expectations_, &queue_, [this](const core::Pod& pod) { Orphan(pod); });
  }

  Task<void> Run() override { return RunQueue(context_.executor(), "replica set", &events_, &queue_); }

 private:
  // A pod without a controller: a set whose selector matches may adopt it.
  void Orphan(const core::Pod& pod) {
    if (client::ControllerOf(pod.metadata()) != nullptr || IsBeingDeleted(pod.metadata())) return;
    for (const auto& set : context_.informers->replica_sets->InNamespace(pod.metadata().namespace_())) {
      const auto selector = api::LabelSelector::From(&set->spec().selector());
      if (selector.ok() && !selector->empty() && selector->Matches(pod.metadata().labels())) {
        queue_.Add(client::KeyOf(*set));
      }
    }
  }

  // The set's pods: owned ones that match, after adopting matching orphans and letting go of those that match no more.
  Task<Status> Claim(std::shared_ptr<const apps::ReplicaSet> set, const api::LabelSelector& selector,
                     std::vector<PodPtr>* active, int* terminating) {
    const std::string& uid = set->metadata().uid();
    Status failed;
    for (const PodPtr& pod : context_.informers->pods->ByIndex("owner", uid)) {
      const bool matches = selector.Matches(pod->metadata().labels());
      if (matches && !IsPodTerminal(*pod) && IsBeingDeleted(pod->metadata())) ++*terminating;
      if (!IsPodActive(*pod)) continue;
      if (matches) {
        active->push_back(pod);
      } else if (!IsBeingDeleted(set->metadata())) {
        const nlohmann::json patch = {
            {"metadata",
             {{"uid", pod->metadata().uid()}, {"ownerReferences", {{{"$patch", "delete"}, {"uid", uid}}}}}}};
        const auto released = co_await context_.rest->Patch<core::Pod>(pod->metadata().namespace_(),
                                                                       pod->metadata().name(), patch.dump());
        if (!released.ok() && !absl::IsNotFound(released.status())) failed = released.status();
      }
    }
    if (IsBeingDeleted(set->metadata())) co_return failed;
    for (const PodPtr& pod : context_.informers->pods->InNamespace(set->metadata().namespace_())) {
      if (client::ControllerOf(pod->metadata()) != nullptr || !IsPodActive(*pod)) continue;
      if (!selector.Matches(pod->metadata().labels())) continue;
      const auto reference = client::ControllerReference(*set);
      const nlohmann::json patch = {
          {"metadata", {{"uid", pod->metadata().uid()}, {"ownerReferences", {api::ToJsonValue(reference)}}}}};
      const auto adopted =
          co_await context_.rest->Patch<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(), patch.dump());
      if (adopted.ok()) {
        active->push_back(pod);
      } else if (!absl::IsNotFound(adopted.status())) {
        failed = adopted.status();
      }
    }
    co_return failed;
  }

  // Pods are made in batches of 1, 2, 4, ..: what fails for one would fail for all.
  Task<Status> MakePods(std::shared_ptr<const apps::ReplicaSet> set, const std::string& key, int count) {
    const auto reference = client::ReferenceTo(*set);
    expectations_.ExpectCreations(key, count);
    VLOG(2, "Too few replicas", {"replicaSet", key}, {"need", set->spec().replicas()}, {"creating", count});
    int done = 0;
    Status failed;
    for (int batch = 1; done < count && failed.ok(); batch *= 2) {
      const int now = std::min(batch, count - done);
      TaskGroup group(context_.executor());
      for (int i = 0; i < now; ++i) group.Spawn("create pod", MakeOne(set, reference, key, &failed));
      co_await group.Join();
      done += now;
    }
    for (int i = done; i < count; ++i) expectations_.CreationObserved(key);
    co_return failed;
  }

  Task<void> MakeOne(std::shared_ptr<const apps::ReplicaSet> set, client::ObjectReference reference, std::string key,
                     Status* failed) {
    const Status status = co_await CreatePod(context_.rest, &events_, PodFromTemplate(set->spec().template_(), *set),
                                             std::move(reference));
    if (status.ok()) co_return;
    expectations_.CreationObserved(key);
    if (!client::IsNamespaceTerminating(status)) *failed = status;
  }

  Task<Status> RemovePods(std::shared_ptr<const apps::ReplicaSet> set, const std::string& key,
                          std::vector<PodPtr> active, int count) {
    VLOG(2, "Too many replicas", {"replicaSet", key}, {"need", set->spec().replicas()}, {"deleting", count});
    if (count < static_cast<int>(active.size())) {
      // Pods of all sets with the same owner (a deployment's) say how crowded a node is.
      std::vector<PodPtr> related;
      if (const auto* owner = client::ControllerOf(set->metadata())) {
        for (const auto& sibling : context_.informers->replica_sets->ByIndex("owner", owner->uid())) {
          const auto pods = context_.informers->pods->ByIndex("owner", sibling->metadata().uid());
          related.insert(related.end(), pods.begin(), pods.end());
        }
      } else {
        related = active;
      }
      SortForDeletion(&active, related, context_.clock().Now());
      active.resize(count);
    }
    const auto reference = client::ReferenceTo(*set);
    for (const PodPtr& pod : active) expectations_.ExpectDeletion(key, pod->metadata().uid());
    Status failed;
    TaskGroup group(context_.executor());
    for (const PodPtr& pod : active) group.Spawn("delete pod", RemoveOne(pod, reference, key, &failed));
    co_await group.Join();
    co_return failed;
  }

  Task<void> RemoveOne(PodPtr pod, client::ObjectReference reference, std::string key, Status* failed) {
    const Status status = co_await DeletePod(context_.rest, &events_, pod, std::move(reference));
    if (status.ok()) co_return;
    expectations_.DeletionObserved(key, pod->metadata().uid());
    if (!absl::IsNotFound(status)) *failed = status;
  }

  Task<Status> Sync(std::string key) {
    const auto set = context_.informers->replica_sets->Get(key);
    if (set == nullptr) {
      expectations_.Forget(key);
      co_return absl::OkStatus();
    }
    const bool may_manage = expectations_.Satisfied(key);
    const auto selector = api::LabelSelector::From(&set->spec().selector());
    if (!selector.ok()) {
      LOG_ERROR(selector.status(), "Error converting pod selector to selector for rs", {"replicaSet", key});
      co_return absl::OkStatus();
    }
    std::vector<PodPtr> active;
    int terminating = 0;
    CO_RETURN_IF_ERROR(co_await Claim(set, *selector, &active, &terminating));
    Status managed;
    const int diff = static_cast<int>(active.size()) - set->spec().replicas();
    if (may_manage && !IsBeingDeleted(set->metadata()) && diff != 0) {
      const int count = std::min(std::abs(diff), kBurst);
      managed = diff < 0 ? co_await MakePods(set, key, count) : co_await RemovePods(set, key, active, count);
      if (absl::IsCancelled(managed)) co_return managed;
    }
    const auto status = ReplicaSetStatusOf(*set, active, terminating, managed, context_.clock().Now());
    CO_RETURN_IF_ERROR(co_await WriteStatus(set, status));
    CO_RETURN_IF_ERROR(managed);
    if (set->spec().minreadyseconds() > 0 && status.readyreplicas() != status.availablereplicas()) {
      const auto next = NextAvailability(active, set->spec().minreadyseconds(), context_.clock().Now());
      queue_.AddAfter(key, next.count() > 0 ? next : std::chrono::seconds(set->spec().minreadyseconds()));
    }
    co_return absl::OkStatus();
  }

  Task<Status> WriteStatus(std::shared_ptr<const apps::ReplicaSet> set, apps::ReplicaSetStatus status) {
    if (api::Equal(set->status(), status) &&
        set->status().has_terminatingreplicas() == status.has_terminatingreplicas()) {
      co_return absl::OkStatus();
    }
    apps::ReplicaSet changed = *set;
    *changed.mutable_status() = status;
    auto written = co_await context_.rest->UpdateStatus(changed);
    if (written.ok() || !client::IsConflict(written.status())) co_return written.status();
    auto fresh = co_await context_.rest->Get<apps::ReplicaSet>(set->metadata().namespace_(), set->metadata().name());
    if (!fresh.ok()) co_return absl::IsNotFound(fresh.status()) ? absl::OkStatus() : fresh.status();
    if (fresh->metadata().uid() != set->metadata().uid()) co_return absl::OkStatus();
    *fresh->mutable_status() = status;
    co_return (co_await context_.rest->UpdateStatus(*std::move(fresh))).status();
  }

  const ControllerContext context_;
  client::EventRecorder events_;
  Expectations expectations_;
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Controller> MakeReplicaSetController(const ControllerContext& context) {
  return std::make_unique<ReplicaSetController>(context);
}

}  // namespace skiff::controlplane
