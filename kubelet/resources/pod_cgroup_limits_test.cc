#include "kubelet/resources/pod_cgroup_limits.h"

#include "api/quantity.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/resources/cgroups.h"

namespace skiff::kubelet {
namespace {

using testing_pods::MakePod;

std::string Text(const ResourceList& list, const char* name) {
  auto it = list.find(name);
  return it == list.end() ? "" : api::Quantity::Of(it->second).ToString();
}

TEST(PodCgroupLimits, SharesBecomeMilliCpusRoundedUp) {
  EXPECT_EQ(SharesToMilliCpu(1), 0);
  EXPECT_EQ(SharesToMilliCpu(2), 2);
  EXPECT_EQ(SharesToMilliCpu(51), 50);
  EXPECT_EQ(SharesToMilliCpu(1024), 1000);
}

TEST(PodCgroupLimits, TinySharesOfAPodThatAsksForNothingAreNotShown) {
  const auto r = RunningPodResources(MakePod({"c"}), {}, {2, -1, 100000, std::nullopt});
  EXPECT_TRUE(r.requests().empty());
  EXPECT_TRUE(r.limits().empty());
}

TEST(PodCgroupLimits, LimitsAreTheKernels) {
  const auto r = RunningPodResources(MakePod({"c"}), {}, {204, 20000, 100000, 32 << 20});
  EXPECT_EQ(Text(r.requests(), "cpu"), "200m");
  EXPECT_EQ(Text(r.limits(), "cpu"), "200m");
  EXPECT_EQ(Text(r.limits(), "memory"), "32Mi");
}

TEST(PodCgroupLimits, WhatCannotBeReadStaysWhileThePodRuns) {
  core::PodStatus before;
  (*before.mutable_resources()->mutable_requests())["cpu"] = api::Quantity::Of("70m").ToProto();
  (*before.mutable_resources()->mutable_requests())["memory"] = api::Quantity::Of("8Mi").ToProto();
  (*before.mutable_resources()->mutable_limits())["memory"] = api::Quantity::Of("9Mi").ToProto();
  EXPECT_EQ(Text(RunningPodResources(MakePod({"c"}), before, {}).limits(), "memory"), "");
  before.set_phase("Running");
  const auto r = RunningPodResources(MakePod({"c"}), before, {});
  EXPECT_EQ(Text(r.requests(), "cpu"), "70m");
  EXPECT_EQ(Text(r.requests(), "memory"), "8Mi");
  EXPECT_EQ(Text(r.limits(), "memory"), "9Mi");
}

}  // namespace
}  // namespace skiff::kubelet
