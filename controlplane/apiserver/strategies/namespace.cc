#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/core/v1/namespace.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

class NamespaceStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    core::Namespace& ns = *object->As<core::Namespace>();
    ns.mutable_status()->set_phase("Active");
    bool has = false;
    for (const std::string& finalizer : ns.spec().finalizers()) has = has || finalizer == "kubernetes";
    if (!has) ns.mutable_spec()->add_finalizers("kubernetes");
    SetNameLabel(&ns);
  }

  void PrepareForUpdate(Context& context, api::Object* updated, const api::Object& old) const override {
    Strategy::PrepareForUpdate(context, updated, old);
    core::Namespace& ns = *updated->As<core::Namespace>();
    // Finalizers of the specification change only through the finalize subresource.
    *ns.mutable_spec()->mutable_finalizers() = old.As<core::Namespace>()->spec().finalizers();
    SetNameLabel(&ns);
  }

  void PrepareForSubresource(Context& context, std::string_view subresource, api::Object* updated,
                             const api::Object& old) const override {
    if (subresource != "finalize") return Strategy::PrepareForSubresource(context, subresource, updated, old);
    api::Object kept = old.Clone();
    *kept.As<core::Namespace>()->mutable_spec()->mutable_finalizers() =
        updated->As<core::Namespace>()->spec().finalizers();
    *updated = std::move(kept);
  }

  bool MayDeleteDuringUpdate(const api::Object& updated, const api::Object&) const override {
    return updated.As<core::Namespace>()->spec().finalizers_size() == 0;
  }

  bool KnowsField(std::string_view field) const override { return field == "status.phase"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    if (field == "status.phase") return object.As<core::Namespace>()->status().phase();
    return Strategy::FieldValue(object, field);
  }

 private:
  static void SetNameLabel(core::Namespace* ns) {
    if (!ns->metadata().name().empty())
      (*ns->mutable_metadata()->mutable_labels())["kubernetes.io/metadata.name"] = ns->metadata().name();
  }
};

}  // namespace

std::unique_ptr<Strategy> MakeNamespaceStrategy(KindTraits traits) {
  return std::make_unique<NamespaceStrategy>(traits);
}

}  // namespace skiff::controlplane
