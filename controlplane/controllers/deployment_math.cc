#include "controlplane/controllers/deployment_math.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "api/int_or_string.h"
#include "api/time.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

constexpr size_t kMostHistory = 2000;  // characters

struct Fenceposts {
  int surge = 0, unavailable = 0;
};

Fenceposts Resolve(const apps::Deployment& d) {
  Fenceposts out;
  const auto& rolling = d.spec().strategy().rollingupdate();
  const int desired = d.spec().replicas();
  if (rolling.has_maxsurge()) out.surge = api::ScaledIntOrPercent(rolling.maxsurge(), desired, true).value_or(0);
  if (rolling.has_maxunavailable()) {
    out.unavailable = api::ScaledIntOrPercent(rolling.maxunavailable(), desired, false).value_or(0);
  }
  // Rounding down may leave nothing at all to move with.
  if (out.surge == 0 && out.unavailable == 0) out.unavailable = 1;
  return out;
}

std::optional<int> NumberAnnotation(const apps::ReplicaSet& set, const char* key) {
  const auto found = set.metadata().annotations().find(key);
  uint32_t value = 0;
  if (found == set.metadata().annotations().end() || !absl::SimpleAtoi(found->second, &value) ||
      value > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    return std::nullopt;
  }
  return static_cast<int>(value);
}

template <typename F>
int Sum(const std::vector<SetPtr>& sets, F f) {
  int total = 0;
  for (const SetPtr& set : sets) {
    if (set != nullptr) total += f(*set);
  }
  return total;
}

bool SkipsAnnotation(const std::string& key) {
  return key == "kubectl.kubernetes.io/last-applied-configuration" || key == kRevision || key == kRevisionHistory ||
         key == kDesiredReplicas || key == kMaxReplicas || key == "deprecated.deployment.rollback.to";
}

bool Put(apps::ReplicaSet* set, const char* key, std::string value) {
  std::string& slot = (*set->mutable_metadata()->mutable_annotations())[key];
  if (slot == value) return false;
  slot = std::move(value);
  return true;
}

bool Older(const SetPtr& a, const SetPtr& b) {
  const auto at = a->metadata().creationtimestamp().seconds(), bt = b->metadata().creationtimestamp().seconds();
  return at != bt ? at < bt : a->metadata().name() < b->metadata().name();
}

// A set's share of a change of size, before leftovers.
int Proportion(const apps::ReplicaSet& set, const apps::Deployment& d, int to_add, int added) {
  if (set.spec().replicas() == 0 || to_add == 0 || to_add == added) return 0;
  int fraction = 0;
  if (d.spec().replicas() == 0) {
    fraction = -set.spec().replicas();
  } else {
    int before = NumberAnnotation(set, kMaxReplicas).value_or(0);
    if (before == 0) before = d.status().replicas();
    if (before != 0) {
      const double size = static_cast<double>(set.spec().replicas()) * (d.spec().replicas() + MaxSurge(d)) / before;
      fraction = static_cast<int>(std::lround(size)) - set.spec().replicas();
    }
  }
  const int allowed = to_add - added;
  return to_add > 0 ? std::min(fraction, allowed) : std::max(fraction, allowed);
}

std::optional<int> TerminatingReplicas(const std::vector<SetPtr>& sets) {
  int total = 0;
  for (const SetPtr& set : sets) {
    if (set == nullptr) continue;
    if (set->status().has_terminatingreplicas()) {
      total += set->status().terminatingreplicas();
    } else if (set->status().observedgeneration() != 0) {
      return std::nullopt;
    }
  }
  return total;
}

}  // namespace

bool IsRollingUpdate(const apps::Deployment& d) { return d.spec().strategy().type() == "RollingUpdate"; }

int MaxSurge(const apps::Deployment& d) { return IsRollingUpdate(d) ? Resolve(d).surge : 0; }

