// Whole lifecycles against a runtime in memory and a clock that only the test moves.
#include "kubelet/pod/pod_workers.h"

#include <filesystem>

#include "base/log.h"
#include "cri/fake_runtime.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/no_probes_testing.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/runtime/container_gc.h"
#include "kubelet/volume/mounter.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
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
    hooks.probes = [](ProbeKind, const std::string&) { return ProbeResult::kUnknown; };
    hooks.sandbox_ready = [this](const Pod& pod) { workers->SandboxReady(pod); };
    hooks.actuated = [this](const Pod& pod) { return allocations.Actuated(pod); };
    hooks.container_started = [this](const Pod& pod, const core::Container& c) { allocations.SetActuated(pod, c); };
    hooks.container_resized = [this](const std::string& uid, const std::string& c, const auto& r) {
      allocations.SetActuated(uid, c, r);
    };
    pods = std::make_unique<PodRuntime>(loop.get_executor(), runtime, cache, clock, objects, volumes, events, options,
                                        std::move(hooks));
    PodWorkersHooks worker_hooks;
    worker_hooks.host_ips = [] { return std::vector<std::string>{"10.250.0.11"}; };
    worker_hooks.admit = [this](const Pod&, const std::vector<PodPtr>&) { return reject; };
    PodWorkersOptions worker_options;
    worker_options.root_dir = root;
    workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                           cgroups, events, worker_options, std::move(worker_hooks));
    workers->SetAllocations(&allocations);
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
  Allocations allocations{loop.get_executor(), clock, ""};
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

// Every call costs the runtime processor time that other starts wait for, and this pod a round trip.
TEST_F(PodWorkersTest, AStartAsksTheRuntimeOnlyForWhatItMade) {
  Relist();
  runtime.reads.clear();
  Add(MakePod({"c"}));
  EXPECT_EQ(sink.pods["p"].status().phase(), "Running");
  EXPECT_EQ(sink.pods["p"].status().podip(), runtime.sandboxes.begin()->second.status.network().ip());
  EXPECT_THAT(runtime.reads,
              ElementsAre(Pair("ContainerStatus", 1), Pair("ImageStatus", 1), Pair("PodSandboxStatus", 1)));
  Relist();
  runtime.reads.clear();
  Advance(seconds(2));
  EXPECT_THAT(runtime.reads, IsEmpty()) << "the list has told nothing new";
}

// The start may have come too late, or twice: what is there is looked at, not what should be.
TEST_F(PodWorkersTest, AfterAFailedStartAllOfThePodIsLookedAt) {
  Relist();
  runtime.failures["StartContainer"] = {absl::DeadlineExceededError("context deadline exceeded")};
  runtime.reads.clear();
  Add(MakePod({"c"}));
  EXPECT_EQ(runtime.reads["ListContainers"], 1);
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

TEST_F(PodWorkersTest, AStaticPodWaitsForItsPredecessor) {
  auto make = [](const std::string& uid) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_uid(uid);
    (*pod.mutable_metadata()->mutable_annotations())[kSourceAnnotation] = "file";
    (*pod.mutable_metadata()->mutable_annotations())[kHashAnnotation] = uid;
    return std::make_shared<const Pod>(pod);
  };
  workers->Update(make("s-1"));
  Settle();
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 1u);
  EXPECT_TRUE(sink.written.empty()) << "no mirror pod, no status to write";
  runtime.failures["StopContainer"] = {absl::UnavailableError("not now")};
  workers->Remove("s-1");
  workers->Update(make("s-2"));
  Settle();
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 1u) << "the old one has not ended";
  EXPECT_TRUE(workers->StaticEnding("ns", "p"));
  runtime.failures.clear();
  Advance(seconds(11));
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 2; }));
  // Taken away and put back: the same uid again.
  workers->Remove("s-2");
  workers->Update(make("s-2"));
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 3; }));
  workers->Remove("s-2");
  EXPECT_TRUE(Until([&] { return workers->size() == 0; }));
  EXPECT_FALSE(workers->StaticEnding("ns", "p"));
}

