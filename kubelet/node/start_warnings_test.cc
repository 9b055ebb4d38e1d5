#include "kubelet/node/start_warnings.h"

#include <gtest/gtest.h>

namespace skiff::kubelet {
namespace {

std::string Reasons(const StartFacts& facts) {
  std::string out;
  for (const auto& [reason, message] : StartWarnings(facts)) out += reason + " ";
  return out;
}

TEST(StartWarnings, OfSwapAndCgroups) {
  EXPECT_EQ(Reasons({}), "");
  EXPECT_EQ(Reasons({.swap = true}), "");
  EXPECT_EQ(Reasons({.tmpfs_noswap = false}), "");
  EXPECT_EQ(Reasons({.cgroup_v2 = false}), "CgroupV1 ");
  EXPECT_EQ(Reasons({.cgroup_v2 = false, .swap = true, .tmpfs_noswap = false}),
            "PossibleMemoryBackedVolumesOnDisk CgroupV1 ");
}

}  // namespace
}  // namespace skiff::kubelet
