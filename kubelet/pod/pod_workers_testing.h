// Pod workers before a runtime in memory, an API server that keeps statuses, and a clock that only the test moves.
#ifndef SKIFF_KUBELET_POD_POD_WORKERS_TESTING_H_
#define SKIFF_KUBELET_POD_POD_WORKERS_TESTING_H_

#include "kubelet/pod/pod_workers.h"

#include <filesystem>
#include <stdexcept>

#include "base/log.h"
#include "cri/fake_runtime.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/no_probes_testing.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/runtime/container_gc.h"
#include "kubelet/volume/mounter.h"

namespace skiff::kubelet {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using testing_pods::MakePod;

class NoApi final : public ObjectSource {
 public:
  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string, std::string name) override {
    co_return NotFound("configmap \"", name, "\" not found");
  }
  std::map<std::string, Secret> secrets;
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string, std::string name) override {
    if (auto it = secrets.find(name); it != secrets.end()) co_return std::make_shared<const Secret>(it->second);
    co_return NotFound("secret \"", name, "\" not found");
  }
  Task<StatusOr<Token>> GetToken(TokenRequest) override { co_return Unavailable("no tokens"); }
  void RegisterPod(const Pod&) override {}
  void UnregisterPod(const std::string&) override {}
};

// The API server's side of statuses: one pod a name.
class FakeSink final : public StatusSink {
 public:
  std::map<std::string, Pod> pods;
  std::vector<core::PodStatus> written;
  std::vector<std::string> deleted, order;  // order: names as they were written
  int version = 100;
  int fail_writes = 0;

  Task<StatusOr<Pod>> Get(std::string, std::string name) override {
    auto it = pods.find(name);
    if (it == pods.end()) co_return NotFound("pods \"", name, "\" not found");
    co_return it->second;
  }
  Task<StatusOr<Pod>> UpdateStatus(Pod pod) override {
    if (fail_writes > 0) {
      --fail_writes;
      co_return Unavailable("connection refused");
    }
    auto it = pods.find(pod.metadata().name());
    if (it == pods.end()) co_return NotFound("gone");
    if (it->second.metadata().resourceversion() != pod.metadata().resourceversion()) {
      co_return absl::AbortedError("the object has been modified");
    }
    *it->second.mutable_status() = pod.status();
    it->second.mutable_metadata()->set_resourceversion(std::to_string(++version));
    written.push_back(pod.status());
    order.push_back(pod.metadata().name());
    co_return it->second;
  }
  Task<Status> Delete(std::string, std::string name, std::string) override {
    deleted.push_back(name);
    pods.erase(name);
    co_return absl::OkStatus();
  }
};

