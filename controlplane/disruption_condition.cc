#include "controlplane/disruption_condition.h"

#include "api/time.h"

namespace skiff::controlplane {
namespace {

constexpr char kType[] = "DisruptionAllowed";

void Set(WallTime now, const char* value, const char* reason, std::string message, DisruptionBudgetStatus* status) {
  DisruptionCondition* condition = nullptr;
  for (auto& have : *status->mutable_conditions())
    if (have.type() == kType) condition = &have;
  if (condition == nullptr) {
    condition = status->add_conditions();
    condition->set_type(kType);
  }
  if (condition->status() != value) *condition->mutable_lasttransitiontime() = api::ToTime(now);
  condition->set_status(value);
  condition->set_reason(reason);
  condition->set_message(std::move(message));
  condition->set_observedgeneration(status->observedgeneration());
}

}  // namespace

const DisruptionCondition* FindDisruptionCondition(const DisruptionBudgetStatus& status) {
  for (const auto& condition : status.conditions())
    if (condition.type() == kType) return &condition;
  return nullptr;
}

void UpdateDisruptionCondition(WallTime now, DisruptionBudgetStatus* status) {
  if (status->disruptionsallowed() > 0)
    Set(now, "True", "SufficientPods", "", status);
  else
    Set(now, "False", "InsufficientPods", "", status);
}

void SetDisruptionSyncFailed(WallTime now, std::string message, DisruptionBudgetStatus* status) {
  Set(now, "False", kDisruptionSyncFailed, std::move(message), status);
}

}  // namespace skiff::controlplane
