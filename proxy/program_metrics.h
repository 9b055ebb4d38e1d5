// Metrics of the program as a whole and of the kernel's side, beside those of services (proxy/metrics.h).
#ifndef SKIFF_PROXY_PROGRAM_METRICS_H_
#define SKIFF_PROXY_PROGRAM_METRICS_H_

#include "api/feature_gates.h"
#include "base/metrics.h"
#include "proxy/data_path.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {

// Process, client, features, version. `gates` must outlive the registry.
void AddProgramMetrics(metrics::Registry& registry, const api::FeatureGates& gates);

// What the kernel programs counted, and how full the maps are. All must outlive the registry.
void AddKernelMetrics(metrics::Registry& registry, DataPath& data_path, const Reconciler& reconciler);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PROGRAM_METRICS_H_
