#include "kubelet/eviction/thresholds.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

using ::testing::HasSubstr;
using Signal = EvictionSignal;

const EvictionThreshold* Find(const std::vector<EvictionThreshold>& list, Signal signal, bool hard = true) {
  for (const auto& t : list) {
    if (t.signal == signal && t.hard() == hard) return &t;
  }
  return nullptr;
}

TEST(EvictionThresholds, HardSoftAndReclaim) {
  auto parsed = ParseThresholds({.hard = {{"memory.available", "100Mi"}, {"nodefs.available", "10%"}},
                                 .soft = {{"memory.available", "1Gi"}},
                                 .soft_grace = {{"memory.available", "1m30s"}},
                                 .min_reclaim = {{"memory.available", "50Mi"}, {"nodefs.available", "2%"}},
                                 .allocatable = true});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->size(), 4u);
  const auto* hard = Find(*parsed, Signal::kMemoryAvailable);
  ASSERT_NE(hard, nullptr);
  EXPECT_EQ(hard->value.quantity->ToString(), "100Mi");
  EXPECT_EQ(hard->min_reclaim->quantity->ToString(), "50Mi");
  const auto* soft = Find(*parsed, Signal::kMemoryAvailable, false);
  ASSERT_NE(soft, nullptr);
  EXPECT_EQ(soft->grace, std::chrono::seconds(90));
  const auto* disk = Find(*parsed, Signal::kNodeFsAvailable);
  EXPECT_EQ(disk->value.Of(api::Quantity::Bytes(1000)).Value(), 100);
  EXPECT_FLOAT_EQ(disk->min_reclaim->percentage, 0.02f);
  // Pods' own share of memory follows the hard threshold.
  const auto* pods = Find(*parsed, Signal::kAllocatableMemoryAvailable);
  ASSERT_NE(pods, nullptr);
  EXPECT_EQ(pods->value.quantity->ToString(), "100Mi");
}

TEST(EvictionThresholds, NothingIsSetByNoneAndAll) {
  auto parsed = ParseThresholds({.hard = {{"memory.available", "0%"}, {"nodefs.available", "100%"}}});
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed->empty());
}

TEST(EvictionThresholds, BadSettingsAreNamed) {
  struct Case {
    ThresholdSettings settings;
    const char* error;
  };
  const Case cases[] = {
      {{.hard = {{"mem.available", "1Gi"}}}, "unsupported eviction signal mem.available"},
      {{.hard = {{"memory.available", "-1Mi"}}}, "eviction threshold memory.available must be positive: -1Mi"},
      {{.hard = {{"memory.available", "-1%"}}}, "eviction percentage threshold memory.available must be >= 0%: -1%"},
      {{.hard = {{"memory.available", "101%"}}},
       "eviction percentage threshold memory.available must be <= 100%: 101%"},
      {{.hard = {{"memory.available", "much"}}}, "quantities must match"},
      {{.soft = {{"nodefs.available", "1Gi"}}},
       "grace period must be specified for the soft eviction threshold nodefs.available"},
      {{.soft = {{"nodefs.available", "1Gi"}}, .soft_grace = {{"nodefs.available", "-1s"}}},
       "invalid eviction grace period specified: -1s, must be a positive value"},
      {{.min_reclaim = {{"nodefs.available", "-1Gi"}}},
       "negative eviction minimum reclaim specified for nodefs.available"},
  };
  for (const Case& c : cases) {
    auto parsed = ParseThresholds(c.settings);
    ASSERT_FALSE(parsed.ok()) << c.error;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(c.error));
  }
}

TEST(EvictionThresholds, WritableLayersFollowTheirFileSystem) {
  auto parsed = ParseThresholds({.hard = {{"nodefs.available", "10%"},
                                          {"imagefs.available", "15%"},
                                          {"containerfs.available", "50%"},
                                          {"nodefs.inodesFree", "5%"}}});
  ASSERT_TRUE(parsed.ok());
  struct Case {
    bool dedicated, split;
    float bytes;
    bool inodes;
  };
  for (const Case& c : {Case{false, false, 0.10f, true}, {true, false, 0.15f, false}, {true, true, 0.10f, true}}) {
    auto list = *parsed;
    SetContainerFsThresholds(c.dedicated, c.split, &list);
    const auto* bytes = Find(list, Signal::kContainerFsAvailable);
    ASSERT_NE(bytes, nullptr);
    EXPECT_FLOAT_EQ(bytes->value.percentage, c.bytes);
    EXPECT_EQ(Find(list, Signal::kContainerFsInodesFree) != nullptr, c.inodes);
  }
}

TEST(EvictionThresholds, CrossedAndRecovered) {
  auto parsed = ParseThresholds({.hard = {{"memory.available", "100Mi"}, {"pid.available", "10%"}},
                                 .min_reclaim = {{"memory.available", "50Mi"}}});
  ASSERT_TRUE(parsed.ok());
  auto crossed = [&](uint64_t mebibytes, int64_t running, bool reclaim) {
    NodeUse use;
    use.node = NodeUse::Memory{mebibytes << 20, uint64_t{1} << 30};
    use.pids = NodeUse::Pids{1000, running};
    return Crossed(*parsed, Observe(use), reclaim).size();
  };
  EXPECT_EQ(crossed(100, 0, false), 0u);  // exactly what must be there is enough
  EXPECT_EQ(crossed(99, 0, false), 1u);
  EXPECT_EQ(crossed(149, 0, false), 0u);
  EXPECT_EQ(crossed(149, 0, true), 1u);
  EXPECT_EQ(crossed(150, 0, true), 0u);
  EXPECT_EQ(crossed(500, 901, false), 1u);
  // A signal that nobody can observe crosses nothing.
  EXPECT_TRUE(Crossed(*parsed, {}, false).empty());
}

TEST(EvictionThresholds, FileSystemsWithoutInodeCounts) {
  NodeUse use;
  use.node_fs = FsUse{.capacity = 100, .available = 50, .inodes = 0, .inodes_free = 0};
  const auto seen = Observe(use);
  EXPECT_TRUE(seen.contains(Signal::kNodeFsAvailable));
  EXPECT_FALSE(seen.contains(Signal::kNodeFsInodesFree));
}

}  // namespace
}  // namespace skiff::kubelet
