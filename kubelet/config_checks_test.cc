#include "kubelet/config_checks.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

using ::testing::HasSubstr;

Status Apply(const std::string& text, Config* c) {
  auto parsed = ParseConfigFile("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n" + text, "f");
  if (!parsed.ok()) return parsed.status();
  return ApplyConfig(*parsed, c);
}

TEST(ConfigChecks, UpstreamsSentences) {
  struct Case {
    const char *text, *error;
  };
  for (const Case& c : {
           Case{"imageGCHighThresholdPercent: 101\n",
                "invalid configuration: imageGCHighThresholdPercent (--image-gc-high-threshold) 101 must be between 0 "
                "and 100, inclusive"},
           {"imageGCLowThresholdPercent: 85\n",
            "imageGCLowThresholdPercent (--image-gc-low-threshold) 85 must be less "
            "than imageGCHighThresholdPercent (--image-gc-high-threshold) 85"},
           {"imageMaximumGCAge: 1m\n", "imageMaximumGCAge 1m0s must be greater than imageMinimumGCAge 2m0s"},
           {"memorySwap: {swapBehavior: UnlimitedSwap}\n",
            "memorySwap.swapBehavior \"UnlimitedSwap\" must be one of: \"\", \"LimitedSwap\" or \"NoSwap\""},
           {"enforceNodeAllocatable: [pods, kube-reserved]\n",
            "kubeReservedCgroup (--kube-reserved-cgroup) must be specified when \"kube-reserved\" or "
            "\"kube-reserved-compressible\" included in enforceNodeAllocatable"},
           {"enforceNodeAllocatable: [pods, none]\n", "may not contain additional enforcements when \"none\""},
           {"enforceNodeAllocatable: [pods]\ncgroupsPerQOS: false\n",
            "cgroupsPerQOS (--cgroups-per-qos) must be set to true when \"pods\" contained in enforceNodeAllocatable"},
           {"reservedSystemCPUs: 0-x\n", "unable to parse reservedSystemCPUs (--reserved-cpus) 0-x, error: "},
           {"cpuManagerPolicy: static\n",
            "cpuManagerPolicy (--cpu-manager-policy) \"static\" is not supported by this kubelet, only \"none\" is"},
           {"memoryManagerPolicy: Static\n",
            "memoryManagerPolicy (--memory-manager-policy) \"Static\" is not supported"},
           {"topologyManagerPolicy: best-effort\n", "topologyManagerPolicy"},
           {"shutdownGracePeriod: 30s\n", "shutdownGracePeriod 30s is not supported by this kubelet"},
       }) {
    Config config;
    EXPECT_THAT(std::string(Apply(c.text, &config).message()), HasSubstr(c.error)) << c.text;
  }
}

TEST(ConfigChecks, ReservedCpusTakeThePlaceOfOthers) {
  Config config;
  ASSERT_TRUE(Apply("reservedSystemCPUs: 0-1,5\nkubeReserved: {cpu: 100m, memory: 1Gi}\n", &config).ok());
  EXPECT_EQ(config.system_reserved["cpu"], "3");
  EXPECT_FALSE(config.kube_reserved.contains("cpu"));
  EXPECT_EQ(config.kube_reserved["memory"], "1Gi");
}

TEST(ConfigChecks, EvictionDefaultsAreReplacedOrMerged) {
  Config config;
  ASSERT_TRUE(Apply("evictionHard: {memory.available: 1Gi}\n", &config).ok());
  EXPECT_EQ(config.eviction_hard.size(), 1u);
  Config merged;
  ASSERT_TRUE(Apply("evictionHard: {memory.available: 1Gi}\nmergeDefaultEvictionSettings: true\n", &merged).ok());
  EXPECT_EQ(merged.eviction_hard["memory.available"], "1Gi");
  EXPECT_EQ(merged.eviction_hard["nodefs.available"], "10%");
  EXPECT_EQ(merged.eviction_hard.size(), 5u);
}

TEST(ConfigChecks, CpuLists) {
  EXPECT_EQ(CountCpus("0").value_or(-1), 1);
  EXPECT_EQ(CountCpus("0-3,2,8").value_or(-1), 5);
  for (const char* bad : {"a", "3-1", "1-", "-1", "0-99999999"}) EXPECT_FALSE(CountCpus(bad).ok()) << bad;
}

}  // namespace
}  // namespace skiff::kubelet
