#include "proxy/node_facts.h"

#include <gtest/gtest.h>

#include "k8s/io/api/core/v1/node.pb.h"
#include "proxy/address_testing.h"

namespace skiff::proxy {
namespace {

using k8s::io::api::core::v1::Node;

void AddNodeAddress(Node& node, const char* type, const char* address) {
  auto* added = node.mutable_status()->add_addresses();
  added->set_type(type);
  added->set_address(address);
}

TEST(NodeFactsTest, WhatCounts) {
  EXPECT_FALSE(ReadNode(nullptr).eligible);
  Node node;
  (*node.mutable_metadata()->mutable_labels())["topology.kubernetes.io/zone"] = "z1";
  (*node.mutable_metadata()->mutable_annotations())["a"] = "b";
  node.mutable_spec()->add_podcidrs("10.244.1.0/24");
  AddNodeAddress(node, "Hostname", "n1");
  AddNodeAddress(node, "ExternalIP", "203.0.113.1");
  AddNodeAddress(node, "InternalIP", "10.0.0.1");
  AddNodeAddress(node, "InternalIP", "not an address");
  AddNodeAddress(node, "InternalIP", "fd00::1");
  node.mutable_status()->mutable_nodeinfo()->set_kubeletversion("v1.36.2");
  Node stripped = node;
  StripNode(stripped);
  EXPECT_FALSE(stripped.status().has_nodeinfo());
  EXPECT_TRUE(stripped.metadata().annotations().empty());
  for (const Node* seen : {&node, &stripped}) {
    NodeFacts facts = ReadNode(seen);
    EXPECT_TRUE(facts.eligible);
    EXPECT_EQ(facts.zone, "z1");
    EXPECT_EQ(facts.pod_cidrs, std::vector<std::string>{"10.244.1.0/24"});
    EXPECT_EQ(facts.addresses, (std::vector<Address>{A("203.0.113.1"), A("10.0.0.1"), A("fd00::1")}));
    EXPECT_EQ(facts.internal, (std::vector<Address>{A("10.0.0.1"), A("fd00::1")}));
    EXPECT_EQ(facts.external, std::vector<Address>{A("203.0.113.1")});
  }
  node.mutable_spec()->add_taints()->set_key("ToBeDeletedByClusterAutoscaler");
  EXPECT_FALSE(ReadNode(&node).eligible);
  node.mutable_spec()->clear_taints();
  node.mutable_metadata()->mutable_deletiontimestamp()->set_seconds(1);
  EXPECT_FALSE(ReadNode(&node).eligible);
}

}  // namespace
}  // namespace skiff::proxy
