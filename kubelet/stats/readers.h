// What the three endpoints read from. One user at a time.
#ifndef SKIFF_KUBELET_STATS_READERS_H_
#define SKIFF_KUBELET_STATS_READERS_H_

#include <string>

#include "cadvisor/collector.h"
#include "cadvisor/filesystem.h"
#include "kubelet/stats/node_stats.h"

namespace skiff::kubelet {

struct Readers {
  Readers(cadvisor::Host h, cadvisor::CgroupTree c)
      : host(std::move(h)), cgroups(std::move(c)), collector(host, cgroups) {}
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  const cadvisor::Host host;
  const cadvisor::CgroupTree cgroups;
  cadvisor::Collector collector;
};

std::string SummaryJson(Readers& readers, const NodeSource& source, bool only_cpu_and_memory);
std::string ResourceText(Readers& readers, const NodeSource& source);
// The records of everything in `source`: the machine, its cgroups, pods, sandboxes and containers.
std::vector<cadvisor::ContainerRecord> RecordsOf(const Readers& readers, const NodeSource& source);

// How much swap a cgroup may take, none where it may take any amount.
std::optional<uint64_t> SwapLimit(const Readers& readers, const cadvisor::CgroupSpec& spec);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_STATS_READERS_H_
