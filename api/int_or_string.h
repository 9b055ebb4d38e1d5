// IntOrString fields: a port number or name, a count or percentage.
#ifndef SKIFF_API_INT_OR_STRING_H_
#define SKIFF_API_INT_OR_STRING_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "k8s/io/apimachinery/pkg/util/intstr/generated.pb.h"

namespace skiff::api {

using IntOrString = k8s::io::apimachinery::pkg::util::intstr::IntOrString;

IntOrString FromInt(int32_t value);
IntOrString FromString(std::string_view value);
inline bool IsString(const IntOrString& value) { return value.type() == 1; }
// "80" or the string.
std::string ToString(const IntOrString& value);
// The number; a string that is a decimal number counts, others are 0.
int32_t IntValue(const IntOrString& value);

// A count, or a percentage of `total`, rounded up or down. Error: "invalid value for IntOrString: ..." in upstream's
// words.
StatusOr<int> ScaledIntOrPercent(const IntOrString& value, int total, bool round_up);

}  // namespace skiff::api

#endif  // SKIFF_API_INT_OR_STRING_H_
