#include "cadvisor/exposition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "base/async_testing.h"
#include "cadvisor/fake_tree.h"
#include "cadvisor/families.h"

namespace skiff::cadvisor {
namespace {

using testing::HasSubstr;
using testing::Not;

class CollectorTest : public testing::Test {
 protected:
  CollectorTest() {
    AddMachine(tree_);
    AddCgroupsV1(tree_);
    tree_.Link("socket:[1234]", "proc/41/fd/0");
    tree_.Link("/dev/null", "proc/42/fd/0");
    tree_.Add({{"proc/41/limits", "Max open files  1048576  1048576  files\n"}});
    host_.emplace(tree_.OpenHost());
    cgroups_.emplace(*tree_.Cgroups());
    collector_.emplace(*host_, *cgroups_, clock_);
    container_.cgroup = "/pods/a";
    container_.name = "0123abcd";
    container_.image = "pause:3.10";
    container_.container = "main";
    container_.pod = "p";
    container_.namespace_ = "ns";
    machine_record_.cgroup = "/";
    machine_record_.network_pid = 1;
  }
  void SetUsage(const std::string& ns) { tree_.Add({{"sys/fs/cgroup/cpu,cpuacct/pods/a/cpuacct.usage", ns}}); }

  FakeTree tree_;
  FakeClock clock_;
  asio::io_context loop_;
  std::optional<Host> host_;
  std::optional<CgroupTree> cgroups_;
  std::optional<Collector> collector_;
  ContainerRecord container_, machine_record_;
};

TEST_F(CollectorTest, RateBetweenTwoReadings) {
  SetUsage("1000000000");
  EXPECT_FALSE(collector_->ReadCpuAndMemory("/pods/a")->usage_nano_cores.has_value());
  clock_.Advance(std::chrono::seconds(10), loop_);
  SetUsage("6000000000");
  EXPECT_EQ(collector_->ReadCpuAndMemory("/pods/a")->usage_nano_cores, 500'000'000u);
  // Soon after, the rate is still taken over the longer stretch.
  clock_.Advance(std::chrono::milliseconds(500), loop_);
  SetUsage("6050000000");
  EXPECT_EQ(collector_->Read(container_)->usage_nano_cores, 480'952'380u);
  // A new cgroup of the same name starts over.
  clock_.Advance(std::chrono::seconds(10), loop_);
  SetUsage("5");
  EXPECT_FALSE(collector_->Read(container_)->usage_nano_cores.has_value());
  clock_.Advance(std::chrono::seconds(10), loop_);
  EXPECT_EQ(collector_->Read(container_)->usage_nano_cores, 0u);
  collector_->Retain({});
  EXPECT_FALSE(collector_->Read(container_)->usage_nano_cores.has_value());
}

TEST_F(CollectorTest, Container) {
  const auto stats = collector_->Read(container_);
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_EQ(stats->cgroup.pids.file_descriptors, 2u);
  EXPECT_EQ(stats->cgroup.pids.sockets, 1u);
  EXPECT_EQ(stats->cgroup.pids.max_open_files, 1048576);
  EXPECT_EQ(stats->cgroup.io.devices[0].device, "/dev/vda");
  EXPECT_TRUE(stats->network.empty());
  EXPECT_TRUE(stats->filesystems.empty());
  EXPECT_GE(stats->spec.created, std::chrono::system_clock::from_time_t(1700000000));
}

TEST_F(CollectorTest, Machine) {
  const auto stats = collector_->Read(machine_record_);
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_EQ(stats->network.size(), 1u);
  EXPECT_EQ(stats->filesystems.size(), 3u);
  EXPECT_EQ(stats->spec.memory_limit, 4294967296u);
  EXPECT_EQ(stats->spec.memory_swap_limit, 1048576u);
  EXPECT_EQ(stats->cgroup.pids.max_open_files, 1024);
}

TEST_F(CollectorTest, TheNetworkOfAProcessThatEndedIsEmpty) {
  container_.network_pid = 77;
  const auto stats = collector_->Read(container_);
  ASSERT_TRUE(stats.ok());
  EXPECT_TRUE(stats->network.empty());
  tree_.Add({{"proc/77/net/dev", "a\nb\nc\n"}});
  EXPECT_FALSE(collector_->Read(container_).ok());
}

TEST(CollectorV2, SwapOfTheMachine) {
  FakeTree tree;
  AddMachine(tree);
  AddCgroupsV2(tree);
  const Host host = tree.OpenHost();
  const CgroupTree cgroups = *tree.Cgroups();
  Collector collector(host, cgroups);
  ContainerRecord record;
  record.cgroup = "/";
  EXPECT_EQ(collector.Read(record)->cgroup.memory.swap, 24576u);
  EXPECT_EQ(collector.ReadCpuAndMemory("/")->cgroup.memory.swap, 24576u);
  EXPECT_EQ(collector.ReadCpuAndMemory("/")->cgroup.memory.usage, 900000u);
}

class ExpositionTest : public CollectorTest {
 protected:
  std::string Text(const ExpositionOptions& options = {}) {
    const auto machine = ReadMachine(*host_);
    return Expose(*machine, *collector_, {container_, machine_record_}, options);
  }
};

TEST_F(ExpositionTest, Lines) {
  const std::string text = Text();
  const std::string labels =
      "container=\"main\",id=\"/pods/a\",image=\"pause:3.10\",name=\"0123abcd\","
      "namespace=\"ns\",pod=\"p\"";
  const std::string stamp = " 1767225600000\n";
  for (const std::string& line : {
           "container_memory_working_set_bytes{" + labels + "} 800000" + stamp,
           "container_memory_usage_bytes{" + labels + "} 1e+06" + stamp,
           "container_cpu_user_seconds_total{" + labels + "} 2" + stamp,
           "container_cpu_cfs_throttled_seconds_total{" + labels + "} 0.5" + stamp,
           "container_oom_events_total{" + labels + "} 2" + stamp,
           "container_spec_memory_limit_bytes{" + labels + "} 4e+06\n",
           "container_spec_cpu_quota{" + labels + "} 50000\n",
           "container_threads_max{" + labels + "} 100" + stamp,
           std::string("container_cpu_usage_seconds_total{container=\"main\",cpu=\"total\",id=\"/pods/a\",") +
               "image=\"pause:3.10\",name=\"0123abcd\",namespace=\"ns\",pod=\"p\"} 3" + stamp,
           std::string("container_blkio_device_usage_total{container=\"main\",device=\"/dev/vda\",id=\"/pods/a\",") +
               "image=\"pause:3.10\",major=\"254\",minor=\"0\",name=\"0123abcd\",namespace=\"ns\",operation=\"Read\","
               "pod=\"p\"} 4096" +
               stamp,
           "container_fs_reads_bytes_total{container=\"main\",device=\"/dev/vda\",id=\"/pods/a\",image=\"pause:3.10\","
           "name=\"0123abcd\",namespace=\"ns\",pod=\"p\"} 4096" +
               stamp,
           "container_network_receive_bytes_total{container=\"\",id=\"/\",image=\"\",interface=\"eth0\",name=\"\","
           "namespace=\"\",pod=\"\"} 4.938825e+06" +
               stamp,
           "container_memory_failures_total{container=\"main\",failure_type=\"pgmajfault\",id=\"/pods/a\","
           "image=\"pause:3.10\",name=\"0123abcd\",namespace=\"ns\",pod=\"p\",scope=\"hierarchy\"} 6" +
               stamp,
           "container_ulimits_soft{" + labels + ",ulimit=\"max_open_files\"} 1.048576e+06" + stamp,
           std::string("container_scrape_error 0\n"),
           std::string("machine_cpu_cores{boot_id=\"74248bbf-1587-4581-bb84-e6466c7a1368\",machine_id=\"") +
               "3d1219c7c4c5404aaa1f6d2a48adfda4\",system_uuid=\"3d1219c7c4c5404aaa1f6d2a48adfda4\"} 2\n",
       }) {
    EXPECT_THAT(text, HasSubstr("\n" + line));
  }
  // The cgroup's own accounting takes precedence over the device's; each label set stands once.
  EXPECT_THAT(text,
              HasSubstr("container_fs_reads_total{container=\"\",device=\"/dev/vda\",id=\"/\",image=\"\",name=\"\","
                        "namespace=\"\",pod=\"\"} 7" +
                        stamp));
  EXPECT_THAT(text, Not(HasSubstr("container_pressure_")));
  EXPECT_THAT(text, Not(HasSubstr("container_spec_cpu_quota{container=\"\"")));  // the machine has none
}

std::string NameOf(std::string_view line) { return std::string(line.substr(0, line.find_first_of("{ "))); }

TEST_F(ExpositionTest, SortedAndWithoutDuplicates) {
  const std::string text = Text({.pressure = true});
  std::string last_family;
  std::set<std::string> series;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::string_view view = line;
    if (view.starts_with("# TYPE ")) {
      const std::string family = NameOf(view.substr(7));
      EXPECT_LT(last_family, family);
      last_family = family;
    } else if (!view.starts_with("#")) {
      EXPECT_EQ(NameOf(view), last_family);
      const size_t brace = view.find('}');
      EXPECT_TRUE(series.insert(std::string(view.substr(0, brace == view.npos ? view.find(' ') : brace))).second)
          << line;
    }
  }
  EXPECT_EQ(last_family, "machine_swap_bytes");
  EXPECT_THAT(text, HasSubstr("container_pressure_cpu_waiting_seconds_total{"));
}

TEST_F(ExpositionTest, WithoutPodLabels) {
  machine_record_.cgroup = "/";
  const auto machine = ReadMachine(*host_);
  const std::string text = Expose(*machine, *collector_, {machine_record_}, {.pod_labels = false});
  EXPECT_THAT(text, HasSubstr("\ncontainer_memory_rss{id=\"/\"} 600000 "));
  EXPECT_THAT(text, HasSubstr("\ncontainer_cpu_usage_seconds_total{cpu=\"total\",id=\"/\"} 3 "));
}

TEST_F(ExpositionTest, GoneIsNoErrorMalformedIs) {
  container_.cgroup = "/pods/gone";
  EXPECT_THAT(Text(), HasSubstr("container_scrape_error 0\n"));
  container_.cgroup = "/pods/a";
  SetUsage("many");
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("container_scrape_error 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("/pods/a")));
}

// Families, types, help texts and label names as a kubelet of upstream's showed them.
TEST_F(ExpositionTest, AsRecorded) {
  const auto recorded = ReadFile("../shared/goldens/kubelet/11-endpoints/metrics-cadvisor.txt");
  if (!recorded.ok()) GTEST_SKIP() << "no recordings here: " << recorded.status();
  struct Family {
    std::string header;
    std::set<std::string> labels;
    bool stamped = false;
  };
  const auto parse = [](const std::string& text) {
    std::map<std::string, Family> families;
    for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const std::string_view view = line;
      if (view.starts_with("# ")) {
        families[NameOf(view.substr(7))].header += absl::StrCat(view, "\n");
        continue;
      }
      Family& family = families[NameOf(view)];
      std::string_view rest = view.substr(NameOf(view).size());
      std::string names;
      if (rest.starts_with("{")) {
        rest.remove_prefix(1);
        while (!rest.starts_with("}")) {
          absl::StrAppend(&names, rest.substr(0, rest.find('=')), ",");
          rest.remove_prefix(rest.find("=\"") + 2);
          rest.remove_prefix(rest.find('"') + 1);
          if (rest.starts_with(",")) rest.remove_prefix(1);
        }
        rest.remove_prefix(1);
      }
      family.labels.insert(names);
      family.stamped = rest.find(' ', 1) != std::string_view::npos;
    }
    return families;
  };
  const auto theirs = parse(*recorded);
  const auto ours = parse(Text());
  for (const auto& [name, family] : theirs) {
    const auto it = ours.find(name);
    ASSERT_TRUE(it != ours.end()) << name << " is missing";
    EXPECT_EQ(it->second.header, family.header);
    EXPECT_EQ(it->second.labels, family.labels) << name;
    EXPECT_EQ(it->second.stamped, family.stamped) << name;
  }
}

TEST(Families, AreSorted) {
  const std::span<const Family> families = ContainerFamilies();
  for (size_t i = 1; i < families.size(); i++) EXPECT_LT(std::string(families[i - 1].name), families[i].name);
}

// The table of facts says which metrics the kubelet shows.
TEST(Families, AreThoseOfTheFacts) {
  const auto table = ReadFile("../shared/facts/cadvisor-metrics.tsv");
  if (!table.ok()) GTEST_SKIP() << "no facts here: " << table.status();
  std::map<std::string, std::string> ours;
  for (const Family& family : ContainerFamilies()) ours[family.name] = family.type;
  int seen = 0;
  for (absl::string_view line : absl::StrSplit(*table, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> columns = absl::StrSplit(line, '\t');
    if (columns.size() < 8 || columns[0] != "/metrics/cadvisor" || !columns[1].starts_with("container_")) continue;
    if (columns[6] == "n") continue;
    seen++;
    EXPECT_TRUE(ours.contains(columns[1])) << columns[1];
    EXPECT_EQ(ours[columns[1]], columns[2]) << columns[1];
  }
  EXPECT_GT(seen, 50);
}

TEST(Exposition, ROOT_RealMachine) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto host = Host::Open();
  ASSERT_TRUE(host.ok());
  const auto cgroups = CgroupTree::Detect(host->sys);
  if (!cgroups.ok()) GTEST_SKIP() << "no cgroups: " << cgroups.status();
  Collector collector(*host, *cgroups);
  std::vector<ContainerRecord> records;
  const auto paths = cgroups->List("/");
  ASSERT_TRUE(paths.ok());
  for (const std::string& path : *paths) {
    ContainerRecord record;
    record.cgroup = path;
    record.network_pid = path == "/" ? 1 : 0;
    records.push_back(record);
  }
  bool error = false;
  const auto readings = ReadAll(collector, records, &error);
  EXPECT_FALSE(error);
  EXPECT_FALSE(readings.empty());
  const auto machine = ReadMachine(*host);
  ASSERT_TRUE(machine.ok());
  const ExpositionOptions options;
  Exposition exposition(*machine, readings, error, options);
  size_t parts = 0;
  for (std::string part; exposition.Next(&part);) parts++;
  EXPECT_GT(parts, 40u);
}

}  // namespace
}  // namespace skiff::cadvisor
