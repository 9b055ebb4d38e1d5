// Whole lifecycles against a runtime in memory and a clock that only the test moves.
#include "kubelet/pod/pod_workers.h"

#include <filesystem>

#include "cri/fake_runtime.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/runtime/container_gc.h"
#include "kubelet/volume/mounter.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using testing_pods::MakePod;

class NoApi final : public ObjectSource {
 public:
  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string, std::string name) override {
    co_return NotFound("configmap \"", name, "\" not found");
  }
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string, std::string name) override {
    co_return NotFound("secret \"", name, "\" not found");
  }
  Task<StatusOr<Token>> GetToken(TokenRequest) override { co_return Unavailable("no tokens"); }
  void RegisterPod(const Pod&) override {}
  void UnregisterPod(const std::string&) override {}
};

class NoProbeHost final : public ProbeHost {
 public:
  std::optional<Container> ContainerOf(const std::string&, const std::string&) override { return std::nullopt; }
  std::string PodIp(const std::string&) override { return ""; }
  bool PodFinished(const std::string&) override { return false; }
  bool PodTerminating(const std::string&) override { return false; }
  Task<StatusOr<ExecResult>> ExecSync(std::string, std::vector<std::string>, std::chrono::nanoseconds) override {
    co_return ExecResult{};
  }
  void ProbeChanged(const std::string&, const std::string&, ProbeKind, ProbeResult) override {}
  void ProbeEvent(const Pod&, const std::string&, std::string_view, std::string_view, std::string_view) override {}
};

// The API server's side of statuses: one pod a name.
class FakeSink final : public StatusSink {
 public:
  std::map<std::string, Pod> pods;
  std::vector<core::PodStatus> written;
  std::vector<std::string> deleted;
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
    hooks.probes = [](ProbeKind, const std::string&) { return ProbeResult::kUnknown; };
    hooks.sandbox_ready = [this](const Pod& pod) { workers->SandboxReady(pod); };
    pods = std::make_unique<PodRuntime>(loop.get_executor(), runtime, cache, clock, objects, volumes, events, options,
                                        std::move(hooks));
    PodWorkersHooks worker_hooks;
    worker_hooks.host_ips = [] { return std::vector<std::string>{"10.250.0.11"}; };
    worker_hooks.admit = [this](const Pod&, const std::vector<PodPtr>&) { return reject; };
    PodWorkersOptions worker_options;
    worker_options.root_dir = root;
    workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                           cgroups, events, worker_options, std::move(worker_hooks));
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
  Task<void> DoRelist() { (void)co_await cache.Relist(); }
  static Task<void> Collect(ContainerGc* gc) { (void)co_await gc->Collect(false); }
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
  std::optional<Rejection> reject;
  std::unique_ptr<PodRuntime> pods;
  std::unique_ptr<PodWorkers> workers;
};

TEST_F(PodWorkersTest, StartsReportsAndEndsAPod) {
  Add(MakePod({"c"}));
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 1u);
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 1u);
  const core::PodStatus* status = statuses.Get("u-1");
  ASSERT_NE(status, nullptr);
  EXPECT_EQ(status->phase(), "Running");
  EXPECT_EQ(sink.pods["p"].status().phase(), "Running");
  EXPECT_THAT(Events(), Contains("Started: Container started"));
  // Nothing more happens while nothing changes.
  size_t calls = runtime.calls.size();
  Relist();
  Advance(seconds(5));
  EXPECT_EQ(runtime.calls.size(), calls);

  DeleteFromApi(30);
  EXPECT_THAT(runtime.calls, Contains("StopContainer c 30"));
  EXPECT_THAT(Events(), Contains("Killing: Stopping container c"));
  ASSERT_TRUE(Until([&] { return sink.deleted.size() == 1; }));
  EXPECT_EQ(sink.written.back().phase(), "Succeeded");
  EXPECT_EQ(sink.written.back().observedgeneration(), 2);
  workers->Remove("u-1");
  EXPECT_TRUE(Until([&] { return workers->size() == 0; }));
  EXPECT_TRUE(runtime.sandboxes.empty());
}

