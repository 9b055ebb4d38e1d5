#include "cadvisor/exposition.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/metrics_text.h"
#include "cadvisor/families.h"

namespace skiff::cadvisor {
namespace {

bool LabelsLess(const ContainerReading* a, const ContainerReading* b) {
  const auto key = [](const ContainerRecord& r) {
    return std::tie(r.container, r.cgroup, r.image, r.name, r.namespace_, r.pod);
  };
  return key(a->record) < key(b->record);
}

struct Line {
  std::string key;  // the values in the order of their labels' names, for sorting
  std::string text;
};

// Collects one family's samples.
class FamilySink final : public Sink {
 public:
  // `labels` are the base labels in order, each with where its value stands.
  using BaseLabels = std::vector<std::pair<std::string_view, std::string ContainerRecord::*>>;
  FamilySink(const Family& family, const BaseLabels& labels, std::string* out)
      : family_(family), labels_(labels), out_(out) {}

  void Begin(const ContainerReading& reading) { reading_ = &reading; }

  void Add(double value, std::initializer_list<Label> extra) override {
    Line line;
    line.text = family_.name;
    line.text += '{';
    // Both lists are sorted by label; so is their merge.
    auto base = labels_.begin();
    const Label* e = extra.begin();
    const bool sort = extra.size() > 0;
    for (bool first = true; base != labels_.end() || e != extra.end(); first = false) {
      const bool take_base = e == extra.end() || (base != labels_.end() && base->first < e->name);
      const Label label = take_base ? Label{base->first, reading_->record.*base->second} : *e;
      take_base ? static_cast<void>(++base) : static_cast<void>(++e);
      if (!first) line.text += ',';
      metrics::AppendLabel(&line.text, label.name, label.value);
      if (sort) absl::StrAppend(&line.key, label.value, std::string_view("\0", 1));
    }
    line.text += '}';
    const bool plain = family_.time == Timestamp::kNone;
    const auto since_epoch = family_.time == Timestamp::kNow ? std::chrono::system_clock::now().time_since_epoch()
                                                             : reading_->stats.time.time_since_epoch();
    const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
    metrics::AppendValue(&line.text, value, plain ? 0 : ms);
    if (sort) {
      sorted_.push_back(std::move(line));
    } else {
      *out_ += line.text;  // readings are in order already
    }
  }

  void Finish() {
    std::stable_sort(sorted_.begin(), sorted_.end(), [](const Line& a, const Line& b) { return a.key < b.key; });
    for (const Line& line : sorted_) *out_ += line.text;
  }

