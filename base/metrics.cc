#include "base/metrics.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/go_text.h"

namespace skiff::metrics {
namespace {

// Writes the samples of one child. `labels` is the finished text between the braces, or "".
void AppendName(std::string* out, std::string_view name, std::string_view labels) {
  out->append(name);
  if (labels.empty()) return;
  out->push_back('{');
  out->append(labels);
  out->push_back('}');
}

void AppendChild(std::string* out, const std::string& name, const std::string& labels, const Counter& child,
                 const std::vector<double>&) {
  AppendName(out, name, labels);
  AppendValue(out, child.value());
}

void AppendChild(std::string* out, const std::string& name, const std::string& labels, const Histogram& child,
                 const std::vector<double>& bounds) {
  uint64_t cumulative = 0;
  for (size_t i = 0; i < child.buckets().size(); i++) {
    cumulative += child.buckets()[i];
    std::string with_bound = labels;
    if (!with_bound.empty()) with_bound += ',';
    AppendLabel(&with_bound, "le", i < bounds.size() ? GoFloat(bounds[i]) : "+Inf");
    AppendName(out, absl::StrCat(name, "_bucket"), with_bound);
    absl::StrAppend(out, " ", cumulative, "\n");
  }
  AppendName(out, absl::StrCat(name, "_sum"), labels);
  AppendValue(out, child.sum());
  AppendName(out, absl::StrCat(name, "_count"), labels);
  absl::StrAppend(out, " ", child.count(), "\n");
}

// client_golang writes labels by name, and children by the values in that order.
template <typename T>
void AppendFamily(std::string* out, const std::string& name, const Family<T>& family) {
  std::vector<size_t> order(family.labels.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return family.labels[a] < family.labels[b]; });
  std::vector<std::pair<const LabelValues*, const T*>> children;
  children.reserve(family.children.size());
  for (const auto& [values, child] : family.children) children.emplace_back(&values, child.get());
  if (!std::is_sorted(order.begin(), order.end())) {
    std::sort(children.begin(), children.end(), [&](const auto& a, const auto& b) {
      for (const size_t i : order) {
        const int compared = (*a.first)[i].compare((*b.first)[i]);
        if (compared != 0) return compared < 0;
      }
      return false;
    });
  }
  for (const auto& [values, child] : children) {
    std::string labels;
    for (const size_t i : order) {
      if (!labels.empty()) labels += ',';
      AppendLabel(&labels, family.labels[i], (*values)[i]);
    }
    AppendChild(out, name, labels, *child, family.bounds);
  }
}

void AppendSamples(std::string* out, const std::string& name, std::vector<Sample> samples) {
  for (Sample& sample : samples) std::sort(sample.labels.begin(), sample.labels.end());
  std::stable_sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    if (a.labels.size() != b.labels.size()) return a.labels.size() < b.labels.size();
    for (size_t i = 0; i < a.labels.size(); i++) {
      if (a.labels[i].second != b.labels[i].second) return a.labels[i].second < b.labels[i].second;
    }
    return a.timestamp_ms < b.timestamp_ms;
  });
  for (const Sample& sample : samples) {
    std::string labels;
    for (const auto& [label, value] : sample.labels) {
      if (!labels.empty()) labels += ',';
      AppendLabel(&labels, label, value);
    }
    AppendName(out, name, labels);
    AppendValue(out, sample.value, sample.timestamp_ms);
  }
}

// Fields of /proc/self/stat behind the program's name, which may hold anything: index 0 is the state (field 3).
std::vector<std::string> SelfStat() {
  const StatusOr<std::string> text = ReadFile("/proc/self/stat");
  if (!text.ok()) return {};
  const size_t end = text->rfind(')');
  if (end == std::string::npos || end + 2 > text->size()) return {};
  return absl::StrSplit(std::string_view(*text).substr(end + 2), ' ');
}

double StatField(size_t index) {
  const std::vector<std::string> fields = SelfStat();
  double value = 0;
  if (index < fields.size()) (void)absl::SimpleAtod(fields[index], &value);
  return value;
}

double StartTime() {
  double boot = 0;
  if (const StatusOr<std::string> text = ReadFile("/proc/stat"); text.ok()) {
    for (absl::string_view line : absl::StrSplit(*text, '\n')) {
      if (line.substr(0, 6) == "btime ") (void)absl::SimpleAtod(line.substr(6), &boot);
    }
  }
  return boot + StatField(19) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Octets of the IpExt table of our network namespace, which is what upstream's collector calls the process's traffic.
double NetworkOctets(std::string_view column) {
  const StatusOr<std::string> text = ReadFile("/proc/self/net/netstat");
  if (!text.ok()) return 0;
  std::vector<absl::string_view> names;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (line.substr(0, 7) != "IpExt: ") continue;
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (names.empty()) {
      names = words;
      continue;
    }
    for (size_t i = 0; i < names.size() && i < words.size(); i++) {
      double value = 0;
      if (std::string_view(names[i]) == column && absl::SimpleAtod(words[i], &value)) return value;
    }
  }
  return 0;
}

double Limit(int resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) return 0;
  return static_cast<double>(limit.rlim_cur);  // RLIM_INFINITY is 2^64-1, as upstream shows it
}

}  // namespace

Histogram::Histogram(const std::vector<double>* bounds) : bounds_(bounds), counts_(bounds->size() + 1) {}

