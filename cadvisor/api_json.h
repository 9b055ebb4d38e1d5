// The answers of the program's REST API (version 1.3), in upstream's field names (google/cadvisor info/v1). Pure.
#ifndef SKIFF_CADVISOR_API_JSON_H_
#define SKIFF_CADVISOR_API_JSON_H_

#include <chrono>
#include <string>
#include <vector>

#include "cadvisor/machine.h"
#include "cadvisor/stats.h"

namespace skiff::cadvisor {

std::string MachineJson(const MachineInfo& machine, const std::vector<FsStats>& filesystems,
                        std::chrono::system_clock::time_point now);
// A cgroup, the names of those directly below it, and one reading.
std::string ContainerJson(const std::string& cgroup, const std::vector<std::string>& subcontainers,
                          const ContainerStats& stats);
std::string VersionJson(const MachineInfo& machine, const std::string& version);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_API_JSON_H_
