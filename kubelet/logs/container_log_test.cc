#include "kubelet/logs/container_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/async_testing.h"
#include "base/heap_testing.h"
#include "kubelet/logs/cri_log_line.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

TEST(CriLogLineTest, GoodAndMalformed) {
  const auto line = ParseCriLogLine("2026-11-21T05:06:21.97996615Z stderr F err line\n");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->stream, "stderr");
  EXPECT_EQ(line->text, "err line\n");
  EXPECT_FALSE(line->partial);
  EXPECT_EQ(FixedTimestamp(*line), "2026-11-21T05:06:21.979966150Z");
  EXPECT_EQ(ParseCriLogLine("2026-11-21T05:06:21Z stdout P:x part\n")->text, "part");
  EXPECT_EQ(FixedTimestamp(*ParseCriLogLine("2026-11-21T05:06:21+02:00 stdout F x\n")),
            "2026-11-21T05:06:21.000000000+02:00");
  EXPECT_EQ(ParseCriLogLine("2026-11-21T05:06:21Z stdout F \n")->text, "\n");
  for (const char* bad : {"", "\n", "hello", "2026-11-21T05:06:21Z", "2026-11-21T05:06:21Z stdout", "x stdout F y\n",
                          "2026-11-21T05:06:21Z stdin F y\n", "2026-11-21T05:06:21Z stdout F"}) {
    EXPECT_FALSE(ParseCriLogLine(bad)) << bad;
  }
}

struct LogTest : testing::Test {
  TempDir dir;
  asio::io_context loop;
  FakeClock clock;
  std::string out;
  bool alive = true;
  std::string path = dir / "pod/c/0.log";

  LogTest() { MakeDirs(dir / "pod/c").IgnoreError(); }

  void Append(std::string_view text, const std::string& to = "") {
    const Fd fd(open((to.empty() ? path : to).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640));
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  Task<Status> Take(std::string_view text) {
    out += text;
    co_return absl::OkStatus();
  }
  Task<bool> Alive() { co_return alive; }
  Task<Status> Reading(LogOptions options, std::string from = "") {
    return ReadContainerLog(
        dir.path(), from.empty() ? path : from, options, [this](std::string_view text) { return Take(text); },
        [this] { return Alive(); }, clock);
  }
  std::string Read(LogOptions options = {}) {
    out.clear();
    const Status status = RunTask(loop, Reading(options));
    EXPECT_TRUE(status.ok()) << status;
    return out;
  }
  void WaitFor(const std::function<bool()>& done) {
    for (int i = 0; i < 10000 && !done(); ++i) {
      loop.run_for(2ms);
      loop.restart();
    }
    EXPECT_TRUE(done());
  }
};

constexpr char kThree[] =
    "2026-01-01T00:00:01.000000001Z stdout F one\n"
    "2026-01-01T00:00:02.000000002Z stderr P tw\n"
    "2026-01-01T00:00:02.500000002Z stderr F o\n"
    "broken line\n"
    "2026-01-01T00:00:03.000000003Z stdout F three\n";

TEST_F(LogTest, WholeTailSinceTimestampsLimit) {
  Append(kThree);
  EXPECT_EQ(Read(), "one\ntwo\nthree\n");
  EXPECT_EQ(Read({.tail_lines = 1}), "three\n");
  EXPECT_EQ(Read({.tail_lines = 0}), "");
  EXPECT_EQ(Read({.tail_lines = 100}), "one\ntwo\nthree\n");
  EXPECT_EQ(Read({.timestamps = true}),
            "2026-01-01T00:00:01.000000001Z one\n2026-01-01T00:00:02.000000002Z two\n2026-01-01T00:00:03.000000003Z "
            "three\n");
  EXPECT_EQ(Read({.limit_bytes = 6}), "one\ntw");
  EXPECT_EQ(Read({.since = std::chrono::system_clock::from_time_t(1767225603)}), "three\n");
}

TEST_F(LogTest, TailAcrossChunksAndUnendedLine) {
  std::string line(10000, 'x');
  for (int i = 0; i < 50; ++i) Append(absl::StrCat("2026-01-01T00:00:01Z stdout F ", i, line, "\n"));
  EXPECT_EQ(Read({.tail_lines = 20}).substr(0, 3), "30x");
  Append("2026-01-01T00:00:01Z stdout F end");
  EXPECT_EQ(Read({.tail_lines = 1}), "end");
}

TEST_F(LogTest, ALineWithoutEndCostsNoMemory) {
  Append("2026-01-01T00:00:01Z stdout F a\n");
  for (int i = 0; i < 20; ++i) Append(std::string(100000, 'x'));
  Append("\n2026-01-01T00:00:01Z stdout F b\n");
  EXPECT_EQ(Read(), "a\nb\n");
}

Task<void> Keep(Task<Status> task, std::optional<Status>* out) { *out = co_await std::move(task); }

TEST_F(LogTest, ROOT_FollowsAcrossRotationUntilTheContainerEnds) {
  Append(kThree);
  std::optional<Status> result;
  TaskGroup group(loop.get_executor());
  group.Spawn("follow", Keep(Reading({.follow = true, .tail_lines = 1}), &result));
  WaitFor([&] { return out == "three\n"; });
  Append("2026-01-01T00:00:04Z stdout F four\n");
  WaitFor([&] { return out == "three\nfour\n"; });
  ASSERT_EQ(rename(path.c_str(), (dir / "pod/c/0.log.20260101").c_str()), 0);
  Append("2026-01-01T00:00:05Z stdout F late\n", dir / "pod/c/0.log.20260101");
  Append("2026-01-01T00:00:06Z stdout F fresh\n");
  WaitFor([&] { return out == "three\nfour\nlate\nfresh\n"; });
  alive = false;
  Append("2026-01-01T00:00:07Z stdout F last\n");
  WaitFor([&] { return result.has_value(); });
  EXPECT_TRUE(result->ok());
  EXPECT_EQ(out, "three\nfour\nlate\nfresh\nlast\n");
}

TEST_F(LogTest, FollowingEndsSoonAfterTheContainerThoughNothingIsWritten) {
  Append(kThree);
  std::optional<Status> result;
  TaskGroup group(loop.get_executor());
  group.Spawn("follow", Keep(Reading({.follow = true}), &result));
  WaitFor([&] { return out == "one\ntwo\nthree\n"; });
  alive = false;
  WaitFor([&] { return clock.sleepers() > 0; });
  clock.Advance(1s, loop);
  WaitFor([&] { return result.has_value(); });
}

TEST_F(LogTest, CancelledFollowersLeave) {
  Append(kThree);
  std::optional<Status> result;
  TaskGroup group(loop.get_executor());
  group.Spawn("follow", Keep(Reading({.follow = true}), &result));
  WaitFor([&] { return out == "one\ntwo\nthree\n"; });
  group.Cancel();
  WaitFor([&] { return result.has_value(); });
  EXPECT_TRUE(absl::IsCancelled(*result));
}

// Security row log-symlink: a link in a pod's log directory never leads to a file outside it.
TEST_F(LogTest, log_symlink) {
  ASSERT_TRUE(WriteFileAtomic(dir / "secret", "2026-01-01T00:00:01Z stdout F secret\n").ok());
  ASSERT_TRUE(MakeDirs(dir / "logs/pod/c").ok());
  ASSERT_EQ(symlink((dir / "secret").c_str(), (dir / "logs/pod/c/0.log").c_str()), 0);
  ASSERT_EQ(symlink(dir.path().c_str(), (dir / "logs/pod/d").c_str()), 0);
  for (const char* name : {"logs/pod/c/0.log", "logs/pod/d/secret", "logs/../secret", "secret"}) {
    out.clear();
    const Status status =
        RunTask(loop, ReadContainerLog(
                          dir / "logs", dir / name, {}, [this](std::string_view text) { return Take(text); },
                          [this] { return Alive(); }, clock));
    EXPECT_FALSE(status.ok()) << name;
    EXPECT_EQ(out, "");
  }
  ASSERT_EQ(mkfifo((dir / "logs/pod/pipe").c_str(), 0600), 0);
  EXPECT_FALSE(
      RunTask(loop, ReadContainerLog(
                        dir / "logs", dir / "logs/pod/pipe", {}, [this](std::string_view text) { return Take(text); },
                        [this] { return Alive(); }, clock))
          .ok());
  EXPECT_EQ(ReadTerminationMessage(dir / "absent", true, dir / "logs", dir / "logs/pod/c/0.log").find("secret\n"),
            std::string::npos);
}

// Security row termination-message-size: what a container leaves behind costs bounded memory.
TEST_F(LogTest, termination_message_size) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "0123456789";
  ASSERT_TRUE(WriteFileAtomic(dir / "message", text).ok());
  const std::string message = ReadTerminationMessage(dir / "message", true, dir.path(), path);
  EXPECT_EQ(message.size(), 4096u);
  EXPECT_EQ(message, text.substr(text.size() - 4096));

