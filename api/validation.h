// Validation of objects on create and update, with upstream's paths, reasons and words. Kinds without rules here pass
// with metadata checks alone. Thread-safe.
#ifndef SKIFF_API_VALIDATION_H_
#define SKIFF_API_VALIDATION_H_

#include <string_view>

#include "api/field_errors.h"
#include "api/object.h"
#include "base/status.h"

namespace skiff::api {

// OK or 422. The object has its defaults set, name generated, namespace filled in.
Status ValidateCreate(const Object& object);
// Update of the main resource (subresource ""), or of "status", "ephemeralcontainers", "resize".
Status ValidateUpdate(const Object& updated, const Object& old, std::string_view subresource = {});

// Metadata alone, into errors at `path` (metadata).
void ValidateObjectMeta(const ObjectMeta& meta, bool namespaced, std::string_view kind, const Path& path,
                        FieldErrors* errors);
void ValidateObjectMetaUpdate(const ObjectMeta& updated, const ObjectMeta& old, const Path& path, FieldErrors* errors);

}  // namespace skiff::api

#endif  // SKIFF_API_VALIDATION_H_