int MaxUnavailable(const apps::Deployment& d) {
  if (!IsRollingUpdate(d) || d.spec().replicas() == 0) return 0;
  return std::min(Resolve(d).unavailable, d.spec().replicas());
}

bool HasProgressDeadline(const apps::Deployment& d) {
  return d.spec().has_progressdeadlineseconds() &&
         d.spec().progressdeadlineseconds() != std::numeric_limits<int32_t>::max();
}

int SpecReplicas(const std::vector<SetPtr>& sets) {
  return Sum(sets, [](const auto& s) { return s.spec().replicas(); });
}
int StatusReplicas(const std::vector<SetPtr>& sets) {
  return Sum(sets, [](const auto& s) { return s.status().replicas(); });
}
int ReadyReplicas(const std::vector<SetPtr>& sets) {
  return Sum(sets, [](const auto& s) { return s.status().readyreplicas(); });
}
int AvailableReplicas(const std::vector<SetPtr>& sets) {
  return Sum(sets, [](const auto& s) { return s.status().availablereplicas(); });
}

std::vector<SetPtr> ActiveSets(const std::vector<SetPtr>& sets) {
  std::vector<SetPtr> out;
  for (const SetPtr& set : sets) {
    if (set != nullptr && set->spec().replicas() > 0) out.push_back(set);
  }
  return out;
}

void SortByAge(std::vector<SetPtr>* sets) { std::sort(sets->begin(), sets->end(), Older); }

bool SameTemplate(const core::PodTemplateSpec& a, const core::PodTemplateSpec& b) {
  core::PodTemplateSpec a_copy = a, b_copy = b;
  a_copy.mutable_metadata()->mutable_labels()->erase(kTemplateHash);
  b_copy.mutable_metadata()->mutable_labels()->erase(kTemplateHash);
  return api::Equal(a_copy, b_copy);
}

SetPtr FindNewSet(const apps::Deployment& d, std::vector<SetPtr> sets) {
  SortByAge(&sets);
  for (const SetPtr& set : sets) {
    if (SameTemplate(set->spec().template_(), d.spec().template_())) return set;
  }
  return nullptr;
}

int64_t RevisionOf(const meta::ObjectMeta& metadata) {
  const auto found = metadata.annotations().find(kRevision);
  int64_t value = 0;
  if (found == metadata.annotations().end() || !absl::SimpleAtoi(found->second, &value)) return 0;
  return value;
}

int64_t MaxRevision(const std::vector<SetPtr>& sets) {
  int64_t most = 0;
  for (const SetPtr& set : sets) {
    if (set != nullptr) most = std::max(most, RevisionOf(set->metadata()));
  }
  return most;
}

int NewSetReplicas(const apps::Deployment& d, const std::vector<SetPtr>& all, const apps::ReplicaSet& new_set) {
  if (!IsRollingUpdate(d)) return d.spec().replicas();
  // Surge as it is written: the fallback of the fenceposts is about unavailability only.
  const auto& rolling = d.spec().strategy().rollingupdate();
  const int surge =
      rolling.has_maxsurge() ? api::ScaledIntOrPercent(rolling.maxsurge(), d.spec().replicas(), true).value_or(0) : 0;
  const int room = d.spec().replicas() + surge - SpecReplicas(all);
  if (room <= 0) return new_set.spec().replicas();
  return new_set.spec().replicas() + std::min(room, d.spec().replicas() - new_set.spec().replicas());
}

