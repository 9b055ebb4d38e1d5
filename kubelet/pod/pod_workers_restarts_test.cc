// Sandboxes that died, ends in a hurry, and what is told of starts that fail.
#include "kubelet/pod/pod_workers_testing.h"

#include "absl/strings/str_format.h"

namespace skiff::kubelet {
namespace {

// The id that the runtime gives next, where this was its last one.
std::string NextContainer(const std::string& id) { return absl::StrFormat("c%063d", std::stoi(id.substr(1)) + 1); }

// What died by itself has its network still: the runtime takes it down when it is told to stop it.
TEST_F(PodWorkersTest, ADeadSandboxIsStoppedBeforeTheNextIsMade) {
  Add(MakePod({"c"}));
  runtime.failures["StopPodSandbox"] = {absl::InternalError("the network is busy")};
  runtime.KillSandbox(runtime.sandboxes.begin()->first);
  Relist();
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 1u) << "not before the old one is down";
  Advance(seconds(30));
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("RunPodSandbox") == 2; }));
  EXPECT_EQ(runtime.CountCalls("StopPodSandbox"), 2u) << "until it was done, and not again";
}

TEST_F(PodWorkersTest, NoGraceIsOneSecondForTheHookAndTwoForTheProcess) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_lifecycle()->mutable_prestop()->mutable_exec()->add_command("bye");
  Add(pod);
  std::vector<std::string> said;
  runtime.on_exec = [&](const cri_v1::ExecSyncRequest& request) {
    said.push_back(request.cmd(0));
    return cri_v1::ExecSyncResponse();
  };
  ASSERT_TRUE(workers->Evict("u-1", 0, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("StopContainer c") == 1; }));
  EXPECT_THAT(said, ElementsAre("bye"));
  EXPECT_THAT(runtime.calls, Contains("StopContainer c 2"));
}

// The sandbox alone died: its sidecar ran on, and is replaced as well.
TEST_F(PodWorkersTest, ASidecarOfALostSandboxCountsOn) {
  Pod pod = MakePod({"main"}, {"side"});
  pod.mutable_spec()->mutable_initcontainers(0)->set_restartpolicy("Always");
  Add(pod);
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 2u);
  runtime.sandboxes.begin()->second.status.set_state(cri_v1::SANDBOX_NOTREADY);
  Relist();
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 4; }));
  EXPECT_EQ(runtime.containers.at(runtime.ContainerNamed("side")).config.metadata().attempt(), 1u);
  EXPECT_EQ(statuses.Get("u-1")->initcontainerstatuses(0).restartcount(), 1);
}

// Each try has another id, and would be another event.
TEST_F(PodWorkersTest, EventsOfFailedStartsNameTheContainerNotItsId) {
  Pod pod = MakePod({"main"});
  Add(pod);
  const std::string id = runtime.ContainerNamed("main");
  runtime.failures["StartContainer"] = {absl::UnknownError("mkdir /run/" + NextContainer(id) + "/rootfs: read-only")};
  runtime.Exit(id, 1);
  Relist();
  EXPECT_THAT(Events(), Contains("Failed: Error: mkdir /run/main/rootfs: read-only"));
  EXPECT_THAT(std::string(statuses.Get("u-1")->containerstatuses(0).state().waiting().message()),
              HasSubstr("/run/" + NextContainer(id)));
}

TEST_F(PodWorkersTest, AnEphemeralContainerSaysThatItsTargetIsNotThere) {
  Pod pod = MakePod({"c"}, {"i"});
  auto* debug = pod.mutable_spec()->add_ephemeralcontainers();
  debug->mutable_ephemeralcontainercommon()->set_name("debug");
  debug->mutable_ephemeralcontainercommon()->set_image("img:latest");
  debug->set_targetcontainername("c");
  Add(pod);
  EXPECT_THAT(Events(), Contains("Failed: Error: unable to find target container c"));
  const auto& waiting = statuses.Get("u-1")->ephemeralcontainerstatuses(0).state().waiting();
  EXPECT_EQ(waiting.reason(), "CreateContainerConfigError");
  EXPECT_EQ(waiting.message(), "unable to find target container c");
  runtime.Exit(runtime.ContainerNamed("i"), 0);
  Relist();
  Advance(seconds(30));
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("StartContainer debug") == 1; }));
}

