#include "kubelet/stats/node_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "base/async_testing.h"
#include "base/blocking_testing.h"
#include "cadvisor/fake_tree.h"
#include "kubelet/stats/stats.h"

namespace skiff::kubelet {
namespace {

using cadvisor::FakeTree;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class NodeStatsTest : public testing::Test {
 protected:
  NodeStatsTest() {
    tree_.Add({{"proc/meminfo", "MemTotal: 4000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"},
               {"proc/stat", "cpu0 1\nbtime 1700000000\n"},
               {"proc/loadavg", "0 0 0 2/336 1\n"},
               {"proc/sys/kernel/pid_max", "32768\n"},
               {"proc/sys/kernel/threads-max", "40000\n"},
               {"proc/self/mountinfo", "1 0 8:0 / / rw - ext4 /dev/sda rw\n"},
               {"proc/1/net/dev", NetDev("eth0")},
               {"proc/77/net/dev", NetDev("eth0")},
               {"lib/pods/uid/volumes/v/file", std::string(5000, 'x')},
               {"logs/c/0.log", "hello\n"},
               {"lib/pods/uid/etc-hosts", std::string(4000, 'h')}});
    for (const char* cgroup : {"", "/kubepods", "/kubepods/burstable", "/kubepods/burstable/poduid",
                               "/kubepods/burstable/poduid/sandbox", "/kubepods/burstable/poduid/cid"}) {
      AddCgroup(cgroup);
    }
    tree_.Add({{"sys/fs/cgroup/cpu/kubepods/burstable/poduid/sandbox/cgroup.procs", "77\n"},
               {"sys/fs/cgroup/memory/kubepods/burstable/poduid/cid/memory.limit_in_bytes", "5000000\n"}});
    auto stats = NodeStats::Open({.root = tree_.path(), .pressure = true, .version = "v1"});
    if (!stats.ok()) abort();
    stats_ = *std::move(stats);
    source_.node_name = "n1";
    source_.root_directory = tree_.path() + "/lib";
    source_.image_directory = tree_.path() + "/lib";
    source_.image_used_bytes = 123;
    source_.image_used_inodes = 4;
    source_.system = {{.name = "pods", .cgroup = "/kubepods", .started = {}}};
    source_.cgroups = {"/kubepods", "/kubepods/burstable"};
    PodSource pod;
    pod.name = "p";
    pod.namespace_ = "ns";
    pod.uid = "uid";
    pod.cgroup = "/kubepods/burstable/poduid";
    pod.started = std::chrono::system_clock::from_time_t(1700000100);
    pod.sandbox_id = "sandbox";
    pod.sandbox_cgroup = pod.cgroup + "/sandbox";
    pod.sandbox_image = "pause";
    ContainerSource container;
    container.name = "c";
    container.id = "cid";
    container.image = "busybox";
    container.cgroup = pod.cgroup + "/cid";
    container.started = std::chrono::system_clock::from_time_t(1700000101);
    container.rootfs_used_bytes = 20480;
    container.rootfs_used_inodes = 5;
    container.log_directory = tree_.path() + "/logs/c";
    pod.containers.push_back(container);
    pod.volumes.push_back(
        {.name = "v", .path = tree_.path() + "/lib/pods/uid/volumes/v", .pvc_name = "", .ephemeral = true});
    pod.hosts_file = tree_.path() + "/lib/pods/uid/etc-hosts";
    source_.pods.push_back(pod);
  }

  static std::string NetDev(const std::string& name) {
    return "a\nb\n lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n " + name + ": 100 2 3 4 0 0 0 0 500 6 7 8 0 0 0 0\n";
  }
  void AddCgroup(const std::string& cgroup) {
    const std::string cpu = "sys/fs/cgroup/cpu" + cgroup, memory = "sys/fs/cgroup/memory" + cgroup;
    tree_.Add({{cpu + "/cgroup.procs", ""},
               {cpu + "/cpuacct.usage", "2500000000\n"},
               {memory + "/cgroup.procs", ""},
               {memory + "/memory.usage_in_bytes", "1000000\n"},
               {memory + "/memory.limit_in_bytes", "9223372036854771712\n"},
               {memory + "/memory.stat", "pgfault 9\ntotal_rss 600000\ntotal_inactive_file 200000\n"}});
    if (cgroup.empty()) tree_.Link("cpu", "sys/fs/cgroup/cpuacct");
  }
  json Summary(bool short_form = false) {
    const auto text = RunTask(loop_, stats_->Summary(source_, short_form));
    return text.ok() ? json::parse(*text, nullptr, false) : json();
  }

  FakeTree tree_;
  // Outlives the tests: the pool's thread may still hold it for a moment after an answer.
  static inline asio::io_context loop_;
  std::unique_ptr<NodeStats> stats_;
  NodeSource source_;
};

Task<void> SummaryInto(NodeStats& stats, NodeSource source, bool* ok) {
  *ok = (co_await stats.Summary(std::move(source), true)).ok();
}

// One that walks large volumes holds one thread of the pool, however many ask meanwhile.
TEST_F(NodeStatsTest, RequestsWaitForEachOtherOnTheLoop) {
  asio::io_context loop, pool;
  const BlockingOn own(pool.get_executor());
  bool ok[3] = {};
  TaskGroup group(loop.get_executor());
  for (bool& one : ok) group.Spawn("summary", SummaryInto(*stats_, source_, &one));
  for (size_t left = 3; left > 0; --left) {
    loop.restart();
    loop.poll();
    EXPECT_EQ(group.size(), left);
    pool.restart();
    EXPECT_EQ(pool.poll(), 1u);
  }
  loop.restart();
  loop.poll();
  EXPECT_EQ(group.size(), 0u);
  EXPECT_TRUE(ok[0] && ok[1] && ok[2]);
}

// What evictions go by. security.md: etc-hosts-disk: the pod's /etc/hosts counts.
TEST_F(NodeStatsTest, etc_hosts_disk_UseOfNodeAndPod) {
  const auto use = RunTask(loop_, stats_->Use(source_));
  ASSERT_TRUE(use.ok()) << use.status();
  ASSERT_TRUE(use->node);
  EXPECT_EQ(use->node->working_set, 800000u);
  EXPECT_EQ(use->node->available, 4000000u * 1024 - 800000);
  EXPECT_FALSE(use->pods) << "kubepods has no limit here";
  ASSERT_TRUE(use->pids);
  EXPECT_EQ(use->pids->most, 32768);
  EXPECT_EQ(use->pids->running, 336);
  ASSERT_TRUE(use->node_fs && use->image_fs && use->container_fs);
  EXPECT_FALSE(use->dedicated_image_fs);
  const PodUse& pod = use->by_pod.at("uid");
  EXPECT_EQ(pod.memory, 800000u);
  EXPECT_EQ(pod.containers[0].rootfs->bytes, 20480u);
  EXPECT_EQ(pod.containers[0].logs->inodes, 1u);
  const uint64_t volume = pod.volumes.at("v").bytes, logs = pod.containers[0].logs->bytes;
  EXPECT_GE(volume, 5000u);
  EXPECT_GE(pod.ephemeral.bytes, 20480 + volume + logs + 4000);

  source_.pods.clear();
  source_.image_directory = "/proc";  // on another device
  const auto node = RunTask(loop_, stats_->Use(source_));
  ASSERT_TRUE(node.ok());
  EXPECT_TRUE(node->by_pod.empty());
  EXPECT_TRUE(node->dedicated_image_fs);
}

TEST(Stats, CgroupsOfContainersByRuntime) {
  EXPECT_EQ(ContainerCgroupName("containerd", false, "1a"), "1a");
  EXPECT_EQ(ContainerCgroupName("containerd", true, "1a"), "cri-containerd-1a.scope");
  EXPECT_EQ(ContainerCgroupName("cri-o", false, "1a"), "crio-1a");
  EXPECT_EQ(ContainerCgroupName("cri-o", true, "1a"), "crio-1a.scope");
}

TEST_F(NodeStatsTest, Cadvisor) {
  const auto text = RunTask(loop_, stats_->CadvisorMetrics(source_));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text,
              HasSubstr("container_memory_working_set_bytes{container=\"c\",id=\"/kubepods/burstable/poduid/cid\","
                        "image=\"busybox\",name=\"cid\",namespace=\"ns\",pod=\"p\"} 800000 "));
  EXPECT_THAT(*text,
              HasSubstr("container_network_receive_bytes_total{container=\"\",id=\"/kubepods/burstable/poduid/"
                        "sandbox\",image=\"pause\",interface=\"eth0\",name=\"sandbox\",namespace=\"ns\",pod=\"p\"} "
                        "100 "));
  EXPECT_THAT(*text, HasSubstr("{container=\"\",id=\"/kubepods\",image=\"\",name=\"\",namespace=\"\",pod=\"\"}"));
  EXPECT_THAT(*text, HasSubstr("container_scrape_error 0\n"));
}

TEST_F(NodeStatsTest, Resource) {
  const auto text = RunTask(loop_, stats_->ResourceMetrics(source_));
  ASSERT_TRUE(text.ok()) << text.status();
  for (const char* line :
       {"container_cpu_usage_seconds_total{container=\"c\",namespace=\"ns\",pod=\"p\"} 2.5 ",
        "container_start_time_seconds{container=\"c\",namespace=\"ns\",pod=\"p\"} 1.700000101e+09\n",
        "container_swap_limit_bytes{container=\"c\",namespace=\"ns\",pod=\"p\"} 0 ",
        "node_memory_working_set_bytes 800000 ", "pod_memory_working_set_bytes{namespace=\"ns\",pod=\"p\"} 800000 ",
        "resource_scrape_error 0\n"}) {
    EXPECT_THAT(*text, HasSubstr(line));
  }
  const auto recorded = ReadFile("../shared/goldens/kubelet/11-endpoints/metrics-resource.txt");
  if (!recorded.ok()) GTEST_SKIP() << "no recordings here: " << recorded.status();
  const auto headers = [](const std::string& t) {
    std::vector<std::string> lines;
    for (absl::string_view line : absl::StrSplit(t, '\n')) {
      if (line.substr(0, 1) == "#") lines.emplace_back(line);
    }
    return lines;
  };
  EXPECT_EQ(headers(*text), headers(*recorded));
}

TEST_F(NodeStatsTest, ResourceErrorShows) {
  tree_.Add({{"sys/fs/cgroup/cpu/kubepods/burstable/poduid/cid/cpuacct.usage", "x\n"}});
  const auto text = RunTask(loop_, stats_->ResourceMetrics(source_));
  EXPECT_THAT(*text, HasSubstr("resource_scrape_error 1\n"));
  EXPECT_THAT(*text, Not(HasSubstr("container=\"c\"")));
}

// Also etc-hosts-disk (CVE-2020-8557): what a pod writes to its /etc/hosts counts.
TEST_F(NodeStatsTest, Summary) {
  const json summary = Summary();
  const json& node = summary["node"];
  EXPECT_EQ(node["nodeName"], "n1");
  EXPECT_EQ(node["startTime"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(node["cpu"]["usageCoreNanoSeconds"], 2500000000u);
  EXPECT_EQ(node["memory"]["availableBytes"], 4096000000u - 800000u);
  EXPECT_EQ(node["network"]["name"], "eth0");
  EXPECT_EQ(node["network"]["rxBytes"], 100);
  EXPECT_EQ(node["network"]["interfaces"].size(), 1u);
  EXPECT_EQ(node["rlimit"]["maxpid"], 32768);
  EXPECT_EQ(node["rlimit"]["curproc"], 336);
  EXPECT_EQ(node["runtime"]["imageFs"]["usedBytes"], 123);
  EXPECT_EQ(node["systemContainers"][0]["name"], "pods");
  EXPECT_FALSE(node["systemContainers"][0]["memory"].contains("availableBytes"));
  ASSERT_EQ(summary["pods"].size(), 1u);
  const json& pod = summary["pods"][0];
  EXPECT_EQ(pod["podRef"], json({{"name", "p"}, {"namespace", "ns"}, {"uid", "uid"}}));
  EXPECT_EQ(pod["network"]["txBytes"], 500);
  const json& container = pod["containers"][0];
  EXPECT_EQ(container["name"], "c");
  EXPECT_EQ(container["startTime"], "2023-11-14T22:15:01Z");
  EXPECT_EQ(container["memory"]["availableBytes"], 4200000);
  EXPECT_EQ(container["memory"]["pageFaults"], 9);
  EXPECT_EQ(container["rootfs"]["usedBytes"], 20480);
  EXPECT_EQ(container["logs"]["inodesUsed"], 1);
  EXPECT_EQ(pod["volume"][0]["name"], "v");
  EXPECT_EQ(pod["volume"][0]["inodesUsed"], 2);
  EXPECT_EQ(pod["ephemeral-storage"]["inodesUsed"], 9);  // layer 5, log 1, volume 2, hosts 1
  EXPECT_EQ(
      pod["ephemeral-storage"]["usedBytes"].get<uint64_t>(),
      20480 + 4096 + container["logs"]["usedBytes"].get<uint64_t>() + pod["volume"][0]["usedBytes"].get<uint64_t>());
}

TEST_F(NodeStatsTest, SystemContainers) {
  for (const char* cgroup : {"/system.slice", "/system.slice/kubelet.service", "/system.slice/containerd.service",
                             "/system.slice/containerd.service/below"}) {
    AddCgroup(cgroup);
  }
  source_.system.push_back({.name = "kubelet",
                            .cgroup = "/system.slice/kubelet.service",
                            .started = std::chrono::system_clock::from_time_t(1700000102)});
  source_.system.push_back({.name = "runtime", .cgroup = "/system.slice/containerd.service", .started = {}});
  source_.system.push_back({.name = "misc", .cgroup = "/gone", .started = {}});
  for (const bool short_form : {false, true}) {
    const json system = Summary(short_form)["node"]["systemContainers"];
    ASSERT_EQ(system.size(), 3u);
    EXPECT_EQ(system[1]["name"], "kubelet");
    EXPECT_EQ(system[1]["startTime"], "2023-11-14T22:15:02Z");
    EXPECT_EQ(system[1]["memory"]["workingSetBytes"], 800000);
    EXPECT_EQ(system[2]["name"], "runtime");
    EXPECT_EQ(system[2]["cpu"]["usageCoreNanoSeconds"], 2500000000u);
  }
  // As upstream's roots: what is below one too, and nothing else.
  const auto text = RunTask(loop_, stats_->CadvisorMetrics(source_));
  ASSERT_TRUE(text.ok());
  for (const char* cgroup : {"kubelet.service", "containerd.service", "containerd.service/below"}) {
    EXPECT_THAT(*text,
                HasSubstr(absl::StrCat("container_memory_rss{container=\"\",id=\"/system.slice/", cgroup, "\"")));
  }
  EXPECT_THAT(*text, Not(HasSubstr("id=\"/system.slice\"")));
}

// With CRI-O, writable layers may lie elsewhere than images.
TEST_F(NodeStatsTest, ASplitImageFileSystem) {
  source_.container_directory = source_.image_directory;
  source_.container_used_bytes = 456;
  EXPECT_EQ(Summary()["node"]["runtime"]["containerFs"]["usedBytes"], 123);
  source_.container_directory = "/proc";
  const json runtime = Summary()["node"]["runtime"];
  EXPECT_EQ(runtime["imageFs"]["usedBytes"], 123);
  EXPECT_EQ(runtime["containerFs"]["usedBytes"], 456);
  EXPECT_NE(runtime["imageFs"]["capacityBytes"], runtime["containerFs"]["capacityBytes"]);
}

// What a local volume holds its file system says, however many files there are.
TEST_F(NodeStatsTest, LocalClaimsAreNotWalked) {
  VolumeStatsSource claim = source_.pods[0].volumes[0];
  claim.name = "claim";
  claim.pvc_name = "data";
  claim.ephemeral = claim.walked = false;
  claim.path = tree_.path() + "/lib";
  source_.pods[0].volumes.push_back(claim);
  const json pod = Summary()["pods"][0];
  ASSERT_EQ(pod["volume"].size(), 2u);
  const json& volume = pod["volume"][1];
  EXPECT_EQ(volume["pvcRef"], json({{"name", "data"}, {"namespace", "ns"}}));
  EXPECT_EQ(volume["inodesUsed"].get<uint64_t>(),
            volume["inodes"].get<uint64_t>() - volume["inodesFree"].get<uint64_t>());
  EXPECT_EQ(pod["ephemeral-storage"]["inodesUsed"], 9);
  source_.pods.push_back(source_.pods[0]);  // one claim of two pods
  const auto claims = RunTask(loop_, stats_->Claims(source_));
  ASSERT_EQ(claims.size(), 1u);
  EXPECT_EQ(claims[0].namespace_, "ns");
  EXPECT_EQ(claims[0].name, "data");
  EXPECT_EQ(claims[0].figures.used.bytes, volume["usedBytes"].get<uint64_t>());
}

TEST_F(NodeStatsTest, WithoutAPeriodVolumesHaveNoFigures) {
  auto stats = NodeStats::Open(
      {.root = tree_.path(), .pressure = true, .version = "v1", .volumes = {.period = std::chrono::seconds(-1)}});
  ASSERT_TRUE(stats.ok());
  stats_ = *std::move(stats);
  const json pod = Summary()["pods"][0];
  EXPECT_FALSE(pod.contains("volume"));
  EXPECT_EQ(pod["ephemeral-storage"]["inodesUsed"], 7);
}

class VolumeSizesTest : public testing::Test {
 protected:
  VolumeSizesTest() { AddFiles(0, 1000); }
  void AddFiles(int from, int to) {
    for (int i = from; i < to; ++i) tree_.Add({{absl::StrCat("v/", i % 3, "/", i), "x"}});
  }
  void Ask() {
    Spawn(loop_.get_executor(), "ask", sizes_.Refresh({{.path = tree_.path() + "/v", .walked = true}}));
    Poll();
  }
  void Poll() {
    loop_.restart();
    loop_.poll();
  }
  // A piece of a walk; false when none waits.
  bool Piece() {
    pool_.restart();
    const bool any = pool_.poll_one() > 0;
    Poll();
    return any;
  }
  uint64_t Inodes() const {
    const auto latest = sizes_.Latest(tree_.path() + "/v");
    return latest ? latest->used.inodes : 0;
  }

  FakeTree tree_;
  asio::io_context loop_, pool_;
  const BlockingOn own_{pool_.get_executor()};
  VolumeSizes sizes_{{.period = std::chrono::nanoseconds(1),
                      .patience = std::chrono::nanoseconds(0),
                      .piece = {.entries = 100, .time = std::chrono::minutes(1)}}};
};

// A pod is evicted for its sizeLimit as soon as so much was seen, and no number of files hides what comes after them.
TEST_F(VolumeSizesTest, WhatAWalkHasFoundCountsBeforeItsEnd) {
  Ask();
  EXPECT_EQ(Inodes(), 0u);
  for (uint64_t before = 0; Piece(); before = Inodes()) EXPECT_GE(Inodes(), before);
  EXPECT_EQ(Inodes(), 1004u);
}

TEST_F(VolumeSizesTest, AWalkUnderWayIsNeverLessThanTheLastWholeOne) {
  Ask();
  while (Piece()) {
  }
  ASSERT_EQ(Inodes(), 1004u);
  AddFiles(1000, 1500);
  Ask();
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(Piece());
    EXPECT_EQ(Inodes(), 1004u) << i;
    Ask();  // does not begin another
  }
  while (Piece()) {
  }
  EXPECT_EQ(Inodes(), 1504u);
  tree_.Remove("v/0");
  Ask();
  ASSERT_TRUE(Piece());
  EXPECT_EQ(Inodes(), 1504u);
  while (Piece()) {
  }
  EXPECT_EQ(Inodes(), 1003u);
  tree_.Remove("v");
  Ask();
  while (Piece()) {
  }
  EXPECT_EQ(Inodes(), 0u);
}

// A large one does not hold up the others.
TEST_F(VolumeSizesTest, WalksTakeTurns) {
  tree_.Add({{"small/file", "x"}});
  Spawn(loop_.get_executor(), "ask",
        sizes_.Refresh(
            {{.path = tree_.path() + "/v", .walked = true}, {.path = tree_.path() + "/small", .walked = true}}));
  Poll();
  ASSERT_TRUE(Piece());
  ASSERT_TRUE(Piece());
  ASSERT_TRUE(sizes_.Latest(tree_.path() + "/small"));
  EXPECT_EQ(sizes_.Latest(tree_.path() + "/small")->used.inodes, 2u);
  EXPECT_LT(Inodes(), 300u);
}

// Two that do not end soon hold up nobody, and what waits holds no descriptors.
TEST_F(VolumeSizesTest, LongWalksDoNotHoldUpOthers) {
  std::vector<VolumeSizes::Volume> all;
  for (const char* name : {"v", "w1", "w2", "w3", "small"}) {
    for (int i = 0; i < (name[0] == 'w' ? 300 : 1); ++i) tree_.Add({{absl::StrCat(name, "/file", i), "x"}});
    all.push_back({.path = absl::StrCat(tree_.path(), "/", name), .walked = true});
  }
  VolumeSizes sizes({.period = std::chrono::hours(1),
                     .patience = std::chrono::nanoseconds(0),
                     .piece = {.entries = 10, .time = std::chrono::minutes(1)}});
  Spawn(loop_.get_executor(), "ask", sizes.Refresh(all));
  Poll();
  size_t pieces = 0, small_at = 0;
  for (; Piece(); ++pieces) {
    size_t held = 0;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      held += std::filesystem::read_symlink(fd.path(), gone).string().starts_with(tree_.path()) ? 1 : 0;
    }
    EXPECT_LE(held, 4u);
    if (small_at == 0 && sizes.Latest(tree_.path() + "/small")) small_at = pieces;
    ASSERT_LT(pieces, 2000u);
  }
  EXPECT_GT(small_at, 0u);
  EXPECT_LT(small_at, 120u);
  EXPECT_GT(pieces, 190u);
  EXPECT_EQ(sizes.Latest(tree_.path() + "/v")->used.inodes, 1005u);
  for (const char* name : {"/w1", "/w2", "/w3"}) EXPECT_EQ(sizes.Latest(tree_.path() + name)->used.inodes, 301u);
}

// A directory of a server that is gone.
TEST_F(VolumeSizesTest, APieceThatHangsHoldsUpNobody) {
  tree_.Add({{"small/file", "x"}});
  const std::string v = tree_.path() + "/v", small = tree_.path() + "/small";
  VolumeSizes sizes({.period = std::chrono::nanoseconds(1),
                     .patience = std::chrono::milliseconds(200),
                     .piece = {.entries = 100, .time = std::chrono::minutes(1)},
                     .hang = std::chrono::nanoseconds(0)});
  const auto at_once = [&] {
    bool done = false;
    Spawn(loop_.get_executor(), "ask", [](VolumeSizes& s, std::string a, std::string b, bool* end) -> Task<void> {
      co_await s.Refresh({{.path = std::move(a), .walked = true}, {.path = std::move(b), .walked = true}});
      *end = true;
    }(sizes, v, small, &done));
    Poll();
    const bool out = done;
    loop_.restart();
    while (!done && loop_.run_one() > 0) {
    }
    return out;
  };
  EXPECT_FALSE(at_once());  // waited for, once
  asio::io_context rest;
  const BlockingOn other(rest.get_executor());
  const auto run = [&] {
    size_t ran = 0;
    Poll();
    for (rest.restart(); rest.poll_one() > 0; rest.restart()) {
      ++ran;
      Poll();
    }
    return ran;
  };
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(at_once());
    EXPECT_EQ(run(), 1u) << i;  // the small one
    ASSERT_TRUE(sizes.Latest(small));
    EXPECT_EQ(sizes.Latest(small)->used.inodes, 2u);
    EXPECT_FALSE(sizes.Latest(v));
  }
  ASSERT_TRUE(Piece());  // it is back, and goes on
  ASSERT_TRUE(sizes.Latest(v));
  EXPECT_GE(run(), 10u);
  EXPECT_EQ(sizes.Latest(v)->used.inodes, 1004u);
}

