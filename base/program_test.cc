#include "base/program.h"

#include <csignal>

#include <gtest/gtest.h>

#include "base/log.h"

namespace skiff {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

Task<Status> Return(Status status) { co_return status; }

Task<Status> UntilStopped(bool* cleaned) {
  std::raise(SIGTERM);
  const Status status = co_await SleepFor(hours(1));
  EXPECT_TRUE(absl::IsCancelled(status));
  co_await ClearCancellation();
  *cleaned = (co_await SleepFor(milliseconds(1))).ok();
  co_return status;
}

Task<Status> Stubborn() {
  std::raise(SIGINT);
  (void)co_await SleepFor(hours(1));
  co_await ClearCancellation();
  std::raise(SIGINT);
  (void)co_await SleepFor(hours(1));
  co_return absl::OkStatus();
}

Task<Status> Throw() {
  throw std::runtime_error("broken");
  co_return absl::OkStatus();
}

class ProgramTest : public testing::Test {
 protected:
  ProgramTest() {
    log::SetSink([](std::string_view) {});
  }
  ~ProgramTest() override { log::SetSink(nullptr); }
};

TEST_F(ProgramTest, ExitCodesFollowTheStatus) {
  EXPECT_EQ(RunProgram([](asio::io_context&) { return Return(absl::OkStatus()); }), 0);
  EXPECT_EQ(RunProgram([](asio::io_context&) { return Return(NotFound("config")); }), 1);
  EXPECT_EQ(RunProgram([](asio::io_context&) { return Return(absl::CancelledError("by itself")); }), 1);
  EXPECT_EQ(RunProgram([](asio::io_context&) { return Throw(); }), 1);
}

TEST_F(ProgramTest, SignalCancelsTheBodyWhichMayCleanUp) {
  bool cleaned = false;
  EXPECT_EQ(RunProgram([&](asio::io_context&) { return UntilStopped(&cleaned); }), 0);
  EXPECT_TRUE(cleaned);
}

TEST_F(ProgramTest, SecondSignalExitsAtOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(RunProgram([](asio::io_context&) { return Stubborn(); }), testing::ExitedWithCode(1), "");
}

TEST_F(ProgramTest, OtherCoroutinesOfTheLoopJustStop) {
  const auto alive = std::make_shared<int>(0);
  auto forever = [](std::shared_ptr<int> n) -> Task<void> {
    while ((co_await SleepFor(milliseconds(1))).ok()) ++*n;
  };
  EXPECT_EQ(RunProgram([&](asio::io_context& loop) {
              Spawn(loop.get_executor(), "forever", forever(alive));
              return Return(absl::OkStatus());
            }),
            0);
}

}  // namespace
}  // namespace skiff
