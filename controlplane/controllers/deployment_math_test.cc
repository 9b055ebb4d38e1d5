#include "controlplane/controllers/deployment_math.h"

#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/int_or_string.h"
#include "api/time.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

api::IntOrString Value(const std::string& text) {
  int number = 0;
  return absl::SimpleAtoi(text, &number) ? api::FromInt(number) : api::FromString(text);
}

apps::Deployment Deployment(int replicas, const std::string& surge, const std::string& unavailable) {
  apps::Deployment d;
  d.mutable_metadata()->set_name("d");
  d.mutable_spec()->set_replicas(replicas);
  d.mutable_spec()->mutable_strategy()->set_type("RollingUpdate");
  auto* rolling = d.mutable_spec()->mutable_strategy()->mutable_rollingupdate();
  *rolling->mutable_maxsurge() = Value(surge);
  *rolling->mutable_maxunavailable() = Value(unavailable);
  d.mutable_spec()->set_progressdeadlineseconds(600);
  return d;
}

SetPtr Set(const std::string& name, int replicas, int available = 0, int age = 0, int desired = -1, int most = -1) {
  auto set = std::make_shared<apps::ReplicaSet>();
  set->mutable_metadata()->set_name(name);
  set->mutable_metadata()->mutable_creationtimestamp()->set_seconds(1000 - age);
  set->mutable_spec()->set_replicas(replicas);
  set->mutable_status()->set_replicas(replicas);
  set->mutable_status()->set_availablereplicas(available);
  set->mutable_status()->set_readyreplicas(available);
  auto& annotations = *set->mutable_metadata()->mutable_annotations();
  if (desired >= 0) annotations[kDesiredReplicas] = absl::StrCat(desired);
  if (most >= 0) annotations[kMaxReplicas] = absl::StrCat(most);
  return set;
}

TEST(DeploymentMathTest, Fenceposts) {
  const struct {
    int replicas;
    const char *surge, *unavailable;
    int want_surge, want_unavailable;
  } rows[] = {
      {4, "25%", "25%", 1, 1}, {3, "25%", "25%", 1, 0},  {10, "25%", "25%", 3, 2}, {1, "25%", "25%", 1, 0},
      {2, "0", "25%", 0, 1},   {10, "0", "1%", 0, 1},    {5, "2", "1", 2, 1},      {3, "0", "5", 0, 3},
      {0, "25%", "25%", 0, 0}, {10, "100%", "0", 10, 0},
  };
  for (const auto& row : rows) {
    const auto d = Deployment(row.replicas, row.surge, row.unavailable);
    EXPECT_EQ(MaxSurge(d), row.want_surge) << row.replicas << " " << row.surge;
    EXPECT_EQ(MaxUnavailable(d), row.want_unavailable) << row.replicas << " " << row.unavailable;
  }
}

TEST(DeploymentMathTest, TheNewSetGrowsIntoTheRoomThatSurgeLeaves) {
  const struct {
    int replicas;
    const char* surge;
    int old_replicas, new_replicas, want;
  } rows[] = {
      {10, "0", 10, 0, 0},   {10, "3", 10, 0, 3}, {10, "3", 8, 3, 5},  {10, "3", 13, 0, 0}, {10, "25%", 0, 9, 10},
      {10, "25%", 0, 0, 10}, {4, "25%", 4, 0, 1}, {4, "25%", 3, 1, 2}, {1, "25%", 1, 0, 1},
  };
  for (const auto& row : rows) {
    const auto d = Deployment(row.replicas, row.surge, "1");
    const SetPtr old_set = Set("old", row.old_replicas), new_set = Set("new", row.new_replicas);
    EXPECT_EQ(NewSetReplicas(d, {old_set, new_set}, *new_set), row.want) << row.old_replicas << "+" << row.new_replicas;
  }
}

