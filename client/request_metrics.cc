#include "client/request_metrics.h"

#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"

namespace skiff::client {
namespace {

using metrics::Counter;
using metrics::Family;
using metrics::Histogram;

struct Families {
  explicit Families(metrics::Registry& r)
      : requests(r.Counters("rest_client_requests_total",
                            "[ALPHA] Number of HTTP requests, partitioned by status code, method, and host.",
                            {"code", "host", "method"})),
        retries(r.Counters("rest_client_request_retries_total",
                           "[ALPHA] Number of request retries, partitioned by status code, verb, and host.",
                           {"code", "host", "verb"})),
        duration(r.Histograms("rest_client_request_duration_seconds",
                              "[ALPHA] Request latency in seconds. Broken down by verb, and host.", Seconds(),
                              {"host", "verb"})),
        throttle(r.Histograms("rest_client_rate_limiter_duration_seconds",
                              "[ALPHA] Client side rate limiter latency in seconds. Broken down by verb, and host.",
                              Seconds(), {"host", "verb"})),
        sent(r.Histograms("rest_client_request_size_bytes",
                          "[ALPHA] Request size in bytes. Broken down by verb and host.", Bytes(), {"host", "verb"})),
        received(r.Histograms("rest_client_response_size_bytes",
                              "[ALPHA] Response size in bytes. Broken down by verb and host.", Bytes(),
                              {"host", "verb"})) {
    // Credential plugins are refused, and there is one transport a program, which lives as long as it does.
    r.Gauges("rest_client_exec_plugin_ttl_seconds",
             "[ALPHA] Gauge of the shortest TTL (time-to-live) of the client certificate(s) managed by the auth exec "
             "plugin. The value is in seconds until certificate expiry (negative if already expired). If auth exec "
             "plugins are unused or manage no TLS certificates, the value will be +INF.")
        .With({})
        .Set(std::numeric_limits<double>::infinity());
    r.Histograms("rest_client_exec_plugin_certificate_rotation_age",
                 "[ALPHA] Histogram of the number of seconds the last auth exec plugin client certificate lived before "
                 "being rotated. If auth exec plugin client certificates are unused, histogram will contain no data.",
                 {600, 1800, 3600, 14400, 86400, 604800, 2592000, 7776000, 15552000, 31104000, 124416000});
    r.Gauges("rest_client_transport_cache_entries", "[ALPHA] Number of transport entries in the internal cache.")
        .With({})
        .Set(1);
    r.Counters("rest_client_transport_cert_rotation_gc_calls_total",
               "[ALPHA] Number of times a cert rotation goroutine cancel func is called via GC cleanup of the "
               "associated transport");
    r.Counters("rest_client_transport_create_calls_total",
               "[ALPHA] Number of calls to get a new transport, partitioned by the result of the operation hit: "
               "obtained from the cache, miss: created and added to the cache, miss-gc: recreated and added back to "
               "the cache after being garbage collected, uncacheable: created and not cached",
               {"result"})
        .With({"miss"})
        .Inc();
  }

  static std::vector<double> Seconds() { return {0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60}; }
  static std::vector<double> Bytes() {
    return {64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216};
  }

  Family<Counter>&requests, &retries;
  Family<Histogram>&duration, &throttle, &sent, &received;
};

std::unique_ptr<Families>& Current() {
  static std::unique_ptr<Families> families;
  return families;
}

double InSeconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }
std::string CodeText(int code) { return code == 0 ? "<error>" : absl::StrCat(code); }

}  // namespace

void EnableRequestMetrics(metrics::Registry& registry) { Current() = std::make_unique<Families>(registry); }
void DisableRequestMetrics() { Current().reset(); }

void CountRequest(const std::string& host, const std::string& method, int code) {
  if (Current() != nullptr) Current()->requests.With({CodeText(code), host, method}).Inc();
}

void ObserveRequest(const std::string& host, const std::string& verb, std::chrono::nanoseconds took, size_t sent,
                    size_t received) {
  if (Current() == nullptr) return;
  Current()->duration.With({host, verb}).Observe(InSeconds(took));
  Current()->sent.With({host, verb}).Observe(static_cast<double>(sent));
  Current()->received.With({host, verb}).Observe(static_cast<double>(received));
}

void ObserveThrottle(const std::string& host, const std::string& verb, std::chrono::nanoseconds waited) {
  if (Current() != nullptr) Current()->throttle.With({host, verb}).Observe(InSeconds(waited));
}

void CountRetry(const std::string& host, const std::string& verb, int code) {
  if (Current() != nullptr) Current()->retries.With({CodeText(code), host, verb}).Inc();
}

}  // namespace skiff::client
