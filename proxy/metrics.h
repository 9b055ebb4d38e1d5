// The proxy's metrics by upstream's names (facts: component kube-proxy). Both families are written in one pass, so the
// series of IPv4 and IPv6 move together. Loop thread only.
#ifndef SKIFF_PROXY_METRICS_H_
#define SKIFF_PROXY_METRICS_H_

#include "base/clock.h"
#include "base/metrics.h"
#include "proxy/address.h"

namespace skiff::proxy {

struct Metrics {
  explicit Metrics(metrics::Registry& registry);

  void ObserveSync(bool full, std::chrono::nanoseconds took, WallTime now);
  void ObserveQueued(WallTime now);
  void ObserveUdp(std::chrono::nanoseconds took);
  void ObserveProgramming(Family family, std::chrono::nanoseconds since_trigger);

  metrics::Counter& service_changes;
  metrics::Counter& service_changes_pending;
  metrics::Counter& endpoint_changes;
  metrics::Counter& endpoint_changes_pending;
  metrics::Family<metrics::Counter>& healthz_total;  // code
  metrics::Family<metrics::Counter>& livez_total;
  metrics::Family<metrics::Gauge>& no_local_endpoints;  // ip_family, traffic_policy
  metrics::Family<metrics::Counter>& stale_udp;  // ip_family: upstream counts conntrack entries here, we count sockets

 private:
  metrics::Family<metrics::Histogram>&sync_, &sync_full_, &sync_partial_, &programming_, &udp_;
  metrics::Family<metrics::Gauge>&last_, &last_queued_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_METRICS_H_