TEST_F(PodWorkersTest, ARuleRestartsAllContainersInTheirSandbox) {
  Pod pod = MakePod({"a", "b"}, {"i"});
  pod.mutable_spec()->set_restartpolicy("Never");
  auto* a = pod.mutable_spec()->mutable_containers(0);
  a->set_restartpolicy("Never");
  auto* rule = a->add_restartpolicyrules();
  rule->set_action("RestartAllContainers");
  rule->mutable_exitcodes()->set_operator_("In");
  rule->mutable_exitcodes()->add_values(42);
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 1u);
  runtime.Exit(runtime.ContainerNamed("i"), 0);
  Relist();
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 3u);
  const auto* condition = FindCondition(*statuses.Get("u-1"), "AllContainersRestarting");
  ASSERT_NE(condition, nullptr);
  EXPECT_EQ(condition->status(), "False");
  runtime.Exit(runtime.ContainerNamed("a"), 42);
  Relist();
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 1u);
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 4u) << "the init container first";
  EXPECT_EQ(runtime.ContainerNamed("a"), "");
  EXPECT_EQ(runtime.ContainerNamed("b"), "");
  bool told = false;
  for (const auto& s : sink.written) {
    const auto* c = FindCondition(s, "AllContainersRestarting");
    told = told || (c != nullptr && c->status() == "True" && c->reason() == "RestartAllContainersStarted");
  }
  EXPECT_TRUE(told);
  runtime.Exit(runtime.ContainerNamed("i"), 0);
  Relist();
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 6u);
  const core::PodStatus& status = *statuses.Get("u-1");
  EXPECT_EQ(status.phase(), "Running");
  for (const auto& c : status.containerstatuses()) {
    EXPECT_TRUE(c.state().has_running());
    EXPECT_EQ(c.restartcount(), 1) << c.name();
  }
  EXPECT_EQ(FindCondition(status, "AllContainersRestarting")->status(), "False");
}

