// The deployment controller: one replica set a pod template, sized so that a rollout keeps within its bounds. Follows
// upstream's pkg/controller/deployment in behaviour, annotations, events and conditions.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/selector.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/deployment_math.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

constexpr size_t kWorkers = 5;
constexpr size_t kMostNameLength = 253;

class DeploymentController final : public Controller {
 public:
  explicit DeploymentController(const ControllerContext& context)
      : context_(context),
        events_(context.rest, "deployment-controller", ""),
        queue_(context.executor(), context.clock(), "deployment-controller", kWorkers,
               [this](std::string key) { return Sync(std::move(key)); }) {
    context.informers->deployments->OnChange([this](const auto& d) { queue_.Add(client::KeyOf(d)); });
    context.informers->replica_sets->AddHandler({
        .added = [this](const SetPtr& set) { SetChanged(*set); },
        .updated =
            [this](const SetPtr& before, const SetPtr& set) {
              SetChanged(*before);
              SetChanged(*set);
            },
        .deleted = [this](const SetPtr& set) { SetChanged(*set); },
    });
    // Only the strategy Recreate waits for pods to be gone.
    context.informers->pods->AddHandler({.deleted = [this](const PodPtr& pod) { PodDeleted(*pod); }});
  }

  Task<void> Run() override {
    TaskGroup group(context_.executor());
    group.Spawn("deployment events", events_.Run());
    group.Spawn("deployments", queue_.Run());
    co_await group.Join();
  }

 private:
  void SetChanged(const apps::ReplicaSet& set) {
    const std::string& ns = set.metadata().namespace_();
    if (const auto* owner = client::ControllerOf(set.metadata())) {
      if (owner->kind() == "Deployment") queue_.Add(client::MakeKey(ns, owner->name()));
      return;
    }
    for (const auto& d : context_.informers->deployments->InNamespace(ns)) {
      const auto selector = api::LabelSelector::From(&d->spec().selector());
      if (selector.ok() && !selector->empty() && selector->Matches(set.metadata().labels())) {
        queue_.Add(client::KeyOf(*d));
      }
    }
  }

  void PodDeleted(const core::Pod& pod) {
    const auto* owner = client::ControllerOf(pod.metadata());
    if (owner == nullptr || owner->kind() != "ReplicaSet") return;
    const auto set = context_.informers->replica_sets->Get(pod.metadata().namespace_(), owner->name());
    if (set == nullptr || set->metadata().uid() != owner->uid()) return;
    const auto* deployment = client::ControllerOf(set->metadata());
    if (deployment == nullptr) return;
    const auto d = context_.informers->deployments->Get(pod.metadata().namespace_(), deployment->name());
    if (d != nullptr && d->spec().strategy().type() == "Recreate") queue_.Add(client::KeyOf(*d));
  }

  // The deployment's sets, after adopting matching orphans and letting go of those that match no more.
  Task<Status> Claim(const apps::Deployment& d, std::vector<SetPtr>* out) {
    const auto selector = api::LabelSelector::From(&d.spec().selector());
    if (!selector.ok()) co_return selector.status();
    const std::string uid = d.metadata().uid();
    for (const SetPtr& set : context_.informers->replica_sets->InNamespace(d.metadata().namespace_())) {
      const auto* owner = client::ControllerOf(set->metadata());
      const bool matches = selector->Matches(set->metadata().labels());
      nlohmann::json references;
      if (owner != nullptr) {
        if (owner->uid() != uid) continue;
        if (matches) {
          out->push_back(set);
          continue;
        }
        references = nlohmann::json::array({{{"$patch", "delete"}, {"uid", uid}}});
      } else {
        if (!matches || IsBeingDeleted(set->metadata())) continue;
        references = nlohmann::json::array({api::ToJsonValue(client::ControllerReference(d))});
      }
      if (IsBeingDeleted(d.metadata())) continue;
      const nlohmann::json patch = {{"metadata", {{"uid", set->metadata().uid()}, {"ownerReferences", references}}}};
      auto patched = co_await context_.rest->Patch<apps::ReplicaSet>(set->metadata().namespace_(),
                                                                     set->metadata().name(), patch.dump());
      if (absl::IsNotFound(patched.status())) continue;
      CO_RETURN_IF_ERROR(patched.status());
      if (owner == nullptr) out->push_back(std::make_shared<apps::ReplicaSet>(*std::move(patched)));
    }
    co_return absl::OkStatus();
  }

