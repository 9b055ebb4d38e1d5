// A node in memory for tests: an API server's pods, a runtime as strict as containerd behind a bad line, and one life
// of the kubelet after the other (workers and all they stand on, no program around them). Time is the test's; a life
// may end at any await, as by kill -9. What is on disk is real, below a directory of the test's.
#ifndef SKIFF_KUBELET_POD_NODE_TESTING_H_
#define SKIFF_KUBELET_POD_NODE_TESTING_H_

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "api/time.h"
#include "base/blocking_testing.h"
#include "cri/fake_runtime.h"
#include "cri/faulty_runtime.h"
#include "kubelet/pod/no_probes_testing.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/pod/pod_workers.h"
#include "kubelet/runtime/container_gc.h"
#include "kubelet/runtime/runtime_watch.h"
#include "kubelet/volume/mounter.h"

namespace skiff::kubelet::testing_node {

// The pods as an API server has them; every change is told to whoever watches.
class Api {
 public:
  explicit Api(Clock& clock) : clock_(clock) {}
  std::map<std::string, Pod> pods;  // by name
  std::function<void(PodPtr pod, bool gone)> watch;
  size_t writes = 0;

  void Create(Pod pod) {
    pod.mutable_metadata()->set_resourceversion(std::to_string(++version_));
    *pod.mutable_metadata()->mutable_creationtimestamp() = api::ToTime(clock_.Now());
    pods[pod.metadata().name()] = pod;
    Tell(pod, false);
  }
  void Delete(const std::string& name, int64_t grace) {
    auto it = pods.find(name);
    if (it == pods.end()) return;
    Pod& pod = it->second;
    if (grace == 0) {
      Erase(name);
      return;
    }
    if (pod.metadata().has_deletiontimestamp()) return;
    *pod.mutable_metadata()->mutable_deletiontimestamp() = api::ToTime(clock_.Now());
    pod.mutable_metadata()->set_deletiongraceperiodseconds(grace);
    pod.mutable_metadata()->set_generation(pod.metadata().generation() + 1);
    pod.mutable_metadata()->set_resourceversion(std::to_string(++version_));
    Tell(pod, false);
  }
  void Erase(const std::string& name) {
    auto it = pods.find(name);
    if (it == pods.end()) return;
    const Pod pod = std::move(it->second);
    pods.erase(it);
    Tell(pod, true);
  }
  StatusOr<Pod> Write(const Pod& pod) {
    auto it = pods.find(pod.metadata().name());
    if (it == pods.end() || it->second.metadata().uid() != pod.metadata().uid()) return NotFound("pod not found");
    if (it->second.metadata().resourceversion() != pod.metadata().resourceversion()) {
      return absl::AbortedError("the object has been modified");
    }
    ++writes;
    *it->second.mutable_status() = pod.status();
    it->second.mutable_metadata()->set_resourceversion(std::to_string(++version_));
    Tell(it->second, false);
    return it->second;
  }

 private:
  void Tell(const Pod& pod, bool gone) {
    if (watch) watch(std::make_shared<const Pod>(pod), gone);
  }
  Clock& clock_;
  int64_t version_ = 100;
};

class Sink final : public StatusSink {
 public:
  explicit Sink(Api& api) : api_(api) {}
  void Cut() { cut_ = true; }
  Task<StatusOr<Pod>> Get(std::string, std::string name) override {
    auto it = api_.pods.find(name);
    if (it == api_.pods.end()) co_return NotFound("pods \"", name, "\" not found");
    co_return it->second;
  }
  Task<StatusOr<Pod>> UpdateStatus(Pod pod) override {
    if (cut_) co_return absl::CancelledError("context canceled");
    co_return api_.Write(pod);
  }
  Task<Status> Delete(std::string, std::string name, std::string uid) override {
    if (cut_) co_return absl::CancelledError("context canceled");
    auto it = api_.pods.find(name);
    if (it != api_.pods.end() && it->second.metadata().uid() == uid) api_.Erase(name);
    co_return absl::OkStatus();
  }

