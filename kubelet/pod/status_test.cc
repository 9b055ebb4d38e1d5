#include "kubelet/pod/status.h"

#include "api/quantity.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using State = ContainerState::State;
using testing_pods::MakePod;
using testing_pods::StateBuilder;

core::PodStatus Generate(const Pod& pod, const PodState& state, const core::PodStatus& old = {}, bool terminal = false,
                         std::map<std::string, WaitReason> reasons = {}) {
  StatusInputs in;
  in.pod = &pod;
  in.old_status = &old;
  in.state = &state;
  in.terminal = terminal;
  in.reasons = &reasons;
  in.host_ips = {"10.250.0.11"};
  in.set_ready = [](const Pod&, core::PodStatus* s) {  // as without probes
    for (auto* list : {s->mutable_containerstatuses(), s->mutable_initcontainerstatuses()}) {
      for (auto& c : *list) {
        c.set_started(c.state().has_running());
        c.set_ready(c.state().has_running());
      }
    }
    for (auto& c : *s->mutable_initcontainerstatuses()) {
      if (c.state().has_terminated() && c.state().terminated().exitcode() == 0) c.set_ready(true);
    }
  };
  return GenerateStatus(in);
}

std::string ConditionText(const core::PodStatus& s, std::string_view type) {
  const auto* c = FindCondition(s, type);
  return c == nullptr ? "absent" : absl::StrCat(c->status(), c->reason().empty() ? "" : "/", c->reason());
}

TEST(Status, ANewPodWaits) {
  core::PodStatus s = Generate(MakePod({"c"}), PodState());
  EXPECT_EQ(s.phase(), "Pending");
  EXPECT_EQ(s.observedgeneration(), 1);
  ASSERT_EQ(s.containerstatuses_size(), 1);
  EXPECT_EQ(s.containerstatuses(0).state().waiting().reason(), "ContainerCreating");
  EXPECT_EQ(ConditionText(s, "PodReadyToStartContainers"), "False");
  EXPECT_EQ(ConditionText(s, "Initialized"), "True");
  EXPECT_EQ(ConditionText(s, "Ready"), "False/ContainersNotReady");
  EXPECT_EQ(FindCondition(s, "Ready")->message(), "containers with unready status: [c]");
  EXPECT_EQ(ConditionText(s, "PodScheduled"), "True");
  EXPECT_EQ(s.qosclass(), "BestEffort");
  EXPECT_EQ(s.hostip(), "10.250.0.11");
  // In upstream's order.
  std::string order;
  for (const auto& c : s.conditions()) absl::StrAppend(&order, c.type(), " ");
  EXPECT_EQ(order, "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled ");
}

TEST(Status, AReadySandboxIsToldBeforeItsAddress) {
  core::PodStatus s = Generate(MakePod({"c"}), PodState());
  MarkSandboxReady(MakePod({"c"}), &s);
  EXPECT_EQ(ConditionText(s, "PodReadyToStartContainers"), "True");
  EXPECT_EQ(s.conditions(0).observedgeneration(), 1);
  EXPECT_EQ(s.conditions_size(), 5);
  EXPECT_TRUE(s.podip().empty());
}

TEST(Status, ProbesChangeOneContainerAndWhatFollows) {
  core::PodStatus s;
  auto* c = s.add_containerstatuses();
  c->set_name("c");
  EXPECT_FALSE(ApplyStarted("c", true, &s));  // it does not run
  EXPECT_FALSE(ApplyReadiness(MakePod({"c"}), "c", true, &s));
  c->mutable_state()->mutable_running();
  EXPECT_TRUE(ApplyStarted("c", true, &s));
  EXPECT_FALSE(ApplyStarted("c", true, &s));
  EXPECT_TRUE(ApplyReadiness(MakePod({"c"}), "c", true, &s));
  EXPECT_EQ(ConditionText(s, "Ready"), "True");
  EXPECT_EQ(ConditionText(s, "ContainersReady"), "True");
  EXPECT_TRUE(ApplyReadiness(MakePod({"c"}), "c", false, &s));
  EXPECT_EQ(ConditionText(s, "Ready"), "False/ContainersNotReady");
}

