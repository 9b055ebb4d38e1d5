// The rest_client_* metrics of upstream's client library, for programs that serve /metrics. One set a program: every
// Rest reports to the registry that was given here, and to none before. Loop thread only.
#ifndef SKIFF_CLIENT_REQUEST_METRICS_H_
#define SKIFF_CLIENT_REQUEST_METRICS_H_

#include <chrono>
#include <string>
#include <string_view>

#include "base/metrics.h"

namespace skiff::client {

// `registry` must outlive every request made from now on. Again with another registry: that one counts from then on.
void EnableRequestMetrics(metrics::Registry& registry);
void DisableRequestMetrics();

// For Rest. `code`: the HTTP status, 0 where no answer came ("<error>"). All do nothing before EnableRequestMetrics.
void CountRequest(const std::string& host, const std::string& method, int code);
void ObserveRequest(const std::string& host, const std::string& verb, std::chrono::nanoseconds took, size_t sent,
                    size_t received);
void ObserveThrottle(const std::string& host, const std::string& verb, std::chrono::nanoseconds waited);
void CountRetry(const std::string& host, const std::string& verb, int code);

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_REQUEST_METRICS_H_