  Task<Status> WriteStatus(apps::Deployment* d) {
    auto written = co_await context_.rest->UpdateStatus(*d);
    if (!written.ok()) co_return written.status();
    *d = *std::move(written);
    co_return absl::OkStatus();
  }

  Task<Status> WriteStatusIfChanged(apps::Deployment* d, apps::DeploymentStatus status, bool* changed = nullptr) {
    if (api::Equal(d->status(), status) && d->status().has_terminatingreplicas() == status.has_terminatingreplicas()) {
      co_return absl::OkStatus();
    }
    if (changed != nullptr) *changed = true;
    *d->mutable_status() = std::move(status);
    co_return co_await WriteStatus(d);
  }

  static std::vector<SetPtr> OldSets(const std::vector<SetPtr>& sets, const SetPtr& new_set) {
    std::vector<SetPtr> out;
    for (const SetPtr& set : sets) {
      if (new_set == nullptr || set->metadata().uid() != new_set->metadata().uid()) out.push_back(set);
    }
    return out;
  }
  static std::vector<SetPtr> With(std::vector<SetPtr> sets, const SetPtr& set) {
    if (set != nullptr) sets.push_back(set);
    return sets;
  }

  // The set with the deployment's template, its annotations brought up to date; made when missing, if `create`.
  Task<Status> NewSet(apps::Deployment* d, const std::vector<SetPtr>& sets, bool create, SetPtr* out) {
    *out = nullptr;
    const SetPtr existing = FindNewSet(*d, sets);
    const std::vector<SetPtr> old = OldSets(sets, existing);
    const int64_t revision = MaxRevision(old) + 1;
    if (existing != nullptr) {
      apps::ReplicaSet copy = *existing;
      const bool annotated = UpdateNewSetAnnotations(*d, revision, true, &copy);
      if (annotated || copy.spec().minreadyseconds() != d->spec().minreadyseconds()) {
        copy.mutable_spec()->set_minreadyseconds(d->spec().minreadyseconds());
        auto updated = co_await context_.rest->Update(std::move(copy));
        CO_RETURN_IF_ERROR(updated.status());
        *out = std::make_shared<apps::ReplicaSet>(*std::move(updated));
        co_return absl::OkStatus();
      }
      bool write = SetRevision(d, copy.metadata().annotations().at(kRevision));
      if (HasProgressDeadline(*d) && FindCondition(d->status(), "Progressing") == nullptr) {
        SetCondition(d->mutable_status(), "Progressing", "True", "FoundNewReplicaSet",
                     absl::StrCat("Found new replica set \"", copy.metadata().name(), "\""), context_.clock().Now());
        write = true;
      }
      if (write) CO_RETURN_IF_ERROR(co_await WriteStatus(d));
      *out = existing;
      co_return absl::OkStatus();
    }
    if (!create) co_return absl::OkStatus();
    co_return co_await MakeSet(d, old, revision, out);
  }

  static bool SetRevision(apps::Deployment* d, const std::string& revision) {
    std::string& slot = (*d->mutable_metadata()->mutable_annotations())[kRevision];
    if (slot == revision) return false;
    slot = revision;
    return true;
  }

