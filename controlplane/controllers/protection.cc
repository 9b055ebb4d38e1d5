// Claims, volumes and attributes classes carry a finalizer while they are in use: each has a controller that takes it
// off once the object is to go and nothing uses it, and puts it on where it is missing. Follows
// https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection .
#include <algorithm>
#include <functional>

#include "api/scheme.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/controllers/raw_objects.h"

namespace skiff::controlplane {
namespace {

using nlohmann::json;

bool Has(const meta::ObjectMeta& metadata, std::string_view finalizer) {
  const auto& list = metadata.finalizers();
  return std::find(list.begin(), list.end(), finalizer) != list.end();
}

// What the three have in common. A key is namespace/name.
template <typename T>
class Protection : public Controller {
 public:
  Protection(const ControllerContext& context, std::string name, std::shared_ptr<client::Informer<T>> objects,
             std::string finalizer)
      : context_(context),
        objects_(std::move(objects)),
        finalizer_(std::move(finalizer)),
        queue_(context.executor(), context.clock(), std::move(name), 5,
               [this](std::string key) { return Sync(std::move(key)); }) {
    objects_->AddHandler({
        .added = [this](const auto& object) { Look(*object); },
        .updated = [this](const auto&, const auto& object) { Look(*object); },
    });
  }
  Task<void> Run() override { return queue_.Run(); }

 protected:
  // Asks the caches first, then the server: the caches may lag behind what the object's users did.
  virtual Task<StatusOr<bool>> InUse(std::shared_ptr<const T> object) = 0;

  // Something that used the object may have let go of it.
  void Again(const std::string& key) {
    if (const auto object = objects_->Get(key); object != nullptr) Look(*object);
  }
  const ControllerContext& context() const { return context_; }

 private:
  // Deletion asked for and the finalizer there, or neither.
  bool Due(const T& object) const { return IsBeingDeleted(object.metadata()) == Has(object.metadata(), finalizer_); }
  void Look(const T& object) {
    if (Due(object)) queue_.Add(client::KeyOf(object));
  }

  Task<Status> Sync(std::string key) {
    const auto object = objects_->Get(key);
    if (object == nullptr || !Due(*object)) co_return absl::OkStatus();
    const bool remove = IsBeingDeleted(object->metadata());
    if (remove) {
      const auto used = co_await InUse(object);
      CO_RETURN_IF_ERROR(used.status());
      if (*used) co_return absl::OkStatus();
    }
    const auto resource = client::ResourceOf(*object);
    CO_RETURN_IF_ERROR(resource.status());
    const auto& metadata = object->metadata();
    const std::string path = ObjectPath((*resource)->group, (*resource)->version, (*resource)->plural,
                                        (*resource)->namespaced, metadata.namespace_(), metadata.name());
    json left = json::array();
    for (const std::string& name : metadata.finalizers())
      if (name != finalizer_) left.push_back(name);
    if (!remove) left.push_back(finalizer_);
    const json patch = {
        {"metadata",
         {{"uid", metadata.uid()}, {"resourceVersion", metadata.resourceversion()}, {"finalizers", std::move(left)}}}};
    VLOG(3, "Changing protection finalizer", {"object", key}, {"remove", remove});
    const auto patched =
        co_await RequestJson(context_.rest, "PATCH", path, "application/merge-patch+json", patch.dump());
    co_return absl::IsNotFound(patched.status()) ? absl::OkStatus() : patched.status();
  }

  const ControllerContext context_;
  const std::shared_ptr<client::Informer<T>> objects_;
  const std::string finalizer_;
  WorkQueue queue_;
};

class ClaimProtection final : public Protection<core::PersistentVolumeClaim> {
 public:
  explicit ClaimProtection(const ControllerContext& context)
      : Protection(context, "persistentvolumeclaim-protection-controller", context.informers->claims,
                   "kubernetes.io/pvc-protection") {
    const auto let_go = [this](const core::Pod& pod) {
      for (const auto& volume : pod.spec().volumes()) {
        if (const std::string name = ClaimOf(pod, volume); !name.empty())
          Again(client::MakeKey(pod.metadata().namespace_(), name));
      }
    };
    const auto changed = [let_go](const core::Pod& pod) {
      if (IsPodTerminal(pod) || pod.spec().nodename().empty()) let_go(pod);
    };
    context.informers->pods->AddHandler({
        .added = [changed](const PodPtr& pod) { changed(*pod); },
        .updated =
            [=](const PodPtr& before, const PodPtr& pod) {
              changed(*pod);
              if (before->metadata().uid() != pod->metadata().uid()) let_go(*before);
            },
        .deleted = [let_go](const PodPtr& pod) { let_go(*pod); },
    });
  }

