#include "controlplane/apiserver/custom/custom_type.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "api/field_errors.h"
#include "api/text.h"
#include "api/validation.h"
#include "controlplane/apiserver/custom/cel.h"
#include "controlplane/apiserver/custom/schema.h"

namespace skiff::controlplane {
namespace {

class CustomStrategy final : public Strategy {
 public:
  CustomStrategy(KindTraits traits, const CustomType& type) : Strategy(traits), type_(type) {}

  void PrepareForUpdate(Context& context, api::Object* updated, const api::Object& old) const override {
    Strategy::PrepareForUpdate(context, updated, old);
    // Without a status subresource, the status is like any other field.
    if (!traits().has_status && updated->content() != old.content())
      updated->mutable_meta()->set_generation(old.meta().generation() + 1);
  }
  bool has_fields() const override { return true; }
  bool KnowsField(std::string_view field) const override { return Find(field) != nullptr; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    const CustomType::NamedPath* found = Find(field);
    if (!found) return Strategy::FieldValue(object, field);
    const auto values = found->path.Find(object.content());
    if (values.empty() || values[0]->is_null()) return "";
    return values[0]->is_string() ? values[0]->get<std::string>() : api::GoPrint(*values[0]);
  }

 private:
  const CustomType::NamedPath* Find(std::string_view field) const {
    for (const auto& one : type_.fields)
      if (std::string_view(one.name).substr(one.name.starts_with(".")) == field) return &one;
    return nullptr;
  }
  const CustomType& type_;
};

// A number at a path, as upstream reads it. `why` says what is wrong.
int64_t NumberAt(const json& content, const CustomType::NamedPath& at, std::string* why) {
  const auto found = at.path.Find(content);
  if (found.empty()) return 0;
  if (found[0]->is_number_integer()) return found[0]->get<int64_t>();
  const char* type = found[0]->is_string()    ? "string"
                     : found[0]->is_boolean() ? "bool"
                     : found[0]->is_number()  ? "float64"
                     : found[0]->is_array()   ? "[]interface {}"
                     : found[0]->is_null()    ? "<nil>"
                                              : "map[string]interface {}";
  *why =
      absl::StrCat(at.name, " accessor error: ", api::GoPrint(*found[0]), " is of the type ", type, ", expected int64");
  return 0;
}

void CheckReplicas(const json& content, const std::optional<CustomType::NamedPath>& at, Causes* causes) {
  if (!at) return;
  std::string why;
  const int64_t value = NumberAt(content, *at, &why);
  if (why.empty() && value < 0) why = "should be a non-negative integer";
  if (why.empty() && value > INT32_MAX) why = "should be less than or equal to 2147483647";
  if (!why.empty())
    causes->push_back({"FieldValueInvalid", absl::StrCat("Invalid value: ", value, ": ", why), at->name});
}

// Values of the wrong kind and version end validation at once, as upstream's does.
void CheckType(const CustomType& type, const api::Object& object, Causes* causes) {
  const auto gvk = object.gvk();
  if (gvk.kind != type.gvk.kind)
    causes->push_back({"FieldValueInvalid",
                       absl::StrCat("Invalid value: ", api::GoQuote(gvk.kind), ": must be ", type.gvk.kind), "kind"});
}

Status Made(const api::Object& object, const Causes& causes) {
  if (causes.empty()) return absl::OkStatus();
  const auto gvk = object.gvk();
  return api::InvalidError(gvk.group, gvk.kind, object.meta().name(), causes);
}

void CheckRules(const CustomType& type, const api::Object& object, const api::Object* old, Causes* causes) {
  if (HasBlockingCause(*causes)) {
    causes->push_back({"FieldValueInvalid",
                       "Invalid value: null: some validation rules were not checked because the object was invalid; "
                       "correct the existing errors to complete validation",
                       "<nil>"});
    return;
  }
  const json before = old ? old->ToJsonValue() : json();
  ValidateRules(type.schema, object.ToJsonValue(), old ? &before : nullptr, "", causes);
}

}  // namespace

StatusOr<api::Object> CustomType::FromDocument(json document, api::FieldProblems* problems) const {
  std::string kind = gvk.kind;
  if (const auto it = document.find("kind"); it != document.end() && it->is_string()) kind = it->get<std::string>();
  api::GroupVersionKind of = gvk;
  of.kind = std::move(kind);
  api::FieldProblems found;
  ASSIGN_OR_RETURN(api::Object object, api::Object::OfJson(of, std::move(document), &found));
  std::vector<std::string> unknown;
  PruneCustom(schema, object.mutable_content(), &unknown);
  DefaultCustom(schema, object.mutable_content());
  if (problems) {
    for (const std::string& path : unknown) problems->push_back(absl::StrCat("unknown field \"", path, "\""));
    problems->insert(problems->end(), found.begin(), found.end());
  }
  return object;
}

void CustomType::Normalize(api::Object* object, api::FieldProblems* problems) const {
  std::vector<std::string> unknown;
  PruneCustom(schema, object->mutable_content(), &unknown);
  DefaultCustom(schema, object->mutable_content());
  if (problems)
    for (const std::string& path : unknown) problems->push_back(absl::StrCat("unknown field \"", path, "\""));
}

Status CustomType::ValidateCreate(const api::Object& object) const {
  Causes causes;
  CheckType(*this, object, &causes);
  if (!causes.empty()) return Made(object, causes);
  api::FieldErrors errors;
  api::ValidateObjectMeta(object.meta(), resource.namespaced, gvk.kind, api::Path("metadata"), &errors);
  causes = errors.causes();
  ValidateCustom(schema, object.ToJsonValue(), "", &causes);
  CheckReplicas(object.content(), spec_replicas, &causes);
  CheckReplicas(object.content(), status_replicas, &causes);
  ValidateListTypes(schema, object.content(), "", &causes);
  CheckRules(*this, object, nullptr, &causes);
  return Made(object, causes);
}

Status CustomType::ValidateUpdate(const api::Object& updated, const api::Object& old,
                                  std::string_view subresource) const {
  Causes causes;
  CheckType(*this, updated, &causes);
  if (!causes.empty()) return Made(updated, causes);
  api::FieldErrors errors;
  const api::Path metadata("metadata");
  api::ValidateObjectMetaUpdate(updated.meta(), old.meta(), metadata, &errors);
  if (!errors.ok()) api::ValidateObjectMetaUpdate(updated.meta(), old.meta(), metadata, &errors);
  causes = errors.causes();
  const bool status = subresource == "status";
  // What was wrong before and did not change is no reason to refuse an update.
  Causes found, before;
  if (status) {
    const json* part = nullptr;
    if (const auto it = schema.find("properties"); it != schema.end() && it->contains("status"))
      part = &(*it)["status"];
    if (part && updated.content().contains("status"))
      ValidateCustom(*part, updated.content()["status"], "status", &found);
  } else {
    ValidateCustom(schema, updated.ToJsonValue(), "", &found);
    if (!found.empty()) ValidateCustom(schema, old.ToJsonValue(), "", &before);
  }
  for (api::Cause& cause : found) {
    bool known = false;
    for (const api::Cause& one : before) known = known || (one.field == cause.field && one.message == cause.message);
    if (!known) causes.push_back(std::move(cause));
  }
  if (!status) CheckReplicas(updated.content(), spec_replicas, &causes);
  CheckReplicas(updated.content(), status_replicas, &causes);
  Causes twice;
  ValidateListTypes(schema, old.content(), "", &twice);
  if (twice.empty()) ValidateListTypes(schema, updated.content(), "", &causes);
  CheckRules(*this, updated, &old, &causes);
  return Made(updated, causes);
}

std::vector<std::shared_ptr<const Kind>> CustomType::KindsOf(
    const apiextensions::CustomResourceDefinition& definition) {
  std::vector<std::shared_ptr<const Kind>> out;
  const auto& spec = definition.spec();
  const auto& names = definition.status().acceptednames();
  bool established = false;
  for (const auto& condition : definition.status().conditions())
    established = established || (condition.type() == "Established" && condition.status() == "True");
  if (!established || names.plural().empty()) return out;
  std::string storage;
  for (const auto& version : spec.versions())
    if (version.storage()) storage = version.name();

  for (const auto& version : spec.versions()) {
    if (!version.served()) continue;
    auto type = std::make_unique<CustomType>();
    type->gvk = {spec.group(), version.name(), names.kind()};
    type->storage_version = absl::StrCat(spec.group(), "/", storage);
    type->list_kind = names.listkind();
    if (version.schema().has_openapiv3schema()) type->schema = api::ToJsonValue(version.schema().openapiv3schema());
    if (!type->schema.is_object()) type->schema = json::object();
    if (spec.preserveunknownfields()) type->schema["x-kubernetes-preserve-unknown-fields"] = true;
    type->has_status = version.subresources().has_status();
    type->terminating = definition.metadata().has_deletiontimestamp();
    if (version.deprecated())
      type->deprecation = version.has_deprecationwarning()
                              ? version.deprecationwarning()
                              : absl::StrCat(spec.group(), "/", version.name(), " ", names.kind(), " is deprecated");
    auto path = [](const std::string& text) -> std::optional<NamedPath> {
      auto parsed = JsonPath::Parse(text);
      if (!parsed.ok()) return std::nullopt;
      return NamedPath{text, *std::move(parsed)};
    };
    if (version.subresources().has_scale()) {
      const auto& scale = version.subresources().scale();
      type->spec_replicas = path(scale.specreplicaspath());
      type->status_replicas = path(scale.statusreplicaspath());
      if (!scale.labelselectorpath().empty()) type->label_selector = path(scale.labelselectorpath());
    }
    for (const auto& field : version.selectablefields())
      if (auto parsed = path(field.jsonpath())) type->fields.push_back(*std::move(parsed));
    for (const auto& column : version.additionalprintercolumns())
      if (auto parsed = JsonPath::Parse(column.jsonpath()); parsed.ok())
        type->columns.push_back({column.name(), column.type(), column.format(), column.description(), column.priority(),
                                 *std::move(parsed)});
    auto keep = [&](std::string text) -> std::string_view { return type->texts.emplace_back(std::move(text)); };
    api::Resource& resource = type->resource;
    resource.group = keep(spec.group());
    resource.version = keep(version.name());
    resource.kind = keep(names.kind());
    resource.plural = keep(names.plural());
    resource.singular = keep(names.singular());
    resource.short_names = keep(absl::StrJoin(names.shortnames(), ","));
    resource.categories = keep(absl::StrJoin(names.categories(), ","));
    resource.namespaced = spec.scope() == "Namespaced";
    resource.verbs = "delete,deletecollection,get,list,patch,create,update,watch";
    resource.storage_version = keep(type->storage_version);
    resource.etcd_prefix = keep(absl::StrCat("/registry/", spec.group(), "/", names.plural()));

    auto kind = std::make_shared<Kind>();
    kind->resource = &type->resource;
    kind->prefix = std::string(resource.etcd_prefix) + "/";
    if (type->has_status)
      kind->subresources.push_back({"status", resource.group, resource.version, resource.kind, "get,patch,update"});
    if (type->spec_replicas) kind->subresources.push_back({"scale", "autoscaling", "v1", "Scale", "get,patch,update"});
    KindTraits traits;
    traits.generation = true;
    traits.has_status = type->has_status;
    traits.unconditional_update = false;
    traits.json_storage = true;
    kind->strategy = std::make_unique<CustomStrategy>(traits, *type);
    kind->custom = std::move(type);
    out.push_back(std::move(kind));
  }
  return out;
}

}  // namespace skiff::controlplane
