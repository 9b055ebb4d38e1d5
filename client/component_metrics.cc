#include "client/component_metrics.h"

#include <chrono>
#include <cmath>

#include "base/program.h"

namespace skiff::client {
namespace {

// To a hundredth of a second, as the kernel tells it.
double Now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::floor(std::chrono::duration<double>(now).count() * 100) / 100;
}

}  // namespace

void AddComponentMetrics(metrics::Registry& registry, const api::FeatureGates& gates) {
  registry.Collector("kubernetes_feature_enabled",
                     "[BETA] This metric records the data about the stage and enablement of a k8s feature.", "gauge",
                     [&gates](const metrics::Emit& emit) {
                       gates.Each([&](const char* name, const char* stage, bool on) {
                         emit({{{"name", name}, {"stage", stage}}, on ? 1.0 : 0.0});
                       });
                     });
  const std::string version = kKubernetesVersion;
  registry
      .Gauges(
          "kubernetes_build_info",
          "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree "
          "state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is "
          "running.",
          {"build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version", "major", "minor",
           "platform"})
      .With({"", "clang", "", "", version, "", "1", version.substr(3, version.rfind('.') - 3), "linux/amd64"})
      .Set(1);
}

HealthSlis::HealthSlis()
    : last_(registry_.Gauges("kubernetes_healthcheck",
                             "[STABLE] This metric records the result of a single healthcheck.", {"name", "type"})),
      total_(registry_.Counters("kubernetes_healthchecks_total",
                                "[STABLE] This metric records the results of all healthcheck.",
                                {"name", "status", "type"})) {
  registry_.Gauges("process_start_time_seconds", "[ALPHA] Start time of the process since unix epoch in seconds.")
      .With({})
      .Set(Now());
}

void HealthSlis::Observe(std::string_view name, std::string_view type, bool ok) {
  last_.With({std::string(name), std::string(type)}).Set(ok ? 1 : 0);
  total_.With({std::string(name), ok ? "success" : "error", std::string(type)}).Inc();
}

void HealthSlis::Reset() {
  last_.Clear();
  total_.Clear();
}

}  // namespace skiff::client
