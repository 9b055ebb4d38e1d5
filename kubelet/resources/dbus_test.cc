// The messages against an implementation that is not ours: a message bus of the test's own.
#include "kubelet/resources/dbus.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/resources/systemd_slices.h"

namespace skiff::kubelet {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Dbus, BytesOfACall) {
  DbusBody body;
  body.Add("a.slice").Add(true).Add({{"CPUWeight", uint64_t{39}}});
  const std::string bytes = MarshalCall({"", "/o", "i.f", "M", std::move(body)}, 7);
  EXPECT_EQ(absl::BytesToHexString(bytes),
            "6c01000138000000070000003d000000"  // little endian, a call; 56 bytes of body, serial 7, 61 of fields
            "01016f00020000002f6f000000000000"  // path /o
            "0201730003000000692e660000000000"  // interface i.f
            "03017300010000004d00000000000000"  // member M
            "08016700077362612873762900000000"  // signature sba(sv)
            "07000000612e736c69636500"          // "a.slice"
            "01000000"                          // true
            "2000000000000000"                  // 32 bytes of properties, from the next multiple of 8 on
            "0900000043505557656967687400"      // "CPUWeight"
            "01740000000000000000"              // a t, at the next multiple of 8
            "2700000000000000");
}

// Runs dbus-daemon on a socket of its own.
class BusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/usr/bin/dbus-daemon", X_OK) != 0) GTEST_SKIP() << "no dbus-daemon on this machine";
    char name[] = "/tmp/skiff-dbus-XXXXXX";
    dir_ = ::mkdtemp(name);
    socket_ = dir_ + "/bus";
    const std::string config = dir_ + "/bus.conf";
    FILE* f = ::fopen(config.c_str(), "w");
    ASSERT_NE(f, nullptr);
    ::fprintf(f,
              "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" "
              "\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><listen>unix:path=%s</listen>"
              "<auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>"
              "<allow eavesdrop=\"true\"/><allow own=\"*\"/>"
              "</policy></busconfig>",
              socket_.c_str());
    ::fclose(f);
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ready[0]);
      const std::string print = "--print-address=" + std::to_string(ready[1]);
      ::execl("/usr/bin/dbus-daemon", "dbus-daemon", ("--config-file=" + config).c_str(), "--nofork", print.c_str(),
              nullptr);
      ::_exit(127);
    }
    ::close(ready[1]);
    char byte;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1) << "dbus-daemon did not start";
    ::close(ready[0]);
  }
  void TearDown() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  std::string dir_, socket_;
  pid_t pid_ = -1;
};

TEST_F(BusTest, TheBusTakesWhatWeSay) {
  auto connection = DbusConnection::Connect(socket_, true, std::chrono::seconds(10));
  ASSERT_TRUE(connection.ok()) << connection.status();
  // The bus checks every message against its signature and hangs up on a malformed one: that it looks for the
  // destination and finds none means that the message is well-formed.
  DbusBody start;
  start.Add("kubepods.slice").Add("replace");
  DbusProperties properties = SlicePropertiesFor("kubepods-burstable.slice", "kubepods.slice", true);
  for (auto& p : ResourceProperties({.cpu_shares = 1024, .cpu_quota = 50000, .memory_limit = 1 << 20}, true)) {
    properties.push_back(p);
  }
  start.Add(properties).AddNoAuxiliaries();
  EXPECT_EQ(start.signature(), "ssa(sv)a(sa(sv))");
  Status s = (*connection)
                 ->Call({"org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                         "StartTransientUnit", std::move(start)});
  EXPECT_THAT(std::string(s.message()), StartsWith("org.freedesktop.DBus.Error.ServiceUnknown: "));
  EXPECT_FALSE((*connection)->broken());
  DbusBody name;
  name.Add("skiff.test").Add(uint32_t{0});
  EXPECT_TRUE((*connection)
                  ->Call({"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName",
                          std::move(name)})
                  .ok());
}

TEST_F(BusTest, AMalformedMessageEndsTheConnection) {
  auto connection = DbusConnection::Connect(socket_, true, std::chrono::seconds(10));
  ASSERT_TRUE(connection.ok()) << connection.status();
  Status s = (*connection)->Call({"org.freedesktop.DBus", "not a path", "org.freedesktop.DBus", "GetId", DbusBody()});
  EXPECT_FALSE(s.ok());
  EXPECT_TRUE((*connection)->broken());
  EXPECT_THAT(std::string((*connection)->Call({}).message()), HasSubstr("not connected"));
}

TEST(Dbus, NoSocket) {
  auto connection = DbusConnection::Connect("/nonexistent/socket", false, std::chrono::seconds(1));
  EXPECT_EQ(ErrnoOf(connection.status()), ENOENT);
}

}  // namespace
}  // namespace skiff::kubelet