std::vector<Resize> ScaleDownOldSets(const apps::Deployment& d, const std::vector<SetPtr>& old_sets,
                                     const SetPtr& new_set) {
  std::vector<Resize> out;
  std::vector<SetPtr> old = ActiveSets(old_sets);
  const int old_pods = SpecReplicas(old);
  if (old_pods == 0) return out;
  const int min_available = d.spec().replicas() - MaxUnavailable(d);
  const int new_unavailable = new_set->spec().replicas() - new_set->status().availablereplicas();
  const int most = old_pods + new_set->spec().replicas() - min_available - new_unavailable;
  if (most <= 0) return out;

  SortByAge(&old);
  std::map<std::string, int> size;
  for (const SetPtr& set : old) size[set->metadata().name()] = set->spec().replicas();
  // Replicas that are not available protect nobody, and would block the rollout.
  int cleaned = 0;
  for (const SetPtr& set : old) {
    if (cleaned >= most) break;
    const int unhealthy = set->spec().replicas() - set->status().availablereplicas();
    if (unhealthy <= 0) continue;
    const int count = std::min(most - cleaned, unhealthy);
    size[set->metadata().name()] -= count;
    cleaned += count;
  }
  const int available = AvailableReplicas(old) + new_set->status().availablereplicas();
  int left = available - min_available;
  for (const SetPtr& set : old) {
    if (left <= 0) break;
    int& now = size[set->metadata().name()];
    const int count = std::min(now, left);
    now -= count;
    left -= count;
  }
  for (const SetPtr& set : old) {
    const int now = size[set->metadata().name()];
    if (now != set->spec().replicas()) out.push_back({set, now});
  }
  return out;
}

SetPtr FindActiveOrLatest(const SetPtr& new_set, std::vector<SetPtr> old_sets) {
  if (new_set == nullptr && old_sets.empty()) return nullptr;
  SortByAge(&old_sets);
  std::vector<SetPtr> all(old_sets.rbegin(), old_sets.rend());
  all.push_back(new_set);
  const auto active = ActiveSets(all);
  if (active.size() == 1) return active.front();
  if (!active.empty()) return nullptr;
  return new_set != nullptr ? new_set : all.front();
}

bool IsSaturated(const apps::Deployment& d, const SetPtr& set) {
  if (set == nullptr) return false;
  const auto desired = NumberAnnotation(*set, kDesiredReplicas);
  return desired && set->spec().replicas() == d.spec().replicas() && *desired == d.spec().replicas() &&
         set->status().availablereplicas() == d.spec().replicas();
}

std::vector<Resize> ScaleProportionally(const apps::Deployment& d, const SetPtr& new_set,
                                        const std::vector<SetPtr>& old_sets) {
  std::vector<SetPtr> all = old_sets;
  all.push_back(new_set);
  all = ActiveSets(all);
  const int allowed = d.spec().replicas() > 0 ? d.spec().replicas() + MaxSurge(d) : 0;
  const int to_add = allowed - SpecReplicas(all);
  // The larger first; among equals, growing favours the newer and shrinking takes from the older.
  std::sort(all.begin(), all.end(), [&](const SetPtr& a, const SetPtr& b) {
    if (a->spec().replicas() != b->spec().replicas()) return a->spec().replicas() > b->spec().replicas();
    return to_add > 0 ? Older(b, a) : Older(a, b);
  });
  std::vector<Resize> out;
  int added = 0;
  for (const SetPtr& set : all) {
    const int part = Proportion(*set, d, to_add, added);
    added += part;
    out.push_back({set, set->spec().replicas() + part});
  }
  if (!out.empty() && to_add != 0) out.front().replicas = std::max(0, out.front().replicas + to_add - added);
  return out;
}

bool IsScalingEvent(const apps::Deployment& d, const std::vector<SetPtr>& all) {
  for (const SetPtr& set : ActiveSets(all)) {
    const auto desired = NumberAnnotation(*set, kDesiredReplicas);
    if (desired && *desired != d.spec().replicas()) return true;
  }
  return false;
}

bool SetReplicasAnnotations(const apps::Deployment& d, apps::ReplicaSet* set) {
  const bool desired = Put(set, kDesiredReplicas, absl::StrCat(d.spec().replicas()));
  const bool most = Put(set, kMaxReplicas, absl::StrCat(d.spec().replicas() + MaxSurge(d)));
  return desired || most;
}

