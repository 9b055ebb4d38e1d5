#include "kubelet/node/node_addresses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>

namespace skiff::kubelet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Ip A(const char* text) { return boost::asio::ip::make_address(text); }

std::string WhyNot(const StatusOr<std::vector<std::string>>& chosen) {
  return chosen.ok() ? "chosen: " + chosen->front() : std::string(chosen.status().message());
}

// A host with two interfaces that are up, eth1 with the default routes, and one that is down.
struct NodeAddressesTest : testing::Test {
  NodeAddressesTest() {
    host.interfaces = {{"lo", IFF_UP | IFF_LOOPBACK, {A("127.0.0.1"), A("::1")}},
                       {"eth0", IFF_UP, {A("10.1.0.2"), A("fe80::2")}},
                       {"eth1", IFF_UP, {A("169.254.3.3"), A("10.2.0.2"), A("fe80::3"), A("fd00:2::2")}},
                       {"eth2", 0, {A("10.3.0.2")}}};
    host.v4_default = host.v6_default = {"eth1"};
    host.look_up = [this](const std::string& name) {
      looked_up = name;
      return resolved;
    };
  }
  StatusOr<std::vector<std::string>> Choose(const std::string& flag, const std::string& name = "n1") {
    return ChooseNodeIps(*ParseNodeIp(flag), name, host);
  }
  Host host;
  std::vector<Ip> resolved;
  std::string looked_up;
};

TEST_F(NodeAddressesTest, TheFlagSaysIt) {
  EXPECT_THAT(*Choose("10.1.0.2"), ElementsAre("10.1.0.2"));
  EXPECT_THAT(*Choose("fd00:2::2,10.2.0.2"), ElementsAre("fd00:2::2", "10.2.0.2"));
  EXPECT_THAT(*Choose("10.3.0.2"), ElementsAre("10.3.0.2")) << "of an interface that is down as well";
  EXPECT_EQ(looked_up, "");
  EXPECT_EQ(WhyNot(Choose("192.0.2.1")),
            "failed to validate nodeIP: node IP: \"192.0.2.1\" not found in the host's network interfaces");
  EXPECT_EQ(WhyNot(Choose("127.0.0.1")), "failed to validate nodeIP: nodeIP can't be loopback address");
  EXPECT_EQ(WhyNot(Choose("fe80::2")), "failed to validate nodeIP: nodeIP can't be a link-local unicast address");
  EXPECT_EQ(WhyNot(Choose("224.0.0.1")), "failed to validate nodeIP: nodeIP can't be a multicast address");
  EXPECT_THAT(WhyNot(Choose("10.2.0.2,fd00::9")), HasSubstr("failed to validate secondaryNodeIP"));
}

TEST_F(NodeAddressesTest, FlagsThatMeanNothing) {
  std::vector<std::string> ignored;
  EXPECT_THAT(*ParseNodeIp("what, 10.0.0.1", &ignored), ElementsAre(A("10.0.0.1")));
  EXPECT_THAT(ignored, ElementsAre("what"));
  EXPECT_TRUE(ParseNodeIp("")->empty());
  EXPECT_THAT(*ParseNodeIp("::ffff:10.0.0.1"), ElementsAre(A("10.0.0.1")));
  EXPECT_THAT(std::string(ParseNodeIp("10.0.0.1,10.0.0.2").status().message()),
              HasSubstr("must contain either a single IP or a dual-stack pair of IPs"));
  EXPECT_THAT(std::string(ParseNodeIp("10.0.0.1,::").status().message()),
              HasSubstr("dual-stack node IP cannot include '0.0.0.0' or '::'"));
}

TEST_F(NodeAddressesTest, AHostNameThatIsAnAddressIsItself) {
  EXPECT_THAT(*Choose("", "192.0.2.7"), ElementsAre("192.0.2.7"));
}

TEST_F(NodeAddressesTest, WhatTheNameResolvesToIfItIsThisHosts) {
  resolved = {A("127.0.1.1"), A("192.0.2.9"), A("fd00:2::2"), A("10.1.0.2")};
  EXPECT_THAT(*Choose(""), ElementsAre("10.1.0.2")) << "v4 first";
  EXPECT_EQ(looked_up, "n1");
  EXPECT_THAT(*Choose("::"), ElementsAre("fd00:2::2"));
  resolved = {A("fd00:2::2")};
  EXPECT_THAT(*Choose(""), ElementsAre("fd00:2::2")) << "rather than another of the preferred family";
}

TEST_F(NodeAddressesTest, ElseTheDefaultRoutes) {
  resolved = {A("127.0.1.1")};  // as Debian's installer writes /etc/hosts
  EXPECT_THAT(*Choose(""), ElementsAre("10.2.0.2"));
  EXPECT_THAT(*Choose("0.0.0.0"), ElementsAre("10.2.0.2"));
  EXPECT_THAT(*Choose("::"), ElementsAre("fd00:2::2"));
  host.v4_default = {};
  EXPECT_THAT(*Choose(""), ElementsAre("fd00:2::2"));
  host.v4_default = {"eth0"};
  host.interfaces[1].ips = {A("169.254.1.1")};
  host.interfaces[0].ips.push_back(A("10.9.9.9"));
  EXPECT_THAT(*Choose(""), ElementsAre("10.9.9.9")) << "the loopback's, where the way out has link-local ones only";
  host.v4_default = host.v6_default = {};
  EXPECT_THAT(WhyNot(Choose("")), HasSubstr("can't get ip address of node n1. error: no default routes found"));
}

TEST_F(NodeAddressesTest, ThisMachineCanBeRead) {
  const auto read = ReadHost();
  ASSERT_TRUE(read.ok()) << read.status();
  const Interface* loopback = nullptr;
  for (const auto& interface : read->interfaces) {
    if (interface.name == "lo") loopback = &interface;
  }
  ASSERT_NE(loopback, nullptr);
  EXPECT_TRUE(loopback->flags & IFF_LOOPBACK);
  EXPECT_THAT(read->look_up("localhost"), ::testing::Contains(A("127.0.0.1")));
}

TEST_F(NodeAddressesTest, PodsAreToldOneAddressOfEachFamily) {
  core::NodeStatus status;
  auto add = [&](const char* type, const char* address) {
    auto* a = status.add_addresses();
    a->set_type(type);
    a->set_address(address);
  };
  add("Hostname", "n1");
  EXPECT_TRUE(HostIps(status).empty());
  add("ExternalIP", "192.0.2.1");
  add("InternalIP", "fd00::1");
  add("InternalIP", "fd00::2");
  EXPECT_THAT(HostIps(status), ElementsAre("fd00::1", "192.0.2.1"));
  CertificateRequest request;
  ServingNames(status, &request);
  EXPECT_THAT(request.dns_names, ElementsAre("n1"));
  EXPECT_THAT(request.ip_addresses, ElementsAre("192.0.2.1", "fd00::1", "fd00::2"));

  EXPECT_THAT(SortPodIps({"fd00::9", "10.0.0.9", "10.0.0.10"}, false), ElementsAre("10.0.0.9", "fd00::9"));
  EXPECT_THAT(SortPodIps({"10.0.0.9", "fd00:0:0::9"}, true), ElementsAre("fd00::9", "10.0.0.9"));
}

}  // namespace
}  // namespace skiff::kubelet
