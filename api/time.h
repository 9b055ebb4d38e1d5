// Times of the API: RFC 3339 text (seconds for Time, microseconds for MicroTime, always UTC) and messages. Wall clock.
#ifndef SKIFF_API_TIME_H_
#define SKIFF_API_TIME_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff {
using WallTime = std::chrono::system_clock::time_point;  // as in base/clock.h, which is heavier
}

namespace skiff::api {

using Time = k8s::io::apimachinery::pkg::apis::meta::v1::Time;
using MicroTime = k8s::io::apimachinery::pkg::apis::meta::v1::MicroTime;

Time ToTime(WallTime when);            // truncated to seconds
MicroTime ToMicroTime(WallTime when);  // truncated to microseconds
WallTime FromTime(const Time& time);   // the epoch for an unset time
WallTime FromTime(const MicroTime& time);
// Unset, or Go's zero time (year 1).
bool IsZero(const Time& time);
bool IsZero(const MicroTime& time);

std::string FormatTime(const Time& time);            // 2026-11-21T04:54:07Z
std::string FormatMicroTime(const MicroTime& time);  // 2026-11-21T04:54:07.123456Z
std::string FormatTime(WallTime when);
// With nanoseconds, trailing zeroes cut (Go's RFC3339Nano, as in container logs).
std::string FormatTimeNano(WallTime when);

// RFC 3339 with any fraction and offset. Error in Go's words: parsing time "x" as "2006-01-02T15:04:05Z07:00": ...
struct ParsedTime {
  int64_t seconds;  // since the epoch
  int32_t nanos;
};
StatusOr<ParsedTime> ParseRfc3339(std::string_view text);
StatusOr<Time> ParseTime(std::string_view text);
StatusOr<WallTime> ParseWallTime(std::string_view text);

// Go durations: "1h2m3.5s", "300ms", "0s".
StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text);
std::string FormatDuration(std::chrono::nanoseconds duration);

// How kubectl's tables show an age: 5s, 3m20s, 4h, 2d3h, 400d, 5y.
std::string HumanDuration(std::chrono::nanoseconds duration);

}  // namespace skiff::api

#endif  // SKIFF_API_TIME_H_
