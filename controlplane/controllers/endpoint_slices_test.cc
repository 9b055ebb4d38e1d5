#include "controlplane/controllers/endpoint_slices.h"

#include <gtest/gtest.h>

#include "api/int_or_string.h"
#include "controlplane/controllers/endpoints.h"

namespace skiff::controlplane {
namespace {

core::Service Service(const std::string& target = "8080") {
  core::Service service;
  service.mutable_metadata()->set_namespace_("ns");
  service.mutable_metadata()->set_name("web");
  service.mutable_metadata()->set_uid("service-uid");
  service.mutable_spec()->set_clusterip("10.96.0.1");
  service.mutable_spec()->add_ipfamilies("IPv4");
  auto* port = service.mutable_spec()->add_ports();
  port->set_name("http");
  port->set_port(80);
  port->set_protocol("TCP");
  int number = 0;
  *port->mutable_targetport() = absl::SimpleAtoi(target, &number) ? api::FromInt(number) : api::FromString(target);
  return service;
}

PodPtr Pod(int n, bool ready = true, bool terminating = false, const std::string& phase = "Running",
           const std::string& node = "n1") {
  auto pod = std::make_shared<core::Pod>();
  pod->mutable_metadata()->set_namespace_("ns");
  pod->mutable_metadata()->set_name(absl::StrCat("p", n));
  pod->mutable_metadata()->set_uid(absl::StrCat("uid", n));
  if (terminating) pod->mutable_metadata()->mutable_deletiontimestamp()->set_seconds(5);
  pod->mutable_spec()->set_nodename(node);
  auto* port = pod->mutable_spec()->add_containers()->add_ports();
  port->set_name("web");
  port->set_containerport(9000 + n % 2);
  port->set_protocol("TCP");
  pod->mutable_status()->set_phase(phase);
  const std::string ip = absl::StrCat("10.0.", n / 250, ".", n % 250);
  pod->mutable_status()->set_podip(ip);
  pod->mutable_status()->add_podips()->set_ip(ip);
  auto* condition = pod->mutable_status()->add_conditions();
  condition->set_type("Ready");
  condition->set_status(ready ? "True" : "False");
  return pod;
}

NodePtr NodeOf(const std::string& name) {
  if (name != "n1") return nullptr;
  auto node = std::make_shared<core::Node>();
  node->mutable_metadata()->set_name("n1");
  (*node->mutable_metadata()->mutable_labels())["topology.kubernetes.io/zone"] = "z";
  return node;
}

SliceChanges Compute(const core::Service& service, const std::vector<PodPtr>& pods,
                     const std::vector<SlicePtr>& existing = {}) {
  Status problem;
  return ComputeSlices(service, pods, existing, NodeOf, &problem);
}

// The slices after the changes, as the server would have them.
std::vector<SlicePtr> Apply(const SliceChanges& changes, const std::vector<SlicePtr>& before) {
  std::vector<SlicePtr> out;
  for (const SlicePtr& slice : before) {
    bool gone = false;
    for (const auto& removed : changes.remove) gone = gone || removed == slice;
    for (const auto& updated : changes.update) gone = gone || updated.metadata().name() == slice->metadata().name();
    if (!gone) out.push_back(slice);
  }
  for (const auto& updated : changes.update) out.push_back(std::make_shared<discovery::EndpointSlice>(updated));
  for (auto created : changes.create) {
    static int names = 0;
    created.mutable_metadata()->set_name(absl::StrCat("s", ++names));
    out.push_back(std::make_shared<discovery::EndpointSlice>(created));
  }
  return out;
}

TEST(EndpointSlicesTest, ConditionsOfAnEndpoint) {
  const struct {
    bool ready, terminating, publish;
    bool want_ready, want_serving, want_terminating;
  } rows[] = {
      {true, false, false, true, true, false},  {false, false, false, false, false, false},
      {true, true, false, false, true, true},   {false, true, false, false, false, true},
      {false, false, true, true, false, false}, {true, true, true, true, true, true},
  };
  for (const auto& row : rows) {
    auto service = Service();
    service.mutable_spec()->set_publishnotreadyaddresses(row.publish);
    const auto changes = Compute(service, {Pod(1, row.ready, row.terminating)});
    ASSERT_EQ(changes.create.size(), 1u);
    const auto& endpoint = changes.create[0].endpoints(0);
    EXPECT_EQ(endpoint.conditions().ready(), row.want_ready);
    EXPECT_EQ(endpoint.conditions().serving(), row.want_serving);
    EXPECT_EQ(endpoint.conditions().terminating(), row.want_terminating);
    EXPECT_EQ(endpoint.addresses(0), "10.0.0.1");
    EXPECT_EQ(endpoint.nodename(), "n1");
    EXPECT_EQ(endpoint.zone(), "z");
    EXPECT_EQ(endpoint.targetref().uid(), "uid1");
  }
}

TEST(EndpointSlicesTest, WhatASliceLooksLike) {
  auto service = Service();
  (*service.mutable_metadata()->mutable_labels())["app"] = "x";
  const auto slice = Compute(service, {Pod(1)}).create.at(0);
  EXPECT_EQ(slice.metadata().generatename(), "web-");
  EXPECT_EQ(slice.metadata().namespace_(), "ns");
  EXPECT_EQ(slice.addresstype(), "IPv4");
  EXPECT_EQ(slice.metadata().labels().at(kServiceName), "web");
  EXPECT_EQ(slice.metadata().labels().at(kSliceManagedBy), "endpointslice-controller.k8s.io");
  EXPECT_EQ(slice.metadata().labels().at("app"), "x");
  EXPECT_FALSE(slice.metadata().labels().contains(kHeadless));
  EXPECT_EQ(slice.metadata().ownerreferences(0).kind(), "Service");
  EXPECT_EQ(slice.metadata().ownerreferences(0).uid(), "service-uid");
  EXPECT_TRUE(slice.metadata().ownerreferences(0).controller());
  EXPECT_EQ(slice.ports(0).name(), "http");
  EXPECT_EQ(slice.ports(0).port(), 8080);
}

TEST(EndpointSlicesTest, PodsThatDoNotCount) {
  auto no_ip = std::make_shared<core::Pod>(*Pod(3));
  no_ip->mutable_status()->clear_podip();
  no_ip->mutable_status()->clear_podips();
  const auto changes = Compute(Service(), {Pod(1, true, false, "Failed"), Pod(2, true, false, "Succeeded"), no_ip,
                                           Pod(4, true, false, "Running", "unknown")});
  ASSERT_EQ(changes.create.size(), 1u);
  EXPECT_EQ(changes.create[0].endpoints_size(), 0);  // the placeholder
}

TEST(EndpointSlicesTest, NothingChangesTwice) {
  const std::vector<PodPtr> pods{Pod(1), Pod(2), Pod(3)};
  auto slices = Apply(Compute(Service(), pods), {});
  EXPECT_TRUE(Compute(Service(), pods, slices).empty());
  // And the placeholder is left alone too.
  slices = Apply(Compute(Service(), {}), {});
  EXPECT_TRUE(Compute(Service(), {}, slices).empty());
}

TEST(EndpointSlicesTest, AtMostAHundredASliceAndFewWrites) {
  std::vector<PodPtr> pods;
  for (int i = 0; i < 250; ++i) pods.push_back(Pod(i));
  auto changes = Compute(Service(), pods);
  ASSERT_EQ(changes.create.size(), 3u);
  auto slices = Apply(changes, {});
  // One more fits into the slice that has room: one write.
  pods.push_back(Pod(250));
  changes = Compute(Service(), pods, slices);
  EXPECT_EQ(changes.create.size(), 0u);
  ASSERT_EQ(changes.update.size(), 1u);
  EXPECT_EQ(changes.update[0].endpoints_size(), 51);
  slices = Apply(changes, slices);
  // One that changes is one write.
  pods[0] = Pod(0, false);
  changes = Compute(Service(), pods, slices);
  EXPECT_EQ(changes.update.size() + changes.create.size() + changes.remove.size(), 1u);
  slices = Apply(changes, slices);
  // All gone: one placeholder stays.
  changes = Compute(Service(), {}, slices);
  slices = Apply(changes, slices);
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0]->endpoints_size(), 0);
}

