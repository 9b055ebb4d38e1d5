// Field ownership: metadata.managedFields for every write, and server-side apply. Follows
// https://kubernetes.io/docs/reference/using-api/server-side-apply/ ; the field set form is FieldsV1. Thread-safe.
#ifndef SKIFF_API_MANAGED_FIELDS_H_
#define SKIFF_API_MANAGED_FIELDS_H_

#include <string>
#include <string_view>

#include "api/object.h"
#include "api/time.h"
#include "base/status.h"

namespace skiff::api {

struct Manager {
  std::string_view name;         // "kubectl", at most 128 bytes; upstream cuts it from the user agent where not given
  std::string_view subresource;  // "" or "status", "scale"
  WallTime now;
};

// After a create (`old` empty) or update: brings updated->metadata.managedFields up to date: what the manager changed
// becomes its own, what others owned and is gone or changed is taken from them. The incoming managedFields of `updated`
// are trusted only where they are what the client read (as upstream: cleared by [{}], else kept from `old`).
void TrackUpdate(const Object* old, Object* updated, const Manager& manager);

// Server-side apply. `applied` is the manager's document (apiVersion, kind, metadata.name checked by the caller; it
// must not carry managedFields). `live` is nullptr where the object does not exist. Conflicts: 409 in upstream's words
// unless `force`. Errors in the document: 500 as upstream ("failed to create typed patch object ..."). Returns the
// object to store; equal to live (but for managedFields' time) when nothing changed.
StatusOr<Object> ServerSideApply(const Object* live, const json& applied, const TypeOps* type, const Manager& manager,
                                 bool force);

// The manager name of a request without fieldManager: the user agent up to the first '/', at most 128 bytes.
std::string ManagerFromUserAgent(std::string_view user_agent);

}  // namespace skiff::api

#endif  // SKIFF_API_MANAGED_FIELDS_H_
