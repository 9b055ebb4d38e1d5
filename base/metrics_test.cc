#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::metrics {
namespace {

TEST(Metrics, CountersAndGauges) {
  Registry registry;
  auto& requests = registry.Counters("requests_total", "Requests \\ \n seen.", {"verb", "code"});
  registry.Gauges("size", "The size.").With({}).Set(1e6);
  registry.Gauges("absent", "Has labels and no child.", {"a"});
  requests.With({"PUT", "200"}).Inc();
  requests.With({"GET", "500"}).Inc(2.5);
  requests.With({"GET", "200"}).Inc();
  requests.With({"a\"b\\c\nd", "200"}).Inc();
  EXPECT_EQ(registry.Expose(),
            "# HELP requests_total Requests \\\\ \\n seen.\n"
            "# TYPE requests_total counter\n"
            "requests_total{code=\"200\",verb=\"GET\"} 1\n"
            "requests_total{code=\"200\",verb=\"PUT\"} 1\n"
            "requests_total{code=\"200\",verb=\"a\\\"b\\\\c\\nd\"} 1\n"
            "requests_total{code=\"500\",verb=\"GET\"} 2.5\n"
            "# HELP size The size.\n"
            "# TYPE size gauge\n"
            "size 1e+06\n");
  requests.Clear();
  EXPECT_EQ(&registry.Counters("requests_total", "", {}), &requests);
  EXPECT_THAT(registry.Expose(), testing::Not(testing::HasSubstr("requests_total")));
}

TEST(Metrics, Histograms) {
  Registry registry;
  auto& seconds = registry.Histograms("seconds", "How long.", {0.005, 1, 2.5}, {"verb"});
  Histogram& h = seconds.With({"GET"});
  for (const double v : {0.005, 0.5, 3.0}) h.Observe(v);
  EXPECT_EQ(registry.Expose(),
            "# HELP seconds How long.\n"
            "# TYPE seconds histogram\n"
            "seconds_bucket{verb=\"GET\",le=\"0.005\"} 1\n"
            "seconds_bucket{verb=\"GET\",le=\"1\"} 2\n"
            "seconds_bucket{verb=\"GET\",le=\"2.5\"} 2\n"
            "seconds_bucket{verb=\"GET\",le=\"+Inf\"} 3\n"
            "seconds_sum{verb=\"GET\"} 3.505\n"
            "seconds_count{verb=\"GET\"} 3\n");
}

TEST(Metrics, CollectorsAreAskedAtEveryExposition) {
  Registry registry;
  int asked = 0;
  registry.Collector("now", "Now.", "gauge", [&](const Emit& emit) {
    asked++;
    emit({.labels = {{"b", "2"}, {"a", "2"}}, .value = 2});
    emit({.labels = {{"a", "1"}, {"b", "9"}}, .value = 1, .timestamp_ms = 123});
  });
  const char* expected = "# HELP now Now.\n# TYPE now gauge\nnow{a=\"1\",b=\"9\"} 1 123\nnow{a=\"2\",b=\"2\"} 2\n";
  EXPECT_EQ(registry.Expose(), expected);
  EXPECT_EQ(registry.Expose(), expected);
  EXPECT_EQ(asked, 2);
}

TEST(Metrics, Process) {
  Registry registry;
  registry.AddProcessMetrics();
  const std::string text = registry.Expose();
  for (const char* name : {"process_cpu_seconds_total", "process_max_fds", "process_network_receive_bytes_total",
                           "process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds",
                           "process_virtual_memory_bytes", "process_virtual_memory_max_bytes"}) {
    EXPECT_THAT(text, testing::HasSubstr(absl::StrCat("\n", name, " ")));
  }
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("process_resident_memory_bytes 0\n")));
}

TEST(Metrics, Meta) {
  Registry registry;
  registry.Counters("a", "[ALPHA] A.");
  registry.AddProcessMetrics();
  registry.AddMetaMetrics();
  const std::string text = registry.Expose();
  EXPECT_THAT(text,
              testing::HasSubstr("registered_metrics_total{deprecated_version=\"\",stability_level=\"ALPHA\"} 1\n"
                                 "registered_metrics_total{deprecated_version=\"\",stability_level=\"BETA\"} 3\n"));
  EXPECT_THAT(text, testing::HasSubstr("\ndisabled_metrics_total 0\n"));
  EXPECT_THAT(text, testing::HasSubstr("\nhidden_metrics_total 0\n"));
}

}  // namespace
}  // namespace skiff::metrics
