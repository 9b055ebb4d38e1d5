#include "kubelet/work_metrics.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "api/time.h"

namespace skiff::kubelet {
namespace {

using metrics::Counter;
using metrics::Family;
using metrics::Histogram;
using Seconds = std::chrono::duration<double>;

// Go's default ones.
std::vector<double> Usual() { return {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}; }
std::vector<double> Starts() {
  return {0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600};
}

// Of a pod that starts.
struct Startup {
  int pulls = 0;  // under way
  SteadyTime pull_began{};
  std::chrono::nanoseconds pulling{0};
};

struct Set {
  explicit Set(metrics::Registry& r)
      : sandboxes(r.Counters("kubelet_started_pods_total", "[ALPHA] Cumulative number of pods started").With({})),
        sandbox_errors(
            r.Counters("kubelet_started_pods_errors_total", "[ALPHA] Cumulative number of errors when starting pods")
                .With({})),
        containers(r.Counters("kubelet_started_containers_total", "[ALPHA] Cumulative number of containers started",
                              {"container_type"})),
        container_errors(r.Counters("kubelet_started_containers_errors_total",
                                    "[ALPHA] Cumulative number of errors when starting containers",
                                    {"code", "container_type"})),
        sandbox(r.Histograms("kubelet_run_podsandbox_duration_seconds",
                             "[ALPHA] Duration in seconds of the run_podsandbox operations. Broken down by "
                             "RuntimeClass.Handler.",
                             Usual(), {"runtime_handler"})),
        sandbox_failures(r.Counters("kubelet_run_podsandbox_errors_total",
                                    "[ALPHA] Cumulative number of the run_podsandbox operation errors by "
                                    "RuntimeClass.Handler.",
                                    {"runtime_handler"})),
        worker(r.Histograms("kubelet_pod_worker_duration_seconds",
                            "[ALPHA] Duration in seconds to sync a single pod. Broken down by operation type: create, "
                            "update, or sync",
                            Usual(), {"operation_type"})),
        worker_start(r.Histograms("kubelet_pod_worker_start_duration_seconds",
                                  "[ALPHA] Duration in seconds from kubelet seeing a pod to starting a worker.",
                                  Usual())
                         .With({})),
        start(r.Histograms("kubelet_pod_start_duration_seconds",
                           "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod "
                           "starting to run",
                           Starts())
                  .With({})),
        sli(r.Histograms("kubelet_pod_start_sli_duration_seconds",
                         "[ALPHA] Duration in seconds to start a pod, excluding time to pull images and run init "
                         "containers, measured from pod creation timestamp to when all its containers are reported as "
                         "started and observed via watch",
                         Starts())),
        total(r.Histograms("kubelet_pod_start_total_duration_seconds",
                           "[ALPHA] Duration in seconds to start a pod since creation, including time to pull images "
                           "and run init containers, measured from pod creation timestamp to when all its containers "
                           "are reported as started and observed via watch",
                           Starts())),
        cgroups(r.Histograms("kubelet_cgroup_manager_duration_seconds",
                             "[ALPHA] Duration in seconds for cgroup manager operations. Broken down by method.",
                             Usual(), {"operation_type"})),
        storage(r.Histograms("storage_operation_duration_seconds", "[ALPHA] Storage operation duration",
                             {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600},
                             {"migrated", "operation_name", "status", "volume_plugin"})) {}

