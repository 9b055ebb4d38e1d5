// A subset of the Common Expression Language, as x-kubernetes-validations use it: literals, self and oldSelf, fields
// and indexes, arithmetic, comparison, logic, has(), the macros all, exists, exists_one, map and filter, and common
// functions on strings, lists and maps. What is outside the subset does not compile, so that no rule is ever passed
// over in silence. Follows https://github.com/google/cel-spec . Values are JSON; numbers without a fraction are
// integers. Thread-compatible.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_H_

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "api/errors.h"
#include "base/status.h"

namespace skiff::controlplane {

struct CelNode;

class CelProgram {
 public:
  static StatusOr<CelProgram> Compile(std::string_view text);
  CelProgram(CelProgram&&) noexcept;
  CelProgram& operator=(CelProgram&&) noexcept;
  ~CelProgram();

  // `old` may be null: a rule that reads oldSelf is then not to be run (see uses_old).
  StatusOr<nlohmann::json> Run(const nlohmann::json& self, const nlohmann::json* old) const;
  bool uses_old() const { return uses_old_; }

 private:
  CelProgram();
  std::unique_ptr<CelNode> root_;
  bool uses_old_ = false;
};

// Runs every rule of a schema against a document; `old` is the document before an update, or null.
void ValidateRules(const nlohmann::json& schema, const nlohmann::json& value, const nlohmann::json* old,
                   const std::string& path, std::vector<api::Cause>* causes);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_H_
