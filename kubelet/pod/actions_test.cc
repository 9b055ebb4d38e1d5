// The sync decision as a table: what the spec wants, what the runtime has, what is to be done.
#include "kubelet/pod/actions.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using State = ContainerState::State;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing_pods::MakePod;
using testing_pods::StateBuilder;

ProbeResults NoProbes() {
  return [](ProbeKind, const std::string&) { return ProbeResult::kUnknown; };
}

TEST(ComputeActions, ANewPodGetsASandboxAndItsContainers) {
  Pod pod = MakePod({"a", "b"});
  PodActions actions = ComputeActions(pod, PodState(), NoProbes());
  EXPECT_TRUE(actions.create_sandbox);
  EXPECT_EQ(actions.attempt, 0u);
  EXPECT_THAT(actions.to_start, ElementsAre(0, 1));
}

TEST(ComputeActions, ARunningPodIsLeftAlone) {
  Pod pod = MakePod({"a"});
  StateBuilder state;
  state.Sandbox("s1").Container("a", State::kRunning);
  EXPECT_TRUE(ComputeActions(pod, state, NoProbes()).empty());
}

TEST(ComputeActions, InitContainersComeFirstAndOneAfterTheOther) {
  Pod pod = MakePod({"main"}, {"i1", "i2"});
  PodActions actions = ComputeActions(pod, PodState(), NoProbes());
  EXPECT_THAT(actions.init_to_start, ElementsAre(0));
  EXPECT_THAT(actions.to_start, IsEmpty());

  StateBuilder running;
  running.Sandbox("s1").Container("i1", State::kRunning);
  EXPECT_TRUE(ComputeActions(pod, running, NoProbes()).empty());

  StateBuilder first_done;
  first_done.Sandbox("s1").Container("i1", State::kExited, 0);
  actions = ComputeActions(pod, first_done, NoProbes());
  EXPECT_THAT(actions.init_to_start, ElementsAre(1));
  EXPECT_THAT(actions.to_start, IsEmpty());

  StateBuilder all_done;
  all_done.Sandbox("s1").Container("i1", State::kExited, 0).Container("i2", State::kExited, 0);
  actions = ComputeActions(pod, all_done, NoProbes());
  EXPECT_THAT(actions.init_to_start, IsEmpty());
  EXPECT_THAT(actions.to_start, ElementsAre(0));
}

// As upstream: a child was killed, and the first process ended with 0 all the same.
TEST(ComputeActions, AnInitContainerThatLackedMemoryHasFailed) {
  for (const char* policy : {"Always", "OnFailure", "Never"}) {
    Pod pod = MakePod({"main"}, {"i1"});
    pod.mutable_spec()->set_restartpolicy(policy);
    StateBuilder state;
    state.Sandbox("s1").Container("i1", State::kExited, 0);
    state.state.containers[0].reason = "OOMKilled";
    const PodActions actions = ComputeActions(pod, state, NoProbes());
    EXPECT_THAT(actions.to_start, IsEmpty()) << policy;
    // With OnFailure the exit code says that it is not to run again.
    const bool again = std::string_view(policy) == "Always";
    EXPECT_EQ(actions.kill_pod, !again) << policy;
    EXPECT_EQ(actions.init_to_start.size(), again ? 1u : 0u) << policy;
  }
}

TEST(ComputeActions, AStartThatCameLateIsUndone) {
  Pod pod = MakePod({"a"});
  StateBuilder state;
  state.Sandbox("s1").Container("a", State::kRunning, 0, 0).Container("a", State::kRunning, 0, 1);
  const PodActions actions = ComputeActions(pod, state, NoProbes());
  EXPECT_THAT(actions.to_kill, ElementsAre(PodActions::Kill{"a-0", "a", "Container a was replaced by a newer one"}));
  EXPECT_THAT(actions.to_start, IsEmpty());
}

// One that was made in the sandbox before and never ran proves nothing about this sandbox's initialization.
TEST(ComputeActions, ACreatedContainerOfAnOldSandboxDoesNotCountAsInitialized) {
  Pod pod = MakePod({"main"}, {"i1"});
  StateBuilder state;
  state.Sandbox("s1", false).Container("main", State::kCreated).Sandbox("s2", true, 1);
  PodActions actions = ComputeActions(pod, state, NoProbes());
  EXPECT_THAT(actions.init_to_start, ElementsAre(0));
  EXPECT_THAT(actions.to_start, IsEmpty());
  state.Container("main", State::kCreated, 0, 1);
  actions = ComputeActions(pod, state, NoProbes());
  EXPECT_THAT(actions.init_to_start, IsEmpty());
  EXPECT_THAT(actions.to_start, ElementsAre(0)) << "its start was lost";
}

TEST(ComputeActions, FailedInitContainer) {
  Pod pod = MakePod({"main"}, {"i1"});
  StateBuilder failed;
  failed.Sandbox("s1").Container("i1", State::kExited, 1);
  EXPECT_THAT(ComputeActions(pod, failed, NoProbes()).init_to_start, ElementsAre(0));
  pod.mutable_spec()->set_restartpolicy("Never");
  PodActions actions = ComputeActions(pod, failed, NoProbes());
  EXPECT_TRUE(actions.kill_pod);
  EXPECT_FALSE(actions.create_sandbox);
  EXPECT_THAT(actions.init_to_start, IsEmpty());
}

