// Whole lifecycles of pods.
#include "kubelet/pod/pod_workers_testing.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

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
  EXPECT_TRUE(workers->Wanted("u-1"));
  workers->Remove("u-1");
  EXPECT_FALSE(workers->Wanted("u-1"));
  EXPECT_TRUE(Until([&] { return workers->size() == 0; }));
  EXPECT_TRUE(runtime.sandboxes.empty());
}

TEST_F(PodWorkersTest, WhatIsDoneForPodsIsCounted) {
  metrics::Registry registry;
  EnableWorkMetrics(registry);
  Pod pod = MakePod({"c"});
  auto* volume = pod.mutable_spec()->add_volumes();
  volume->set_name("v");
  volume->mutable_volumesource()->mutable_emptydir();
  pod.mutable_spec()->mutable_containers(0)->add_volumemounts()->set_name("v");
  runtime.failures["RunPodSandbox"] = {absl::UnavailableError("no network")};
  runtime.failures["CreateContainer"] = {absl::UnavailableError("no disk")};
  Add(std::move(pod));
  EXPECT_THAT(registry.Expose(), HasSubstr("kubelet_pod_start_duration_seconds_count 1\n")) << "it has a status";
  Advance(seconds(30));
  EXPECT_EQ(statuses.Get("u-1")->phase(), "Running");
  EXPECT_EQ(workers->Working(), (std::map<std::array<std::string, 3>, int>{{{"sync", "desired", ""}, 1}}));
  DeleteFromApi(30);
  ASSERT_TRUE(Until([&] { return sink.deleted.size() == 1; }));
  EXPECT_EQ(workers->Working(), (std::map<std::array<std::string, 3>, int>{{{"terminated", "desired", ""}, 1}}));
  DisableWorkMetrics();
  const std::string text = registry.Expose();
  for (const char* line :
       {"kubelet_started_pods_total 2\n", "kubelet_started_pods_errors_total 1\n",
        "kubelet_run_podsandbox_duration_seconds_count{runtime_handler=\"\"} 2\n",
        "kubelet_run_podsandbox_errors_total{runtime_handler=\"\"} 1\n",
        "kubelet_started_containers_total{container_type=\"container\"} 2\n",
        "kubelet_started_containers_errors_total{code=\"CreateContainerError\",container_type=\"container\"} 1\n",
        "kubelet_pod_worker_start_duration_seconds_count 1\n", "kubelet_pod_start_duration_seconds_count 2\n",
        "kubelet_pod_worker_duration_seconds_count{operation_type=\"create\"} 1\n",
        "kubelet_pod_worker_duration_seconds_count{operation_type=\"sync\"}",
        "kubelet_pod_worker_duration_seconds_count{operation_type=\"terminated\"} 1\n",
        "storage_operation_duration_seconds_count{migrated=\"false\",operation_name=\"volume_mount\",status="
        "\"success\","
        "volume_plugin=\"kubernetes.io/empty-dir\"} 1\n",
        "storage_operation_duration_seconds_count{migrated=\"false\",operation_name=\"volume_unmount\",status="
        "\"success\",volume_plugin=\"kubernetes.io/empty-dir\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
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

TEST_F(PodWorkersTest, OnlyBurstablePodsChangeTheSharesOfThemAll) {
  auto add = [&](const std::string& name, bool burstable) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(name);
    pod.mutable_metadata()->set_uid(name);
    if (burstable) {
      auto& requests = *pod.mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_requests();
      requests["cpu"].set_string("100m");
    }
    Add(pod);
  };
  add("a", false);
  EXPECT_EQ(changes, 1) << "there may be what an earlier life has left";
  add("b", false);
  EXPECT_EQ(changes, 1);
  add("c", true);
  EXPECT_EQ(changes, 2);
  workers->Remove("b");
  ASSERT_TRUE(Until([&] { return workers->size() == 2; }));
  EXPECT_EQ(changes, 2);
  workers->Remove("c");
  ASSERT_TRUE(Until([&] { return workers->size() == 1; }));
  EXPECT_EQ(changes, 3);
}

TEST_F(PodWorkersTest, TheFirstContainersImageIsAskedForWhileTheSandboxIsMade) {
  Relist();
  int asked = 0;
  runtime.on_run = [&]() -> Task<void> {
    asked = -1;
    (void)co_await SleepFor(std::chrono::milliseconds(1));
    asked = runtime.reads["ImageStatus"];
  };
  runtime.reads.clear();
  runtime.failures["RunPodSandbox"] = {absl::UnknownError("no network")};
  Pod pod = MakePod({"c", "d"});
  Add(pod);
  ASSERT_TRUE(Until([&] { return asked == 1; }));
  EXPECT_THAT(Events(), ElementsAre("FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown "
                                    "desc = no network"));
  Advance(seconds(10));
  ASSERT_TRUE(Until([&] { return sink.pods["p"].status().phase() == "Running"; }));
  EXPECT_EQ(asked, 2) << "once more for the second try";
  EXPECT_EQ(runtime.reads["ImageStatus"], 3) << "and for the second container, when its turn came";
  EXPECT_THAT(Events(), testing::Contains(testing::StartsWith("Pulled: ")).Times(2));
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
  runtime.exit_code_on_stop = 143;
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

TEST_F(PodWorkersTest, WhatAnEvictedPodHasLeftGoesAndItsStatusStays) {
  auto collect = [&] {
    ContainerGc gc(runtime, clock,
                   {.max_per_container = 1, .logs_dir = root, .container_logs_dir = root + "/containers"},
                   {.sources_ready = [] { return true; },
                    .content_gone = [this](const std::string& uid) { return workers->ContentGone(uid); },
                    .runtime_ended = [](const std::string&) { return false; }});
    Spawn(loop.get_executor(), "collect", Collect(&gc));
    Settle();
  };
  Pod pod = MakePod({"c", "d"});
  pod.mutable_spec()->set_restartpolicy("Never");
  Add(pod);
  runtime.Exit(runtime.ContainerNamed("d"), 3);
  Relist();
  EXPECT_FALSE(workers->ContentGone("u-1"));
  EXPECT_TRUE(workers->ContentGone("u-2"));
  runtime.failures["StopContainer"] = {absl::UnavailableError("not now")};
  ASSERT_TRUE(workers->Evict("u-1", 1, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  collect();
  EXPECT_FALSE(workers->ContentGone("u-1")) << "its status is not made yet";
  EXPECT_FALSE(runtime.containers.empty());
  Advance(seconds(1));
  ASSERT_TRUE(Until([&] { return workers->Released("u-1"); }));
  const core::PodStatus last = sink.written.back();
  ASSERT_EQ(last.phase(), "Failed");
  collect();
  EXPECT_TRUE(runtime.containers.empty());
  EXPECT_TRUE(runtime.sandboxes.empty());
  // Another life finds the pod as the API has it.
  const Pod stored = sink.pods["p"];
  workers = nullptr;
  workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                         cgroups, events, PodWorkersOptions{.root_dir = root}, PodWorkersHooks{});
  statuses.Forget("u-1");
  Relist();
  workers->Update(std::make_shared<const Pod>(stored));
  ASSERT_TRUE(Until([&] { return workers->Released("u-1"); }));
  EXPECT_TRUE(workers->ContentGone("u-1"));
  const core::PodStatus& now = *statuses.Get("u-1");
  EXPECT_EQ(now.reason(), "Evicted");
  for (int i : {0, 1}) {
    EXPECT_EQ(now.containerstatuses(i).DebugString(), last.containerstatuses(i).DebugString());
    EXPECT_TRUE(now.containerstatuses(i).state().has_terminated());
  }
}

TEST_F(PodWorkersTest, AVictimThatTakesTooLongIsTold) {
  Add(MakePod({"c"}));
  runtime.failures["StopContainer"] = std::deque<Status>(1000, absl::UnavailableError("not now"));
  ASSERT_TRUE(workers->Evict("u-1", 1, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  std::optional<bool> ended;
  Spawn(loop.get_executor(), "wait", [](PodWorkers& w, std::optional<bool>& out) -> Task<void> {
    out = co_await w.AwaitEnd(w.Find("u-1"), 1);
  }(*workers, ended));
  Settle();
  Advance(seconds(9));
  EXPECT_FALSE(ended.has_value());
  Advance(seconds(1));
  EXPECT_EQ(ended, false);
  EXPECT_THAT(Events(), Contains("ExceededGracePeriod: Container runtime did not kill the pod within specified grace "
                                 "period."));
}

TEST_F(PodWorkersTest, EvictionGivesAPodThatIsBeingEndedNoMoreTime) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_lifecycle()->mutable_prestop()->mutable_sleep()->set_seconds(20);
  Add(std::move(pod));
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 1u);
  DeleteFromApi(30);
  auto killings = [&] {
    size_t n = 0;
    for (const std::string& e : Events()) n += e.starts_with("Killing: ");
    return n;
  };
  ASSERT_EQ(killings(), 1u);
  Advance(seconds(10));
  ASSERT_TRUE(workers->Evict("u-1", 60, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  Advance(seconds(5));
  EXPECT_EQ(killings(), 1u) << "its end goes on where it was";
  Advance(seconds(6));
  EXPECT_THAT(runtime.calls, Contains("StopContainer c 10"));
}

TEST_F(PodWorkersTest, ASleepThatIsLongerThanTheGracePeriodIsNoFailure) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_lifecycle()->mutable_prestop()->mutable_sleep()->set_seconds(60);
  Add(std::move(pod));
  DeleteFromApi(30);
  Advance(seconds(31));
  EXPECT_THAT(runtime.calls, Contains("StopContainer c 2"));
  EXPECT_THAT(Events(), ::testing::Not(Contains(HasSubstr("FailedPreStopHook"))));
}

TEST_F(PodWorkersTest, APreStopHookThatTheRuntimeRefusesIsAFailure) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_lifecycle()->mutable_prestop()->mutable_exec()->add_command("x");
  Add(std::move(pod));
  runtime.failures["ExecSync"] = {absl::NotFoundError("no x")};
  DeleteFromApi(30);
  Advance(seconds(1));
  EXPECT_THAT(Events(), Contains("FailedPreStopHook: PreStopHook failed"));
}

// A start of the kubelet: a pod that was bound meanwhile comes together with those of before.
TEST_F(PodWorkersTest, APodIsAdmittedBesideThoseOfAnEarlierLife) {
  auto named = [](const char* uid, const char* phase) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_uid(uid);
    pod.mutable_metadata()->set_name(uid);
    pod.mutable_status()->set_phase(phase);
    return std::make_shared<const Pod>(std::move(pod));
  };
  auto before = named("u-before", "Running"), over = named("u-over", "Succeeded"), fresh = named("u-new", "Pending");
  allocations.Allocate(*before);
  allocations.Allocate(*over);
  for (const PodPtr& pod : {fresh, before, over}) workers->Update(pod);
  Settle();
  EXPECT_TRUE(beside["u-new"].contains("u-before"));
  EXPECT_FALSE(beside["u-new"].contains("u-over"));
}

// One of an earlier life that never ran is not beside itself.
TEST_F(PodWorkersTest, APodIsNotAdmittedBesideItself) {
  Pod pod = MakePod({"c"});
  pod.mutable_status()->set_phase("Pending");
  allocations.Allocate(pod);
  Add(pod);
  EXPECT_FALSE(beside["u-1"].contains("u-1"));
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

TEST_F(PodWorkersTest, APodThatIsOverGivesItsUsersBack) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_restartpolicy("Never");
  Add(pod);
  const std::string users = root + "/pods/u-1/userns";
  ASSERT_TRUE(WriteFileAtomic(users, "{}").ok());
  Relist();
  EXPECT_TRUE(Exists(users)) << "while it runs they are its own";
  runtime.Exit(runtime.ContainerNamed("c"), 0);
  Relist();
  EXPECT_TRUE(Until([&] { return !Exists(users); })) << "others may have them, though the object stays";
  EXPECT_TRUE(Exists(root + "/pods/u-1"));
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

TEST_F(PodWorkersTest, AnEditedManifestWithAUidOfItsOwnIsActedOnAtOnce) {
  auto make = [](const std::string& image) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->clear_generation();
    pod.mutable_metadata()->clear_resourceversion();
    pod.mutable_spec()->mutable_containers(0)->set_image(image);
    (*pod.mutable_metadata()->mutable_annotations())[kSourceAnnotation] = "file";
    return std::make_shared<const Pod>(pod);
  };
  runtime.AddImage("other:latest");
  workers->Update(make("img"));
  Settle();
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 1u);
  workers->Update(make("other"));
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 2; }));
  EXPECT_EQ(runtime.containers.at(runtime.ContainerNamed("c")).config.image().user_specified_image(), "other");
}

// The pod must not hang, starting or ending, for ever.
TEST_F(PodWorkersTest, AStepThatThrowsIsTriedAgain) {
  throws = true;
  Add(MakePod({"c"}));
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 0u);
  Advance(seconds(11));
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 1; }));
  throws = true;
  DeleteFromApi(1);
  Advance(seconds(11));
  EXPECT_TRUE(Until([&] { return sink.deleted.size() == 1; }));
}

TEST_F(PodWorkersTest, ATaskThatThrowsWhileItMayBeInterruptedIsAnError) {
  Status result;
  Spawn(loop.get_executor(), "run", [](Status& out) -> Task<void> {
    struct Thrower {
      static Task<Status> Throw() {
        throw std::runtime_error("a bug");
        co_return absl::OkStatus();
      }
    };
    out = co_await Interrupt::Run(std::make_shared<Interrupt>(), Thrower::Throw());
  }(result));
  Settle();
  EXPECT_TRUE(absl::IsInternal(result)) << result;
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

}  // namespace
}  // namespace skiff::kubelet
