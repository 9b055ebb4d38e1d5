// The feature gates by name. Alpha ones are accepted and stay off (docs/non-goals.md). Constant; any thread.
#ifndef SKIFF_KUBELET_FEATURE_GATES_H_
#define SKIFF_KUBELET_FEATURE_GATES_H_

#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::kubelet {

// Errors in upstream's words: "unrecognized feature gate: X", "cannot set feature gate X to false, feature is locked to
// true".
Status CheckFeatureGate(std::string_view name, bool value);
bool IsAlphaGate(std::string_view name);

// Whether upstream would have the gate on when these are given, be it that this kubelet does not know what it opens.
bool FeatureEnabled(std::string_view name, const std::map<std::string, bool>& given);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_FEATURE_GATES_H_