 private:
  // A pod that no node has cannot start once its claim is to go, so it does not count. One that ended still does.
  static bool Uses(const core::Pod& pod, const core::PersistentVolumeClaim& claim) {
    if (pod.spec().nodename().empty()) return false;
    const auto& metadata = pod.metadata();
    const bool shut_down = metadata.has_deletiontimestamp() && metadata.has_deletiongraceperiodseconds() &&
                           metadata.deletiongraceperiodseconds() == 0;
    const auto* owner = client::ControllerOf(claim.metadata());
    for (const auto& volume : pod.spec().volumes()) {
      if (ClaimOf(pod, volume) != claim.metadata().name()) continue;
      if (volume.volumesource().has_persistentvolumeclaim()) return true;
      // A claim made for the pod goes with it: one must not wait for the other.
      if (!shut_down && owner != nullptr && owner->uid() == metadata.uid()) return true;
    }
    return false;
  }

  Task<StatusOr<bool>> InUse(std::shared_ptr<const core::PersistentVolumeClaim> claim) override {
    for (const PodPtr& pod : context().informers->pods->ByIndex("claim", client::KeyOf(*claim)))
      if (Uses(*pod, *claim)) co_return true;
    const auto live = co_await context().rest->template List<core::Pod>(claim->metadata().namespace_());
    if (!live.ok()) co_return live.status();
    co_return std::any_of(live->items.begin(), live->items.end(), [&](const auto& pod) { return Uses(*pod, *claim); });
  }
};

class VolumeProtection final : public Protection<core::PersistentVolume> {
 public:
  explicit VolumeProtection(const ControllerContext& context)
      : Protection(context, "persistentvolume-protection-controller", context.informers->volumes,
                   "kubernetes.io/pv-protection") {}

 private:
  Task<StatusOr<bool>> InUse(std::shared_ptr<const core::PersistentVolume> volume) override {
    co_return volume->status().phase() == "Bound";
  }
};

class AttributesClassProtection final : public Protection<storage::VolumeAttributesClass> {
 public:
  explicit AttributesClassProtection(const ControllerContext& context)
      : Protection(context, "volumeattributesclass-protection-controller", context.informers->attributes_classes,
                   "kubernetes.io/vac-protection") {
    context.informers->claims->AddHandler({
        .updated = [this](const auto& before, const auto&) { Released(NamesOf(*before)); },
        .deleted = [this](const auto& claim) { Released(NamesOf(*claim)); },
    });
    context.informers->volumes->AddHandler({
        .updated = [this](const auto& before, const auto&) { Released({before->spec().volumeattributesclassname()}); },
        .deleted = [this](const auto& volume) { Released({volume->spec().volumeattributesclassname()}); },
    });
  }

 private:
  // The classes that a claim asks for, has, or is being changed to.
  static std::vector<std::string> NamesOf(const core::PersistentVolumeClaim& claim) {
    return {claim.spec().volumeattributesclassname(), claim.status().currentvolumeattributesclassname(),
            claim.status().modifyvolumestatus().targetvolumeattributesclassname()};
  }
  void Released(const std::vector<std::string>& names) {
    for (const std::string& name : names)
      if (!name.empty()) Again(name);
  }

  Task<StatusOr<bool>> InUse(std::shared_ptr<const storage::VolumeAttributesClass> object) override {
    const std::string& name = object->metadata().name();
    const auto by_claim = [&](const core::PersistentVolumeClaim& claim) {
      const auto names = NamesOf(claim);
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    const auto by_volume = [&](const core::PersistentVolume& volume) {
      return volume.spec().volumeattributesclassname() == name;
    };
    bool used = false;
    context().informers->claims->ForEach([&](const auto& claim) { used = used || by_claim(*claim); });
    context().informers->volumes->ForEach([&](const auto& volume) { used = used || by_volume(*volume); });
    if (used) co_return true;
    const auto claims = co_await context().rest->template List<core::PersistentVolumeClaim>("");
    if (!claims.ok()) co_return claims.status();
    for (const auto& claim : claims->items)
      if (by_claim(*claim)) co_return true;
    const auto volumes = co_await context().rest->template List<core::PersistentVolume>("");
    if (!volumes.ok()) co_return volumes.status();
    for (const auto& volume : volumes->items)
      if (by_volume(*volume)) co_return true;
    co_return false;
  }
};

}  // namespace

std::unique_ptr<Controller> MakeClaimProtectionController(const ControllerContext& context) {
  return std::make_unique<ClaimProtection>(context);
}

std::unique_ptr<Controller> MakeVolumeProtectionController(const ControllerContext& context) {
  return std::make_unique<VolumeProtection>(context);
}

std::unique_ptr<Controller> MakeAttributesClassProtectionController(const ControllerContext& context) {
  return std::make_unique<AttributesClassProtection>(context);
}

}  // namespace skiff::controlplane
