// Runs an expression's tree against a document. Internal to cel*.cc. Errors: InvalidArgument in cel-go's words ("no
// such key: x"), also when the work passes a bound. Thread-safe.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_EVALUATOR_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_EVALUATOR_H_

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "controlplane/apiserver/custom/cel_node.h"

namespace skiff::controlplane {

// `old` may be null.
StatusOr<nlohmann::json> EvaluateCel(const CelNode& root, const nlohmann::json& self, const nlohmann::json* old);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_EVALUATOR_H_
