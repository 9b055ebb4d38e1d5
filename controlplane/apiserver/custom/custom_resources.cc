#include "controlplane/apiserver/custom/custom_resources.h"

#include "absl/strings/str_join.h"
#include "api/managed_fields.h"
#include "api/text.h"
#include "api/time.h"
#include "base/log.h"
#include "controlplane/apiserver/custom/custom_type.h"

namespace skiff::controlplane {
namespace {

using Definition = apiextensions::CustomResourceDefinition;
using Condition = apiextensions::CustomResourceDefinitionCondition;

constexpr std::chrono::seconds kAgain{1};  // objects with finalizers take their time

void SetCondition(Definition* definition, const char* type, const char* status, const char* reason,
                  std::string_view message, WallTime now) {
  Condition* found = nullptr;
  for (Condition& condition : *definition->mutable_status()->mutable_conditions())
    if (condition.type() == type) found = &condition;
  if (!found) {
    found = definition->mutable_status()->add_conditions();
    found->set_type(type);
  }
  if (found->status() != status) *found->mutable_lasttransitiontime() = api::ToTime(now);
  found->set_status(status);
  found->set_reason(reason);
  found->set_message(std::string(message));
}

bool IsTrue(const Definition& definition, std::string_view type) {
  for (const Condition& condition : definition.status().conditions())
    if (condition.type() == type) return condition.status() == "True";
  return false;
}

Context OwnContext(WallTime now) {
  Context context;
  context.internal = true;
  context.now = now;
  context.field_manager = "kube-apiserver";
  context.user.name = "system:apiserver";
  context.user.groups = {std::string(kMasters)};
  return context;
}

}  // namespace

CustomResources::CustomResources(asio::any_io_executor executor, Store& store, Kinds& kinds, Registry& registry,
                                 Clock& clock)
    : store_(store),
      kinds_(kinds),
      registry_(registry),
      clock_(clock),
      definitions_(*kinds.Find("apiextensions.k8s.io", "v1", "customresourcedefinitions")),
      wake_(std::move(executor)) {}

void CustomResources::Start() {
  store_.PeekPrefix(definitions_.prefix, [this](const std::string& key, const ValuePtr& value) {
    Take(key, value);
    return true;
  });
  store_.Observe([this](const StoreEvent& event) {
    if (event.key.starts_with(definitions_.prefix)) Take(event.key, event.value);
  });
}

void CustomResources::Take(const std::string& key, const ValuePtr& value) {
  const std::string name = key.substr(definitions_.prefix.size());
  std::vector<std::shared_ptr<const Kind>> served;
  if (value) {
    auto object = definitions_.Decode(key, *value);
    if (object.ok())
      served = CustomType::KindsOf(*object->As<Definition>());
    else
      LOG_ERROR(object.status(), "Failed to read a definition of custom resources", {"name", name});
  }
  kinds_.SetCustom(name, std::move(served));
  pending_.insert(name);
  wake_.Notify();
}

Task<void> CustomResources::Run() {
  while (true) {
    const bool had = !pending_.empty();
    std::set<std::string> names;
    names.swap(pending_);
    for (const std::string& name : names) {
      Status status = co_await Sync(name);
      if (absl::IsCancelled(status)) co_return;
      if (!status.ok()) {
        if (!absl::IsUnavailable(status))
          LOG_ERROR(status, "Failed to bring a definition of custom resources up to date", {"name", name});
        pending_.insert(name);
      }
    }
    if (!pending_.empty()) {
      if (Status status = co_await clock_.Sleep(kAgain); !status.ok()) co_return;
      continue;
    }
    if (had && !pending_.empty()) continue;
    if (Status status = co_await wake_.Wait(); !status.ok()) co_return;
  }
}

Task<Status> CustomResources::Sync(std::string name) {
  auto object = co_await registry_.Get(definitions_, "", name);
  if (api::ReasonOf(object.status()) == "NotFound") {
    // Its names are free: another of the group may have waited for them.
    const std::string group = name.substr(std::min(name.find('.'), name.size()));
    store_.PeekPrefix(definitions_.prefix, [&](const std::string& key, const ValuePtr&) {
      if (key.ends_with(group)) pending_.insert(key.substr(definitions_.prefix.size()));
      return true;
    });
    co_return absl::OkStatus();
  }
  if (!object.ok()) co_return object.status();
  if (object->meta().has_deletiontimestamp()) co_return co_await Empty(std::move(name));
  co_return co_await AcceptNames(std::move(name));
}

Task<Status> CustomResources::AcceptNames(std::string name) {
  // What others of the group hold.
  std::set<std::string> resources, kinds;
  const std::string group = name.substr(std::min(name.find('.'), name.size() - 1) + 1);
  store_.PeekPrefix(definitions_.prefix, [&](const std::string& key, const ValuePtr& value) {
    if (key.substr(definitions_.prefix.size()) == name) return true;
    auto object = definitions_.Decode(key, *value);
    if (!object.ok() || object->As<Definition>()->spec().group() != group) return true;
    const auto& names = object->As<Definition>()->status().acceptednames();
    resources.insert(names.plural());
    resources.insert(names.singular());
    resources.insert(names.shortnames().begin(), names.shortnames().end());
    kinds.insert(names.kind());
    kinds.insert(names.listkind());
    return true;
  });
  Context context = OwnContext(clock_.Now());
  UpdateRequest request;
  request.name = name;
  request.subresource = "status";
  request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
    api::Object updated = existing->Clone();
    Definition& definition = *updated.As<Definition>();
    const auto& wanted = definition.spec().names();
    auto& accepted = *definition.mutable_status()->mutable_acceptednames();
    std::string reason, message;
    auto take = [&](const std::string& value, const std::string& had, const std::set<std::string>& used,
                    const char* conflict) {
      if (value == had || value.empty() || !used.contains(value)) return true;
      reason = conflict;
      message = absl::StrCat(api::GoQuote(value), " is already in use");
      return false;
    };
    if (take(wanted.plural(), accepted.plural(), resources, "PluralConflict")) accepted.set_plural(wanted.plural());
    if (take(wanted.singular(), accepted.singular(), resources, "SingularConflict"))
      accepted.set_singular(wanted.singular());
    bool short_names = true;
    for (const std::string& one : wanted.shortnames())
      short_names = take(one, "", resources, "ShortNamesConflict") && short_names;
    if (short_names) *accepted.mutable_shortnames() = wanted.shortnames();
    if (take(wanted.kind(), accepted.kind(), kinds, "KindConflict")) accepted.set_kind(wanted.kind());
    if (take(wanted.listkind(), accepted.listkind(), kinds, "ListKindConflict"))
      accepted.set_listkind(wanted.listkind());
    *accepted.mutable_categories() = wanted.categories();
    const bool free = reason.empty();
    SetCondition(&definition, "NamesAccepted", free ? "True" : "False", free ? "NoConflicts" : reason.c_str(),
                 free ? "no conflicts found" : message, context.now);
    if (!IsTrue(definition, "Established")) {
      if (free)
        SetCondition(&definition, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted",
                     context.now);
      else
        SetCondition(&definition, "Established", "False", "NotAccepted", "not all names are accepted", context.now);
    }
    if (!api::Equal(updated, *existing))
      api::TrackUpdate(existing, &updated, {context.field_manager, "status", context.now});
    return updated;
  };
  auto result = co_await registry_.Update(context, definitions_, std::move(request));
  co_return result.ok() || api::ReasonOf(result.status()) == "NotFound" ? absl::OkStatus() : result.status();
}