bool UpdateNewSetAnnotations(const apps::Deployment& d, int64_t new_revision, bool exists, apps::ReplicaSet* set) {
  bool changed = false;
  auto& annotations = *set->mutable_metadata()->mutable_annotations();
  for (const auto& [key, value] : d.metadata().annotations()) {
    if (SkipsAnnotation(key)) continue;
    const auto found = annotations.find(key);
    if (found != annotations.end() && found->second == value) continue;
    annotations[key] = value;
    changed = true;
  }
  const auto found = annotations.find(kRevision);
  const bool had = found != annotations.end();
  const std::string old_text = had ? found->second : "";
  int64_t old_revision = 0;
  if (!old_text.empty() && !absl::SimpleAtoi(old_text, &old_revision)) return false;
  if (old_revision < new_revision) {
    annotations[kRevision] = absl::StrCat(new_revision);
    changed = true;
    if (had) {
      // A rollback to this set: what it was is kept, the oldest going first when the list gets too long.
      const std::string history = annotations[kRevisionHistory];
      std::vector<std::string> parts;
      if (!history.empty()) parts = absl::StrSplit(history, ',');
      parts.push_back(old_text);
      while (parts.size() > 1 && absl::StrJoin(parts, ",").size() > kMostHistory) parts.erase(parts.begin());
      annotations[kRevisionHistory] = absl::StrJoin(parts, ",");
    }
  }
  if (!exists && SetReplicasAnnotations(d, set)) changed = true;
  return changed;
}

const apps::DeploymentCondition* FindCondition(const apps::DeploymentStatus& status, std::string_view type) {
  for (const auto& condition : status.conditions()) {
    if (condition.type() == type) return &condition;
  }
  return nullptr;
}

void RemoveCondition(apps::DeploymentStatus* status, std::string_view type) {
  auto* conditions = status->mutable_conditions();
  for (int i = 0; i < conditions->size();) {
    if (conditions->Get(i).type() == type) {
      conditions->DeleteSubrange(i, 1);
    } else {
      ++i;
    }
  }
}

void SetCondition(apps::DeploymentStatus* status, std::string_view type, std::string_view value,
                  std::string_view reason, std::string_view message, WallTime now) {
  apps::DeploymentCondition condition;
  condition.set_type(std::string(type));
  condition.set_status(std::string(value));
  condition.set_reason(std::string(reason));
  condition.set_message(std::string(message));
  *condition.mutable_lastupdatetime() = api::ToTime(now);
  *condition.mutable_lasttransitiontime() = api::ToTime(now);
  if (const auto* current = FindCondition(*status, type)) {
    if (current->status() == value && current->reason() == reason) return;
    if (current->status() == value) *condition.mutable_lasttransitiontime() = current->lasttransitiontime();
  }
  RemoveCondition(status, type);
  *status->add_conditions() = std::move(condition);
}

bool IsComplete(const apps::Deployment& d, const apps::DeploymentStatus& status) {
  const int wanted = d.spec().replicas();
  return status.updatedreplicas() == wanted && status.replicas() == wanted && status.availablereplicas() == wanted &&
         status.observedgeneration() >= d.metadata().generation();
}

bool HasProgressed(const apps::Deployment& d, const apps::DeploymentStatus& status) {
  const auto& before = d.status();
  return status.updatedreplicas() > before.updatedreplicas() ||
         status.replicas() - status.updatedreplicas() < before.replicas() - before.updatedreplicas() ||
         status.readyreplicas() > before.readyreplicas() || status.availablereplicas() > before.availablereplicas();
}

bool HasTimedOut(const apps::Deployment& d, const apps::DeploymentStatus& status, WallTime now) {
  if (!HasProgressDeadline(d)) return false;
  const auto* condition = FindCondition(status, "Progressing");
  if (condition == nullptr || condition->reason() == "NewReplicaSetAvailable") return false;
  if (condition->reason() == "ProgressDeadlineExceeded") return true;
  return api::FromTime(condition->lastupdatetime()) + std::chrono::seconds(d.spec().progressdeadlineseconds()) < now;
}

