// The namespace controller: a namespace that is being deleted is emptied, its status says what is left and why, and at
// the end it is finalized. Follows upstream's pkg/controller/namespace.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "api/scheme.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/raw_objects.h"

namespace skiff::controlplane {
namespace {

constexpr std::chrono::seconds kAgain{2};  // while pods end gracefully, and their like

struct Left {
  std::map<std::string, int> resources;   // "pods." -> count
  std::map<std::string, int> finalizers;  // name -> objects that have it
  std::vector<std::string> errors;
};

struct ConditionText {
  const char *type, *ok_reason, *ok_message;
};
constexpr ConditionText kConditions[] = {
    {"NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"},
    {"NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"},
    {"NamespaceDeletionContentFailure", "ContentDeleted",
     "All content successfully deleted, may be waiting on finalization"},
    {"NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"},
    {"NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"},
};

// True when something changed.
bool UpdateConditions(const Left& left, WallTime now, core::NamespaceStatus* status) {
  std::map<std::string, std::pair<std::string, std::string>> bad;  // type -> reason, message
  if (!left.errors.empty()) {
    std::vector<std::string> errors = left.errors;
    std::sort(errors.begin(), errors.end());
    bad["NamespaceDeletionContentFailure"] = {"ContentDeletionFailed",
                                              absl::StrCat("Failed to delete all resource types, ", errors.size(),
                                                           " remaining: ", absl::StrJoin(errors, ", "))};
  }
  if (!left.resources.empty()) {
    std::vector<std::string> parts;
    for (const auto& [name, count] : left.resources) {
      parts.push_back(absl::StrCat(name, " has ", count, " resource instances"));
    }
    bad["NamespaceContentRemaining"] = {"SomeResourcesRemain",
                                        absl::StrCat("Some resources are remaining: ", absl::StrJoin(parts, ", "))};
  }
  if (!left.finalizers.empty()) {
    std::vector<std::string> parts;
    for (const auto& [name, count] : left.finalizers) {
      parts.push_back(absl::StrCat(name, " in ", count, " resource instances"));
    }
    bad["NamespaceFinalizersRemaining"] = {
        "SomeFinalizersRemain",
        absl::StrCat("Some content in the namespace has finalizers remaining: ", absl::StrJoin(parts, ", "))};
  }
  bool changed = false;
  for (const ConditionText& text : kConditions) {
    const auto problem = bad.find(text.type);
    const std::string value = problem == bad.end() ? "False" : "True";
    const std::string reason = problem == bad.end() ? text.ok_reason : problem->second.first;
    const std::string message = problem == bad.end() ? text.ok_message : problem->second.second;
    core::NamespaceCondition* condition = nullptr;
    for (auto& candidate : *status->mutable_conditions()) {
      if (candidate.type() == text.type) condition = &candidate;
    }
    if (condition == nullptr) {
      condition = status->add_conditions();
      condition->set_type(text.type);
    } else if (condition->status() == value && condition->reason() == reason && condition->message() == message) {
      continue;
    }
    if (condition->status() != value) *condition->mutable_lasttransitiontime() = api::ToTime(now);
    condition->set_status(value);
    condition->set_reason(reason);
    condition->set_message(message);
    changed = true;
  }
  return changed;
}

class NamespaceController final : public Controller {
 public:
  explicit NamespaceController(const ControllerContext& context)
      : context_(context),
        queue_(context.executor(), context.clock(), "namespace-controller", 10,
               [this](std::string key) { return Sync(std::move(key)); }) {
    context.informers->namespaces->OnChange([this](const core::Namespace& ns) {
      if (ns.metadata().has_deletiontimestamp()) queue_.Add(ns.metadata().name());
    });
  }
  Task<void> Run() override { return queue_.Run(); }

