#include "base/subprocess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/async_testing.h"
#include "base/files.h"

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
  const auto result =
      RunNow({.argv = {"sh", "-c", "sleep 100000 & sleep 100000"}, .timeout = std::chrono::milliseconds(50)});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
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

// A mounted file system whose server takes each request and answers none but the first: whoever asks it for something
// cannot even be killed until the connection is ended.
class DeadMount {
 public:
  DeadMount() {
    char name[] = "/tmp/skiff-dead-mount-XXXXXX";
    path_ = mkdtemp(name);
    fd_ = Fd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options = absl::StrCat("fd=", fd_.get(), ",rootmode=40000,user_id=0,group_id=0");
    mounted_ = fd_.valid() && mount("skiff", path_.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) == 0;
    if (mounted_) server_ = std::thread([this] { Serve(); });
  }
  ~DeadMount() {
    End();
    rmdir(path_.c_str());
  }
  void End() {
    if (!mounted_) return;
    umount2(path_.c_str(), MNT_FORCE);  // ends the connection: the server reads ENODEV
    server_.join();
    umount2(path_.c_str(), MNT_DETACH);
    mounted_ = false;
  }
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }

 private:
  void Serve() {
    std::array<char, FUSE_MIN_READ_BUFFER> request;
    if (read(fd_.get(), request.data(), request.size()) <= 0) return;
    fuse_in_header asked;
    std::memcpy(&asked, request.data(), sizeof asked);
    struct {
      fuse_out_header header;
      fuse_init_out init;
    } answer{};
    answer.header = {sizeof answer, 0, asked.unique};
    answer.init.major = FUSE_KERNEL_VERSION;
    answer.init.minor = FUSE_KERNEL_MINOR_VERSION;
    if (write(fd_.get(), &answer, sizeof answer) < 0) return;
    while (read(fd_.get(), request.data(), request.size()) > 0 || errno == EINTR || errno == ENOENT) {
    }
  }
  std::string path_;
  Fd fd_;
  bool mounted_ = false;
  std::thread server_;
};

TEST(Subprocess, AChildThatCannotBeKilledDoesNotHoldTheLoop) {
  DeadMount mount;
  if (!mount.mounted()) GTEST_SKIP() << "needs root and FUSE";
  asio::io_context loop;
  const auto result = RunTask(loop, RunCommand({.argv = {"ls", mount.path()}, .timeout = std::chrono::seconds(3)}));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), 0) << "it is still there";
  mount.End();
  loop.restart();
  loop.run_for(std::chrono::seconds(20));
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "and reaped once it can end";
}

TEST(Subprocess, AChildThatLeavesTheOutputOpenDoesNotHoldUs) {
  const auto result = RunNow({.argv = {"sh", "-c", "sleep 100000 & echo $!; exit 0"}});
  ASSERT_TRUE(result.ok());
  int sleeper = 0;
  ASSERT_TRUE(absl::SimpleAtoi(absl::StripAsciiWhitespace(result->out), &sleeper)) << result->out;
  kill(sleeper, SIGKILL);
}

}  // namespace
}  // namespace skiff
