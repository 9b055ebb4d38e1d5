// Internal to api: what server-side apply must know about a type: which lists have keys, what is atomic. Built-in types
// read it from the message options, custom resources from their OpenAPI schema; without either, objects merge by key
// and lists are atomic.
#ifndef SKIFF_API_FIELD_SCHEMA_H_
#define SKIFF_API_FIELD_SCHEMA_H_

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/plan.h"
#include "base/status.h"

namespace skiff::api::internal {

class FieldSchema {
 public:
  enum class Kind { kScalar, kStruct, kMap, kList, kUntyped };

  static FieldSchema OfMessage(const Plan& plan);
  // A custom resource: `schema` (openAPIV3Schema, may be null) of the whole object; metadata is the typed one.
  static FieldSchema OfCustom(const nlohmann::json* schema);

  // This schema for a given value: untyped takes the value's shape.
  FieldSchema For(const nlohmann::json* a, const nlohmann::json* b) const;

  Kind kind() const { return kind_; }
  bool atomic() const { return atomic_; }
  bool is_set() const { return is_set_; }
  bool HasField(std::string_view name) const;
  FieldSchema Child(std::string_view name) const;  // of a struct's field or a map's value
  FieldSchema Item() const;                        // of a list

  // The path element of a list's item: `k:{"name":"c"}` or `v:"x"`.
  StatusOr<std::string> ElementOf(const nlohmann::json& item) const;

 private:
  static FieldSchema Untyped();
  static FieldSchema OfValue(const FieldPlan& field);
  static FieldSchema OfField(const FieldPlan& field);
  static FieldSchema OfJson(const nlohmann::json* schema);

  Kind kind_ = Kind::kUntyped;
  bool atomic_ = false;
  bool is_set_ = false;
  bool root_ = false;
  std::vector<std::string> keys_;
  const Plan* plan_ = nullptr;
  const FieldPlan* field_ = nullptr;
  const nlohmann::json* schema_ = nullptr;
};

}  // namespace skiff::api::internal

#endif  // SKIFF_API_FIELD_SCHEMA_H_
