#include "base/sd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/files.h"

namespace skiff {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

class SdNotifyTest : public testing::Test {
 protected:
  void SetUp() override { Forget(); }
  void TearDown() override { Forget(); }
  static void Forget() {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
  }
  // `name` as in NOTIFY_SOCKET.
  void Listen(const std::string& name) {
    socket_ = Fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = 0;
    ASSERT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())),
              0);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  std::string Heard() {
    char text[64];
    const ssize_t n = recv(socket_.get(), text, sizeof text, 0);
    return n < 0 ? "" : std::string(text, static_cast<size_t>(n));
  }
  Fd socket_;
};

TEST_F(SdNotifyTest, GoesToTheSocketThatSystemdNames) {
  EXPECT_FALSE(*SdNotify("READY=1")) << "nobody asked";
  Listen(absl::StrCat("@skiff-test-", getpid()));
  EXPECT_TRUE(*SdNotify("READY=1"));
  EXPECT_EQ(Heard(), "READY=1");
  const std::string path = absl::StrCat("/tmp/skiff-sd-", getpid());
  Listen(path);
  EXPECT_TRUE(*SdNotify("STOPPING=1"));
  EXPECT_EQ(Heard(), "STOPPING=1");
  unlink(path.c_str());
  EXPECT_FALSE(SdNotify("READY=1").ok()) << "nobody is there";
}

TEST_F(SdNotifyTest, WhetherSystemdWatches) {
  EXPECT_EQ(*SdWatchdogTimeout(), microseconds(0));
  setenv("WATCHDOG_USEC", "30000000", 1);
  EXPECT_EQ(*SdWatchdogTimeout(), seconds(30));
  setenv("WATCHDOG_PID", absl::StrCat(getpid()).c_str(), 1);
  EXPECT_EQ(*SdWatchdogTimeout(), seconds(30));
  setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(*SdWatchdogTimeout(), microseconds(0)) << "meant for another";
  setenv("WATCHDOG_USEC", "-1", 1);
  EXPECT_EQ(SdWatchdogTimeout().status().message(), "error WATCHDOG_USEC must be a positive number");
  setenv("WATCHDOG_USEC", "soon", 1);
  EXPECT_EQ(SdWatchdogTimeout().status().message(),
            "error converting WATCHDOG_USEC: strconv.Atoi: parsing \"soon\": invalid syntax");
}

TEST_F(SdNotifyTest, TheWatchdogIsFedWhileAllIsWell) {
  Listen(absl::StrCat("@skiff-test-dog-", getpid()));
  asio::io_context loop;
  FakeClock clock;
  std::string unhealthy;
  TaskGroup group(loop.get_executor());
  group.Spawn("watchdog", FeedSdWatchdog(
                              seconds(15), [&] { return unhealthy; }, clock));
  clock.Advance(seconds(0), loop);
  EXPECT_EQ(Heard(), "WATCHDOG=1");
  clock.Advance(seconds(14), loop);
  EXPECT_EQ(Heard(), "");
  clock.Advance(seconds(1), loop);
  EXPECT_EQ(Heard(), "WATCHDOG=1");
  unhealthy = "checker syncloop failed: sync Loop took longer than expected";
  clock.Advance(seconds(15), loop);
  EXPECT_EQ(Heard(), "");
  unhealthy.clear();
  clock.Advance(seconds(15), loop);
  EXPECT_EQ(Heard(), "WATCHDOG=1");
  group.Cancel();
  loop.restart();
  loop.poll();
  EXPECT_EQ(group.size(), 0u);
}

}  // namespace
}  // namespace skiff
