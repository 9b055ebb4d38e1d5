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
    if (claim_)
      object->As<core::PersistentVolumeClaim>()->mutable_status()->set_phase("Pending");
    else
      object->As<core::PersistentVolume>()->mutable_status()->set_phase("Pending");
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