TEST_F(PodWorkersTest, ResizesAreGrantedCarriedOutAndTold) {
  Pod pod = MakePod({"c"});
  auto cpu = [](Pod* p, const char* value) {
    auto* resources = p->mutable_spec()->mutable_containers(0)->mutable_resources();
    (*resources->mutable_requests())["cpu"] = api::Quantity::Of(value).ToProto();
  };
  auto requests = [&](const char* field) {
    const auto& s = statuses.Get("u-1")->containerstatuses(0);
    const auto& list = std::string(field) == "allocated" ? s.allocatedresources() : s.resources().requests();
    return api::Quantity::Of(list.at("cpu")).MilliValue();
  };
  auto resize = [&](const char* value) {
    Pod& stored = sink.pods["p"];
    cpu(&stored, value);
    stored.mutable_metadata()->set_generation(stored.metadata().generation() + 1);
    stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    workers->Update(std::make_shared<const Pod>(stored));
    Settle();
  };
  cpu(&pod, "100m");
  Add(pod);
  EXPECT_EQ(requests("actual"), 100);
  resize("200m");
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 1u);
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 1u);
  EXPECT_EQ(requests("allocated"), 200);
  EXPECT_EQ(requests("actual"), 200);
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizeInProgress"), nullptr);
  const std::string what =
      "{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"200m\"}}}],\"generation\":2}";
  EXPECT_THAT(Events(), Contains("ResizeStarted: Pod resize started: " + what));
  EXPECT_THAT(Events(), Contains("ResizeCompleted: Pod resize completed: " + what));
  bool in_progress = false;
  for (const auto& s : sink.written) {
    const auto* c = FindCondition(s, "PodResizeInProgress");
    if (c == nullptr) continue;
    in_progress = true;
    EXPECT_EQ(c->observedgeneration(), 2);
    EXPECT_EQ(s.conditions(0).type(), "PodResizeInProgress") << "first";
    EXPECT_EQ(api::Quantity::Of(s.containerstatuses(0).allocatedresources().at("cpu")).MilliValue(), 200);
  }
  EXPECT_TRUE(in_progress);

  // One that does not fit waits, and is granted once there is room.
  reject = Rejection{"OutOfcpu", "Node didn't have enough resource: cpu, requested: 1900, used: 760, capacity: 2000"};
  resize("1900m");
  const auto* pending = FindCondition(*statuses.Get("u-1"), "PodResizePending");
  ASSERT_NE(pending, nullptr);
  EXPECT_EQ(pending->reason(), "Deferred");
  EXPECT_EQ(pending->message(), "Node didn't have enough resource: cpu, requested: 1900, used: 760, capacity: 2000");
  EXPECT_EQ(requests("allocated"), 200);
  EXPECT_THAT(Events(), Contains(HasSubstr("ResizeDeferred: Pod resize OutOfcpu: {\"containers\":")));
  const size_t events_before = Events().size();
  workers->Wake("u-1");
  Settle();
  EXPECT_EQ(Events().size(), events_before) << "told once";
  reject.reset();
  Pod other = MakePod({"c"});
  other.mutable_metadata()->set_name("q");
  other.mutable_metadata()->set_uid("u-2");
  Add(other);
  workers->Remove("u-2");
  EXPECT_TRUE(Until([&] { return requests("actual") == 1900; }));
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizePending"), nullptr);

  // A runtime that sizes the sandbox hears of it, before the containers, and may refuse.
  runtime.sandbox_resources.emplace();
  resize("400m");
  EXPECT_EQ(runtime.sandbox_resources->pod_sandbox_id(), runtime.sandboxes.begin()->first);
  EXPECT_EQ(runtime.sandbox_resources->resources().cpu_shares(), 409);
  EXPECT_TRUE(Until([&] { return requests("actual") == 400; }));
  const size_t resized = runtime.CountCalls("UpdateContainerResources");
  runtime.failures["UpdatePodSandboxResources"] = {absl::InternalError("no room")};
  resize("500m");
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizeInProgress")->message(),
            "the runtime refuses the pod's resize: no room");
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), resized);
  Advance(seconds(30));
  EXPECT_TRUE(Until([&] { return requests("actual") == 500; }));
  runtime.sandbox_resources.reset();

  // The runtime refuses: tried again, told once.
  runtime.failures["UpdateContainerResources"] = {absl::UnknownError("no"), absl::UnknownError("no")};
  resize("100m");
  const auto* failed = FindCondition(*statuses.Get("u-1"), "PodResizeInProgress");
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->reason(), "Error");
  EXPECT_EQ(failed->message(), "no");
  EXPECT_THAT(Events(), Contains(HasSubstr("ResizeError: Pod resize error: ")));
  Advance(seconds(30));
  Advance(seconds(30));
  EXPECT_TRUE(Until([&] { return requests("actual") == 100; }));
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizeInProgress"), nullptr);
}

