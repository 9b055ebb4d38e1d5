// The feature gates of Kubernetes 1.36 that node components know: their stages and defaults, and what an operator set.
// As upstream: an unknown gate warns, a locked one that is turned is an error, AllAlpha and AllBeta turn what was not
// named. Alpha gates can be set and seen, and turn nothing on. Plain values; set at start, read-only afterwards.
#ifndef SKIFF_API_FEATURE_GATES_H_
#define SKIFF_API_FEATURE_GATES_H_

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::api {

enum class FeatureStage : uint8_t { kAlpha, kBeta, kGa, kDeprecated };

struct FeatureGate {
  const char* name;
  FeatureStage stage;
  bool on;                 // by default
  bool locked;             // .. and for ever
  const char* depends_on;  // names, separated by spaces
};

std::span<const FeatureGate> KnownFeatureGates();  // sorted by name

class FeatureGates {
 public:
  // All of `wanted` at once. Errors: "cannot set feature gate X to true, feature is locked to false", "X is enabled,
  // but depends on features that are disabled: [Y]"; several as "[a, b]". Nothing is set then.
  Status Set(const std::map<std::string, bool>& wanted);
  bool Enabled(std::string_view name) const;  // false for what is not known
  // Calls `visit` with each gate, its stage as kubernetes_feature_enabled labels it ("ALPHA", "" for GA), and its
  // value.
  void Each(const std::function<void(const char* name, const char* stage, bool on)>& visit) const;

 private:
  std::map<std::string, bool, std::less<>> set_;
};

}  // namespace skiff::api

#endif  // SKIFF_API_FEATURE_GATES_H_
