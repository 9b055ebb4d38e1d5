// Which resources exist: the constexpr table of every built-in resource (names, verbs, subresources, storage) and the
// binding of kinds to message types. Names are plain data and cost nothing; PrototypeOf links every message type in and
// is meant for programs that handle any kind (the API server). Agents use the typed forms (TypeTraits<T>,
// Object::Of<T>). Adding a kind: its message in api/proto, a line in types.h, a row in resources.cc. Thread-safe
// (constant data).
#ifndef SKIFF_API_SCHEME_H_
#define SKIFF_API_SCHEME_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>

#include "api/group_version.h"
#include "api/types.h"

namespace skiff::api {

// One served resource. Lists are comma-separated in the table's order ("" = none); see Split helpers below.
struct Resource {
  std::string_view group, version, kind, plural, singular;
  std::string_view short_names, categories;
  bool namespaced;
  std::string_view verbs;            // "create,delete,..."
  std::string_view subresources;     // "status:Node(get,patch,update) scale:autoscaling/v1.Scale(get,patch,update)"
  std::string_view storage_version;  // "apps/v1" or "v1"; "-" for what is not stored
  std::string_view etcd_prefix;      // "/registry/pods"; "-" for what is not stored

  GroupVersionKind gvk() const { return {std::string(group), std::string(version), std::string(kind)}; }
  std::string api_version() const;  // "v1", "apps/v1"
  bool HasVerb(std::string_view verb) const;
};

struct Subresource {
  std::string_view name;  // "status"
  std::string_view group, version,
      kind;                // of its body; group and version are the parent's unless the table says otherwise
  std::string_view verbs;  // "get,patch,update"
};

// Every built-in resource of a served GA version, in upstream's discovery order within a group.
std::span<const Resource> Resources();
const Resource* FindResource(std::string_view group, std::string_view version, std::string_view plural);
const Resource* FindResourceByKind(std::string_view group, std::string_view version, std::string_view kind);
std::vector<Subresource> SubresourcesOf(const Resource& resource);
std::vector<std::string_view> SplitList(std::string_view comma_separated);

// The resource of a message type, without linking others in.
template <typename T>
const Resource& ResourceOf() {
  static const Resource* const found =
      FindResourceByKind(TypeTraits<T>::kGroup, TypeTraits<T>::kVersion, TypeTraits<T>::kKind);
  return *found;
}

// Type of a kind (also lists, options, Status, Scale, reviews), nullptr for unknown ones. Kinds of meta/v1 (Status,
// DeleteOptions, WatchEvent, ...) are found under every group and version, as upstream registers them.
const TypeOps* TypeOf(const GroupVersionKind& gvk);
// Every bound type.
std::span<const TypeOps* const> AllTypes();

}  // namespace skiff::api

#endif  // SKIFF_API_SCHEME_H_
