// The garbage collector: objects go when all their owners are gone. Of every object it keeps who it is and whom it
// belongs to; deletion in the background, in the foreground (owners wait for blocking dependents) and orphaning follow
// upstream's pkg/controller/garbagecollector. What would be deleted is checked with the server first.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/scheme.h"
#include "base/json_dump.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/raw_objects.h"

namespace skiff::controlplane {
namespace {

using nlohmann::json;

constexpr char kForeground[] = "foregroundDeletion";
constexpr char kOrphan[] = "orphan";

struct Owner {
  std::string api_version, kind, name, uid;
  bool blocks = false;
};

struct Item {
  const api::Resource* resource = nullptr;
  std::string ns, name;
  std::vector<Owner> owners;
  bool being_deleted = false, foreground = false, orphan = false;
};

bool Has(const google::protobuf::RepeatedPtrField<std::string>& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

class GarbageCollector final : public Controller {
 public:
  explicit GarbageCollector(const ControllerContext& context)
      : context_(context),
        queue_(context.executor(), context.clock(), "garbage-collector-controller", 10,
               [this](std::string uid) { return Sync(std::move(uid)); }) {
    // Kinds that the other controllers hold anyway ..
    for (const auto& informer : context.informers->all()) {
      // .. but for the narrowed ones, which the whole ones below replace.
      if (informer == context.informers->root_cas || informer == context.informers->node_leases) continue;
      Follow(*informer);
    }
    // .. and those that only matter here, of which just the metadata is kept.
    AddKind(core::ConfigMap::default_instance());
    AddKind(core::Secret::default_instance());
    AddKind(coordination::Lease::default_instance());
    AddKind(apps::ControllerRevision::default_instance());
    AddKind(batch::CronJob::default_instance());
  }

  Task<void> Run() override {
    TaskGroup group(context_.executor());
    for (const auto& informer : own_) group.Spawn("garbage collector informer", informer->Run());
    Status synced;
    for (const auto& informer : own_) {
      if (synced.ok()) synced = co_await informer->WaitForSync();
    }
    if (synced.ok()) group.Spawn("garbage collector", queue_.Run());
    co_await group.Join();
  }

 private:
  void AddKind(const google::protobuf::Message& prototype) {
    auto informer = std::make_shared<client::InformerBase>(context_.rest, prototype, client::InformerOptions{});
    informer->SetTransformBase([](google::protobuf::Message& object) {
      meta::ObjectMeta metadata;
      const auto& full = client::MetadataOf(object);
      metadata.set_name(full.name());
      metadata.set_namespace_(full.namespace_());
      metadata.set_uid(full.uid());
      metadata.set_resourceversion(full.resourceversion());
      *metadata.mutable_ownerreferences() = full.ownerreferences();
      *metadata.mutable_finalizers() = full.finalizers();
      if (full.has_deletiontimestamp()) *metadata.mutable_deletiontimestamp() = full.deletiontimestamp();
      object.Clear();
      *client::MutableMetadataOf(&object) = std::move(metadata);
    });
    Follow(*informer);
    own_.push_back(std::move(informer));
  }

  void Follow(client::InformerBase& informer) {
    informer.AddHandlerBase([this](const auto& object) { Seen(*object); },
                            [this](const auto&, const auto& object) { Seen(*object); },
                            [this](const auto& object) { Gone(*object); });
  }

  void Seen(const google::protobuf::Message& object) {
    const auto& metadata = client::MetadataOf(object);
    Item& item = items_[metadata.uid()];
    if (item.resource == nullptr) {
      const auto resource = client::ResourceOf(object);
      if (!resource.ok()) return;
      item.resource = *resource;
      item.ns = metadata.namespace_();
      item.name = metadata.name();
    }
    for (const Owner& owner : item.owners) Unlink(owner.uid, metadata.uid());
    item.owners.clear();
    bool check = false;
    for (const auto& reference : metadata.ownerreferences()) {
      item.owners.push_back({reference.apiversion(), reference.kind(), reference.name(), reference.uid(),
                             reference.blockownerdeletion()});
      dependents_[reference.uid()].insert(metadata.uid());
      const auto owner = items_.find(reference.uid());
      if (owner == items_.end() || owner->second.foreground) check = true;
    }
    const bool was_foreground = item.foreground;
    item.being_deleted = metadata.has_deletiontimestamp();
    item.foreground = item.being_deleted && Has(metadata.finalizers(), kForeground);
    item.orphan = item.being_deleted && Has(metadata.finalizers(), kOrphan);
    if (check || item.foreground || item.orphan) queue_.Add(metadata.uid());
    if (item.foreground && !was_foreground) EnqueueDependents(metadata.uid());
  }

  void Gone(const google::protobuf::Message& object) {
    const std::string uid = client::MetadataOf(object).uid();
    const auto found = items_.find(uid);
    if (found != items_.end()) {
      for (const Owner& owner : found->second.owners) {
        Unlink(owner.uid, uid);
        // An owner that waits for its dependents may be ready now.
        const auto waiting = items_.find(owner.uid);
        if (waiting != items_.end() && waiting->second.foreground) queue_.Add(owner.uid);
      }
      items_.erase(found);
    }
    EnqueueDependents(uid);
  }

  void Unlink(const std::string& owner, const std::string& dependent) {
    const auto found = dependents_.find(owner);
    if (found == dependents_.end()) return;
    found->second.erase(dependent);
    if (found->second.empty()) dependents_.erase(found);
  }

  void EnqueueDependents(const std::string& uid) {
    const auto found = dependents_.find(uid);
    if (found == dependents_.end()) return;
    for (const std::string& dependent : found->second) queue_.Add(dependent);
  }

  static std::string PathOf(const Item& item) {
    return ObjectPath(item.resource->group, item.resource->version, item.resource->plural, item.resource->namespaced,
                      item.ns, item.name);
  }

  enum class Standing { kSolid, kDangling, kWaiting };

  Task<StatusOr<Standing>> Judge(Owner owner, std::string ns) {
    const auto found = items_.find(owner.uid);
    if (found != items_.end()) {
      const Item& item = found->second;
      // A namespaced owner in another namespace is no owner.
      if (item.resource->namespaced && item.ns != ns) co_return Standing::kDangling;
      co_return item.foreground&& owner.blocks ? Standing::kWaiting : Standing::kSolid;
    }
    const std::vector<std::string> parts = absl::StrSplit(owner.api_version, '/');
    const std::string group = parts.size() == 2 ? parts[0] : "";
    const api::Resource* resource = api::FindResourceByKind(group, parts.back(), owner.kind);
    if (resource == nullptr) co_return Standing::kSolid;  // a kind that is not known here is not ours to judge
    const std::string path = ObjectPath(resource->group, resource->version, resource->plural, resource->namespaced,
                                        resource->namespaced ? ns : "", owner.name);
    const auto live = co_await RequestJson(context_.rest, "GET", path);
    if (absl::IsNotFound(live.status())) co_return Standing::kDangling;
    if (!live.ok()) co_return live.status();
    const auto& metadata = (*live)["metadata"];
    if (metadata.value("uid", "") != owner.uid) co_return Standing::kDangling;
    const bool foreground = metadata.contains("deletionTimestamp") && metadata.contains("finalizers") &&
                            std::find(metadata["finalizers"].begin(), metadata["finalizers"].end(), kForeground) !=
                                metadata["finalizers"].end();
    co_return foreground&& owner.blocks ? Standing::kWaiting : Standing::kSolid;
  }

  Task<Status> RemoveFinalizer(std::string uid, std::string path, std::string finalizer) {
    auto live = co_await RequestJson(context_.rest, "GET", path);
    if (absl::IsNotFound(live.status())) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(live.status());
    const auto& metadata = (*live)["metadata"];
    if (metadata.value("uid", "") != uid || !metadata.contains("finalizers")) co_return absl::OkStatus();
    json left = json::array();
    for (const auto& name : metadata["finalizers"]) {
      if (name != finalizer) left.push_back(name);
    }
    if (left.size() == metadata["finalizers"].size()) co_return absl::OkStatus();
    const json patch = {{"metadata", {{"resourceVersion", metadata["resourceVersion"]}, {"finalizers", left}}}};
    const auto patched =
        co_await RequestJson(context_.rest, "PATCH", path, "application/merge-patch+json", patch.dump());
    co_return absl::IsNotFound(patched.status()) ? absl::OkStatus() : patched.status();
  }

  Task<Status> RemoveOwners(std::string uid, std::string path, std::vector<std::string> owners) {
    json references = json::array();
    for (const std::string& owner : owners) references.push_back({{"$patch", "delete"}, {"uid", owner}});
    const json patch = {{"metadata", {{"uid", uid}, {"ownerReferences", references}}}};
    // Owners' uids are whatever somebody wrote into the dependent.
    std::string text = DumpJson(patch);
    const auto patched =
        co_await RequestJson(context_.rest, "PATCH", path, "application/strategic-merge-patch+json", std::move(text));
    co_return absl::IsNotFound(patched.status()) ? absl::OkStatus() : patched.status();
  }

  // The dependents are let go first, then the owner.
  Task<Status> Orphan(std::string uid, std::string path) {
    std::vector<std::pair<std::string, std::string>> dependents;
    if (const auto found = dependents_.find(uid); found != dependents_.end()) {
      for (const std::string& dependent : found->second) {
        if (const auto item = items_.find(dependent); item != items_.end()) {
          dependents.emplace_back(dependent, PathOf(item->second));
        }
      }
    }
    for (const auto& [dependent, dependent_path] : dependents) {
      CO_RETURN_IF_ERROR(co_await RemoveOwners(dependent, dependent_path, {uid}));
    }
    co_return co_await RemoveFinalizer(uid, path, kOrphan);
  }

  Task<Status> Sync(std::string uid) {
    const auto found = items_.find(uid);
    if (found == items_.end()) co_return absl::OkStatus();
    const Item item = found->second;
    const std::string path = PathOf(item);
    if (item.orphan) co_return co_await Orphan(uid, path);
    if (item.foreground) {
      bool blocked = false;
      if (const auto dependents = dependents_.find(uid); dependents != dependents_.end()) {
        for (const std::string& name : dependents->second) {
          const auto dependent = items_.find(name);
          if (dependent == items_.end()) continue;
          for (const Owner& owner : dependent->second.owners) {
            if (owner.uid != uid || !owner.blocks) continue;
            blocked = true;
            if (!dependent->second.being_deleted) queue_.Add(name);
          }
        }
      }
      if (blocked) co_return absl::OkStatus();
      co_return co_await RemoveFinalizer(uid, path, kForeground);
    }
    if (item.being_deleted || item.owners.empty()) co_return absl::OkStatus();

    std::vector<std::string> lost, waiting;
    bool solid = false;
    for (const Owner& owner : item.owners) {
      const auto standing = co_await Judge(owner, item.ns);
      CO_RETURN_IF_ERROR(standing.status());
      if (*standing == Standing::kSolid) solid = true;
      if (*standing == Standing::kDangling) lost.push_back(owner.uid);
      if (*standing == Standing::kWaiting) waiting.push_back(owner.uid);
    }
    if (solid) {
      if (lost.empty() && waiting.empty()) co_return absl::OkStatus();
      lost.insert(lost.end(), waiting.begin(), waiting.end());
      co_return co_await RemoveOwners(uid, path, lost);
    }
    const bool foreground = !waiting.empty() && dependents_.contains(uid);
    LOG_INFO("Deleting item", {"item", path}, {"propagationPolicy", foreground ? "Foreground" : "Background"});
    const json options = {{"kind", "DeleteOptions"},
                          {"apiVersion", "v1"},
                          {"preconditions", {{"uid", uid}}},
                          {"propagationPolicy", foreground ? "Foreground" : "Background"}};
    const auto deleted = co_await RequestJson(context_.rest, "DELETE", path, "application/json", options.dump());
    if (absl::IsNotFound(deleted.status())) co_return absl::OkStatus();
    co_return deleted.status();
  }

  const ControllerContext context_;
  WorkQueue queue_;
  std::vector<std::shared_ptr<client::InformerBase>> own_;
  std::map<std::string, Item> items_;                        // by uid
  std::map<std::string, std::set<std::string>> dependents_;  // uid of an owner -> uids; the owner may be unknown
};

}  // namespace

std::unique_ptr<Controller> MakeGarbageCollector(const ControllerContext& context) {
  return std::make_unique<GarbageCollector>(context);
}

}  // namespace skiff::controlplane
