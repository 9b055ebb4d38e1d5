#include "kubelet/pod/admission.h"

#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using testing_pods::MakePod;

core::Node MakeNode() {
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  (*node.mutable_metadata()->mutable_labels())["disk"] = "ssd";
  auto& allocatable = *node.mutable_status()->mutable_allocatable();
  allocatable["cpu"] = api::Quantity(2).ToProto();
  allocatable["memory"] = api::Quantity::Of("1Gi").ToProto();
  allocatable["pods"] = api::Quantity(3).ToProto();
  return node;
}

PodPtr WithCpu(const char* cpu) {
  auto pod = std::make_shared<Pod>(MakePod({"c"}));
  (*pod->mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_requests())["cpu"] =
      api::Quantity::Of(cpu).ToProto();
  return pod;
}

std::string Reason(const Pod& pod, const std::vector<PodPtr>& others = {}) {
  auto r = Admit(pod, MakeNode(), others, {"net.core.*"});
  return r ? r->reason + ": " + r->message : "";
}

TEST(Admit, Resources) {
  EXPECT_EQ(Reason(*WithCpu("2")), "");
  EXPECT_EQ(Reason(*WithCpu("100"), {WithCpu("770m")}),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 100000, used: 770, capacity: 2000");
  EXPECT_EQ(Reason(*WithCpu("1m"), {WithCpu("0"), WithCpu("0"), WithCpu("0")}),
            "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3");
  Pod critical = *WithCpu("100");
  critical.mutable_spec()->set_priority(2000001000);
  EXPECT_EQ(Reason(critical), "");
}

TEST(Admit, NodeSelectorAndAffinity) {
  Pod pod = MakePod({"c"});
  (*pod.mutable_spec()->mutable_nodeselector())["disk"] = "ssd";
  EXPECT_EQ(Reason(pod), "");
  (*pod.mutable_spec()->mutable_nodeselector())["disk"] = "hdd";
  EXPECT_EQ(Reason(pod),
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
  pod.mutable_spec()->clear_nodeselector();
  auto* term = pod.mutable_spec()
                   ->mutable_affinity()
                   ->mutable_nodeaffinity()
                   ->mutable_requiredduringschedulingignoredduringexecution()
                   ->add_nodeselectorterms();
  auto* r = term->add_matchexpressions();
  r->set_key("disk");
  r->set_operator_("NotIn");
  r->add_values("ssd");
  EXPECT_NE(Reason(pod), "");
  r->set_operator_("Exists");
  r->clear_values();
  EXPECT_EQ(Reason(pod), "");
}

TEST(Admit, SysctlsOsPortsTaints) {
  Pod pod = MakePod({"c"});
  auto* sysctl = pod.mutable_spec()->mutable_securitycontext()->add_sysctls();
  sysctl->set_name("kernel.msgmax");
  EXPECT_EQ(Reason(pod), "SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
  sysctl->set_name("net.core.somaxconn");
  EXPECT_EQ(Reason(pod), "");
  pod.mutable_spec()->set_hostnetwork(true);
  EXPECT_NE(Reason(pod), "") << "the node's own namespace";

  pod = MakePod({"c"});
  pod.mutable_spec()->mutable_os()->set_name("windows");
  EXPECT_EQ(Reason(pod), "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS");

  auto with_port = std::make_shared<Pod>(MakePod({"c"}));
  auto* port = with_port->mutable_spec()->mutable_containers(0)->add_ports();
  port->set_hostport(80);
  port->set_protocol("TCP");
  EXPECT_EQ(Reason(*with_port, {with_port}),
            "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
  Pod udp = *with_port;
  udp.mutable_spec()->mutable_containers(0)->mutable_ports(0)->set_protocol("UDP");
  EXPECT_EQ(Reason(udp, {with_port}), "");

  core::Node node = MakeNode();
  auto* taint = node.mutable_spec()->add_taints();
  taint->set_key("k");
  taint->set_effect("NoExecute");
  pod = MakePod({"c"});
  EXPECT_EQ(Admit(pod, node, {}, {})->reason, "TaintToleration");
  pod.mutable_spec()->add_tolerations()->set_operator_("Exists");
  EXPECT_FALSE(Admit(pod, node, {}, {}));
}

}  // namespace
}  // namespace skiff::kubelet