TEST_F(PodWorkersTest, ACrashLoopWaitsLongerEachTime) {
  Add(MakePod({"c"}));
  auto crash = [&] {
    runtime.Exit(runtime.ContainerNamed("c"), 1);
    Relist();
    Advance(milliseconds(1));
  };
  crash();
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 2u) << "the first restart is immediate";
  for (int expected : {10, 20, 40}) {
    size_t before = runtime.CountCalls("StartContainer");
    crash();
    Advance(seconds(2));
    EXPECT_EQ(statuses.Get("u-1")->containerstatuses(0).state().waiting().reason(), "CrashLoopBackOff");
    Advance(seconds(expected - 4));
    EXPECT_EQ(runtime.CountCalls("StartContainer"), before) << expected;
    Advance(seconds(3));
    EXPECT_EQ(runtime.CountCalls("StartContainer"), before + 1) << expected;
  }
  EXPECT_EQ(statuses.Get("u-1")->containerstatuses(0).restartcount(), 4);
  EXPECT_THAT(Events(), Contains("BackOff: Back-off restarting failed container c in pod p_ns(u-1)"));
}

TEST_F(PodWorkersTest, ARestartedKubeletTouchesNothing) {
  Pod pod = MakePod({"c"});
  Add(pod);
  std::string id = runtime.ContainerNamed("c");
  // A new life: another set of workers over the same runtime.
  Pod stored = sink.pods["p"];
  workers = nullptr;
  PodWorkersHooks hooks;
  hooks.admit = [](const Pod&, const std::vector<PodPtr>&) {
    return std::optional<Rejection>(Rejection{"OutOfcpu", "would not fit any more"});
  };
  RuntimeCache fresh(runtime, clock, root + "/logs");
  PodWorkers second(loop.get_executor(), clock, fresh, *pods, statuses, probes, volumes, objects, cgroups, events,
                    {.root_dir = root}, std::move(hooks));
  runtime.calls.clear();
  second.Update(std::make_shared<const Pod>(stored));
  Settle();
  EXPECT_TRUE(runtime.calls.empty()) << runtime.calls[0];
  EXPECT_EQ(statuses.Get("u-1")->phase(), "Running");
}

TEST_F(PodWorkersTest, EvictedPodsFailOnceNothingRunsAnyMore) {
  Add(MakePod({"c"}));
  core::PodCondition disruption;
  disruption.set_type("DisruptionTarget");
  disruption.set_status("True");
  disruption.set_reason("TerminationByKubelet");
  ASSERT_TRUE(workers->Evict("u-1", 1, {"Evicted", "The node was low on resource: memory. "}, disruption));
  EXPECT_FALSE(workers->Evict("u-1", 1, {"Evicted", "again"}, std::nullopt));
  ASSERT_TRUE(Until([&] { return sink.written.back().phase() == "Failed"; }));
  // Nothing of it shows before the end.
  for (const auto& status : sink.written) {
    EXPECT_EQ(FindCondition(status, "Ready")->reason() == "PodFailed", status.phase() == "Failed");
    EXPECT_EQ(FindCondition(status, "DisruptionTarget") != nullptr, status.phase() == "Failed");
  }
  EXPECT_THAT(runtime.calls, Contains("StopContainer c 2"));  // never less than two seconds
  const core::PodStatus& last = sink.written.back();
  EXPECT_EQ(last.reason(), "Evicted");
  EXPECT_EQ(last.message(), "The node was low on resource: memory. ");
  EXPECT_TRUE(last.containerstatuses(0).state().has_terminated());
  EXPECT_TRUE(Until([&] { return workers->Released("u-1"); }));
  // It stays over: nothing is started again.
  Relist();
  Advance(seconds(100));
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 1u);
}

TEST_F(PodWorkersTest, RejectedPodsFail) {
  reject = Rejection{"OutOfcpu", "Node didn't have enough resource: cpu, requested: 100, used: 0, capacity: 1"};
  Add(MakePod({"c"}));
  ASSERT_FALSE(sink.written.empty());
  EXPECT_EQ(sink.written.back().phase(), "Failed");
  EXPECT_EQ(sink.written.back().reason(), "OutOfcpu");
  EXPECT_THAT(sink.written.back().message(), HasSubstr("Pod was rejected: Node didn't have enough resource: cpu"));
  EXPECT_EQ(sink.written.back().containerstatuses_size(), 0);
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 0u);
}

