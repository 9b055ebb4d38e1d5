#include "kubelet/server/spdy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  skiff::kubelet::ParseSpdyFrame(text).status().IgnoreError();
  return 0;
}
