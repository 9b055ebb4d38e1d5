#include "proxy/maglev.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "proxy/fake_bpf_maps.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {
namespace {

std::vector<MaglevName> Names(int count) {
  std::vector<MaglevName> out;
  for (int i = 0; i < count; i++)
    out.push_back({*ParseAddress(absl::StrCat("10.1.", i / 250, ".", i % 250 + 1)), 8080});
  return out;
}

TEST(MaglevTest, SharesAreEvenAndFewFlowsMove) {
  for (int n : {2, 3, 10, 50, 100}) {
    auto names = Names(n);
    uint32_t size = MaglevSize(kMaglevTable, names.size());
    ASSERT_EQ(size, kMaglevTable);
    auto before = MaglevTable(names, size);
    std::map<uint32_t, uint32_t> shares;
    for (uint32_t i : before) shares[i]++;
    ASSERT_EQ(shares.size(), names.size());
    uint32_t least = size, most = 0;
    for (auto [i, share] : shares) {
      least = std::min(least, share);
      most = std::max(most, share);
    }
    EXPECT_LE(most - least, 1u) << "each takes its turn";
    // One goes: its places move, and few others.
    auto fewer = names;
    fewer.erase(fewer.begin() + n / 2);
    auto after = MaglevTable(fewer, size);
    uint32_t must = 0, moved = 0;
    for (uint32_t i = 0; i < size; i++) {
      auto was = static_cast<int>(before[i]);
      if (was == n / 2)
        must++;
      else if (static_cast<int>(after[i]) != (was > n / 2 ? was - 1 : was))
        moved++;
    }
    double share = static_cast<double>(must) / size, others = static_cast<double>(moved) / size;
    printf("%d endpoints, one goes: %.1f%% of flows were its own, %.1f%% of the others move as well (modulo: %.0f%%)\n",
           n, share * 100, others * 100, 100.0 * (n - 1) / n);
    EXPECT_LT(others, n <= 10 ? 0.10 : 0.20);
  }
}

TEST(MaglevTest, OrderOfOthersDoesNotMatterMuchAndSizesArePrime) {
  EXPECT_EQ(MaglevTable(Names(1), 251), std::vector<uint32_t>(251, 0));
  for (uint32_t wished : {1u, 251u, 252u, 1021u, 5000u, 16381u}) {
    uint32_t size = MaglevSize(wished, 3);
    EXPECT_GE(size, wished);
    for (uint32_t d = 2; d * d <= size; d++) EXPECT_NE(size % d, 0u) << size;
  }
  EXPECT_EQ(MaglevSize(1021, 300), 2039u) << "four places each at least";
  EXPECT_EQ(MaglevSize(1021, 5000), 0u);
  EXPECT_EQ(MaglevSize(20000, 1), 0u);
}

ServiceChange Service(const std::vector<std::string>& endpoints, Balancing balancing) {
  ServiceModel model;
  ModelPort port{.name = "p", .protocol = IPPROTO_TCP, .balancing = balancing};
  for (const std::string& e : endpoints) {
    port.endpoints.push_back({*ParseAddress(e), 8080, SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING});
  }
  port.frontends.push_back({MakeKey(*ParseAddress("10.96.0.1"), 80, IPPROTO_TCP), 0});
  model.ports.push_back(std::move(port));
  return {"ns/s", std::move(model)};
}

// Places of each endpoint in the one frontend's set.
std::map<std::string, int> Places(const FakeBpfMaps& maps) {
  std::map<std::string, int> out;
  const skiff_frontend& f = maps.frontends.begin()->second;
  for (uint32_t i = 0; i < f.inside.count; i++) {
    const skiff_slot& slot = maps.slots.at(f.inside.first + i);
    EXPECT_EQ(slot.service, f.service);
    out[FormatAddress(maps.backends.at(slot.backend).address)]++;
  }
  return out;
}

TEST(MaglevTest, ReconcilerWritesTablesAndTakesThemOver) {
  FakeBpfMaps maps;
  Reconciler r(maps);
  ASSERT_TRUE(r.ApplyAll({Service({"10.1.0.1", "10.1.0.2", "10.1.0.3"}, Balancing::kMaglev)}).ok());
  EXPECT_EQ(maps.frontends.begin()->second.inside.count, kMaglevTable);
  EXPECT_TRUE(maps.frontends.begin()->second.flags & SKIFF_FRONTEND_MAGLEV);
  auto places = Places(maps);
  EXPECT_EQ(places.size(), 3u);
  for (auto [ip, n] : places) EXPECT_NEAR(n, 1021 / 3, 1);

  Reconciler again(maps);
  maps.writes = 0;
  ASSERT_TRUE(again.ApplyAll({Service({"10.1.0.1", "10.1.0.2", "10.1.0.3"}, Balancing::kMaglev)}).ok());
  EXPECT_EQ(maps.writes, 0u);
  ASSERT_TRUE(again.Apply({Service({"10.1.0.1", "10.1.0.3"}, Balancing::kMaglev)}).ok());
  EXPECT_EQ(Places(maps).size(), 2u);
  ASSERT_TRUE(again.Apply({Service({"10.1.0.1", "10.1.0.3"}, Balancing::kRandom)}).ok());
  EXPECT_EQ(maps.frontends.begin()->second.inside.count, 2u);
  again.SetBalancing({.maglev = true, .table = 251});
  ASSERT_TRUE(again.Apply({Service({"10.1.0.1", "10.1.0.3"}, Balancing::kDefault)}).ok());
  EXPECT_EQ(maps.frontends.begin()->second.inside.count, 251u);
  ASSERT_TRUE(again.Apply({Service({}, Balancing::kDefault)}).ok());
  EXPECT_EQ(maps.frontends.begin()->second.inside.count, 0u);

  // A half-written table of a process that died is written anew.
  ASSERT_TRUE(again.Apply({Service({"10.1.0.1", "10.1.0.3"}, Balancing::kDefault)}).ok());
  maps.slots[maps.frontends.begin()->second.inside.first + 7].backend = 9999;
  Reconciler third(maps);
  third.SetBalancing({.maglev = true, .table = 251});
  ASSERT_TRUE(third.ApplyAll({Service({"10.1.0.1", "10.1.0.3"}, Balancing::kDefault)}).ok());
  EXPECT_EQ(Places(maps).size(), 2u);
}

}  // namespace
}  // namespace skiff::proxy
