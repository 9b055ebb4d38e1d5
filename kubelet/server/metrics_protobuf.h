// Metrics as length-delimited io.prometheus.client.MetricFamily messages, for scrapers that ask for them: made from the
// text exposition, which stays the one way in which metrics are collected. Pure; any thread.
// Upstream: github.com/prometheus/client_model metrics.proto, expfmt's content negotiation.
#ifndef SKIFF_KUBELET_SERVER_METRICS_PROTOBUF_H_
#define SKIFF_KUBELET_SERVER_METRICS_PROTOBUF_H_

#include <string>
#include <string_view>

#include "base/http.h"

namespace skiff::kubelet {

inline constexpr char kDelimitedMetricsType[] =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; "
    "escaping=underscores";

// Whether the Accept header names the delimited form, before the text form and with some weight.
bool WantsDelimitedMetrics(const http::Headers& headers);

// `text` is our own exposition (HELP and TYPE lines before a family's samples); lines that are not are left out.
std::string DelimitedMetrics(std::string_view text);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_METRICS_PROTOBUF_H_
