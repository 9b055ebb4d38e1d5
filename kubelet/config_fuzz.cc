// A KubeletConfiguration of any content, and eviction thresholds: an error or a configuration, never more.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "kubelet/config.h"
#include "kubelet/eviction/thresholds.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::kubelet;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto document = ParseConfigFile(text, "fuzz");
  if (!document.ok()) return 0;
  Config config;
  config.hostname_override = "n";
  if (!ApplyConfig(*document, &config).ok()) return 0;
  ThresholdSettings settings;
  settings.hard = config.eviction_hard;
  settings.soft = config.eviction_soft;
  settings.soft_grace = config.eviction_soft_grace_period;
  settings.min_reclaim = config.eviction_minimum_reclaim;
  settings.allocatable = true;
  const auto thresholds = ParseThresholds(settings);
  if (!thresholds.ok()) return 0;
  for (const EvictionThreshold& t : *thresholds) (void)t.value.Of(*skiff::api::Quantity::Parse("4Gi"));
  return 0;
}