TEST(Stats, TheImageOfASandbox) {
  EXPECT_EQ(SandboxImageOf(R"({"pid":7,"image":"registry.k8s.io/pause:3.9"})"), "registry.k8s.io/pause:3.9");
  EXPECT_EQ(SandboxImageOf(R"({"image":7})"), "");
  EXPECT_EQ(SandboxImageOf("{"), "");
}

TEST_F(NodeStatsTest, WhatIsGoneIsLeftOut) {
  tree_.Remove("sys/fs/cgroup/cpu/kubepods/burstable/poduid/cid");
  tree_.Remove("sys/fs/cgroup/memory/kubepods/burstable/poduid/cid");
  source_.pods[0].volumes[0].path += "/gone";
  const json summary = Summary();
  EXPECT_TRUE(summary["pods"][0]["containers"].empty());
  EXPECT_FALSE(summary["pods"][0].contains("volume"));
  tree_.Remove("sys/fs/cgroup/cpu/kubepods");
  tree_.Remove("sys/fs/cgroup/memory/kubepods");
  EXPECT_TRUE(Summary()["pods"].empty());
}

// The names of the fields at every level, lists taken as their first element.
void Paths(const json& value, const std::string& path, std::set<std::string>* out) {
  if (value.is_array()) {
    if (!value.empty()) Paths(value[0], path + "[]", out);
    return;
  }
  out->insert(path);
  if (!value.is_object()) return;
  for (const auto& [key, child] : value.items()) Paths(child, path + "." + key, out);
}

