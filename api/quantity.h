// Resource quantities ("100m", "1.5Gi", "1e3"): exact decimal values with a suffix style. Follows
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ . Plain value type, 32 bytes.
//
// Values are held as a 128-bit decimal mantissa and a power of ten, so everything that upstream's parser lets through
// below 10^29 is exact; sums that leave that range saturate.
#ifndef SKIFF_API_QUANTITY_H_
#define SKIFF_API_QUANTITY_H_

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "k8s/io/apimachinery/pkg/api/resource/generated.pb.h"

namespace skiff::api {

class Quantity {
 public:
  enum class Format : uint8_t { kDecimalSI, kBinarySI, kDecimalExponent };
  using Proto = k8s::io::apimachinery::pkg::api::resource::Quantity;

  Quantity() = default;  // 0, DecimalSI
  // value * 10^scale
  explicit Quantity(int64_t value, int scale = 0, Format format = Format::kDecimalSI);
  static Quantity Bytes(int64_t value) { return Quantity(value, 0, Format::kBinarySI); }
  static Quantity Milli(int64_t value) { return Quantity(value, -3); }

  // Errors (kInvalidArgument) in upstream's words: "quantities must match the regular expression '...'",
  // "unable to parse numeric part of quantity", "unable to parse quantity's suffix".
  static StatusOr<Quantity> Parse(std::string_view text);
  // The value of a message; what does not parse reads as 0 (messages that passed the codec always parse).
  static Quantity Of(const Proto& proto);
  static Quantity Of(std::string_view text);

  // Canonical form: no fraction, the largest suffix that keeps the mantissa an integer, at most nano precision.
  std::string ToString() const;
  Proto ToProto() const;
  // Parse and ToString in one: the text as upstream would store it.
  static StatusOr<std::string> Canonicalize(std::string_view text);

  int64_t Value() const;                 // rounded away from zero to an integer, saturated to int64
  int64_t MilliValue() const;            // the same in thousandths
  int64_t ScaledValue(int scale) const;  // in units of 10^scale
  double AsDouble() const;

  bool IsZero() const { return mantissa_ == 0; }
  int Sign() const { return mantissa_ < 0 ? -1 : mantissa_ > 0; }
  Format format() const { return format_; }

  Quantity& operator+=(const Quantity& other);  // a zero takes the other's format
  Quantity& operator-=(const Quantity& other);
  Quantity operator-() const;
  friend Quantity operator+(Quantity a, const Quantity& b) { return a += b; }
  friend Quantity operator-(Quantity a, const Quantity& b) { return a -= b; }
  // By value; formats do not matter.
  std::strong_ordering operator<=>(const Quantity& other) const;
  bool operator==(const Quantity& other) const { return (*this <=> other) == 0; }

 private:
  __int128 mantissa_ = 0;
  int32_t exponent_ = 0;  // power of ten
  Format format_ = Format::kDecimalSI;
};

}  // namespace skiff::api

#endif  // SKIFF_API_QUANTITY_H_
