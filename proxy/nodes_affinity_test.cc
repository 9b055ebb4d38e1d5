// ClientIP affinity, for clients of every kind, until it times out; and the fill of the maps that clients fill.
#include "proxy/nodes_testing.h"

#include <bpf/bpf.h>

#include "proxy/map_fill.h"
#include "proxy/program_metrics.h"
#include "proxy/show.h"

namespace skiff::proxy {
namespace {

class NodesAffinityTest : public NodesTest {
 protected:
  // Makes every client's last new connection so many seconds older.
  void Age(uint64_t seconds) {
    Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/affinity");
    skiff_affinity_key key = {}, next = {};
    for (bool first = true; bpf_map_get_next_key(map.get(), first ? nullptr : &key, &next) == 0; first = false) {
      key = next;
      skiff_affinity value = {};
      if (bpf_map_lookup_elem(map.get(), &key, &value) != 0) continue;
      value.used -= seconds * 1000000000;  // before the boot, maybe: it is the difference that counts
      EXPECT_EQ(bpf_map_update_elem(map.get(), &key, &value, BPF_EXIST), 0);
    }
  }
};

TEST_F(NodesAffinityTest, ROOT_ClientsKeepTheirEndpointUntilTheTimeout) {
  Serve({"p", "s"}, SOCK_STREAM);
  Serve({"p", "s"}, SOCK_DGRAM);
  constexpr uint32_t kTimeout = 100;
  ApplyAll({{.name = "ns/tcp", .endpoints = {"p", "s"}, .node_port = 30001, .number = 1, .affinity = kTimeout},
            {.name = "ns/udp",
             .endpoints = {"p", "s"},
             .port = 53,
             .node_port = 30053,
             .protocol = kUdp,
             .number = 2,
             .affinity = kTimeout}});
  struct Case {
    Client client;
    const char *four, *six;
    uint16_t port;
    uint8_t protocol;
  };
  for (const Case& c : std::vector<Case>{{{"c", false}, "192.0.2.1", "fd02::1", 30001, kTcp},
                                         {{"c", false}, "192.0.2.1", "fd02::1", 30053, kUdp},
                                         {{"q", false}, "10.96.0.1", "fd96::1", 80, kTcp},
                                         {{"q", true}, "10.96.0.1", "fd96::1", 80, kTcp},
                                         {{"q", true}, "10.96.0.2", "fd96::2", 53, kUdp},
                                         {{"", true}, "10.96.0.1", "fd96::1", 80, kTcp}}) {
    for (bool v6 : {false, true}) {
      std::string ip = v6 ? c.six : c.four, what = absl::StrCat(c.client.Name(), " ", ip, " ", c.port);
      std::string first = Ask(c.client, ip, c.port, c.protocol);
      EXPECT_EQ(Ask(c.client, ip, c.port, c.protocol, 10), first) << what;
      // Each new connection counts anew: never longer than the time-out without one.
      for (int i = 0; i < 4; i++) {
        Age(kTimeout - 10);
        EXPECT_EQ(Ask(c.client, ip, c.port, c.protocol), first) << what;
      }
      std::set<std::string> seen;
      for (int i = 0; i < 64 && seen.size() < 2; i++) {
        Age(kTimeout + 1);
        seen.insert(Ask(c.client, ip, c.port, c.protocol));
      }
      EXPECT_EQ(seen.size(), 2u) << what << ": chosen anew after the time-out";
    }
  }
  // The addresses of a service share it: a client is a client.
  std::string first = Ask({"c", false}, "192.0.2.1", 30001, kTcp);
  for (const char* ip : {"203.0.113.1", "198.51.100.1"}) {
    EXPECT_EQ(Ask({"c", false}, ip, 80, kTcp, 5).substr(0, 1), first.substr(0, 1)) << ip;
  }
}

TEST_F(NodesAffinityTest, ROOT_FillOfTheMaps) {
  Serve({"p"}, SOCK_STREAM);
  metrics::Registry registry;
  AddKernelMetrics(registry, *data_path_, *reconciler_);
  auto value = [&](std::string_view metric, std::string_view map) {
    std::string text = registry.Expose(), line = absl::StrCat(metric, "{map=\"", map, "\"} ");
    size_t at = text.find(line);
    return at == std::string::npos ? -1 : atof(text.c_str() + at + line.size());
  };
  ASSERT_TRUE(reconciler_->ApplyAll({}).ok());
  for (const char* map : {"affinity", "source_ranges", "flows", "fragments", "slots", "backends"}) {
    EXPECT_EQ(value("skiff_proxy_map_entries", map), 0) << map;
    EXPECT_GT(value("skiff_proxy_map_capacity", map), 1000) << map;
  }
  ApplyAll({{.name = "ns/s",
             .endpoints = {"p"},
             .number = 1,
             .source_ranges = {"192.0.2.0/25", "10.0.0.0/8", "fd02::/64"},
             .affinity = 100}});
  EXPECT_EQ(Ask({"c", false}, "203.0.113.1", 80, kTcp), Answer("p", "192.0.2.2", "203.0.113.1", 80));
  EXPECT_EQ(Ask({"q", true}, "10.96.0.1", 80, kTcp), Answer("p", "10.244.0.3", "10.96.0.1", 80));
  EXPECT_EQ(value("skiff_proxy_map_entries", "affinity"), 2) << "an address and a network namespace";
  EXPECT_EQ(value("skiff_proxy_map_entries", "source_ranges"), 3);
  EXPECT_EQ(value("skiff_proxy_map_entries", "flows"), 2);
  EXPECT_EQ(value("skiff_proxy_map_entries", "backends"), 2) << "one a family";
  EXPECT_GE(value("skiff_proxy_map_entries", "slots"), 2);
  // More than one read takes.
  Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/affinity");
  for (uint32_t i = 0; i < 10000; i++) {
    skiff_affinity_key key = {.service = 4711, .kind = 0, .client = {i, 0, 0, 0}};
    skiff_affinity entry = {};
    ASSERT_EQ(bpf_map_update_elem(map.get(), &key, &entry, BPF_ANY), 0);
  }
  EXPECT_EQ(value("skiff_proxy_map_entries", "affinity"), 10002);
  auto shown = Show(dir_, {"counters"});
  ASSERT_TRUE(shown.ok()) << shown.status();
  EXPECT_NE(shown->find(absl::StrCat("10002 of ", SKIFF_MAX_AFFINITY)), std::string::npos) << *shown;
  EXPECT_TRUE(absl::IsNotFound(CountEntries(data_path_->maps_dir(), "none").status()));
}

}  // namespace
}  // namespace skiff::proxy