  const Fd huge(open((dir / "huge").c_str(), O_WRONLY | O_CREAT, 0600));
  ASSERT_EQ(ftruncate(huge.get(), int64_t{1} << 40), 0);
  EXPECT_EQ(ReadTerminationMessage(dir / "huge", true, dir.path(), path).size(), 4096u);

  for (int i = 0; i < 3000; ++i) Append(absl::StrCat("2026-01-01T00:00:01Z stdout F ", std::string(60, 'a'), i, "\n"));
  const std::string tail = ReadTerminationMessage(dir / "absent", true, dir.path(), path);
  EXPECT_EQ(tail.size(), 2048u);
  EXPECT_TRUE(absl::EndsWith(tail, "a2999\n"));
  EXPECT_EQ(ReadTerminationMessage(dir / "absent", false, dir.path(), path), "");
}

// .. and so does a log: a line that does not end is not kept, and its tail is looked for from the end.
TEST_F(LogTest, termination_message_size_OfALog) {
  Append("2026-01-01T00:00:01Z stdout F first\n");
  const Fd huge(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_EQ(ftruncate(huge.get(), 64 << 20), 0);
  Append("\n2026-01-01T00:00:02Z stdout F last\n");
  const auto peak = [] {
    for (absl::string_view line : absl::StrSplit(*ReadFile("/proc/self/status"), '\n')) {
      int64_t kib = 0;
      if (absl::ConsumePrefix(&line, "VmHWM:") && absl::ConsumeSuffix(&line, " kB") && absl::SimpleAtoi(line, &kib)) {
        return kib;
      }
    }
    return int64_t{-1};
  };
  const int64_t before = peak();
  EXPECT_EQ(ReadTerminationMessage(dir / "absent", true, dir.path(), path), "last\n");
  EXPECT_EQ(Read(), "first\nlast\n");
  LogOptions tail;
  tail.tail_lines = 1;
  EXPECT_EQ(Read(tail), "last\n");
  if (!kForeignHeap) EXPECT_LT(peak(), before + (16 << 10));
}

TEST_F(LogTest, TerminationMessageFallsBackToTheLastLines) {
  ASSERT_TRUE(WriteFileAtomic(dir / "empty", "").ok());
  Append("2026-01-01T00:00:01Z stdout F line one\n2026-01-01T00:00:01Z stderr F line two\n");
  EXPECT_EQ(ReadTerminationMessage(dir / "empty", true, dir.path(), path), "line one\nline two\n");
}

}  // namespace
}  // namespace skiff::kubelet
