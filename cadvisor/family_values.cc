#include "cadvisor/family_values.h"

#include <algorithm>
#include <chrono>
#include <string>

namespace skiff::cadvisor::family {
namespace {

uint64_t Operation(const DiskIo::Operations& operations, std::string_view name) {
  for (const auto& [operation, count] : operations) {
    if (operation == name) return count;
  }
  return 0;
}

}  // namespace

void LastSeen(const R&, Sink& s) { s.Add(D(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()))); }

void TaskStates(const R&, Sink& s) {
  for (const char* state : {"iowaiting", "running", "sleeping", "stopped", "uninterruptible"})
    s.Add(0, {{"state", state}});
}

void MemoryFailures(const R& r, Sink& s) {
  const MemoryStats& m = r.stats.cgroup.memory;
  for (const char* scope : {"container", "hierarchy"}) {
    s.Add(D(m.pgfault), {{"failure_type", "pgfault"}, {"scope", scope}});
    s.Add(D(m.pgmajfault), {{"failure_type", "pgmajfault"}, {"scope", scope}});
  }
}

void Filesystems(const R& r, Sink& s, double (*value)(const FsStats&)) {
  for (const FsStats& fs : r.stats.filesystems) s.Add(value(fs), {{"device", fs.device}});
}

void Io(const R& r, Sink& s, DiskIo::Operations DiskIo::*field, std::string_view operation, double divisor,
        double (*fs_value)(const FsStats&)) {
  std::vector<std::pair<std::string_view, double>> sums;
  for (const DiskIo& io : r.stats.cgroup.io.devices) {
    if ((io.*field).empty()) continue;
    const double value = D(Operation(io.*field, operation)) / divisor;
    const auto it = std::find_if(sums.begin(), sums.end(), [&](const auto& sum) { return sum.first == io.device; });
    if (it == sums.end()) {
      sums.emplace_back(io.device, value);
    } else {
      it->second += value;
    }
  }
  for (const auto& [device, value] : sums) s.Add(value, {{"device", device}});
  if (fs_value == nullptr) return;
  for (const FsStats& fs : r.stats.filesystems) {
    if (std::any_of(sums.begin(), sums.end(), [&](const auto& sum) { return sum.first == fs.device; })) continue;
    s.Add(fs_value(fs), {{"device", fs.device}});
  }
}

void Cost(const R& r, Sink& s, uint64_t DiskIo::Cost::*field) {
  for (const DiskIo& io : r.stats.cgroup.io.devices) {
    if (io.cost) s.Add(D((*io.cost).*field) / 1e6, {{"device", io.device}});
  }
}

void BlkioDevices(const R& r, Sink& s) {
  for (const DiskIo& io : r.stats.cgroup.io.devices) {
    const std::string major = std::to_string(io.major), minor = std::to_string(io.minor);
    for (const auto& [operation, count] : io.bytes) {
      s.Add(D(count), {{"device", io.device}, {"major", major}, {"minor", minor}, {"operation", operation}});
    }
  }
}

void Network(const R& r, Sink& s, uint64_t InterfaceStats::*field) {
  for (const InterfaceStats& interface : r.stats.network) s.Add(D(interface.*field), {{"interface", interface.name}});
}

void Pressure(const std::optional<Psi>& psi, Psi::Line Psi::*line, Sink& s) {
  s.Add(psi ? D(((*psi).*line).total_us) / 1e6 : 0);
}

}  // namespace skiff::cadvisor::family
