#include "kubelet/work_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "api/time.h"
#include "base/files.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing_pods::MakePod;

class WorkMetricsTest : public testing::Test {
 protected:
  WorkMetricsTest() { EnableWorkMetrics(registry_); }
  ~WorkMetricsTest() override { DisableWorkMetrics(); }
  metrics::Registry registry_;
};

// Names, help texts, types and buckets are the recorded ones.
TEST_F(WorkMetricsTest, AsRecorded) {
  Pod pod = MakePod({"c"}, {"init"});
  CountSandboxStart();
  CountSandboxStartError();
  ObserveSandbox("", false, milliseconds(20));
  CountContainerStart(pod, "c");
  CountContainerStart(pod, "init");
  CountContainerStartError(pod, "c", "ErrImagePull");
  ObservePodWorker("create", milliseconds(30));
  ObservePodWorkerStart(milliseconds(1));
  ObservePodStart(seconds(7));
  ObserveCgroupOperation("create", milliseconds(1));
  ObserveStorageOperation("kubernetes.io/secret", "volume_mount", false, milliseconds(200));
  const std::string text = registry_.Expose();
  for (const char* line :
       {"kubelet_started_pods_total 1\n", "kubelet_started_pods_errors_total 1\n",
        "kubelet_run_podsandbox_duration_seconds_bucket{runtime_handler=\"\",le=\"0.025\"} 1\n",
        "kubelet_run_podsandbox_errors_total{runtime_handler=\"\"} 1\n",
        "kubelet_started_containers_total{container_type=\"container\"} 1\n",
        "kubelet_started_containers_total{container_type=\"init_container\"} 1\n",
        "kubelet_started_containers_errors_total{code=\"ErrImagePull\",container_type=\"container\"} 1\n",
        "kubelet_pod_worker_duration_seconds_bucket{operation_type=\"create\",le=\"0.05\"} 1\n",
        "kubelet_pod_start_duration_seconds_bucket{le=\"6\"} 0\n",
        "kubelet_pod_start_duration_seconds_bucket{le=\"8\"} 1\n",
        "storage_operation_duration_seconds_bucket{migrated=\"false\",operation_name=\"volume_mount\",status=\"fail-"
        "unknown\",volume_plugin=\"kubernetes.io/secret\",le=\"0.25\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  const auto recorded = ReadFile("../shared/goldens/kubelet/11-endpoints/metrics.txt");
  if (!recorded.ok()) GTEST_SKIP() << "no recordings here: " << recorded.status();
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (line[0] == '#') {
      EXPECT_THAT(*recorded, HasSubstr(absl::StrCat(line, "\n")));
    } else if (line.find("_bucket{le=") != line.npos) {
      EXPECT_THAT(*recorded, HasSubstr(std::string(line.substr(0, line.rfind(' ') + 1))));
    }
  }
}

TEST_F(WorkMetricsTest, StartsOfPodsAsTheWatchShowsThem) {
  const WallTime created = std::chrono::system_clock::from_time_t(1700000000);
  Pod pod = MakePod({"c"});
  *pod.mutable_metadata()->mutable_creationtimestamp() = api::ToTime(created);
  pod.clear_status();
  pod.mutable_spec()->clear_volumes();
  SeePod(pod, created + seconds(1));
  const std::string& uid = pod.metadata().uid();
  const SteadyTime begin{};
  PullBegan(uid, begin);
  PullBegan(uid, begin + seconds(1));
  PullEnded(uid, begin + seconds(2));
  PullEnded(uid, begin + seconds(3));
  pod.mutable_status()->set_phase("Running");
  *pod.mutable_status()->mutable_starttime() = api::ToTime(created + seconds(1));
  auto* init = pod.mutable_status()->add_initcontainerstatuses()->mutable_state()->mutable_terminated();
  *init->mutable_startedat() = api::ToTime(created + seconds(4));
  *init->mutable_finishedat() = api::ToTime(created + seconds(6));
  auto* running = pod.mutable_status()->add_containerstatuses()->mutable_state();
  running->mutable_waiting()->set_reason("ContainerCreating");
  SeePod(pod, created + seconds(6));
  EXPECT_THAT(registry_.Expose(), HasSubstr("kubelet_pod_start_sli_duration_seconds_count 0\n"));
  *running->mutable_running()->mutable_startedat() = api::ToTime(created + seconds(7));
  running->clear_waiting();
  SeePod(pod, created + seconds(7));
  SeePod(pod, created + seconds(9));
  EXPECT_THAT(registry_.Expose(), HasSubstr("kubelet_pod_start_sli_duration_seconds_sum 2\n"));
  EXPECT_THAT(registry_.Expose(), HasSubstr("kubelet_pod_start_total_duration_seconds_sum 7\n"));
  EXPECT_THAT(registry_.Expose(), HasSubstr("kubelet_pod_start_total_duration_seconds_count 1\n"));
}

TEST(WorkMetrics, NothingBeforeTheyAreEnabled) {
  CountSandboxStart();
  SeePod(MakePod({"c"}), WallTime{});
  ForgetPod("u-1");
}

}  // namespace
}  // namespace skiff::kubelet
