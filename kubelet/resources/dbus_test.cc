// The messages against an implementation that is not ours: a message bus of the test's own.
#include "kubelet/resources/dbus.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

#include "absl/strings/escaping.h"
#include "base/async_testing.h"
#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/resources/cgroups.h"
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

// Listens as systemd does, without a bus, and does with each connection what the test says.
class PeerTest : public ::testing::Test {
 protected:
  PeerTest() {
    char name[] = "/tmp/skiff-dbus-XXXXXX";
    dir_ = ::mkdtemp(name);
    listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (dir_ + "/private").c_str());
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
  }
  ~PeerTest() override {
    ::shutdown(listener_.get(), SHUT_RDWR);  // accept() ends
    if (server_.joinable()) server_.join();
    std::filesystem::remove_all(dir_);
  }
  void Serve(std::function<void(int)> peer) {
    server_ = std::thread([this, peer = std::move(peer)] {
      while (true) {
        const Fd fd(::accept(listener_.get(), nullptr, nullptr));
        if (!fd.valid()) return;
        peer(fd.get());
      }
    });
  }
  // "" at the end of the stream.
  static std::string Get(int fd, size_t most = 4096) {
    std::string out(most, '\0');
    const ssize_t n = ::recv(fd, out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return out;
  }
  static void Put(int fd, std::string_view data) { (void)::send(fd, data.data(), data.size(), MSG_NOSIGNAL); }
  // Answers when it has been greeted to the end: systemd forgets a call that comes with the end of the greeting.
  static void Greet(int fd) {
    for (std::string lines; !lines.ends_with("BEGIN\r\n");) lines += Get(fd, 1);
    Put(fd, "OK 0123\r\n");
  }
  // The answer to a connection's first call, without a body.
  static std::string Answer() {
    return absl::HexStringToBytes(
        "6c02000100000000010000000800000005017500"
        "01000000");
  }
  std::unique_ptr<SystemdSlices> Slices(std::chrono::milliseconds limit = std::chrono::minutes(1)) const {
    return NewSystemdSlices({.private_socket = dir_ + "/private", .bus_socket = dir_ + "/none", .limit = limit});
  }

  std::string dir_;
  Fd listener_;
  std::thread server_;
};

TEST_F(PeerTest, NoConnectionStaysAfterACall) {
  std::atomic<int> closed = 0;
  Serve([&](int fd) {
    Greet(fd);
    (void)Get(fd);
    Put(fd, Answer());
    if (Get(fd).empty()) ++closed;
  });
  auto slices = Slices();
  ASSERT_TRUE(slices->Stop("a.slice").ok());
  const Status again = slices->Stop("b.slice");  // the server looks at the second only when the first is closed
  ASSERT_TRUE(again.ok()) << again;
  EXPECT_GE(closed, 1);
}

TEST_F(PeerTest, WhatIsNotTheAnswerDoesNotMakeACallLonger) {
  std::atomic<bool> over = false;
  Serve([&](int fd) {
    Greet(fd);
    (void)Get(fd);
    // A signal, an answer to nothing of ours: over and over.
    std::string other = Answer();
    other[1] = 4;
    while (!over) {
      Put(fd, other);
      std::this_thread::yield();
    }
  });
  const Status s = Slices(std::chrono::milliseconds(50))->Stop("a.slice");
  over = true;
  EXPECT_TRUE(absl::IsDeadlineExceeded(s)) << s;
}

TEST_F(PeerTest, TheLoopGoesOnWhileSystemdIsSilent) {
  std::atomic<bool> over = false;
  Serve([&](int) {
    while (!over) std::this_thread::yield();
  });
  auto slices = Slices(std::chrono::seconds(20));
  asio::io_context loop;
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/cgroup.controllers", "cpu memory").ok());
  Cgroups cgroups({.mount = dir_, .names = CgroupNames("", true), .slices = slices.get()});
  const Pod pod = testing_pods::MakePod({"c"});
  int ended = 0;
  auto keep = [&](Task<Status> task) -> Task<void> {
    EXPECT_FALSE((co_await std::move(task)).ok());
    ++ended;
  };
  TaskGroup group(loop.get_executor());
  group.Spawn("make", keep(cgroups.MakePod(pod)));
  group.Spawn("share", keep(cgroups.SetBurstableMilliCpu(100)));
  int before = -1;
  auto look = [&]() -> Task<void> {
    (void)co_await SleepFor(std::chrono::milliseconds(1));
    before = ended;
    over = true;  // hangs up
  };
  group.Spawn("look", look());
  loop.run();
  EXPECT_EQ(before, 0) << "a timer came only after the calls";
  EXPECT_EQ(ended, 2);
}

// The worker of a pod that came back must not take what is about to go for the pod's.
TEST_F(PeerTest, APodsCgroupThatIsAboutToGoIsNotThere) {
  std::atomic<bool> over = false;
  Serve([&](int) {
    while (!over) std::this_thread::yield();
  });
  auto slices = Slices();
  asio::io_context loop;
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/cgroup.controllers", "cpu memory").ok());
  Cgroups cgroups({.mount = dir_, .names = CgroupNames("", true), .slices = slices.get()});
  const Pod pod = testing_pods::MakePod({"c"});
  ASSERT_TRUE(MakeDirs(absl::StrCat(dir_, "/", cgroups.names().Pod("BestEffort", pod.metadata().uid()))).ok());
  EXPECT_TRUE(cgroups.PodExists(pod));
  auto look = [&]() -> Task<void> {
    EXPECT_FALSE(cgroups.PodExists(pod));
    over = true;
    co_return;
  };
  auto remove = [&]() -> Task<void> { (void)co_await cgroups.RemovePod(pod.metadata().uid()); };
  TaskGroup group(loop.get_executor());
  group.Spawn("remove", remove());
  group.Spawn("look", look());
  loop.run();
  EXPECT_FALSE(cgroups.PodExists(pod)) << "its directory went, whatever systemd said";
}

TEST(Dbus, NoSocket) {
  auto connection = DbusConnection::Connect("/nonexistent/socket", false, std::chrono::seconds(1));
  EXPECT_EQ(ErrnoOf(connection.status()), ENOENT);
}

}  // namespace
}  // namespace skiff::kubelet
