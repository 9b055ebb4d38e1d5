#include "kubelet/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/async_testing.h"
#include "gtest/gtest.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

TEST(LockFile, WaitsForTheHolderAndSeesWhoWantsIt) {
  TempDir dir;
  const std::string path = dir / "lock";
  asio::io_context loop;
  FakeClock clock;
  Fd holder(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(holder.get(), LOCK_EX), 0);

  std::optional<StatusOr<Fd>> taken;
  auto take = [](std::string at, Clock& by, std::optional<StatusOr<Fd>>& out) -> Task<void> {
    out = co_await AcquireLockFile(at, by);
  };
  Spawn(loop.get_executor(), "take", take(path, clock, taken));
  loop.poll();
  clock.Advance(std::chrono::seconds(1), loop);
  EXPECT_FALSE(taken.has_value());
  holder = Fd();
  clock.Advance(std::chrono::seconds(1), loop);
  ASSERT_TRUE(taken.has_value());
  ASSERT_TRUE(taken->ok()) << taken->status();

  std::optional<Status> wanted;
  auto watch = [](std::string at, std::optional<Status>& out) -> Task<void> { out = co_await AwaitLockContention(at); };
  Spawn(loop.get_executor(), "watch", watch(path, wanted));
  loop.restart();
  loop.poll();
  EXPECT_FALSE(wanted.has_value());
  const Fd other(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  loop.restart();
  loop.run();
  ASSERT_TRUE(wanted.has_value());
  EXPECT_TRUE(wanted->ok()) << *wanted;
}

TEST(LockFile, ErrorsNameTheFile) {
  asio::io_context loop;
  FakeClock clock;
  auto file = RunTask(loop, AcquireLockFile("/nowhere/lock", clock));
  EXPECT_EQ(file.status().message(), "unable to acquire file lock on \"/nowhere/lock\": No such file or directory");
}

}  // namespace
}  // namespace skiff::kubelet
