// What parses prints as something that parses to the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/selector.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using skiff::api::FieldSelector;
  using skiff::api::LabelSelector;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto labels = LabelSelector::Parse(text); labels.ok()) {
    const auto again = LabelSelector::Parse(labels->ToString());
    if (!again.ok() || again->ToString() != labels->ToString()) std::abort();
    (void)labels->Matches({});
  }
  if (const auto fields = FieldSelector::Parse(text); fields.ok()) (void)fields->ToString();
  return 0;
}
