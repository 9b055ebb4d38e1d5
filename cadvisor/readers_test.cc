// Network, mounts, disks, file systems, directory trees, processes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/async_testing.h"
#include "cadvisor/fake_tree.h"
#include "cadvisor/filesystem.h"
#include "cadvisor/mounts.h"
#include "cadvisor/network.h"
#include "cadvisor/processes.h"

namespace skiff::cadvisor {
namespace {

using testing::HasSubstr;

TEST(Network, ReadsAndLeavesOutVirtualDevices) {
  FakeTree tree;
  AddMachine(tree);
  const auto interfaces = ReadNetwork(tree.OpenHost(), 1);
  ASSERT_TRUE(interfaces.ok()) << interfaces.status();
  ASSERT_EQ(interfaces->size(), 1u);
  const InterfaceStats& eth0 = (*interfaces)[0];
  EXPECT_EQ(eth0.name, "eth0");
  EXPECT_EQ(eth0.rx_bytes, 4938825u);
  EXPECT_EQ(eth0.rx_packets, 14698u);
  EXPECT_EQ(eth0.rx_errors, 1u);
  EXPECT_EQ(eth0.rx_dropped, 2u);
  EXPECT_EQ(eth0.tx_bytes, 790242u);
  EXPECT_EQ(eth0.tx_packets, 10501u);
  EXPECT_EQ(eth0.tx_errors, 3u);
  EXPECT_EQ(eth0.tx_dropped, 4u);
  EXPECT_FALSE(ReadNetwork(tree.OpenHost(), 77).ok());
}

TEST(Network, Malformed) {
  const std::string head = "titles\ntitles\n";
  EXPECT_TRUE(ParseNetDev("")->empty());
  EXPECT_TRUE(ParseNetDev(head + "\n")->empty());
  for (const char* bad :
       {"eth0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "eth0: 1 2 3", "eth0: x 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "eth0: -1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"}) {
    EXPECT_THAT(std::string(ParseNetDev(head + bad).status().message()), HasSubstr("net/dev: malformed")) << bad;
  }
}

TEST(Filesystems, OnceADevice) {
  FakeTree tree;
  AddMachine(tree);
  const auto all = ReadFilesystems(tree.OpenHost());
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 3u);  // the bind mount and the one that is gone are not there
  EXPECT_EQ((*all)[0].device, "/dev/vda");
  EXPECT_EQ((*all)[0].mountpoint, "/");
  EXPECT_GT((*all)[0].capacity, 0u);
  EXPECT_EQ((*all)[0].reads, 10u);
  EXPECT_EQ((*all)[0].sectors_written, 70u);
  EXPECT_EQ((*all)[0].weighted_io_ms, 110u);
  EXPECT_EQ((*all)[1].device, "/mem disk");
  EXPECT_EQ((*all)[1].reads, 0u);
  EXPECT_EQ((*all)[2].device, "overlay_0-30");
}

TEST(Filesystems, MalformedTables) {
  for (const char* bad :
       {"1 2 3:4 / /x rw", "1 2 34 / /x rw - ext4 /dev/x rw", "1 2 3:4 / x rw - ext4 /dev/x rw", "1"}) {
    EXPECT_THAT(std::string(ParseMountinfo(bad).status().message()), HasSubstr("mountinfo: malformed")) << bad;
  }
  EXPECT_EQ((*ParseMountinfo("1 2 3:4 / /a\\040b\\134c rw - ext4 none"))[0].mountpoint, "/a b\\c");
  EXPECT_EQ((*ParseMountinfo("1 2 3:4 / /a\\04 rw - ext4"))[0].mountpoint, "/a\\04");
  for (const char* bad :
       {"8 0", "8 x sda 1 2 3 4 5 6 7 8 9 10 11", "8 0 sda 1 2 3", "8 0 sda 1 2 3 4 5 6 7 8 9 10 x"}) {
    EXPECT_FALSE(ParseDiskstats(bad).ok()) << bad;
  }
}

TEST(Filesystems, Statfs) {
  const auto stats = StatFilesystem("/tmp");
  ASSERT_TRUE(stats.ok());
  EXPECT_GT(stats->capacity, 0u);
  EXPECT_LE(stats->available, stats->free);
  EXPECT_FALSE(StatFilesystem("/no/such/path").ok());
}

class MeasureTest : public testing::Test {
 protected:
  void SetUp() override {
    tree_.Add({{"d/a", std::string(10000, 'x')}, {"d/sub/b", "y"}, {"outside/huge", std::string(1 << 20, 'z')}});
    ASSERT_EQ(link((tree_.path() + "/d/a").c_str(), (tree_.path() + "/d/sub/a2").c_str()), 0);
    tree_.Link("../outside", "d/link");
  }
  FakeTree tree_;
};

TEST_F(MeasureTest, CountsBlocksAndEachFileOnce) {
  const auto dir = Dir::Open(tree_.path() + "/d");
  const auto usage = MeasureDir(*dir);
  ASSERT_TRUE(usage.ok()) << usage.status();
  EXPECT_TRUE(usage->complete);
  EXPECT_EQ(usage->inodes, 5u);  // d, a, sub, b, link
  uint64_t bytes = 0;
  for (const char* name : {"/d", "/d/a", "/d/sub", "/d/sub/b", "/d/link"}) {
    struct stat st {};
    ASSERT_EQ(lstat((tree_.path() + name).c_str(), &st), 0);
    bytes += static_cast<uint64_t>(st.st_blocks) * 512;
  }
  EXPECT_EQ(usage->bytes, bytes);
}

TEST_F(MeasureTest, StopsAtTheBound) {
  const auto usage = MeasureDir(*Dir::Open(tree_.path() + "/d"), {.entries = 2, .time = std::chrono::minutes(1)});
  ASSERT_TRUE(usage.ok());
  EXPECT_FALSE(usage->complete);
  EXPECT_LE(usage->inodes, 3u);
}

TEST_F(MeasureTest, GoesOnWhereItWas) {
  for (int i = 0; i < 3000; ++i) {
    tree_.Add({{"d/many" + std::to_string(i % 7) + "/" + std::to_string(i), "x"}});
  }
  const auto dir = Dir::Open(tree_.path() + "/d");
  const auto whole = MeasureDir(*dir);
  ASSERT_TRUE(whole.ok() && whole->complete);
  DirWalk walk;
  uint64_t pieces = 0, seen = 0;
  for (bool ended = false; !ended; ++pieces) {
    const auto went = walk.Go(*dir, {.entries = 100, .time = std::chrono::minutes(1)});
    ASSERT_TRUE(went.ok()) << went.status();
    ended = *went;
    EXPECT_LE(walk.usage().inodes, seen + 101);
    seen = walk.usage().inodes;
  }
  EXPECT_GE(pieces, 30u);
  EXPECT_EQ(walk.usage().inodes, whole->inodes);
  EXPECT_EQ(walk.usage().bytes, whole->bytes);
}

// However many directories and names there are, memory is bounded, and nothing is missed.
TEST_F(MeasureTest, KeepsLittleInMemory) {
  for (int i = 0; i < 1000; ++i) {
    tree_.Add({{"d/wide/" + std::to_string(i) + "/deep/" + std::to_string(i), "x"}});
    ASSERT_EQ(link((tree_.path() + "/d/wide/" + std::to_string(i) + "/deep/" + std::to_string(i)).c_str(),
                   (tree_.path() + "/d/sub/" + std::to_string(i)).c_str()),
              0);
  }
  const auto dir = Dir::Open(tree_.path() + "/d");
  const auto whole = MeasureDir(*dir);
  ASSERT_TRUE(whole.ok() && whole->complete);
  EXPECT_EQ(whole->inodes, 3006u);
  DirWalk walk({.pending_bytes = 1000, .linked = 10});
  const auto ended = walk.Go(*dir, {});
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_TRUE(walk.usage().complete);
  EXPECT_LE(walk.most_pending_bytes(), 1000u);
  EXPECT_NEAR(static_cast<double>(walk.usage().inodes), 3006, 20);
  EXPECT_NEAR(static_cast<double>(walk.usage().bytes), static_cast<double>(whole->bytes), 20 * 4096);
}

// Every level of a deep tree has directories that have to wait, and each of those has some too.
TEST_F(MeasureTest, KeepsLittleOfADeepTree) {
  std::string path = "d";
  for (int level = 0; level < 100; ++level) {
    path += "/0";
    for (int i = 1; i < 8; ++i) {
      const std::string side = path + "/" + std::to_string(i);
      tree_.Add({{side + "/1/x", "x"}, {side + "/2/3/x", "x"}});
    }
  }
  const auto dir = Dir::Open(tree_.path() + "/d");
  const auto whole = MeasureDir(*dir);
  ASSERT_TRUE(whole.ok() && whole->complete);
  EXPECT_EQ(whole->inodes, 5u + 100 + 100 * 7 * 6);
  for (const size_t limit : {0, 100, 1000, 5000}) {
    DirWalk walk({.pending_bytes = limit, .linked = 10});
    for (bool finished = false; !finished;) {
      const auto went = walk.Go(*dir, {.entries = 1000, .time = std::chrono::minutes(1)});
      ASSERT_TRUE(went.ok()) << went.status();
      finished = *went;
    }
    EXPECT_EQ(walk.usage().inodes, whole->inodes) << limit;
    EXPECT_EQ(walk.usage().bytes, whole->bytes) << limit;
    EXPECT_LE(walk.most_pending_bytes(), std::max<size_t>(limit, 50)) << limit;  // one in any case
    EXPECT_GE(walk.most_pending_bytes(), limit / 2) << limit;
  }
}

TEST(Processes, CountsDescriptors) {
  FakeTree tree;
  AddMachine(tree);
  tree.Link("socket:[1234]", "proc/41/fd/0");
  tree.Link("/dev/null", "proc/41/fd/1");
  tree.Link("pipe:[5]", "proc/41/fd/2");
  uint64_t descriptors = 0, sockets = 0;
  CountDescriptors(tree.OpenHost(), 41, &descriptors, &sockets);
  CountDescriptors(tree.OpenHost(), 999, &descriptors, &sockets);
  EXPECT_EQ(descriptors, 3u);
  EXPECT_EQ(sockets, 1u);
}

TEST(Processes, Limits) {
  FakeTree tree;
  AddMachine(tree);
  EXPECT_EQ(**ReadMaxOpenFiles(tree.OpenHost(), 1), 1024);
  EXPECT_FALSE(ReadMaxOpenFiles(tree.OpenHost(), 999)->has_value());
  EXPECT_EQ(**ParseMaxOpenFiles("Max open files            unlimited            unlimited            files\n"), -1);
  EXPECT_FALSE(ParseMaxOpenFiles("Max processes 1 2\n")->has_value());
  EXPECT_FALSE(ParseMaxOpenFiles("Max open files  lots  524288  files\n").ok());
}

}  // namespace
}  // namespace skiff::cadvisor
