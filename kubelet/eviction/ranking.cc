#include "kubelet/eviction/ranking.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/go_text.h"
#include "kubelet/resources/pod_resources.h"

namespace skiff::kubelet {
namespace {

using Signal = EvictionSignal;

struct Parts {
  bool rootfs = false, logs = false, volumes = false;
};

// What of a pod's disk lies on the file system that is short.
Parts PartsOf(Signal signal, const NodeUse& use) {
  const bool images =
      signal == Signal::kImageFsAvailable || signal == Signal::kImageFsInodesFree ||
      (!use.split_image_fs && (signal == Signal::kContainerFsAvailable || signal == Signal::kContainerFsInodesFree));
  if (use.dedicated_image_fs && !use.split_image_fs) {
    return images ? Parts{.rootfs = true} : Parts{.logs = true, .volumes = true};
  }
  if (use.dedicated_image_fs && images) return {};
  return {.rootfs = true, .logs = true, .volumes = true};
}

bool IsLocal(const core::Volume& volume) {
  const auto& source = volume.volumesource();
  return source.has_hostpath() || source.has_configmap() ||
         (source.has_emptydir() && source.emptydir().medium().empty());
}

DiskUse DiskOf(const Pod& pod, const PodUse& use, const Parts& parts) {
  DiskUse out;
  for (const ContainerUse& c : use.containers) {
    if (parts.rootfs && c.rootfs) out += *c.rootfs;
    if (parts.logs && c.logs) out += *c.logs;
  }
  if (!parts.volumes) return out;
  for (const auto& volume : pod.spec().volumes()) {
    auto it = use.volumes.find(volume.name());
    if (it != use.volumes.end() && IsLocal(volume)) out += it->second;
  }
  return out;
}

// What a pod is judged by; computed once a pod.
struct Rank {
  PodPtr pod;
  bool known = false, exceeds = false;
  int32_t priority = 0;
  __int128 above = 0;  // of its request

