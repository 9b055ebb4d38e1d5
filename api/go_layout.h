// The fields of upstream's Go structures in their order, as facts of Kubernetes 1.36's types. Used by go_dump.cc.
#ifndef SKIFF_API_GO_LAYOUT_H_
#define SKIFF_API_GO_LAYOUT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace skiff::api {

struct GoField {
  std::string_view name;      // in Go
  std::string_view type;      // in Go; types of the structure's own package begin with a capital
  std::string_view json_key;  // where it is not the Go name in another case; empty otherwise
};
using GoLayout = absl::flat_hash_map<std::string_view, std::vector<GoField>>;  // by the type's name

// Of the types that the API serves (Go package v1), and of those that programs work with inside (package core).
GoLayout ServedGoLayout();
GoLayout InternalGoLayout();

}  // namespace skiff::api

#endif  // SKIFF_API_GO_LAYOUT_H_
