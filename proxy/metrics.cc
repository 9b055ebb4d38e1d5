#include "proxy/metrics.h"

namespace skiff::proxy {

namespace {

std::vector<double> Doubling(double first, int n) {
  std::vector<double> out;
  for (int i = 0; i < n; i++, first *= 2) out.push_back(first);
  return out;
}

std::vector<double> ProgrammingBounds() {
  std::vector<double> out = {0.25, 0.5};
  for (int s = 1; s <= 60; s++) out.push_back(s);
  for (int s = 65; s <= 120; s += 5) out.push_back(s);
  for (int s = 150; s <= 300; s += 30) out.push_back(s);
  return out;
}

double Seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }
double Unix(WallTime t) { return std::chrono::duration<double>(t.time_since_epoch()).count(); }

}  // namespace

Metrics::Metrics(metrics::Registry& r)
    : service_changes(r.Counters("kubeproxy_sync_proxy_rules_service_changes_total",
                                 "[ALPHA] Cumulative proxy rules Service changes")
                          .With({})),
      service_changes_pending(
          r.Gauges("kubeproxy_sync_proxy_rules_service_changes_pending", "[ALPHA] Pending proxy rules Service changes")
              .With({})),
      endpoint_changes(r.Counters("kubeproxy_sync_proxy_rules_endpoint_changes_total",
                                  "[ALPHA] Cumulative proxy rules Endpoint changes")
                           .With({})),
      endpoint_changes_pending(r.Gauges("kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                                        "[ALPHA] Pending proxy rules Endpoint changes")
                                   .With({})),
      healthz_total(
          r.Counters("kubeproxy_proxy_healthz_total", "[ALPHA] Cumulative proxy healthz HTTP status", {"code"})),
      livez_total(r.Counters("kubeproxy_proxy_livez_total", "[ALPHA] Cumulative proxy livez HTTP status", {"code"})),
      no_local_endpoints(r.Gauges("kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                                  "[ALPHA] Number of services with a Local traffic policy and no endpoints",
                                  {"ip_family", "traffic_policy"})),
      stale_udp(r.Counters("kubeproxy_conntrack_reconciler_deleted_entries_total",
                           "[ALPHA] Cumulative UDP sockets that were moved off removed endpoints", {"ip_family"})),
      sync_(r.Histograms("kubeproxy_sync_proxy_rules_duration_seconds", "[ALPHA] SyncProxyRules latency in seconds",
                         Doubling(0.001, 15), {"ip_family"})),
      sync_full_(r.Histograms("kubeproxy_sync_full_proxy_rules_duration_seconds",
                              "[ALPHA] SyncProxyRules latency in seconds for full resyncs", Doubling(0.001, 15),
                              {"ip_family"})),
      sync_partial_(r.Histograms("kubeproxy_sync_partial_proxy_rules_duration_seconds",
                                 "[ALPHA] SyncProxyRules latency in seconds for partial resyncs", Doubling(0.001, 15),
                                 {"ip_family"})),
      programming_(r.Histograms("kubeproxy_network_programming_duration_seconds",
                                "[ALPHA] In Cluster Network Programming Latency in seconds", ProgrammingBounds(),
                                {"ip_family"})),
      udp_(r.Histograms("kubeproxy_conntrack_reconciler_sync_duration_seconds",
                        "[ALPHA] Duration of moving UDP sockets off removed endpoints", Doubling(0.001, 15),
                        {"ip_family"})),
      last_(r.Gauges("kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                     "[ALPHA] The last time proxy rules were successfully synced", {"ip_family"})),
      last_queued_(r.Gauges("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                            "[ALPHA] The last time a sync of proxy rules was queued", {"ip_family"})) {
  for (Family family : {Family::kIPv4, Family::kIPv6}) {
    for (const char* policy : {"internal", "external"}) {
      no_local_endpoints.With({std::string(FamilyName(family)), policy}).Set(0);
    }
    stale_udp.With({std::string(FamilyName(family))});
    udp_.With({std::string(FamilyName(family))});
  }
}

void Metrics::ObserveSync(bool full, std::chrono::nanoseconds took, WallTime now) {
  for (const char* family : {"IPv4", "IPv6"}) {
    sync_.With({family}).Observe(Seconds(took));
    (full ? sync_full_ : sync_partial_).With({family}).Observe(Seconds(took));
    last_.With({family}).Set(Unix(now));
  }
}

void Metrics::ObserveUdp(std::chrono::nanoseconds took) {
  for (const char* family : {"IPv4", "IPv6"}) udp_.With({family}).Observe(Seconds(took));
}

void Metrics::ObserveQueued(WallTime now) {
  for (const char* family : {"IPv4", "IPv6"}) last_queued_.With({family}).Set(Unix(now));
}

void Metrics::ObserveProgramming(Family family, std::chrono::nanoseconds since_trigger) {
  programming_.With({std::string(FamilyName(family))}).Observe(Seconds(since_trigger));
}

}  // namespace skiff::proxy