 private:
  // Asks for the deletion of everything of one resource, and counts what is still there.
  Task<void> Empty(std::string ns, const api::Resource* resource, Left* left) {
    const std::string path = ObjectPath(resource->group, resource->version, resource->plural, true, ns, "");
    const std::string name = absl::StrCat(resource->plural, ".", resource->group);
    auto list = co_await RequestJson(context_.rest, "GET", path);
    if (absl::IsNotFound(list.status()) || client::HttpCodeOf(list.status()) == 405) co_return;  // not served here
    if (!list.ok()) {
      left->errors.push_back(std::string(list.status().message()));
      co_return;
    }
    if ((*list)["items"].empty()) co_return;
    Status failed;
    if (resource->HasVerb("deletecollection")) {
      failed = (co_await RequestJson(context_.rest, "DELETE", path, "application/json",
                                     R"({"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"})"))
                   .status();
    } else {
      for (const auto& item : (*list)["items"]) {
        const std::string object = ObjectPath(resource->group, resource->version, resource->plural, true, ns,
                                              item["metadata"]["name"].get<std::string>());
        const auto deleted = co_await RequestJson(context_.rest, "DELETE", object);
        if (!deleted.ok() && !absl::IsNotFound(deleted.status())) failed = deleted.status();
      }
    }
    if (!failed.ok() && !absl::IsNotFound(failed)) left->errors.push_back(std::string(failed.message()));
    list = co_await RequestJson(context_.rest, "GET", path);
    if (!list.ok()) co_return;
    const auto& items = (*list)["items"];
    if (items.empty()) co_return;
    left->resources[name] = static_cast<int>(items.size());
    for (const auto& item : items) {
      const auto& metadata = item["metadata"];
      if (!metadata.contains("finalizers")) continue;
      for (const auto& finalizer : metadata["finalizers"]) ++left->finalizers[finalizer.get<std::string>()];
    }
  }

  // The same for custom resources, of which there are the kinds that are defined now.
  Task<void> EmptyCustom(std::string ns, Left* left) {
    auto definitions =
        co_await RequestJson(context_.rest, "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
    if (!definitions.ok()) {
      if (!absl::IsNotFound(definitions.status())) left->errors.push_back(std::string(definitions.status().message()));
      co_return;
    }
    for (const auto& definition : (*definitions)["items"]) {
      const auto& spec = definition["spec"];
      if (spec["scope"] != "Namespaced") continue;
      const std::string group = spec["group"].get<std::string>(), plural = spec["names"]["plural"].get<std::string>();
      std::string version;
      for (const auto& one : spec["versions"]) {
        if (one["served"] == true) version = one["name"].get<std::string>();
      }
      if (version.empty()) continue;
      api::Resource resource{};
      resource.group = group;
      resource.version = version;
      resource.plural = plural;
      resource.verbs = "delete,deletecollection,list";
      co_await Empty(ns, &resource, left);
    }
  }

  Task<Status> Sync(std::string key) {
    auto ns = co_await context_.rest->Get<core::Namespace>("", key);
    if (absl::IsNotFound(ns.status())) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(ns.status());
    if (!ns->metadata().has_deletiontimestamp()) co_return absl::OkStatus();
    if (ns->status().phase() != "Terminating") {
      ns->mutable_status()->set_phase("Terminating");
      ns = co_await context_.rest->UpdateStatus(*std::move(ns));
      CO_RETURN_IF_ERROR(ns.status());
    }
    const auto& finalizers = ns->spec().finalizers();
    if (std::find(finalizers.begin(), finalizers.end(), "kubernetes") == finalizers.end()) co_return absl::OkStatus();

    Left left;
    for (const api::Resource& resource : api::Resources()) {
      if (!resource.namespaced || !resource.HasVerb("delete") || !resource.HasVerb("list")) continue;
      // The same objects under their newer name.
      if (resource.group == "events.k8s.io") continue;
      co_await Empty(key, &resource, &left);
      if (co_await IsCancelled()) co_return absl::CancelledError("context canceled");
    }
    co_await EmptyCustom(key, &left);
    if (co_await IsCancelled()) co_return absl::CancelledError("context canceled");
    if (UpdateConditions(left, context_.clock().Now(), ns->mutable_status())) {
      auto updated = co_await context_.rest->UpdateStatus(*ns);
      if (updated.ok()) {
        ns = std::move(updated);
      } else if (!client::IsConflict(updated.status())) {
        co_return absl::IsNotFound(updated.status()) ? absl::OkStatus() : updated.status();
      }
    }
    if (!left.resources.empty() || !left.errors.empty()) {
      VLOG(2, "Namespace has content remaining", {"namespace", key}, {"kinds", left.resources.size()});
      queue_.AddAfter(key, kAgain);
      co_return absl::OkStatus();
    }
    auto fresh = co_await context_.rest->Get<core::Namespace>("", key);
    if (absl::IsNotFound(fresh.status())) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(fresh.status());
    auto* list = fresh->mutable_spec()->mutable_finalizers();
    list->erase(std::remove(list->begin(), list->end(), "kubernetes"), list->end());
    const auto finalized =
        co_await context_.rest->UpdateSub<core::Namespace, core::Namespace>("", key, "finalize", *std::move(fresh));
    co_return absl::IsNotFound(finalized.status()) ? absl::OkStatus() : finalized.status();
  }

  const ControllerContext context_;
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Controller> MakeNamespaceController(const ControllerContext& context) {
  return std::make_unique<NamespaceController>(context);
}

}  // namespace skiff::controlplane