TEST_F(PodWorkersTest, WhatOthersOwnInAStatusStays) {
  Pod pod = MakePod({"c"});
  auto* status = pod.mutable_status();
  auto* condition = status->add_conditions();
  condition->set_type("example.com/mine");
  condition->set_status("True");
  condition = status->add_conditions();
  condition->set_type("DisruptionTarget");
  condition->set_status("True");
  condition->set_reason("PreemptionByScheduler");
  status->set_nominatednodename("n9");
  status->add_resourceclaimstatuses()->set_name("claim");
  status->mutable_extendedresourceclaimstatus()->set_resourceclaimname("extended");
  status->GetReflection()->MutableUnknownFields(status)->AddVarint(999, 7);
  Add(pod);
  ASSERT_FALSE(sink.written.empty());
  const core::PodStatus& written = sink.written.back();
  ASSERT_NE(FindCondition(written, "example.com/mine"), nullptr);
  ASSERT_NE(FindCondition(written, "DisruptionTarget"), nullptr);
  EXPECT_EQ(FindCondition(written, "DisruptionTarget")->reason(), "PreemptionByScheduler");
  ASSERT_EQ(written.resourceclaimstatuses_size(), 1);
  EXPECT_EQ(written.extendedresourceclaimstatus().resourceclaimname(), "extended");
  ASSERT_EQ(written.GetReflection()->GetUnknownFields(written).field_count(), 1);
  EXPECT_EQ(written.nominatednodename(), "") << "as upstream: a bound pod has none";
  EXPECT_EQ(written.conditions(0).type(), "example.com/mine") << "others' come first";
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

// Reliability row api-outage: pods, probes and restarts go on; afterwards each pod's newest status is delivered, once.
TEST_F(PodWorkersTest, api_outage) {
  std::vector<std::string> names;
  for (int i = 0; i < 30; ++i) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(absl::StrCat("p", i));
    pod.mutable_metadata()->set_uid(absl::StrCat("u-", i));
    names.push_back(pod.metadata().name());
    Add(pod);
  }
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 30u);
  for (const auto& name : names) workers->Update(std::make_shared<const Pod>(sink.pods[name]));
  Settle();
  const size_t before = sink.written.size();
  sink.fail_writes = 1000000;
  std::vector<std::string> containers;
  for (const auto& [id, container] : runtime.containers) containers.push_back(id);
  for (int minute = 0; minute < 10; ++minute) {
    runtime.Exit(containers[minute], 1);  // one pod crashes each minute, and is started again
    Relist();
    Advance(seconds(60));
  }
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 40u);
  EXPECT_EQ(sink.written.size(), before);
  sink.fail_writes = 0;
  Advance(seconds(11));
  EXPECT_GT(sink.written.size(), before);
  EXPECT_LE(sink.written.size(), before + 30) << "one write a pod at the most: no burst of what is past";
  for (int i = 0; i < 30; ++i) {
    const core::PodStatus* now = statuses.Get(absl::StrCat("u-", i));
    const core::PodStatus& there = sink.pods[names[i]].status();
    EXPECT_EQ(there.containerstatuses(0).restartcount(), now->containerstatuses(0).restartcount()) << names[i];
    EXPECT_EQ(there.containerstatuses(0).containerid(), now->containerstatuses(0).containerid()) << names[i];
  }
}

TEST_F(PodWorkersTest, ReadinessGoesFirst) {
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(name);
    pod.mutable_metadata()->set_uid(name);
    pod.mutable_status()->set_phase("Pending");
    sink.pods[name] = pod;
    core::PodStatus status = pod.status();
    status.set_phase("Running");
    auto* ready = status.add_conditions();
    ready->set_type("Ready");
    ready->set_status(std::string_view(name) == "f" ? "True" : "False");
    statuses.Set(pod, status);
  }
  Settle();
  ASSERT_EQ(sink.order.size(), 6u);
  EXPECT_EQ(sink.order[0], "f");
  EXPECT_EQ(sink.order[1], "a");
}

// Reliability row clock-jump: an hour back or forth changes neither back-offs nor deadlines.
TEST_F(PodWorkersTest, clock_jump) {
  for (auto jump : {std::chrono::hours(1), std::chrono::hours(-1)}) {
    const std::string uid = jump.count() > 0 ? "u-forth" : "u-back";
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(uid);
    pod.mutable_metadata()->set_uid(uid);
    pod.mutable_spec()->set_activedeadlineseconds(300);
    Add(pod);
    auto starts = [&] { return runtime.CountCalls("StartContainer"); };
    auto crash = [&] {
      runtime.Exit(runtime.ContainerNamed("c"), 1);
      Relist();
      Advance(milliseconds(1));
    };
    crash();  // the first restart is immediate
    const size_t before = starts();
    crash();  // now it waits for ten seconds
    clock.JumpWall(jump);
    workers->Wake(uid);
    Advance(seconds(8));
    EXPECT_EQ(starts(), before) << uid;
    Advance(seconds(3));
    EXPECT_EQ(starts(), before + 1) << uid;
    EXPECT_EQ(statuses.Get(uid)->phase(), "Running") << uid;
    Advance(seconds(270));
    EXPECT_EQ(statuses.Get(uid)->phase(), "Running") << uid;
    Advance(seconds(30));
    EXPECT_TRUE(Until([&] { return statuses.Get(uid)->reason() == "DeadlineExceeded"; })) << uid;
    workers->Remove(uid);
    EXPECT_TRUE(Until([&] { return workers->size() == 0; }));
  }
}

