#include "kubelet/logs/cri_log_line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto line = skiff::kubelet::ParseCriLogLine(text)) skiff::kubelet::FixedTimestamp(*line);
  return 0;
}
