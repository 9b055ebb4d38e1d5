// What every component says of itself in its /metrics, as upstream's component-base does: version and feature gates;
// and in its /metrics/slis: how its health checks came out. Loop only.
#ifndef SKIFF_CLIENT_COMPONENT_METRICS_H_
#define SKIFF_CLIENT_COMPONENT_METRICS_H_

#include <string>
#include <string_view>

#include "api/feature_gates.h"
#include "base/metrics.h"

namespace skiff::client {

// kubernetes_build_info and kubernetes_feature_enabled. `gates` must outlive the registry.
void AddComponentMetrics(metrics::Registry& registry, const api::FeatureGates& gates);

class HealthSlis {
 public:
  HealthSlis();
  // One run of the check `name` for the page `type` ("healthz").
  void Observe(std::string_view name, std::string_view type, bool ok);
  // A DELETE of the page: everything begins anew.
  void Reset();
  std::string Expose() const { return registry_.Expose(); }

 private:
  metrics::Registry registry_;
  metrics::Family<metrics::Gauge>& last_;
  metrics::Family<metrics::Counter>& total_;
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_COMPONENT_METRICS_H_