TEST(Status, ResourcesAreTheCgroupsOnceTheApiServerKnowsThatThePodRuns) {
  Pod pod = MakePod({"c"});
  (*pod.mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_requests())["memory"] =
      api::Quantity::Of("64Mi").ToProto();
  const core::PodStatus old;
  const PodState state;
  StatusInputs in;
  in.pod = &pod;
  in.old_status = &old;
  in.state = &state;
  in.cgroup_limits = [](const Pod&) { return PodCgroupLimits{51, -1, 100000, 9223372036854771712}; };
  auto text = [](const core::PodStatus& s, bool limit, const char* name) {
    const auto& list = limit ? s.resources().limits() : s.resources().requests();
    auto it = list.find(name);
    return it == list.end() ? "" : api::Quantity::Of(it->second).ToString();
  };
  core::PodStatus s = GenerateStatus(in);
  EXPECT_EQ(text(s, true, "memory"), "");
  EXPECT_EQ(text(s, false, "memory"), "64Mi");
  pod.mutable_status()->set_phase("Running");
  s = GenerateStatus(in);
  EXPECT_EQ(text(s, true, "memory"), "9007199254740988Ki");  // as recorded on cgroup v1
  EXPECT_EQ(text(s, false, "memory"), "64Mi");
  EXPECT_EQ(text(s, false, "cpu"), "50m");
  EXPECT_EQ(text(s, true, "cpu"), "");
}

// As upstream: who names one limit is shown both that the runtime enforces, be the other one the pod's.
TEST(Status, LimitsOfThePodShowWhereAContainerHasOneOfItsOwn) {
  Pod pod = MakePod({"own", "none"});
  auto* own = pod.mutable_spec()->mutable_containers(0)->mutable_resources();
  (*own->mutable_limits())["memory"] = api::Quantity::Of("64Mi").ToProto();
  StateBuilder state;
  state.Sandbox("s").Container("own", State::kRunning).Container("none", State::kRunning);
  for (ContainerState& c : state.state.containers) {
    ContainerState::Resources enforced;
    enforced.cpu_quota = 200000;
    enforced.cpu_period = 100000;
    enforced.memory_limit = 64 << 20;
    c.resources = enforced;
  }
  const core::PodStatus s = Generate(pod, state);
  for (const auto& c : s.containerstatuses()) {
    const auto& limits = c.resources().limits();
    EXPECT_EQ(limits.contains("cpu"), c.name() == "own") << c.name();
    EXPECT_EQ(limits.contains("memory"), c.name() == "own") << c.name();
  }
}

TEST(Status, ARunningPodIsReady) {
  StateBuilder state;
  state.Sandbox("s").Container("c", State::kRunning);
  core::PodStatus s = Generate(MakePod({"c"}), state);
  EXPECT_EQ(s.phase(), "Running");
  EXPECT_EQ(ConditionText(s, "Ready"), "True");
  EXPECT_EQ(s.podip(), "10.0.0.5");
  EXPECT_EQ(s.containerstatuses(0).containerid(), "containerd://c-0");
}

TEST(Status, Phases) {
  struct Case {
    const char* name;
    const char* policy;
    State state;
    int exit_code;
    bool terminal;
    const char* phase;
  };
  for (const Case& c : {
           Case{"crash loop", "Always", State::kExited, 1, false, "Running"},
           {"ended by deletion", "Always", State::kExited, 0, true, "Succeeded"},
           {"ended by deletion with an error", "Always", State::kExited, 137, true, "Failed"},
           {"never, failed", "Never", State::kExited, 1, false, "Failed"},
           {"never, done", "Never", State::kExited, 0, false, "Succeeded"},
           {"on failure, failed", "OnFailure", State::kExited, 1, false, "Running"},
           {"on failure, done", "OnFailure", State::kExited, 0, false, "Succeeded"},
           {"created", "Always", State::kCreated, 0, false, "Pending"},
       }) {
    Pod pod = MakePod({"c"});
    pod.mutable_spec()->set_restartpolicy(c.policy);
    StateBuilder state;
    state.Sandbox("s").Container("c", c.state, c.exit_code);
    EXPECT_EQ(Generate(pod, state, {}, c.terminal).phase(), c.phase) << c.name;
  }
}

TEST(Status, CrashLoopKeepsTheLastState) {
  StateBuilder state;
  state.Sandbox("s").Container("c", State::kExited, 1, 0).Container("c", State::kExited, 2, 1);
  core::PodStatus seen = Generate(MakePod({"c"}), state);
  EXPECT_EQ(seen.containerstatuses(0).state().terminated().exitcode(), 2);
  EXPECT_EQ(seen.containerstatuses(0).laststate().terminated().exitcode(), 1);
  core::PodStatus waiting = Generate(MakePod({"c"}), state, seen, false, {{"c", {"CrashLoopBackOff", "back-off"}}});
  EXPECT_EQ(waiting.containerstatuses(0).state().waiting().reason(), "CrashLoopBackOff");
  EXPECT_EQ(waiting.containerstatuses(0).laststate().terminated().exitcode(), 2);
  EXPECT_EQ(waiting.containerstatuses(0).restartcount(), 1);
  EXPECT_EQ(waiting.phase(), "Running");
}

