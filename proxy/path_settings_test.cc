#include "proxy/path_settings.h"

#include <gtest/gtest.h>

#include "proxy/address_testing.h"

namespace skiff::proxy {
namespace {

TEST(PathSettingsTest, DetectLocalModes) {
  Config config;
  config.cluster_cidr = "10.244.0.0/16,fd44::/56";
  std::vector<Address> node = {A("192.0.2.1"), A("192.0.2.2"), A("fd02::1")};
  std::vector<std::string> cidrs = {"10.244.3.0/24"};
  auto s = PathSettings(config, {}, node, cidrs);
  EXPECT_EQ(s.flags, uint32_t{SKIFF_SETTING_LOCAL_BY_CIDR | SKIFF_SETTING_PACKETS});
  EXPECT_EQ(s.node_v4, A("192.0.2.1"));
  EXPECT_EQ(s.node_v6, A("fd02::1"));
  EXPECT_EQ(s.local_base4, A("10.244.0.0"));
  EXPECT_EQ(s.local_mask4.word[3], htonl(0xffff0000u));
  EXPECT_EQ(s.local_mask4.word[2], ~0u);
  EXPECT_EQ(s.local_base6, A("fd44::"));
  EXPECT_EQ(s.local_mask6, A("ffff:ffff:ffff:ff00::"));
  config.detect_local_mode = "NodeCIDR";
  config.iptables.all = true;
  s = PathSettings(config, {.pod_packets = false, .direct_return = true}, node, cidrs);
  EXPECT_EQ(s.flags,
            uint32_t{SKIFF_SETTING_LOCAL_BY_CIDR | SKIFF_SETTING_MASQUERADE_ALL | SKIFF_SETTING_DIRECT_RETURN});
  EXPECT_EQ(s.local_base4, A("10.244.3.0"));
  EXPECT_EQ(s.local_mask6, Address{});
  config.detect_local_mode = "BridgeInterface";
  EXPECT_TRUE(PathSettings(config, {}, node, {}).flags & SKIFF_SETTING_LOCAL_BY_DEVICE);
  EXPECT_EQ(PathSettings(Config{}, {.pod_packets = false}, {}, {}).flags, 0u)
      << "no range: everybody is local, as upstream";
  std::vector<Prefix> service_cidrs = {*ParsePrefix("10.96.0.0/16"), *ParsePrefix("fd96::/112")};
  s = PathSettings(config, {}, node, {}, service_cidrs);
  EXPECT_EQ(s.service_cidrs, 2u);
  EXPECT_EQ(s.service_cidr[0].base, A("10.96.0.0"));
  EXPECT_EQ(s.service_cidr[0].mask.word[3], htonl(0xffff0000u));
  EXPECT_EQ(s.service_cidr[1].mask, A("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0"));
  service_cidrs.resize(SKIFF_MAX_SERVICE_CIDRS + 3, *ParsePrefix("10.97.0.0/16"));
  EXPECT_EQ(PathSettings(config, {}, node, {}, service_cidrs).service_cidrs, uint32_t{SKIFF_MAX_SERVICE_CIDRS});
}

}  // namespace
}  // namespace skiff::proxy