TEST(DeploymentMathTest, OldSetsShrinkAsFarAsAvailabilityAllows) {
  const struct {
    int replicas;
    const char* unavailable;
    int old_replicas, old_available, new_replicas, new_available, want;
  } rows[] = {
      // replicas, maxUnavailable, old spec and available, new spec and available, old afterwards
      {10, "0", 10, 10, 3, 0, 10},  // nothing new is available yet
      {10, "0", 10, 10, 3, 3, 7},   // as many as came
      {10, "2", 10, 10, 3, 0, 8},   // what may be unavailable
      {10, "2", 10, 8, 0, 0, 8},    // the unhealthy ones first
      {10, "2", 8, 8, 5, 0, 8},     // no room: 8 must stay
      {10, "2", 8, 7, 5, 0, 8},     // not even the unhealthy one: 13 - 8 - 5 = 0
      {4, "25%", 4, 4, 1, 0, 3},   {4, "25%", 3, 3, 2, 1, 2}, {1, "0", 1, 1, 1, 1, 0}, {3, "3", 3, 3, 0, 0, 0},
  };
  for (const auto& row : rows) {
    const auto d = Deployment(row.replicas, "1", row.unavailable);
    const SetPtr old_set = Set("old", row.old_replicas, row.old_available);
    const SetPtr new_set = Set("new", row.new_replicas, row.new_available);
    const auto resizes = ScaleDownOldSets(d, {old_set}, new_set);
    EXPECT_EQ(resizes.empty() ? row.old_replicas : resizes[0].replicas, row.want)
        << row.replicas << " " << row.old_replicas << "/" << row.old_available << " " << row.new_replicas << "/"
        << row.new_available;
  }
}

TEST(DeploymentMathTest, SeveralOldSetsShrinkOldestFirst) {
  const auto d = Deployment(10, "0", "3");
  const auto resizes =
      ScaleDownOldSets(d, {Set("young", 5, 5, 1), Set("oldest", 2, 2, 9), Set("old", 3, 3, 5)}, Set("new", 0));
  ASSERT_EQ(resizes.size(), 2u);
  EXPECT_EQ(resizes[0].set->metadata().name(), "oldest");
  EXPECT_EQ(resizes[0].replicas, 0);
  EXPECT_EQ(resizes[1].set->metadata().name(), "old");
  EXPECT_EQ(resizes[1].replicas, 2);
}

TEST(DeploymentMathTest, ScalingInTheMiddleOfARolloutIsProportional) {
  const struct {
    int replicas;
    std::vector<std::pair<int, int>> sizes;  // before, after; the first is the new set
    int before_most;
  } rows[] = {
      {12, {{5, 6}, {5, 6}}, 10}, {20, {{5, 10}, {5, 10}}, 10}, {5, {{5, 3}, {5, 2}}, 10},
      {10, {{6, 6}, {4, 4}}, 10}, {0, {{5, 0}, {5, 0}}, 10},    {12, {{8, 9}, {3, 3}}, 11},
  };
  for (const auto& row : rows) {
    const auto d = Deployment(row.replicas, "0", "1");
    const SetPtr new_set = Set("new", row.sizes[0].first, 0, 0, -1, row.before_most);
    const SetPtr old_set = Set("old", row.sizes[1].first, 0, 5, -1, row.before_most);
    std::map<std::string, int> got;
    for (const auto& resize : ScaleProportionally(d, new_set, {old_set})) {
      got[resize.set->metadata().name()] = resize.replicas;
    }
    EXPECT_EQ(got["new"] + got["old"], row.replicas);
    EXPECT_EQ(got["new"], row.sizes[0].second) << "to " << row.replicas;
    EXPECT_EQ(got["old"], row.sizes[1].second) << "to " << row.replicas;
  }
}

// As recorded of upstream (deployment t-deploy, whose template is this one, and daemon set t-ds): both have 85c9bc64d9.
TEST(TemplateHashTest, IsUpstreams) {
  core::PodTemplateSpec t;
  ASSERT_TRUE(api::FromJson(R"({"metadata": {"labels": {"a": "b"}}, "spec": {
      "containers": [{"name": "c", "image": "registry.k8s.io/pause:3.10", "resources": {}, "imagePullPolicy": "IfNotPresent",
                      "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
      "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
      "nodeSelector": {"golden": "nowhere"}, "securityContext": {}, "schedulerName": "default-scheduler"}})",
                            &t)
                  .ok());
  EXPECT_EQ(TemplateHash(t, 0, false), "85c9bc64d9");
  EXPECT_NE(TemplateHash(t, 0, true), "85c9bc64d9") << "a collision counter counts even when it is 0";
  EXPECT_NE(TemplateHash(t, 1, true), TemplateHash(t, 0, true));
}

TEST(DeploymentMathTest, AScalingEventIsADifferenceFromTheAnnotation) {
  const auto d = Deployment(5, "1", "1");
  EXPECT_TRUE(IsScalingEvent(d, {Set("a", 3, 0, 0, 3)}));
  EXPECT_FALSE(IsScalingEvent(d, {Set("a", 3, 0, 0, 5)}));
  EXPECT_FALSE(IsScalingEvent(d, {Set("a", 0, 0, 0, 3)}));  // inactive
  EXPECT_FALSE(IsScalingEvent(d, {Set("a", 3)}));
}

