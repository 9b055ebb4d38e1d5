// Kinds with one small particularity each.
#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/certificates/v1/generated.pb.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/resource/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace certificates = ::k8s::io::api::certificates::v1;
namespace resource_api = ::k8s::io::api::resource::v1;

class SecretStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  bool KnowsField(std::string_view field) const override { return field == "type"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    if (field == "type") return object.As<core::Secret>()->type();
    return Strategy::FieldValue(object, field);
  }
};

class SigningRequestStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    // Who asks is what the server saw, not what the client says.
    auto& spec = *object->As<certificates::CertificateSigningRequest>()->mutable_spec();
    spec.set_username(context.user.name);
    spec.set_uid(context.user.uid);
    spec.clear_groups();
    for (const std::string& group : context.user.groups) spec.add_groups(group);
    spec.clear_extra();
    for (const auto& [key, values] : context.user.extra)
      for (const std::string& value : values) (*spec.mutable_extra())[key].add_items(value);
  }
  void PrepareForUpdate(Context& context, api::Object* updated, const api::Object& old) const override {
    Strategy::PrepareForUpdate(context, updated, old);
    CopyField(*old.message(), updated->mutable_message(), "spec");
  }
  void PrepareForSubresource(Context& context, std::string_view subresource, api::Object* updated,
                             const api::Object& old) const override {
    if (subresource != "approval") return Strategy::PrepareForSubresource(context, subresource, updated, old);
    api::Object kept = old.Clone();
    *kept.As<certificates::CertificateSigningRequest>()->mutable_status()->mutable_conditions() =
        updated->As<certificates::CertificateSigningRequest>()->status().conditions();
    *updated = std::move(kept);
  }
  bool KnowsField(std::string_view field) const override { return field == "spec.signerName"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    if (field == "spec.signerName") return object.As<certificates::CertificateSigningRequest>()->spec().signername();
    return Strategy::FieldValue(object, field);
  }
};

class ResourceSliceStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  bool KnowsField(std::string_view field) const override { return field == "spec.nodeName" || field == "spec.driver"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    const auto& spec = object.As<resource_api::ResourceSlice>()->spec();
    if (field == "spec.nodeName") return spec.nodename();
    if (field == "spec.driver") return spec.driver();
    return Strategy::FieldValue(object, field);
  }
};

}  // namespace

std::unique_ptr<Strategy> MakeMiscStrategy(const api::Resource& resource, KindTraits traits) {
  if (resource.group.empty() && resource.plural == "secrets") return std::make_unique<SecretStrategy>(traits);
  if (resource.plural == "certificatesigningrequests") return std::make_unique<SigningRequestStrategy>(traits);
  if (resource.plural == "resourceslices") return std::make_unique<ResourceSliceStrategy>(traits);
  return nullptr;
}

}  // namespace skiff::controlplane
