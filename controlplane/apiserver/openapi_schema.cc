#include "controlplane/apiserver/openapi_schema.h"

#include "api/codec.h"
#include "skiff/api/options.pb.h"

namespace skiff::controlplane {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using nlohmann::json;
using skiff::api::FieldFacts;

const FieldFacts& FactsOf(const FieldDescriptor* field) { return field->options().GetExtension(skiff::api::field); }
skiff::api::Form FormOf(const Descriptor* message) { return message->options().GetExtension(skiff::api::form); }

std::string JsonName(const FieldDescriptor* field) {
  const FieldFacts& facts = FactsOf(field);
  return facts.has_json() ? facts.json() : field->name();
}

json Scalar(const FieldDescriptor* field) {
  switch (field->type()) {
    case FieldDescriptor::TYPE_BOOL: return {{"type", "boolean"}};
    case FieldDescriptor::TYPE_INT32:
    case FieldDescriptor::TYPE_UINT32: return {{"type", "integer"}, {"format", "int32"}};
    case FieldDescriptor::TYPE_INT64:
    case FieldDescriptor::TYPE_UINT64: return {{"type", "integer"}, {"format", "int64"}};
    case FieldDescriptor::TYPE_DOUBLE:
    case FieldDescriptor::TYPE_FLOAT: return {{"type", "number"}, {"format", "double"}};
    case FieldDescriptor::TYPE_BYTES: return {{"type", "string"}, {"format", "byte"}};
    default: return {{"type", "string"}};
  }
}

}  // namespace

std::string SchemaWriter::NameOf(const Descriptor* message) {
  std::string name = message->full_name();
  if (name.starts_with("k8s.io.")) name = "io.k8s." + name.substr(7);
  for (char& c : name)
    if (c == '_') c = '-';
  return name;
}

std::string SchemaWriter::Reference(const Descriptor* message) const { return prefix_ + NameOf(message); }

void SchemaWriter::Need(const Descriptor* message) {
  if (!needed_.emplace(NameOf(message), message).second) return;
  if (FormOf(message) != skiff::api::OBJECT && FormOf(message) != skiff::api::LIST) return;
  for (int i = 0; i < message->field_count(); ++i) {
    const FieldDescriptor* field = message->field(i);
    if (FactsOf(field).hidden()) continue;
    if (field->is_map()) {
      const FieldDescriptor* value = field->message_type()->map_value();
      if (value->message_type()) Need(value->message_type());
    } else if (field->message_type()) {
      Need(field->message_type());
    }
  }
}

void SchemaWriter::Mark(const api::TypeOps* type) {
  kinds_[type->prototype().GetDescriptor()].push_back(type->gvk());
  if (type->list) kinds_[type->list->prototype().GetDescriptor()].push_back(type->list->gvk());
}

json SchemaWriter::FieldSchema(const FieldDescriptor* field, bool v3) {
  const FieldFacts& facts = FactsOf(field);
  json out;
  json fallback;
  if (facts.has_default_json()) fallback = json::parse(facts.default_json(), nullptr, false);
  if (field->is_map()) {
    const FieldDescriptor* value = field->message_type()->map_value();
    out["type"] = "object";
    out["additionalProperties"] =
        value->message_type() ? json{{"$ref", Reference(value->message_type())}} : Scalar(value);
  } else if (field->is_repeated()) {
    out["type"] = "array";
    out["items"] = field->message_type() ? json{{"$ref", Reference(field->message_type())}} : Scalar(field);
  } else if (field->message_type()) {
    // A reference stands alone in v2; v3 wraps it so that it may have siblings.
    if (v3)
      out["allOf"] = json::array({json{{"$ref", Reference(field->message_type())}}});
    else
      out["$ref"] = Reference(field->message_type());
    if (v3 && fallback.is_object()) out["default"] = fallback;
  } else {
    out = Scalar(field);
    if (v3 && facts.has_default_json() && !fallback.is_discarded()) out["default"] = fallback;
  }
  if (facts.list_type() == skiff::api::LIST_ATOMIC) out["x-kubernetes-list-type"] = "atomic";
  if (facts.list_type() == skiff::api::LIST_SET) out["x-kubernetes-list-type"] = "set";
  if (facts.list_type() == skiff::api::LIST_MAP) {
    out["x-kubernetes-list-type"] = "map";
    for (const std::string& key : facts.list_map_key()) out["x-kubernetes-list-map-keys"].push_back(key);
  }
  if (facts.map_type() == skiff::api::MAP_ATOMIC && (field->is_map() || v3)) out["x-kubernetes-map-type"] = "atomic";
  if (!facts.patch_strategy().empty()) out["x-kubernetes-patch-strategy"] = facts.patch_strategy();
  if (!facts.patch_merge_key().empty()) out["x-kubernetes-patch-merge-key"] = facts.patch_merge_key();
  return out;
}