  Task<Status> MakeSet(apps::Deployment* d, const std::vector<SetPtr>& old, int64_t revision, SetPtr* out) {
    const std::string hash =
        TemplateHash(d->spec().template_(), d->status().collisioncount(), d->status().has_collisioncount());
    apps::ReplicaSet set;
    std::string name = d->metadata().name();
    if (name.size() + 1 + hash.size() > kMostNameLength) name.resize(kMostNameLength - 1 - hash.size());
    set.mutable_metadata()->set_name(absl::StrCat(name, "-", hash));
    set.mutable_metadata()->set_namespace_(d->metadata().namespace_());
    *set.mutable_metadata()->add_ownerreferences() = client::ControllerReference(*d);
    *set.mutable_spec()->mutable_template_() = d->spec().template_();
    (*set.mutable_spec()->mutable_template_()->mutable_metadata()->mutable_labels())[kTemplateHash] = hash;
    *set.mutable_metadata()->mutable_labels() = set.spec().template_().metadata().labels();
    *set.mutable_spec()->mutable_selector() = d->spec().selector();
    (*set.mutable_spec()->mutable_selector()->mutable_matchlabels())[kTemplateHash] = hash;
    set.mutable_spec()->set_minreadyseconds(d->spec().minreadyseconds());
    set.mutable_spec()->set_replicas(0);
    const int replicas = NewSetReplicas(*d, old, set);
    set.mutable_spec()->set_replicas(replicas);
    UpdateNewSetAnnotations(*d, revision, false, &set);

    const std::string set_name = set.metadata().name();
    auto created = co_await context_.rest->Create(std::move(set));
    bool existed = false;
    if (absl::IsAlreadyExists(created.status())) {
      existed = true;
      const Status failed = created.status();
      created = co_await context_.rest->Get<apps::ReplicaSet>(d->metadata().namespace_(), set_name);
      CO_RETURN_IF_ERROR(created.status());
      const auto* owner = client::ControllerOf(created->metadata());
      if (owner == nullptr || owner->uid() != d->metadata().uid() ||
          !SameTemplate(d->spec().template_(), created->spec().template_())) {
        // Another template with the same hash: the next try hashes with a higher count.
        d->mutable_status()->set_collisioncount(d->status().collisioncount() + 1);
        const Status written = co_await WriteStatus(d);
        LOG_INFO("Found a hash collision for deployment - bumping collisionCount to resolve it",
                 {"deployment", client::KeyOf(*d)}, {"collisionCount", d->status().collisioncount()});
        co_return written.ok() ? failed : written;
      }
    } else if (client::IsNamespaceTerminating(created.status())) {
      co_return created.status();
    } else if (!created.ok()) {
      const Status failed = created.status();
      if (absl::IsCancelled(failed)) co_return failed;
      const std::string text = absl::StrCat("Failed to create new replica set \"", set_name, "\": ", failed.message());
      if (HasProgressDeadline(*d)) {
        SetCondition(d->mutable_status(), "Progressing", "False", "ReplicaSetCreateError", text,
                     context_.clock().Now());
        const Status written = co_await WriteStatus(d);
        VLOG(2, "Wrote failure of a deployment", {"deployment", client::KeyOf(*d)}, {"err", written});
      }
      events_.Record(*d, client::kWarning, "ReplicaSetCreateError", text);
      co_return failed;
    }
    *out = std::make_shared<apps::ReplicaSet>(*std::move(created));
    if (!existed && replicas > 0) {
      events_.Record(*d, client::kNormal, "ScalingReplicaSet",
                     absl::StrCat("Scaled up replica set ", set_name, " from 0 to ", replicas));
    }
    bool write = SetRevision(d, absl::StrCat(revision));
    if (!existed && HasProgressDeadline(*d)) {
      SetCondition(d->mutable_status(), "Progressing", "True", "NewReplicaSetCreated",
                   absl::StrCat("Created new replica set \"", set_name, "\""), context_.clock().Now());
      write = true;
    }
    if (write) CO_RETURN_IF_ERROR(co_await WriteStatus(d));
    co_return absl::OkStatus();
  }

  // `force`: the size annotations are written even when the size stays.
  Task<Status> Scale(const apps::Deployment& d, SetPtr* set, int replicas, bool force, bool* scaled) {
    const int before = (*set)->spec().replicas();
    if (!force && before == replicas) co_return absl::OkStatus();
    apps::ReplicaSet copy = **set;
    const bool annotated = SetReplicasAnnotations(d, &copy);
    if (before == replicas && !annotated) co_return absl::OkStatus();
    copy.mutable_spec()->set_replicas(replicas);
    auto updated = co_await context_.rest->Update(std::move(copy));
    CO_RETURN_IF_ERROR(updated.status());
    *set = std::make_shared<apps::ReplicaSet>(*std::move(updated));
    if (before != replicas) {
      if (scaled != nullptr) *scaled = true;
      events_.Record(d, client::kNormal, "ScalingReplicaSet",
                     absl::StrCat("Scaled ", before < replicas ? "up" : "down", " replica set ",
                                  (*set)->metadata().name(), " from ", before, " to ", replicas));
    }
    co_return absl::OkStatus();
  }

