// Numbers of JSON documents as integers, whatever the text says. Pure; any thread.
#ifndef SKIFF_API_JSON_NUMBER_H_
#define SKIFF_API_JSON_NUMBER_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

namespace skiff::api {

// The integer part; nothing where it is none of int64's, and for NaN.
inline std::optional<int64_t> IntegerPart(double number) {
  // 2^63 is a double, the greatest int64 is none.
  if (!(number >= -0x1p63 && number < 0x1p63)) return std::nullopt;
  return static_cast<int64_t>(number);
}

// A number's integer part, or the nearest that there is in 64 bits; 0 for what is no number.
inline int64_t IntegerOf(const nlohmann::json& value) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max(), kMin = std::numeric_limits<int64_t>::min();
  if (value.is_number_unsigned()) return static_cast<int64_t>(std::min(value.get<uint64_t>(), uint64_t{kMax}));
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number()) return 0;
  const auto number = value.get<double>();
  return IntegerPart(number).value_or(number > 0 ? kMax : number < 0 ? kMin : 0);
}

}  // namespace skiff::api

#endif  // SKIFF_API_JSON_NUMBER_H_