TEST_F(PodWorkersTest, ImagePullErrors) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->set_image("reg.example/none:1");
  runtime.pull_failures["reg.example/none:1"] = absl::UnknownError("no such image");
  Add(pod);
  EXPECT_EQ(statuses.Get("u-1")->containerstatuses(0).state().waiting().reason(), "ErrImagePull");
  EXPECT_EQ(statuses.Get("u-1")->containerstatuses(0).state().waiting().message(), "no such image");
  EXPECT_EQ(statuses.Get("u-1")->phase(), "Pending");
}

TEST_F(PodWorkersTest, ConfigErrorsNameWhatIsMissing) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()
      ->mutable_containers(0)
      ->add_envfrom()
      ->mutable_secretref()
      ->mutable_localobjectreference()
      ->set_name("nosecret");
  Add(pod);
  const auto& waiting = statuses.Get("u-1")->containerstatuses(0).state().waiting();
  EXPECT_EQ(waiting.reason(), "CreateContainerConfigError");
  EXPECT_EQ(waiting.message(), "secret \"nosecret\" not found");
  EXPECT_THAT(Events(), Contains("Failed: Error: secret \"nosecret\" not found"));
}

TEST_F(PodWorkersTest, AFinishedPodSucceedsOnlyWhenItsSandboxIsDown) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_restartpolicy("Never");
  Add(pod);
  runtime.Exit(runtime.ContainerNamed("c"), 0);
  Relist();
  EXPECT_EQ(sink.written.back().phase(), "Succeeded");
  for (const auto& [id, sandbox] : runtime.sandboxes) EXPECT_EQ(sandbox.status.state(), cri_v1::SANDBOX_NOTREADY);
  EXPECT_TRUE(sink.deleted.empty());
  DeleteFromApi(30);
  EXPECT_TRUE(Until([&] { return sink.deleted.size() == 1; })) << "a finished pod goes at once";
}

TEST_F(PodWorkersTest, ALostSandboxIsMadeAgain) {
  Add(MakePod({"c"}));
  runtime.KillSandbox(runtime.sandboxes.begin()->first);
  Relist();
  Settle();
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 2u);
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 2u);
  EXPECT_THAT(Events(), Contains("SandboxChanged: Pod sandbox changed, it will be killed and re-created."));
}

// security.md: node-reboot. What the runtime has left of the old boot is replaced, and goes.
TEST_F(PodWorkersTest, node_reboot_NothingOfTheOldBootIsLeft) {
  Add(MakePod({"c"}));
  const std::string old_sandbox = runtime.sandboxes.begin()->first, old_container = runtime.ContainerNamed("c");
  Pod gone = MakePod({"c"});
  gone.mutable_metadata()->set_name("gone");
  gone.mutable_metadata()->set_uid("u-2");
  Add(gone);
  for (const auto& [id, sandbox] : std::map(runtime.sandboxes)) runtime.KillSandbox(id);
  const Pod stored = sink.pods["p"];
  workers = nullptr;
  workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                         cgroups, events, PodWorkersOptions{.root_dir = root}, PodWorkersHooks{});
  Relist();
  workers->Update(std::make_shared<const Pod>(stored));
  workers->EndUnknown();
  ASSERT_TRUE(Until([&] { return runtime.ContainerNamed("c") != old_container && workers->size() == 1; }));
  EXPECT_THAT(Events(), Contains("SandboxChanged: Pod sandbox changed, it will be killed and re-created."));
  ContainerGc gc(runtime, clock, {.max_per_container = 0, .logs_dir = root, .container_logs_dir = root + "/containers"},
                 {.sources_ready = [] { return true; },
                  .content_gone = [](const std::string& uid) { return uid != "u-1"; },
                  .runtime_ended = [](const std::string&) { return false; }});
  Spawn(loop.get_executor(), "collect", Collect(&gc));
  Settle();
  EXPECT_FALSE(runtime.sandboxes.contains(old_sandbox));
  EXPECT_EQ(runtime.sandboxes.size(), 1u);
  EXPECT_EQ(runtime.containers.size(), 1u);
}

