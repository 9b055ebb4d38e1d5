#include "kubelet/volume/ownership_progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

TEST(OwnershipProgressTest, LongWalksAreToldOf) {
  asio::io_context loop;
  FakeClock clock;
  std::vector<std::string> told;
  const auto progress = std::make_shared<OwnershipProgress>();
  TaskGroup group(loop.get_executor());
  group.Spawn("watch", TellOwnershipProgress(clock, progress, "/var/lib/kubelet/pods/u-1/volumes/p/pv", "u-1",
                                             [&](const std::string& text) { told.push_back(text); }));
  clock.Advance(30s, loop);
  EXPECT_TRUE(told.empty()) << "the path does not answer, nothing is walked";
  progress->walking = true;
  clock.Advance(30s, loop);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0], testing::StartsWith("Setting volume ownership for u-1/volumes/p/pv is taking longer than "
                                           "expected, consider using OnRootMismatch - https://kubernetes.io/docs/"));
  progress->files = 1234;
  clock.Advance(1min, loop);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1], "Setting volume ownership for u-1/volumes/p/pv, processed 1234 files.");
  group.Cancel();
  clock.Advance(1h, loop);
  EXPECT_EQ(told.size(), 2u);
}

TEST(OwnershipProgressTest, FilesAreCounted) {
  TempDir dir;
  ASSERT_TRUE(MakeDirs(dir / "v/sub").ok());
  ASSERT_TRUE(WriteFileAtomic(dir / "v/sub/file", "x").ok());
  OwnershipProgress progress;
  ASSERT_TRUE(SetVolumeOwnership(dir / "v", getegid(), false, &progress).ok());
  EXPECT_TRUE(progress.walking);
  EXPECT_EQ(progress.files, 3);
}

}  // namespace
}  // namespace skiff::kubelet