 private:
  Api& api_;
  bool cut_ = false;
};

class Objects final : public ObjectSource {
 public:
  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string, std::string) override {
    auto map = std::make_shared<ConfigMap>();
    (*map->mutable_data())["key"] = "value";
    co_return map;
  }
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string, std::string name) override {
    co_return NotFound("secret \"", name, "\" not found");
  }
  Task<StatusOr<Token>> GetToken(TokenRequest) override { co_return Unavailable("no tokens"); }
  void RegisterPod(const Pod& pod) override { registered.insert(pod.metadata().uid()); }
  void UnregisterPod(const std::string& uid) override { registered.erase(uid); }
  std::set<std::string> registered;
};

class NoEvents final : public client::EventSink {
 public:
  using EventSink::Record;
  void Record(const client::ObjectReference&, std::string_view, std::string_view, std::string) override { ++count; }
  size_t count = 0;
};

struct World {
  explicit World(asio::io_context& loop) : loop(loop), runtime(clock), api(clock) {
    runtime.strict = true;
    runtime.AddImage("img:latest");
    std::filesystem::create_directories(root + "/cgroup");
    std::ofstream(root + "/cgroup/cgroup.controllers");
  }
  ~World() {
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }
  static std::string MakeRoot() {
    char name[] = "/tmp/skiff-node-XXXXXX";
    return ::mkdtemp(name);
  }

  asio::io_context& loop;
  BlockingOn one_order{loop.get_executor()};
  const std::string root = MakeRoot();
  FakeClock clock;
  cri::FakeRuntime runtime;
  FakeMounter mounter;
  Api api;
};

// One life of the kubelet.
class Life {
 public:
  Life(World& world, std::shared_ptr<cri::FaultPlan> plan)
      : world_(world),
        executor_(world.loop.get_executor()),
        line_(world.runtime, world.clock, std::move(plan)),
        sink_(world.api),
        cache(line_, world.clock, world.root + "/logs"),
        volumes(executor_, {.root_dir = world.root, .node_name = "n1"}, objects, world.mounter, world.clock,
                [](const Pod&, std::string_view, std::string_view, std::string_view) {}),
        probes(executor_, no_probes_, world.clock),
        statuses(executor_, &sink_, world.clock),
        cgroups({.mount = world.root + "/cgroup"}),
        allocations(executor_, world.clock, world.root),
        watch_(executor_, line_, cache, world.clock, registry_),
        group_(executor_) {
    allocations.Load();
    PodRuntimeOptions options;
    options.root_dir = world.root;
    options.container_logs_dir = world.root + "/containers";
    options.node.logs_dir = world.root + "/logs";
    options.dns.resolv_conf = "";
    options.longest_backoff = std::chrono::seconds(40);
    options.request_timeout = std::chrono::seconds(20);
    PodRuntimeHooks hooks;
    hooks.probes = [](ProbeKind, const std::string&) { return ProbeResult::kUnknown; };
    hooks.sandbox_ready = [this](const Pod& pod) { workers->SandboxReady(pod); };
    hooks.actuated = [this](const Pod& pod) { return allocations.Actuated(pod); };
    hooks.resize_from = [this](const Pod& pod) { return allocations.ResizeFrom(pod); };
    hooks.pod_resized = [this](const Pod& pod) { allocations.SetActuatedPodLevel(pod); };
    hooks.container_made = [this](const Pod& pod, const core::Container& c) { allocations.SetActuated(pod, c); };
    hooks.container_resized = [this](const std::string& uid, const std::string& c, const auto& r) {
      allocations.SetActuated(uid, c, r);
    };
    pods = std::make_unique<PodRuntime>(executor_, line_, cache, world.clock, objects, volumes, events,
                                        std::move(options), std::move(hooks));
    PodWorkersHooks worker_hooks;
    worker_hooks.host_ips = [] { return std::vector<std::string>{"10.250.0.11"}; };
    workers =
        std::make_unique<PodWorkers>(executor_, world.clock, cache, *pods, statuses, probes, volumes, objects, cgroups,
                                     events, PodWorkersOptions{.root_dir = world.root}, std::move(worker_hooks));
    workers->SetAllocations(&allocations);
    statuses.SetMayRun([this](const std::string& uid) { return workers->MayRun(uid); });
    statuses.SetLatest([this](const std::string& uid) { return workers->Find(uid); });
    cache.OnChange([this](const std::string& uid) { workers->Wake(uid); });
    gc_ = std::make_unique<ContainerGc>(
        line_, world.clock,
        ContainerGcOptions{.logs_dir = world.root + "/logs", .container_logs_dir = world.root + "/containers"},
        ContainerGcHooks{.sources_ready = [this] { return ready_; },
                         .content_gone = [this](const std::string& uid) { return workers->ContentGone(uid); },
                         .runtime_ended = [this](const std::string& uid) { return !workers->MayRun(uid); }});
    group_.Spawn("kubelet", Run());
  }

