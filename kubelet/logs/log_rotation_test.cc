#include "kubelet/logs/log_rotation.h"

#include <zlib.h>

#include <stdexcept>

#include "base/async_testing.h"
#include "base/blocking_testing.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

std::string Gunzip(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  std::string out(1 << 16, '\0');
  const int n = gzread(file, out.data(), static_cast<unsigned>(out.size()));
  gzclose(file);
  return out.substr(0, static_cast<size_t>(std::max(n, 0)));
}

struct LogRotationTest : testing::Test {
  TempDir dir;
  asio::io_context loop;
  FakeClock clock;
  std::string path = dir / "pod/c/0.log";
  std::vector<std::string> reopened;
  Status reopen_result;

  LogRotationTest() {
    setenv("TZ", "UTC", 1);
    MakeDirs(dir / "pod/c").IgnoreError();
  }
  Task<Status> Reopen(std::string id) {
    reopened.push_back(id);
    if (reopen_result.ok()) (void)WriteFileAtomic(path, "");
    co_return reopen_result;
  }
  Status Once() {
    LogRotationOptions options;
    options.logs_dir = dir.path();
    options.max_size = 10;
    options.max_files = 4;
    LogRotator rotator(
        options,
        [this] {
          return std::vector<LogRotator::Log>{{"id", path}};
        },
        [this](std::string id) { return Reopen(std::move(id)); }, clock);
    return RunTask(loop, rotator.Once());
  }
  std::vector<std::string> Files() { return *ListDir(dir / "pod/c"); }
};

TEST_F(LogRotationTest, SmallLogsStay) {
  ASSERT_TRUE(WriteFileAtomic(path, "small").ok());
  EXPECT_TRUE(Once().ok());
  EXPECT_TRUE(reopened.empty());
}

TEST_F(LogRotationTest, FullLogsAreRenamedOlderOnesCompressedTheOldestRemoved) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(WriteFileAtomic(path, absl::StrCat("long enough ", i)).ok());
    ASSERT_TRUE(Once().ok());
    clock.Advance(std::chrono::seconds(1), loop);
  }
  EXPECT_EQ(reopened.size(), 5u);
  EXPECT_EQ(Files(), (std::vector<std::string>{"0.log", "0.log.20260101-000002.gz", "0.log.20260101-000003.gz",
                                               "0.log.20260101-000004"}));
  EXPECT_EQ(Gunzip(dir / "pod/c/0.log.20260101-000002.gz"), "long enough 2");
  EXPECT_EQ(*ReadFile(dir / "pod/c/0.log.20260101-000004"), "long enough 4");
}

TEST_F(LogRotationTest, LeftoversOfACrashGo) {
  ASSERT_TRUE(WriteFileAtomic(path, "long enough").ok());
  ASSERT_TRUE(WriteFileAtomic(path + ".20250101-000000", "x").ok());
  ASSERT_TRUE(WriteFileAtomic(path + ".20250101-000000.gz", "x").ok());
  ASSERT_TRUE(WriteFileAtomic(path + ".20250101-000001.tmp", "x").ok());
  ASSERT_TRUE(Once().ok());
  EXPECT_EQ(Files(), (std::vector<std::string>{"0.log", "0.log.20250101-000000.gz", "0.log.20260101-000000"}));
}

// security.md: agent-kill. As upstream: the runtime is told again.
TEST_F(LogRotationTest, AgentKill_ALogThatWasRenamedAndNotReopenedIsReopened) {
  ASSERT_TRUE(WriteFileAtomic(path + ".20250101-000000", "the container still writes here").ok());
  reopen_result = Unavailable("no runtime");
  EXPECT_EQ(Once().message(), "failed to reopen container log id: no runtime");
  reopen_result = absl::OkStatus();
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(reopened, (std::vector<std::string>{"id", "id"}));
  EXPECT_EQ(Files(), (std::vector<std::string>{"0.log", "0.log.20250101-000000"}));
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(reopened.size(), 2u);
}

TEST_F(LogRotationTest, ARuntimeThatDoesNotReopenGetsItsLogBack) {
  ASSERT_TRUE(WriteFileAtomic(path, "long enough").ok());
  reopen_result = Unavailable("no runtime");
  EXPECT_EQ(Once().message(), "failed to reopen container log id: no runtime");
  EXPECT_EQ(*ReadFile(path), "long enough");
  EXPECT_EQ(Files().size(), 1u);
}

