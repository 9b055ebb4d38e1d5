#include "api/field_schema.h"

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api::internal {
namespace {

using google::protobuf::FieldDescriptor;

// Types that are one value wherever they stand (x-kubernetes-map-type: atomic). The options of a singular field repeat
// it; items of lists have only this.
bool AtomicType(const Plan& plan) {
  static constexpr std::string_view kTypes[] = {"admissionregistration.v1.MatchResources",
                                                "admissionregistration.v1.NamedRuleWithOperations",
                                                "admissionregistration.v1.ParamKind",
                                                "admissionregistration.v1.ParamRef",
                                                "admissionregistration.v1.Variable",
                                                "autoscaling.v1.CrossVersionObjectReference",
                                                "core.v1.ConfigMapKeySelector",
                                                "core.v1.EndpointAddress",
                                                "core.v1.EndpointPort",
                                                "core.v1.FileKeySelector",
                                                "core.v1.LocalObjectReference",
                                                "core.v1.NodeSelector",
                                                "core.v1.NodeSelectorTerm",
                                                "core.v1.ObjectFieldSelector",
                                                "core.v1.ObjectReference",
                                                "core.v1.ResourceFieldSelector",
                                                "core.v1.ScopeSelector",
                                                "core.v1.SecretKeySelector",
                                                "core.v1.SecretReference",
                                                "core.v1.TopologySelectorTerm",
                                                "core.v1.TypedLocalObjectReference",
                                                "discovery.v1.EndpointPort",
                                                "meta.v1.LabelSelector",
                                                "meta.v1.OwnerReference",
                                                "networking.v1.ServiceBackendPort",
                                                "rbac.v1.RoleRef",
                                                "rbac.v1.Subject"};
  const std::string_view full = plan.descriptor()->full_name();
  for (const std::string_view type : kTypes)
    if (full.ends_with(type) && full[full.size() - type.size() - 1] == '.') return true;
  return false;
}

// A string member, "" where there is none.
std::string Text(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}
bool Flag(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}
const nlohmann::json* Object(const nlohmann::json* object, std::string_view key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto it = object->find(std::string(key));
  return it != object->end() && it->is_object() ? &*it : nullptr;
}

}  // namespace

FieldSchema FieldSchema::Untyped() { return FieldSchema(); }

FieldSchema FieldSchema::OfMessage(const Plan& plan) {
  FieldSchema out;
  switch (plan.form()) {
    case OBJECT:
      out.kind_ = Kind::kStruct;
      out.plan_ = &plan;
      out.atomic_ = AtomicType(plan);
      out.root_ = plan.type_meta();
      break;
    case RAW_JSON:
    case SCHEMA_OR_ARRAY:
    case SCHEMA_OR_BOOL:
    case SCHEMA_OR_STRINGS: out.atomic_ = true; break;
    case LIST:
      out.kind_ = Kind::kList;
      out.atomic_ = true;
      break;
    default: out.kind_ = Kind::kScalar;
  }
  return out;
}

FieldSchema FieldSchema::OfValue(const FieldPlan& field) {
  if (field.value_type == FieldDescriptor::CPPTYPE_MESSAGE) return OfMessage(field.message());
  FieldSchema out;
  out.kind_ = Kind::kScalar;
  return out;
}

FieldSchema FieldSchema::OfField(const FieldPlan& field) {
  const FieldFacts& facts = field.facts();
  if (!field.is_list && !field.is_map) {
    FieldSchema out = OfValue(field);
    // The options of a singular field say it all (one may be granular where its type is atomic).
    if (out.kind_ == Kind::kStruct) out.atomic_ = facts.map_type() == MAP_ATOMIC;
    return out;
  }
  FieldSchema out;
  out.field_ = &field;
  if (field.is_map) {
    out.kind_ = Kind::kMap;
    out.atomic_ = facts.map_type() == MAP_ATOMIC;
    return out;
  }
  out.kind_ = Kind::kList;
  if (facts.list_type() == LIST_SET)
    out.is_set_ = true;
  else if (facts.list_type() == LIST_MAP)
    out.keys_.assign(facts.list_map_key().begin(), facts.list_map_key().end());
  else
    out.atomic_ = true;
  return out;
}

FieldSchema FieldSchema::OfJson(const nlohmann::json* schema) {
  FieldSchema out;
  if (schema == nullptr || !schema->is_object()) return out;
  out.schema_ = schema;
  if (Flag(*schema, "x-kubernetes-int-or-string")) {
    out.kind_ = Kind::kScalar;
    return out;
  }
  const std::string type = Text(*schema, "type");
  if (type == "object") {
    out.atomic_ = Text(*schema, "x-kubernetes-map-type") == "atomic";
    if (schema->contains("properties"))
      out.kind_ = Kind::kStruct;
    else if (schema->contains("additionalProperties"))
      out.kind_ = Kind::kMap;
  } else if (type == "array") {
    out.kind_ = Kind::kList;
    const std::string list = Text(*schema, "x-kubernetes-list-type");
    if (list == "set")
      out.is_set_ = true;
    else if (list == "map" && schema->contains("x-kubernetes-list-map-keys"))
      for (const auto& key : (*schema)["x-kubernetes-list-map-keys"])
        out.keys_.push_back(key.is_string() ? key.get<std::string>() : std::string());
    else
      out.atomic_ = true;
  } else if (!type.empty()) {
    out.kind_ = Kind::kScalar;
  }
  return out;
}

FieldSchema FieldSchema::OfCustom(const nlohmann::json* schema) {
  FieldSchema out = OfJson(schema);
  if (out.kind_ != Kind::kStruct) out.kind_ = Kind::kUntyped;
  out.root_ = true;
  return out;
}

FieldSchema FieldSchema::For(const nlohmann::json* a, const nlohmann::json* b) const {
  if (kind_ != Kind::kUntyped) return *this;
  const nlohmann::json* value = b != nullptr && !b->is_null() ? b : a;
  FieldSchema out = *this;
  if (value != nullptr && value->is_object()) {
    out.kind_ = Kind::kMap;
  } else if (value != nullptr && value->is_array()) {
    out.kind_ = Kind::kList;
    out.atomic_ = true;
  } else {
    out.kind_ = Kind::kScalar;
  }
  return out;
}

bool FieldSchema::HasField(std::string_view name) const {
  if (root_ && (name == "apiVersion" || name == "kind" || name == "metadata")) return true;
  if (plan_ != nullptr) return plan_->Find(name, nullptr) != nullptr;
  if (schema_ != nullptr && schema_->contains("properties"))
    return (*schema_)["properties"].contains(std::string(name));
  return false;
}

FieldSchema FieldSchema::Child(std::string_view name) const {
  if (plan_ != nullptr) {
    const FieldPlan* field = plan_->Find(name, nullptr);
    if (field != nullptr) return OfField(*field);
    FieldSchema scalar;
    if (root_ && (name == "apiVersion" || name == "kind")) scalar.kind_ = Kind::kScalar;
    return scalar;
  }
  if (root_ && name == "metadata")
    return OfMessage(Plan::Of(k8s::io::apimachinery::pkg::apis::meta::v1::ObjectMeta::descriptor()));
  if (field_ != nullptr) return OfValue(*field_);
  if (schema_ != nullptr) {
    if (const nlohmann::json* found = Object(Object(schema_, "properties"), name)) return OfJson(found);
    if (const nlohmann::json* found = Object(schema_, "additionalProperties")) return OfJson(found);
  }
  return Untyped();
}

FieldSchema FieldSchema::Item() const {
  if (field_ != nullptr) return OfValue(*field_);
  if (const nlohmann::json* items = Object(schema_, "items")) return OfJson(items);
  return Untyped();
}

StatusOr<std::string> FieldSchema::ElementOf(const nlohmann::json& item) const {
  if (is_set_) {
    std::string out = "v:";
    AppendJson(item, &out);
    return out;
  }
  if (!item.is_object()) return InvalidArgument("associative list with keys may not have non-map elements");
  nlohmann::json key = nlohmann::json::object();
  for (const std::string& name : keys_) {
    if (const auto found = item.find(name); found != item.end() && !found->is_null()) {
      key[name] = *found;
      continue;
    }
    std::string by_default;
    if (field_ != nullptr) {
      if (const FieldPlan* field = field_->message().Find(name, nullptr)) by_default = field->facts().default_json();
      // Schemas give a key without a default of its own the type's zero where the field has no unset state.
    } else if (const nlohmann::json* property = Object(Object(Object(schema_, "items"), "properties"), name)) {
      if (const auto found = property->find("default"); found != property->end()) AppendJson(*found, &by_default);
    }
    if (by_default.empty())
      return InvalidArgument("associative list with keys has an element that omits key field \"", name,
                             "\" (and doesn't have default value)");
    key[name] = ParseJson(by_default).value_or(nullptr);
  }
  std::string out = "k:";
  AppendJson(key, &out);
  return out;
}

}  // namespace skiff::api::internal