void Histogram::Observe(double value) {
  // A bound is inclusive; not-a-number falls beyond all.
  const size_t i =
      std::isnan(value)
          ? bounds_->size()
          : static_cast<size_t>(std::lower_bound(bounds_->begin(), bounds_->end(), value) - bounds_->begin());
  counts_[i]++;
  count_++;
  sum_ += value;
}

template <>
Counter& Family<Counter>::With(const LabelValues& values) {
  std::unique_ptr<Counter>& child = children[values];
  if (child == nullptr) child = std::make_unique<Counter>();
  return *child;
}

template <>
Histogram& Family<Histogram>::With(const LabelValues& values) {
  std::unique_ptr<Histogram>& child = children[values];
  if (child == nullptr) child = std::make_unique<Histogram>(&bounds);
  return *child;
}

template <typename T>
Family<T>& Registry::Add(std::string name, std::string help, std::string type, std::vector<std::string> labels,
                         std::vector<double> bounds) {
  const auto it = entries_.find(name);
  if (it != entries_.end()) return *static_cast<Family<T>*>(it->second.family.get());
  const auto family = std::make_shared<Family<T>>(std::move(labels), std::move(bounds));
  if (family->labels.empty()) family->With({});
  Entry& entry = entries_[std::move(name)];
  entry.help = std::move(help);
  entry.type = std::move(type);
  entry.expose = [raw = family.get()](std::string* out, const std::string& n) { AppendFamily(out, n, *raw); };
  entry.family = family;
  return *family;
}

Family<Counter>& Registry::Counters(std::string name, std::string help, std::vector<std::string> labels) {
  return Add<Counter>(std::move(name), std::move(help), "counter", std::move(labels), {});
}

Family<Gauge>& Registry::Gauges(std::string name, std::string help, std::vector<std::string> labels) {
  return Add<Gauge>(std::move(name), std::move(help), "gauge", std::move(labels), {});
}

Family<Histogram>& Registry::Histograms(std::string name, std::string help, std::vector<double> bounds,
                                        std::vector<std::string> labels) {
  return Add<Histogram>(std::move(name), std::move(help), "histogram", std::move(labels), std::move(bounds));
}

void Registry::Collector(std::string name, std::string help, std::string type,
                         std::function<void(const Emit&)> collect) {
  Entry& entry = entries_[std::move(name)];
  entry.help = std::move(help);
  entry.type = std::move(type);
  entry.family = nullptr;
  entry.expose = [collect = std::move(collect)](std::string* out, const std::string& n) {
    std::vector<Sample> samples;
    collect([&samples](Sample sample) { samples.push_back(std::move(sample)); });
    AppendSamples(out, n, std::move(samples));
  };
}

void Registry::AddProcessMetrics() {
  const auto add = [this](std::string name, std::string help, std::string type, std::function<double()> value) {
    Collector(std::move(name), std::move(help), std::move(type),
              [value = std::move(value)](const Emit& emit) { emit({.labels = {}, .value = value()}); });
  };
  add("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter",
      [] { return (StatField(11) + StatField(12)) / static_cast<double>(sysconf(_SC_CLK_TCK)); });
  add("process_max_fds", "Maximum number of open file descriptors.", "gauge", [] { return Limit(RLIMIT_NOFILE); });
  add("process_open_fds", "Number of open file descriptors.", "gauge", [] {
    const StatusOr<std::vector<std::string>> fds = ListDir("/proc/self/fd");
    return fds.ok() && !fds->empty() ? static_cast<double>(fds->size() - 1) : 0.0;  // without the listing's own
  });
  add("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge",
      [] { return StatField(21) * static_cast<double>(sysconf(_SC_PAGESIZE)); });
  add("process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", [] { return StatField(20); });
  add("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.", "gauge",
      [] { return Limit(RLIMIT_AS); });
  add("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge",
      [start = StartTime()] { return start; });
  add("process_network_receive_bytes_total", "Number of bytes received by the process over the network.", "counter",
      [] { return NetworkOctets("InOctets"); });
  add("process_network_transmit_bytes_total", "Number of bytes sent by the process over the network.", "counter",
      [] { return NetworkOctets("OutOctets"); });
}

void Registry::AddMetaMetrics() {
  // "[ALPHA] ..": the stability level that opens a help text.
  Collector("registered_metrics_total",
            "[BETA] The count of registered metrics broken by stability level and deprecation version.", "counter",
            [this](const Emit& emit) {
              std::map<std::string_view, int> levels;
              for (const auto& [name, entry] : entries_) {
                const size_t end = entry.help.find(']');
                if (entry.help.starts_with('[') && end != std::string::npos) {
                  levels[std::string_view(entry.help).substr(1, end - 1)]++;
                }
              }
              for (const auto& [level, count] : levels) {
                emit({.labels = {{"deprecated_version", ""}, {"stability_level", std::string(level)}},
                      .value = static_cast<double>(count)});
              }
            });
  Counters("disabled_metrics_total", "[BETA] The count of disabled metrics.");
  Counters("hidden_metrics_total", "[BETA] The count of hidden metrics.");
}

std::string Registry::Expose() const {
  std::string out, samples;
  for (const auto& [name, entry] : entries_) {
    samples.clear();
    entry.expose(&samples, name);
    if (samples.empty()) continue;
    AppendHeader(&out, name, entry.help, entry.type);
    out += samples;
  }
  return out;
}

}  // namespace skiff::metrics
