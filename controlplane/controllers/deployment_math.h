// The arithmetic of rolling updates: pure functions over a deployment and its replica sets, with upstream's results
// (pkg/controller/deployment/util). Replica sets are cached objects and never changed here.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_DEPLOYMENT_MATH_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_DEPLOYMENT_MATH_H_

#include <optional>
#include <string>
#include <vector>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

using SetPtr = std::shared_ptr<const apps::ReplicaSet>;

inline constexpr char kRevision[] = "deployment.kubernetes.io/revision";
inline constexpr char kRevisionHistory[] = "deployment.kubernetes.io/revision-history";
inline constexpr char kDesiredReplicas[] = "deployment.kubernetes.io/desired-replicas";
inline constexpr char kMaxReplicas[] = "deployment.kubernetes.io/max-replicas";
inline constexpr char kTemplateHash[] = "pod-template-hash";

bool IsRollingUpdate(const apps::Deployment& d);
int MaxSurge(const apps::Deployment& d);
int MaxUnavailable(const apps::Deployment& d);
bool HasProgressDeadline(const apps::Deployment& d);

// Sums over sets; null entries count nothing.
int SpecReplicas(const std::vector<SetPtr>& sets);
int StatusReplicas(const std::vector<SetPtr>& sets);
int ReadyReplicas(const std::vector<SetPtr>& sets);
int AvailableReplicas(const std::vector<SetPtr>& sets);
std::vector<SetPtr> ActiveSets(const std::vector<SetPtr>& sets);  // those that want replicas
void SortByAge(std::vector<SetPtr>* sets);                        // oldest first

bool SameTemplate(const core::PodTemplateSpec& a, const core::PodTemplateSpec& b);  // but for the hash label
// The oldest set with the deployment's template, or null; the others are the old ones.
SetPtr FindNewSet(const apps::Deployment& d, std::vector<SetPtr> sets);
int64_t RevisionOf(const meta::ObjectMeta& metadata);  // 0 when absent or no number
int64_t MaxRevision(const std::vector<SetPtr>& sets);

// How many replicas the new set should have now.
int NewSetReplicas(const apps::Deployment& d, const std::vector<SetPtr>& all, const apps::ReplicaSet& new_set);

// A change of size of one set.
struct Resize {
  SetPtr set;
  int replicas;
};
// What a rolling update takes away from the old sets: unhealthy replicas first, then as many as availability allows.
std::vector<Resize> ScaleDownOldSets(const apps::Deployment& d, const std::vector<SetPtr>& old_sets,
                                     const SetPtr& new_set);
// The one set that alone follows the deployment's size: the only active one, or the newest when none is; else null.
SetPtr FindActiveOrLatest(const SetPtr& new_set, std::vector<SetPtr> old_sets);
bool IsSaturated(const apps::Deployment& d, const SetPtr& set);
// A change of the deployment's size in the middle of a rollout, spread over the sets by their share.
std::vector<Resize> ScaleProportionally(const apps::Deployment& d, const SetPtr& new_set,
                                        const std::vector<SetPtr>& old_sets);
// The active sets were sized for another number of replicas than the deployment wants now.
bool IsScalingEvent(const apps::Deployment& d, const std::vector<SetPtr>& all);

// Annotations of the new set follow the deployment's; true when something changed.
bool UpdateNewSetAnnotations(const apps::Deployment& d, int64_t new_revision, bool exists, apps::ReplicaSet* set);
bool SetReplicasAnnotations(const apps::Deployment& d, apps::ReplicaSet* set);

// Conditions.
const apps::DeploymentCondition* FindCondition(const apps::DeploymentStatus& status, std::string_view type);
void SetCondition(apps::DeploymentStatus* status, std::string_view type, std::string_view value,
                  std::string_view reason, std::string_view message, WallTime now);
void RemoveCondition(apps::DeploymentStatus* status, std::string_view type);
bool IsComplete(const apps::Deployment& d, const apps::DeploymentStatus& status);
bool HasProgressed(const apps::Deployment& d, const apps::DeploymentStatus& status);
bool HasTimedOut(const apps::Deployment& d, const apps::DeploymentStatus& status, WallTime now);

// The status without the Progressing condition's changes ..
apps::DeploymentStatus StatusOf(const apps::Deployment& d, const std::vector<SetPtr>& all, const SetPtr& new_set,
                                WallTime now);
// .. and with them, as a rollout reports it.
apps::DeploymentStatus RolloutStatusOf(const apps::Deployment& d, const std::vector<SetPtr>& all, const SetPtr& new_set,
                                       WallTime now);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_DEPLOYMENT_MATH_H_
