#include "kubelet/stats/readers.h"

#include <set>

namespace skiff::kubelet {

std::vector<cadvisor::ContainerRecord> RecordsOf(const Readers& readers, const NodeSource& source) {
  std::vector<cadvisor::ContainerRecord> records;
  std::set<std::string> seen;
  const auto add = [&](cadvisor::ContainerRecord record) {
    if (!record.cgroup.empty() && seen.insert(record.cgroup).second) records.push_back(std::move(record));
  };
  cadvisor::ContainerRecord machine;
  machine.cgroup = "/";
  machine.network_pid = 1;
  add(std::move(machine));
  for (const PodSource& pod : source.pods) {
    cadvisor::ContainerRecord base;
    base.pod = pod.name;
    base.namespace_ = pod.namespace_;
    cadvisor::ContainerRecord record = base;
    record.cgroup = pod.cgroup;
    add(std::move(record));
    record = base;
    record.cgroup = pod.sandbox_cgroup;
    record.name = pod.sandbox_id;
    record.image = pod.sandbox_image;
    // The sandbox' process holds the network namespace of all its pod's containers.
    if (const auto pids = readers.cgroups.Pids(pod.sandbox_cgroup); pids.ok() && !pids->empty()) {
      record.network_pid = pids->front();
    }
    add(std::move(record));
    for (const ContainerSource& container : pod.containers) {
      record = base;
      record.cgroup = container.cgroup;
      record.name = container.id;
      record.image = container.image;
      record.container = container.name;
      add(std::move(record));
    }
  }
  const auto add_plain = [&](const std::string& cgroup) {
    cadvisor::ContainerRecord record;
    record.cgroup = cgroup;
    add(std::move(record));
  };
  for (const std::string& cgroup : source.cgroups) add_plain(cgroup);
  for (const NodeSource::System& system : source.system) {
    add_plain(system.cgroup);
    // Upstream shows what is below them as well; below the root that would be the whole machine.
    if (system.name == "pods" || system.cgroup == "/") continue;
    const auto below = readers.cgroups.List(system.cgroup);
    if (!below.ok()) continue;
    for (const std::string& cgroup : *below) add_plain(cgroup);
  }
  return records;
}

std::optional<uint64_t> SwapLimit(const Readers& readers, const cadvisor::CgroupSpec& spec) {
  constexpr uint64_t kUnlimited = uint64_t{1} << 62;
  if (readers.cgroups.version() == cadvisor::CgroupTree::Version::kV2) {
    if (spec.memory_swap_limit > kUnlimited) return std::nullopt;
    return spec.memory_swap_limit;
  }
  // v1 limits memory and swap together.
  if (spec.memory_swap_limit > kUnlimited || spec.memory_limit > kUnlimited) return std::nullopt;
  return spec.memory_swap_limit > spec.memory_limit ? spec.memory_swap_limit - spec.memory_limit : 0;
}

}  // namespace skiff::kubelet