// containerLogMaxWorkers at once, as upstream: one whose runtime does not answer holds up no other, and is not begun
// again meanwhile.
TEST_F(LogRotationTest, OneThatHangsHoldsUpNoOther) {
  std::vector<LogRotator::Log> logs;
  auto full = [&](const std::string& id) {
    const std::string at = dir / absl::StrCat("pod/c/", id, ".log");
    ASSERT_TRUE(WriteFileAtomic(at, "long enough").ok());
    if (std::none_of(logs.begin(), logs.end(), [&](const auto& log) { return log.path == at; })) {
      logs.push_back({id, at});
    }
  };
  for (const char* id : {"hangs", "a", "b", "c"}) full(id);
  const BlockingOn own(loop.get_executor());
  Wakeup answer(loop.get_executor());
  LogRotationOptions options;
  options.logs_dir = dir.path();
  options.max_size = 10;
  options.max_workers = 2;
  struct Runtime {
    static Task<Status> Reopen(Wakeup& answer, std::vector<std::string>& reopened, std::string path, std::string id) {
      if (id == "hangs") (co_await answer.Wait()).IgnoreError();
      reopened.push_back(id);
      co_return WriteFileAtomic(path, "");
    }
    static Task<void> Run(LogRotator& rotator) { co_await rotator.Run(); }
  };
  LogRotator rotator(
      options, [&] { return logs; },
      [&](std::string id) { return Runtime::Reopen(answer, reopened, dir / absl::StrCat("pod/c/", id, ".log"), id); },
      clock);
  TaskGroup group(loop.get_executor());
  group.Spawn("rotator", Runtime::Run(rotator));
  clock.Advance(std::chrono::seconds(10), loop);
  EXPECT_EQ(reopened, (std::vector<std::string>{"a", "b", "c"}));
  full("b");
  clock.Advance(std::chrono::seconds(10), loop);
  EXPECT_EQ(reopened, (std::vector<std::string>{"a", "b", "c", "b"}));
  answer.Notify();
  clock.Advance(std::chrono::seconds(10), loop);
  EXPECT_EQ(reopened.back(), "hangs");
  EXPECT_EQ(reopened.size(), 5u) << "it was asked once";
  group.Cancel();
  clock.Advance(std::chrono::seconds(1), loop);
}

TEST_F(LogRotationTest, OneThatThrowsIsBegunAgainAndHoldsUpNoOther) {
  const std::string other = dir / "pod/c/1.log";
  LogRotationOptions options;
  options.logs_dir = dir.path();
  struct Runtime {
    static Task<Status> Reopen(std::vector<std::string>& reopened, std::string id) {
      reopened.push_back(id);
      if (reopened.size() == 1) throw std::runtime_error("a bug");
      co_return absl::OkStatus();
    }
  };
  LogRotator rotator(
      options,
      [&] {
        return std::vector<LogRotator::Log>{{"id", path}, {"other", other}};
      },
      [&](std::string id) { return Runtime::Reopen(reopened, std::move(id)); }, clock);
  EXPECT_EQ(RunTask(loop, rotator.Once()).message(), "a bug");
  EXPECT_EQ(reopened, (std::vector<std::string>{"id", "other"}));
  EXPECT_TRUE(RunTask(loop, rotator.Once()).ok());
  EXPECT_EQ(reopened, (std::vector<std::string>{"id", "other", "id", "other"}));
}

// Reliability row clock-jump: logs are rotated on, whatever the wall clock does, and what was kept is not overwritten.
TEST_F(LogRotationTest, clock_jump) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(WriteFileAtomic(path, absl::StrCat("long enough ", i)).ok());
    EXPECT_TRUE(Once().ok()) << i;
    clock.JumpWall(i == 0 ? std::chrono::hours(1) : std::chrono::hours(-2));
  }
  EXPECT_EQ(reopened.size(), 3u);
  EXPECT_EQ(Files().size(), 4u) << "the log and three before it";
}

// .. and the oldest is still the first to go.
TEST_F(LogRotationTest, clock_jump_OrderIsKept) {
  auto log = [&](int i) {
    ASSERT_TRUE(WriteFileAtomic(path, absl::StrCat("long enough ", i)).ok());
    ASSERT_TRUE(Once().ok());
    clock.Advance(std::chrono::minutes(1), loop);
  };
  for (int i = 0; i < 2; ++i) log(i);
  clock.JumpWall(std::chrono::hours(-1));
  for (int i = 2; i < 4; ++i) log(i);
  EXPECT_EQ(Files(), (std::vector<std::string>{"0.log", "0.log.20260101-000100.gz", "0.log.20260101-000101.gz",
                                               "0.log.20260101-000102"}));
  EXPECT_EQ(Gunzip(dir / "pod/c/0.log.20260101-000100.gz"), "long enough 1");
  EXPECT_EQ(*ReadFile(dir / "pod/c/0.log.20260101-000102"), "long enough 3");
  clock.JumpWall(std::chrono::hours(2));
  log(4);
  EXPECT_EQ(Files().back(), "0.log.20260101-010400") << "as the clock has it, where it goes on";
}

}  // namespace
}  // namespace skiff::kubelet
