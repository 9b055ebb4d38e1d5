// Schemas of message types for the OpenAPI documents, from descriptors and options.
#ifndef SKIFF_CONTROLPLANE_APISERVER_OPENAPI_SCHEMA_H_
#define SKIFF_CONTROLPLANE_APISERVER_OPENAPI_SCHEMA_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <nlohmann/json.hpp>

#include "controlplane/apiserver/kinds.h"

namespace skiff::controlplane {

class SchemaWriter {
 public:
  // `prefix` of references: "#/definitions/" or "#/components/schemas/".
  explicit SchemaWriter(std::string prefix) : prefix_(std::move(prefix)) {}

  // The type, and all that it refers to, will be in the document.
  void Need(const google::protobuf::Descriptor* message);
  // Names the kind that a type (and its list) is.
  void Mark(const api::TypeOps* type);
  std::string Reference(const google::protobuf::Descriptor* message) const;
  static std::string NameOf(const google::protobuf::Descriptor* message);

  // Visits each schema in order of name, made one at a time.
  void Visit(bool v3, const std::function<void(const std::string& name, const nlohmann::json& schema)>& visit);
  // `"name":{...},...` of all.
  std::string Take(bool v3);

 private:
  nlohmann::json Schema(const google::protobuf::Descriptor* message, bool v3);
  nlohmann::json FieldSchema(const google::protobuf::FieldDescriptor* field, bool v3);
  void AddFields(const google::protobuf::Descriptor* message, bool v3, nlohmann::json* properties,
                 std::vector<std::string>* required);

  const std::string prefix_;
  std::map<std::string, const google::protobuf::Descriptor*> needed_;
  std::map<const google::protobuf::Descriptor*, std::vector<api::GroupVersionKind>> kinds_;
};

// Appends `"path":{...}` entries of a kind's paths, comma-separated.
void AppendPaths(const Kind& kind, bool v3, SchemaWriter* schemas, std::string* out);

// Where a custom resource's (or its list's) schema is in a v3 document.
std::string CustomReference(const Kind& kind, bool list);

// The v2 document in gnostic's protobuf form, as kubectl reads it.
std::string OpenApiV2Protobuf(const Kinds& kinds, SchemaWriter* schemas);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_OPENAPI_SCHEMA_H_
