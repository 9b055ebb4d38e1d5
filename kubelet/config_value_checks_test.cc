#include "kubelet/config_value_checks.h"

#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

TEST(ConfigValueChecks, CpuLists) {
  EXPECT_EQ(CountCpus("0").value_or(-1), 1);
  EXPECT_EQ(CountCpus("0-3,2,8").value_or(-1), 5);
  for (const char* bad : {"a", "3-1", "1-", "-1", "0-99999999"}) EXPECT_FALSE(CountCpus(bad).ok()) << bad;
}

}  // namespace
}  // namespace skiff::kubelet