  Counter &sandboxes, &sandbox_errors;
  Family<Counter>&containers, &container_errors;
  Family<Histogram>& sandbox;
  Family<Counter>& sandbox_failures;
  Family<Histogram>& worker;
  Histogram &worker_start, &start;
  Family<Histogram>&sli, &total, &cgroups, &storage;
  std::map<std::string, Startup> startups;  // of pods that have not all containers running yet, by uid
};

std::unique_ptr<Set>& Current() {
  static auto* const set = new std::unique_ptr<Set>();
  return *set;
}

double InSeconds(std::chrono::nanoseconds took) { return Seconds(took).count(); }

std::string TypeOf(const Pod& pod, std::string_view container) {
  if (IsInitContainer(pod, container)) return "init_container";
  for (const auto& c : pod.spec().ephemeralcontainers()) {
    if (c.ephemeralcontainercommon().name() == container) return "ephemeral_container";
  }
  return "container";
}

bool IsStateful(const Pod& pod) {
  for (const auto& volume : pod.spec().volumes()) {
    const auto& source = volume.volumesource();
    if (!source.has_secret() && !source.has_configmap() && !source.has_downwardapi() && !source.has_emptydir() &&
        !source.has_projected()) {
      return true;
    }
  }
  return false;
}

bool AllRun(const Pod& pod) {
  for (const auto& c : pod.status().containerstatuses()) {
    if (!c.state().has_running() || !c.state().running().has_startedat()) return false;
  }
  return pod.status().containerstatuses_size() > 0;
}

std::chrono::nanoseconds InitTime(const Pod& pod) {
  std::chrono::nanoseconds sum{0};
  for (const auto& c : pod.status().initcontainerstatuses()) {
    if (!c.state().has_terminated()) continue;
    const auto& ran = c.state().terminated();
    sum += std::max(api::FromTime(ran.finishedat()) - api::FromTime(ran.startedat()), WallTime::duration{0});
  }
  return sum;
}

}  // namespace

void EnableWorkMetrics(metrics::Registry& registry) { Current() = std::make_unique<Set>(registry); }
void DisableWorkMetrics() { Current().reset(); }

void CountSandboxStart() {
  if (const auto& set = Current()) set->sandboxes.Inc();
}

void CountSandboxStartError() {
  if (const auto& set = Current()) set->sandbox_errors.Inc();
}

void ObserveSandbox(const std::string& handler, bool ok, std::chrono::nanoseconds took) {
  const auto& set = Current();
  if (set == nullptr) return;
  set->sandbox.With({handler}).Observe(InSeconds(took));
  if (!ok) set->sandbox_failures.With({handler}).Inc();
}

void CountContainerStart(const Pod& pod, std::string_view container) {
  if (const auto& set = Current()) set->containers.With({TypeOf(pod, container)}).Inc();
}

void CountContainerStartError(const Pod& pod, std::string_view container, const std::string& reason) {
  if (const auto& set = Current()) set->container_errors.With({reason, TypeOf(pod, container)}).Inc();
}

void ObservePodWorker(const std::string& operation, std::chrono::nanoseconds took) {
  if (const auto& set = Current()) set->worker.With({operation}).Observe(InSeconds(took));
}

void ObservePodWorkerStart(std::chrono::nanoseconds took) {
  if (const auto& set = Current()) set->worker_start.Observe(InSeconds(took));
}

void ObservePodStart(std::chrono::nanoseconds took) {
  if (const auto& set = Current()) set->start.Observe(InSeconds(took));
}

void ObserveCgroupOperation(const std::string& method, std::chrono::nanoseconds took) {
  if (const auto& set = Current()) set->cgroups.With({method}).Observe(InSeconds(took));
}

void ObserveStorageOperation(const std::string& plugin, const std::string& operation, bool ok,
                             std::chrono::nanoseconds took) {
  if (const auto& set = Current()) {
    set->storage.With({"false", operation, ok ? "success" : "fail-unknown", plugin}).Observe(InSeconds(took));
  }
}

void SeePod(const Pod& pod, WallTime now) {
  const auto& set = Current();
  if (set == nullptr) return;
  const std::string& uid = pod.metadata().uid();
  const auto& status = pod.status();
  if (status.phase() == "Failed" || status.phase() == "Succeeded") {
    set->startups.erase(uid);
    return;
  }
  const auto at = set->startups.find(uid);
  if (at == set->startups.end()) {
    if (!status.has_starttime()) set->startups.try_emplace(uid);
    return;
  }
  if (!AllRun(pod)) return;
  const std::chrono::nanoseconds took = now - api::FromTime(pod.metadata().creationtimestamp());
  set->total.With({}).Observe(InSeconds(took));
  if (!IsStateful(pod)) set->sli.With({}).Observe(InSeconds(took - at->second.pulling - InitTime(pod)));
  set->startups.erase(at);
}

void PullBegan(const std::string& uid, SteadyTime now) {
  const auto& set = Current();
  if (set == nullptr) return;
  const auto at = set->startups.find(uid);
  // Several at once count as long as one of them is under way.
  if (at != set->startups.end() && at->second.pulls++ == 0) at->second.pull_began = now;
}

void PullEnded(const std::string& uid, SteadyTime now) {
  const auto& set = Current();
  if (set == nullptr) return;
  const auto at = set->startups.find(uid);
  if (at == set->startups.end() || at->second.pulls == 0) return;
  if (--at->second.pulls == 0) at->second.pulling += now - at->second.pull_began;
}

void ForgetPod(const std::string& uid) {
  if (const auto& set = Current()) set->startups.erase(uid);
}

}  // namespace skiff::kubelet
