#include "kubelet/pod/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
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
  auto r = Admit(pod, MakeNode(), others, {{"net.core.*"}, false}).rejection;
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
  EXPECT_THAT(Reason(critical), testing::StartsWith("UnexpectedAdmissionError: "));
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
  EXPECT_EQ(Admit(pod, node, {}, {}).rejection->reason, "TaintToleration");
  Pod by_manifest = pod;
  (*by_manifest.mutable_metadata()->mutable_annotations())[kSourceAnnotation] = "file";
  EXPECT_FALSE(Admit(by_manifest, node, {}, {}).rejection) << "manifests stand above taints";
  pod.mutable_spec()->add_tolerations()->set_operator_("Exists");
  EXPECT_FALSE(Admit(pod, node, {}, {}).rejection);
}

TEST(Admit, SysctlsOfSharedNamespaces) {
  auto problem = [](const char* name, bool host_network, bool host_ipc) {
    Pod pod = MakePod({"c"});
    pod.mutable_spec()->mutable_securitycontext()->add_sysctls()->set_name(name);
    pod.mutable_spec()->set_hostnetwork(host_network);
    pod.mutable_spec()->set_hostipc(host_ipc);
    return Reason(pod);
  };
  EXPECT_EQ(problem("net.ipv4.tcp_syncookies", false, false), "");
  EXPECT_EQ(problem("net/ipv4/tcp_syncookies", false, false), "");
  EXPECT_EQ(problem("net.ipv4.tcp_syncookies", true, false),
            "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled");
  EXPECT_EQ(problem("kernel.shm_rmid_forced", false, true),
            "SysctlForbidden: forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host IPC enabled");
}

TEST(Admit, WhatTheNodeCannotDo) {
  Pod pod = MakePod({"c"});
  (*pod.mutable_metadata()->mutable_labels())["kubernetes.io/os"] = "windows";
  EXPECT_EQ(
      Reason(pod),
      "PodOSSelectorNodeLabelDoesNotMatch: Failed to admit pod as the `kubernetes.io/os` label doesn't match node "
      "label");
  pod = MakePod({"c"});
  pod.mutable_spec()->mutable_securitycontext()->set_supplementalgroupspolicy("Strict");
  EXPECT_EQ(Reason(pod),
            "SupplementalGroupsPolicyNotSupported: SupplementalGroupsPolicy=Strict is not supported in this node");
  core::Node node = MakeNode();
  node.mutable_status()->mutable_features()->set_supplementalgroupspolicy(true);
  EXPECT_FALSE(Admit(pod, node, {}, {}).rejection);
  pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_securitycontext()->mutable_apparmorprofile()->set_type(
      "RuntimeDefault");
  EXPECT_EQ(Reason(pod), "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host");
  EXPECT_FALSE(Admit(pod, node, {}, {{}, true}).rejection);
  pod = MakePod({"c"});
  pod.mutable_spec()->set_hostnetwork(true);
  pod.mutable_spec()->set_hostusers(false);
  EXPECT_EQ(Reason(pod),
            "PodFeatureUnsupported: Pod requires node features that are not available: "
            "UserNamespacesHostNetworkSupport");
}

TEST(Admit, ExtendedResources) {
  Pod pod = MakePod({"c"});
  auto& requests = *pod.mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_requests();
  requests["example.com/gpu"] = api::Quantity(2).ToProto();
  EXPECT_EQ(Reason(pod), "") << "unknown to the node: not its business";
  core::Node node = MakeNode();
  (*node.mutable_status()->mutable_allocatable())["example.com/gpu"] = api::Quantity(1).ToProto();
  EXPECT_EQ(Admit(pod, node, {}, {}).rejection->message,
            "Node didn't have enough resource: example.com/gpu, requested: 2, used: 0, capacity: 1");
}

TEST(Admit, CriticalPodsTakeFromOthers) {
  auto named = [](const char* name, const char* cpu, std::optional<int> priority = {}) {
    auto pod = std::make_shared<Pod>(*WithCpu(cpu));
    pod->mutable_metadata()->set_name(name);
    if (priority) pod->mutable_spec()->set_priority(*priority);
    return pod;
  };
  auto names = [](const AdmissionResult& r) {
    std::string out;
    for (const auto& pod : r.preempt) out += pod->metadata().name() + " ";
    return out;
  };
  auto critical = named("critical", "1", 2000001000);
  // 500 milli-CPUs are lacking: one pod that has them is better than two, and the smaller of two that do.
  std::vector<PodPtr> others = {named("a", "300m"), named("b", "700m"), named("c", "500m")};
  AdmissionResult r = Admit(*critical, MakeNode(), {others[0], others[1], others[2]}, {});
  // Four pods where three fit: a pod's place is lacking as well.
  EXPECT_EQ(names(r), "c ");
  EXPECT_EQ(r.preempt_for, "pods");
  // Another critical pod is no prey.
  r = Admit(*critical, MakeNode(), {named("d", "1500m", 2000001000)}, {});
  ASSERT_TRUE(r.rejection);
  EXPECT_EQ(r.rejection->reason, "UnexpectedAdmissionError");
  EXPECT_EQ(r.rejection->message,
            "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of "
            "pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 500), ]");
  // What no preemption helps against stands.
  (*critical->mutable_spec()->mutable_nodeselector())["disk"] = "none";
  EXPECT_EQ(Admit(*critical, MakeNode(), others, {}).rejection->reason, "NodeAffinity");
}

}  // namespace
}  // namespace skiff::kubelet
