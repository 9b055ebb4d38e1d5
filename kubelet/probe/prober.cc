#include "kubelet/probe/prober.h"

#include <algorithm>
#include <optional>
#include <random>

#include "api/time.h"
#include "base/log.h"
#include "kubelet/probe/probe_action.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
using core::Pod;
using namespace std::chrono_literals;

constexpr int kRetries = 3;
// Containers older than the kubelet by this much were there before it started.
constexpr std::chrono::seconds kRestartGrace{10};

std::string_view NameOf(ProbeKind kind) {
  return kind == ProbeKind::kStartup ? "Startup" : kind == ProbeKind::kReadiness ? "Readiness" : "Liveness";
}

const core::Probe* SpecOf(const core::Container& container, ProbeKind kind) {
  if (kind == ProbeKind::kStartup) return container.has_startupprobe() ? &container.startupprobe() : nullptr;
  if (kind == ProbeKind::kReadiness) return container.has_readinessprobe() ? &container.readinessprobe() : nullptr;
  return container.has_livenessprobe() ? &container.livenessprobe() : nullptr;
}

ProbeResult InitialValue(ProbeKind kind) {
  if (kind == ProbeKind::kReadiness) return ProbeResult::kFailure;
  return kind == ProbeKind::kLiveness ? ProbeResult::kSuccess : ProbeResult::kUnknown;
}

// Defaults that the API server sets; static pods and tests may come without.
int Period(const core::Probe& p) { return p.periodseconds() > 0 ? p.periodseconds() : 10; }
int Timeout(const core::Probe& p) { return p.timeoutseconds() > 0 ? p.timeoutseconds() : 1; }
int SuccessThreshold(const core::Probe& p) { return p.successthreshold() > 0 ? p.successthreshold() : 1; }
int FailureThreshold(const core::Probe& p) { return p.failurethreshold() > 0 ? p.failurethreshold() : 3; }

}  // namespace

struct ProbeManager::Impl : std::enable_shared_from_this<Impl> {
  struct Worker : std::enable_shared_from_this<Worker> {
    Worker(const asio::any_io_executor& executor) : wake(executor), timers(executor) {}
    std::shared_ptr<const Pod> pod;
    const core::Container* container = nullptr;  // in `pod`
    bool sidecar = false;
    ProbeKind kind = ProbeKind::kReadiness;
    std::string container_id;
    ProbeResult last = ProbeResult::kUnknown;
    int run = 0;  // equal results in a row
    bool on_hold = false, stopped = false, triggered = false;
    std::optional<SteadyTime> first;  // when the initial delay of a running container is over
    Wakeup wake;
    TaskGroup timers;
  };
  using Key = std::tuple<std::string, std::string, ProbeKind>;  // uid, container, kind

