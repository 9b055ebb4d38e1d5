#include "api/int_or_string.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace skiff::api {

IntOrString FromInt(int32_t value) {
  IntOrString out;
  if (value != 0) out.set_intval(value);
  return out;
}

IntOrString FromString(std::string_view value) {
  IntOrString out;
  out.set_type(1);
  out.set_strval(std::string(value));
  return out;
}

std::string ToString(const IntOrString& value) {
  return IsString(value) ? value.strval() : absl::StrCat(value.intval());
}

int32_t IntValue(const IntOrString& value) {
  if (!IsString(value)) return value.intval();
  int32_t number;
  return absl::SimpleAtoi(value.strval(), &number) ? number : 0;
}

StatusOr<int> ScaledIntOrPercent(const IntOrString& value, int total, bool round_up) {
  if (!IsString(value)) return value.intval();
  std::string_view text = value.strval();
  if (!text.ends_with('%'))
    return InvalidArgument("invalid value for IntOrString: invalid type: string is not a percentage");
  text.remove_suffix(1);
  int percent;
  if (!absl::SimpleAtoi(text, &percent))
    return InvalidArgument("invalid value for IntOrString: invalid value \"", value.strval(),
                           "\": strconv.Atoi: parsing \"", text, "\": invalid syntax");
  const double scaled = static_cast<double>(percent) * total / 100;
  return static_cast<int>(round_up ? std::ceil(scaled) : std::floor(scaled));
}

}  // namespace skiff::api
