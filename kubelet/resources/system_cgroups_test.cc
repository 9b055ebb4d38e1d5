#include "kubelet/resources/system_cgroups.h"

#include <gtest/gtest.h>

#include "cadvisor/fake_tree.h"

namespace skiff::kubelet {
namespace {

using cadvisor::FakeTree;

TEST(ProcessCgroup, AsUpstreamNamesIt) {
  EXPECT_EQ(ParseProcessCgroup("0::/system.slice/kubelet.service\n", true).value_or("?"),
            "/system.slice/kubelet.service");
  EXPECT_EQ(ParseProcessCgroup("0::/\n", true).value_or("?"), "/");
  EXPECT_EQ(ParseProcessCgroup("4:memory:/\n2:cpu,cpuacct:/\n1:name=systemd:/a:b\n0::/x\n", false).value_or("?"),
            "/a:b");
  EXPECT_EQ(ParseProcessCgroup("4:memory:/k\n2:cpu:/k\n", false).value_or("?"), "/k");
  // As on the machine of the recordings, where upstream shows no system container "kubelet".
  const auto apart =
      ParseProcessCgroup("9:name=systemd:/\n4:memory:/process_api/a\n2:cpuacct:/\n1:cpu:/\n0::/\n", false);
  EXPECT_EQ(apart.status().message(), "cpu and memory cgroup hierarchy not unified.  cpu: /, memory: /process_api/a");
  EXPECT_FALSE(ParseProcessCgroup("2:cpu:/k\n", false).ok());
  EXPECT_FALSE(ParseProcessCgroup("nonsense\n", true).ok());
}

class SystemCgroupsTest : public testing::Test {
 protected:
  void AddProcess(const std::string& pid, const std::string& cgroup) {
    tree_.Add({{"proc/" + pid + "/cgroup", cgroup}, {"proc/" + pid + "/oom_score_adj", "0"}});
    tree_.Link("pid:[1]", "proc/" + pid + "/ns/pid");
    tree_.Link("/bin/x", "proc/" + pid + "/exe");
  }
  std::string Read(const std::string& file) { return ReadFile(tree_.path() + "/" + file).value_or("?"); }
  SystemCgroups Make(Cgroups& cgroups, std::string kubelet, std::string system = "") {
    auto made = SystemCgroups::Make({.kubelet = std::move(kubelet),
                                     .system = std::move(system),
                                     .oom_score_adj = -7,
                                     .pid = 42,
                                     .proc = tree_.path() + "/proc"},
                                    cgroups);
    if (!made.ok()) abort();
    return *std::move(made);
  }
  FakeTree tree_;
};

TEST_F(SystemCgroupsTest, TheKubeletIsWhereItIs) {
  AddProcess("1", "0::/\n");
  AddProcess("42", "0::/system.slice/kubelet.service\n");
  tree_.Add({{"sys/fs/cgroup/cgroup.controllers", "cpu memory\n"}});
  Cgroups cgroups({.mount = tree_.path() + "/sys/fs/cgroup"});
  SystemCgroups system = Make(cgroups, "");
  EXPECT_EQ(system.kubelet(), "");
  ASSERT_TRUE(system.Ensure().ok());
  EXPECT_EQ(system.kubelet(), "/system.slice/kubelet.service");
  EXPECT_EQ(Read("proc/42/oom_score_adj"), "-7");
  EXPECT_EQ(system.system(), "");
  EXPECT_EQ(system.period(), std::chrono::minutes(5));
}

TEST_F(SystemCgroupsTest, WithoutItsScoreTheKubeletHasNoName) {
  AddProcess("1", "0::/\n");
  AddProcess("42", "0::/k\n");
  tree_.Remove("proc/42/oom_score_adj");
  tree_.Add({{"sys/fs/cgroup/cgroup.controllers", "cpu memory\n"}});
  Cgroups cgroups({.mount = tree_.path() + "/sys/fs/cgroup"});
  SystemCgroups system = Make(cgroups, "");
  EXPECT_FALSE(system.Ensure().ok());
  EXPECT_EQ(system.kubelet(), "");
}

// A kubelet that may not look at the init process cannot tell where it runs.
TEST_F(SystemCgroupsTest, WithoutThePidNamespaceOfInitNothingIsNamed) {
  AddProcess("42", "0::/k\n");
  tree_.Add({{"sys/fs/cgroup/cgroup.controllers", "cpu memory\n"}});
  Cgroups cgroups({.mount = tree_.path() + "/sys/fs/cgroup"});
  SystemCgroups system = Make(cgroups, "");
  EXPECT_FALSE(system.Ensure().ok());
  EXPECT_EQ(system.kubelet(), "");
  EXPECT_EQ(Read("proc/42/oom_score_adj"), "0");
}

TEST_F(SystemCgroupsTest, ProcessesAreMovedToWhereTheyAreConfigured) {
  AddProcess("1", "0::/\n");
  AddProcess("42", "0::/\n");
  AddProcess("50", "0::/\n");
  tree_.Add({{"sys/fs/cgroup/cgroup.controllers", "cpu memory\n"},
             {"sys/fs/cgroup/cgroup.procs", "0\n1\n2\n50\n"},  // 2 has no exe: the kernel's
             {"sys/fs/cgroup/a/kubelet/cgroup.procs", ""},
             {"sys/fs/cgroup/system/cgroup.procs", ""}});
  Cgroups cgroups({.mount = tree_.path() + "/sys/fs/cgroup"});
  SystemCgroups system = Make(cgroups, "a/kubelet", "/system");
  EXPECT_EQ(system.kubelet(), "/a/kubelet");
  EXPECT_EQ(system.system(), "/system");
  EXPECT_EQ(system.period(), std::chrono::minutes(1));
  EXPECT_TRUE(system.Ensure().ok());
  EXPECT_EQ(Read("sys/fs/cgroup/a/kubelet/cgroup.procs"), "42");
  EXPECT_EQ(Read("sys/fs/cgroup/system/cgroup.procs").substr(0, 2), "50");
  // In a PID namespace of its own it stays.
  tree_.Add({{"sys/fs/cgroup/a/kubelet/cgroup.procs", ""}});
  tree_.Remove("proc/1/ns/pid");
  tree_.Link("pid:[2]", "proc/1/ns/pid");
  EXPECT_TRUE(Make(cgroups, "/a/kubelet").Ensure().ok());
  EXPECT_EQ(Read("sys/fs/cgroup/a/kubelet/cgroup.procs"), "");
  EXPECT_EQ(
      SystemCgroups::Make({.kubelet = "", .system = "/", .proc = tree_.path() + "/proc"}, cgroups).status().message(),
      "system container cannot be root (\"/\")");
}

TEST_F(SystemCgroupsTest, InEveryHierarchyOfV1) {
  AddProcess("1", "1:cpu,cpuacct:/\n2:memory:/\n");
  AddProcess("42", "1:cpu,cpuacct:/\n2:memory:/\n");
  for (const char* name : {"cpu,cpuacct", "memory", "devices", "systemd"}) {
    tree_.Add({{absl::StrCat("sys/fs/cgroup/", name, "/kubelet/cgroup.procs"), ""}});
  }
  Cgroups cgroups({.mount = tree_.path() + "/sys/fs/cgroup"});
  EXPECT_TRUE(Make(cgroups, "/kubelet").Ensure().ok());
  for (const char* name : {"cpu,cpuacct", "memory", "devices", "systemd"}) {
    EXPECT_EQ(Read(absl::StrCat("sys/fs/cgroup/", name, "/kubelet/cgroup.procs")), "42") << name;
  }
}

}  // namespace
}  // namespace skiff::kubelet
