#include "kubelet/eviction/thresholds.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/flags.h"
#include "base/go_text.h"

namespace skiff::kubelet {
namespace {

using Signal = EvictionSignal;

struct SignalInfo {
  Signal signal;
  std::string_view name, resource, condition;
};

constexpr SignalInfo kSignals[] = {
    {Signal::kMemoryAvailable, "memory.available", "memory", "MemoryPressure"},
    {Signal::kAllocatableMemoryAvailable, "allocatableMemory.available", "memory", "MemoryPressure"},
    {Signal::kNodeFsAvailable, "nodefs.available", "ephemeral-storage", "DiskPressure"},
    {Signal::kNodeFsInodesFree, "nodefs.inodesFree", "inodes", "DiskPressure"},
    {Signal::kImageFsAvailable, "imagefs.available", "ephemeral-storage", "DiskPressure"},
    {Signal::kImageFsInodesFree, "imagefs.inodesFree", "inodes", "DiskPressure"},
    {Signal::kContainerFsAvailable, "containerfs.available", "ephemeral-storage", "DiskPressure"},
    {Signal::kContainerFsInodesFree, "containerfs.inodesFree", "inodes", "DiskPressure"},
    {Signal::kPidAvailable, "pid.available", "pids", "PIDPressure"},
};

const SignalInfo& InfoOf(Signal signal) {
  return *std::find_if(std::begin(kSignals), std::end(kSignals), [&](const auto& i) { return i.signal == signal; });
}

StatusOr<Signal> SignalNamed(std::string_view name) {
  for (const SignalInfo& info : kSignals) {
    if (info.name == name) return info.signal;
  }
  return InvalidArgument("unsupported eviction signal ", name);
}

StatusOr<float> Percentage(std::string_view text) {
  std::string_view number = text;
  while (number.ends_with("%")) number.remove_suffix(1);
  float percent = 0;
  if (!absl::SimpleAtof(number, &percent)) {
    return InvalidArgument("strconv.ParseFloat: parsing ", GoQuote(number), ": invalid syntax");
  }
  return percent / 100;
}

StatusOr<std::vector<EvictionThreshold>> ParseAll(const ThresholdSettings::Map& settings) {
  std::vector<EvictionThreshold> out;
  for (const auto& [name, text] : settings) {
    EvictionThreshold threshold;
    ASSIGN_OR_RETURN(threshold.signal, SignalNamed(name));
    if (text == "0%" || text == "100%") continue;
    if (text.ends_with("%")) {
      ASSIGN_OR_RETURN(threshold.value.percentage, Percentage(text));
      if (threshold.value.percentage < 0) {
        return InvalidArgument("eviction percentage threshold ", name, " must be >= 0%: ", text);
      }
      if (threshold.value.percentage > 1) {
        return InvalidArgument("eviction percentage threshold ", name, " must be <= 100%: ", text);
      }
    } else {
      ASSIGN_OR_RETURN(threshold.value.quantity, api::Quantity::Parse(text));
      if (threshold.value.quantity->Sign() <= 0) {
        return InvalidArgument("eviction threshold ", name,
                               " must be positive: ", threshold.value.quantity->ToString());
      }
    }
    out.push_back(std::move(threshold));
  }
  return out;
}

}  // namespace

std::string_view SignalName(Signal signal) { return InfoOf(signal).name; }
std::string_view StarvedResource(Signal signal) { return InfoOf(signal).resource; }
std::string_view PressureCondition(Signal signal) { return InfoOf(signal).condition; }

api::Quantity ThresholdValue::Of(const api::Quantity& capacity) const {
  if (quantity) return *quantity;
  return api::Quantity::Bytes(
      static_cast<int64_t>(static_cast<double>(capacity.Value()) * static_cast<double>(percentage)));
}

bool ThresholdValue::operator==(const ThresholdValue& other) const {
  if (quantity.has_value() != other.quantity.has_value()) return false;
  return quantity ? *quantity == *other.quantity : percentage == other.percentage;
}

StatusOr<std::vector<EvictionThreshold>> ParseThresholds(const ThresholdSettings& settings) {
  ASSIGN_OR_RETURN(std::vector<EvictionThreshold> out, ParseAll(settings.hard));
  ASSIGN_OR_RETURN(std::vector<EvictionThreshold> soft, ParseAll(settings.soft));
  std::map<Signal, std::chrono::nanoseconds> graces;
  for (const auto& [name, text] : settings.soft_grace) {
    ASSIGN_OR_RETURN(Signal signal, SignalNamed(name));
    ASSIGN_OR_RETURN(graces[signal], ParseDuration(text));
    if (graces[signal].count() < 0) {
      return InvalidArgument("invalid eviction grace period specified: ", text, ", must be a positive value");
    }
  }
  std::map<Signal, ThresholdValue> reclaims;
  for (const auto& [name, text] : settings.min_reclaim) {
    ASSIGN_OR_RETURN(Signal signal, SignalNamed(name));
    ThresholdValue& value = reclaims[signal];
    if (text.ends_with("%")) {
      ASSIGN_OR_RETURN(value.percentage, Percentage(text));
      if (value.percentage <= 0) {
        return InvalidArgument("eviction percentage minimum reclaim ", name, " must be positive: ", text);
      }
    } else {
      ASSIGN_OR_RETURN(value.quantity, api::Quantity::Parse(text));
      if (value.quantity->Sign() < 0) {
        return InvalidArgument("negative eviction minimum reclaim specified for ", name);
      }
    }
  }
  for (EvictionThreshold& threshold : soft) {
    auto grace = graces.find(threshold.signal);
    if (grace == graces.end()) {
      return InvalidArgument("grace period must be specified for the soft eviction threshold ",
                             SignalName(threshold.signal));
    }
    threshold.grace = grace->second;
    out.push_back(std::move(threshold));
  }
  for (EvictionThreshold& threshold : out) {
    if (auto it = reclaims.find(threshold.signal); it != reclaims.end()) threshold.min_reclaim = it->second;
  }
  if (settings.allocatable) {
    std::vector<EvictionThreshold> more;
    for (const EvictionThreshold& threshold : out) {
      if (threshold.signal != Signal::kMemoryAvailable || !threshold.hard()) continue;
      more.push_back(threshold);
      more.back().signal = Signal::kAllocatableMemoryAvailable;
    }
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

void SetContainerFsThresholds(bool dedicated_image_fs, bool split_image_fs,
                              std::vector<EvictionThreshold>* thresholds) {
  std::erase_if(*thresholds, [](const EvictionThreshold& t) {
    return t.signal == Signal::kContainerFsAvailable || t.signal == Signal::kContainerFsInodesFree;
  });
  const bool with_images = dedicated_image_fs && !split_image_fs;
  std::vector<EvictionThreshold> more;
  for (const EvictionThreshold& threshold : *thresholds) {
    const bool bytes = threshold.signal == (with_images ? Signal::kImageFsAvailable : Signal::kNodeFsAvailable);
    const bool inodes = threshold.signal == (with_images ? Signal::kImageFsInodesFree : Signal::kNodeFsInodesFree);
    if (!bytes && !inodes) continue;
    more.push_back(threshold);
    more.back().signal = bytes ? Signal::kContainerFsAvailable : Signal::kContainerFsInodesFree;
  }
  thresholds->insert(thresholds->end(), more.begin(), more.end());
}

EvictionObservations Observe(const NodeUse& use) {
  EvictionObservations out;
  auto bytes = [](uint64_t n) { return api::Quantity::Bytes(static_cast<int64_t>(n)); };
  auto count = [](int64_t n) { return api::Quantity(n); };
  if (use.node) {
    out[Signal::kMemoryAvailable] = {bytes(use.node->available), bytes(use.node->available + use.node->working_set)};
  }
  if (use.pods) {
    out[Signal::kAllocatableMemoryAvailable] = {bytes(use.pods->available),
                                                bytes(use.pods->available + use.pods->working_set)};
  }
  auto fs = [&](const std::optional<FsUse>& f, Signal available, Signal inodes) {
    if (!f) return;
    out[available] = {bytes(f->available), bytes(f->capacity)};
    // Some file systems (btrfs) make inodes as they are needed and count none.
    if (f->inodes > 0) {
      out[inodes] = {count(static_cast<int64_t>(f->inodes_free)), count(static_cast<int64_t>(f->inodes))};
    }
  };
  fs(use.node_fs, Signal::kNodeFsAvailable, Signal::kNodeFsInodesFree);
  fs(use.image_fs, Signal::kImageFsAvailable, Signal::kImageFsInodesFree);
  fs(use.container_fs, Signal::kContainerFsAvailable, Signal::kContainerFsInodesFree);
  if (use.pids) out[Signal::kPidAvailable] = {count(use.pids->most - use.pids->running), count(use.pids->most)};
  return out;
}

std::vector<EvictionThreshold> Crossed(const std::vector<EvictionThreshold>& thresholds,
                                       const EvictionObservations& observations, bool min_reclaim) {
  std::vector<EvictionThreshold> out;
  for (const EvictionThreshold& threshold : thresholds) {
    auto seen = observations.find(threshold.signal);
    if (seen == observations.end()) continue;
    api::Quantity least = threshold.value.Of(seen->second.capacity);
    if (min_reclaim && threshold.min_reclaim) least += threshold.min_reclaim->Of(seen->second.capacity);
    if (least > seen->second.available) out.push_back(threshold);
  }
  return out;
}

}  // namespace skiff::kubelet
