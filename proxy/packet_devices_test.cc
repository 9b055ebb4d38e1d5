// Which devices the packet programs are for, and what settings they go by.
#include <gtest/gtest.h>

#include "proxy/address_testing.h"
#include "proxy/packet_path.h"
#include "proxy/path_settings.h"

namespace skiff::proxy {
namespace {

TEST(PacketDevicesTest, Selection) {
  std::vector<Link> links = {{.index = 1, .name = "lo", .flags = 8},
                             {.index = 2, .name = "eth0"},
                             {.index = 3, .name = "eth1"},
                             {.index = 4, .name = "vx", .kind = "vxlan"},
                             {.index = 5, .name = "wg0", .kind = "wireguard"},
                             {.index = 6, .name = "veth1", .kind = "veth"},
                             {.index = 7, .name = "cni0", .kind = "bridge"},
                             {.index = 8, .name = "veth2", .kind = "veth", .master = 7},
                             {.index = 9, .name = "tap0", .kind = "tun", .master = 7},
                             {.index = 10, .name = "tun0", .kind = "tun"}};
  std::vector<::skiff::Address> addresses = {{2, "10.0.0.5", 24, AF_INET},   {2, "fe80::1", 64, AF_INET6},
                                             {2, "10.0.0.6", 24, AF_INET},   {3, "192.168.0.1", 24, AF_INET},
                                             {4, "10.244.0.0", 32, AF_INET}, {5, "10.9.9.9", 32, AF_INET},
                                             {7, "10.244.0.1", 24, AF_INET}};
  std::vector<Route> routes = {{.destination = "default", .link = 2}, {.destination = "10.1.0.0/16", .link = 6}};
  auto names = [&](const DeviceChoice& choice) {
    std::string out;
    for (const auto& d : SelectDevices(links, addresses, routes, choice)) {
      absl::StrAppend(&out, d.name, d.pod ? "/pod" : "", d.guard ? "/guard" : "", d.local ? "/local" : "", " ");
    }
    return out;
  };
  EXPECT_EQ(names({}), "eth0 vx ");
  EXPECT_EQ(names({.node = {A("192.168.0.1"), A("10.9.9.9")}}), "eth0 eth1 vx ");
  EXPECT_EQ(names({.only = {"veth1"}}), "veth1 ");
  EXPECT_EQ(names({.pods = true}), "eth0 vx veth1/pod veth2/pod tap0/pod ");
  EXPECT_EQ(names({.outside = false, .pods = true}), "veth1/pod veth2/pod tap0/pod ");
  EXPECT_EQ(names({.outside = false, .guard = true}), "eth0/guard vx/guard ");
  EXPECT_EQ(names({.guard = true}), "eth0 vx ");
  EXPECT_EQ(names({.pods = true, .bridge = "cni0"}), "eth0 vx veth1/pod veth2/pod/local tap0/pod/local ");
  EXPECT_EQ(names({.pods = true, .prefix = "veth"}), "eth0 vx veth1/pod/local veth2/pod/local tap0/pod ");
  EXPECT_EQ(names({.only = {"veth1"}, .pods = true}), "veth1 veth2/pod tap0/pod ");
  auto all = SelectDevices(links, addresses, routes, {.pods = true, .node = {A("10.0.0.5"), A("fd00::5")}});
  EXPECT_EQ(all[0].v4, A("10.0.0.5"));
  EXPECT_EQ(all[0].v6, A("fd00::5")) << "the node's, as the device has none";
  EXPECT_EQ(all[2].v4, A("10.0.0.5"));
  EXPECT_EQ(all[3].v4, A("10.244.0.1")) << "its bridge's";
}

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