Task<Status> CustomResources::Empty(std::string name) {
  auto object = co_await registry_.Get(definitions_, "", name);
  if (!object.ok()) co_return api::ReasonOf(object.status()) == "NotFound" ? absl::OkStatus() : object.status();
  bool ours = false;
  for (const std::string& finalizer : object->meta().finalizers()) ours = ours || finalizer == kCleanupFinalizer;
  if (!ours) co_return absl::OkStatus();
  const Definition& definition = *object->As<Definition>();
  Context context = OwnContext(clock_.Now());
  const std::string prefix =
      absl::StrCat("/registry/", definition.spec().group(), "/", definition.spec().names().plural(), "/");
  auto left = co_await store_.List({.prefix = prefix});
  if (!left.ok()) co_return left.status();
  auto served = kinds_.CustomOf(name);
  if (!left->entries.empty() && !served.empty()) {
    for (const StoredEntry& entry : left->entries) {
      auto one = served[0]->Decode(entry);
      if (!one.ok()) co_return one.status();
      auto deleted = co_await registry_.Delete(context, *served[0], one->meta().namespace_(), one->meta().name(), {});
      if (!deleted.ok() && api::ReasonOf(deleted.status()) != "NotFound") co_return deleted.status();
    }
    left = co_await store_.List({.prefix = prefix, .limit = 1});
    if (!left.ok()) co_return left.status();
    if (!left->entries.empty()) co_return absl::UnavailableError("objects with finalizers are left");
  }
  UpdateRequest request;
  request.name = name;
  request.subresource = "status";
  request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
    api::Object updated = existing->Clone();
    SetCondition(updated.As<Definition>(), "Terminating", "False", "InstanceDeletionCompleted", "removed all instances",
                 context.now);
    return updated;
  };
  if (auto result = co_await registry_.Update(context, definitions_, std::move(request)); !result.ok())
    co_return result.status();
  UpdateRequest finish;
  finish.name = name;
  finish.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
    api::Object updated = existing->Clone();
    auto* finalizers = updated.mutable_meta()->mutable_finalizers();
    finalizers->erase(std::remove(finalizers->begin(), finalizers->end(), kCleanupFinalizer), finalizers->end());
    return updated;
  };
  auto result = co_await registry_.Update(context, definitions_, std::move(finish));
  co_return result.ok() || api::ReasonOf(result.status()) == "NotFound" ? absl::OkStatus() : result.status();
}

}  // namespace skiff::controlplane
