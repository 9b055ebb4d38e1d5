// Scheduling gates, and where a pod that they hold back may still be sent.
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/reference.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
using Requirements = google::protobuf::RepeatedPtrField<core::NodeSelectorRequirement>;

// As upstream prints them: by the names of its internal type.
json Printed(const Requirements& requirements) {
  if (requirements.empty()) return nullptr;
  json out = json::array();
  for (const core::NodeSelectorRequirement& requirement : requirements) {
    json values = nullptr;
    for (const std::string& value : requirement.values()) values.push_back(value);
    out.push_back({{"Key", requirement.key()}, {"Operator", requirement.operator_()}, {"Values", values}});
  }
  return out;
}

json Printed(const core::NodeSelectorTerm& term) {
  return {{"MatchExpressions", Printed(term.matchexpressions())}, {"MatchFields", Printed(term.matchfields())}};
}

std::string Text(const json& value) {
  std::string out;
  AppendJson(value, &out);
  return out;
}

bool BeginsWith(const Requirements& now, const Requirements& before) {
  if (now.size() < before.size()) return false;
  for (int i = 0; i < before.size(); ++i)
    if (!Equal(now[i], before[i])) return false;
  return true;
}

// A term without requirements matches nothing: with one it would match something.
bool OnlyAdds(const core::NodeSelectorTerm& now, const core::NodeSelectorTerm& before) {
  const bool empty = before.matchexpressions().empty() && before.matchfields().empty();
  if (empty && (!now.matchexpressions().empty() || !now.matchfields().empty())) return false;
  return BeginsWith(now.matchexpressions(), before.matchexpressions()) &&
         BeginsWith(now.matchfields(), before.matchfields());
}

void ValidateNodeAffinityUpdate(const core::NodeAffinity& now, const core::NodeAffinity& before, const Path& affinity,
                                FieldErrors* errors) {
  const auto& terms = now.requiredduringschedulingignoredduringexecution().nodeselectorterms();
  const auto& old = before.requiredduringschedulingignoredduringexecution().nodeselectorterms();
  if (old.empty()) return;
  const Path node = affinity.Child("nodeAffinity");
  const Path required = node.Child("requiredDuringSchedulingIgnoredDuringExecution");
  const Path path = required.Child("nodeSelectorTerms");
  if (terms.size() != old.size()) {
    json all = nullptr;
    for (const core::NodeSelectorTerm& term : terms) all.push_back(Printed(term));
    return errors->InvalidRaw(path, Text(all),
                              "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
  }
  for (int i = 0; i < old.size(); ++i)
    if (!OnlyAdds(terms[i], old[i]))
      errors->InvalidRaw(path.Index(i), Text(Printed(terms[i])),
                         "only additions are allowed (no mutations or deletions)");
}

bool OnlyAdds(const StringMap& now, const StringMap& before) {
  for (const auto& [key, value] : before)
    if (const auto it = now.find(key); it == now.end() || it->second != value) return false;
  return true;
}

}  // namespace

void ValidateGates(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  std::set<std::string> seen;
  for (int i = 0; i < spec.schedulinggates_size(); ++i) {
    const std::string& name = spec.schedulinggates(i).name();
    InvalidAll(path.Index(i), name, IsQualifiedName(name), errors);
    if (!seen.insert(name).second) errors->Duplicate(path.Index(i), name);
  }
}

void ValidateGatesUpdate(const core::PodSpec& now, const core::PodSpec& before, const Path& spec, FieldErrors* errors) {
  const Path path = spec.Child("schedulingGates");
  std::set<std::string> old;
  for (const core::PodSchedulingGate& gate : before.schedulinggates()) old.insert(gate.name());
  for (int i = 0; i < now.schedulinggates_size(); ++i) {
    const std::string& name = now.schedulinggates(i).name();
    if (old.contains(name)) continue;
    const Path at = path.Index(i);
    errors->Forbidden(at.Child("name"),
                      absl::StrCat("only deletion is allowed, but found new scheduling gate '", name, "'"));
  }
}

void ValidateGatedPlacement(const core::PodSpec& before, const Path& spec, core::PodSpec* now, FieldErrors* errors) {
  if (before.schedulinggates().empty()) return;
  if (!OnlyAdds(now->nodeselector(), before.nodeselector())) {
    json selector = nullptr;
    for (const auto& [key, value] : now->nodeselector()) selector[key] = value;
    errors->InvalidRaw(spec.Child("nodeSelector"), Text(selector),
                       "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
  }
  *now->mutable_nodeselector() = before.nodeselector();

  const core::NodeAffinity &wanted = now->affinity().nodeaffinity(), &old = before.affinity().nodeaffinity();
  if (now->affinity().has_nodeaffinity() == before.affinity().has_nodeaffinity() && Equal(wanted, old)) return;
  ValidateNodeAffinityUpdate(wanted, old, spec.Child("affinity"), errors);
  if (before.affinity().has_nodeaffinity())
    *now->mutable_affinity()->mutable_nodeaffinity() = old;
  else
    now->mutable_affinity()->clear_nodeaffinity();
  const core::Affinity& rest = now->affinity();
  if (!before.has_affinity() && !rest.has_podaffinity() && !rest.has_podantiaffinity()) now->clear_affinity();
}

}  // namespace skiff::api::internal
