#include "api/time.h"
#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

// Claims and volumes begin Pending and are protected from deletion while in use.
class VolumeStrategy final : public Strategy {
 public:
  VolumeStrategy(KindTraits traits, bool claim) : Strategy(traits), claim_(claim) {}
  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    if (claim_) {
      auto& claim = *object->As<core::PersistentVolumeClaim>();
      claim.mutable_status()->set_phase("Pending");
      // The old field and the new one say the same for the kinds that the old one knows.
      const auto& source = claim.spec().datasource();
      if (claim.spec().has_datasource() && !claim.spec().has_datasourceref()) {
        auto* ref = claim.mutable_spec()->mutable_datasourceref();
        if (source.has_apigroup()) ref->set_apigroup(source.apigroup());
        ref->set_kind(source.kind());
        ref->set_name(source.name());
      }
    } else {
      auto& status = *object->As<core::PersistentVolume>()->mutable_status();
      status.set_phase("Pending");
      *status.mutable_lastphasetransitiontime() = api::ToTime(context.now);
    }
    const char* finalizer = claim_ ? "kubernetes.io/pvc-protection" : "kubernetes.io/pv-protection";
    for (const std::string& have : object->meta().finalizers())
      if (have == finalizer) return;
    object->mutable_meta()->add_finalizers(finalizer);
  }

 private:
  const bool claim_;
};

}  // namespace

std::unique_ptr<Strategy> MakeVolumeStrategy(const api::Resource& resource, KindTraits traits) {
  return std::make_unique<VolumeStrategy>(traits, resource.plural == "persistentvolumeclaims");
}

}  // namespace skiff::controlplane
