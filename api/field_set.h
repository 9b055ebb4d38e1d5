// Internal to api: a set of field paths, and the operations of structured merge and diff on documents.
// The text form is FieldsV1 (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
#ifndef SKIFF_API_FIELD_SET_H_
#define SKIFF_API_FIELD_SET_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/field_schema.h"
#include "base/status.h"

namespace skiff::api::internal {

using FieldPath = std::vector<std::string>;  // elements "f:name", `k:{...}`, "v:..", "i:0"

// A tree by path element; a node is a member of the set or only leads to members.
struct FieldSet {
  bool self = false;
  std::map<std::string, FieldSet> children;

  static StatusOr<FieldSet> Parse(std::string_view fields_v1);
  std::string ToFieldsV1() const;

  bool empty() const { return !self && children.empty(); }
  void Insert(const FieldPath& path);
  void Union(const FieldSet& other);
  FieldSet Minus(const FieldSet& other) const;  // members only
  FieldSet And(const FieldSet& other) const;
  void Cut(const FieldPath& path);   // with everything below
  void Drop(const FieldPath& path);  // the member alone
  // Fields of structs that lead to members become members.
  FieldSet WithNamedFields(const FieldSchema& schema) const;
  // ".spec.containers[name=\"c\"].image", members before what lies deeper.
  void EachPath(const std::string& prefix, std::vector<std::string>* out) const;
};

struct Comparison {
  FieldSet added, modified, removed;
};

Comparison CompareValues(const FieldSchema& schema, const nlohmann::json& before, const nlohmann::json& after);
// Every path that a document gives a value.
StatusOr<FieldSet> SetOf(const FieldSchema& schema, const nlohmann::json& value);
// `over` laid over `value`.
nlohmann::json MergeValues(const FieldSchema& schema, const nlohmann::json& value, const nlohmann::json& over);
// Without the members of a set.
nlohmann::json RemoveFields(const FieldSchema& schema, const nlohmann::json& value, const FieldSet& fields);
// What does not fit the schema: ".spec.nope: field not declared in schema".
std::vector<std::string> SchemaErrors(const FieldSchema& schema, const nlohmann::json& value);

}  // namespace skiff::api::internal

#endif  // SKIFF_API_FIELD_SET_H_