apps::DeploymentStatus StatusOf(const apps::Deployment& d, const std::vector<SetPtr>& all, const SetPtr& new_set,
                                WallTime now) {
  apps::DeploymentStatus status;
  const int available = AvailableReplicas(all);
  status.set_observedgeneration(d.metadata().generation());
  status.set_replicas(StatusReplicas(all));
  status.set_updatedreplicas(new_set == nullptr ? 0 : new_set->status().replicas());
  status.set_readyreplicas(ReadyReplicas(all));
  status.set_availablereplicas(available);
  status.set_unavailablereplicas(std::max(0, SpecReplicas(all) - available));
  if (d.status().has_collisioncount()) status.set_collisioncount(d.status().collisioncount());
  if (const auto terminating = TerminatingReplicas(all)) status.set_terminatingreplicas(*terminating);
  *status.mutable_conditions() = d.status().conditions();
  if (available >= d.spec().replicas() - MaxUnavailable(d)) {
    SetCondition(&status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now);
  } else {
    SetCondition(&status, "Available", "False", "MinimumReplicasUnavailable",
                 "Deployment does not have minimum availability.", now);
  }
  return status;
}

apps::DeploymentStatus RolloutStatusOf(const apps::Deployment& d, const std::vector<SetPtr>& all, const SetPtr& new_set,
                                       WallTime now) {
  apps::DeploymentStatus status = StatusOf(d, all, new_set, now);
  if (!HasProgressDeadline(d)) RemoveCondition(&status, "Progressing");
  const auto* current = FindCondition(d.status(), "Progressing");
  const bool was_complete = status.replicas() == status.updatedreplicas() && current != nullptr &&
                            current->reason() == "NewReplicaSetAvailable";
  if (HasProgressDeadline(d) && !was_complete) {
    const std::string who = new_set != nullptr ? absl::StrCat("ReplicaSet \"", new_set->metadata().name(), "\"")
                                               : absl::StrCat("Deployment \"", d.metadata().name(), "\"");
    if (IsComplete(d, status)) {
      SetCondition(&status, "Progressing", "True", "NewReplicaSetAvailable",
                   absl::StrCat(who, " has successfully progressed."), now);
    } else if (HasProgressed(d, status)) {
      // Progress renews the update time even where nothing else changes; the deadline counts from it.
      const bool was_true = current != nullptr && current->status() == "True";
      const auto since = was_true ? current->lasttransitiontime() : api::ToTime(now);
      RemoveCondition(&status, "Progressing");
      SetCondition(&status, "Progressing", "True", "ReplicaSetUpdated", absl::StrCat(who, " is progressing."), now);
      *status.mutable_conditions(status.conditions_size() - 1)->mutable_lasttransitiontime() = since;
    } else if (HasTimedOut(d, status, now)) {
      SetCondition(&status, "Progressing", "False", "ProgressDeadlineExceeded",
                   absl::StrCat(who, " has timed out progressing."), now);
    }
  }
  // Of the sets' failures one is shown, the new set's before the others'.
  const apps::ReplicaSetCondition* failure = nullptr;
  const auto look = [&](const SetPtr& set) {
    if (set == nullptr || failure != nullptr) return;
    for (const auto& condition : set->status().conditions()) {
      if (condition.type() == "ReplicaFailure") failure = &condition;
    }
  };
  look(new_set);
  for (const SetPtr& set : all) look(set);
  if (failure != nullptr) {
    SetCondition(&status, "ReplicaFailure", failure->status(), failure->reason(), failure->message(), now);
  } else {
    RemoveCondition(&status, "ReplicaFailure");
  }
  return status;
}

}  // namespace skiff::controlplane