class PodWorkersTest : public ::testing::Test {
 protected:
  PodWorkersTest()
      : runtime(clock),
        cache(runtime, clock, root + "/logs"),
        volumes(loop.get_executor(), {.root_dir = root, .node_name = "n1"}, objects, mounter, clock,
                [](const Pod&, std::string_view, std::string_view, std::string_view) {}),
        probes(loop.get_executor(), probe_host, clock),
        statuses(loop.get_executor(), &sink, clock),
        cgroups({.mount = root + "/cgroup", .enabled = false}) {
    PodRuntimeOptions options;
    options.root_dir = root;
    options.container_logs_dir = root + "/containers";
    options.node.logs_dir = root + "/logs";
    options.dns.resolv_conf = "";
    PodRuntimeHooks hooks;
    hooks.node_reference = [] {
      client::ObjectReference node;
      node.set_kind("Node");
      node.set_name("n1");
      return node;
    };
    hooks.probes = [](ProbeKind, const std::string&) { return ProbeResult::kUnknown; };
    hooks.sandbox_ready = [this](const Pod& pod) { workers->SandboxReady(pod); };
    hooks.actuated = [this](const Pod& pod) { return granted->Actuated(pod); };
    hooks.pod_memory = [this](const Pod&) { return pod_memory; };
    hooks.resize_from = [this](const Pod& pod) { return granted->ResizeFrom(pod); };
    hooks.pod_resized = [this](const Pod& pod) { granted->SetActuatedPodLevel(pod); };
    hooks.container_made = [this](const Pod& pod, const core::Container& c) { granted->SetActuated(pod, c); };
    hooks.container_resized = [this](const std::string& uid, const std::string& c, const auto& r) {
      granted->SetActuated(uid, c, r);
    };
    pods = std::make_unique<PodRuntime>(loop.get_executor(), runtime, cache, clock, objects, volumes, events, options,
                                        std::move(hooks));
    PodWorkersHooks worker_hooks;
    worker_hooks.host_ips = [this] {
      if (std::exchange(throws, false)) throw std::runtime_error("a bug");
      return std::vector<std::string>{"10.250.0.11"};
    };
    worker_hooks.refresh_node = [this] { return RefreshNode(); };
    worker_hooks.pods_changed = [this] { ++changes; };
    worker_hooks.admit = [this](const Pod& pod, const std::vector<PodPtr>& active) {
      for (const PodPtr& p : active) beside[pod.metadata().uid()].insert(p->metadata().uid());
      return admit ? admit(pod, active) : AdmissionResult(reject);
    };
    PodWorkersOptions worker_options;
    worker_options.root_dir = root;
    workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                           cgroups, events, worker_options, std::move(worker_hooks));
    workers->SetAllocations(granted);
    statuses.SetMayRun([this](const std::string& uid) { return workers != nullptr && workers->MayRun(uid); });
    statuses.SetLatest([this](const std::string& uid) { return workers == nullptr ? nullptr : workers->Find(uid); });
    cache.OnChange([this](const std::string& uid) { workers->Wake(uid); });
    runtime.AddImage("img:latest");
    Spawn(loop.get_executor(), "statuses", statuses.Run());
    Settle();
  }
  ~PodWorkersTest() override {
    std::error_code late;  // disk work may still be under way
    std::filesystem::remove_all(root, late);
  }

  static std::string MakeRoot() {
    char name[] = "/tmp/skiff-workers-XXXXXX";
    return ::mkdtemp(name);
  }
  void Settle() {
    // The volume manager's disk work comes back from other threads.
    for (int i = 0, idle = 0; idle < 20 && i < 500; ++i, ++idle) {
      loop.restart();
      while (loop.poll() > 0) idle = 0;
      struct timespec pause = {0, 1000000};
      ::nanosleep(&pause, nullptr);
    }
  }
  // For what goes by way of other threads, which a busy machine delays.
  bool Until(const std::function<bool()>& met) {
    for (int i = 0; i < 200 && !met(); ++i) Settle();
    return met();
  }
  void Advance(std::chrono::nanoseconds by) {
    clock.Advance(by, loop);
    Settle();
  }
  void Relist() {
    Spawn(loop.get_executor(), "relist", DoRelist());
    Settle();
  }
  Task<void> RefreshNode() {
    if (on_node_read) on_node_read();
    co_return;
  }
  Task<void> DoRelist() { (void)co_await cache.Relist(); }
  static Task<void> Collect(ContainerGc* gc) { (void)co_await gc->Collect(false); }
  // With it, what pods are granted is kept below `root`. Before the first pod.
  void KeepGrantsOnDisk() {
    granted = &on_disk;
    workers->SetAllocations(granted);
  }
  // The pod as the API server has it, changed by somebody.
  void Change(const std::string& name, const std::function<void(Pod*)>& change) {
    Pod& stored = sink.pods[name];
    change(&stored);
    stored.mutable_metadata()->set_generation(stored.metadata().generation() + 1);
    stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    workers->Update(std::make_shared<const Pod>(stored));
    Settle();
  }
  PodPtr Add(Pod pod) {
    sink.pods[pod.metadata().name()] = pod;
    auto ptr = std::make_shared<const Pod>(std::move(pod));
    workers->Update(ptr);
    Settle();
    return ptr;
  }
  void DeleteFromApi(int64_t grace) {
    Pod& pod = sink.pods["p"];
    pod.mutable_metadata()->mutable_deletiontimestamp()->set_seconds(1);
    pod.mutable_metadata()->set_deletiongraceperiodseconds(grace);
    pod.mutable_metadata()->set_generation(pod.metadata().generation() + 1);
    pod.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    workers->Update(std::make_shared<const Pod>(pod));
    Settle();
  }
  std::vector<std::string> Events() const {
    std::vector<std::string> out;
    for (const auto& e : events.events) out.push_back(e.reason + ": " + e.message);
    return out;
  }

  std::string root = MakeRoot();
  asio::io_context loop;
  FakeClock clock;
  cri::FakeRuntime runtime;
  NoApi objects;
  FakeMounter mounter;
  client::FakeEventSink events;
  NoProbeHost probe_host;
  FakeSink sink;
  RuntimeCache cache;
  VolumeManager volumes;
  ProbeManager probes;
  StatusManager statuses;
  Cgroups cgroups;
  std::map<std::string, std::set<std::string>> beside;  // the active pods that a pod was admitted beside, by uids
  Allocations allocations{loop.get_executor(), clock, ""}, on_disk{loop.get_executor(), clock, root};
  Allocations* granted = &allocations;
  std::optional<Rejection> reject;
  std::function<AdmissionResult(const Pod& pod, const std::vector<PodPtr>& others)> admit;  // instead of `reject`
  std::function<void()> on_node_read;
  std::optional<PodMemory> pod_memory;  // what a resize is told of the pod's cgroup
  bool throws = false;                  // the next status cannot be computed
  int changes = 0;                      // of requests, that were told
  std::unique_ptr<PodRuntime> pods;
  std::unique_ptr<PodWorkers> workers;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_POD_WORKERS_TESTING_H_
