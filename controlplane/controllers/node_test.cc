#include <gtest/gtest.h>

#include "controlplane/controllers/cidr_set.h"
#include "controlplane/controllers/node_health.h"

namespace skiff::controlplane {
namespace {

TEST(CidrSetTest, GivesBlocksOutOnceUntilNoneIsLeft) {
  auto set = CidrSet::Make("10.244.0.0/22", 24).value();
  ASSERT_TRUE(set.Occupy("10.244.1.0/24").ok());
  EXPECT_EQ(set.Allocate().value(), "10.244.0.0/24");
  EXPECT_EQ(set.Allocate().value(), "10.244.2.0/24");
  EXPECT_EQ(set.Allocate().value(), "10.244.3.0/24");
  EXPECT_TRUE(absl::IsResourceExhausted(set.Allocate().status()));
  ASSERT_TRUE(set.Release("10.244.1.0/24").ok());
  EXPECT_EQ(set.Allocate().value(), "10.244.1.0/24");
  EXPECT_EQ(set.used(), 4u);
}

TEST(CidrSetTest, RefusesNonsense) {
  for (const char* cidr : {"", "10.0.0.0", "10.0.0.0/33", "x/16", "10.0.0.0/a", "fd00::/64"}) {
    EXPECT_FALSE(CidrSet::Make(cidr, 24).ok()) << cidr;
  }
  EXPECT_FALSE(CidrSet::Make("10.0.0.0/16", 8).ok());
  EXPECT_FALSE(CidrSet::Make("10.0.0.0/8", 30).ok());
  auto set = CidrSet::Make("10.244.0.0/16", 24).value();
  EXPECT_TRUE(absl::IsOutOfRange(set.Occupy("10.245.0.0/24")));
  EXPECT_TRUE(absl::IsInvalidArgument(set.Occupy("nonsense")));
}

core::Node Node(const std::string& ready, std::vector<std::pair<std::string, std::string>> taints = {}) {
  core::Node node;
  node.mutable_metadata()->set_name("n");
  if (!ready.empty()) {
    auto* condition = node.mutable_status()->add_conditions();
    condition->set_type("Ready");
    condition->set_status(ready);
  }
  for (const auto& [key, effect] : taints) {
    auto* taint = node.mutable_spec()->add_taints();
    taint->set_key(key);
    taint->set_effect(effect);
    taint->mutable_timeadded()->set_seconds(1000);
  }
  return node;
}

std::set<std::string> Text(const std::vector<core::Taint>& taints) {
  std::set<std::string> out;
  for (const auto& taint : taints) out.insert(absl::StrCat(taint.key(), ":", taint.effect()));
  return out;
}

TEST(NodeHealthTest, ConditionsBecomeTaints) {
  const std::string not_ready = "node.kubernetes.io/not-ready", unreachable = "node.kubernetes.io/unreachable";
  const WallTime now = WallTime(std::chrono::seconds(5000));
  using Set = std::set<std::string>;
  EXPECT_EQ(Text(WantedTaints(Node("True"), true, now)), Set{});
  EXPECT_EQ(Text(WantedTaints(Node("True", {{not_ready, "NoSchedule"}, {not_ready, "NoExecute"}}), true, now)), Set{});
  EXPECT_EQ(Text(WantedTaints(Node("False"), true, now)), (Set{not_ready + ":NoSchedule", not_ready + ":NoExecute"}));
  EXPECT_EQ(Text(WantedTaints(Node("False"), false, now)), Set{not_ready + ":NoSchedule"});
  EXPECT_EQ(Text(WantedTaints(Node("Unknown", {{not_ready, "NoExecute"}}), true, now)),
            (Set{unreachable + ":NoSchedule", unreachable + ":NoExecute"}));
  EXPECT_EQ(Text(WantedTaints(Node("", {{not_ready, "NoSchedule"}}), true, now)), Set{not_ready + ":NoSchedule"});
  EXPECT_EQ(Text(WantedTaints(Node("True", {{"mine", "NoExecute"}}), true, now)), Set{"mine:NoExecute"});
  auto cordoned = Node("True");
  cordoned.mutable_spec()->set_unschedulable(true);
  EXPECT_EQ(Text(WantedTaints(cordoned, true, now)), Set{"node.kubernetes.io/unschedulable:NoSchedule"});
  // What stays keeps its time.
  const auto kept = WantedTaints(Node("False", {{not_ready, "NoExecute"}}), true, now);
  EXPECT_EQ(kept[0].timeadded().seconds(), 1000);
}

TEST(NodeHealthTest, PodsLeaveAfterWhatTheyTolerate) {
  const auto node = Node("Unknown", {{"node.kubernetes.io/unreachable", "NoExecute"}});
  const WallTime now = WallTime(std::chrono::seconds(1100));
  core::Pod pod;
  EXPECT_EQ(EvictionTime(pod, node, now, now), now);
  auto* toleration = pod.mutable_spec()->add_tolerations();
  toleration->set_key("node.kubernetes.io/unreachable");
  toleration->set_operator_("Exists");
  toleration->set_effect("NoExecute");
  EXPECT_EQ(EvictionTime(pod, node, now, now), std::nullopt);
  toleration->set_tolerationseconds(300);
  EXPECT_EQ(EvictionTime(pod, node, now, now), WallTime(std::chrono::seconds(1300)));
  EXPECT_EQ(EvictionTime(pod, Node("True"), now, now), std::nullopt);
  // A taint that a person gave has no time: the tolerated one counts from when it was seen, however often one looks.
  auto untimed = node;
  untimed.mutable_spec()->mutable_taints(0)->clear_timeadded();
  const WallTime seen = now - std::chrono::seconds(200);
  EXPECT_EQ(EvictionTime(pod, untimed, now, seen), seen + std::chrono::seconds(300));
}

}  // namespace
}  // namespace skiff::controlplane
