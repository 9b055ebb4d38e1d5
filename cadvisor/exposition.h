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
  // The kubelet's labels: container, id, image, name, namespace, pod. Without: id, and image and name where any record
  // has one, as upstream's own program shows them.
  bool pod_labels = true;
  std::string cadvisor_version, cadvisor_revision;
};

// One container and its reading; the two are what a caller got from Collector::Read.
struct ContainerReading {
  ContainerRecord record;
  ContainerStats stats;
};

// Writes the exposition a family at a time, so that a big node's megabytes never stand in memory at once. What is given
// must outlive it and stay unchanged.
//
//   Exposition exposition(machine, readings, scrape_error, options);
//   for (std::string text; exposition.Next(&text);) co_await exchange.Write(text);
class Exposition {
 public:
  // `scrape_error`: some record could not be read (one that is gone meanwhile is no error). Samples are sorted here, so
  // readings may come in any order.
  Exposition(const MachineInfo& machine, const std::vector<ContainerReading>& readings, bool scrape_error,
             const ExpositionOptions& options);
  // The next part; replaces *text. False, with *text empty, at the end.
  bool Next(std::string* text);

 private:
  const MachineInfo& machine_;
  const ExpositionOptions& options_;
  std::vector<const ContainerReading*> readings_;  // sorted as their labels sort
  bool scrape_error_;
  bool images_, names_;  // whether these labels are shown
  size_t next_ = 0;
};

// The machine_* families alone.
std::string ExposeMachine(const MachineInfo& machine);

// Reads every record now. What is gone (kNotFound) is left out; *scrape_error tells of other failures, which are
// logged. Blocking: call it on the blocking pool.
std::vector<ContainerReading> ReadAll(Collector& collector, const std::vector<ContainerRecord>& records,
                                      bool* scrape_error);

// All at once, for small machines and tests: ReadAll and the whole exposition. Blocking.
std::string Expose(const MachineInfo& machine, Collector& collector, const std::vector<ContainerRecord>& records,
                   const ExpositionOptions& options);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_EXPOSITION_H_
