#include "kubelet/resources/pod_resources.h"

#include <algorithm>
#include <map>

namespace skiff::kubelet {
namespace {

using Amounts = std::map<std::string, api::Quantity, std::less<>>;

Amounts ToAmounts(const ResourceList& list) {
  Amounts out;
  for (const auto& [name, quantity] : list) out[name] = api::Quantity::Of(quantity);
  return out;
}

void AddTo(const Amounts& from, Amounts* to) {
  for (const auto& [name, q] : from) (*to)[name] += q;
}

void RaiseTo(const Amounts& from, Amounts* to) {
  for (const auto& [name, q] : from) {
    auto [it, added] = to->emplace(name, q);
    if (!added && it->second < q) it->second = q;
  }
}

const ResourceList& Part(const core::ResourceRequirements& r, bool limits) {
  return limits ? r.limits() : r.requests();
}

Amounts Aggregate(const Pod& pod, bool limits) {
  Amounts total, sidecars, init_peak;
  for (const auto& c : pod.spec().containers()) AddTo(ToAmounts(Part(c.resources(), limits)), &total);
  for (const auto& c : pod.spec().initcontainers()) {
    Amounts own = ToAmounts(Part(c.resources(), limits));
    if (IsSidecar(c)) {
      AddTo(own, &total);
      AddTo(own, &sidecars);
      own = sidecars;
    } else {
      AddTo(sidecars, &own);
    }
    RaiseTo(own, &init_peak);
  }
  RaiseTo(init_peak, &total);
  for (const auto& [name, quantity] : Part(pod.spec().resources(), limits)) {
    if (name == "cpu" || name == "memory" || name.starts_with("hugepages-")) {
      total[name] = api::Quantity::Of(quantity);
    }
  }
  return total;
}

ResourceList ToList(const Amounts& amounts) {
  ResourceList out;
  for (const auto& [name, q] : amounts) out[name] = q.ToProto();
  return out;
}

}  // namespace

ResourceList PodRequests(const Pod& pod) {
  Amounts total = Aggregate(pod, false);
  AddTo(ToAmounts(pod.spec().overhead()), &total);
  return ToList(total);
}

ResourceList PodLimits(const Pod& pod) {
  Amounts total = Aggregate(pod, true);
  for (const auto& [name, quantity] : pod.spec().overhead()) {
    if (auto it = total.find(name); it != total.end()) it->second += api::Quantity::Of(quantity);
  }
  return ToList(total);
}

core::ResourceRequirements PodLevelResources(const Pod& pod) {
  core::ResourceRequirements out;
  *out.mutable_requests() = PodRequests(pod);
  *out.mutable_limits() = PodLimits(pod);
  return out;
}

api::Quantity Get(const ResourceList& list, std::string_view name) {
  auto it = list.find(std::string(name));
  return it == list.end() ? api::Quantity() : api::Quantity::Of(it->second);
}

int64_t MilliCpuToShares(int64_t milli) {
  if (milli == 0) return kMinShares;
  return std::clamp<int64_t>(milli * 1024 / 1000, kMinShares, kMaxShares);
}

int64_t MilliCpuToQuota(int64_t milli, int64_t period_micros) {
  if (milli == 0) return 0;
  return std::max<int64_t>(milli * period_micros / 1000, kMinQuota);
}

int64_t SharesToWeight(int64_t shares) {
  if (shares == 0) return 0;
  if (shares >= kMaxShares) return 10000;
  return 1 + (std::max(shares, kMinShares) - kMinShares) * 9999 / (kMaxShares - kMinShares);
}

std::string KernelPageSize(std::string_view quantity) {
  const int64_t bytes = api::Quantity::Of(quantity).Value();
  for (auto [shift, unit] : {std::pair{30, "GB"}, {20, "MB"}, {10, "KB"}}) {
    if (bytes > 0 && bytes % (int64_t{1} << shift) == 0) return std::to_string(bytes >> shift) + unit;
  }
  return "";
}

HugePageLimits HugePagesOf(const ResourceList& list) {
  constexpr std::string_view kPrefix = "hugepages-";
  HugePageLimits out;
  for (const auto& [name, quantity] : list) {
    if (!name.starts_with(kPrefix)) continue;
    if (std::string size = KernelPageSize(name.substr(kPrefix.size())); !size.empty()) {
      out[size] += api::Quantity::Of(quantity).Value();
    }
  }
  return out;
}

CgroupResources PodCgroupResources(const Pod& pod, bool cfs_quota, int64_t period_micros, int64_t pids_limit) {
  CgroupResources out;
  if (pids_limit > 0) out.pids_limit = pids_limit;
  out.huge_pages = HugePagesOf(PodRequests(pod));
  std::string_view qos = QosClass(pod);
  if (qos == "BestEffort") {
    out.cpu_shares = kMinShares;
    return out;
  }
  bool cpu_declared = true, memory_declared = true;
  auto look = [&](const core::ResourceRequirements& r) {
    if (Get(r.limits(), "cpu").IsZero()) cpu_declared = false;
    if (Get(r.limits(), "memory").IsZero()) memory_declared = false;
  };
  for (const auto& c : pod.spec().containers()) look(c.resources());
  for (const auto& c : pod.spec().initcontainers()) look(c.resources());
  if (!Get(pod.spec().resources().limits(), "cpu").IsZero()) cpu_declared = true;
  if (!Get(pod.spec().resources().limits(), "memory").IsZero()) memory_declared = true;

  ResourceList limits = PodLimits(pod);
  out.cpu_shares = MilliCpuToShares(Get(PodRequests(pod), "cpu").MilliValue());
  if (qos == "Guaranteed" || cpu_declared) {
    out.cpu_quota = cfs_quota ? MilliCpuToQuota(Get(limits, "cpu").MilliValue(), period_micros) : -1;
    out.cpu_period = period_micros;
  }
  if (qos == "Guaranteed" || memory_declared) out.memory_limit = Get(limits, "memory").Value();
  return out;
}

int OomScoreAdjust(const Pod& pod, const core::Container& container, int64_t memory_capacity) {
  constexpr int kGuaranteed = -997, kBestEffort = 1000;
  if (IsCritical(pod) && pod.spec().priorityclassname() == "system-node-critical") return kGuaranteed;
  std::string_view qos = QosClass(pod);
  if (qos == "Guaranteed") return kGuaranteed;
  if (qos == "BestEffort" || memory_capacity <= 0) return kBestEffort;

  auto request = [](const core::Container& c) { return Get(c.resources().requests(), "memory").Value(); };
  int64_t share = 0;  // of a pod-level request that containers do not name
  if (int64_t pod_request = Get(pod.spec().resources().requests(), "memory").Value(); pod_request > 0) {
    int64_t named = 0, count = 0;
    for (const auto& c : pod.spec().containers()) named += request(c), ++count;
    for (const auto& c : pod.spec().initcontainers()) {
      if (IsSidecar(c)) named += request(c), ++count;
    }
    share = std::max<int64_t>(0, (pod_request - named) / std::max<int64_t>(1, count));
  }
  int64_t score = 1000 - 1000 * (request(container) + share) / memory_capacity;
  for (const auto& init : pod.spec().initcontainers()) {
    if (init.name() != container.name() || !IsSidecar(init)) continue;
    int64_t least = INT64_MAX;  // a sidecar dies no earlier than what it serves
    for (const auto& c : pod.spec().containers()) least = std::min(least, request(c));
    if (least != INT64_MAX) score = std::min(score, 1000 - 1000 * (least + share) / memory_capacity);
  }
  if (score < 1000 + kGuaranteed) return 1000 + kGuaranteed;
  if (score == kBestEffort) return kBestEffort - 1;
  return static_cast<int>(score);
}

}  // namespace skiff::kubelet
