#include "proxy/syncer.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "proxy/address_testing.h"
#include "proxy/fake_bpf_maps.h"
#include "proxy/node_addresses.h"

namespace skiff::proxy {
namespace {

using nlohmann::json;
using Lines = std::vector<std::string>;

struct SyncerTest : testing::Test {
  FakeBpfMaps maps;
  FakeClock clock;
  metrics::Registry registry;
  Metrics metrics{registry};
  Health health{clock};
  Syncer syncer{maps, {"n1", ""}, clock, metrics, health};
  asio::io_context loop;

  static ServiceDigest Service(std::string_view ip) {
    ServiceDigest out;
    out.cluster_ips = {A(ip)};
    out.ports = {{.name = "", .port = 80, .protocol = IPPROTO_TCP}};
    return out;
  }
  static SliceDigest Slice(std::string service, const Lines& ips) {
    SliceDigest out{.service = std::move(service)};
    out.ports = {{.name = "", .port = 8080, .protocol = IPPROTO_TCP}};
    for (const auto& ip : ips) out.endpoints.push_back({A(ip), 0, kReady | kServing});
    return out;
  }
  double Value(std::string_view name) {
    std::string text = registry.Expose();
    size_t at = text.find(absl::StrCat("\n", name, " "));
    return at == std::string::npos ? -1 : atof(text.c_str() + at + name.size() + 2);
  }
};

TEST_F(SyncerTest, OrderOfEventsDoesNotMatter) {
  EXPECT_TRUE(syncer.SetSlice("ns/a-1", Slice("ns/a", {"10.1.0.1"})));
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_TRUE(maps.ShowAll().empty());
  EXPECT_TRUE(syncer.SetService("ns/a", Service("10.96.0.1")));
  EXPECT_TRUE(syncer.SetSlice("ns/a-2", Slice("ns/a", {"10.1.0.2"})));
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:8080 10.1.0.2:8080"}));
  EXPECT_FALSE(syncer.SetService("ns/a", Service("10.96.0.1"))) << "no news";
  EXPECT_FALSE(syncer.SetSlice("ns/a-2", Slice("ns/a", {"10.1.0.2"})));
  EXPECT_FALSE(syncer.dirty());
  EXPECT_TRUE(syncer.SetSlice("ns/a-1", std::nullopt));
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP -> 10.1.0.2:8080"}));
  // A slice changes hands.
  EXPECT_TRUE(syncer.SetService("ns/b", Service("10.96.0.2")));
  EXPECT_TRUE(syncer.SetSlice("ns/a-2", Slice("ns/b", {"10.1.0.2"})));
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP refused", "10.96.0.2:80/TCP -> 10.1.0.2:8080"}));
  EXPECT_TRUE(syncer.SetService("ns/a", std::nullopt));
  EXPECT_TRUE(syncer.SetService("ns/b", std::nullopt));
  EXPECT_TRUE(syncer.SetSlice("ns/a-2", std::nullopt));
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_TRUE(maps.frontends.empty());
  EXPECT_TRUE(maps.backends.empty());
  EXPECT_EQ(syncer.services(), 0u);
}

TEST_F(SyncerTest, ErrorThenConverges) {
  ASSERT_TRUE(syncer.Sync().ok());
  syncer.SetService("ns/a", Service("10.96.0.1"));
  syncer.SetSlice("ns/a-1", Slice("ns/a", {"10.1.0.1"}));
  maps.fail_after = 1;
  EXPECT_FALSE(syncer.Sync().ok());
  EXPECT_TRUE(syncer.dirty());
  maps.fail_after = -1;
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:8080"}));
}

TEST_F(SyncerTest, HealthFollowsPendingChanges) {
  health.SetNode(true, true);
  EXPECT_EQ(health.Healthz().status, 200) << "while it starts";
  ASSERT_TRUE(syncer.Sync().ok());
  clock.Advance(std::chrono::hours(1), loop);
  EXPECT_EQ(health.Healthz().status, 200);
  syncer.SetService("ns/a", Service("10.96.0.1"));
  clock.Advance(std::chrono::seconds(59), loop);
  EXPECT_EQ(health.Healthz().status, 200);
  clock.Advance(std::chrono::seconds(1), loop);
  EXPECT_EQ(health.Healthz().status, 503);
  EXPECT_EQ(health.Livez().status, 503);
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_EQ(health.Healthz().status, 200);
  health.SetNode(true, false);
  EXPECT_EQ(health.Healthz().status, 503);
  EXPECT_EQ(health.Livez().status, 200);
  // The shape is the recorded one, times aside.
  auto text = ReadFile("../shared/goldens/proxy/15-kube-proxy/healthz.json");
  if (!text.ok()) GTEST_SKIP() << "no recordings here";
  health.SetNode(true, true);
  json want = json::parse(*text)["response"]["body"], have = json::parse(health.Healthz().body);
  for (json* j : {&want, &have}) {
    (*j)["lastUpdated"] = (*j)["currentTime"] = "";
    for (auto& [family, status] : (*j)["status"].items()) status["lastUpdated"] = "";
  }
  EXPECT_EQ(want, have);
}

TEST_F(SyncerTest, MetricsHaveUpstreamsNames) {
  syncer.SetService("ns/a", Service("10.96.0.1"));
  syncer.SetSlice("ns/a-1", Slice("ns/a", {"10.1.0.1"}), clock.Now() + std::chrono::seconds(1));
  clock.Advance(std::chrono::seconds(3), loop);
  EXPECT_EQ(Value("kubeproxy_sync_proxy_rules_service_changes_pending"), 1);
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_EQ(Value("kubeproxy_sync_proxy_rules_service_changes_pending"), 0);
  EXPECT_EQ(Value("kubeproxy_sync_proxy_rules_service_changes_total"), 1);
  EXPECT_EQ(Value("kubeproxy_sync_proxy_rules_endpoint_changes_total"), 1);
  EXPECT_EQ(Value("kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"}"), 2);
  EXPECT_EQ(Value("kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"}"), 1);
  auto table = ReadFile("../shared/goldens/proxy/15-kube-proxy/metrics.txt");
  if (!table.ok()) GTEST_SKIP() << "no recordings here";
  std::string ours = registry.Expose();
  metrics.healthz_total.With({"200"}).Inc();
  metrics.livez_total.With({"200"}).Inc();
  metrics.ObserveUdp(std::chrono::milliseconds(1));
  syncer.SetService("ns/a", std::nullopt);
  ASSERT_TRUE(syncer.Sync().ok());
  ours = registry.Expose();
  for (std::string_view line : absl::StrSplit(*table, '\n')) {
    if (line.starts_with("# TYPE kubeproxy_")) EXPECT_NE(ours.find(line), std::string::npos) << line;
  }
}

TEST_F(SyncerTest, LocalPoliciesAreCounted) {
  auto service = Service("10.96.0.1");
  service.internal_local = true;
  syncer.SetService("ns/a", service);
  syncer.SetSlice("ns/a-1", Slice("ns/a", {"10.1.0.1"}));
  ASSERT_TRUE(syncer.Sync().ok());
  const char* name =
      "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"}";
  EXPECT_EQ(Value(name), 1);
  auto local = Slice("ns/a", {"10.1.0.1"});
  local.endpoints[0].flags |= kLocal;
  syncer.SetSlice("ns/a-1", local);
  ASSERT_TRUE(syncer.Sync().ok());
  EXPECT_EQ(Value(name), 0);
}

TEST(NodeAddressesTest, Selection) {
  std::vector<Address> local = {A("127.0.0.1"), A("::1"), A("10.0.0.5"), A("192.168.1.1"), A("fd00::5"), A("fe80::1")};
  NodeIps node = DetectNodeIps(std::vector<Address>{A("10.0.0.5")}, {}, "0.0.0.0");
  auto show = [&](std::vector<std::string> setting, bool localhost) {
    Lines out;
    std::vector<std::string> cidrs = ResolveNodePortAddresses(setting, node);
    for (const auto& [address, host_only] : NodePortAddresses(local, cidrs, localhost)) {
      out.push_back(FormatAddress(address) + (host_only ? "*" : ""));
    }
    std::sort(out.begin(), out.end());
    return out;
  };
  EXPECT_EQ(show({}, true), (Lines{"10.0.0.5", "127.0.0.1*", "192.168.1.1", "fd00::5"}));
  EXPECT_EQ(show({}, false), (Lines{"10.0.0.5", "192.168.1.1", "fd00::5"}));
  // A family that no CIDR speaks of is open, as upstream has it.
  EXPECT_EQ(show({"primary"}, true), (Lines{"10.0.0.5", "fd00::5"}));
  EXPECT_EQ(show({"192.168.0.0/16", "fd00::/8"}, true), (Lines{"192.168.1.1", "fd00::5"}));
  EXPECT_EQ(show({"127.0.0.0/8", "fd01::/64"}, true), (Lines{"127.0.0.1*"}));
  EXPECT_EQ(show({"0.0.0.0/0", "10.0.0.0/8"}, false), (Lines{"10.0.0.5", "192.168.1.1", "fd00::5"}));
  node = DetectNodeIps(std::vector<Address>{A("10.0.0.5")}, std::vector<Address>{A("fd00::5")}, "192.168.1.1");
  EXPECT_EQ(show({"primary"}, true), (Lines{"192.168.1.1", "fd00::5"}));
}

TEST(NodeAddressesTest, NodeIps) {
  auto detect = [](Lines internal, Lines external, const char* bind = "0.0.0.0") {
    std::vector<Address> in, ex;
    for (const auto& text : internal) in.push_back(A(text));
    for (const auto& text : external) ex.push_back(A(text));
    NodeIps ips = DetectNodeIps(in, ex, bind);
    return absl::StrCat(FamilyName(ips.primary), " ", ips.v4 ? FormatAddress(*ips.v4) : "-", " ",
                        ips.v6 ? FormatAddress(*ips.v6) : "-");
  };
  EXPECT_EQ(detect({}, {}), "IPv4 - -");
  EXPECT_EQ(detect({"10.0.0.1", "10.0.0.2"}, {"192.0.2.1"}), "IPv4 10.0.0.1 -");
  EXPECT_EQ(detect({"fd00::1", "10.0.0.2"}, {}), "IPv6 10.0.0.2 fd00::1");
  EXPECT_EQ(detect({"10.0.0.1"}, {"192.0.2.1", "2001:db8::1"}), "IPv4 10.0.0.1 2001:db8::1");
  EXPECT_EQ(detect({"10.0.0.1"}, {}, "10.9.9.9"), "IPv4 10.9.9.9 -");
  EXPECT_EQ(detect({"10.0.0.1"}, {}, "fd00::9"), "IPv6 10.0.0.1 fd00::9");
}

TEST(NodeAddressesTest, HealthCheckAddresses) {
  std::vector<Address> local = {A("127.0.0.1"), A("10.0.0.5"), A("192.168.1.1"), A("fd00::5"), A("fe80::1")};
  auto at = [&](Family family, Lines cidrs) { return HealthCheckAddresses(family, local, cidrs); };
  EXPECT_EQ(at(Family::kIPv4, {}), (Lines{"0.0.0.0"}));
  EXPECT_EQ(at(Family::kIPv6, {}), (Lines{"[::]"}));
  EXPECT_EQ(at(Family::kIPv4, {"10.0.0.0/8", "192.168.0.0/16"}), (Lines{"10.0.0.5", "192.168.1.1"}));
  EXPECT_EQ(at(Family::kIPv6, {"10.0.0.0/8"}), (Lines{"[::]"}));
  EXPECT_EQ(at(Family::kIPv6, {"fd00::/64"}), (Lines{"[fd00::5]"}));
}

}  // namespace
}  // namespace skiff::proxy
