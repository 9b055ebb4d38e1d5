#include "cadvisor/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cadvisor/fake_tree.h"

namespace skiff::cadvisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Machine, ReadsEverything) {
  FakeTree tree;
  AddMachine(tree);
  const auto info = ReadMachine(tree.OpenHost());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->cores, 2);
  EXPECT_EQ(info->physical_cores, 2);
  EXPECT_EQ(info->sockets, 1);
  EXPECT_EQ(info->cpu_vendor, "AuthenticAMD");
  EXPECT_EQ(info->cpu_khz, 2445424u);
  EXPECT_EQ(info->memory, 4294967296u);
  EXPECT_EQ(info->swap, 1048576u);
  ASSERT_EQ(info->huge_pages.size(), 2u);
  EXPECT_EQ(info->huge_pages[0].page_size_kb, 2048u);
  EXPECT_EQ(info->huge_pages[0].count, 7u);
  ASSERT_EQ(info->nodes.size(), 1u);
  EXPECT_EQ(info->nodes[0].memory, 4294967296u);
  ASSERT_EQ(info->nodes[0].cores.size(), 2u);
  EXPECT_THAT(info->nodes[0].cores[1].threads, ElementsAre(1));
  EXPECT_EQ(info->machine_id, "3d1219c7c4c5404aaa1f6d2a48adfda4");
  EXPECT_EQ(info->system_uuid, info->machine_id);  // no DMI
  EXPECT_EQ(info->boot_id, "74248bbf-1587-4581-bb84-e6466c7a1368");
  EXPECT_EQ(info->kernel_version, "6.1.0-18-amd64");
  EXPECT_EQ(info->os_image, "Debian GNU/Linux 12 (bookworm)");
  ASSERT_EQ(info->block_devices.size(), 1u);
  EXPECT_EQ(info->block_devices[0].size, 274877906944u);
  EXPECT_EQ(info->block_devices[0].scheduler, "none");
  ASSERT_EQ(info->network_devices.size(), 1u);
  EXPECT_EQ(info->network_devices[0].mac, "02:fc:00:00:00:01");
  EXPECT_EQ(info->network_devices[0].mtu, 1400);
}

TEST(Machine, SystemUuidFromDmi) {
  FakeTree tree;
  AddMachine(tree);
  tree.Add({{"sys/class/dmi/id/product_uuid", "11111111-2222-3333-4444-555555555555\n"}});
  EXPECT_EQ(ReadMachine(tree.OpenHost())->system_uuid, "11111111-2222-3333-4444-555555555555");
}

TEST(Machine, ThreadsOfOneCore) {
  FakeTree tree;
  AddMachine(tree);
  tree.Add({{"sys/devices/system/cpu/cpu1/topology/core_id", "0\n"}});
  const auto info = ReadMachine(tree.OpenHost());
  ASSERT_EQ(info->nodes[0].cores.size(), 1u);
  EXPECT_THAT(info->nodes[0].cores[0].threads, ElementsAre(0, 1));
  EXPECT_EQ(info->cores, 2);
}

TEST(Machine, WithoutNumaAndWithoutTopology) {
  FakeTree tree;
  AddMachine(tree);
  tree.Remove("sys/devices/system/node");
  EXPECT_EQ(ReadMachine(tree.OpenHost())->nodes.size(), 1u);
  EXPECT_EQ(ReadMachine(tree.OpenHost())->nodes[0].memory, 4294967296u);
  tree.Remove("sys/devices");
  tree.Remove("proc/cpuinfo");
  const auto info = ReadMachine(tree.OpenHost());
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->cores, 2);  // of /proc/stat
}

TEST(Machine, MalformedFiles) {
  for (const char* bad : {"", "MemTotal 5 kB\n", "MemTotal:\n", "MemTotal: x kB\n", "MemFree: 5 kB\n"}) {
    FakeTree tree;
    AddMachine(tree);
    tree.Add({{"proc/meminfo", bad}});
    EXPECT_FALSE(ReadMachine(tree.OpenHost()).ok()) << bad;
  }
  FakeTree tree;
  AddMachine(tree);
  tree.Add({{"sys/devices/system/cpu/online", "zero"},
            {"sys/devices/system/node/online", "-"},
            {"sys/devices/virtual/block/vda/dev", "none"},
            {"sys/devices/virtual/net/eth0/mtu", "x"},
            {"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "?"},
            {"proc/cpuinfo", "\x01\x02:::\n:\n"}});
  const auto info = ReadMachine(tree.OpenHost());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->cores, 2);
  EXPECT_TRUE(info->block_devices.empty());
}

TEST(Machine, AListOfHugeRangesIsBounded) {
  FakeTree tree;
  AddMachine(tree);
  tree.Add({{"sys/devices/system/cpu/online", "0-2000000000"}, {"sys/devices/system/node/online", ""}});
  tree.Remove("sys/devices/system/node");
  EXPECT_TRUE(ReadMachine(tree.OpenHost()).ok());
}

TEST(Machine, BootTimeAndTasks) {
  FakeTree tree;
  AddMachine(tree);
  const Host host = tree.OpenHost();
  EXPECT_EQ(*ReadBootTime(host), 1700000000);
  const auto tasks = ReadTaskCounts(host);
  ASSERT_TRUE(tasks.ok());
  EXPECT_EQ(tasks->running, 336);
  EXPECT_EQ(tasks->max, 32768);
  EXPECT_EQ(*ReadMeminfo(host, "SwapFree"), 1024000u);
  EXPECT_EQ(*ReadMeminfo(host, "Nothing"), 0u);
  tree.Add({{"proc/stat", "btime x\n"}, {"proc/loadavg", "1 2\n"}});
  EXPECT_THAT(std::string(ReadBootTime(host).status().message()), HasSubstr("stat: malformed"));
  EXPECT_FALSE(ReadTaskCounts(host).ok());
}

TEST(Machine, ROOT_RealMachine) {
  const auto host = Host::Open();
  ASSERT_TRUE(host.ok());
  const auto info = ReadMachine(*host);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->cores, sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_GT(info->memory, 0u);
  EXPECT_FALSE(info->kernel_version.empty());
}

}  // namespace
}  // namespace skiff::cadvisor
