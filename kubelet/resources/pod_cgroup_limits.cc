#include "kubelet/resources/pod_cgroup_limits.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "api/quantity.h"
#include "base/files.h"
#include "kubelet/resources/cgroups.h"
#include "kubelet/resources/pod_resources.h"

namespace skiff::kubelet {
namespace {

constexpr int64_t kMinMilliCpuLimit = 10;

std::optional<int64_t> Number(std::string_view text) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &value)) return std::nullopt;
  return value;
}

std::optional<int64_t> NumberIn(const std::string& path) {
  auto text = ReadFile(path);
  return text.ok() ? Number(*text) : std::nullopt;
}

}  // namespace

PodCgroupLimits Cgroups::ReadPod(const Pod& pod) const {
  PodCgroupLimits out;
  if (!options_.enabled) return out;
  const std::string name = options_.names.Pod(QosClass(pod), pod.metadata().uid());
  const std::string cpu = JoinPath(HierarchyFor("cpu"), name), memory = JoinPath(HierarchyFor("memory"), name);
  if (!v2_) {
    out.cpu_shares = NumberIn(JoinPath(cpu, "cpu.shares"));
    out.cpu_quota = NumberIn(JoinPath(cpu, "cpu.cfs_quota_us"));
    out.cpu_period = NumberIn(JoinPath(cpu, "cpu.cfs_period_us"));
    out.memory = NumberIn(JoinPath(memory, "memory.limit_in_bytes"));
    return out;
  }
  if (auto weight = NumberIn(JoinPath(cpu, "cpu.weight"))) out.cpu_shares = 2 + ((*weight - 1) * 262142) / 9999;
  if (auto text = ReadFile(JoinPath(cpu, "cpu.max")); text.ok()) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(*text, absl::MaxSplits(' ', 1));
    out.cpu_quota = parts.first == "max" ? -1 : Number(parts.first);
    out.cpu_period = Number(parts.second);
  }
  out.memory = NumberIn(JoinPath(memory, "memory.max"));  // "max" is no number
  return out;
}

std::optional<PodMemory> Cgroups::ReadPodMemory(const Pod& pod) const {
  if (!options_.enabled) return std::nullopt;
  const std::string at = JoinPath(HierarchyFor("memory"), options_.names.Pod(QosClass(pod), pod.metadata().uid()));
  return PodMemory{NumberIn(JoinPath(at, v2_ ? "memory.max" : "memory.limit_in_bytes")),
                   NumberIn(JoinPath(at, v2_ ? "memory.current" : "memory.usage_in_bytes"))};
}

int64_t SharesToMilliCpu(int64_t shares) { return shares < kMinShares ? 0 : (shares * 1000 + 1023) / 1024; }

core::ResourceRequirements RunningPodResources(const Pod& pod, const core::PodStatus& before,
                                               const PodCgroupLimits& limits) {
  core::ResourceRequirements out = pod.spec().resources();
  auto milli = [](const auto& list, const char* name) { return Get(list, name).MilliValue(); };
  auto keep = [&](const ResourceList& old, const char* name, ResourceList* list) {
    if (before.phase() != "Running") return;
    if (auto it = old.find(name); it != old.end()) (*list)[name] = it->second;
  };
  ResourceList& requests = *out.mutable_requests();
  ResourceList& most = *out.mutable_limits();
  if (limits.cpu_shares && SharesToMilliCpu(*limits.cpu_shares) > 0) {
    const int64_t cpu = SharesToMilliCpu(*limits.cpu_shares);
    if (cpu > kMinShares || milli(requests, "cpu") > kMinShares) requests["cpu"] = api::Quantity::Milli(cpu).ToProto();
  } else {
    keep(before.resources().requests(), "cpu", &requests);
  }
  if (!requests.contains("memory")) {
    const ResourceList all = PodRequests(pod);
    if (auto it = all.find("memory"); it != all.end()) requests["memory"] = it->second;
  }
  // No cgroup keeps a memory request: the first one shown stays.
  keep(before.resources().requests(), "memory", &requests);
  if (limits.cpu_quota && *limits.cpu_quota > 0 && limits.cpu_period.value_or(0) > 0) {
    const int64_t cpu = *limits.cpu_quota * 1000 / *limits.cpu_period;
    if (cpu > kMinMilliCpuLimit || milli(most, "cpu") > kMinMilliCpuLimit) {
      most["cpu"] = api::Quantity::Milli(cpu).ToProto();
    }
  } else {
    keep(before.resources().limits(), "cpu", &most);
  }
  if (limits.memory && *limits.memory > 0) {
    most["memory"] = api::Quantity::Bytes(*limits.memory).ToProto();
  } else {
    keep(before.resources().limits(), "memory", &most);
  }
  return out;
}

}  // namespace skiff::kubelet