TEST_F(PodWorkersTest, SidecarsEndAfterTheMainContainers) {
  Pod pod = MakePod({"main"}, {"s1", "s2"});
  for (auto& c : *pod.mutable_spec()->mutable_initcontainers()) c.set_restartpolicy("Always");
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 3u);
  DeleteFromApi(10);
  std::vector<std::string> stops;
  for (const auto& call : runtime.calls) {
    if (call.starts_with("StopContainer")) stops.push_back(call.substr(14, call.rfind(' ') - 14));
  }
  EXPECT_EQ(stops, (std::vector<std::string>{"main", "s2", "s1"}));
}

TEST_F(PodWorkersTest, TheDeadlineEndsAPod) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_activedeadlineseconds(5);
  Add(pod);
  EXPECT_EQ(statuses.Get("u-1")->phase(), "Running");
  Advance(seconds(6));
  Settle();
  workers->Wake("u-1");
  Settle();
  EXPECT_EQ(sink.written.back().phase(), "Failed");
  EXPECT_EQ(sink.written.back().reason(), "DeadlineExceeded");
}

TEST_F(PodWorkersTest, PodsThatNobodyKnowsAreEnded) {
  Add(MakePod({"c"}));
  workers->Remove("u-1");
  EXPECT_TRUE(Until([&] { return runtime.containers.empty(); }));
  // And what an earlier life left behind.
  Add(MakePod({"c"}));
  Relist();
  PodWorkers second(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects, cgroups, events,
                    {.root_dir = root}, {});
  second.EndUnknown();
  EXPECT_TRUE(Until([&] { return runtime.containers.empty(); }));
}

TEST_F(PodWorkersTest, WhatOthersWriteIntoAStatusIsUndone) {
  Add(MakePod({"c"}));
  auto ready = [&] {
    for (auto& c : *sink.pods["p"].mutable_status()->mutable_conditions()) {
      if (c.type() == "Ready") return &c;
    }
    return static_cast<core::PodCondition*>(nullptr);
  };
  auto tell = [&] {
    workers->Update(std::make_shared<const Pod>(sink.pods["p"]));
    Settle();
  };
  auto mark_not_ready = [&] {
    ready()->set_status("False");
    sink.pods["p"].mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    tell();
  };
  tell();
  ASSERT_TRUE(Until([&] { return ready() != nullptr && ready()->status() == "True"; }));
  const size_t writes = sink.written.size();
  mark_not_ready();
  EXPECT_EQ(ready()->status(), "True");
  EXPECT_EQ(sink.written.size(), writes + 1);
  tell();  // the own write comes back
  EXPECT_EQ(sink.written.size(), writes + 1);
  // A condition of others stays, wherever they put it.
  auto* other = sink.pods["p"].mutable_status()->add_conditions();
  other->set_type("example.com/x");
  other->set_status("True");
  sink.pods["p"].mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
  tell();
  EXPECT_EQ(sink.written.size(), writes + 1);
  // Two that disagree do not write in a circle.
  mark_not_ready();
  Advance(seconds(9));
  EXPECT_EQ(ready()->status(), "False");
  Advance(seconds(2));
  Pod another = MakePod({"c"});
  another.mutable_metadata()->set_name("q");
  another.mutable_metadata()->set_uid("u-2");
  Add(another);  // the queue's own timer runs on real time; this has it look
  EXPECT_EQ(ready()->status(), "True");
}

TEST_F(PodWorkersTest, StatusIsDeliveredAfterAnOutage) {
  sink.fail_writes = 1000;
  Add(MakePod({"c"}));
  EXPECT_TRUE(sink.written.empty());
  EXPECT_EQ(statuses.Get("u-1")->phase(), "Running");
}

}  // namespace
}  // namespace skiff::kubelet
