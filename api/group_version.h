// Group, version, kind and resource names as they stand in apiVersion and URLs. Plain values.
#ifndef SKIFF_API_GROUP_VERSION_H_
#define SKIFF_API_GROUP_VERSION_H_

#include <compare>
#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::api {

struct GroupVersion {
  std::string group;  // "" for the core group
  std::string version;

  // "v1" or "apps/v1". Error: unexpected GroupVersion string: a/b/c
  static StatusOr<GroupVersion> Parse(std::string_view text);
  std::string ToString() const;  // apiVersion
  auto operator<=>(const GroupVersion&) const = default;
};

struct GroupVersionKind {
  std::string group, version, kind;
  GroupVersion group_version() const { return {group, version}; }
  auto operator<=>(const GroupVersionKind&) const = default;
};

}  // namespace skiff::api

#endif  // SKIFF_API_GROUP_VERSION_H_