  // Old sets beyond the history limit, the oldest revisions first, if they are empty.
  Task<Status> CleanUp(const apps::Deployment& d, std::vector<SetPtr> old) {
    if (!d.spec().has_revisionhistorylimit() ||
        d.spec().revisionhistorylimit() == std::numeric_limits<int32_t>::max()) {
      co_return absl::OkStatus();
    }
    std::erase_if(old, [](const SetPtr& set) { return IsBeingDeleted(set->metadata()); });
    const int surplus = static_cast<int>(old.size()) - d.spec().revisionhistorylimit();
    if (surplus <= 0) co_return absl::OkStatus();
    SortByAge(&old);
    std::stable_sort(old.begin(), old.end(), [](const SetPtr& a, const SetPtr& b) {
      return RevisionOf(a->metadata()) < RevisionOf(b->metadata());
    });
    for (int i = 0; i < surplus; ++i) {
      const auto& set = *old[i];
      if (set.status().replicas() != 0 || set.spec().replicas() != 0 ||
          set.metadata().generation() > set.status().observedgeneration()) {
        continue;
      }
      const Status status =
          co_await context_.rest->Delete<apps::ReplicaSet>(set.metadata().namespace_(), set.metadata().name());
      if (!absl::IsNotFound(status)) CO_RETURN_IF_ERROR(status);
    }
    co_return absl::OkStatus();
  }

  Task<Status> CheckPaused(apps::Deployment* d) {
    if (!HasProgressDeadline(*d)) co_return absl::OkStatus();
    const auto* condition = FindCondition(d->status(), "Progressing");
    if (condition != nullptr && condition->reason() == "ProgressDeadlineExceeded") co_return absl::OkStatus();
    const bool marked = condition != nullptr && condition->reason() == "DeploymentPaused";
    if (d->spec().paused() == marked) co_return absl::OkStatus();
    if (d->spec().paused()) {
      SetCondition(d->mutable_status(), "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused",
                   context_.clock().Now());
    } else {
      SetCondition(d->mutable_status(), "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed",
                   context_.clock().Now());
    }
    co_return co_await WriteStatus(d);
  }

  // Sizes follow the deployment without any rollout: when it was scaled, or is paused.
  Task<Status> SyncSize(apps::Deployment* d, std::vector<SetPtr> sets) {
    SetPtr new_set;
    CO_RETURN_IF_ERROR(co_await NewSet(d, sets, false, &new_set));
    const std::vector<SetPtr> old = OldSets(sets, new_set);
    if (SetPtr alone = FindActiveOrLatest(new_set, old)) {
      CO_RETURN_IF_ERROR(co_await Scale(*d, &alone, d->spec().replicas(), false, nullptr));
      if (new_set != nullptr && alone->metadata().uid() == new_set->metadata().uid()) new_set = alone;
    } else if (IsSaturated(*d, new_set)) {
      for (SetPtr set : ActiveSets(old)) CO_RETURN_IF_ERROR(co_await Scale(*d, &set, 0, false, nullptr));
    } else if (IsRollingUpdate(*d)) {
      for (Resize& resize : ScaleProportionally(*d, new_set, old)) {
        CO_RETURN_IF_ERROR(co_await Scale(*d, &resize.set, resize.replicas, true, nullptr));
      }
    }
    if (d->spec().paused()) CO_RETURN_IF_ERROR(co_await CleanUp(*d, old));
    co_return co_await WriteStatusIfChanged(d, StatusOf(*d, With(old, new_set), new_set, context_.clock().Now()));
  }

  Task<Status> SyncRolloutStatus(apps::Deployment* d, const std::vector<SetPtr>& all, const SetPtr& new_set) {
    const auto status = RolloutStatusOf(*d, all, new_set, context_.clock().Now());
    bool changed = false;
    CO_RETURN_IF_ERROR(co_await WriteStatusIfChanged(d, status, &changed));
    if (changed) co_return absl::OkStatus();
    // Nothing moves: look again when the deadline has passed.
    const auto* condition = FindCondition(d->status(), "Progressing");
    if (!HasProgressDeadline(*d) || condition == nullptr || IsComplete(*d, status) ||
        condition->reason() == "ProgressDeadlineExceeded") {
      co_return absl::OkStatus();
    }
    const auto after = api::FromTime(condition->lastupdatetime()) +
                       std::chrono::seconds(d->spec().progressdeadlineseconds()) - context_.clock().Now();
    if (after < std::chrono::seconds(1)) {
      queue_.AddRateLimited(client::KeyOf(*d));
    } else {
      queue_.AddAfter(client::KeyOf(*d), after + std::chrono::seconds(1));
    }
    co_return absl::OkStatus();
  }

