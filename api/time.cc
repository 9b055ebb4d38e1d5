#include "api/time.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace skiff::api {
namespace {

constexpr int64_t kGoZero = -62135596800;  // 0001-01-01T00:00:00Z

// Days from the epoch of a date in the proleptic Gregorian calendar.
int64_t DaysOf(int64_t y, int m, int d) {
  using namespace std::chrono;
  return sys_days(year(static_cast<int>(y)) / m / d).time_since_epoch().count();
}

bool LeapYear(int y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }
int DaysIn(int y, int m) {
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return m == 2 && LeapYear(y) ? 29 : kDays[m - 1];
}

std::string FormatSeconds(int64_t seconds) {
  using namespace std::chrono;
  int64_t days = seconds / 86400;
  int64_t rest = seconds % 86400;
  if (rest < 0) rest += 86400, --days;
  const year_month_day date{sys_days(std::chrono::days(days))};
  return absl::StrFormat("%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                         static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), rest / 3600,
                         rest / 60 % 60, rest % 60);
}

struct SecondsNanos {
  int64_t seconds;
  int64_t nanos;
};
SecondsNanos Split(WallTime when) {
  const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch()).count();
  int64_t s = ns / 1000000000, n = ns % 1000000000;
  if (n < 0) n += 1000000000, --s;
  return {s, n};
}
WallTime Join(int64_t seconds, int64_t nanos) {
  // system_clock counts nanoseconds from the epoch: 1678 to 2262.
  constexpr int64_t kLimit = std::numeric_limits<int64_t>::max() / 1000000000 - 1;
  if (seconds > kLimit) seconds = kLimit;
  if (seconds < -kLimit) seconds = -kLimit;
  return WallTime(
      std::chrono::duration_cast<WallTime::duration>(std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos)));
}

}  // namespace

Time ToTime(WallTime when) {
  Time out;
  out.set_seconds(Split(when).seconds);
  return out;
}

MicroTime ToMicroTime(WallTime when) {
  const SecondsNanos at = Split(when);
  MicroTime out;
  out.set_seconds(at.seconds);
  if (at.nanos / 1000 != 0) out.set_nanos(static_cast<int32_t>(at.nanos / 1000 * 1000));
  return out;
}

WallTime FromTime(const Time& time) { return IsZero(time) ? WallTime() : Join(time.seconds(), time.nanos()); }
WallTime FromTime(const MicroTime& time) { return IsZero(time) ? WallTime() : Join(time.seconds(), time.nanos()); }

bool IsZero(const Time& time) {
  return (!time.has_seconds() && !time.has_nanos()) || (time.seconds() == kGoZero && time.nanos() == 0);
}
bool IsZero(const MicroTime& time) {
  return (!time.has_seconds() && !time.has_nanos()) || (time.seconds() == kGoZero && time.nanos() == 0);
}

std::string FormatTime(const Time& time) { return FormatSeconds(time.seconds()) + "Z"; }
std::string FormatMicroTime(const MicroTime& time) {
  return absl::StrFormat("%s.%06dZ", FormatSeconds(time.seconds()), time.nanos() / 1000);
}
std::string FormatTime(WallTime when) { return FormatSeconds(Split(when).seconds) + "Z"; }
std::string FormatTimeNano(WallTime when) {
  const SecondsNanos at = Split(when);
  std::string out = FormatSeconds(at.seconds);
  if (at.nanos != 0) {
    out += absl::StrFormat(".%09d", at.nanos);
    while (out.back() == '0') out.pop_back();
  }
  return out + "Z";
}

