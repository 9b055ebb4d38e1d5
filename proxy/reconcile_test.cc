#include "proxy/reconcile.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <chrono>
#include <random>

#include "proxy/address_testing.h"
#include "proxy/allocator.h"
#include "proxy/fake_bpf_maps.h"

namespace skiff::proxy {
namespace {

using Lines = std::vector<std::string>;

// A service with one TCP port 80 at `ip`, its endpoints at port 8080.
ServiceChange Web(std::string name, std::string_view ip, const Lines& endpoints, uint16_t node_port = 0,
                  uint8_t protocol = IPPROTO_TCP) {
  ServiceModel model;
  ModelPort port{.name = "http", .protocol = protocol};
  for (const std::string& e : endpoints) {
    port.endpoints.push_back({A(e), 8080, SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING});
  }
  port.frontends.push_back({MakeKey(A(ip), 80, protocol), 0});
  if (node_port != 0) port.frontends.push_back({NodePortKey(Family::kIPv4, node_port, protocol), 0});
  model.ports.push_back(std::move(port));
  model.addresses.push_back(AddressKey(A(ip)));
  return {std::move(name), std::move(model)};
}

void NeverBroken(FakeBpfMaps& maps) {
  for (const std::string& line : maps.ShowAll()) ASSERT_EQ(line.find("BROKEN"), std::string::npos) << line;
}

TEST(ReconcileTest, WritesOnlyDifferences) {
  FakeBpfMaps maps;
  maps.after_write = NeverBroken;
  Reconciler r(maps);
  ASSERT_TRUE(
      r.ApplyAll({Web("ns/a", "10.96.0.1", {"10.1.0.1", "10.1.0.2"}), Web("ns/b", "10.96.0.2", {"10.1.0.3"})}).ok());
  EXPECT_EQ(maps.ShowAll(),
            (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:8080 10.1.0.2:8080", "10.96.0.2:80/TCP -> 10.1.0.3:8080"}));
  maps.writes = 0;
  ASSERT_TRUE(r.Apply({Web("ns/a", "10.96.0.1", {"10.1.0.1", "10.1.0.2"})}).ok());
  EXPECT_EQ(maps.writes, 0u);
  auto id = maps.backends.begin()->first;
  ASSERT_TRUE(r.Apply({Web("ns/a", "10.96.0.1", {"10.1.0.1", "10.1.0.4"})}).ok());
  EXPECT_EQ(maps.Show(MakeKey(A("10.96.0.1"), 80, IPPROTO_TCP)), "10.96.0.1:80/TCP -> 10.1.0.1:8080 10.1.0.4:8080");
  EXPECT_EQ(maps.writes, 1u + 2u + 1u + 1u) << "a backend, two slots, a frontend, a cleared backend";
  EXPECT_EQ(maps.backends.begin()->first, id) << "what stays keeps its number";
  ASSERT_TRUE(r.Apply({{"ns/a", std::nullopt}}).ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.2:80/TCP -> 10.1.0.3:8080"}));
  EXPECT_EQ(maps.frontends.size(), 2u);
  EXPECT_EQ(maps.backends.size(), 1u);
}

TEST(ReconcileTest, RestartTakesOverAndRemovesTheRest) {
  FakeBpfMaps maps;
  {
    Reconciler r(maps);
    r.SetNodeAddresses({{A("10.250.0.1"), false}});
    ASSERT_TRUE(r.ApplyAll({Web("ns/a", "10.96.0.1", {"10.1.0.1", "10.1.0.2"}, 30000),
                            Web("ns/b", "10.96.0.2", {"10.1.0.3"}), Web("ns/c", "10.96.0.3", {"10.1.0.5"})})
                    .ok());
  }
  auto frontends = maps.frontends;
  auto backends = maps.backends;
  maps.writes = 0;
  {
    Reconciler r(maps);
    r.SetNodeAddresses({{A("10.250.0.1"), false}});
    ASSERT_TRUE(r.ApplyAll({Web("ns/a", "10.96.0.1", {"10.1.0.1", "10.1.0.2"}, 30000),
                            Web("ns/b", "10.96.0.2", {"10.1.0.3"}), Web("ns/c", "10.96.0.3", {"10.1.0.5"})})
                    .ok());
    EXPECT_EQ(maps.writes, 0u) << "nothing changed while we were away";
    EXPECT_TRUE(frontends == maps.frontends);
  }
  maps.after_write = NeverBroken;
  Reconciler r(maps);
  r.SetNodeAddresses({{A("10.250.0.2"), true}});
  ASSERT_TRUE(
      r.ApplyAll({Web("ns/a", "10.96.0.1", {"10.1.0.2", "10.1.0.9"}), Web("ns/d", "10.96.0.4", {"10.1.0.1"})}).ok());
  EXPECT_EQ(maps.ShowAll(),
            (Lines{"10.96.0.1:80/TCP -> 10.1.0.2:8080 10.1.0.9:8080", "10.96.0.4:80/TCP -> 10.1.0.1:8080"}));
  EXPECT_EQ(maps.backends.size(), 3u);
  EXPECT_TRUE(maps.frontends.contains(AddressKey(A("10.250.0.2"))));
  EXPECT_FALSE(maps.frontends.contains(AddressKey(A("10.250.0.1"))));
  EXPECT_FALSE(maps.frontends.contains(AddressKey(A("10.96.0.2"))));
  for (const auto& [id, b] : maps.backends) {
    if (b.address == A("10.1.0.2")) {
      EXPECT_TRUE(backends.contains(id)) << "numbers survive a restart";
    }
  }
}

TEST(ReconcileTest, AFullMapKeepsNothingElseFromBeingWritten) {
  FakeBpfMaps maps;
  Reconciler r(maps);
  std::vector<ServiceChange> all;
  for (int i = 0; i < 10; i++) all.push_back(Web(absl::StrCat("ns/", i), absl::StrCat("10.96.0.", i), {"10.1.0.1"}));
  ASSERT_TRUE(r.ApplyAll(all).ok());
  maps.most_frontends = maps.frontends.size();
  // One more does not fit; the endpoint of another still changes, and none that is gone stays.
  all[3] = Web("ns/3", "10.96.0.3", {"10.1.0.9"});
  all.push_back(Web("ns/more", "10.96.0.99", {"10.1.0.1"}));
  auto result = r.ApplyAll(all);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(absl::IsResourceExhausted(result->left_out)) << result->left_out;
  EXPECT_TRUE(r.needs_full()) << "the next change tries again";
  EXPECT_EQ(maps.Show(MakeKey(A("10.96.0.3"), 80, IPPROTO_TCP)), "10.96.0.3:80/TCP -> 10.1.0.9:8080");
  EXPECT_FALSE(maps.frontends.contains(MakeKey(A("10.96.0.99"), 80, IPPROTO_TCP)));
  // Where another goes at the same time, there is room.
  all.erase(all.begin());
  result = r.ApplyAll(all);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->left_out.ok()) << result->left_out;
  EXPECT_FALSE(r.needs_full());
  EXPECT_EQ(maps.Show(MakeKey(A("10.96.0.99"), 80, IPPROTO_TCP)), "10.96.0.99:80/TCP -> 10.1.0.1:8080");
}

TEST(ReconcileTest, KilledAtAnyWriteConverges) {
  std::vector<ServiceChange> first = {Web("ns/a", "10.96.0.1", {"10.1.0.1", "10.1.0.2"}, 30000),
                                      Web("ns/b", "10.96.0.2", {"10.1.0.3"}, 0, IPPROTO_UDP)};
  std::vector<ServiceChange> second = {Web("ns/a", "10.96.0.1", {"10.1.0.2", "10.1.0.4", "10.1.0.5"}, 30001),
                                       Web("ns/c", "10.96.0.2", {"10.1.0.3", "10.1.0.6"})};
  FakeBpfMaps want;
  Reconciler expect(want);
  ASSERT_TRUE(expect.ApplyAll(second).ok());
  for (int step = 0; step < 200; step++) {
    FakeBpfMaps maps;
    maps.after_write = NeverBroken;
    {
      Reconciler r(maps);
      ASSERT_TRUE(r.ApplyAll(first).ok());
      maps.fail_after = step;
      std::vector<ServiceChange> changes = second;
      changes.push_back({"ns/b", std::nullopt});
      std::swap(changes[1], changes[2]);
      bool ok = r.Apply(changes).ok();
      maps.fail_after = -1;
      if (ok) {
        EXPECT_EQ(maps.ShowAll(), want.ShowAll());
        return;  // every step before failed at a write
      }
      EXPECT_TRUE(r.needs_full());
      EXPECT_FALSE(r.Apply({}).ok());
      if (step % 2) {  // the same process goes on, or a new one
        ASSERT_TRUE(r.ApplyAll(second).ok());
        EXPECT_EQ(maps.ShowAll(), want.ShowAll());
        EXPECT_EQ(maps.backends.size(), want.backends.size());
        EXPECT_EQ(maps.frontends.size(), want.frontends.size());
        continue;
      }
    }
    Reconciler next(maps);
    ASSERT_TRUE(next.ApplyAll(second).ok());
    EXPECT_EQ(maps.ShowAll(), want.ShowAll()) << step;
    EXPECT_EQ(maps.backends.size(), want.backends.size()) << step;
    EXPECT_EQ(maps.frontends.size(), want.frontends.size()) << step;
  }
  FAIL() << "never got through";
}

TEST(ReconcileTest, SharedKeyGoesToTheNextWhenItsOwnerLeaves) {
  FakeBpfMaps maps;
  Reconciler r(maps);
  ASSERT_TRUE(r.ApplyAll({Web("ns/a", "10.96.0.1", {"10.1.0.1"}, 30000)}).ok());
  ASSERT_TRUE(r.Apply({Web("ns/b", "10.96.0.2", {"10.1.0.2"}, 30000)}).ok());
  EXPECT_EQ(maps.Show(NodePortKey(Family::kIPv4, 30000, IPPROTO_TCP)), "node:30000/TCP -> 10.1.0.1:8080");
  auto result = r.Apply({Web("ns/a", "10.96.0.1", {"10.1.0.1"})});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->try_again, (Lines{"ns/b"}));
  ASSERT_TRUE(r.Apply({Web("ns/b", "10.96.0.2", {"10.1.0.2"}, 30000)}).ok());
  EXPECT_EQ(maps.Show(NodePortKey(Family::kIPv4, 30000, IPPROTO_TCP)), "node:30000/TCP -> 10.1.0.2:8080");
}

TEST(ReconcileTest, PortsOfAServiceSwapNumbers) {
  FakeBpfMaps maps;
  maps.after_write = NeverBroken;
  Reconciler r(maps);
  auto two = [](uint16_t a, uint16_t b) {
    ServiceModel m;
    for (auto [name, port, to] : {std::tuple{"a", a, 1000}, std::tuple{"b", b, 2000}}) {
      ModelPort p{.name = name, .protocol = IPPROTO_TCP};
      p.endpoints.push_back({A("10.1.0.1"), static_cast<uint16_t>(to), SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING});
      p.frontends.push_back({MakeKey(A("10.96.0.1"), port, IPPROTO_TCP), 0});
      m.ports.push_back(p);
    }
    return std::vector<ServiceChange>{{"ns/s", m}};
  };
  ASSERT_TRUE(r.ApplyAll(two(80, 81)).ok());
  ASSERT_TRUE(r.Apply(two(81, 80)).ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:2000", "10.96.0.1:81/TCP -> 10.1.0.1:1000"}));
  Reconciler again(maps);
  ASSERT_TRUE(again.ApplyAll(two(80, 81)).ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:1000", "10.96.0.1:81/TCP -> 10.1.0.1:2000"}));
}

TEST(ReconcileTest, LosingStateIsWrittenAfterTheSwitch) {
  FakeBpfMaps maps;
  maps.after_write = NeverBroken;
  Reconciler r(maps);
  auto change = Web("ns/a", "10.96.0.1", {"10.1.0.1", "10.1.0.2"});
  ASSERT_TRUE(r.ApplyAll({change}).ok());
  change.model->ports[0].endpoints[0].state = SKIFF_BACKEND_SERVING;  // drains
  ASSERT_TRUE(r.Apply({change}).ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP -> 10.1.0.2:8080"}));
  EXPECT_EQ(maps.backends.size(), 2u) << "it keeps its flows";
  std::swap(change.model->ports[0].endpoints[0].state, change.model->ports[0].endpoints[1].state);
  ASSERT_TRUE(r.Apply({change}).ok());
  EXPECT_EQ(maps.ShowAll(), (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:8080"}));
}

TEST(ReconcileTest, SourceRanges) {
  FakeBpfMaps maps;
  Reconciler r(maps);
  auto with = [](std::vector<std::string> ranges) {
    auto change = Web("ns/a", "192.0.2.9", {"10.1.0.1"});
    change.model->ports[0].frontends[0].flags = SKIFF_FRONTEND_PASS | SKIFF_FRONTEND_RANGES;
    for (auto& range : ranges) change.model->ports[0].source_ranges.push_back(*ParsePrefix(range));
    std::sort(change.model->ports[0].source_ranges.begin(), change.model->ports[0].source_ranges.end());
    return change;
  };
  ASSERT_TRUE(r.ApplyAll({with({"10.0.0.0/8", "192.0.2.0/24"})}).ok());
  EXPECT_EQ(maps.ranges.size(), 2u);
  ASSERT_TRUE(r.Apply({with({"192.0.2.0/24", "203.0.113.0/24"})}).ok());
  ASSERT_EQ(maps.ranges.size(), 2u);
  EXPECT_EQ(maps.ranges[1].prefix, *ParsePrefix("203.0.113.0/24"));
  maps.ranges.push_back({99, *ParsePrefix("0.0.0.0/0")});  // of a service that is gone
  maps.writes = 0;
  Reconciler next(maps);
  ASSERT_TRUE(next.ApplyAll({with({"192.0.2.0/24", "203.0.113.0/24"})}).ok());
  EXPECT_EQ(maps.writes, 1u);
  EXPECT_EQ(maps.ranges.size(), 2u);
  ASSERT_TRUE(next.Apply({{"ns/a", std::nullopt}}).ok());
  EXPECT_TRUE(maps.ranges.empty());
}

TEST(ReconcileTest, UdpRemovalIsReported) {
  FakeBpfMaps maps;
  Reconciler r(maps);
  ASSERT_TRUE(r.ApplyAll({Web("ns/u", "10.96.0.1", {"10.1.0.1", "10.1.0.2"}, 0, IPPROTO_UDP),
                          Web("ns/t", "10.96.0.2", {"10.1.0.1", "10.1.0.2"})})
                  .ok());
  EXPECT_FALSE(r.Apply({Web("ns/t", "10.96.0.2", {"10.1.0.1"})})->udp_backend_removed);
  EXPECT_TRUE(r.Apply({Web("ns/u", "10.96.0.1", {"10.1.0.1"}, 0, IPPROTO_UDP)})->udp_backend_removed);
}

TEST(ReconcileTest, RandomChangesKeepMapsAndNumbersTight) {
  FakeBpfMaps maps;
  maps.after_write = nullptr;
  Reconciler r(maps);
  ASSERT_TRUE(r.ApplyAll({}).ok());
  std::mt19937 random(7);
  std::map<std::string, ServiceChange> state;
  for (int round = 0; round < 3000; round++) {
    int n = static_cast<int>(random() % 20);
    std::string name = absl::StrCat("ns/", n);
    if (random() % 5 == 0) {
      ASSERT_TRUE(r.Apply({{name, std::nullopt}}).ok());
      state.erase(name);
    } else {
      Lines endpoints;
      for (int e = 0; e < 12; e++) {
        if (random() % 2) endpoints.push_back(absl::StrCat("10.1.", n, ".", e));
      }
      auto change = Web(name, absl::StrCat("10.96.0.", n), endpoints);
      ASSERT_TRUE(r.Apply({change}).ok());
      state[name] = change;
    }
  }
  FakeBpfMaps want;
  Reconciler fresh(want);
  std::vector<ServiceChange> all;
  for (const auto& [name, change] : state) all.push_back(change);
  ASSERT_TRUE(fresh.ApplyAll(all).ok());
  EXPECT_EQ(maps.ShowAll(), want.ShowAll());
  EXPECT_EQ(maps.backends.size(), want.backends.size());
  EXPECT_EQ(r.backends(), want.backends.size());
  EXPECT_LT(maps.slots.rbegin()->first, 1000u) << "ranges are reused";
}

TEST(AllocatorTest, RangesMergeAgain) {
  RangeAllocator a(100);
  auto x = *a.Take(10), y = *a.Take(20), z = *a.Take(70);
  EXPECT_FALSE(a.Take(1));
  a.Give(x);
  a.Give(z);
  EXPECT_FALSE(a.Take(1)) << "rests until settled";
  a.Settle();
  EXPECT_EQ(a.free(), 80u);
  a.Give(y);
  a.Settle();
  EXPECT_EQ(a.Take(100)->count, 100u);
  a.Reset(100);
  EXPECT_TRUE(a.Claim({10, 5}));
  EXPECT_FALSE(a.Claim({14, 2}));
  EXPECT_TRUE(a.Claim({15, 85}));
  EXPECT_EQ(a.free(), 10u);
}

TEST(AllocatorTest, IdsComeBackLate) {
  IdAllocator a(5000);
  a.Reset({1, 2, 5});
  EXPECT_EQ(*a.Take(), 6u) << "gaps rest in the reserve";
  for (uint32_t i = 7; i < 5000; i++) ASSERT_EQ(*a.Take(), i);
  EXPECT_EQ(*a.Take(), 3u);
  EXPECT_EQ(*a.Take(), 4u);
  EXPECT_FALSE(a.Take());
}

}  // namespace
}  // namespace skiff::proxy