void SchemaWriter::AddFields(const Descriptor* message, bool v3, json* properties, std::vector<std::string>* required) {
  for (int i = 0; i < message->field_count(); ++i) {
    const FieldDescriptor* field = message->field(i);
    const FieldFacts& facts = FactsOf(field);
    if (facts.hidden()) continue;
    if (facts.inline_() && field->message_type()) {
      AddFields(field->message_type(), v3, properties, required);
      continue;
    }
    const std::string name = JsonName(field);
    (*properties)[name] = FieldSchema(field, v3);
    if (facts.required()) required->push_back(name);
  }
}

json SchemaWriter::Schema(const Descriptor* message, bool v3) {
  switch (FormOf(message)) {
    case skiff::api::QUANTITY:
      return v3 ? json{{"oneOf", {{{"type", "string"}}, {{"type", "number"}}}}} : json{{"type", "string"}};
    case skiff::api::TIME: return {{"type", "string"}, {"format", "date-time"}};
    case skiff::api::MICRO_TIME: return {{"type", "string"}, {"format", "date-time"}};
    case skiff::api::DURATION: return {{"type", "string"}};
    case skiff::api::INT_OR_STRING:
      return v3 ? json{{"format", "int-or-string"}, {"oneOf", {{{"type", "integer"}}, {{"type", "string"}}}}}
                : json{{"type", "string"}, {"format", "int-or-string"}};
    case skiff::api::RAW_JSON: {
      const std::string& name = message->name();
      if (name == "FieldsV1" || name == "RawExtension") return {{"type", "object"}};
      return json::object();
    }
    case skiff::api::SCHEMA_OR_ARRAY:
    case skiff::api::SCHEMA_OR_BOOL:
    case skiff::api::SCHEMA_OR_STRINGS: return json::object();
    case skiff::api::LIST: {
      const FieldDescriptor* field = message->field(0);
      return {{"type", "array"},
              {"items", field->message_type() ? json{{"$ref", Reference(field->message_type())}} : Scalar(field)}};
    }
    default: break;
  }
  json out = {{"type", "object"}};
  json properties = json::object();
  std::vector<std::string> required;
  AddFields(message, v3, &properties, &required);
  auto kinds = kinds_.find(message);
  if (kinds != kinds_.end()) {
    properties["apiVersion"] = {{"type", "string"}};
    properties["kind"] = {{"type", "string"}};
    json marks = json::array();
    for (const auto& gvk : kinds->second)
      marks.push_back({{"group", gvk.group}, {"kind", gvk.kind}, {"version", gvk.version}});
    out["x-kubernetes-group-version-kind"] = std::move(marks);
  }
  if (!required.empty()) {
    std::sort(required.begin(), required.end());
    out["required"] = required;
  }
  if (!properties.empty()) out["properties"] = std::move(properties);
  return out;
}

void SchemaWriter::Visit(bool v3, const std::function<void(const std::string&, const json&)>& visit) {
  for (const auto& [name, message] : needed_) visit(name, Schema(message, v3));
}

std::string SchemaWriter::Take(bool v3) {
  std::string out;
  Visit(v3, [&](const std::string& name, const json& schema) {
    if (!out.empty()) out.push_back(',');
    api::AppendJsonString(name, &out);
    out.push_back(':');
    api::AppendJson(schema, &out);
  });
  return out;
}

}  // namespace skiff::controlplane
