// Kinds with one small particularity each.
#include "api/time.h"
#include "controlplane/apiserver/custom/custom_resources.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/custom/schema.h"
#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/certificates/v1/generated.pb.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/flowcontrol/v1/generated.pb.h"
#include "k8s/io/api/resource/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace certificates = ::k8s::io::api::certificates::v1;
namespace flowcontrol = ::k8s::io::api::flowcontrol::v1;
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

class AttributesClassStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    constexpr char kFinalizer[] = "kubernetes.io/vac-protection";
    const auto& have = object->meta().finalizers();
    if (std::find(have.begin(), have.end(), kFinalizer) == have.end())
      object->mutable_meta()->add_finalizers(kFinalizer);
  }
};

class PriorityLevelStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  Status Check(const api::Object& updated, const api::Object*) const override {
    const auto& spec = updated.As<flowcontrol::PriorityLevelConfiguration>()->spec();
    const auto& response = spec.limited().limitresponse();
    if (spec.type() != "Limited" || response.type() != "Queue" || response.has_queuing()) return absl::OkStatus();
    return api::InvalidError(
        "flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", updated.meta().name(),
        {{"FieldValueRequired", "Required value: must not be empty if limited.limitResponse.type is Limited",
          "spec.limited.limitResponse.queuing"}});
  }
};

class DefinitionStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    KeepStoredVersions(object->As<Definition>());
  }
  void PrepareForUpdate(Context& context, api::Object* updated, const api::Object& old) const override {
    Strategy::PrepareForUpdate(context, updated, old);
    KeepStoredVersions(updated->As<Definition>());
  }

  Status Check(const api::Object& updated, const api::Object* old) const override {
    const Definition& definition = *updated.As<Definition>();
    Causes causes;
    auto add = [&](const char* reason, std::string message, std::string field) {
      causes.push_back({reason, std::move(message), std::move(field)});
    };
    const auto& spec = definition.spec();
    const bool reserved = spec.group().ends_with(".k8s.io") || spec.group().ends_with(".kubernetes.io");
    if (reserved && !definition.metadata().annotations().contains("api-approved.kubernetes.io"))
      add("FieldValueRequired",
          "Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see "
          "https://github.com/kubernetes/enhancements/pull/1111",
          "metadata.annotations[api-approved.kubernetes.io]");
    if (spec.conversion().strategy() == "Webhook")
      add("FieldValueForbidden", "Forbidden: conversion webhooks are not called by this server",
          "spec.conversion.strategy");
    for (int i = 0; i < spec.versions_size(); ++i) {
      const auto& version = spec.versions(i);
      const std::string at = absl::StrCat("spec.versions[", i, "]");
      // What a stored definition had before it was held to this is not looked at again.
      if (version.schema().has_openapiv3schema() && (!old || !api::Equal(spec, old->As<Definition>()->spec())))
        CheckStructural(api::ToJsonValue(version.schema().openapiv3schema()), at + ".schema.openAPIV3Schema", true,
                        &causes);
      auto path = [&](const std::string& text, std::string field) {
        if (auto parsed = JsonPath::Parse(text); !parsed.ok())
          add("FieldValueInvalid",
              absl::StrCat("Invalid value: \"", text, "\": ", std::string(parsed.status().message())),
              std::move(field));
      };
      for (int c = 0; c < version.additionalprintercolumns_size(); ++c)
        path(version.additionalprintercolumns(c).jsonpath(),
             absl::StrCat(at, ".additionalPrinterColumns[", c, "].jsonPath"));
      for (int f = 0; f < version.selectablefields_size(); ++f)
        path(version.selectablefields(f).jsonpath(), absl::StrCat(at, ".selectableFields[", f, "].jsonPath"));
    }
    bool established = false;
    if (old)
      for (const auto& condition : old->As<Definition>()->status().conditions())
        established = established || (condition.type() == "Established" && condition.status() == "True");
    if (established) {
      const auto& before = old->As<Definition>()->spec();
      auto immutable = [&](const std::string& a, const std::string& b, const char* field) {
        if (a != b) add("FieldValueInvalid", absl::StrCat("Invalid value: \"", a, "\": field is immutable"), field);
      };
      immutable(spec.scope(), before.scope(), "spec.scope");
      immutable(spec.names().kind(), before.names().kind(), "spec.names.kind");
    }
    if (causes.empty()) return absl::OkStatus();
    return api::InvalidError("apiextensions.k8s.io", "CustomResourceDefinition", definition.metadata().name(), causes);
  }

  // The objects go first; the server takes the finalizer off when they have.
  void BeginDelete(Context& context, api::Object* object) const override {
    Definition& definition = *object->As<Definition>();
    definition.mutable_metadata()->add_finalizers(kCleanupFinalizer);
    auto* condition = definition.mutable_status()->add_conditions();
    condition->set_type("Terminating");
    condition->set_status("True");
    *condition->mutable_lasttransitiontime() = api::ToTime(context.now);
    condition->set_reason("InstanceDeletionPending");
    condition->set_message("CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon");
  }

 private:
  using Definition = apiextensions::CustomResourceDefinition;
  static void KeepStoredVersions(Definition* definition) {
    auto& stored = *definition->mutable_status()->mutable_storedversions();
    for (const auto& version : definition->spec().versions())
      if (version.storage() && std::find(stored.begin(), stored.end(), version.name()) == stored.end())
        *stored.Add() = version.name();
  }
};

}  // namespace

std::unique_ptr<Strategy> MakeMiscStrategy(const api::Resource& resource, KindTraits traits) {
  if (resource.group.empty() && resource.plural == "secrets") return std::make_unique<SecretStrategy>(traits);
  if (resource.plural == "certificatesigningrequests") return std::make_unique<SigningRequestStrategy>(traits);
  if (resource.plural == "resourceslices") return std::make_unique<ResourceSliceStrategy>(traits);
  if (resource.plural == "volumeattributesclasses") return std::make_unique<AttributesClassStrategy>(traits);
  if (resource.plural == "prioritylevelconfigurations") return std::make_unique<PriorityLevelStrategy>(traits);
  if (resource.plural == "customresourcedefinitions") return std::make_unique<DefinitionStrategy>(traits);
  return nullptr;
}

}  // namespace skiff::controlplane
