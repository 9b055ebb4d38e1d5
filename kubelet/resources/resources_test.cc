#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/async_testing.h"
#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/resources/cgroup_names.h"
#include "kubelet/resources/cgroups.h"
#include "kubelet/resources/pod_resources.h"

namespace skiff::kubelet {
namespace {

using testing_pods::MakePod;

void Set(core::Container* c, const char* what, const char* name, const char* value) {
  auto* r = c->mutable_resources();
  auto* map = std::string_view(what) == "limits" ? r->mutable_limits() : r->mutable_requests();
  (*map)[name] = api::Quantity::Of(value).ToProto();
}

TEST(CgroupNames, BothDrivers) {
  struct Case {
    const char* root;
    bool systemd;
    const char* qos;
    const char *path, *runtime;
  };
  for (const Case& c : {
           Case{"", false, "Guaranteed", "kubepods/poda-b", "/kubepods/poda-b"},
           {"/lab-n1", false, "Burstable", "lab-n1/kubepods/burstable/poda-b", "/lab-n1/kubepods/burstable/poda-b"},
           {"/a/b", false, "BestEffort", "a/b/kubepods/besteffort/poda-b", "/a/b/kubepods/besteffort/poda-b"},
           {"", true, "Burstable", "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice",
            "kubepods-burstable-poda_b.slice"},
           {"", true, "Guaranteed", "kubepods.slice/kubepods-poda_b.slice", "kubepods-poda_b.slice"},
       }) {
    CgroupNames names(c.root, c.systemd);
    EXPECT_EQ(names.Pod(c.qos, "a-b"), c.path);
    EXPECT_EQ(names.ForRuntime(c.qos, "a-b"), c.runtime);
    std::string last = names.Pod(c.qos, "a-b");
    EXPECT_EQ(names.UidOf(last.substr(last.rfind('/') + 1)), "a-b");
  }
  EXPECT_EQ(CgroupNames("", false).UidOf("burstable"), "");
  EXPECT_EQ(CgroupNames("", true).UidOf("kubepods-burstable.slice"), "");
}

TEST(PodResources, QosClasses) {
  Pod pod = MakePod({"c"});
  EXPECT_EQ(QosClass(pod), "BestEffort");
  auto* c = pod.mutable_spec()->mutable_containers(0);
  Set(c, "requests", "cpu", "100m");
  EXPECT_EQ(QosClass(pod), "Burstable");
  Set(c, "limits", "cpu", "100m");
  Set(c, "limits", "memory", "1Mi");
  EXPECT_EQ(QosClass(pod), "Burstable");
  Set(c, "requests", "memory", "1Mi");
  EXPECT_EQ(QosClass(pod), "Guaranteed");
  // The pod's own count instead where there are any, be they none: as the API server's class, which stays.
  pod.mutable_spec()->mutable_resources();
  EXPECT_EQ(QosClass(pod), "BestEffort");
  pod.mutable_status()->set_qosclass("Burstable");
  EXPECT_EQ(QosClass(pod), "Burstable");
}

TEST(PodResources, RecordedBurstablePod) {
  // The values of the recording kubelet/14-in-container/v-burstable.
  Pod pod = MakePod({"c", "nolimits", "reqonly"});
  auto* c = pod.mutable_spec()->mutable_containers(0);
  Set(c, "requests", "cpu", "100m");
  Set(c, "requests", "memory", "32Mi");
  Set(c, "limits", "cpu", "200m");
  Set(c, "limits", "memory", "64Mi");
  auto* r = pod.mutable_spec()->mutable_containers(2);
  Set(r, "requests", "cpu", "5m");
  Set(r, "requests", "memory", "1Gi");
  EXPECT_EQ(Get(PodRequests(pod), "cpu").ToString(), "105m");
  EXPECT_EQ(Get(PodRequests(pod), "memory").ToString(), "1056Mi");
  CgroupResources cgroup = PodCgroupResources(pod, true, 100000, -1);
  EXPECT_EQ(cgroup.cpu_shares, 107);
  EXPECT_FALSE(cgroup.cpu_quota.has_value());
  EXPECT_FALSE(cgroup.memory_limit.has_value());
  EXPECT_EQ(MilliCpuToShares(100), 102);
  EXPECT_EQ(MilliCpuToQuota(200, 100000), 20000);
  EXPECT_EQ(MilliCpuToShares(0), 2);
}

TEST(PodResources, InitContainersAndSidecars) {
  Pod pod = MakePod({"c"}, {"side", "init"});
  pod.mutable_spec()->mutable_initcontainers(0)->set_restartpolicy("Always");
  Set(pod.mutable_spec()->mutable_containers(0), "requests", "cpu", "100m");
  Set(pod.mutable_spec()->mutable_initcontainers(0), "requests", "cpu", "50m");
  Set(pod.mutable_spec()->mutable_initcontainers(1), "requests", "cpu", "300m");
  EXPECT_EQ(Get(PodRequests(pod), "cpu").ToString(), "350m");  // the init container beside the sidecar
}

TEST(PodResources, OomScores) {
  Pod pod = MakePod({"c"});
  const int64_t memory = int64_t{8} << 30;
  EXPECT_EQ(OomScoreAdjust(pod, pod.spec().containers(0), memory), 1000);
  (*pod.mutable_metadata()->mutable_annotations())["kubernetes.io/config.source"] = "file";
  EXPECT_EQ(OomScoreAdjust(pod, pod.spec().containers(0), memory), 1000) << "a static pod is no more than others";
  pod.mutable_spec()->set_priorityclassname("system-node-critical");
  EXPECT_EQ(OomScoreAdjust(pod, pod.spec().containers(0), memory), -997);
  pod = MakePod({"c"});
  pod.mutable_spec()->set_priorityclassname("system-node-critical");
  EXPECT_EQ(OomScoreAdjust(pod, pod.spec().containers(0), memory), 1000) << "a name alone does not make it critical";
  pod.mutable_spec()->set_priority(2000001000);
  EXPECT_EQ(OomScoreAdjust(pod, pod.spec().containers(0), memory), -997);
  pod = MakePod({"c"});
  auto* c = pod.mutable_spec()->mutable_containers(0);
  Set(c, "requests", "memory", "4Gi");
  EXPECT_EQ(OomScoreAdjust(pod, *c, memory), 500);
  Set(c, "requests", "memory", "1");
  EXPECT_EQ(OomScoreAdjust(pod, *c, memory), 999);
  Set(c, "requests", "memory", "8Gi");
  EXPECT_EQ(OomScoreAdjust(pod, *c, memory), 3);
  Set(c, "limits", "memory", "8Gi");
  Set(c, "limits", "cpu", "1");
  Set(c, "requests", "cpu", "1");
  EXPECT_EQ(OomScoreAdjust(pod, *c, memory), -997);
}

TEST(PodResources, WeightsOfV2) {
  EXPECT_EQ(SharesToWeight(2), 1);
  EXPECT_EQ(SharesToWeight(1024), 39);
  EXPECT_EQ(SharesToWeight(2048), 79);
  EXPECT_EQ(SharesToWeight(262144), 10000);
}

// A tree of plain files with the names of a v1 host.
class CgroupsTest : public ::testing::Test {
 protected:
  CgroupsTest() {
    char name[] = "/tmp/skiff-cgroup-XXXXXX";
    root = ::mkdtemp(name);
  }
  ~CgroupsTest() override { std::filesystem::remove_all(root); }
  Status Do(Task<Status> change) { return RunTask(loop, std::move(change)); }
  asio::io_context loop;
  std::string root;
};

TEST_F(CgroupsTest, MakesAndFindsAndRemovesV1) {
  for (const char* c : {"cpu,cpuacct", "memory", "pids"}) ASSERT_TRUE(MakeDirs(JoinPath(root, c)).ok());
  ASSERT_TRUE(MakeDirs(JoinPath(root, "unified")).ok());
  Cgroups cgroups({.mount = root, .names = CgroupNames("/n1", false)});
  EXPECT_FALSE(cgroups.v2());
  ASSERT_TRUE(cgroups.MakeRoots({.cpu_shares = 2048, .memory_limit = 1 << 30}).ok());
  Pod pod = MakePod({"c"});
  EXPECT_FALSE(cgroups.PodExists(pod));
  ASSERT_TRUE(Do(cgroups.MakePod(pod)).ok());
  EXPECT_TRUE(cgroups.PodExists(pod));
  EXPECT_TRUE(Exists(root + "/memory/n1/kubepods/besteffort/podu-1"));
  EXPECT_TRUE(Exists(root + "/cpu,cpuacct/n1/kubepods/besteffort/podu-1"));
  EXPECT_FALSE(Exists(root + "/unified/n1"));
  ASSERT_TRUE(MakeDirs(root + "/unified/n1/kubepods/besteffort/podu-1/container").ok()) << "as runc does";
  EXPECT_EQ(cgroups.PodsOnDisk(), std::set<std::string>{"u-1"});
  ASSERT_TRUE(Do(cgroups.RemovePod("u-1")).ok());
  EXPECT_TRUE(Do(cgroups.RemovePod("u-1")).ok()) << "idempotent";
  EXPECT_TRUE(cgroups.PodsOnDisk().empty());
  EXPECT_FALSE(Exists(root + "/unified/n1/kubepods/besteffort/podu-1"));
}

// As upstream: it is there once every hierarchy has it, and what was made halfway is made whole, with its limits.
TEST_F(CgroupsTest, APodsCgroupThatWasMadeHalfwayIsNotThere) {
  for (const char* c : {"cpu,cpuacct", "memory", "pids"}) ASSERT_TRUE(MakeDirs(JoinPath(root, c)).ok());
  Cgroups cgroups({.mount = root, .names = CgroupNames("/n1", false)});
  ASSERT_TRUE(cgroups.MakeRoots({}).ok());
  const Pod pod = MakePod({"c"});
  ASSERT_TRUE(Do(cgroups.MakePod(pod)).ok());
  std::filesystem::remove(root + "/pids/n1/kubepods/besteffort/podu-1");
  EXPECT_FALSE(cgroups.PodExists(pod));
  EXPECT_TRUE(cgroups.PodHasMemoryCgroup(pod));
  ASSERT_TRUE(Do(cgroups.MakePod(pod)).ok());
  EXPECT_TRUE(cgroups.PodExists(pod));
}

TEST_F(CgroupsTest, MemoryOfAPod) {
  ASSERT_TRUE(MakeDirs(root + "/memory/kubepods/besteffort/podu-1").ok());
  Cgroups cgroups({.mount = root});
  const Pod pod = MakePod({"c"});
  EXPECT_FALSE(cgroups.ReadPodMemory(pod)->usage);
  ASSERT_TRUE(WriteFileAtomic(root + "/memory/kubepods/besteffort/podu-1/memory.usage_in_bytes", "4096\n").ok());
  ASSERT_TRUE(WriteFileAtomic(root + "/memory/kubepods/besteffort/podu-1/memory.limit_in_bytes", "8192\n").ok());
  EXPECT_EQ(cgroups.ReadPodMemory(pod)->usage, 4096);
  EXPECT_EQ(cgroups.ReadPodMemory(pod)->limit, 8192);
  EXPECT_FALSE(Cgroups({.mount = root, .enabled = false}).ReadPodMemory(pod));
}

TEST_F(CgroupsTest, WritesValues) {
  ASSERT_TRUE(MakeDirs(root + "/cpu/kubepods/burstable").ok());
  ASSERT_TRUE(MakeDirs(root + "/memory").ok());
  ASSERT_TRUE(WriteFileAtomic(root + "/cpu/kubepods/burstable/cpu.shares", "2").ok());
  Cgroups cgroups({.mount = root});
  ASSERT_TRUE(Do(cgroups.SetBurstableMilliCpu(500)).ok());
  EXPECT_EQ(ReadFile(root + "/cpu/kubepods/burstable/cpu.shares").value_or(""), "512");
}

TEST_F(CgroupsTest, HugePagesOfPodsAndClasses) {
  const std::vector<std::string> sizes = {"1GB", "2MB"};
  ASSERT_TRUE(MakeDirs(root + "/memory").ok());
  for (const char* path : {"", "/burstable", "/besteffort", "/podu-1", "/besteffort/podu-1"}) {
    const std::string dir = absl::StrCat(root, "/hugetlb/kubepods", path);
    ASSERT_TRUE(MakeDirs(dir).ok());
    for (const std::string& size : sizes) {
      ASSERT_TRUE(WriteFileAtomic(dir + "/hugetlb." + size + ".limit_in_bytes", "").ok());
    }
  }
  auto limit = [&](const char* path, const char* size) {
    return ReadFile(absl::StrCat(root, "/hugetlb/kubepods", path, "/hugetlb.", size, ".limit_in_bytes")).value_or("?");
  };
  Cgroups cgroups({.mount = root, .page_sizes = sizes});
  ASSERT_TRUE(cgroups.MakeRoots({.huge_pages = HugePageLimits{{"2MB", 64 << 20}}}).ok());
  EXPECT_EQ(limit("", "2MB"), "67108864");
  EXPECT_EQ(limit("", "1GB"), "0");
  EXPECT_EQ(limit("/burstable", "1GB"), "4611686018427387904");
  EXPECT_EQ(limit("/besteffort", "2MB"), "4611686018427387904");
  Pod pod = MakePod({"c"});
  Set(pod.mutable_spec()->mutable_containers(0), "requests", "hugepages-2Mi", "4Mi");
  ASSERT_TRUE(Do(cgroups.MakePod(pod)).ok());
  EXPECT_EQ(limit("/besteffort/podu-1", "2MB"), "4194304");
  EXPECT_EQ(limit("/besteffort/podu-1", "1GB"), "0");
}

TEST_F(CgroupsTest, HugePageSizesOfTheKernel) {
  for (const char* name : {"hugepages-2048kB", "hugepages-1048576kB", "hugepages-64kB", "odd"}) {
    ASSERT_TRUE(MakeDirs(JoinPath(root, name)).ok());
  }
  EXPECT_THAT(HugePageSizes(root), ::testing::UnorderedElementsAre("2MB", "1GB", "64KB"));
  EXPECT_TRUE(HugePageSizes(root + "/none").empty());
}

TEST_F(CgroupsTest, V2Values) {
  ASSERT_TRUE(WriteFileAtomic(root + "/cgroup.controllers", "cpu memory pids hugetlb").ok());
  ASSERT_TRUE(WriteFileAtomic(root + "/cgroup.subtree_control", "").ok());
  const std::string dir = root + "/kubepods/podu-1";
  ASSERT_TRUE(MakeDirs(dir).ok());
  for (const char* file : {"cpu.weight", "cpu.max", "memory.max", "pids.max", "hugetlb.2MB.max"}) {
    ASSERT_TRUE(WriteFileAtomic(dir + "/" + file, "").ok());
  }
  ASSERT_TRUE(WriteFileAtomic(root + "/kubepods/cgroup.subtree_control", "").ok());
  Cgroups cgroups({.mount = root, .pids_limit = 77, .page_sizes = {"2MB"}});
  ASSERT_TRUE(cgroups.v2());
  Pod pod = MakePod({"c"});
  for (const char* what : {"requests", "limits"}) {
    Set(pod.mutable_spec()->mutable_containers(0), what, "cpu", "1500m");
    Set(pod.mutable_spec()->mutable_containers(0), what, "memory", "1Gi");
  }
  ASSERT_TRUE(Do(cgroups.MakePod(pod)).ok());
  auto value = [&](const char* file) { return ReadFile(dir + "/" + file).value_or("?"); };
  EXPECT_EQ(value("cpu.weight"), "59");  // 1536 shares
  EXPECT_EQ(value("cpu.max"), "150000 100000");
  EXPECT_EQ(value("memory.max"), "1073741824");
  EXPECT_EQ(value("pids.max"), "77");
  EXPECT_EQ(value("hugetlb.2MB.max"), "0");
}

TEST_F(CgroupsTest, ReservedCgroupsMustBeThere) {
  ASSERT_TRUE(MakeDirs(root + "/memory/system").ok());
  ASSERT_TRUE(MakeDirs(root + "/cpu/system").ok());
  ASSERT_TRUE(WriteFileAtomic(root + "/cpu/system/cpu.shares", "2").ok());
  Cgroups cgroups({.mount = root});
  EXPECT_TRUE(cgroups.LimitReserved("/system", {.cpu_shares = 512}).ok());
  EXPECT_EQ(ReadFile(root + "/cpu/system/cpu.shares").value_or(""), "512");
  Status missing = cgroups.LimitReserved("/kube", {.cpu_shares = 512});
  EXPECT_EQ(missing.message(), absl::StrCat("cgroup /kube has some missing paths: ", root, "/memory/kube"));
  EXPECT_EQ(CgroupNames("", true).Reserved("/system.slice"), "system.slice");
  EXPECT_EQ(CgroupNames("", true).Reserved("kube-daemons.slice"), "kube.slice/kube-daemons.slice");
}

TEST_F(CgroupsTest, SystemdIsAskedForSlices) {
  ASSERT_TRUE(WriteFileAtomic(root + "/cgroup.controllers", "cpu memory").ok());
  FakeSystemdSlices slices;
  Cgroups cgroups({.mount = root, .names = CgroupNames("", true), .slices = &slices});
  ASSERT_TRUE(cgroups.MakeRoots({.cpu_shares = 2048, .memory_limit = 1 << 30, .pids_limit = 100}).ok());
  const std::string on =
      "MemoryAccounting=true CPUAccounting=true TasksAccounting=true IOAccounting=true "
      "DefaultDependencies=false";
  EXPECT_THAT(
      slices.calls,
      ::testing::ElementsAre("Start kubepods.slice Description=Kubernetes pods: kubepods.slice " + on,
                             "Set kubepods.slice MemoryMax=1073741824 CPUWeight=79 TasksMax=100",
                             "Start kubepods-besteffort.slice Description=Kubernetes pods: kubepods-besteffort.slice "
                             "Wants=kubepods.slice " +
                                 on,
                             "Set kubepods-besteffort.slice CPUWeight=1",
                             "Start kubepods-burstable.slice Description=Kubernetes pods: kubepods-burstable.slice "
                             "Wants=kubepods.slice " +
                                 on,
                             "Set kubepods-burstable.slice CPUWeight=1"));
  slices.calls.clear();
  Pod pod = MakePod({"c"});
  for (const char* what : {"requests", "limits"}) {
    Set(pod.mutable_spec()->mutable_containers(0), what, "cpu", "333m");
    Set(pod.mutable_spec()->mutable_containers(0), what, "memory", "1Mi");
  }
  ASSERT_TRUE(Do(cgroups.MakePod(pod)).ok());
  EXPECT_TRUE(Exists(root + "/kubepods.slice/kubepods-podu_1.slice"));
  // A share of a CPU is rounded up to what systemd can express.
  EXPECT_EQ(slices.calls.back(), "Set kubepods-podu_1.slice MemoryMax=1048576 CPUWeight=13 CPUQuotaPerSecUSec=340000");
  ASSERT_TRUE(Do(cgroups.RemovePod("u-1")).ok());
  EXPECT_EQ(slices.calls.back(), "Stop kubepods-podu_1.slice");
  EXPECT_FALSE(Exists(root + "/kubepods.slice/kubepods-podu_1.slice"));
}

// A memory limit below what pods use is refused by v1: no reason not to start.
TEST_F(CgroupsTest, LimitsOfAnEarlierLifeAreChangedLater) {
  ASSERT_TRUE(MakeDirs(root + "/memory").ok());
  Cgroups cgroups({.mount = root});
  ASSERT_TRUE(cgroups.MakeRoots({.memory_limit = 2 << 20}).ok());
  const std::string file = root + "/memory/kubepods/memory.limit_in_bytes";
  ASSERT_TRUE(WriteFileAtomic(file, "2097152").ok());
  ASSERT_TRUE(cgroups.MakeRoots({.memory_limit = 1 << 20}).ok());
  EXPECT_EQ(ReadFile(file).value_or(""), "2097152");
  ASSERT_TRUE(Do(cgroups.LimitPods({.memory_limit = 1 << 20})).ok());
  EXPECT_EQ(ReadFile(file).value_or(""), "1048576");
  std::filesystem::remove(file);
  ASSERT_TRUE(MakeDirs(file).ok()) << "a write that fails";
  EXPECT_TRUE(cgroups.MakeRoots({.memory_limit = 3 << 20}).ok());
  EXPECT_FALSE(Do(cgroups.LimitPods({.memory_limit = 3 << 20})).ok());
}

TEST_F(CgroupsTest, ControllersThatSystemdTookAwayComeBack) {
  ASSERT_TRUE(WriteFileAtomic(root + "/cgroup.controllers", "cpuset cpu memory").ok());
  Cgroups cgroups({.mount = root});
  ASSERT_TRUE(cgroups.v2());
  ASSERT_TRUE(cgroups.MakeRoots({}).ok());
  const std::string on = root + "/kubepods/cgroup.subtree_control";
  ASSERT_TRUE(WriteFileAtomic(on, "cpu memory").ok());
  ASSERT_TRUE(Do(cgroups.LimitPods({.memory_limit = 1 << 20})).ok());
  EXPECT_EQ(ReadFile(on).value_or("").substr(0, 7), "+cpuset");
}

TEST_F(CgroupsTest, NoHierarchyIsAnError) {
  Cgroups cgroups({.mount = root});
  EXPECT_EQ(cgroups.MakeRoots({}).code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace skiff::kubelet