  Task<Status> RollOut(apps::Deployment* d, std::vector<SetPtr> sets) {
    SetPtr new_set;
    CO_RETURN_IF_ERROR(co_await NewSet(d, sets, true, &new_set));
    const std::vector<SetPtr> old = OldSets(sets, new_set);
    bool scaled = false;
    const int wanted = new_set->spec().replicas() > d->spec().replicas() ? d->spec().replicas()
                       : new_set->spec().replicas() == d->spec().replicas()
                           ? d->spec().replicas()
                           : NewSetReplicas(*d, With(old, new_set), *new_set);
    CO_RETURN_IF_ERROR(co_await Scale(*d, &new_set, wanted, false, &scaled));
    if (!scaled) {
      std::vector<SetPtr> changed = old;
      for (Resize& resize : ScaleDownOldSets(*d, old, new_set)) {
        SetPtr set = resize.set;
        CO_RETURN_IF_ERROR(co_await Scale(*d, &set, resize.replicas, false, &scaled));
        std::replace(changed.begin(), changed.end(), resize.set, set);
      }
      if (!scaled && IsComplete(*d, d->status())) CO_RETURN_IF_ERROR(co_await CleanUp(*d, old));
      co_return co_await SyncRolloutStatus(d, With(changed, new_set), new_set);
    }
    co_return co_await SyncRolloutStatus(d, With(old, new_set), new_set);
  }

  bool OldPodsRun(const std::vector<SetPtr>& old) const {
    if (StatusReplicas(old) > 0) return true;
    for (const SetPtr& set : old) {
      for (const PodPtr& pod : context_.informers->pods->ByIndex("owner", set->metadata().uid())) {
        if (!IsPodTerminal(*pod)) return true;
      }
    }
    return false;
  }

  Task<Status> Recreate(apps::Deployment* d, std::vector<SetPtr> sets) {
    SetPtr new_set;
    CO_RETURN_IF_ERROR(co_await NewSet(d, sets, false, &new_set));
    const std::vector<SetPtr> old = OldSets(sets, new_set);
    bool scaled = false;
    for (SetPtr set : ActiveSets(old)) CO_RETURN_IF_ERROR(co_await Scale(*d, &set, 0, false, &scaled));
    if (scaled || OldPodsRun(old)) co_return co_await SyncRolloutStatus(d, With(old, new_set), new_set);
    if (new_set == nullptr) CO_RETURN_IF_ERROR(co_await NewSet(d, sets, true, &new_set));
    CO_RETURN_IF_ERROR(co_await Scale(*d, &new_set, d->spec().replicas(), false, nullptr));
    if (IsComplete(*d, d->status())) CO_RETURN_IF_ERROR(co_await CleanUp(*d, old));
    co_return co_await SyncRolloutStatus(d, With(old, new_set), new_set);
  }

  Task<Status> Sync(std::string key) {
    const auto cached = context_.informers->deployments->Get(key);
    if (cached == nullptr) co_return absl::OkStatus();
    apps::Deployment d = *cached;
    if (d.spec().selector().matchlabels().empty() && d.spec().selector().matchexpressions().empty()) {
      events_.Record(d, client::kWarning, "SelectingAll",
                     "This deployment is selecting all pods. A non-empty selector is required.");
      if (d.status().observedgeneration() >= d.metadata().generation()) co_return absl::OkStatus();
      d.mutable_status()->set_observedgeneration(d.metadata().generation());
      co_return co_await WriteStatus(&d);
    }
    std::vector<SetPtr> sets;
    CO_RETURN_IF_ERROR(co_await Claim(d, &sets));
    if (IsBeingDeleted(d.metadata())) {
      const SetPtr new_set = FindNewSet(d, sets);
      co_return co_await WriteStatusIfChanged(&d, StatusOf(d, sets, new_set, context_.clock().Now()));
    }
    CO_RETURN_IF_ERROR(co_await CheckPaused(&d));
    if (d.spec().paused()) co_return co_await SyncSize(&d, std::move(sets));
    if (IsScalingEvent(d, sets)) co_return co_await SyncSize(&d, std::move(sets));
    if (d.spec().strategy().type() == "Recreate") co_return co_await Recreate(&d, std::move(sets));
    if (IsRollingUpdate(d)) co_return co_await RollOut(&d, std::move(sets));
    co_return InvalidArgument("unexpected deployment strategy type: ", d.spec().strategy().type());
  }

  const ControllerContext context_;
  client::EventRecorder events_;
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Controller> MakeDeploymentController(const ControllerContext& context) {
  return std::make_unique<DeploymentController>(context);
}

}  // namespace skiff::controlplane
