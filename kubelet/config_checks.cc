#include "kubelet/config_checks.h"

#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/flags.h"
#include "base/go_text.h"

namespace skiff::kubelet {

StatusOr<int> CountCpus(std::string_view list) {
  std::set<int> cpus;
  for (std::string_view part : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    const std::pair<std::string_view, std::string_view> ends = absl::StrSplit(part, absl::MaxSplits('-', 1));
    const bool range = part.find('-') != std::string_view::npos;
    int first = 0, last = 0;
    for (auto [text, value] : {std::pair{ends.first, &first}, {range ? ends.second : ends.first, &last}}) {
      if (!absl::SimpleAtoi(text, value) || *value < 0) {
        return InvalidArgument("strconv.Atoi: parsing ", GoQuote(text), ": invalid syntax");
      }
    }
    if (last < first) return InvalidArgument("invalid range ", GoQuote(part), " (", last, " < ", first, ")");
    if (last - first > 65535) return InvalidArgument("range ", GoQuote(part), " is too large");
    for (int cpu = first; cpu <= last; ++cpu) cpus.insert(cpu);
  }
  return static_cast<int>(cpus.size());
}

void CheckResourceSettings(const Config& c, std::vector<std::string>* problems) {
  auto add = [&](const auto&... parts) { problems->push_back(absl::StrCat("invalid configuration: ", parts...)); };
  auto percent = [&](const char* what, int64_t value) {
    if (value < 0 || value > 100) add(what, " ", value, " must be between 0 and 100, inclusive");
  };
  percent("imageGCHighThresholdPercent (--image-gc-high-threshold)", c.image_gc_high_threshold_percent);
  percent("imageGCLowThresholdPercent (--image-gc-low-threshold)", c.image_gc_low_threshold_percent);
  if (c.image_gc_low_threshold_percent >= c.image_gc_high_threshold_percent) {
    add("imageGCLowThresholdPercent (--image-gc-low-threshold) ", c.image_gc_low_threshold_percent,
        " must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) ",
        c.image_gc_high_threshold_percent);
  }
  if (c.image_minimum_gc_age.count() < 0) {
    add("imageMinimumGCAge ", FormatDuration(c.image_minimum_gc_age), " must not be negative");
  }
  if (c.image_maximum_gc_age.count() < 0) {
    add("imageMaximumGCAge ", FormatDuration(c.image_maximum_gc_age), " must not be negative");
  }
  if (c.image_maximum_gc_age.count() > 0 && c.image_maximum_gc_age <= c.image_minimum_gc_age) {
    add("imageMaximumGCAge ", FormatDuration(c.image_maximum_gc_age), " must be greater than imageMinimumGCAge ",
        FormatDuration(c.image_minimum_gc_age));
  }
  if (c.node_status_max_images < -1) {
    add("nodeStatusMaxImages (--node-status-max-images) ", c.node_status_max_images, " must be -1 or greater");
  }
  if (c.cpu_cfs_quota_period < std::chrono::milliseconds(1) || c.cpu_cfs_quota_period > std::chrono::seconds(1)) {
    add("cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {", FormatDuration(c.cpu_cfs_quota_period),
        "} must be between 1ms and 1sec, inclusive");
  }
  if (c.user_namespace_ids < 65536) {
    add("userNamespaces.idsPerPod must not be less than 65536");
  } else if (c.user_namespace_ids % 65536 != 0) {
    add("userNamespaces.idsPerPod must be a multiple of 65536");
  } else if (c.user_namespace_ids > 0xffffffff) {
    add("userNamespaces.idsPerPod must not be more than 4294967295");
  }
  const std::string& swap = c.memory_swap_behavior;
  if (!swap.empty() && swap != "NoSwap" && swap != "LimitedSwap") {
    add("memorySwap.swapBehavior ", GoQuote(swap), " must be one of: \"\", \"LimitedSwap\" or \"NoSwap\"");
  }
  if (c.memory_throttling_factor <= 0 || c.memory_throttling_factor > 1) {
    add("memoryThrottlingFactor ", GoFloat(c.memory_throttling_factor),
        " must be greater than 0 and less than or equal to 1.0");
  }
  std::set<std::string> enforced;
  for (const std::string& key : c.enforce_node_allocatable) {
    if (!enforced.insert(key).second) {
      add("duplicated enforcements ", GoQuote(key), " in enforceNodeAllocatable (--enforce-node-allocatable)");
    }
  }
  for (const char* whose : {"system", "kube"}) {
    const std::string all = absl::StrCat(whose, "-reserved"), part = absl::StrCat(all, "-compressible");
    if (!enforced.contains(all) && !enforced.contains(part)) continue;
    if (enforced.contains(all) && enforced.contains(part)) {
      add("both ", GoQuote(part), " and ", GoQuote(all),
          " cannot be specified together in enforceNodeAllocatable (--enforce-node-allocatable)");
    }
    if ((whose[0] == 's' ? c.system_reserved_cgroup : c.kube_reserved_cgroup).empty()) {
      add(whose, "ReservedCgroup (--", whose, "-reserved-cgroup) must be specified when ", GoQuote(all), " or ",
          GoQuote(part), " included in enforceNodeAllocatable (--enforce-node-allocatable)");
    }
  }
  if (enforced.contains("none") && enforced.size() > 1) {
    add("enforceNodeAllocatable (--enforce-node-allocatable) may not contain additional enforcements when \"none\" is "
        "specified");
  }
  for (const std::string& key : enforced) {
    if (key != "none" && !c.cgroups_per_qos) {
      add("cgroupsPerQOS (--cgroups-per-qos) must be set to true when ", GoQuote(key),
          " contained in enforceNodeAllocatable (--enforce-node-allocatable)");
    }
  }
  if (!c.reserved_system_cpus.empty()) {
    if (!c.system_reserved_cgroup.empty() || !c.kube_reserved_cgroup.empty()) {
      add("can't use reservedSystemCPUs (--reserved-cpus) with systemReservedCgroup (--system-reserved-cgroup) or "
          "kubeReservedCgroup (--kube-reserved-cgroup)");
    }
    if (auto count = CountCpus(c.reserved_system_cpus); !count.ok()) {
      add("unable to parse reservedSystemCPUs (--reserved-cpus) ", c.reserved_system_cpus,
          ", error: ", count.status().message());
    }
  }
  // What upstream can and this kubelet cannot: better no kubelet than pods that believe to have CPUs of their own.
  auto only_none = [&](const char* field, const std::string& policy, std::string_view none) {
    if (!policy.empty() && policy != none) {
      add(field, " ", GoQuote(policy), " is not supported by this kubelet, only ", GoQuote(none), " is");
    }
  };
  only_none("cpuManagerPolicy (--cpu-manager-policy)", c.cpu_manager_policy, "none");
  only_none("memoryManagerPolicy (--memory-manager-policy)", c.memory_manager_policy, "None");
  only_none("topologyManagerPolicy (--topology-manager-policy)", c.topology_manager_policy, "none");
  if (c.shutdown_grace_period.count() > 0) {
    add("shutdownGracePeriod ", FormatDuration(c.shutdown_grace_period),
        " is not supported by this kubelet, only 0s is");
  }
}

}  // namespace skiff::kubelet
