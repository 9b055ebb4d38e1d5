// Any text as YAML: no crash, bounded work, JSON out; what we write reads back as itself.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  skiff::api::FieldProblems problems;
  const auto json = skiff::api::YamlToJson(text, &problems);
  if (!json.ok()) return 0;
  const auto value = skiff::api::ParseJson(*json);
  if (!value.ok()) std::abort();
  (void)skiff::api::JsonToYaml(*value);
  return 0;
}