TEST(EndpointSlicesTest, NamedPortsThatDifferMakeSlicesOfTheirOwn) {
  const auto changes = Compute(Service("web"), {Pod(1), Pod(2), Pod(3)});
  ASSERT_EQ(changes.create.size(), 2u);
  std::map<int, int> endpoints_by_port;
  for (const auto& slice : changes.create) endpoints_by_port[slice.ports(0).port()] = slice.endpoints_size();
  EXPECT_EQ(endpoints_by_port[9000], 1);
  EXPECT_EQ(endpoints_by_port[9001], 2);
}

TEST(EndpointSlicesTest, AHeadlessServiceSaysSo) {
  auto service = Service();
  service.mutable_spec()->set_clusterip("None");
  service.mutable_spec()->clear_ports();
  const auto slice = Compute(service, {Pod(1)}).create.at(0);
  EXPECT_TRUE(slice.metadata().labels().contains(kHeadless));
  EXPECT_EQ(slice.ports_size(), 0);
  EXPECT_EQ(slice.endpoints_size(), 1);
}

TEST(EndpointSlicesTest, SlicesOfAnEarlierServiceOfTheNameGo) {
  auto foreign = Compute(Service(), {Pod(1)}).create.at(0);
  foreign.mutable_metadata()->set_name("old");
  foreign.mutable_metadata()->mutable_ownerreferences(0)->set_uid("another");
  const auto changes = Compute(Service(), {Pod(1)}, {std::make_shared<discovery::EndpointSlice>(foreign)});
  ASSERT_EQ(changes.remove.size(), 1u);
  EXPECT_EQ(changes.create.size(), 1u);
}

