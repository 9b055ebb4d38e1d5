// The v2 document as protobuf, in the form of gnostic's OpenAPIv2.proto, of which only the few fields used here are
// written, by number. Definitions are whole; of the paths only the patch operations, which clients search for the
// options that a kind takes.
#include "api/codec.h"
#include "controlplane/apiserver/openapi_schema.h"

namespace skiff::controlplane {
namespace {

using nlohmann::json;

void Varint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}
void Bytes(int field, std::string_view bytes, std::string* out) {
  Varint(static_cast<uint64_t>(field) << 3 | 2, out);
  Varint(bytes.size(), out);
  out->append(bytes);
}
void Flag(int field, bool value, std::string* out) {
  if (!value) return;
  Varint(static_cast<uint64_t>(field) << 3, out);
  out->push_back(1);
}

// Any {yaml = 2}
std::string Any(const json& value) {
  std::string text, out;
  api::AppendJson(value, &text);
  text.push_back('\n');
  Bytes(2, text, &out);
  return out;
}

std::string Named(const std::string& name, std::string_view value) {
  std::string out;
  Bytes(1, name, &out);
  Bytes(2, value, &out);
  return out;
}

std::string Schema(const json& schema) {
  std::string out;
  auto text = [&](const char* key, int field) {
    auto it = schema.find(key);
    if (it != schema.end() && it->is_string()) Bytes(field, it->get_ref<const std::string&>(), &out);
  };
  text("$ref", 1);
  text("format", 2);
  if (auto it = schema.find("required"); it != schema.end())
    for (const json& name : *it) Bytes(19, name.get_ref<const std::string&>(), &out);
  if (auto it = schema.find("additionalProperties"); it != schema.end()) {
    std::string item;
    Bytes(1, Schema(*it), &item);
    Bytes(21, item, &out);
  }
  if (auto it = schema.find("type"); it != schema.end()) {
    std::string type;
    Bytes(1, it->get_ref<const std::string&>(), &type);
    Bytes(22, type, &out);
  }
  if (auto it = schema.find("items"); it != schema.end()) {
    std::string items;
    Bytes(1, Schema(*it), &items);
    Bytes(23, items, &out);
  }
  if (auto it = schema.find("properties"); it != schema.end()) {
    std::string properties;
    for (const auto& [name, value] : it->items()) Bytes(1, Named(name, Schema(value)), &properties);
    Bytes(25, properties, &out);
  }
  for (const auto& [name, value] : schema.items())
    if (name.starts_with("x-")) Bytes(31, Named(name, Any(value)), &out);
  return out;
}

// ParametersItem {parameter {non_body_parameter {query_parameter_sub_schema {in = 2, name = 4, type = 6}}}}
std::string QueryParameter(const char* name, const char* type) {
  std::string query, non_body, parameter, item;
  Bytes(2, "query", &query);
  Bytes(4, name, &query);
  Bytes(6, type, &query);
  Bytes(3, query, &non_body);
  Bytes(2, non_body, &parameter);
  Bytes(1, parameter, &item);
  return item;
}

}  // namespace

std::string OpenApiV2Protobuf(const Kinds& kinds, SchemaWriter* schemas) {
  std::string out, info, paths, definitions;
  Bytes(1, "2.0", &out);
  Bytes(1, "Kubernetes", &info);
  Bytes(2, "v1.36.2", &info);
  Bytes(2, info, &out);
  for (const auto& kind : kinds.all()) {
    const api::Resource& r = *kind->resource;
    if (!r.HasVerb("patch")) continue;
    std::string path = r.group.empty() ? absl::StrCat("/api/", std::string(r.version))
                                       : absl::StrCat("/apis/", std::string(r.group), "/", std::string(r.version));
    absl::StrAppend(&path, r.namespaced ? "/namespaces/{namespace}/" : "/", std::string(r.plural), "/{name}");
    std::string operation, item;
    for (const char* name : {"dryRun", "fieldManager", "fieldValidation"})
      Bytes(8, QueryParameter(name, "string"), &operation);
    Bytes(8, QueryParameter("force", "boolean"), &operation);
    Flag(11, false, &operation);
    Bytes(13, Named("x-kubernetes-action", Any("patch")), &operation);
    Bytes(13,
          Named("x-kubernetes-group-version-kind", Any(json{{"group", std::string(r.group)},
                                                            {"kind", std::string(r.kind)},
                                                            {"version", std::string(r.version)}})),
          &operation);
    Bytes(8, operation, &item);
    Bytes(2, Named(path, item), &paths);
  }
  Bytes(8, paths, &out);
  schemas->Visit(/*v3=*/false, [&](const std::string& name, const json& schema) {
    Bytes(1, Named(name, Schema(schema)), &definitions);
  });
  Bytes(9, definitions, &out);
  return out;
}

}  // namespace skiff::controlplane