  // Victims first.
  static bool Before(const Rank& a, const Rank& b) {
    if (a.known != b.known) return !a.known;
    if (a.known && a.exceeds != b.exceeds) return a.exceeds;
    if (a.priority != b.priority) return a.priority < b.priority;
    return a.known && a.above > b.above;
  }
};

const core::Container* FindWithRequests(const Pod& pod, std::string_view name) {
  for (const auto* list : {&pod.spec().containers(), &pod.spec().initcontainers()}) {
    for (const auto& c : *list) {
      if (c.name() == name) return &c;
    }
  }
  return nullptr;
}

}  // namespace

void RankForEviction(Signal signal, const NodeUse& use, std::vector<PodPtr>* pods) {
  const std::string_view resource = StarvedResource(signal);
  std::vector<Rank> ranks;
  for (PodPtr& pod : *pods) {
    Rank rank;
    rank.priority = pod->spec().priority();
    auto it = use.by_pod.find(pod->metadata().uid());
    if (it != use.by_pod.end()) {
      const PodUse& own = it->second;
      rank.known = true;
      const ResourceList requests = PodRequests(*pod);
      if (resource == "memory") {
        const auto used = static_cast<int64_t>(own.memory.value_or(0));
        const int64_t asked = Get(requests, "memory").Value();
        rank.exceeds = used > asked;
        rank.above = __int128{used} - asked;
      } else if (resource == "pids") {
        rank.above = own.processes;
      } else {
        const DiskUse disk = DiskOf(*pod, own, PartsOf(signal, use));
        const bool inodes = resource == "inodes";
        const auto used = static_cast<int64_t>(inodes ? disk.inodes : disk.bytes);
        const int64_t asked = Get(requests, "ephemeral-storage").Value();
        // Nobody can ask for inodes: who has any takes too many.
        rank.exceeds = used > (inodes ? 0 : asked);
        rank.above = __int128{used} - asked;
      }
    }
    rank.pod = std::move(pod);
    ranks.push_back(std::move(rank));
  }
  std::stable_sort(ranks.begin(), ranks.end(), Rank::Before);
  for (size_t i = 0; i < ranks.size(); ++i) (*pods)[i] = std::move(ranks[i].pod);
}

EvictionReport DescribeEviction(std::string_view resource, const Pod& pod, const NodeUse& use,
                                const std::vector<EvictionThreshold>& thresholds,
                                const EvictionObservations& observations) {
  EvictionReport out;
  out.message = absl::StrCat("The node was low on resource: ", resource, ". ");
  for (const EvictionThreshold& threshold : thresholds) {
    auto seen = observations.find(threshold.signal);
    if (StarvedResource(threshold.signal) != resource || seen == observations.end()) continue;
    absl::StrAppend(&out.message, "Threshold quantity: ", threshold.value.Of(seen->second.capacity).ToString(),
                    ", available: ", seen->second.available.ToString(), ". ");
    break;
  }
  auto it = use.by_pod.find(pod.metadata().uid());
  if (it == use.by_pod.end()) return out;
  const PodUse& own = it->second;
  auto bytes = [](uint64_t n) { return api::Quantity::Bytes(static_cast<int64_t>(n)).ToString(); };
  if (resource == "memory" && own.memory) {
    const auto& requests = pod.spec().resources().requests();
    if (auto request = requests.find("memory"); request != requests.end()) {
      absl::StrAppend(&out.message, "Pod ", pod.metadata().name(), " was using ", bytes(*own.memory), ", request is ",
                      api::Quantity::Of(request->second).ToString(), ", has larger consumption of ", resource, ". ");
      out.annotations["offending_pod"] = pod.metadata().name();
      out.annotations["offending_pod_usage"] = bytes(*own.memory);
    }
  }
  std::vector<std::string> names, usages;
  for (const ContainerUse& c : own.containers) {
    const core::Container* spec = FindWithRequests(pod, c.name);
    if (spec == nullptr) continue;
    std::optional<uint64_t> used;
    if (resource == "memory") used = c.memory;
    if (resource == "ephemeral-storage" && c.rootfs && c.logs) used = c.rootfs->bytes + c.logs->bytes;
    const api::Quantity request = Get(spec->resources().requests(), resource);
    if (!used || api::Quantity::Bytes(static_cast<int64_t>(*used)) <= request) continue;
    absl::StrAppend(&out.message, "Container ", c.name, " was using ", bytes(*used), ", request is ",
                    request.ToString(), ", has larger consumption of ", resource, ". ");
    names.push_back(c.name);
    usages.push_back(bytes(*used));
  }
  out.annotations["offending_containers"] = absl::StrJoin(names, ",");
  out.annotations["offending_containers_usage"] = absl::StrJoin(usages, ",");
  out.annotations["starved_resource"] = std::string(resource);
  return out;
}

bool HasLocalStorageLimits(const Pod& pod) {
  for (const auto& volume : pod.spec().volumes()) {
    if (volume.volumesource().has_emptydir() && volume.volumesource().emptydir().has_sizelimit()) return true;
  }
  return PodLimits(pod).contains("ephemeral-storage");
}

std::optional<LocalStorageExcess> FindLocalStorageExcess(const Pod& pod, const PodUse& use, bool dedicated_image_fs) {
  auto bytes = [](uint64_t n) { return api::Quantity::Bytes(static_cast<int64_t>(n)); };
  for (const auto& volume : pod.spec().volumes()) {
    if (!volume.volumesource().has_emptydir()) continue;
    const auto& source = volume.volumesource().emptydir();
    auto used = use.volumes.find(volume.name());
    if (!source.has_sizelimit() || used == use.volumes.end()) continue;
    const api::Quantity limit = api::Quantity::Of(source.sizelimit());
    if (limit.Sign() > 0 && bytes(used->second.bytes) > limit) {
      return LocalStorageExcess{absl::StrCat("Usage of EmptyDir volume ", GoQuote(volume.name()), " exceeds the limit ",
                                             GoQuote(limit.ToString()), ". "),
                                "emptydirfs.limit"};
    }
  }
  const ResourceList limits = PodLimits(pod);
  if (auto it = limits.find("ephemeral-storage"); it != limits.end()) {
    const api::Quantity limit = api::Quantity::Of(it->second);
    if (bytes(use.ephemeral.bytes) > limit) {
      return LocalStorageExcess{absl::StrCat("Pod ephemeral local storage usage exceeds the total limit of containers ",
                                             limit.ToString(), ". "),
                                "ephemeralpodfs.limit"};
    }
  }
  for (const ContainerUse& c : use.containers) {
    for (const auto& spec : pod.spec().containers()) {
      if (spec.name() != c.name) continue;
      const api::Quantity limit = Get(spec.resources().limits(), "ephemeral-storage");
      if (limit.IsZero()) continue;
      uint64_t used = c.logs ? c.logs->bytes : 0;
      if (!dedicated_image_fs && c.rootfs) used += c.rootfs->bytes;
      if (bytes(used) > limit) {
        return LocalStorageExcess{absl::StrCat("Container ", c.name, " exceeded its local ephemeral storage limit ",
                                               GoQuote(limit.ToString()), ". "),
                                  "ephemeralcontainerfs.limit"};
      }
    }
  }
  return std::nullopt;
}

}  // namespace skiff::kubelet
