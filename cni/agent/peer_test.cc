#include "cni/agent/peer.h"

#include <gtest/gtest.h>

#include "cni/agent/conflist.h"
#include "cni/agent/firewall.h"

namespace skiff::cni {
namespace {

k8s::io::api::core::v1::Node Announced(const char* key = "", const char* value = "") {
  k8s::io::api::core::v1::Node node;
  node.mutable_metadata()->set_name("n2");
  node.mutable_spec()->set_podcidr("10.244.2.0/24");
  auto& annotations = *node.mutable_metadata()->mutable_annotations();
  annotations[kSubnetManager] = "true";
  annotations[kBackendType] = "vxlan";
  annotations[kBackendData] = R"({"VNI":1,"VtepMAC":"AA:bb:cc:00:00:02"})";
  annotations[kPublicIp] = "10.250.0.2";
  if (*key) annotations[key] = value;
  return node;
}

TEST(PeerTest, ReadsFlannelsAnnotationsAndWritesTheSame) {
  const auto peer = ReadPeer(Announced());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->mac, "aa:bb:cc:00:00:02");
  EXPECT_EQ(peer->pod_cidr.ToString(), "10.244.2.0/24");
  EXPECT_EQ(Announce(*peer).at(kBackendData), R"({"VNI":1,"VtepMAC":"aa:bb:cc:00:00:02"})");
}

TEST(PeerTest, ANodeThatDidNotAnnounceItselfIsNoFault) {
  EXPECT_EQ(ReadPeer({}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadPeer(Announced(kBackendType, "host-gw")).status().code(), absl::StatusCode::kNotFound);
}

// security.md: annotation-injection
TEST(PeerTest, AnnotationInjection_OnlyExactDataIsTaken) {
  const std::pair<const char*, const char*> bad[] = {
      {kBackendData, ""},
      {kBackendData, "{}"},
      {kBackendData, R"({"VNI":"1","VtepMAC":"aa:bb:cc:00:00:02"})"},
      {kBackendData, R"({"VNI":1,"VtepMAC":"aa:bb:cc:00:00:02; rm -rf /"})"},
      {kBackendData, R"({"VNI":1,"VtepMAC":"ff:ff:ff:ff:ff:ff"})"},
      {kBackendData, R"({"VNI":1,"VtepMAC":"00:00:00:00:00:00"})"},
      {kBackendData, R"({"VNI":16777216,"VtepMAC":"aa:bb:cc:00:00:02"})"},
      {kBackendData, R"({"VNI":-1,"VtepMAC":"aa:bb:cc:00:00:02"})"},
      {kPublicIp, "10.250.0.2; accept"},
      {kPublicIp, "127.0.0.1"},
      {kPublicIp, "224.0.0.1"},
      {kPublicIp, "169.254.169.254"},
      {kPublicIp, "$(id)"},
      {kPublicIp, "fd00::1"},
  };
  for (const auto& [key, value] : bad) {
    const auto peer = ReadPeer(Announced(key, value));
    ASSERT_EQ(peer.status().code(), absl::StatusCode::kInvalidArgument) << value;
    EXPECT_NE(peer.status().message().find(key), std::string::npos);
  }
  auto node = Announced();
  node.mutable_spec()->set_podcidr("0.0.0.0/0");
  EXPECT_EQ(ReadPeer(node).status().code(), absl::StatusCode::kInvalidArgument);
}

class ChoosePeersTest : public ::testing::Test {
 protected:
  using Nodes = std::vector<std::shared_ptr<const k8s::io::api::core::v1::Node>>;
  static std::shared_ptr<const k8s::io::api::core::v1::Node> Node(const char* name, int born, const char* ip,
                                                                  const char* mac, const char* cidr) {
    auto node = std::make_shared<k8s::io::api::core::v1::Node>(Announced(kPublicIp, ip));
    node->mutable_metadata()->set_name(name);
    node->mutable_metadata()->mutable_creationtimestamp()->set_seconds(born);
    node->mutable_spec()->set_podcidr(cidr);
    (*node->mutable_metadata()->mutable_annotations())[kBackendData] =
        absl::StrCat(R"({"VNI":1,"VtepMAC":")", mac, "\"}");
    return node;
  }
  Peers Choose(const Nodes& nodes, const std::vector<Peer>& before = {}) {
    const Peer self{"me", *Ip::Parse("10.250.0.1"), *Prefix::Parse("10.244.1.0/24"), "02:00:00:00:00:01", 1};
    return ChoosePeers(self, *Prefix::Parse("10.244.0.0/16"), nodes, before);
  }
  static std::vector<std::string> NamesOf(const Peers& peers) {
    std::vector<std::string> out;
    for (const Peer& peer : peers.good) out.push_back(peer.node);
    return out;
  }
  const std::shared_ptr<const k8s::io::api::core::v1::Node> n2_ =
      Node("n2", 20, "10.250.0.2", "02:00:00:00:00:02", "10.244.2.0/24");
};

TEST_F(ChoosePeersTest, AnnotationInjection_WhoeverClaimsWhatIsAnothersIsLeftOutAlone) {
  const Nodes thieves = {Node("a", 30, "10.250.0.2", "02:00:00:00:00:0a", "10.244.10.0/24"),   // n2's address
                         Node("b", 30, "10.250.0.11", "02:00:00:00:00:02", "10.244.11.0/24"),  // n2's MAC
                         Node("c", 30, "10.250.0.12", "02:00:00:00:00:0c", "10.244.2.128/25")};
  for (const auto& thief : thieves) {
    const Peers peers = Choose({thief, n2_});
    EXPECT_EQ(NamesOf(peers), std::vector<std::string>{"n2"}) << thief->metadata().name();
    EXPECT_EQ(peers.bad.at(thief->metadata().name()), "its subnet, address or MAC is node n2's");
  }
}

TEST_F(ChoosePeersTest, AnOldNodeThatChangesItsClaimLosesToThePeerOfBefore) {
  const auto old = Node("a", 10, "10.250.0.2", "02:00:00:00:00:0a", "10.244.10.0/24");
  EXPECT_EQ(NamesOf(Choose({old, n2_})), std::vector<std::string>{"a"}) << "nobody was there before: the older node";
  EXPECT_EQ(NamesOf(Choose({old, n2_}, {*ReadPeer(*n2_)})), std::vector<std::string>{"n2"});
}

TEST_F(ChoosePeersTest, WhatIsThisNodesIsNobodyElses) {
  const Nodes thieves = {Node("a", 1, "10.250.0.1", "02:00:00:00:00:0a", "10.244.10.0/24"),
                         Node("b", 1, "10.250.0.11", "02:00:00:00:00:01", "10.244.11.0/24"),
                         Node("c", 1, "10.250.0.12", "02:00:00:00:00:0c", "10.244.1.0/24")};
  const Peers peers = Choose({thieves[0], thieves[1], thieves[2], n2_});
  EXPECT_EQ(NamesOf(peers), std::vector<std::string>{"n2"});
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(peers.bad.at(name), "its subnet, address or MAC is node me's");
}

TEST_F(ChoosePeersTest, ASubnetThatReachesBeyondTheClustersIsNone) {
  const Peers peers = Choose({Node("a", 1, "10.250.0.9", "02:00:00:00:00:09", "10.244.0.0/15")});
  EXPECT_EQ(peers.bad.at("a"), "spec.podCIDR: 10.244.0.0/15 is not within 10.244.0.0/16");
}

TEST(FirewallTest, VxlanSpoof_TheRulesetNamesNodesAndSubnetsOnly) {
  FirewallConfig config{"t", *Prefix::Parse("10.244.0.0/16"), *Prefix::Parse("10.244.1.0/24"), "flannel.1", 8472};
  const std::string text = Ruleset(config, {*ReadPeer(Announced())});
  EXPECT_NE(text.find("elements = { 10.250.0.2 }"), std::string::npos) << text;
  EXPECT_NE(text.find("elements = { 10.244.2.0/24 }"), std::string::npos);
  EXPECT_NE(text.find("udp dport 8472 ip saddr != @nodes drop"), std::string::npos);
  EXPECT_NE(text.find("iifname \"flannel.1\" ip saddr != @subnets drop"), std::string::npos);
  EXPECT_EQ(Ruleset(config, {}).find("elements"), std::string::npos) << "nft refuses an empty list";
}

TEST(ConflistTest, NamesThePluginAndItsRange) {
  EXPECT_EQ(Conflist(*Prefix::Parse("10.244.1.0/24"), 1450, "/s"), R"({
  "cniVersion": "1.0.0",
  "name": "skiff",
  "plugins": [
    {
      "type": "skiff-cni",
      "capabilities": {
        "portMappings": true
      },
      "ranges": [
        "10.244.1.0/24"
      ],
      "mtu": 1450,
      "stateDir": "/s"
    }
  ]
}
)");
}

}  // namespace
}  // namespace skiff::cni
