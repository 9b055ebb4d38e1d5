#include "base/subprocess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/async_testing.h"

namespace skiff {
namespace {

StatusOr<CommandResult> RunNow(Command command) {
  asio::io_context loop;
  return RunTask(loop, RunCommand(std::move(command)));
}

TEST(Subprocess, OutputAndExitCode) {
  const auto result = RunNow({.argv = {"sh", "-c", "echo out; echo err >&2; exit 3"}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->out, "out\n");
  EXPECT_EQ(result->err, "err\n");
}

TEST(Subprocess, InputAndEnvironment) {
  const std::string input(300000, 'x');
  const auto result =
      RunNow({.argv = {"sh", "-c", "cat; printf %s \"$A\""}, .env = {"A=b", "PATH=/usr/bin:/bin"}, .input = input});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, input + "b");
}

TEST(Subprocess, InputThatNobodyReads) {
  const auto before = std::signal(SIGPIPE, SIG_DFL);  // which would end this test
  const auto result = RunNow({.argv = {"true"}, .input = std::string(300000, 'x')});
  std::signal(SIGPIPE, before);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 0);
}

TEST(Subprocess, OutputLimit) {
  const auto result = RunNow({.argv = {"sh", "-c", "head -c 100000 /dev/zero"}, .output_limit = 10});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out.size(), 10u);
  EXPECT_EQ(result->exit_code, 0);
}

TEST(Subprocess, Signal) {
  const auto result = RunNow({.argv = {"sh", "-c", "kill -TERM $$"}});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_code, 128 + 15);
}

TEST(Subprocess, NotFound) {
  const auto result = RunNow({.argv = {"no-such-program-anywhere"}});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(RunNow({}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Subprocess, TimeoutKillsTheGroup) {
  const auto start = std::chrono::steady_clock::now();
  const auto result = RunNow({.argv = {"sh", "-c", "sleep 100 & sleep 100"}, .timeout = std::chrono::milliseconds(50)});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Subprocess, CancellationKills) {
  asio::io_context loop;
  StatusOr<CommandResult> result = absl::UnknownError("not run");
  const auto body = [](StatusOr<CommandResult>* out) -> Task<void> {
    *out = co_await RunCommand({.argv = {"sleep", "100"}});
  };
  {
    TaskGroup group(loop.get_executor());
    group.Spawn("run", body(&result));
    loop.poll();
    group.Cancel();
    loop.restart();
    loop.run();
  }
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
}

TEST(Subprocess, AChildThatLeavesTheOutputOpenDoesNotHoldUs) {
  const auto start = std::chrono::steady_clock::now();
  const auto result = RunNow({.argv = {"sh", "-c", "echo x; sleep 5 & exit 0"}});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->out, "x\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
}

}  // namespace
}  // namespace skiff