TEST(ComputeActions, SidecarsRestartAndDoNotBlockTheNext) {
  Pod pod = MakePod({"main"}, {"side", "init"});
  pod.mutable_spec()->mutable_initcontainers(0)->set_restartpolicy("Always");
  StateBuilder up;
  up.Sandbox("s1").Container("side", State::kRunning);
  EXPECT_THAT(ComputeActions(pod, up, NoProbes()).init_to_start, ElementsAre(1));

  StateBuilder died;
  died.Sandbox("s1")
      .Container("side", State::kExited, 1)
      .Container("init", State::kExited, 0)
      .Container("main", State::kRunning);
  PodActions actions = ComputeActions(pod, died, NoProbes());
  EXPECT_THAT(actions.init_to_start, ElementsAre(0));
  EXPECT_THAT(actions.to_start, IsEmpty());

  // A sidecar whose startup probe has not passed holds the next one back.
  pod.mutable_spec()->mutable_initcontainers(0)->mutable_startupprobe();
  EXPECT_TRUE(ComputeActions(pod, up, NoProbes()).empty());
}

TEST(ComputeActions, RestartPolicies) {
  struct Case {
    const char* policy;
    int exit_code;
    bool restarts;
  };
  for (const Case& c : {Case{"Always", 0, true},
                        {"Always", 1, true},
                        {"OnFailure", 0, false},
                        {"OnFailure", 1, true},
                        {"Never", 0, false},
                        {"Never", 1, false}}) {
    Pod pod = MakePod({"a"});
    pod.mutable_spec()->set_restartpolicy(c.policy);
    StateBuilder state;
    state.Sandbox("s1").Container("a", State::kExited, c.exit_code);
    PodActions actions = ComputeActions(pod, state, NoProbes());
    EXPECT_EQ(!actions.to_start.empty(), c.restarts) << c.policy << " " << c.exit_code;
    EXPECT_EQ(actions.kill_pod, !c.restarts) << c.policy << " " << c.exit_code;
  }
}

TEST(ComputeActions, ContainerRulesOverrideThePodsPolicy) {
  Pod pod = MakePod({"a"});
  pod.mutable_spec()->set_restartpolicy("Never");
  pod.mutable_spec()->mutable_containers(0)->set_restartpolicy("Never");  // rules count only beside a policy
  auto* rule = pod.mutable_spec()->mutable_containers(0)->add_restartpolicyrules();
  rule->set_action("Restart");
  rule->mutable_exitcodes()->set_operator_("In");
  rule->mutable_exitcodes()->add_values(42);
  StateBuilder state;
  state.Sandbox("s1").Container("a", State::kExited, 42);
  EXPECT_THAT(ComputeActions(pod, state, NoProbes()).to_start, ElementsAre(0));
}

TEST(ComputeActions, ALostSandboxIsReplacedWithTheNextAttempt) {
  Pod pod = MakePod({"a"});
  StateBuilder state;
  state.Sandbox("s1", false, 3).Container("a", State::kExited, 255);
  PodActions actions = ComputeActions(pod, state, NoProbes());
  EXPECT_TRUE(actions.kill_pod);
  EXPECT_TRUE(actions.create_sandbox);
  EXPECT_EQ(actions.attempt, 4u);
  EXPECT_EQ(actions.sandbox_id, "s1");
  EXPECT_THAT(actions.to_start, ElementsAre(0));
  pod.mutable_spec()->set_restartpolicy("Never");
  actions = ComputeActions(pod, state, NoProbes());
  EXPECT_TRUE(actions.kill_pod);
  EXPECT_FALSE(actions.create_sandbox);
}

TEST(ComputeActions, ProbesKill) {
  Pod pod = MakePod({"a"});
  StateBuilder state;
  state.Sandbox("s1").Container("a", State::kRunning);
  ProbeResults failing = [](ProbeKind kind, const std::string&) {
    return kind == ProbeKind::kLiveness ? ProbeResult::kFailure : ProbeResult::kUnknown;
  };
  PodActions actions = ComputeActions(pod, state, failing);
  ASSERT_EQ(actions.to_kill.size(), 1u);
  EXPECT_EQ(actions.to_kill[0].message, "Container a failed liveness probe, will be restarted");
  EXPECT_EQ(actions.to_kill[0].reason, KillReason::kLivenessProbe);
  EXPECT_THAT(actions.to_start, ElementsAre(0));
  EXPECT_FALSE(actions.kill_pod);
  pod.mutable_spec()->set_restartpolicy("Never");
  actions = ComputeActions(pod, state, failing);
  EXPECT_TRUE(actions.kill_pod);
}

TEST(ComputeActions, AChangedImageReplacesTheContainer) {
  Pod pod = MakePod({"a"});
  StateBuilder state;
  state.Sandbox("s1").Container("a", State::kRunning);
  state.state.containers[0].hash = 12345;
  PodActions actions = ComputeActions(pod, state, NoProbes());
  ASSERT_EQ(actions.to_kill.size(), 1u);
  EXPECT_EQ(actions.to_kill[0].message, "Container a definition changed, will be restarted");
}

TEST(ComputeActions, NothingStartsInAPodThatIsBeingDeleted) {
  Pod pod = MakePod({"a"});
  pod.mutable_metadata()->mutable_deletiontimestamp()->set_seconds(1);
  StateBuilder state;
  state.Sandbox("s1").Container("a", State::kExited, 1);
  PodActions actions = ComputeActions(pod, state, NoProbes());
  EXPECT_THAT(actions.to_start, IsEmpty());
}

}  // namespace
}  // namespace skiff::kubelet
