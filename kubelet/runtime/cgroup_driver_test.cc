#include "kubelet/runtime/cgroup_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "base/async_testing.h"
#include "base/log.h"
#include "cri/fake_runtime.h"

namespace skiff::kubelet {
namespace {

class CgroupDriverTest : public testing::Test {
 protected:
  CgroupDriverTest() {
    log::SetSink([](std::string_view) {});
  }
  ~CgroupDriverTest() override { log::SetSink(nullptr); }

  StatusOr<std::string> Ask() {
    std::optional<StatusOr<std::string>> out;
    auto keep = [](Task<StatusOr<std::string>> task, std::optional<StatusOr<std::string>>* out) -> Task<void> {
      *out = co_await std::move(task);
    };
    Spawn(loop.get_executor(), "ask", keep(CgroupDriver(runtime, clock, "cgroupfs", registry), &out));
    loop.restart();
    loop.poll();
    while (!out) clock.Advance(std::chrono::seconds(2), loop);
    return *out;
  }

  asio::io_context loop;
  FakeClock clock;
  metrics::Registry registry;
  cri::FakeRuntime runtime{clock};
};

TEST_F(CgroupDriverTest, IsTheRuntimes) {
  runtime.cgroup_driver = cri::v1::SYSTEMD;
  EXPECT_EQ(*Ask(), "systemd");
  runtime.cgroup_driver = cri::v1::CGROUPFS;
  EXPECT_EQ(*Ask(), "cgroupfs");
  EXPECT_FALSE(absl::StrContains(registry.Expose(), "kubelet_cri_losing_support"));
}

TEST_F(CgroupDriverTest, IsTheConfiguredOneWhereTheRuntimeIsOlder) {
  EXPECT_EQ(*Ask(), "cgroupfs");
  EXPECT_EQ(runtime.CountCalls("RuntimeConfig"), 1u);
  EXPECT_TRUE(absl::StrContains(registry.Expose(), "kubelet_cri_losing_support{version=\"1.37.0\"} 1"));
}

TEST_F(CgroupDriverTest, IsAskedForUntilTheRuntimeAnswers) {
  runtime.cgroup_driver = cri::v1::SYSTEMD;
  for (int i = 0; i < 12; ++i) runtime.failures["RuntimeConfig"].push_back(absl::UnavailableError("starting"));
  EXPECT_EQ(*Ask(), "systemd");
}

TEST_F(CgroupDriverTest, ThatNobodyKnowsIsAnError) {
  runtime.cgroup_driver = static_cast<cri::v1::CgroupDriver>(7);
  EXPECT_EQ(Ask().status().message(), "runtime returned an unknown cgroup driver 7");
}

}  // namespace
}  // namespace skiff::kubelet
