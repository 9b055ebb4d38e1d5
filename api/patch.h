// The four patch types of the API over documents: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), strategic merge
// patch (merge keys and directives from the message options), and server-side apply (managed_fields.h).
// Errors carry the API status that upstream answers (errors.h). Thread-safe.
#ifndef SKIFF_API_PATCH_H_
#define SKIFF_API_PATCH_H_

#include <string_view>

#include <google/protobuf/descriptor.h>
#include <nlohmann/json.hpp>

#include "api/object.h"
#include "base/status.h"

namespace skiff::api {

inline constexpr std::string_view kJsonPatchType = "application/json-patch+json";
inline constexpr std::string_view kMergePatchType = "application/merge-patch+json";
inline constexpr std::string_view kStrategicMergePatchType = "application/strategic-merge-patch+json";
inline constexpr std::string_view kApplyPatchType = "application/apply-patch+yaml";
inline constexpr int kMaxJsonPatchOperations = 10000;  // more: 413

StatusOr<json> ApplyJsonPatch(json document, const json& patch);
json ApplyMergePatch(json document, const json& patch);
// `schema` describes the document (descriptor of its message).
StatusOr<json> ApplyStrategicMergePatch(json document, const json& patch, const google::protobuf::Descriptor* schema);

// The object after a patch of one of the first three types. Unknown and duplicate fields go to `problems` where given;
// when `strict` they are an error (422, as upstream answers fieldValidation=Strict). Metadata rules (name,
// resourceVersion) are the caller's to check. kFailedPrecondition -> 415 for a strategic merge patch of a custom
// resource.
StatusOr<Object> PatchObject(const Object& current, std::string_view content_type, std::string_view body,
                             FieldProblems* problems = nullptr, bool strict = false);

// The strategic merge patch that turns `from` into `to` (as clients send for status), {} when equal.
StatusOr<json> CreateStrategicMergePatch(const json& from, const json& to, const google::protobuf::Descriptor* schema);
// The merge patch that turns `from` into `to`.
json CreateMergePatch(const json& from, const json& to);

}  // namespace skiff::api

#endif  // SKIFF_API_PATCH_H_
