#include "kubelet/eviction/ranking.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/eviction/eviction_testing.h"

namespace skiff::kubelet {
namespace {

using ::testing::ElementsAre;
using testing_eviction::kMi;
using testing_eviction::NamedPod;
using testing_eviction::UseOf;
using Signal = EvictionSignal;

std::vector<std::string> Ranked(Signal signal, const NodeUse& use, std::vector<PodPtr> pods) {
  RankForEviction(signal, use, &pods);
  std::vector<std::string> names;
  for (const auto& pod : pods) names.push_back(pod->metadata().name());
  return names;
}

TEST(EvictionRanking, Memory) {
  NodeUse use;
  std::vector<PodPtr> pods = {NamedPod("within", 0, "100Mi"), NamedPod("over-important", 10, "10Mi"),
                              NamedPod("over-a-little", 0, "10Mi"), NamedPod("over-a-lot", 0, "10Mi"),
                              NamedPod("unseen", 100, "1Gi")};
  use.by_pod["within"] = UseOf(90 * kMi);
  use.by_pod["over-important"] = UseOf(500 * kMi);
  use.by_pod["over-a-little"] = UseOf(11 * kMi);
  use.by_pod["over-a-lot"] = UseOf(50 * kMi);
  EXPECT_THAT(Ranked(Signal::kMemoryAvailable, use, pods),
              ElementsAre("unseen", "over-a-lot", "over-a-little", "over-important", "within"));
}

TEST(EvictionRanking, ProcessIds) {
  NodeUse use;
  std::vector<PodPtr> pods = {NamedPod("few"), NamedPod("many"), NamedPod("most-important", 5)};
  use.by_pod["few"] = UseOf(0);
  use.by_pod["many"] = UseOf(0);
  use.by_pod["many"].processes = 100;
  use.by_pod["most-important"] = UseOf(0);
  use.by_pod["most-important"].processes = 1000;
  EXPECT_THAT(Ranked(Signal::kPidAvailable, use, pods), ElementsAre("many", "few", "most-important"));
}

TEST(EvictionRanking, DiskCountsWhatLiesOnIt) {
  NodeUse use;
  std::vector<PodPtr> pods = {NamedPod("logs"), NamedPod("layer"), NamedPod("volume")};
  auto with_volume = std::make_shared<Pod>(*pods[2]);
  with_volume->mutable_spec()->add_volumes()->set_name("v");
  with_volume->mutable_spec()->mutable_volumes(0)->mutable_volumesource()->mutable_emptydir();
  pods[2] = with_volume;
  use.by_pod["logs"] = UseOf(0, 0, 5 * kMi);
  use.by_pod["layer"] = UseOf(0, 9 * kMi, 0);
  use.by_pod["volume"] = UseOf(0);
  use.by_pod["volume"].volumes["v"] = {7 * kMi, 3};
  EXPECT_THAT(Ranked(Signal::kNodeFsAvailable, use, pods), ElementsAre("layer", "volume", "logs"));
  use.dedicated_image_fs = true;
  EXPECT_THAT(Ranked(Signal::kNodeFsAvailable, use, pods), ElementsAre("volume", "logs", "layer"));
  EXPECT_EQ(Ranked(Signal::kImageFsAvailable, use, pods).front(), "layer");
  EXPECT_EQ(Ranked(Signal::kContainerFsAvailable, use, pods).front(), "layer");
}

TEST(EvictionReport, UpstreamsWords) {
  NodeUse use;
  auto pod = NamedPod("p", 0, "10Mi");
  use.by_pod["p"] = UseOf(50 * kMi);
  auto thresholds = ParseThresholds({.hard = {{"memory.available", "100Mi"}}});
  EvictionObservations seen = {
      {Signal::kMemoryAvailable, {api::Quantity::Bytes(80 * kMi), api::Quantity::Bytes(1024 * kMi)}}};
  auto report = DescribeEviction("memory", *pod, use, *thresholds, seen);
  EXPECT_EQ(report.message,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. Container c was using "
            "50Mi, request is 10Mi, has larger consumption of memory. ");
  EXPECT_EQ(report.annotations["starved_resource"], "memory");
  EXPECT_EQ(report.annotations["offending_containers"], "c");
  EXPECT_EQ(report.annotations["offending_containers_usage"], "50Mi");

  use.by_pod["p"] = UseOf(0, 3 * kMi, 1 * kMi);
  report = DescribeEviction("ephemeral-storage", *pod, use, {}, {});
  EXPECT_EQ(report.message,
            "The node was low on resource: ephemeral-storage. Container c was using 4Mi, request is 0, has larger "
            "consumption of ephemeral-storage. ");
  (*pod->mutable_spec()->mutable_resources()->mutable_requests())["memory"] = api::Quantity::Of("20Mi").ToProto();
  use.by_pod["p"] = UseOf(30 * kMi);
  report = DescribeEviction("memory", *pod, use, {}, {});
  EXPECT_EQ(report.message,
            "The node was low on resource: memory. Pod p was using 30Mi, request is 20Mi, has larger consumption of "
            "memory. Container c was using 30Mi, request is 10Mi, has larger consumption of memory. ");
}

TEST(LocalStorage, LimitsOfVolumesPodsAndContainers) {
  auto pod = NamedPod("p");
  EXPECT_FALSE(HasLocalStorageLimits(*pod));
  auto* volume = pod->mutable_spec()->add_volumes();
  volume->set_name("m");
  *volume->mutable_volumesource()->mutable_emptydir()->mutable_sizelimit() = api::Quantity::Of("1Mi").ToProto();
  EXPECT_TRUE(HasLocalStorageLimits(*pod));
  PodUse use = UseOf(0, 5 * kMi);
  use.volumes["m"] = {kMi, 1};
  EXPECT_FALSE(FindLocalStorageExcess(*pod, use, false));
  use.volumes["m"].bytes += 1;
  auto excess = FindLocalStorageExcess(*pod, use, false);
  ASSERT_TRUE(excess);
  EXPECT_EQ(excess->message, "Usage of EmptyDir volume \"m\" exceeds the limit \"1Mi\". ");
  EXPECT_EQ(excess->signal, "emptydirfs.limit");

  use.volumes.clear();
  auto* limits = pod->mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_limits();
  (*limits)["ephemeral-storage"] = api::Quantity::Of("4Mi").ToProto();
  excess = FindLocalStorageExcess(*pod, use, false);
  ASSERT_TRUE(excess);
  EXPECT_EQ(excess->message, "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ");

  // A second container with room to spare hides the first one's excess from the sum.
  auto* other = pod->mutable_spec()->add_containers();
  other->set_name("d");
  (*other->mutable_resources()->mutable_limits())["ephemeral-storage"] = api::Quantity::Of("1Gi").ToProto();
  excess = FindLocalStorageExcess(*pod, use, false);
  ASSERT_TRUE(excess);
  EXPECT_EQ(excess->message, "Container c exceeded its local ephemeral storage limit \"4Mi\". ");
  EXPECT_EQ(excess->signal, "ephemeralcontainerfs.limit");
  // On a file system of its own the writable layer is not the node's.
  EXPECT_FALSE(FindLocalStorageExcess(*pod, use, true));
}

}  // namespace

}  // namespace skiff::kubelet