 private:
  const Family& family_;
  const BaseLabels& labels_;
  std::string* out_;
  const ContainerReading* reading_ = nullptr;
  std::vector<Line> sorted_;
};

std::string VersionInfo(const MachineInfo& machine, const ExpositionOptions& options) {
  std::string out;
  constexpr char kName[] = "cadvisor_version_info";
  metrics::AppendHeader(&out, kName,
                        "A metric with a constant '1' value labeled by kernel version, OS version, docker version, "
                        "cadvisor version & cadvisor revision.",
                        "gauge");
  absl::StrAppend(&out, kName, "{");
  metrics::AppendLabel(&out, "cadvisorRevision", options.cadvisor_revision);
  out += ',';
  metrics::AppendLabel(&out, "cadvisorVersion", options.cadvisor_version);
  out += ',';
  metrics::AppendLabel(&out, "dockerVersion", "");
  out += ',';
  metrics::AppendLabel(&out, "kernelVersion", machine.kernel_version);
  out += ',';
  metrics::AppendLabel(&out, "osVersion", machine.os_image);
  out += '}';
  metrics::AppendValue(&out, 1);
  return out;
}

void AppendScrapeError(std::string* out, std::string_view name, std::string_view help, bool error) {
  metrics::AppendHeader(out, name, help, "gauge");
  out->append(name);
  metrics::AppendValue(out, error ? 1 : 0);
}

}  // namespace

Exposition::Exposition(const MachineInfo& machine, const std::vector<ContainerReading>& readings, bool scrape_error,
                       const ExpositionOptions& options)
    : machine_(machine), options_(options), scrape_error_(scrape_error) {
  readings_.reserve(readings.size());
  for (const ContainerReading& reading : readings) readings_.push_back(&reading);
  std::sort(readings_.begin(), readings_.end(), LabelsLess);
  const auto any = [&](std::string ContainerRecord::*field) {
    return options.pod_labels || std::any_of(readings.begin(), readings.end(),
                                             [&](const ContainerReading& r) { return !(r.record.*field).empty(); });
  };
  images_ = any(&ContainerRecord::image);
  names_ = any(&ContainerRecord::name);
}

bool Exposition::Next(std::string* text) {
  text->clear();
  const std::span<const Family> families = ContainerFamilies();
  while (text->empty() && next_ < families.size() + 2) {
    const size_t part = next_++;
    if (part == 0) {
      *text = VersionInfo(machine_, options_);
      continue;
    }
    if (part == families.size() + 1) {
      *text = ExposeMachine(machine_);
      continue;
    }
    const Family& family = families[part - 1];
    if (family.emit == nullptr) {
      AppendScrapeError(text, family.name, family.help, scrape_error_);
      continue;
    }
    if (family.pressure && !options_.pressure) continue;
    FamilySink::BaseLabels labels;
    if (options_.pod_labels) labels.emplace_back("container", &ContainerRecord::container);
    labels.emplace_back("id", &ContainerRecord::cgroup);
    if (images_) labels.emplace_back("image", &ContainerRecord::image);
    if (names_) labels.emplace_back("name", &ContainerRecord::name);
    if (options_.pod_labels) labels.emplace_back("namespace", &ContainerRecord::namespace_);
    if (options_.pod_labels) labels.emplace_back("pod", &ContainerRecord::pod);
    std::string samples;
    FamilySink sink(family, labels, &samples);
    for (const ContainerReading* reading : readings_) {
      sink.Begin(*reading);
      family.emit(*reading, sink);
    }
    sink.Finish();
    if (samples.empty()) continue;
    metrics::AppendHeader(text, family.name, family.help, family.type);
    *text += samples;
  }
  return !text->empty();
}

std::string ExposeMachine(const MachineInfo& machine) {
  std::string out;
  const auto add = [&](std::string_view name, std::string_view help, double value, std::string_view mode = "",
                       bool header = true) {
    if (header) metrics::AppendHeader(&out, name, help, "gauge");
    absl::StrAppend(&out, name, "{");
    metrics::AppendLabel(&out, "boot_id", machine.boot_id);
    out += ',';
    metrics::AppendLabel(&out, "machine_id", machine.machine_id);
    if (!mode.empty()) {
      out += ',';
      metrics::AppendLabel(&out, "mode", mode);
    }
    out += ',';
    metrics::AppendLabel(&out, "system_uuid", machine.system_uuid);
    out += '}';
    metrics::AppendValue(&out, value);
  };
  add("machine_cpu_books", "Number of CPU books.", 0);
  add("machine_cpu_cores", "Number of logical CPU cores.", machine.cores);
  add("machine_cpu_drawers", "Number of CPU drawers.", 0);
  add("machine_cpu_physical_cores", "Number of physical CPU cores.", machine.physical_cores);
  add("machine_cpu_sockets", "Number of CPU sockets.", machine.sockets);
  add("machine_memory_bytes", "Amount of memory installed on the machine.", static_cast<double>(machine.memory));
  // Upstream reads these only when linked with Intel's ipmctl; as shipped they are 0.
  add("machine_nvm_avg_power_budget_watts", "NVM power budget.", 0);
  constexpr char kNvm[] = "machine_nvm_capacity";
  constexpr char kNvmHelp[] = "NVM capacity value labeled by NVM mode (memory mode or app direct mode).";
  add(kNvm, kNvmHelp, 0, "app_direct_mode");
  add(kNvm, kNvmHelp, 0, "memory_mode", false);
  AppendScrapeError(&out, "machine_scrape_error", "1 if there was an error while getting machine metrics, 0 otherwise.",
                    false);
  add("machine_swap_bytes", "Amount of swap memory available on the machine.", static_cast<double>(machine.swap));
  return out;
}

std::vector<ContainerReading> ReadAll(Collector& collector, const std::vector<ContainerRecord>& records,
                                      bool* scrape_error) {
  std::vector<ContainerReading> readings;
  readings.reserve(records.size());
  *scrape_error = false;
  for (const ContainerRecord& record : records) {
    StatusOr<ContainerStats> stats = collector.Read(record);
    if (stats.ok()) {
      readings.push_back({.record = record, .stats = *std::move(stats)});
    } else if (!absl::IsNotFound(stats.status())) {
      LOG_ERROR(stats.status(), "Failed to read container statistics", {"cgroup", record.cgroup});
      *scrape_error = true;
    }
  }
  return readings;
}

std::string Expose(const MachineInfo& machine, Collector& collector, const std::vector<ContainerRecord>& records,
                   const ExpositionOptions& options) {
  bool scrape_error = false;
  const std::vector<ContainerReading> readings = ReadAll(collector, records, &scrape_error);
  Exposition exposition(machine, readings, scrape_error, options);
  std::string out;
  for (std::string part; exposition.Next(&part);) out += part;
  return out;
}

}  // namespace skiff::cadvisor