TEST(Status, InitContainers) {
  Pod pod = MakePod({"c"}, {"i"});
  core::PodStatus s = Generate(pod, PodState());
  EXPECT_EQ(s.containerstatuses(0).state().waiting().reason(), "PodInitializing");
  EXPECT_EQ(ConditionText(s, "Initialized"), "False/ContainersNotInitialized");
  EXPECT_EQ(FindCondition(s, "Initialized")->message(), "containers with incomplete status: [i]");
  StateBuilder done;
  done.Sandbox("s").Container("i", State::kExited, 0).Container("c", State::kRunning);
  s = Generate(pod, done);
  EXPECT_EQ(s.phase(), "Running");
  EXPECT_EQ(ConditionText(s, "Initialized"), "True");
  StateBuilder failed;
  failed.Sandbox("s").Container("i", State::kExited, 1);
  EXPECT_EQ(Generate(pod, failed).phase(), "Pending");
  pod.mutable_spec()->set_restartpolicy("Never");
  EXPECT_EQ(Generate(pod, failed).phase(), "Failed");
}

TEST(Status, AContainerThatVanishedHasEnded) {
  Pod pod = MakePod({"c"});
  StateBuilder state;
  state.Sandbox("s").Container("c", State::kRunning);
  core::PodStatus before = Generate(pod, state);
  StateBuilder empty;
  empty.Sandbox("s");
  core::PodStatus after = Generate(pod, empty, before);
  const auto& c = after.containerstatuses(0);
  EXPECT_EQ(c.laststate().terminated().reason(), "ContainerStatusUnknown");
  EXPECT_EQ(c.laststate().terminated().exitcode(), 137);
  EXPECT_EQ(c.restartcount(), 1);
  EXPECT_EQ(after.phase(), "Running");
}

TEST(Status, FinalPhasesStay) {
  Pod pod = MakePod({"c"});
  pod.mutable_status()->set_phase("Failed");
  StateBuilder state;
  state.Sandbox("s").Container("c", State::kRunning);
  EXPECT_EQ(Generate(pod, state).phase(), "Failed");
}

TEST(Status, FinalizeEndsWhatNeverRan) {
  Pod pod = MakePod({"c"});
  core::PodStatus s = Generate(pod, PodState());
  Finalize(pod, &s);
  EXPECT_EQ(s.phase(), "Failed");
  EXPECT_EQ(s.containerstatuses(0).state().terminated().reason(), "ContainerStatusUnknown");
  EXPECT_EQ(s.containerstatuses(0).state().terminated().exitcode(), 137);
}

TEST(Status, TransitionTimesStayWhileNothingChanges) {
  Pod pod = MakePod({"c"});
  WallTime t0{std::chrono::seconds(1000)}, t1{std::chrono::seconds(2000)};
  core::PodStatus first = Generate(pod, PodState());
  CarryOver(pod, {}, t0, &first);
  EXPECT_EQ(first.starttime().seconds(), 1000);
  StateBuilder state;
  state.Sandbox("s").Container("c", State::kRunning);
  core::PodStatus second = Generate(pod, state, first);
  CarryOver(pod, first, t1, &second);
  EXPECT_EQ(second.starttime().seconds(), 1000);
  EXPECT_EQ(FindCondition(second, "Initialized")->lasttransitiontime().seconds(), 1000);
  EXPECT_EQ(FindCondition(second, "Ready")->lasttransitiontime().seconds(), 2000);
}

TEST(Status, ReadinessGates) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->add_readinessgates()->set_conditiontype("example.com/x");
  StateBuilder state;
  state.Sandbox("s").Container("c", State::kRunning);
  core::PodStatus s = Generate(pod, state);
  EXPECT_EQ(ConditionText(s, "Ready"), "False/ReadinessGatesNotReady");
  EXPECT_EQ(FindCondition(s, "Ready")->message(),
            "corresponding condition of pod readiness gate \"example.com/x\" does not exist.");
  auto* c = pod.mutable_status()->add_conditions();
  c->set_type("example.com/x");
  c->set_status("True");
  EXPECT_EQ(ConditionText(Generate(pod, state), "Ready"), "True");
}

}  // namespace
}  // namespace skiff::kubelet
