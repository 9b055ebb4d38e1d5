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
