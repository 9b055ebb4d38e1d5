// The JSONPath that printer columns, selectable fields and scale subresources use: .a.b, ['a'], [0], [*] and
// [?(@.a=="b")]. Follows https://kubernetes.io/docs/reference/kubectl/jsonpath/ . Pure.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_JSON_PATH_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_JSON_PATH_H_

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace skiff::controlplane {

class JsonPath {
 public:
  static StatusOr<JsonPath> Parse(std::string_view text);
  // What is there; nothing where a part is missing.
  std::vector<const nlohmann::json*> Find(const nlohmann::json& document) const;
  // Makes what is missing on the way and sets the value. Only for paths of names; false for others.
  bool Set(nlohmann::json* document, nlohmann::json value) const;

 private:
  struct Step {
    enum class Kind { kName, kIndex, kAll, kFilter } kind;
    std::string name;                 // kName; kFilter: the operator
    int64_t index = 0;                // from the end where negative
    std::vector<std::string> fields;  // kFilter: below @
    nlohmann::json value;             // kFilter: compared with
  };
  std::vector<Step> steps_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_JSON_PATH_H_
