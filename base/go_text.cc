#include "base/go_text.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/utf8.h"

namespace skiff {
namespace {

constexpr char kHex[] = "0123456789abcdef";

Status NumError(std::string_view function, std::string_view text, std::string_view what) {
  return InvalidArgument("strconv.", function, ": parsing ", GoQuote(text), ": ", what);
}

}  // namespace

void AppendGoQuote(std::string* out, std::string_view text) {
  out->push_back('"');
  while (!text.empty()) {
    uint32_t rune = 0;
    const size_t n = DecodeUtf8(text, &rune);
    if (n == 0) {
      const auto c = static_cast<unsigned char>(text[0]);
      *out += {'\\', 'x', kHex[c >> 4], kHex[c & 15]};
      text.remove_prefix(1);
      continue;
    }
    switch (rune) {
      case '"': *out += "\\\""; break;
      case '\\': *out += "\\\\"; break;
      case '\a': *out += "\\a"; break;
      case '\b': *out += "\\b"; break;
      case '\f': *out += "\\f"; break;
      case '\n': *out += "\\n"; break;
      case '\r': *out += "\\r"; break;
      case '\t': *out += "\\t"; break;
      case '\v': *out += "\\v"; break;
      default:
        if (rune < 0x20 || rune == 0x7f) {
          *out += {'\\', 'x', kHex[rune >> 4], kHex[rune & 15]};
        } else if ((rune >= 0x80 && rune <= 0xa0) || rune == 0xad || rune == 0xfeff ||
                   (rune >= 0x2000 && rune <= 0x200f) || (rune >= 0x2028 && rune <= 0x202f)) {
          *out += {'\\', 'u', kHex[rune >> 12 & 15], kHex[rune >> 8 & 15], kHex[rune >> 4 & 15], kHex[rune & 15]};
        } else {
          out->append(text.substr(0, n));
        }
    }
    text.remove_prefix(n);
  }
  out->push_back('"');
}

std::string GoQuote(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  AppendGoQuote(&out, text);
  return out;
}

void AppendGoFloat(std::string* out, double value) {
  if (std::isnan(value)) {
    *out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    *out += value > 0 ? "+Inf" : "-Inf";
    return;
  }
  // Whole numbers of few digits are most of what is written.
  if (value == std::floor(value) && value > -1e6 && value < 1e6 && !(value == 0 && std::signbit(value))) {
    char buffer[16];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, static_cast<int64_t>(value)).ptr;
    out->append(buffer, end);
    return;
  }
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  const std::string_view digits = text.substr(e + 1);
  std::from_chars(digits.data() + (digits[0] == '+' ? 1 : 0), digits.data() + digits.size(), exponent);
  if (exponent < -4 || exponent >= 6) {
    out->append(text);  // C++ writes at least two exponent digits too
    return;
  }
  end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  out->append(buffer, end);
}

std::string GoFloat(double value) {
  std::string out;
  AppendGoFloat(&out, value);
  return out;
}

StatusOr<int64_t> GoParseInt(std::string_view text, int bits) {
  std::string_view s = text;
  const bool negative = !s.empty() && s[0] == '-';
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) s.remove_prefix(1);
  int base = 10;
  if (s.size() > 1 && s[0] == '0') {
    const char c = static_cast<char>(s[1] | 0x20);
    base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
    s.remove_prefix(c == 'x' || c == 'b' || c == 'o' ? 2 : 1);
  }
  uint64_t magnitude = 0;
  const auto parsed = std::from_chars(s.data(), s.data() + s.size(), magnitude, base);
  const bool whole = parsed.ptr == s.data() + s.size();
  if (s.empty() || parsed.ec == std::errc::invalid_argument || !whole) {
    return NumError("ParseInt", text, "invalid syntax");
  }
  const uint64_t limit = uint64_t{1} << (bits - 1);
  if (parsed.ec == std::errc::result_out_of_range || magnitude > (negative ? limit : limit - 1)) {
    return NumError("ParseInt", text, "value out of range");
  }
  return static_cast<int64_t>(negative ? uint64_t{0} - magnitude : magnitude);
}

StatusOr<bool> GoParseBool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return NumError("ParseBool", text, "invalid syntax");
}

StatusOr<double> GoParseFloat(std::string_view text) {
  std::string_view s = text;
  if (!s.empty() && s[0] == '+') {
    s.remove_prefix(1);
    if (!s.empty() && s[0] == '-') return NumError("ParseFloat", text, "invalid syntax");
  }
  double value = 0;
  const auto parsed = std::from_chars(s.data(), s.data() + s.size(), value);
  if (s.empty() || parsed.ec == std::errc::invalid_argument || parsed.ptr != s.data() + s.size()) {
    return NumError("ParseFloat", text, "invalid syntax");
  }
  if (parsed.ec == std::errc::result_out_of_range) {
    // from_chars does not tell too large from too small; Go refuses only the former.
    const double wide = strtod(std::string(s).c_str(), nullptr);
    if (std::isinf(wide)) return NumError("ParseFloat", text, "value out of range");
    return wide;
  }
  return value;
}

void AppendJsonString(std::string* out, std::string_view text) {
  out->push_back('"');
  while (!text.empty()) {
    uint32_t rune = 0;
    const size_t n = DecodeUtf8(text, &rune);
    if (n == 0) {
      *out += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    switch (rune) {
      case '"': *out += "\\\""; break;
      case '\\': *out += "\\\\"; break;
      case '\n': *out += "\\n"; break;
      case '\r': *out += "\\r"; break;
      case '\t': *out += "\\t"; break;
      default:
        if (rune < 0x20) {
          *out += {'\\', 'u', '0', '0', kHex[rune >> 4], kHex[rune & 15]};
        } else {
          out->append(text.substr(0, n));
        }
    }
    text.remove_prefix(n);
  }
  out->push_back('"');
}

}  // namespace skiff
