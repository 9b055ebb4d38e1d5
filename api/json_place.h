// Internal to api: where a value stands in a JSON text, for messages.
#ifndef SKIFF_API_JSON_PLACE_H_
#define SKIFF_API_JSON_PLACE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace skiff::api::internal {

inline constexpr size_t kMaxProblems = 100;  // as upstream: a hostile body must not make a long answer

// Where a value stands: a linked list on the stack of the decoding functions.
struct Place {
  const Place* parent;
  std::string_view name;  // of a field, or a map's key
  int index;              // >= 0: of a list's item
  bool map_key;
};

inline std::string PathOf(const Place* place) {
  if (place == nullptr) return {};
  std::string parent = PathOf(place->parent);
  if (place->index >= 0) return absl::StrCat(parent, "[", place->index, "]");
  return parent.empty() ? std::string(place->name) : absl::StrCat(parent, ".", place->name);
}

}  // namespace skiff::api::internal

#endif  // SKIFF_API_JSON_PLACE_H_
