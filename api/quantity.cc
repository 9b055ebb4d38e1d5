#include "api/quantity.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "api/quantity_reading.h"

namespace skiff::api {
namespace {

using Wide = __int128;
constexpr Wide kWideMax = static_cast<Wide>((static_cast<unsigned __int128>(1) << 127) - 1);
constexpr int kMaxDigits = 37;  // of a mantissa: 10^37 fits with room for a carry
constexpr int kNano = -9;

Status FormatWrong() {
  return InvalidArgument("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}
Status BadSuffix() { return InvalidArgument("unable to parse quantity's suffix"); }

// value * 10^n, saturated.
Wide Times10(Wide value, int64_t n) {
  for (; n > 0 && value != 0; --n) {
    if (value > kWideMax / 10) return kWideMax;
    if (value < -kWideMax / 10) return -kWideMax;
    value *= 10;
  }
  return value;
}

// value / 10^n away from zero; `exact` as it says.
Wide Over10(Wide value, int64_t n, bool* exact = nullptr) {
  bool rest = false;
  for (; n > 0 && value != 0; --n) {
    rest |= value % 10 != 0;
    value /= 10;
    if (value == 0 && rest) {
      if (exact) *exact = false;
      return 0;  // the caller adds the sign's unit
    }
  }
  if (exact) *exact = !rest;
  return value;
}

Wide DivideUp(Wide value, int64_t n) {
  bool exact;
  const Wide quotient = Over10(value, n, &exact);
  if (exact) return quotient;
  return value > 0 ? quotient + 1 : quotient - 1;
}

int64_t Saturate(Wide value) {
  if (value > std::numeric_limits<int64_t>::max()) return std::numeric_limits<int64_t>::max();
  if (value < std::numeric_limits<int64_t>::min()) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(value);
}

std::string WideToString(Wide value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  unsigned __int128 u = negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  char buffer[48];
  char* p = buffer + sizeof buffer;
  for (; u != 0; u /= 10) *--p = static_cast<char>('0' + static_cast<int>(u % 10));
  if (negative) *--p = '-';
  return std::string(p, buffer + sizeof buffer - p);
}

struct Suffix {
  int base;
  int exponent;
  Quantity::Format format;
};

bool ReadSuffix(std::string_view text, Suffix* out) {
  using enum Quantity::Format;
  static constexpr struct {
    std::string_view text;
    Suffix suffix;
  } kKnown[] = {
      {"", {10, 0, kDecimalSI}},   {"n", {10, -9, kDecimalSI}}, {"u", {10, -6, kDecimalSI}},
      {"m", {10, -3, kDecimalSI}}, {"k", {10, 3, kDecimalSI}},  {"M", {10, 6, kDecimalSI}},
      {"G", {10, 9, kDecimalSI}},  {"T", {10, 12, kDecimalSI}}, {"P", {10, 15, kDecimalSI}},
      {"E", {10, 18, kDecimalSI}}, {"Ki", {2, 10, kBinarySI}},  {"Mi", {2, 20, kBinarySI}},
      {"Gi", {2, 30, kBinarySI}},  {"Ti", {2, 40, kBinarySI}},  {"Pi", {2, 50, kBinarySI}},
      {"Ei", {2, 60, kBinarySI}},
  };
  for (const auto& known : kKnown) {
    if (known.text != text) continue;
    *out = known.suffix;
    return true;
  }
  if (text.size() < 2 || (text[0] != 'e' && text[0] != 'E')) return false;
  text.remove_prefix(1);
  if (text[0] == '+') text.remove_prefix(1);
  int64_t exponent;
  const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), exponent);
  if (err != std::errc() || end != text.data() + text.size()) return false;
  // Nothing real is outside; the bound keeps sums of exponents inside an int.
  if (exponent > 1000000 || exponent < -1000000) exponent = exponent > 0 ? 1000000 : -1000000;
  *out = {10, static_cast<int>(exponent), kDecimalExponent};
  return true;
}

struct Parts {
  bool positive = true;
  std::string_view integer, fraction, suffix;  // integer without leading zeros; may be empty
};

Status Split(std::string_view text, Parts* out) {
  size_t pos = 0;
  const size_t end = text.size();
  const auto digit = [&](size_t i) { return i < end && text[i] >= '0' && text[i] <= '9'; };
  if (pos < end && (text[pos] == '-' || text[pos] == '+')) out->positive = text[pos++] != '-';
  while (pos < end && text[pos] == '0') ++pos;
  size_t start = pos;
  while (digit(pos)) ++pos;
  out->integer = text.substr(start, pos - start);
  if (pos < end && text[pos] == '.') {
    start = ++pos;
    while (digit(pos)) ++pos;
    out->fraction = text.substr(start, pos - start);
  }
  start = pos;
  while (pos < end && std::string_view("eEinumkKMGTP").find(text[pos]) != std::string_view::npos) ++pos;
  if (pos < end && (text[pos] == '-' || text[pos] == '+')) ++pos;
  while (digit(pos)) ++pos;
  out->suffix = text.substr(start, pos - start);
  return pos == end ? absl::OkStatus() : FormatWrong();
}

// Digits as a number; digits past what a mantissa holds are dropped into `dropped` (count) and `rest` (any not zero).
Wide Digits(std::string_view digits, int room, int* dropped, bool* rest) {
  Wide value = 0;
  int taken = 0;
  for (const char c : digits) {
    if (taken >= room) {
      ++*dropped;
      *rest |= c != '0';
      continue;
    }
    value = value * 10 + (c - '0');
    if (value != 0) ++taken;
  }
  return value;
}

using Reading = QuantityReading;

Status Read(std::string_view text, Reading* out) {
  if (text.empty()) return FormatWrong();
  Parts parts;
  RETURN_IF_ERROR(Split(text, &parts));
  Suffix suffix;
  if (!ReadSuffix(parts.suffix, &suffix)) return BadSuffix();
  // A lone sign, point or suffix has no digits at all. "." reads as 0 upstream's way, "-" as well.
  const std::string_view num = parts.integer.empty() ? std::string_view("0") : parts.integer;
  const int digits = static_cast<int>(num.size() + parts.fraction.size());
  out->format = suffix.format;

  const bool binary = suffix.base == 2;
  int precision;
  if (!binary)
    precision = 18 - digits;
  else if (parts.fraction.empty())
    precision = 15 - static_cast<int>(num.size()) - static_cast<int>(static_cast<float>(suffix.exponent) * 3 / 10) - 1;
  else
    precision = -1;

  const int scale = (binary ? 0 : suffix.exponent) - static_cast<int>(parts.fraction.size());
  if (precision >= 0 && scale >= kNano) {
    const std::string shifted = absl::StrCat(num, parts.fraction);
    int dropped = 0;
    bool rest = false;
    const Wide value = Digits(shifted, kMaxDigits, &dropped, &rest);
    out->mantissa = binary ? value << suffix.exponent : value;
    out->exponent = scale;
    out->is_int64 = true;
    out->keep_text = binary ? (value & 7) != 0 : scale % 3 == 0 && !shifted.ends_with("000") && shifted[0] != '0';
  } else if (binary) {
    constexpr Wide kMax = std::numeric_limits<int64_t>::max();
    Wide nano;
    int ignored = 0;
    bool rest = false;
    const Wide whole = num.size() > 19 ? kMax + 1 : Digits(num, 20, &ignored, &rest) << suffix.exponent;
    if (whole >= kMax) {
      out->mantissa = kMax;
      out->exponent = 0;
    } else {
      const std::string_view kept = parts.fraction.substr(0, 18);
      for (const char c : parts.fraction.substr(kept.size())) rest |= c != '0';
      Wide fraction = Digits(kept, 20, &ignored, &rest) << suffix.exponent;
      const auto places = static_cast<int>(kept.size());
      fraction = places > 9 ? DivideUp(fraction, places - 9) : Times10(fraction, 9 - places);
      // What lies past 18 places is below a nano unless the suffix lifts it; rounding up covers it.
      if (rest) fraction += 1;
      nano = whole * 1000000000 + fraction;
      out->mantissa = nano;
      out->exponent = kNano;
    }
    if (out->mantissa > 0 && out->mantissa < Times10(1, -out->exponent)) out->format = Quantity::Format::kDecimalSI;
  } else {
    int dropped = 0;
    bool rest = false;
    std::string all = absl::StrCat(num, parts.fraction);
    Wide value = Digits(all, kMaxDigits, &dropped, &rest);
    if (rest) value += 1;
    int exponent = scale + dropped;
    if (exponent < kNano) {
      value = DivideUp(value, kNano - exponent);
      exponent = kNano;
    }
    out->mantissa = value;
    out->exponent = exponent;
  }
  if (!parts.positive) out->mantissa = -out->mantissa;
  if (out->mantissa == 0) {
    if (text == "0") out->format = Quantity::Format::kDecimalSI;
  }
  return absl::OkStatus();
}

}  // namespace

Quantity::Quantity(int64_t value, int scale, Format format)
    : mantissa_(value), exponent_(value == 0 ? 0 : scale), format_(format) {}

StatusOr<Quantity> Quantity::Parse(std::string_view text) {
  Reading reading;
  RETURN_IF_ERROR(Read(text, &reading));
  Quantity out;
  out.mantissa_ = reading.mantissa;
  out.exponent_ = reading.mantissa == 0 ? 0 : reading.exponent;
  out.format_ = reading.format;
  return out;
}

StatusOr<QuantityReading> ReadQuantity(std::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  QuantityReading out;
  RETURN_IF_ERROR(Read(text, &out));
  return out;
}

Quantity Quantity::Of(std::string_view text) { return Parse(text).value_or(Quantity()); }
Quantity Quantity::Of(const Proto& proto) { return Of(proto.string()); }

Quantity::Proto Quantity::ToProto() const {
  Proto out;
  out.set_string(ToString());
  return out;
}

StatusOr<std::string> Quantity::Canonicalize(std::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  Reading reading;
  RETURN_IF_ERROR(Read(text, &reading));
  if (reading.keep_text) return std::string(text);
  Quantity value;
  value.mantissa_ = reading.mantissa;
  value.exponent_ = reading.exponent;
  value.format_ = reading.format;
  return value.ToString();
}

std::string Quantity::ToString() const {
  static constexpr std::string_view kDecimal[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  static constexpr std::string_view kBinary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  if (mantissa_ == 0) return "0";
  Format format = format_;
  Wide whole = 0;
  if (format == Format::kBinarySI) {
    if (*this > Quantity(-1024) && *this < Quantity(1024)) {
      format = Format::kDecimalSI;
    } else if (exponent_ >= 0) {
      whole = Times10(mantissa_, exponent_);
    } else {
      bool exact;
      whole = Over10(mantissa_, -exponent_, &exact);
      if (!exact) format = Format::kDecimalSI;
    }
  }
  if (format == Format::kBinarySI) {
    size_t times = 0;
    while (times + 1 < std::size(kBinary) && whole % 1024 == 0) whole /= 1024, ++times;
    return absl::StrCat(WideToString(whole), kBinary[times]);
  }
  Wide amount = mantissa_;
  int exponent = exponent_;
  while (amount % 10 == 0) amount /= 10, ++exponent;
  while (exponent % 3 != 0) amount = Times10(amount, 1), --exponent;
  if (format == Format::kDecimalExponent)
    return exponent == 0 ? WideToString(amount) : absl::StrCat(WideToString(amount), "e", exponent);
  if (exponent > 18) {
    amount = Times10(amount, exponent - 18);
    exponent = 18;
  } else if (exponent < kNano) {
    amount = DivideUp(amount, kNano - exponent);
    exponent = kNano;
  }
  return absl::StrCat(WideToString(amount), kDecimal[(exponent - kNano) / 3]);
}

int64_t Quantity::ScaledValue(int scale) const {
  const int64_t shift = static_cast<int64_t>(exponent_) - scale;
  return Saturate(shift >= 0 ? Times10(mantissa_, shift) : DivideUp(mantissa_, -shift));
}

int64_t Quantity::Value() const { return ScaledValue(0); }
int64_t Quantity::MilliValue() const { return ScaledValue(-3); }
double Quantity::AsDouble() const { return static_cast<double>(mantissa_) * std::pow(10.0, exponent_); }

Quantity& Quantity::operator+=(const Quantity& other) {
  if (mantissa_ == 0) {
    *this = other;
    return *this;
  }
  if (other.mantissa_ == 0) return *this;
  Wide a = mantissa_, b = other.mantissa_;
  const int exponent = std::min(exponent_, other.exponent_);
  a = Times10(a, exponent_ - exponent);
  b = Times10(b, other.exponent_ - exponent);
  if (b > 0 && a > kWideMax - b)
    mantissa_ = kWideMax;
  else if (b < 0 && a < -kWideMax - b)
    mantissa_ = -kWideMax;
  else
    mantissa_ = a + b;
  exponent_ = mantissa_ == 0 ? 0 : exponent;
  return *this;
}

Quantity Quantity::operator-() const {
  Quantity out = *this;
  out.mantissa_ = -out.mantissa_;
  return out;
}

Quantity& Quantity::operator-=(const Quantity& other) { return *this += -other; }

std::strong_ordering Quantity::operator<=>(const Quantity& other) const {
  if (Sign() != other.Sign()) return Sign() <=> other.Sign();
  if (mantissa_ == 0) return std::strong_ordering::equal;
  Wide a = mantissa_, b = other.mantissa_;
  // The larger exponent comes down to the smaller; a side that saturates there is the larger in magnitude.
  if (exponent_ > other.exponent_)
    a = Times10(a, static_cast<int64_t>(exponent_) - other.exponent_);
  else
    b = Times10(b, static_cast<int64_t>(other.exponent_) - exponent_);
  return a < b ? std::strong_ordering::less : a > b ? std::strong_ordering::greater : std::strong_ordering::equal;
}

}  // namespace skiff::api