TEST_F(NodeStatsTest, FieldsAsRecorded) {
  for (const auto& [file, short_form] :
       {std::pair("stats-summary.json", false), std::pair("stats-summary-cpu-and-memory.json", true)}) {
    const auto recorded = ReadFile(std::string("../shared/goldens/kubelet/11-endpoints/") + file);
    if (!recorded.ok()) GTEST_SKIP() << "no recordings here: " << recorded.status();
    std::set<std::string> theirs, ours;
    Paths(json::parse(*recorded)["response"]["body"], "", &theirs);
    Paths(Summary(short_form), "", &ours);
    for (const std::string& path : theirs) {
      // Rates need a second reading; a limit on all pods is the recording's.
      if (path.ends_with("usageNanoCores") || path == ".node.systemContainers[].memory.availableBytes") continue;
      EXPECT_TRUE(ours.contains(path)) << file << ": " << path << " is missing";
    }
    for (const std::string& path : ours) {
      if (path.starts_with(".pods[].network")) continue;  // the recorded kubelet did not know its sandboxes
      EXPECT_TRUE(theirs.contains(path)) << file << ": " << path << " is new";
    }
  }
}

TEST_F(NodeStatsTest, NoCgroups) {
  FakeTree empty;
  EXPECT_FALSE(NodeStats::Open({.root = empty.path(), .pressure = true, .version = ""}).ok());
}

}  // namespace
}  // namespace skiff::kubelet
