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
  std::string_view name;         // "kubectl", at most 128 bytes; cut from the user agent where not given
  std::string_view subresource;  // "" or "status", "scale"
  WallTime now;
  // A custom resource's openAPIV3Schema (list types and keys); without it lists are atomic.
  const json* custom_schema = nullptr;
  // The request's body held managedFields: [] or [{}]: ownership is forgotten (see ResetsManagedFields).
  bool reset = false;
};

// After a create (`old` nullptr) or update: brings updated->metadata.managedFields up to date: what the manager changed
// becomes its own, what others owned and is gone or changed is taken from them. The incoming managedFields are used
// where the client sent what it read, else those of `old`. Call it as upstream does: after decoding and defaulting,
// before admission and before the strategy's own changes. `old` and `updated` are of one kind.
void TrackUpdate(const Object* old, Object* updated, const Manager& manager);

// Server-side apply. `applied` is the manager's document; the caller has checked that apiVersion, kind and name fit and
// that it carries no managedFields. `live` is nullptr where the object does not exist; `type` is nullptr for custom
// resources. Conflicts: 409 in upstream's words unless `force`. A document that does not fit the schema: 500 as
// upstream
// ("failed to create typed patch object ..."). Returns the object to store, with defaults set; equal to live but for
// managedFields when nothing changed.
StatusOr<Object> ServerSideApply(const Object* live, const json& applied, const TypeOps* type, const Manager& manager,
                                 bool force);

// The manager name of a request without fieldManager: the user agent up to the first '/', at most 128 bytes.
std::string ManagerFromUserAgent(std::string_view user_agent);
// Whether a JSON body asks to forget ownership: metadata.managedFields is [] or [{}].
bool ResetsManagedFields(const json& body);

}  // namespace skiff::api

#endif  // SKIFF_API_MANAGED_FIELDS_H_
