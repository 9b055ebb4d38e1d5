// The condition DisruptionAllowed of a PodDisruptionBudget, which the disruption controller and an eviction keep in
// step with status.disruptionsAllowed.
#ifndef SKIFF_CONTROLPLANE_DISRUPTION_CONDITION_H_
#define SKIFF_CONTROLPLANE_DISRUPTION_CONDITION_H_

#include <string>

#include "base/clock.h"
#include "k8s/io/api/policy/v1/generated.pb.h"

namespace skiff::controlplane {

using DisruptionBudgetStatus = ::k8s::io::api::policy::v1::PodDisruptionBudgetStatus;
using DisruptionCondition = ::k8s::io::apimachinery::pkg::apis::meta::v1::Condition;

inline constexpr char kDisruptionSyncFailed[] = "SyncFailed";

const DisruptionCondition* FindDisruptionCondition(const DisruptionBudgetStatus& status);
// SufficientPods or InsufficientPods, as disruptionsAllowed says.
void UpdateDisruptionCondition(WallTime now, DisruptionBudgetStatus* status);
// False / SyncFailed: the numbers of the status are not to be trusted.
void SetDisruptionSyncFailed(WallTime now, std::string message, DisruptionBudgetStatus* status);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_DISRUPTION_CONDITION_H_