  // As kill -9: calls that were sent may still take effect, nothing else does.
  void Kill() {
    line_.Cut();
    sink_.Cut();
    world_.api.watch = nullptr;
    group_.Cancel();
    Spawn(executor_, "end", End());
  }
  bool over() const { return over_; }

 private:
  World& world_;
  asio::any_io_executor executor_;
  cri::FaultyRuntime line_;
  Sink sink_;
  NoProbeHost no_probes_;

 public:
  Objects objects;
  NoEvents events;
  RuntimeCache cache;
  VolumeManager volumes;
  ProbeManager probes;
  StatusManager statuses;
  Cgroups cgroups;
  Allocations allocations;
  std::unique_ptr<PodRuntime> pods;
  std::unique_ptr<PodWorkers> workers;

 private:
  Task<void> End() {
    co_await workers->Shutdown();
    co_await group_.Join();
    over_ = true;
  }
  Task<void> Run() {
    while (!(co_await cache.Relist()).ok()) {
      if (!(co_await world_.clock.Sleep(std::chrono::seconds(1))).ok()) co_return;
    }
    group_.Spawn("watch the runtime", watch_.Run());
    group_.Spawn("statuses", statuses.Run());
    group_.Spawn("allocations", allocations.Run());
    world_.api.watch = [this](PodPtr pod, bool gone) {
      gone ? workers->Remove(pod->metadata().uid()) : workers->Update(std::move(pod));
    };
    for (const auto& [name, pod] : std::map(world_.api.pods)) workers->Update(std::make_shared<const Pod>(pod));
    ready_ = true;
    group_.Spawn("housekeeping", Housekeep());
    group_.Spawn("garbage", Collect());
  }
  // As the program's.
  Task<void> Housekeep() {
    while ((co_await world_.clock.Sleep(std::chrono::seconds(2))).ok()) {
      workers->EndUnknown();
      auto known = workers->Known();
      allocations.Keep(known);
      for (const auto& uid : cgroups.PodsOnDisk()) {
        if (!known.contains(uid)) (void)co_await cgroups.RemovePod(uid);
      }
      (void)co_await volumes.CleanOrphans(std::move(known));
      if (!(co_await world_.clock.Sleep(std::chrono::seconds(28))).ok()) co_return;
    }
  }
  Task<void> Collect() {
    do {
      (void)co_await gc_->Collect(false);
    } while ((co_await world_.clock.Sleep(std::chrono::seconds(60))).ok());
  }

  metrics::Registry registry_;
  RuntimeWatch watch_;
  std::unique_ptr<ContainerGc> gc_;
  bool ready_ = false, over_ = false;
  TaskGroup group_;
};

// Runs the loop until nothing moves any more but by time.
inline void Settle(asio::io_context& loop) {
  if (loop.stopped()) loop.restart();
  while (loop.poll() > 0) {
  }
}

inline void Advance(World& world, std::chrono::nanoseconds by) {
  Settle(world.loop);
  world.clock.Advance(by, world.loop);
  Settle(world.loop);
}

}  // namespace skiff::kubelet::testing_node

#endif  // SKIFF_KUBELET_POD_NODE_TESTING_H_
