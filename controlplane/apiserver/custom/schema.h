// What a custom resource's structural schema does to a document: pruning, defaulting, validation with upstream's words.
// Follows https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ . Pure;
// loop thread only (compiled patterns are kept).
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_SCHEMA_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_SCHEMA_H_

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/errors.h"

namespace skiff::controlplane {

using nlohmann::json;
using Causes = std::vector<api::Cause>;

// Takes out what the schema does not know. `unknown`, where given, receives the paths ("spec.a", "spec.list[0].b"),
// sorted. apiVersion, kind and metadata of the root stay.
void PruneCustom(const json& schema, json* document, std::vector<std::string>* unknown);
// Fills in defaults, at every level.
void DefaultCustom(const json& schema, json* document);
// Types, bounds, formats, enumerations, required properties. `prefix` is put before every path ("status").
void ValidateCustom(const json& schema, const json& document, std::string_view prefix, Causes* causes);
// Lists that are sets or maps hold nothing twice.
void ValidateListTypes(const json& schema, const json& document, const std::string& path, Causes* causes);
// Whether these causes keep validation rules from being looked at.
bool HasBlockingCause(const Causes& causes);

// What a definition's schema must be like for this server to hold objects to it: structural, patterns and rules that
// compile. `path` is the schema's ("spec.versions[0].schema.openAPIV3Schema").
void CheckStructural(const json& schema, const std::string& path, bool root, Causes* causes);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_SCHEMA_H_