// ---- security ----

// Row seccomp-empty-localhost: an error, never unconfined.
TEST_F(PodWorkersTest, seccomp_empty_localhost) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_securitycontext()->mutable_seccompprofile()->set_type("Localhost");
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("CreateContainer"), 0u);
  const auto& waiting = statuses.Get("u-1")->containerstatuses(0).state().waiting();
  EXPECT_EQ(waiting.reason(), "CreateContainerConfigError");
  EXPECT_EQ(waiting.message(), "localhostProfile must be set if seccompProfile type is Localhost.");
}

// Row nonroot-after-restart: the uid holds for every start of a container, and an image that becomes root's does not
// run.
TEST_F(PodWorkersTest, nonroot_after_restart) {
  auto image_user = [&](int64_t uid) {
    for (auto& [id, image] : runtime.images) image.mutable_uid()->set_value(uid);
  };
  image_user(1000);
  Pod pod = MakePod({"fixed", "image"});
  pod.mutable_spec()->mutable_securitycontext()->set_runasnonroot(true);
  pod.mutable_spec()->mutable_containers(0)->mutable_securitycontext()->set_runasuser(1234);
  Add(pod);
  auto user = [&](const char* name) {
    return runtime.containers[runtime.ContainerNamed(name)].config.linux().security_context().run_as_user().value();
  };
  for (int restart = 0; restart < 3; ++restart) {
    EXPECT_EQ(user("fixed"), 1234) << restart;
    EXPECT_EQ(user("image"), 1000) << restart;
    runtime.Exit(runtime.ContainerNamed("fixed"), 1);
    runtime.Exit(runtime.ContainerNamed("image"), 1);
    Relist();
    Advance(seconds(60));
  }
  image_user(0);
  runtime.Exit(runtime.ContainerNamed("fixed"), 1);
  runtime.Exit(runtime.ContainerNamed("image"), 1);
  Relist();
  const size_t images = runtime.CountCalls("StartContainer image");
  Advance(seconds(310));  // the longest back-off
  Advance(seconds(20));
  EXPECT_EQ(runtime.CountCalls("StartContainer image"), images);
  EXPECT_EQ(user("fixed"), 1234);
  EXPECT_EQ(statuses.Get("u-1")->containerstatuses(1).state().waiting().reason(), "CreateContainerConfigError");
  EXPECT_THAT(statuses.Get("u-1")->containerstatuses(1).state().waiting().message(),
              HasSubstr("container has runAsNonRoot and image will run as root"));
}

// A pod that wants users of its own is refused rather than run with the host's.
TEST_F(PodWorkersTest, PodsWithUsersOfTheirOwnAreRefused) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_hostusers(false);
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 0u);
  EXPECT_THAT(Events(), Contains("FailedCreatePodSandBox: Failed to create pod sandbox: can't set `spec.hostUsers: "
                                 "false`, runtime does not support user namespaces"));
}

// The runtime mounts images; the kubelet pulls them first.
TEST_F(PodWorkersTest, ImageVolumesAreHandedToTheRuntime) {
  Pod pod = MakePod({"c"});
  auto* volume = pod.mutable_spec()->add_volumes();
  volume->set_name("v");
  volume->mutable_volumesource()->mutable_image()->set_reference("files:1");
  volume->mutable_volumesource()->mutable_image()->set_pullpolicy("Always");
  auto* mount = pod.mutable_spec()->mutable_containers(0)->add_volumemounts();
  mount->set_name("v");
  mount->set_mountpath("/files");
  mount->set_subpath("sub");
  Add(pod);
  ASSERT_TRUE(Until([this] { return runtime.CountCalls("StartContainer c") == 1; }));
  ASSERT_FALSE(runtime.pulls.empty());
  EXPECT_EQ(runtime.pulls[0].image().image(), "files:1");
  const auto& config = runtime.containers.at(runtime.ContainerNamed("c")).config;
  const auto found = std::find_if(config.mounts().begin(), config.mounts().end(),
                                  [](const auto& m) { return m.container_path() == "/files"; });
  ASSERT_NE(found, config.mounts().end());
  EXPECT_FALSE(found->image().image().empty());
  EXPECT_EQ(found->image_sub_path(), "sub");
  EXPECT_EQ(found->host_path(), "");
  EXPECT_TRUE(found->readonly());
}

