// The pieces of the Prometheus text format 0.0.4, as client_golang writes it. For programs that stream large
// expositions without a registry. Pure functions, thread-safe.
#ifndef SKIFF_BASE_METRICS_TEXT_H_
#define SKIFF_BASE_METRICS_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace skiff::metrics {

inline constexpr char kTextContentType[] = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

// "# HELP name help\n# TYPE name type\n"
void AppendHeader(std::string* out, std::string_view name, std::string_view help, std::string_view type);
// The value of a label, without its quotes: backslash, line feed and quote escaped.
void AppendLabelValue(std::string* out, std::string_view value);
// name="value"
void AppendLabel(std::string* out, std::string_view name, std::string_view value);
// " value\n" or " value timestamp\n" (milliseconds; 0: none)
void AppendValue(std::string* out, double value, int64_t timestamp_ms = 0);

}  // namespace skiff::metrics

#endif  // SKIFF_BASE_METRICS_TEXT_H_
