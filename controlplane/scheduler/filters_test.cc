#include "controlplane/scheduler/filters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/quantity.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"

namespace skiff::controlplane {
namespace {

using testing::ElementsAre;

api::Quantity::Proto Q(const std::string& text) { return api::Quantity::Of(text).ToProto(); }

std::shared_ptr<core::Node> Node(const std::string& name, const std::string& cpu = "2",
                                 const std::string& memory = "4Gi", const std::string& pods = "10") {
  auto node = std::make_shared<core::Node>();
  node->mutable_metadata()->set_name(name);
  (*node->mutable_metadata()->mutable_labels())["kubernetes.io/hostname"] = name;
  auto& allocatable = *node->mutable_status()->mutable_allocatable();
  allocatable["cpu"] = Q(cpu);
  allocatable["memory"] = Q(memory);
  allocatable["pods"] = Q(pods);
  return node;
}

std::shared_ptr<core::Pod> Pod(const std::string& name, const std::string& cpu = "", const std::string& memory = "") {
  auto pod = std::make_shared<core::Pod>();
  pod->mutable_metadata()->set_namespace_("ns");
  pod->mutable_metadata()->set_name(name);
  pod->mutable_metadata()->set_uid("uid-" + name);
  auto& requests = *pod->mutable_spec()->add_containers()->mutable_resources()->mutable_requests();
  if (!cpu.empty()) requests["cpu"] = Q(cpu);
  if (!memory.empty()) requests["memory"] = Q(memory);
  return pod;
}

Verdict Check(const core::Pod& pod, const ClusterState& state, const std::string& node = "n") {
  return Filter(pod, NeedsOf(pod), state.nodes().at(node), state);
}

TEST(NodeInfoTest, WhatAPodNeeds) {
  auto pod = Pod("p", "500m", "100Mi");
  *pod->mutable_spec()->add_containers() = pod->spec().containers(0);
  auto* init = pod->mutable_spec()->add_initcontainers();
  (*init->mutable_resources()->mutable_requests())["cpu"] = Q("3");
  EXPECT_EQ(NeedsOf(*pod).request.milli_cpu, 3000);  // the init container is the greatest
  EXPECT_EQ(NeedsOf(*pod).request.memory, 200 << 20);
  init->set_restartpolicy("Always");  // a sidecar runs beside the others
  EXPECT_EQ(NeedsOf(*pod).request.milli_cpu, 4000);
  (*pod->mutable_spec()->mutable_overhead())["cpu"] = Q("250m");
  EXPECT_EQ(NeedsOf(*pod).request.milli_cpu, 4250);
  EXPECT_EQ(NeedsOf(*Pod("q")).request.milli_cpu, 0);
  EXPECT_EQ(NeedsOf(*Pod("q")).scored_cpu, 100);
}

TEST(NodeInfoTest, SumsFollowThePods) {
  ClusterState state;
  state.SetNode(Node("n"));
  state.Place(Pod("a", "500m", "1Gi"), "n");
  state.Place(Pod("b", "250m"), "n");
  state.Place(Pod("a", "1", "1Gi"), "n");  // the same pod again
  EXPECT_EQ(state.nodes().at("n").used.milli_cpu, 1250);
  state.Remove("uid-a");
  EXPECT_EQ(state.nodes().at("n").used.milli_cpu, 250);
  EXPECT_EQ(state.nodes().at("n").used.memory, 0);
  state.RemoveNode("n");
  EXPECT_EQ(state.node_count(), 0u);
  state.SetNode(Node("n"));
  EXPECT_EQ(state.nodes().at("n").used.milli_cpu, 250);  // pods outlive their node's absence
}

TEST(FiltersTest, Resources) {
  ClusterState state;
  state.SetNode(Node("n", "2", "4Gi", "2"));
  EXPECT_TRUE(Check(*Pod("p", "2", "4Gi"), state).fits());
  EXPECT_THAT(Check(*Pod("p", "2001m", "5Gi"), state).reasons, ElementsAre("Insufficient cpu", "Insufficient memory"));
  EXPECT_FALSE(Check(*Pod("p", "2001m"), state).preemption_may_help);
  state.Place(Pod("a", "1"), "n");
  EXPECT_THAT(Check(*Pod("p", "1500m"), state).reasons, ElementsAre("Insufficient cpu"));
  EXPECT_TRUE(Check(*Pod("p", "1500m"), state).preemption_may_help);
  state.Place(Pod("b"), "n");
  EXPECT_THAT(Check(*Pod("p"), state).reasons, ElementsAre("Too many pods"));
  auto gpu = Pod("g");
  (*gpu->mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_requests())["example.com/gpu"] = Q("1");
  EXPECT_THAT(Check(*gpu, state).reasons, ElementsAre("Too many pods", "Insufficient example.com/gpu"));
}

TEST(FiltersTest, TaintsAndUnschedulable) {
  ClusterState state;
  auto node = Node("n");
  auto* taint = node->mutable_spec()->add_taints();
  taint->set_key("k");
  taint->set_value("v");
  taint->set_effect("NoSchedule");
  state.SetNode(node);
  auto pod = Pod("p");
  EXPECT_THAT(Check(*pod, state).reasons, ElementsAre("node(s) had untolerated taint(s)"));
  const struct {
    const char *key, *op, *value, *effect;
    bool tolerates;
  } rows[] = {
      {"k", "Exists", "", "", true},
      {"k", "Equal", "v", "NoSchedule", true},
      {"k", "", "v", "", true},
      {"k", "Equal", "w", "", false},
      {"", "Exists", "", "", true},
      {"", "Equal", "v", "", false},
      {"k", "Exists", "", "NoExecute", false},
      {"j", "Exists", "", "", false},
  };
  for (const auto& row : rows) {
    auto tolerant = Pod("p");
    auto* toleration = tolerant->mutable_spec()->add_tolerations();
    toleration->set_key(row.key);
    toleration->set_operator_(row.op);
    toleration->set_value(row.value);
    toleration->set_effect(row.effect);
    EXPECT_EQ(Check(*tolerant, state).fits(), row.tolerates) << row.key << " " << row.op << " " << row.value;
  }
  node = Node("n");
  node->mutable_spec()->set_unschedulable(true);
  state.SetNode(node);
  EXPECT_THAT(Check(*pod, state).reasons, ElementsAre("node(s) were unschedulable"));
}

TEST(FiltersTest, SelectorsAndAffinity) {
  ClusterState state;
  auto node = Node("n");
  (*node->mutable_metadata()->mutable_labels())["disk"] = "ssd";
  (*node->mutable_metadata()->mutable_labels())["cores"] = "8";
  state.SetNode(node);
  auto pod = Pod("p");
  (*pod->mutable_spec()->mutable_nodeselector())["disk"] = "ssd";
  EXPECT_TRUE(Check(*pod, state).fits());
  (*pod->mutable_spec()->mutable_nodeselector())["disk"] = "hdd";
  EXPECT_THAT(Check(*pod, state).reasons, ElementsAre("node(s) didn't match Pod's node affinity/selector"));
  const struct {
    const char *key, *op;
    std::vector<std::string> values;
    bool field, fits;
  } rows[] = {
      {"disk", "In", {"ssd", "nvme"}, false, true}, {"disk", "NotIn", {"ssd"}, false, false},
      {"none", "NotIn", {"x"}, false, true},        {"disk", "Exists", {}, false, true},
      {"none", "DoesNotExist", {}, false, true},    {"cores", "Gt", {"4"}, false, true},
      {"cores", "Lt", {"4"}, false, false},         {"disk", "Gt", {"4"}, false, false},
      {"metadata.name", "In", {"n"}, true, true},   {"metadata.name", "In", {"m"}, true, false},
  };
  for (const auto& row : rows) {
    auto affine = Pod("p");
    auto* term = affine->mutable_spec()
                     ->mutable_affinity()
                     ->mutable_nodeaffinity()
                     ->mutable_requiredduringschedulingignoredduringexecution()
                     ->add_nodeselectorterms();
    auto* requirement = row.field ? term->add_matchfields() : term->add_matchexpressions();
    requirement->set_key(row.key);
    requirement->set_operator_(row.op);
    for (const auto& value : row.values) requirement->add_values(value);
    EXPECT_EQ(Check(*affine, state).fits(), row.fits) << row.key << " " << row.op;
  }
}

TEST(FiltersTest, HostPorts) {
  ClusterState state;
  state.SetNode(Node("n"));
  const auto with_port = [](const std::string& name, int port, const std::string& protocol, const std::string& ip) {
    auto pod = Pod(name);
    auto* added = pod->mutable_spec()->mutable_containers(0)->add_ports();
    added->set_hostport(port);
    added->set_protocol(protocol);
    added->set_hostip(ip);
    return pod;
  };
  state.Place(with_port("a", 80, "TCP", "127.0.0.1"), "n");
  EXPECT_TRUE(Check(*with_port("b", 81, "TCP", ""), state).fits());
  EXPECT_TRUE(Check(*with_port("b", 80, "UDP", ""), state).fits());
  EXPECT_TRUE(Check(*with_port("b", 80, "TCP", "127.0.0.2"), state).fits());
  EXPECT_THAT(Check(*with_port("b", 80, "TCP", "0.0.0.0"), state).reasons,
              ElementsAre("node(s) didn't have free ports for the requested pod ports"));
}

TEST(FiltersTest, PodsApartAndTogether) {
  ClusterState state;
  state.SetNode(Node("n"));
  state.SetNode(Node("m"));
  auto placed = Pod("a");
  (*placed->mutable_metadata()->mutable_labels())["app"] = "x";
  state.Place(placed, "n");
  auto apart = Pod("b");
  auto* term = apart->mutable_spec()
                   ->mutable_affinity()
                   ->mutable_podantiaffinity()
                   ->add_requiredduringschedulingignoredduringexecution();
  term->set_topologykey("kubernetes.io/hostname");
  (*term->mutable_labelselector()->mutable_matchlabels())["app"] = "x";
  EXPECT_THAT(Check(*apart, state, "n").reasons, ElementsAre("node(s) didn't match pod anti-affinity rules"));
  EXPECT_TRUE(Check(*apart, state, "m").fits());
  auto together = Pod("c");
  *together->mutable_spec()
       ->mutable_affinity()
       ->mutable_podaffinity()
       ->add_requiredduringschedulingignoredduringexecution() = *term;
  EXPECT_TRUE(Check(*together, state, "n").fits());
  EXPECT_THAT(Check(*together, state, "m").reasons, ElementsAre("node(s) didn't match pod affinity rules"));
  // The rules of those that are there hold for newcomers.
  state.Place(apart, "m");
  EXPECT_THAT(Check(*placed, state, "m").reasons,
              ElementsAre("node(s) didn't satisfy existing pods anti-affinity rules"));
}

TEST(FiltersTest, TopologySpread) {
  ClusterState state;
  state.SetNode(Node("n"));
  state.SetNode(Node("m"));
  auto pod = Pod("a");
  (*pod->mutable_metadata()->mutable_labels())["app"] = "x";
  auto* constraint = pod->mutable_spec()->add_topologyspreadconstraints();
  constraint->set_maxskew(1);
  constraint->set_topologykey("kubernetes.io/hostname");
  constraint->set_whenunsatisfiable("DoNotSchedule");
  (*constraint->mutable_labelselector()->mutable_matchlabels())["app"] = "x";
  EXPECT_TRUE(Check(*pod, state, "n").fits());
  state.Place(pod, "n");
  auto next = std::make_shared<core::Pod>(*pod);
  next->mutable_metadata()->set_uid("b");
  EXPECT_THAT(Check(*next, state, "n").reasons, ElementsAre("node(s) didn't match pod topology spread constraints"));
  EXPECT_TRUE(Check(*next, state, "m").fits());
}

TEST(FiltersTest, WordsOfAFailure) {
  const core::Pod pod;
  EXPECT_EQ(WhyUnschedulable(pod, 0, {}), "no nodes available to schedule pods");
  EXPECT_EQ(
      WhyUnschedulable(pod, 2,
                       {{{"node(s) had untolerated taint(s)"}, false},
                        {{"node(s) didn't match Pod's node affinity/selector"}, false}}),
      "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated "
      "taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for "
      "scheduling.");
  EXPECT_EQ(
      WhyUnschedulable(pod, 1, {{{"Insufficient cpu", "Too many pods"}, true}}),
      "0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods. no new claims to deallocate, preemption: 0/1 "
      "nodes are available: 1 No preemption victims found for incoming pod.");
}

TEST(FiltersTest, WordsOfAClaim) {
  const auto pod = Pod("p");
  core::Volume plain, named, own;
  plain.mutable_volumesource()->mutable_emptydir();
  named.mutable_volumesource()->mutable_persistentvolumeclaim()->set_claimname("nope");
  own.set_name("v");
  own.mutable_volumesource()->mutable_ephemeral();
  EXPECT_EQ(ClaimName(*pod, plain), "");
  EXPECT_EQ(ClaimName(*pod, own), "p-v");
  // As recorded.
  EXPECT_EQ(WhyClaimBlocks(1, ClaimProblem(*pod, named, nullptr)),
            "0/1 nodes are available: persistentvolumeclaim \"nope\" not found. not found");
  EXPECT_EQ(ClaimProblem(*pod, own, nullptr),
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-v\"");
  core::PersistentVolumeClaim claim;
  claim.mutable_metadata()->set_namespace_("ns");
  EXPECT_EQ(ClaimProblem(*pod, named, &claim), "pod has unbound immediate PersistentVolumeClaims");
  EXPECT_EQ(ClaimProblem(*pod, own, &claim), "PVC ns/p-v was not created for pod ns/p (pod is not owner)");
  claim.mutable_spec()->set_volumename("pv");
  EXPECT_EQ(ClaimProblem(*pod, named, &claim), "");
  claim.mutable_metadata()->mutable_deletiontimestamp();
  EXPECT_EQ(ClaimProblem(*pod, named, &claim), "persistentvolumeclaim \"nope\" is being deleted");
}

TEST(ScoresTest, PrefersTheEmptierTheBalancedAndTheOneWithoutEqualPods) {
  Amounts allocatable;
  allocatable.milli_cpu = 1000;
  allocatable.memory = 1000;
  EXPECT_EQ(LeastAllocated(500, 500, allocatable), 50);
  EXPECT_EQ(LeastAllocated(0, 1000, allocatable), 50);
  EXPECT_EQ(LeastAllocated(2000, 0, allocatable), 50);
  Amounts used, request;
  used.milli_cpu = 500;
  request.memory = 500;
  EXPECT_GT(BalancedAllocation(used, request, allocatable), 75);  // evens it out
  request = {};
  request.milli_cpu = 500;
  EXPECT_LT(BalancedAllocation(used, request, allocatable), 75);
  ClusterState state;
  state.SetNode(Node("n"));
  const auto pod = Pod("p", "100m");
  EXPECT_GT(Score(*pod, NeedsOf(*pod), state.nodes().at("n"), 0, 2),
            Score(*pod, NeedsOf(*pod), state.nodes().at("n"), 2, 2));
}

}  // namespace
}  // namespace skiff::controlplane