StatusOr<ParsedTime> ParseRfc3339(std::string_view text) {
  static constexpr std::string_view kLayout = "2006-01-02T15:04:05Z07:00";
  size_t pos = 0;
  const auto fail = [&](std::string_view element) {
    return InvalidArgument("parsing time \"", text, "\" as \"", kLayout, "\": cannot parse \"", text.substr(pos),
                           "\" as \"", element, "\"");
  };
  const auto range = [&](std::string_view what) {
    return InvalidArgument("parsing time \"", text, "\": ", what, " out of range");
  };
  const auto number = [&](int width, int* out) {
    if (pos + width > text.size()) return false;
    int value = 0;
    for (int i = 0; i < width; ++i) {
      const char c = text[pos + i];
      if (c < '0' || c > '9') return false;
      value = value * 10 + (c - '0');
    }
    pos += width;
    *out = value;
    return true;
  };
  const auto literal = [&](char c) {
    if (pos >= text.size() || text[pos] != c) return false;
    ++pos;
    return true;
  };
  int year, month, day, hour, minute, second;
  if (!number(4, &year)) return fail("2006");
  if (!literal('-')) return fail("-");
  if (!number(2, &month)) return fail("01");
  if (month < 1 || month > 12) return range("month");
  if (!literal('-')) return fail("-");
  if (!number(2, &day)) return fail("02");
  if (!literal('T')) return fail("T");
  if (!number(2, &hour)) return fail("15");
  if (hour > 23) return range("hour");
  if (!literal(':')) return fail(":");
  if (!number(2, &minute)) return fail("04");
  if (minute > 59) return range("minute");
  if (!literal(':')) return fail(":");
  if (!number(2, &second)) return fail("05");
  if (second > 59) return range("second");
  int32_t nanos = 0;
  if (pos + 1 < text.size() && (text[pos] == '.' || text[pos] == ',') && text[pos + 1] >= '0' && text[pos + 1] <= '9') {
    ++pos;
    int32_t unit = 100000000;
    for (; pos < text.size() && text[pos] >= '0' && text[pos] <= '9'; ++pos) {
      nanos += (text[pos] - '0') * unit;
      unit /= 10;
    }
  }
  int64_t offset = 0;
  if (!literal('Z')) {
    if (pos >= text.size() || (text[pos] != '+' && text[pos] != '-')) return fail("Z07:00");
    const size_t start = pos;
    const int sign = text[pos++] == '-' ? -1 : 1;
    int h, m;
    if (!number(2, &h) || !literal(':') || !number(2, &m)) {
      pos = start;
      return fail("Z07:00");
    }
    if (h > 24) return range("time zone offset hour");
    if (m > 60) return range("time zone offset minute");
    offset = sign * (h * 3600 + m * 60);
  }
  if (pos != text.size()) return InvalidArgument("parsing time \"", text, "\": extra text: \"", text.substr(pos), "\"");
  if (day < 1 || day > DaysIn(year, month)) return range("day");
  return ParsedTime{DaysOf(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset, nanos};
}

StatusOr<Time> ParseTime(std::string_view text) {
  ASSIGN_OR_RETURN(const ParsedTime parsed, ParseRfc3339(text));
  Time out;
  out.set_seconds(parsed.seconds);
  return out;
}

StatusOr<WallTime> ParseWallTime(std::string_view text) {
  ASSIGN_OR_RETURN(const ParsedTime parsed, ParseRfc3339(text));
  return Join(parsed.seconds, parsed.nanos);
}

StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  const auto invalid = [&] { return InvalidArgument("time: invalid duration \"", text, "\""); };
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  if (rest == "0") return std::chrono::nanoseconds(0);
  if (rest.empty()) return invalid();
  static constexpr struct {
    std::string_view name;
    int64_t nanos;
  } kUnits[] = {{"ns", 1},       {"us", 1000},      {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000},
                {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000}};
  __int128 exact = 0;
  while (!rest.empty()) {
    __int128 whole = 0, fraction = 0, scale = 1;
    bool digits = false;
    while (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
      whole = whole * 10 + (rest[0] - '0');
      if (whole > std::numeric_limits<int64_t>::max()) return invalid();
      rest.remove_prefix(1);
      digits = true;
    }
    if (!rest.empty() && rest[0] == '.') {
      rest.remove_prefix(1);
      while (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
        if (scale < 1000000000000000) fraction = fraction * 10 + (rest[0] - '0'), scale *= 10;
        rest.remove_prefix(1);
        digits = true;
      }
    }
    if (!digits) return invalid();
    size_t n = 0;
    while (n < rest.size() && rest[n] != '.' && !(rest[n] >= '0' && rest[n] <= '9')) ++n;
    if (n == 0) return InvalidArgument("time: missing unit in duration \"", text, "\"");
    int64_t unit = 0;
    for (const auto& known : kUnits)
      if (known.name == rest.substr(0, n)) unit = known.nanos;
    if (unit == 0) return InvalidArgument("time: unknown unit \"", rest.substr(0, n), "\" in duration \"", text, "\"");
    exact += whole * unit + fraction * unit / scale;
    if (exact > std::numeric_limits<int64_t>::max()) return invalid();
    rest.remove_prefix(n);
  }
  const auto value = static_cast<int64_t>(exact);
  return std::chrono::nanoseconds(negative ? -value : value);
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  const int64_t ns = duration.count();
  if (ns == 0) return "0s";
  const bool negative = ns < 0;
  const uint64_t u = negative ? -static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  const auto decimal = [](uint64_t value, uint64_t unit, std::string_view name) {
    std::string out = absl::StrCat(value / unit);
    uint64_t rest = value % unit;
    if (rest != 0) {
      std::string digits;
      for (uint64_t scale = unit / 10; scale > 0; scale /= 10)
        digits.push_back(static_cast<char>('0' + static_cast<int>(rest / scale % 10)));
      while (digits.back() == '0') digits.pop_back();
      absl::StrAppend(&out, ".", digits);
    }
    return absl::StrCat(out, name);
  };
  std::string out = negative ? "-" : "";
  if (u < 1000) return absl::StrCat(out, u, "ns");
  if (u < 1000000) return absl::StrCat(out, decimal(u, 1000, "\xc2\xb5s"));
  if (u < 1000000000) return absl::StrCat(out, decimal(u, 1000000, "ms"));
  const uint64_t hours = u / 3600000000000, minutes = u / 60000000000 % 60;
  if (hours > 0) absl::StrAppend(&out, hours, "h");
  if (hours > 0 || minutes > 0) absl::StrAppend(&out, minutes, "m");
  return absl::StrCat(out, decimal(u % 60000000000, 1000000000, "s"));
}