TEST_F(PodWorkersTest, PodsWithUsersOfTheirOwnAreMapped) {
  runtime.maps_users = true;
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_hostusers(false);
  Add(pod);
  ASSERT_EQ(runtime.CountCalls("StartContainer c"), 1u);
  const auto sandbox = runtime.sandboxes.begin()->second.config.linux().security_context().namespace_options();
  EXPECT_EQ(sandbox.userns_options().mode(), cri_v1::POD);
  ASSERT_EQ(sandbox.userns_options().uids_size(), 1);
  const auto& ids = sandbox.userns_options().uids(0);
  EXPECT_GE(ids.host_id(), 65536u);
  EXPECT_EQ(ids.length(), 65536u);
  const auto& container = runtime.containers.at(runtime.ContainerNamed("c")).config;
  EXPECT_EQ(container.linux().security_context().namespace_options().userns_options().uids(0).host_id(), ids.host_id());
  ASSERT_GT(container.mounts_size(), 0);
  for (const auto& mount : container.mounts()) {
    ASSERT_EQ(mount.uidmappings_size(), 1) << mount.container_path() << " is mapped as well";
    EXPECT_EQ(mount.gidmappings(0).host_id(), ids.host_id());
  }
  runtime.Exit(runtime.ContainerNamed("c"), 1);
  Relist();
  Advance(seconds(60));
  ASSERT_EQ(runtime.CountCalls("StartContainer c"), 2u);
  EXPECT_EQ(runtime.containers.at(runtime.ContainerNamed("c")).config.mounts(0).uidmappings(0).host_id(),
            ids.host_id());
}

std::string* g_log = nullptr;

// Row secrets-in-logs: what a secret holds is in no log line at any verbosity, no event and no status.
TEST_F(PodWorkersTest, secrets_in_logs) {
  std::string lines;
  g_log = &lines;
  log::SetSink([](std::string_view line) { g_log->append(line); });
  log::SetVerbosity(10);
  constexpr char kValue[] = "hunter2-do-not-print";
  Secret secret;
  (*secret.mutable_data())["password"] = kValue;
  (*secret.mutable_data())["not a name="] = kValue;
  (*secret.mutable_data())[".dockerconfigjson"] =
      absl::StrCat("{\"auths\":{\"reg.example\":{\"username\":\"u\",\"password\":\"", kValue, "\"}}}");
  objects.secrets["s"] = secret;
  Pod pod = MakePod({"c", "d"});
  auto* c = pod.mutable_spec()->mutable_containers(0);
  c->add_envfrom()->mutable_secretref()->mutable_localobjectreference()->set_name("s");
  c->add_args("$(password)");
  auto* d = pod.mutable_spec()->mutable_containers(1);
  d->set_image("reg.example/none:1");
  pod.mutable_spec()->add_imagepullsecrets()->set_name("s");
  runtime.pull_failures["reg.example/none:1"] = absl::UnknownError("denied");
  runtime.failures["StartContainer"] = {absl::UnknownError("no such program")};
  Add(pod);
  Advance(seconds(30));
  log::SetSink(nullptr);
  log::SetVerbosity(0);
  EXPECT_GE(runtime.CountCalls("CreateContainer c"), 1u);
  bool given = false;
  for (const auto& [id, container] : runtime.containers) {
    for (const auto& env : container.config.envs()) given = given || env.value() == kValue;
  }
  EXPECT_TRUE(given) << "the container does get it";
  EXPECT_FALSE(lines.empty());
  EXPECT_EQ(lines.find(kValue), std::string::npos);
  for (const auto& event : Events()) EXPECT_EQ(event.find(kValue), std::string::npos) << event;
  for (const auto& status : sink.written) EXPECT_EQ(status.DebugString().find(kValue), std::string::npos);
}

}  // namespace
}  // namespace skiff::kubelet