  Impl(asio::any_io_executor executor, ProbeHost& host, Clock& clock, metrics::Registry* registry)
      : executor(executor),
        host(host),
        clock(clock),
        start(clock.Now()),
        steady_start(clock.Steady()),
        group(executor) {
    if (registry == nullptr) return;
    totals =
        &registry->Counters("prober_probe_total",
                            "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by "
                            "result.",
                            {"container", "namespace", "pod", "pod_uid", "probe_type", "result"});
    durations = &registry->Histograms(
        "prober_probe_duration_seconds", "[ALPHA] Duration in seconds for a probe response.",
        {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, {"container", "namespace", "pod", "probe_type"});
  }

  asio::any_io_executor executor;
  ProbeHost& host;
  Clock& clock;
  WallTime start;
  SteadyTime steady_start;
  std::map<Key, std::shared_ptr<Worker>> workers;
  std::map<std::string, ProbeResult> results[3];  // by container id
  metrics::Family<metrics::Counter>* totals = nullptr;
  metrics::Family<metrics::Histogram>* durations = nullptr;
  std::minstd_rand random{std::random_device{}()};
  TaskGroup group;

  std::map<std::string, ProbeResult>& ResultsOf(ProbeKind kind) { return results[static_cast<int>(kind)]; }
  std::optional<ProbeResult> Find(ProbeKind kind, const std::string& id) const {
    const auto& map = results[static_cast<int>(kind)];
    auto found = map.find(id);
    return found == map.end() ? std::nullopt : std::optional(found->second);
  }
  void Set(const Worker& worker, ProbeResult result);
  void Start(std::shared_ptr<const Pod> pod, const core::Container& container, bool sidecar, ProbeKind kind);
  void Count(const Worker& worker, ProbeResult result, SteadyTime began);
  void Ended(const Worker& worker);
  // The container existed before this kubelet did. Where the wall clock was set back meanwhile, so are the times of
  // what has started since.
  bool IsOld(WallTime started_at) const {
    const auto set =
        (clock.Now() - start) - std::chrono::duration_cast<WallTime::duration>(clock.Steady() - steady_start);
    return started_at != WallTime{} && started_at < start + std::min(set, WallTime::duration(0)) - kRestartGrace;
  }
  void UpdateOne(const Pod& pod, const core::Container* spec, core::ContainerStatus* status);
  bool Started(const Pod& pod, const core::ContainerStatus& status) const;

  Task<ProbeOutcome> Attempt(std::shared_ptr<Worker> worker);
  Task<bool> Probe(std::shared_ptr<Worker> worker);  // false: the worker ends
  Task<void> Work(std::shared_ptr<Worker> worker);
  Task<bool> WaitUntil(std::shared_ptr<Worker> worker, SteadyTime when);
};

namespace {

// Owns what it wakes: a timer that has run out may find its worker gone.
Task<void> WakeAt(Clock& clock, std::chrono::nanoseconds pause, std::shared_ptr<Wakeup> wake) {
  if ((co_await clock.Sleep(pause)).ok()) wake->Notify();
}

}  // namespace

void ProbeManager::Impl::Set(const Worker& worker, ProbeResult result) {
  auto [at, added] = ResultsOf(worker.kind).try_emplace(worker.container_id, result);
  if (!added && at->second == result) return;
  at->second = result;
  host.ProbeChanged(worker.pod->metadata().uid(), worker.container->name(), worker.kind, result);
}

void ProbeManager::Impl::Count(const Worker& worker, ProbeResult result, SteadyTime began) {
  const auto& meta = worker.pod->metadata();
  const std::string kind(NameOf(worker.kind));
  if (totals != nullptr) {
    totals
        ->With({worker.container->name(), meta.namespace_(), meta.name(), meta.uid(), kind,
                result == ProbeResult::kSuccess   ? "successful"
                : result == ProbeResult::kFailure ? "failed"
                                                  : "unknown"})
        .Inc();
  }
  if (durations != nullptr && result != ProbeResult::kFailure) {
    durations->With({worker.container->name(), meta.namespace_(), meta.name(), kind})
        .Observe(std::chrono::duration<double>(clock.Steady() - began).count());
  }
}

void ProbeManager::Impl::Ended(const Worker& worker) {
  const auto& meta = worker.pod->metadata();
  const std::string kind(NameOf(worker.kind));
  if (!worker.container_id.empty()) ResultsOf(worker.kind).erase(worker.container_id);
  for (const char* result : {"successful", "failed", "unknown"}) {
    if (totals != nullptr) {
      totals->Remove({worker.container->name(), meta.namespace_(), meta.name(), meta.uid(), kind, result});
    }
  }
  if (durations != nullptr) durations->Remove({worker.container->name(), meta.namespace_(), meta.name(), kind});
  const auto found = workers.find(Key{meta.uid(), worker.container->name(), worker.kind});
  if (found != workers.end() && found->second.get() == &worker) workers.erase(found);
}

void ProbeManager::Impl::Start(std::shared_ptr<const Pod> pod, const core::Container& container, bool sidecar,
                               ProbeKind kind) {
  if (SpecOf(container, kind) == nullptr) return;
  // A container that has ended for good is not probed again: its worker would end at once, tell of it, and be started
  // by the sync that follows.
  const auto known = host.ContainerOf(pod->metadata().uid(), container.name());
  if (known && known->terminated && !known->restarts) return;
  auto& slot = workers[Key{pod->metadata().uid(), container.name(), kind}];
  if (slot != nullptr) return;
  slot = std::make_shared<Worker>(executor);
  slot->pod = pod;
  slot->container = &container;
  slot->sidecar = sidecar;
  slot->kind = kind;
  group.Spawn("probe", Work(slot));
}

Task<ProbeOutcome> ProbeManager::Impl::Attempt(std::shared_ptr<Worker> worker) {
  const core::Probe& probe = *SpecOf(*worker->container, worker->kind);
  const auto& handler = probe.handler();
  const std::chrono::seconds timeout(Timeout(probe));
  const std::string ip = host.PodIp(worker->pod->metadata().uid());
  if (handler.has_exec()) {
    std::vector<std::string> command(handler.exec().command().begin(), handler.exec().command().end());
    co_return co_await ProbeExec(host, worker->container_id, *worker->container, std::move(command), timeout);
  }
  if (handler.has_httpget()) co_return co_await ProbeHttp(handler.httpget(), *worker->container, ip, timeout);
  if (handler.has_tcpsocket()) co_return co_await ProbeTcp(handler.tcpsocket(), *worker->container, ip, timeout);
  if (handler.has_grpc()) co_return co_await ProbeGrpc(handler.grpc(), ip, timeout);
  co_return ProbeOutcome{ProbeOutcome::kError,
                         absl::StrCat("missing probe handler for ", worker->pod->metadata().name(), "_",
                                      worker->pod->metadata().namespace_(), "(", worker->pod->metadata().uid(),
                                      "):", worker->container->name())};
}

Task<bool> ProbeManager::Impl::Probe(std::shared_ptr<Worker> worker) {
  const std::string& uid = worker->pod->metadata().uid();
  const core::Probe& probe = *SpecOf(*worker->container, worker->kind);
  const SteadyTime began = clock.Steady();
  if (host.PodFinished(uid)) co_return false;
  const auto container = host.ContainerOf(uid, worker->container->name());
  if (!container || container->id.empty()) co_return true;

  if (worker->container_id != container->id) {
    if (!worker->container_id.empty()) ResultsOf(worker->kind).erase(worker->container_id);
    worker->container_id = container->id;
    // After a restart of the kubelet what was said before holds until a probe says otherwise.
    const bool old = container->running && IsOld(container->started_at);
    if (worker->sidecar && worker->kind == ProbeKind::kStartup && container->started) {
      Set(*worker, ProbeResult::kSuccess);
    } else if (!old) {
      Set(*worker, InitialValue(worker->kind));
    }
    worker->on_hold = false;
    worker->last = ProbeResult::kUnknown;
    worker->run = 0;
    worker->first.reset();
  }
  if (worker->on_hold) co_return true;
  if (!container->running) {
    // One that was made and is yet to be started keeps its initial value: it would else be ended as soon as it runs.
    if (container->terminated || worker->kind == ProbeKind::kReadiness) Set(*worker, ProbeResult::kFailure);
    co_return !container->terminated || container->restarts;
  }
  if (host.PodTerminating(uid) && worker->kind != ProbeKind::kReadiness) {
    Set(*worker, ProbeResult::kSuccess);
    co_return false;
  }
  if (!worker->first) {
    // The start is the wall clock's; from here on the steady clock counts, which nobody sets.
    const std::chrono::nanoseconds delay = std::chrono::seconds(probe.initialdelayseconds());
    const std::chrono::nanoseconds age = clock.Now() - container->started_at;
    worker->first = clock.Steady() + delay - std::clamp(age, std::chrono::nanoseconds(0), delay);
  }
  if (clock.Steady() < *worker->first) co_return true;
  // A startup probe runs until the container has started, the others from then on.
  if (container->started == (worker->kind == ProbeKind::kStartup)) co_return true;

  ProbeOutcome outcome;
  for (int attempt = 0; attempt < kRetries; ++attempt) {
    outcome = co_await Attempt(worker);
    if (outcome.kind != ProbeOutcome::kError) break;
  }
  if (worker->stopped) co_return true;
  const auto report = [&](std::string_view reason, std::string_view text) {
    host.ProbeEvent(*worker->pod, worker->container->name(), "Warning", reason, text);
  };
  ProbeResult result = ProbeResult::kSuccess;
  switch (outcome.kind) {
    case ProbeOutcome::kError:
      report("Unhealthy", absl::StrCat(NameOf(worker->kind), " probe errored and resulted in ", outcome.state,
                                       " state: ", outcome.text));
      co_return true;
    case ProbeOutcome::kFailure:
      report("Unhealthy", absl::StrCat(NameOf(worker->kind), " probe failed: ", outcome.text));
      result = ProbeResult::kFailure;
      break;
    case ProbeOutcome::kWarning:
      report("ProbeWarning", absl::StrCat(NameOf(worker->kind), " probe warning: ", outcome.text));
      break;
    case ProbeOutcome::kSuccess: break;
  }
  Count(*worker, result, began);
  worker->run = worker->last == result ? worker->run + 1 : 1;
  worker->last = result;
  if (worker->run < (result == ProbeResult::kFailure ? FailureThreshold(probe) : SuccessThreshold(probe))) {
    co_return true;
  }
  Set(*worker, result);
  if (worker->kind == ProbeKind::kStartup ||
      (worker->kind == ProbeKind::kLiveness && result == ProbeResult::kFailure)) {
    // The container is about to be killed (or has started): no probes until there is a new one.
    worker->on_hold = true;
    worker->run = 0;
  }
  co_return true;
}

// True when `when` came or somebody asked for a probe now; false when the worker is to stop.
Task<bool> ProbeManager::Impl::WaitUntil(std::shared_ptr<Worker> worker, SteadyTime when) {
  const auto cancel =
      worker->timers.Spawn("probe timer", WakeAt(clock, std::max<std::chrono::nanoseconds>(when - clock.Steady(), 0ns),
                                                 std::shared_ptr<Wakeup>(worker, &worker->wake)));
  bool go_on = true;
  for (;;) {
    if (worker->stopped) {
      go_on = false;
      break;
    }
    if (worker->triggered || clock.Steady() >= when) break;
    if (!(co_await worker->wake.Wait()).ok()) {
      go_on = false;
      break;
    }
  }
  cancel();
  co_return go_on;
}

Task<void> ProbeManager::Impl::Work(std::shared_ptr<Worker> worker) {
  auto self = shared_from_this();
  const std::chrono::seconds period(Period(*SpecOf(*worker->container, worker->kind)));
  bool go_on = true;
  // A kubelet that just started finds many containers at once: their first probes are spread over a period.
  if (period > clock.Steady() - steady_start) {
    const auto share = std::chrono::nanoseconds(
        static_cast<int64_t>(static_cast<double>(std::chrono::nanoseconds(period).count()) *
                             static_cast<double>(random()) / static_cast<double>(std::minstd_rand::max())));
    const SteadyTime first = clock.Steady() + share;
    while (go_on && clock.Steady() < first) {
      worker->triggered = false;  // upstream does not look at triggers before the first probe
      go_on = co_await WaitUntil(worker, first);
    }
  }
  SteadyTime next = clock.Steady();
  while (go_on && !worker->stopped) {
    worker->triggered = false;
    if (!co_await Probe(worker)) break;
    const SteadyTime now = clock.Steady();
    // A ticker's rhythm: a slow probe delays the next one to the next beat, it does not make it up.
    next += period;
    if (next < now) next = now;
    go_on = co_await WaitUntil(worker, next);
    if (worker->triggered) next = clock.Steady();
  }
  Ended(*worker);
}

bool ProbeManager::Impl::Started(const Pod& pod, const core::ContainerStatus& status) const {
  if (!status.state().has_running()) return false;
  if (const auto result = Find(ProbeKind::kStartup, status.containerid())) return *result == ProbeResult::kSuccess;
  if (status.started()) return true;
  return !workers.contains(Key{pod.metadata().uid(), status.name(), ProbeKind::kStartup});
}

void ProbeManager::Impl::UpdateOne(const Pod& pod, const core::Container* spec, core::ContainerStatus* status) {
  bool ready = false;
  if (!status->state().has_running()) {
    ready = false;
  } else if (Find(ProbeKind::kReadiness, status->containerid()) == ProbeResult::kSuccess) {
    ready = true;
  } else {
    const auto found = workers.find(Key{pod.metadata().uid(), status->name(), ProbeKind::kReadiness});
    ready = found == workers.end();
    if (!ready) {
      // Started and not ready: look now instead of at the next beat.
      found->second->triggered = true;
      found->second->wake.Notify();
    }
    const WallTime started_at = api::FromTime(status->state().running().startedat());
    if (spec != nullptr && IsOld(started_at)) {
      if (!ready && !Find(ProbeKind::kReadiness, status->containerid())) ready = true;
      if (spec->has_readinessprobe()) {
        bool was_ready = false;
        for (const auto& condition : pod.status().conditions()) {
          was_ready = was_ready || (condition.type() == "Ready" && condition.status() == "True");
        }
        ready = ready && was_ready;
      }
    }
  }
  status->set_ready(ready);
}

ProbeManager::ProbeManager(asio::any_io_executor executor, ProbeHost& host, Clock& clock, metrics::Registry* metrics)
    : impl_(std::make_shared<Impl>(executor, host, clock, metrics)) {}

ProbeManager::~ProbeManager() {
  // Probes under way end on the loop later; they must not touch the host any more.
  for (const auto& [key, worker] : impl_->workers) worker->stopped = true;
  impl_->group.Cancel();
}

void ProbeManager::AddPod(std::shared_ptr<const Pod> pod) {
  const auto start = [&](const core::Container& container, bool sidecar) {
    for (ProbeKind kind : {ProbeKind::kStartup, ProbeKind::kReadiness, ProbeKind::kLiveness}) {
      impl_->Start(pod, container, sidecar, kind);
    }
  };
  for (const auto& c : pod->spec().containers()) start(c, false);
  for (const auto& c : pod->spec().initcontainers()) {
    if (c.restartpolicy() == "Always") start(c, true);
  }
}

void ProbeManager::StopLivenessAndStartup(const std::string& uid) {
  for (const auto& [key, worker] : impl_->workers) {
    if (std::get<0>(key) != uid || worker->kind == ProbeKind::kReadiness) continue;
    worker->stopped = true;
    worker->wake.Notify();
  }
}

void ProbeManager::RemovePod(const std::string& uid) {
  for (const auto& [key, worker] : impl_->workers) {
    if (std::get<0>(key) != uid) continue;
    worker->stopped = true;
    worker->wake.Notify();
  }
}

void ProbeManager::UpdateStatus(const Pod& pod, core::PodStatus* status) {
  for (auto& one : *status->mutable_containerstatuses()) {
    one.set_started(impl_->Started(pod, one));
    if (!one.started()) continue;
    const core::Container* spec = nullptr;
    for (const auto& c : pod.spec().containers()) {
      if (c.name() == one.name()) spec = &c;
    }
    impl_->UpdateOne(pod, spec, &one);
  }
  for (auto& one : *status->mutable_initcontainerstatuses()) {
    one.set_started(impl_->Started(pod, one));
    const core::Container* spec = nullptr;
    for (const auto& c : pod.spec().initcontainers()) {
      if (c.name() == one.name()) spec = &c;
    }
    if (spec == nullptr) continue;
    if (spec->restartpolicy() != "Always") {
      if (one.state().has_terminated() && one.state().terminated().exitcode() == 0) one.set_ready(true);
      continue;
    }
    if (one.started()) impl_->UpdateOne(pod, spec, &one);
  }
}

ProbeResult ProbeManager::Get(ProbeKind kind, const std::string& container_id) const {
  return impl_->Find(kind, container_id).value_or(ProbeResult::kUnknown);
}

void ProbeManager::SetNotReady(const std::string& uid, const std::string& container_id) {
  for (const auto& [key, worker] : impl_->workers) {
    if (std::get<0>(key) == uid && worker->kind == ProbeKind::kReadiness && worker->container_id == container_id) {
      impl_->Set(*worker, ProbeResult::kFailure);
    }
  }
}

void ProbeManager::Forget(const std::string& container_id) {
  for (auto& results : impl_->results) results.erase(container_id);
}

}  // namespace skiff::kubelet