std::string HumanDuration(std::chrono::nanoseconds duration) {
  const int64_t seconds = duration.count() / 1000000000;
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 60 * 2) return absl::StrCat(seconds, "s");
  const int64_t minutes = seconds / 60;
  if (minutes < 10) {
    const int64_t s = seconds % 60;
    return s == 0 ? absl::StrCat(minutes, "m") : absl::StrCat(minutes, "m", s, "s");
  }
  if (minutes < 60 * 3) return absl::StrCat(minutes, "m");
  const int64_t hours = minutes / 60;
  if (hours < 8) {
    const int64_t m = minutes % 60;
    return m == 0 ? absl::StrCat(hours, "h") : absl::StrCat(hours, "h", m, "m");
  }
  if (hours < 48) return absl::StrCat(hours, "h");
  if (hours < 24 * 8) {
    const int64_t h = hours % 24;
    return h == 0 ? absl::StrCat(hours / 24, "d") : absl::StrCat(hours / 24, "d", h, "h");
  }
  if (hours < 24 * 365 * 2) return absl::StrCat(hours / 24, "d");
  if (hours < 24 * 365 * 8) {
    const int64_t days = hours / 24 % 365;
    return days == 0 ? absl::StrCat(hours / 24 / 365, "y") : absl::StrCat(hours / 24 / 365, "y", days, "d");
  }
  return absl::StrCat(hours / 24 / 365, "y");
}

}  // namespace skiff::api