TEST(DeploymentMathTest, TheSetToScaleAlone) {
  const SetPtr fresh = Set("new", 0, 0, 0), one = Set("one", 3, 0, 5), two = Set("two", 2, 0, 9);
  EXPECT_EQ(FindActiveOrLatest(nullptr, {}), nullptr);
  EXPECT_EQ(FindActiveOrLatest(fresh, {Set("x", 0, 0, 5)}), fresh);
  EXPECT_EQ(FindActiveOrLatest(fresh, {one}), one);
  EXPECT_EQ(FindActiveOrLatest(fresh, {one, two}), nullptr);
}

TEST(DeploymentMathTest, RevisionsAndTheirHistory) {
  auto d = Deployment(3, "1", "1");
  (*d.mutable_metadata()->mutable_annotations())["note"] = "x";
  (*d.mutable_metadata()->mutable_annotations())["kubectl.kubernetes.io/last-applied-configuration"] = "{}";
  apps::ReplicaSet set;
  EXPECT_TRUE(UpdateNewSetAnnotations(d, 1, false, &set));
  EXPECT_EQ(set.metadata().annotations().at(kRevision), "1");
  EXPECT_EQ(set.metadata().annotations().at(kDesiredReplicas), "3");
  EXPECT_EQ(set.metadata().annotations().at(kMaxReplicas), "4");
  EXPECT_EQ(set.metadata().annotations().at("note"), "x");
  EXPECT_FALSE(set.metadata().annotations().contains("kubectl.kubernetes.io/last-applied-configuration"));
  EXPECT_FALSE(UpdateNewSetAnnotations(d, 1, true, &set));
  EXPECT_TRUE(UpdateNewSetAnnotations(d, 4, true, &set));
  EXPECT_EQ(set.metadata().annotations().at(kRevisionHistory), "1");
  EXPECT_TRUE(UpdateNewSetAnnotations(d, 7, true, &set));
  EXPECT_EQ(set.metadata().annotations().at(kRevisionHistory), "1,4");
  EXPECT_FALSE(UpdateNewSetAnnotations(d, 5, true, &set));  // never backwards
}

TEST(DeploymentMathTest, ConditionsTellTheRolloutsStory) {
  const WallTime t0 = WallTime(std::chrono::seconds(10000));
  auto d = Deployment(2, "1", "0");
  d.mutable_metadata()->set_generation(1);
  SetPtr set = Set("d-x", 2, 0);
  SetCondition(d.mutable_status(), "Progressing", "True", "NewReplicaSetCreated", "Created new replica set \"d-x\"",
               t0);
  // Pods exist, none available: progress against a status without any.
  auto status = RolloutStatusOf(d, {set}, set, t0 + std::chrono::seconds(5));
  EXPECT_EQ(FindCondition(status, "Progressing")->reason(), "ReplicaSetUpdated");
  EXPECT_EQ(FindCondition(status, "Progressing")->message(), "ReplicaSet \"d-x\" is progressing.");
  EXPECT_EQ(FindCondition(status, "Progressing")->lasttransitiontime().seconds(), 10000);
  EXPECT_EQ(FindCondition(status, "Progressing")->lastupdatetime().seconds(), 10005);
  EXPECT_EQ(FindCondition(status, "Available")->reason(), "MinimumReplicasUnavailable");
  EXPECT_EQ(status.unavailablereplicas(), 2);
  *d.mutable_status() = status;
  // Nothing moves for longer than the deadline.
  status = RolloutStatusOf(d, {set}, set, t0 + std::chrono::seconds(606));
  EXPECT_EQ(FindCondition(status, "Progressing")->reason(), "ProgressDeadlineExceeded");
  EXPECT_EQ(FindCondition(status, "Progressing")->message(), "ReplicaSet \"d-x\" has timed out progressing.");
  // And then all is well.
  set = Set("d-x", 2, 2);
  status = RolloutStatusOf(d, {set}, set, t0 + std::chrono::seconds(700));
  EXPECT_EQ(FindCondition(status, "Progressing")->reason(), "NewReplicaSetAvailable");
  EXPECT_EQ(FindCondition(status, "Progressing")->message(), "ReplicaSet \"d-x\" has successfully progressed.");
  EXPECT_EQ(FindCondition(status, "Available")->message(), "Deployment has minimum availability.");
}

}  // namespace
}  // namespace skiff::controlplane
