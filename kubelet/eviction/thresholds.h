// Eviction thresholds: their settings, and which of them are crossed. Pure; any thread. Upstream:
// kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction.
#ifndef SKIFF_KUBELET_EVICTION_THRESHOLDS_H_
#define SKIFF_KUBELET_EVICTION_THRESHOLDS_H_

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/quantity.h"
#include "base/status.h"
#include "kubelet/stats/usage.h"

namespace skiff::kubelet {

enum class EvictionSignal {
  kMemoryAvailable,
  kAllocatableMemoryAvailable,  // of what pods may have together; follows memory.available
  kNodeFsAvailable,
  kNodeFsInodesFree,
  kImageFsAvailable,
  kImageFsInodesFree,
  kContainerFsAvailable,
  kContainerFsInodesFree,
  kPidAvailable,
};

std::string_view SignalName(EvictionSignal signal);  // "memory.available"
// What is short: "memory", "ephemeral-storage", "inodes" or "pids".
std::string_view StarvedResource(EvictionSignal signal);
// "MemoryPressure", "DiskPressure" or "PIDPressure".
std::string_view PressureCondition(EvictionSignal signal);

struct ThresholdValue {
  std::optional<api::Quantity> quantity;
  float percentage = 0;  // 0.1 is 10%; counts when there is no quantity
  api::Quantity Of(const api::Quantity& capacity) const;
  bool operator==(const ThresholdValue& other) const;
};

struct EvictionThreshold {
  EvictionSignal signal;
  ThresholdValue value;
  std::chrono::nanoseconds grace{0};  // 0: a hard one
  std::optional<ThresholdValue> min_reclaim;
  bool hard() const { return grace.count() == 0; }
  // The same threshold, whatever is to be reclaimed.
  bool Same(const EvictionThreshold& other) const {
    return signal == other.signal && grace == other.grace && value == other.value;
  }
};

struct ThresholdSettings {
  using Map = std::map<std::string, std::string>;  // by signal
  Map hard, soft, soft_grace, min_reclaim;
  bool allocatable = false;  // enforceNodeAllocatable has "pods"
};
// Errors in upstream's words: "unsupported eviction signal x.y", "eviction threshold memory.available must be positive:
// -1", "grace period must be specified for the soft eviction threshold memory.available". "0%" and "100%" set nothing.
StatusOr<std::vector<EvictionThreshold>> ParseThresholds(const ThresholdSettings& settings);

// The containerfs signals are those of the file system that holds the writable layers; what was set for them is
// replaced.
void SetContainerFsThresholds(bool dedicated_image_fs, bool split_image_fs, std::vector<EvictionThreshold>* thresholds);

struct EvictionObservation {
  api::Quantity available, capacity;
};
using EvictionObservations = std::map<EvictionSignal, EvictionObservation>;
EvictionObservations Observe(const NodeUse& use);

// The crossed ones; with `min_reclaim`, those that have not recovered by as much as must be reclaimed.
std::vector<EvictionThreshold> Crossed(const std::vector<EvictionThreshold>& thresholds,
                                       const EvictionObservations& observations, bool min_reclaim);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_EVICTION_THRESHOLDS_H_
