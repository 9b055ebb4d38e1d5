// /metrics/cadvisor: upstream's metric names, labels and help texts, in the Prometheus text format, families and
// samples sorted as client_golang sorts them.
#ifndef SKIFF_CADVISOR_EXPOSITION_H_
#define SKIFF_CADVISOR_EXPOSITION_H_

#include <string>
#include <vector>

#include "cadvisor/collector.h"

namespace skiff::cadvisor {

struct ExpositionOptions {
  bool pressure = false;  // container_pressure_*: where the kernel has PSI (CgroupTree::has_psi) and the gate is on
  std::string cadvisor_version, cadvisor_revision;
};

// One container and its reading; the two are what a caller got from Collector::Read.
struct ContainerReading {
  ContainerRecord record;
  ContainerStats stats;
};

// `scrape_error`: some record could not be read (the container is gone in the meantime is no error).
std::string ExposeContainers(const MachineInfo& machine, const std::vector<ContainerReading>& readings,
                             bool scrape_error, const ExpositionOptions& options);
std::string ExposeMachine(const MachineInfo& machine);

// Both in one text, reading every record now. Blocking: call it on the blocking pool.
std::string Expose(const MachineInfo& machine, Collector& collector, const std::vector<ContainerRecord>& records,
                   const ExpositionOptions& options);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_EXPOSITION_H_