// kubectl's stand-in for a restart of a static pod: its file moved away and back.
TEST_F(PodWorkersTest, AManifestThatIsPutBackCountsOn) {
  Pod pod = MakePod({"c"});
  (*pod.mutable_metadata()->mutable_annotations())[kSourceAnnotation] = "file";
  const auto ptr = std::make_shared<const Pod>(pod);
  workers->Update(ptr);
  Settle();
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 1u);
  workers->Remove("u-1");
  workers->Update(ptr);
  reject = std::nullopt;
  beside.clear();
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 2; }));
  EXPECT_EQ(runtime.CountCalls("RemoveContainer"), 0u);
  ASSERT_TRUE(Until([&] {
    const auto* status = statuses.Get("u-1");
    return status != nullptr && status->containerstatuses_size() == 1 &&
           status->containerstatuses(0).state().has_running();
  }));
  EXPECT_EQ(statuses.Get("u-1")->containerstatuses(0).restartcount(), 1);
  EXPECT_TRUE(statuses.Get("u-1")->containerstatuses(0).laststate().has_terminated());
}

TEST_F(PodWorkersTest, AnEvictedPodWhoseContainersEndWellHasSucceeded) {
  for (const int code : {0, 1}) {
    SCOPED_TRACE(code);
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(absl::StrCat("p", code));
    pod.mutable_metadata()->set_uid(absl::StrCat("u", code));
    Add(pod);
    runtime.exit_code_on_stop = code;
    core::PodCondition disruption;
    disruption.set_type("DisruptionTarget");
    disruption.set_status("True");
    ASSERT_TRUE(workers->Evict(absl::StrCat("u", code), 1, {"Preempting", "for a critical pod"}, disruption));
    const core::PodStatus& status = sink.pods[absl::StrCat("p", code)].status();
    ASSERT_TRUE(Until([&] { return IsTerminalPhase(status.phase()); }));
    EXPECT_EQ(status.phase(), code == 0 ? "Succeeded" : "Failed");
    EXPECT_EQ(status.reason(), code == 0 ? "" : "Preempting");
    EXPECT_NE(FindCondition(status, "DisruptionTarget"), nullptr);
  }
}

// A restart of the kubelet with Jobs' pods that ended long ago.
TEST_F(PodWorkersTest, APodThatIsOverHoldsNothingWhileItsSandboxWillNotGo) {
  Pod old = MakePod({"c"});
  old.mutable_status()->set_phase("Succeeded");
  for (int i = 0; i < 100; ++i) runtime.failures["StopPodSandbox"].push_back(absl::InternalError("network away"));
  Add(MakePod({"c"}));
  runtime.Exit(runtime.ContainerNamed("c"), 0);
  workers = nullptr;
  PodWorkersHooks hooks;
  hooks.admit = [this](const Pod& pod, const std::vector<PodPtr>& active) {
    for (const PodPtr& p : active) beside[pod.metadata().uid()].insert(p->metadata().uid());
    return AdmissionResult();
  };
  workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                         cgroups, events, PodWorkersOptions{.root_dir = root}, std::move(hooks));
  Relist();
  Add(old);
  Pod other = MakePod({"d"});
  other.mutable_metadata()->set_name("q");
  other.mutable_metadata()->set_uid("u-2");
  Add(other);
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("StartContainer d") == 1; }));
  EXPECT_THAT(beside["u-2"], IsEmpty());
}

TEST_F(PodWorkersTest, WhatWasOverInAnEarlierLifeIsNotEndedAgain) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_restartpolicy("Never");
  Add(pod);
  runtime.Exit(runtime.ContainerNamed("c"), 0);
  Relist();
  ASSERT_TRUE(Until([&] { return sink.pods["p"].status().phase() == "Succeeded"; }));
  const size_t stops = runtime.CountCalls("StopPodSandbox");
  const Pod stored = sink.pods["p"];
  workers = nullptr;
  pods->Forget("u-1");  // as a new process
  workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                         cgroups, events, PodWorkersOptions{.root_dir = root}, PodWorkersHooks{});
  Relist();
  runtime.failures["StopPodSandbox"] = {absl::InternalError("no network plugin yet")};
  workers->Update(std::make_shared<const Pod>(stored));
  EXPECT_TRUE(Until([&] { return workers->Released("u-1"); }));
  EXPECT_EQ(runtime.CountCalls("StopPodSandbox"), stops);
}

TEST_F(PodWorkersTest, AShorterDeleteCountsForAPodThatIsBeingEvicted) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_lifecycle()->mutable_prestop()->mutable_sleep()->set_seconds(200);
  Add(std::move(pod));
  ASSERT_TRUE(workers->Evict("u-1", 300, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  Settle();
  DeleteFromApi(5);
  Advance(seconds(6));
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("StopContainer c") == 1; }));
}

TEST_F(PodWorkersTest, ClaimsOfDevicesAreNotPassedOver) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->add_resourceclaims()->set_name("gpu");
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 0u);
  EXPECT_THAT(Events(), Contains(HasSubstr("FailedPrepareDynamicResources: Failed to prepare dynamic resources: ")));
  DeleteFromApi(0);
  EXPECT_TRUE(Until([&] { return sink.deleted.size() == 1; }));
}

}  // namespace
}  // namespace skiff::kubelet
