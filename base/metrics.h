// Prometheus metrics and their text exposition (format 0.0.4). One registry a program; families are made at start and
// live as long as the registry. Loop thread only, except Counter::Inc and Gauge::Set of an existing child, which are
// atomic.
#ifndef SKIFF_BASE_METRICS_H_
#define SKIFF_BASE_METRICS_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metrics_text.h"

namespace skiff::metrics {

using LabelValues = std::vector<std::string>;

class Counter {
 public:
  void Inc(double by = 1) { value_.fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }
  void Set(double v) { value_.store(v, std::memory_order_relaxed); }  // for gauges and mirrored kernel counters

 private:
  std::atomic<double> value_{0};
};
using Gauge = Counter;

class Histogram {
 public:
  explicit Histogram(const std::vector<double>* bounds);
  void Observe(double value);
  const std::vector<uint64_t>& buckets() const { return counts_; }  // per bucket, not cumulative; last is +Inf
  double sum() const { return sum_; }
  uint64_t count() const { return count_; }

 private:
  const std::vector<double>* bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
  uint64_t count_ = 0;
};

// A family of T, one child a combination of label values. With() makes the child on first use.
template <typename T>
class Family {
 public:
  Family(std::vector<std::string> labels, std::vector<double> bounds)
      : labels(std::move(labels)), bounds(std::move(bounds)) {}
  T& With(const LabelValues& values);  // as many values as labels, in the order of `labels`
  void Remove(const LabelValues& values) { children.erase(values); }
  void Clear() { children.clear(); }

  const std::vector<std::string> labels;
  const std::vector<double> bounds;
  std::map<LabelValues, std::unique_ptr<T>> children;
};

// One sample for a collector that computes its values when scraped.
struct Sample {
  std::vector<std::pair<std::string, std::string>> labels;
  double value = 0;
  int64_t timestamp_ms = 0;  // 0: none written
};
using Emit = std::function<void(Sample)>;

class Registry {
 public:
  // Upstream's stability level opens the help text: "[ALPHA] Counter of ...". A family without labels shows a 0 at
  // once, one with labels shows nothing before its first child.
  Family<Counter>& Counters(std::string name, std::string help, std::vector<std::string> labels = {});
  Family<Gauge>& Gauges(std::string name, std::string help, std::vector<std::string> labels = {});
  Family<Histogram>& Histograms(std::string name, std::string help, std::vector<double> bounds,
                                std::vector<std::string> labels = {});
  // `collect` is called at every exposition. `type` is "counter", "gauge" or "untyped". Labels in any order.
  void Collector(std::string name, std::string help, std::string type, std::function<void(const Emit&)> collect);
  // process_*: CPU, resident and virtual memory, network, start time, open and maximum files.
  void AddProcessMetrics();
  // What upstream's component-base says of a registry: registered_metrics_total by the level that opens each help text,
  // disabled_metrics_total and hidden_metrics_total (nothing is ever disabled or hidden here).
  void AddMetaMetrics();

  // Families sorted by name; content type "text/plain; version=0.0.4; charset=utf-8".
  std::string Expose() const;

 private:
  struct Entry {
    std::string help, type;
    std::function<void(std::string* out, const std::string& name)> expose;  // the samples; nothing if there are none
    std::shared_ptr<void> family;
  };
  template <typename T>
  Family<T>& Add(std::string name, std::string help, std::string type, std::vector<std::string> labels,
                 std::vector<double> bounds);
  std::map<std::string, Entry> entries_;
};

}  // namespace skiff::metrics

#endif  // SKIFF_BASE_METRICS_H_
