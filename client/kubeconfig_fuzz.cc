// Kubeconfig text from anywhere.
#include <cstdint>
#include <string_view>

#include "client/kubeconfig.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // A folder that does not exist: files that the text names are never opened.
  const auto config = skiff::client::ParseKubeconfig(text, "fuzz", "/nonexistent");
  if (config.ok()) (void)skiff::client::ParseKubeconfig(skiff::client::ToKubeconfig(*config), "again", "/nonexistent");
  return 0;
}
