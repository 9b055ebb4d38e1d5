#include "cadvisor/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "cadvisor/cgroup_dir.h"
#include "cadvisor/fake_tree.h"

namespace skiff::cadvisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class V1 : public testing::Test {
 protected:
  V1() {
    AddMachine(tree_);
    AddCgroupsV1(tree_);
    cgroups_.emplace(*tree_.Cgroups());
  }
  FakeTree tree_;
  std::optional<CgroupTree> cgroups_;
};

class V2 : public testing::Test {
 protected:
  V2() {
    AddMachine(tree_);
    AddCgroupsV2(tree_);
    cgroups_.emplace(*tree_.Cgroups());
  }
  FakeTree tree_;
  std::optional<CgroupTree> cgroups_;
};

// What both versions tell of the same load.
void ExpectCommon(const CgroupStats& s) {
  EXPECT_EQ(s.cpu.usage_ns, 3'000'000'000u);
  EXPECT_EQ(s.cpu.user_ns, 2'000'000'000u);
  EXPECT_EQ(s.cpu.system_ns, 1'000'000'000u);
  EXPECT_EQ(s.cpu.periods, 10u);
  EXPECT_EQ(s.cpu.throttled_periods, 4u);
  EXPECT_EQ(s.cpu.throttled_ns, 500'000'000u);
  EXPECT_EQ(s.memory.usage, 1000000u);
  EXPECT_EQ(s.memory.working_set, 800000u);
  EXPECT_EQ(s.memory.max_usage, 2000000u);
  EXPECT_EQ(s.memory.rss, 600000u);
  EXPECT_EQ(s.memory.cache, 300000u);
  EXPECT_EQ(s.memory.mapped_file, 100000u);
  EXPECT_EQ(s.memory.inactive_file, 200000u);
  EXPECT_EQ(s.memory.active_file, 100000u);
  EXPECT_EQ(s.memory.pgfault, 50u);
  EXPECT_EQ(s.memory.pgmajfault, 6u);
  EXPECT_EQ(s.memory.oom_kills, 2u);
  EXPECT_EQ(s.pids.threads, 5u);
  EXPECT_EQ(s.pids.threads_max, 100u);
  EXPECT_EQ(s.pids.processes, 2u);
  ASSERT_EQ(s.io.devices.size(), 1u);
  EXPECT_EQ(s.io.devices[0].major, 254u);
  EXPECT_EQ(s.io.devices[0].minor, 0u);
  ASSERT_EQ(s.hugetlb.size(), 1u);
  EXPECT_EQ(s.hugetlb[0].page_size, "2MB");
  EXPECT_EQ(s.hugetlb[0].usage, 2097152u);
  EXPECT_EQ(s.hugetlb[0].failcnt, 1u);
}

TEST_F(V1, Stats) {
  EXPECT_EQ(cgroups_->version(), CgroupTree::Version::kV1);
  EXPECT_TRUE(cgroups_->Has("cpu"));
  EXPECT_FALSE(cgroups_->Has("cpuset"));
  EXPECT_FALSE(cgroups_->has_psi());
  const auto stats = cgroups_->ReadStats("/pods/a");
  ASSERT_TRUE(stats.ok()) << stats.status();
  ExpectCommon(*stats);
  EXPECT_EQ(stats->memory.failcnt, 3u);
  EXPECT_EQ(stats->memory.kernel, 4096u);
  EXPECT_EQ(stats->hugetlb[0].max_usage, 4194304u);
  EXPECT_THAT(stats->io.devices[0].bytes, ElementsAre(Pair("Read", 4096), Pair("Write", 8192), Pair("Total", 12288)));
  EXPECT_THAT(stats->io.devices[0].operations, ElementsAre(Pair("Read", 7), Pair("Write", 8), Pair("Sync", 15),
                                                           Pair("Async", 0), Pair("Discard", 0), Pair("Total", 15)));
  EXPECT_FALSE(stats->cpu.psi.has_value());
}

TEST_F(V2, Stats) {
  EXPECT_EQ(cgroups_->version(), CgroupTree::Version::kV2);
  EXPECT_TRUE(cgroups_->Has("memory"));
  EXPECT_TRUE(cgroups_->Has("blkio"));
  EXPECT_TRUE(cgroups_->has_psi());
  const auto stats = cgroups_->ReadStats("/pods/a");
  ASSERT_TRUE(stats.ok()) << stats.status();
  ExpectCommon(*stats);
  EXPECT_EQ(stats->cpu.burst_periods, 1u);
  EXPECT_EQ(stats->cpu.burst_ns, 20000u);
  EXPECT_EQ(stats->memory.swap, 12288u);
  EXPECT_THAT(stats->io.devices[0].bytes, ElementsAre(Pair("Read", 4096), Pair("Write", 8192)));
  EXPECT_THAT(stats->io.devices[0].operations, ElementsAre(Pair("Read", 7), Pair("Write", 8)));
  ASSERT_TRUE(stats->io.devices[0].cost.has_value());
  EXPECT_EQ(stats->io.devices[0].cost->indelay_us, 8u);
  ASSERT_TRUE(stats->cpu.psi.has_value());
  EXPECT_EQ(stats->cpu.psi->some.total_us, 176649431u);
  EXPECT_DOUBLE_EQ(stats->cpu.psi->some.avg10, 18.87);
  EXPECT_EQ(stats->memory.psi->full.total_us, 7u);
  EXPECT_TRUE(stats->io.psi.has_value());
}

TEST_F(V2, TheRootHasNoCurrentAndNoLimits) {
  const auto stats = cgroups_->ReadStats("/");
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_EQ(stats->memory.usage, 900000u);
  EXPECT_EQ(stats->memory.working_set, 700000u);
  const auto spec = cgroups_->ReadSpec("/");
  ASSERT_TRUE(spec.ok());
  EXPECT_FALSE(spec->has_memory);
  EXPECT_TRUE(spec->has_cpu);
}

TEST_F(V1, Spec) {
  const auto limited = cgroups_->ReadSpec("/pods/a");
  ASSERT_TRUE(limited.ok()) << limited.status();
  EXPECT_TRUE(limited->has_cpu);
  EXPECT_EQ(limited->cpu_shares, 512u);
  EXPECT_EQ(limited->cpu_period_us, 100000u);
  EXPECT_EQ(limited->cpu_quota_us, 50000u);
  EXPECT_EQ(limited->memory_limit, 4000000u);
  EXPECT_GT(limited->created.time_since_epoch().count(), 0);
  const auto unlimited = cgroups_->ReadSpec("/pods");
  EXPECT_EQ(unlimited->cpu_quota_us, 0u);
}

TEST_F(V2, Spec) {
  const auto limited = cgroups_->ReadSpec("/pods/a");
  ASSERT_TRUE(limited.ok()) << limited.status();
  EXPECT_EQ(limited->cpu_shares, 500u);  // 2 + 19 * 262142 / 9999
  EXPECT_EQ(limited->cpu_period_us, 100000u);
  EXPECT_EQ(limited->cpu_quota_us, 50000u);
  EXPECT_EQ(limited->memory_limit, 4000000u);
  EXPECT_EQ(limited->memory_swap_limit, 0u);
  const auto unlimited = cgroups_->ReadSpec("/pods");
  EXPECT_EQ(unlimited->cpu_quota_us, 0u);
  EXPECT_EQ(unlimited->memory_limit, UINT64_MAX);
}

TEST_F(V1, ShortFormReadsTheSameFigures) {
  const auto full = cgroups_->ReadStats("/pods/a");
  const auto short_form = cgroups_->ReadCpuAndMemory("/pods/a");
  ASSERT_TRUE(short_form.ok());
  EXPECT_EQ(short_form->cpu.usage_ns, full->cpu.usage_ns);
  EXPECT_EQ(short_form->memory.working_set, full->memory.working_set);
  EXPECT_EQ(short_form->memory.max_usage, 0u);
}

template <typename T>
void ListsAndFinds(const T& cgroups) {
  EXPECT_THAT(*cgroups.List("/"), ElementsAre("/", "/pods", "/pods/a"));
  EXPECT_THAT(*cgroups.List("/pods/"), ElementsAre("/pods", "/pods/a"));
  EXPECT_EQ(ErrnoOf(cgroups.List("/none").status()), ENOENT);
  EXPECT_TRUE(cgroups.Exists("/pods/a"));
  EXPECT_FALSE(cgroups.Exists("/pods/b"));
  EXPECT_EQ(cgroups.ReadStats("/pods/b").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(cgroups.ReadStats("pods").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cgroups.ReadStats("/pods/../..").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(*cgroups.Pids("/pods/a"), ElementsAre(41, 42));
  EXPECT_TRUE(cgroups.Pids("/pods")->empty());
}

TEST_F(V1, ListsAndFinds) { ListsAndFinds(*cgroups_); }
TEST_F(V2, ListsAndFinds) { ListsAndFinds(*cgroups_); }

TEST_F(V1, ACgroupInOneHierarchyOnlyStillCounts) {
  tree_.Add({{"sys/fs/cgroup/memory/lone/cgroup.procs", "7\n"},
             {"sys/fs/cgroup/memory/lone/memory.usage_in_bytes", "5\n"},
             {"sys/fs/cgroup/pids/elsewhere/cgroup.procs", ""}});
  const auto stats = cgroups_->ReadStats("/lone");
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_EQ(stats->memory.usage, 5u);
  EXPECT_EQ(stats->memory.working_set, 5u);
  EXPECT_EQ(stats->cpu.usage_ns, 0u);
  EXPECT_THAT(*cgroups_->Pids("/lone"), ElementsAre(7));
  EXPECT_FALSE(cgroups_->Exists("/elsewhere"));
}

TEST_F(V1, WithoutHierarchyOwnFiguresCount) {
  tree_.Add({{"sys/fs/cgroup/memory/pods/a/memory.use_hierarchy", "0\n"}});
  const auto stats = cgroups_->ReadStats("/pods/a");
  EXPECT_EQ(stats->memory.cache, 1u);
  EXPECT_EQ(stats->memory.rss, 2u);
}

TEST_F(V1, InactiveFileAboveUsageIsZeroWorkingSet) {
  tree_.Add({{"sys/fs/cgroup/memory/pods/a/memory.usage_in_bytes", "100\n"}});
  EXPECT_EQ(cgroups_->ReadStats("/pods/a")->memory.working_set, 0u);
}

TEST_F(V1, OldKernelsHaveNoRecursiveThrottleFiles) {
  const std::string dir = "sys/fs/cgroup/blkio/pods/a/";
  tree_.Remove(dir + "blkio.throttle.io_serviced_recursive");
  tree_.Remove(dir + "blkio.throttle.io_service_bytes_recursive");
  tree_.Add({{dir + "blkio.throttle.io_serviced", "8:16 Read 1\nTotal 1\n"},
             {dir + "blkio.throttle.io_service_bytes", "8:16 Read 512\nTotal 512\n"}});
  const auto stats = cgroups_->ReadStats("/pods/a");
  ASSERT_TRUE(stats.ok());
  ASSERT_EQ(stats->io.devices.size(), 1u);
  EXPECT_EQ(stats->io.devices[0].minor, 16u);
  EXPECT_THAT(stats->io.devices[0].bytes, ElementsAre(Pair("Read", 512)));
}

TEST_F(V1, MissingFilesAreZero) {
  for (const char* file : {"cpu,cpuacct/pods/a/cpuacct.usage", "memory/pods/a/memory.stat", "pids/pods/a/pids.max",
                           "memory/pods/a/memory.oom_control", "blkio/pods/a/blkio.throttle.io_serviced_recursive"}) {
    tree_.Remove(std::string("sys/fs/cgroup/") + file);
    EXPECT_TRUE(cgroups_->ReadStats("/pods/a").ok()) << file;
  }
}

// Each file with a value that no kernel writes: a clear error naming file and value.
TEST_F(V1, MalformedFiles) {
  const std::pair<const char*, const char*> cases[] = {
      {"cpu,cpuacct/pods/a/cpuacct.usage", "12x"},
      {"cpu,cpuacct/pods/a/cpuacct.stat", "user -"},
      {"cpu,cpuacct/pods/a/cpu.stat", "nr_periods"},
      {"memory/pods/a/memory.usage_in_bytes", ""},
      {"memory/pods/a/memory.stat", "total_cache 1.5"},
      {"memory/pods/a/memory.failcnt", "-3"},
      {"memory/pods/a/memory.oom_control", "oom_kill x"},
      {"pids/pods/a/pids.current", "99999999999999999999999"},
      {"cpu,cpuacct/pods/a/cgroup.procs", "-4"},
      {"hugetlb/pods/a/hugetlb.2MB.rsvd.failcnt", "many"},
      {"blkio/pods/a/blkio.throttle.io_serviced_recursive", "8 Read 1"},
      {"blkio/pods/a/blkio.throttle.io_serviced_recursive", "8:0 Read one"},
      {"blkio/pods/a/blkio.throttle.io_serviced_recursive", "8:0"}};
  for (const auto& [file, text] : cases) {
    FakeTree tree;
    AddCgroupsV1(tree);
    tree.Add({{std::string("sys/fs/cgroup/") + file, text}});
    const auto stats = tree.Cgroups()->ReadStats("/pods/a");
    const std::string base = std::string(file).substr(std::string(file).rfind('/') + 1);
    EXPECT_EQ(stats.status().code(), absl::StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(std::string(stats.status().message()), HasSubstr(base + ": malformed: ")) << stats.status();
  }
}

// As upstream, which reads cgroup.procs where there is no pids.current.
TEST_F(V2, WithoutAPidsControllerProcessesCountAsThreads) {
  tree_.Add({{"sys/fs/cgroup/plain/cgroup.procs", "7\n8\n"}});
  const auto stats = cgroups_->ReadStats("/plain");
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_EQ(stats->pids.threads, 2u);
  EXPECT_EQ(stats->pids.threads_max, 0u);
}
TEST_F(V2, MalformedFiles) {
  const std::pair<const char*, const char*> cases[] = {{"cpu.stat", "usage_usec x"},
                                                       {"memory.current", "abc"},
                                                       {"memory.stat", "anon"},
                                                       {"memory.events.local", "oom_kill ?"},
                                                       {"pids.current", "1 2"},
                                                       {"cpu.pressure", "some avg10=x"},
                                                       {"memory.pressure", "none avg10=1"},
                                                       {"io.pressure", "some avg10"},
                                                       {"io.stat", "254:0 rbytes=x"},
                                                       {"io.stat", "rbytes=1"},
                                                       {"io.stat", "x:0 rbytes=1"},
                                                       {"hugetlb.2MB.rsvd.current", "?"}};
  for (const auto& [file, text] : cases) {
    FakeTree tree;
    AddCgroupsV2(tree);
    tree.Add({{std::string("sys/fs/cgroup/pods/a/") + file, text}});
    const auto stats = tree.Cgroups()->ReadStats("/pods/a");
    EXPECT_EQ(stats.status().code(), absl::StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(std::string(stats.status().message()), HasSubstr(std::string(file) + ": malformed: "));
  }
  FakeTree tree;
  AddCgroupsV2(tree);
  for (const char* bad : {"", "max", "x 100000", "50000 y"}) {
    tree.Add({{"sys/fs/cgroup/pods/a/cpu.max", bad}});
    EXPECT_FALSE(tree.Cgroups()->ReadSpec("/pods/a").ok()) << bad;
  }
}

TEST(IoStat, DevicesWithoutFiguresOnOneLine) {
  std::vector<DiskIo> devices;
  ASSERT_TRUE(ParseIoStat("io.stat", "8:16 8:0 rbytes=1 wbytes=2 rios=3 wios=4\n7:0 \n", &devices).ok());
  ASSERT_EQ(devices.size(), 1u);
  EXPECT_EQ(devices[0].major, 8u);
  EXPECT_EQ(devices[0].minor, 0u);
}

TEST(Blkio, FilesWithoutOperations) {
  std::vector<DiskIo> devices;
  ASSERT_TRUE(ParseBlkio("sectors", "8:0 1234\n", &DiskIo::sectors, &devices).ok());
  EXPECT_THAT(devices[0].sectors, ElementsAre(Pair("Total", 1234)));
}

TEST(CgroupTree, NothingMounted) {
  FakeTree tree;
  EXPECT_EQ(tree.Cgroups().status().code(), absl::StatusCode::kNotFound);
}

TEST(CgroupTree, HybridIsV1) {
  FakeTree tree;
  AddCgroupsV1(tree);
  tree.Add({{"sys/fs/cgroup/unified/cgroup.controllers", ""}});
  EXPECT_EQ(tree.Cgroups()->version(), CgroupTree::Version::kV1);
}

// The machine's own cgroups.
TEST(CgroupTree, ROOT_RealMachine) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto sys = Dir::Open("/sys");
  ASSERT_TRUE(sys.ok());
  const auto cgroups = CgroupTree::Detect(*sys);
  if (!cgroups.ok()) GTEST_SKIP() << "no cgroups: " << cgroups.status();
  const auto paths = cgroups->List("/");
  ASSERT_TRUE(paths.ok()) << paths.status();
  for (const std::string& path : *paths) {
    const auto stats = cgroups->ReadStats(path);
    const auto spec = cgroups->ReadSpec(path);
    if (absl::IsNotFound(stats.status()) || absl::IsNotFound(spec.status())) continue;  // gone meanwhile
    EXPECT_TRUE(stats.ok()) << path << ": " << stats.status();
    EXPECT_TRUE(spec.ok()) << path << ": " << spec.status();
  }
  const auto root = cgroups->ReadStats("/");
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_GT(root->cpu.usage_ns, 0u);
  EXPECT_GT(root->memory.usage, 0u);
  EXPECT_LE(root->memory.working_set, root->memory.usage);
}

// A cgroup of our own that burns CPU and holds memory.
TEST(CgroupTree, ROOT_OwnV1Cgroup) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto cgroups = CgroupTree::Detect(*Dir::Open("/sys"));
  if (!cgroups.ok() || cgroups->version() != CgroupTree::Version::kV1) GTEST_SKIP() << "no cgroup v1";
  const std::string name = absl::StrCat("skiff-cadvisor-test-", getpid());
  const std::string cpu = "/sys/fs/cgroup/cpuacct/" + name, memory = "/sys/fs/cgroup/memory/" + name;
  if (!MakeDirs(cpu).ok() || !MakeDirs(memory).ok()) GTEST_SKIP() << "cannot make cgroups";
  int gate[2], done[2];
  ASSERT_EQ(pipe(gate), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  if (child == 0) {
    char c;
    if (read(gate[0], &c, 1) != 1) _exit(1);
    const size_t size = 8 << 20;
    auto* volatile block = static_cast<volatile char*>(malloc(size));
    for (size_t i = 0; i < size; i += 512) block[i] = 1;
    volatile uint64_t sum = 0;
    for (uint64_t i = 0; i < 30'000'000; i++) sum = sum + i;
    if (write(done[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  const bool joined = Dir::Open(cpu)->Write("cgroup.procs", absl::StrCat(child)).ok() &&
                      Dir::Open(memory)->Write("cgroup.procs", absl::StrCat(child)).ok();
  char c;
  if (joined) {
    ASSERT_EQ(write(gate[1], "x", 1), 1);
    ASSERT_EQ(read(done[0], &c, 1), 1);
    const auto stats = cgroups->ReadStats("/" + name);
    EXPECT_TRUE(stats.ok()) << stats.status();
    if (stats.ok()) {
      EXPECT_GT(stats->cpu.usage_ns, 1'000'000u);
      EXPECT_GT(stats->memory.rss, 7u << 20);
      EXPECT_GE(stats->memory.usage, stats->memory.rss);
    }
    EXPECT_THAT(*cgroups->Pids("/" + name), ElementsAre(child));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  for (const int fd : {gate[0], gate[1], done[0], done[1]}) close(fd);
  rmdir(cpu.c_str());
  rmdir(memory.c_str());
  if (!joined) GTEST_SKIP() << "cannot join cgroups";
}

}  // namespace
}  // namespace skiff::cadvisor
