#include "base/websocket.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  skiff::ParseWebSocketFrame(text, size % 2 == 0).status().IgnoreError();
  return 0;
}
