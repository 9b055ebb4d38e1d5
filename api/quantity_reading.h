// How upstream's parser holds a quantity that it has read; its hashes of objects (go_dump.h) are over this form.
#ifndef SKIFF_API_QUANTITY_READING_H_
#define SKIFF_API_QUANTITY_READING_H_

#include <string_view>

#include "api/quantity.h"

namespace skiff::api {

struct QuantityReading {
  __int128 mantissa = 0;
  int exponent = 0;  // of ten, as written: "0m" has -3
  Quantity::Format format = Quantity::Format::kDecimalSI;
  bool keep_text = false;  // upstream remembers the text as the canonical one
  bool is_int64 = false;   // held as an int64 and a scale, else as an arbitrary decimal of nine places
};

// Errors as Quantity::Parse's.
StatusOr<QuantityReading> ReadQuantity(std::string_view text);

}  // namespace skiff::api

#endif  // SKIFF_API_QUANTITY_READING_H_
