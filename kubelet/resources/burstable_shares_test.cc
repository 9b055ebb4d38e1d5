#include "kubelet/resources/burstable_shares.h"

#include <filesystem>

#include "base/files.h"
#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// A tree of plain files with the names of a v1 host.
class BurstableSharesTest : public ::testing::Test {
 protected:
  BurstableSharesTest() {
    Write("100");
    group.Spawn("shares", shares.Run());
    Advance(seconds(0));
  }
  ~BurstableSharesTest() override {
    group.Cancel();
    Advance(seconds(0));
    EXPECT_EQ(group.size(), 0u);
    std::filesystem::remove_all(root);
  }
  static std::string MakeRoot() {
    char name[] = "/tmp/skiff-shares-XXXXXX";
    const std::string made = ::mkdtemp(name);
    EXPECT_TRUE(MakeDirs(made + "/memory").ok());
    EXPECT_TRUE(MakeDirs(made + "/cpu/kubepods/burstable").ok());
    return made;
  }
  void Write(const char* value) { EXPECT_TRUE(WriteFileAtomic(file, value).ok()); }
  std::string Read() { return ReadFile(file).value_or(""); }
  void Advance(std::chrono::nanoseconds by) {
    loop.restart();
    loop.poll();
    clock.Advance(by, loop);
    loop.restart();
    loop.poll();
  }
  void Change(int64_t milli) {
    requests = milli;
    shares.Changed();
    Advance(seconds(0));
  }

  const std::string root = MakeRoot(), file = root + "/cpu/kubepods/burstable/cpu.shares";
  asio::io_context loop;
  FakeClock clock;
  int64_t requests = 0;
  Cgroups cgroups{{.mount = root}};
  BurstableShares shares{loop.get_executor(), clock, cgroups, [this] { return requests; }};
  TaskGroup group{loop.get_executor()};
};

TEST_F(BurstableSharesTest, TheyFollowThePodsAndArePutBackEachMinute) {
  Advance(minutes(3));
  EXPECT_EQ(Read(), "100") << "an earlier life's pods are not known yet";
  Change(500);
  EXPECT_EQ(Read(), "512");
  Write("2");
  Advance(seconds(59));
  EXPECT_EQ(Read(), "2");
  Advance(seconds(1));
  EXPECT_EQ(Read(), "512");
  Change(250);
  EXPECT_EQ(Read(), "256");
}

TEST_F(BurstableSharesTest, AnUpdateThatFailedIsTriedAgain) {
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  Change(1000);
  std::filesystem::remove(file);
  Write("2");
  Advance(seconds(59));
  EXPECT_EQ(Read(), "2");
  Advance(seconds(1));
  EXPECT_EQ(Read(), "1024");
}

}  // namespace
}  // namespace skiff::kubelet
