// Readings of many containers. Holds the last two CPU readings a cgroup, no other history. Not thread-safe: one caller
// at a time (a sweep may run on the blocking pool while nobody else uses the collector). Blocking.
#ifndef SKIFF_CADVISOR_COLLECTOR_H_
#define SKIFF_CADVISOR_COLLECTOR_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cadvisor/cgroup.h"
#include "cadvisor/host.h"
#include "cadvisor/machine.h"
#include "cadvisor/stats.h"

namespace skiff::cadvisor {

// Who a cgroup belongs to; the labels of its metrics. All but `cgroup` may be empty.
struct ContainerRecord {
  std::string cgroup;     // "/", "/kubepods", "/kubepods/burstable/pod<uid>/<container id>"; the metrics' id
  std::string name;       // the runtime's id of the container or sandbox
  std::string image;      // as the pod names it
  std::string container;  // name in the pod; "" for sandboxes and cgroups that are no container
  std::string pod, namespace_;
  // A process in the network namespace that this record accounts for: the sandbox's for a sandbox, 1 for the machine,
  // 0 for containers (they share the sandbox's).
  pid_t network_pid = 0;
};

class Collector {
 public:
  // `host` and `cgroups` must outlive the collector.
  Collector(const Host& host, const CgroupTree& cgroups, Clock& clock = Clock::Real());

  // Everything about one container now. Its CPU rate is taken against the last reading that is at least a second old.
  // File systems are filled for "/" only. The network of a process that has ended is empty.
  StatusOr<ContainerStats> Read(const ContainerRecord& record);
  // CPU, memory and the CPU rate only; cheap enough for every few seconds.
  StatusOr<ContainerStats> ReadCpuAndMemory(const std::string& cgroup);
  // Drops what is held of cgroups that are not named: call it after a sweep with the cgroups that exist.
  void Retain(const std::set<std::string>& cgroups);

 private:
  struct Reading {
    SteadyTime time{};
    uint64_t usage_ns = 0;
  };
  struct History {
    Reading older, newer;
    bool has_older = false;
  };
  std::optional<uint64_t> Rate(const std::string& cgroup, uint64_t usage_ns);

  const Host& host_;
  const CgroupTree& cgroups_;
  Clock& clock_;
  std::map<std::string, History> history_;
  std::map<std::pair<uint32_t, uint32_t>, std::string> device_names_;
};

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_COLLECTOR_H_
