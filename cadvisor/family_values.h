// Which samples a container's figures become: the functions that the table of families (families.cc) names. Private to
// the two files.
#ifndef SKIFF_CADVISOR_FAMILY_VALUES_H_
#define SKIFF_CADVISOR_FAMILY_VALUES_H_

#include <optional>
#include <string_view>

#include "cadvisor/families.h"

namespace skiff::cadvisor::family {

using R = ContainerReading;

template <typename T>
double D(T value) {
  return static_cast<double>(value);
}
inline double Seconds(uint64_t nanoseconds) { return D(nanoseconds) / 1e9; }
// /proc/diskstats counts milliseconds, which upstream takes for nanoseconds. Dashboards know these numbers.
inline double DiskTime(uint64_t milliseconds) { return D(milliseconds) / 1e9; }
// What the kernel shows for "no limit" is shown as 0.
inline double MemoryLimit(uint64_t value) { return value > (uint64_t{1} << 62) ? 0 : D(value); }
inline const CpuStats& Cpu(const R& r) { return r.stats.cgroup.cpu; }

void LastSeen(const R&, Sink& s);
// Upstream asks the kernel for these only with --enable-load-reader, which kubelets do not set.
void TaskStates(const R&, Sink& s);
void MemoryFailures(const R& r, Sink& s);
void Filesystems(const R& r, Sink& s, double (*value)(const FsStats&));
// The cgroup's own accounting where it has some for the device; what the device's statistics say for the others. One
// sample a device name: a second one would spoil the whole exposition.
void Io(const R& r, Sink& s, DiskIo::Operations DiskIo::*field, std::string_view operation, double divisor,
        double (*fs_value)(const FsStats&));
void Cost(const R& r, Sink& s, uint64_t DiskIo::Cost::*field);
void BlkioDevices(const R& r, Sink& s);
void Network(const R& r, Sink& s, uint64_t InterfaceStats::*field);
void Pressure(const std::optional<Psi>& psi, Psi::Line Psi::*line, Sink& s);

}  // namespace skiff::cadvisor::family

#endif  // SKIFF_CADVISOR_FAMILY_VALUES_H_
