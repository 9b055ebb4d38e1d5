// What parses has a canonical form that parses to the same value and is its own canonical form.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/quantity.h"
#include "api/time.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using skiff::api::Quantity;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)skiff::api::ParseRfc3339(text);
  (void)skiff::api::ParseDuration(text);
  const auto canonical = Quantity::Canonicalize(text);
  if (!canonical.ok()) return 0;
  const auto again = Quantity::Canonicalize(*canonical);
  if (!again.ok()) std::abort();
  const Quantity value = Quantity::Of(*canonical);
  (void)value.Value();
  (void)value.MilliValue();
  (void)(value + value).ToString();
  if ((value <=> value) != 0) std::abort();
  return 0;
}