TEST(EndpointsTest, PortsToTheSameAddressesShareASubset) {
  auto service = Service();
  auto* second = service.mutable_spec()->add_ports();
  second->set_name("metrics");
  second->set_port(9);
  second->set_protocol("TCP");
  *second->mutable_targetport() = api::FromInt(9090);
  const auto subsets = ComputeSubsets(service, {Pod(1), Pod(2, false)});
  ASSERT_EQ(subsets.size(), 1);
  EXPECT_EQ(subsets[0].addresses_size(), 1);
  EXPECT_EQ(subsets[0].notreadyaddresses_size(), 1);
  EXPECT_EQ(subsets[0].ports_size(), 2);
  EXPECT_EQ(ComputeSubsets(Service("web"), {Pod(1), Pod(2)}).size(), 2);
  EXPECT_EQ(ComputeSubsets(Service(), {Pod(1, true, true)}).size(), 0);  // terminating
}

TEST(TriggerTimesTest, TheEarliestNewsCounts) {
  TriggerTimes times;
  auto service = Service();
  service.mutable_metadata()->mutable_creationtimestamp()->set_seconds(100);
  const auto ready_at = [](int n, int64_t at) {
    auto pod = std::make_shared<core::Pod>(*Pod(n));
    pod->mutable_status()->mutable_conditions(0)->mutable_lasttransitiontime()->set_seconds(at);
    return PodPtr(pod);
  };
  const auto seconds = [](WallTime t) {
    return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
  };
  EXPECT_EQ(seconds(times.Compute(service, {ready_at(1, 150)})), 100);  // a new service
  EXPECT_EQ(seconds(times.Compute(service, {ready_at(1, 150)})), 0);
  EXPECT_EQ(seconds(times.Compute(service, {ready_at(1, 210), ready_at(2, 200)})), 200);
}

}  // namespace
}  // namespace skiff::controlplane
