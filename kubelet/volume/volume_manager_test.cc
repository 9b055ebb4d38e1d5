#include <sys/stat.h>

#include "kubelet/volume/volume_kind.h"
#include "kubelet/volume/volume_manager_testing.h"
#include "kubelet/volume/volume_setup.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

TEST_F(VolumeManagerTest, EveryKindLiesWhereUpstreamPutsIt) {
  (*objects.config_maps["cm"].mutable_data())["k"] = "v";
  (*objects.secrets["s"].mutable_data())["pass"] = "word";
  const auto pod = PodFrom(
      R"([{"name":"ed","emptyDir":{}},{"name":"mem","emptyDir":{"medium":"Memory","sizeLimit":"8Mi"}},
          {"name":"cm","configMap":{"name":"cm"}},{"name":"sec","secret":{"secretName":"s","defaultMode":256}},
          {"name":"dapi","downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}},
          {"name":"hp","hostPath":{"path":"/etc","type":"Directory"}},
          {"name":"opt","configMap":{"name":"nosuch","optional":true}},
          {"name":"proj","projected":{"sources":[{"serviceAccountToken":{"path":"token","audience":"aud"}},
            {"configMap":{"name":"cm","items":[{"key":"k","path":"cm/k"}]}},
            {"downwardAPI":{"items":[{"path":"ns","fieldRef":{"fieldPath":"metadata.namespace"}}]}}]}}])",
      R"([{"name":"ed","mountPath":"/ed"},{"name":"ed","mountPath":"/sub","subPathExpr":"$(SUB)/y"},
          {"name":"cm","mountPath":"/cm"},{"name":"hp","mountPath":"/hp","readOnly":true},
          {"name":"cm","mountPath":"/k","subPath":"k"}])");
  ASSERT_TRUE(Mount(pod).ok());
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~configmap/cm/k")), "v");
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~secret/sec/pass")), "word");
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~downward-api/dapi/labels")), "a=\"1\"");
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~projected/proj/token")), "token-for-aud-1");
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~projected/proj/cm/k")), "v");
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~projected/proj/ns")), "ns");
  EXPECT_TRUE(Exists(Volume("kubernetes.io~configmap/opt/..data")));
  const auto mounted = mounter.mounts();
  EXPECT_EQ(mounted.at(Volume("kubernetes.io~empty-dir/mem")), "tmpfs size=8388608,noswap");
  EXPECT_EQ(mounted.at(Volume("kubernetes.io~secret/sec")), "tmpfs size=1073741824,noswap");
  EXPECT_EQ(mounted.count(Volume("kubernetes.io~configmap/cm")), 0u);
  struct stat st {};
  ASSERT_EQ(stat(Volume("kubernetes.io~secret/sec/pass").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0400u);
  ASSERT_EQ(stat(Volume("kubernetes.io~empty-dir/ed").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0777u);
  EXPECT_TRUE(Exists(root / "pods/uid-1/plugins/kubernetes.io~empty-dir/wrapped_cm/ready"));
  EXPECT_TRUE(Exists(root / "pods/uid-1/plugins/kubernetes.io~empty-dir/ed/ready"));

  const auto mounts = Mounts(pod);
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  ASSERT_EQ(mounts->size(), 5u);
  EXPECT_EQ((*mounts)[0].host_path, Volume("kubernetes.io~empty-dir/ed"));
  EXPECT_FALSE((*mounts)[0].read_only);
  EXPECT_EQ((*mounts)[1].host_path, root / "pods/uid-1/volume-subpaths/ed/c/1");
  EXPECT_TRUE(Exists(Volume("kubernetes.io~empty-dir/ed/x/y")));
  EXPECT_TRUE((*mounts)[2].read_only);  // configMap volumes always are
  EXPECT_TRUE((*mounts)[0].relabel && (*mounts)[2].relabel);
  EXPECT_FALSE((*mounts)[3].relabel) << "the host's files keep their labels";
  EXPECT_EQ((*mounts)[3].host_path, "/etc");
  EXPECT_TRUE((*mounts)[3].read_only);
  EXPECT_TRUE(absl::StrContains(mounter.mounts().at((*mounts)[4].host_path), "/..2026_01_01_00_00_00."));

  EXPECT_TRUE(manager->HasVolumes("uid-1"));
  EXPECT_EQ(manager->MountedVolumes("uid-1").size(), 8u);
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  EXPECT_TRUE(mounter.mounts().empty());
  EXPECT_FALSE(Exists(root / "pods/uid-1"));
  EXPECT_FALSE(manager->HasVolumes("uid-1"));
  EXPECT_TRUE(objects.registered.empty());
}

TEST_F(VolumeManagerTest, MissingObjectsAreReportedAndRetriedAsRecorded) {
  const auto pod = PodFrom(R"([{"name":"v","configMap":{"name":"late-cm2"}}])");
  std::optional<Status> result;
  Spawn(loop.get_executor(), "wait", Remember(*manager, pod, &result));
  const std::string event =
      R"(Warning FailedMount: MountVolume.SetUp failed for volume "v" : configmap "late-cm2" not found)";
  clock.Advance(0s, loop);
  EXPECT_EQ(events, std::vector<std::string>{event});
  clock.Advance(499ms, loop);
  EXPECT_EQ(events.size(), 1u);
  for (const auto pause : {1ms, 1000ms, 2000ms, 4000ms}) clock.Advance(pause, loop);
  EXPECT_EQ(events.size(), 5u);  // at 0, 0.5, 1.5, 3.5 and 7.5 s
  EXPECT_FALSE(result);
  (*objects.config_maps["late-cm2"].mutable_data())["k"] = "v";
  clock.Advance(8s, loop);
  for (int i = 0; i < 2000 && !result; ++i) loop.run_for(5ms), loop.restart();
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->ok()) << *result;
  EXPECT_EQ(events.size(), 5u);
}

TEST_F(VolumeManagerTest, PatienceEndsInUpstreamsWords) {
  const auto pod = PodFrom(R"([{"name":"v","secret":{"secretName":"nosecret"}}])");
  std::optional<Status> result;
  Spawn(loop.get_executor(), "wait", Remember(*manager, pod, &result));
  clock.Advance(0s, loop);
  for (int i = 0; i < 130; ++i) clock.Advance(1s, loop);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->message(),
            "unmounted volumes=[v], unattached volumes=[], failed to process volumes=[]: context deadline exceeded");
  EXPECT_EQ(events.at(0),
            R"(Warning FailedMount: MountVolume.SetUp failed for volume "v" : secret "nosecret" not found)");
}

TEST_F(VolumeManagerTest, WhatNobodyUsesMayBeMissing) {
  auto pod = std::make_shared<Pod>(*PodFrom(
      R"([{"name":"ed","emptyDir":{}},{"name":"cm","configMap":{"name":"late"}},{"name":"x","nfs":{"server":"x"}},
                   {"name":"v","persistentVolumeClaim":{"claimName":"none"}}])",
      R"([{"name":"ed","mountPath":"/ed"}])"));
  pod->mutable_spec()->mutable_containers()->RemoveLast();
  ASSERT_TRUE(Mount(pod).ok());
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(manager->MountedVolumes("uid-1").size(), 1u);
  EXPECT_TRUE(Mounts(pod).ok());

  // A debugger that comes later mounts one of them.
  (*objects.config_maps["late"].mutable_data())["k"] = "v";
  auto debugged = std::make_shared<Pod>(*pod);
  auto* debugger = debugged->mutable_spec()->add_ephemeralcontainers()->mutable_ephemeralcontainercommon();
  debugger->set_name("debugger");
  debugger->add_volumemounts()->set_name("cm");
  debugger->mutable_volumemounts(0)->set_mountpath("/cm");
  manager->UpdatePod(debugged);
  ASSERT_TRUE(Mount(debugged).ok());
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~configmap/cm/k")), "v");
  EXPECT_TRUE(RunTask(loop, manager->ContainerMounts(debugged, "debugger", {})).ok());
}

TEST_F(VolumeManagerTest, HostPathTypesAreChecked) {
  const auto pod = PodFrom(R"([{"name":"v","hostPath":{"path":"/no/such/dir","type":"Directory"}}])");
  std::optional<Status> result;
  Spawn(loop.get_executor(), "wait", Remember(*manager, pod, &result));
  for (int i = 0; i < 2000 && events.empty(); ++i) loop.run_for(5ms), loop.restart();
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(
      events[0],
      R"(Warning FailedMount: MountVolume.SetUp failed for volume "v" : hostPath type check failed: /no/such/dir is not a directory)");
}

TEST_F(VolumeManagerTest, UnsupportedVolumesSaySo) {
  const auto pod = PodFrom(R"([{"name":"v","nfs":{"server":"x","path":"/"}}])");
  std::optional<Status> result;
  Spawn(loop.get_executor(), "wait", Remember(*manager, pod, &result));
  clock.Advance(0s, loop);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_TRUE(absl::StrContains(events[0], "volume type nfs is not supported")) << events[0];
}

TEST_F(VolumeManagerTest, ClaimsOfHostPathAndLocalVolumes) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  Bind(objects, "x", absl::StrCat(R"("hostPath":{"path":")", root / "disk", R"(","type":"Directory"})"));
  const auto pod = PodFrom(kClaim, kClaimMount);
  ASSERT_TRUE(Mount(pod).ok());
  auto mounts = Mounts(pod);
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  EXPECT_EQ(mounts->at(0).host_path, root / "disk");
  EXPECT_FALSE(mounts->at(0).read_only);
  EXPECT_EQ(manager->MountedVolumes("uid-1")[0].claim, "x");
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());

  EXPECT_FALSE(mounts->at(0).relabel) << "the host's files";
  Bind(objects, "x", absl::StrCat(R"("accessModes":["ReadOnlyMany"],"local":{"path":")", root / "disk", R"("})"));
  ASSERT_TRUE(Mount(pod).ok());
  EXPECT_FALSE(Mounts(pod)->at(0).read_only) << "only the pod says so, not the volume's modes";
  EXPECT_TRUE(Mounts(pod)->at(0).relabel);
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  const auto reader =
      PodFrom(R"([{"name":"v","persistentVolumeClaim":{"claimName":"x","readOnly":true}}])", kClaimMount);
  ASSERT_TRUE(Mount(reader).ok());
  mounts = Mounts(reader);
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  const std::string bound = Volume("kubernetes.io~local-volume/pv");
  EXPECT_EQ(mounts->at(0).host_path, bound);
  EXPECT_TRUE(mounts->at(0).read_only);
  EXPECT_FALSE(mounts->at(0).relabel);
  EXPECT_EQ(mounter.mounts().at(bound), absl::StrCat("bind ", root / "disk", " ro"));
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  EXPECT_TRUE(mounter.mounts().empty());
  EXPECT_TRUE(Exists(root / "disk"));
  EXPECT_TRUE(events.empty());
}

TEST_F(VolumeManagerTest, ClaimsThatCannotBeUsed) {
  const auto pod = PodFrom(kClaim, kClaimMount);
  auto said = [&] { return std::string(Mount(pod).message()); };
  const std::string prefix =
      "unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: error processing PVC ns/x: ";
  EXPECT_EQ(said(), prefix + "failed to fetch PVC from API server: persistentvolumeclaims \"x\" not found");
  clock.Advance(1s, loop);
  Bind(objects, "x", R"("csi":{"driver":"d","volumeHandle":"h"})");
  objects.claims["x"].mutable_status()->set_phase("Pending");
  EXPECT_EQ(said(), prefix + "PVC is not bound");
  clock.Advance(10s, loop);
  objects.claims["x"].mutable_status()->set_phase("Bound");
  objects.volumes["pv"].mutable_spec()->mutable_claimref()->set_uid("other");
  EXPECT_EQ(said(), prefix + "found PV object pv but its pv.Spec.ClaimRef.UID other does not point to claim.UID c1");
  clock.Advance(100s, loop);
  objects.volumes["pv"].mutable_spec()->mutable_claimref()->set_uid("c1");
  EXPECT_TRUE(absl::StrContains(said(), "persistent volume type csi of PV pv is not supported by this kubelet"));
  clock.Advance(200s, loop);
  Bind(objects, "x", R"("volumeMode":"Block","local":{"path":"/dev/x"})");
  EXPECT_TRUE(absl::StrContains(said(), "volume v has volumeMode Block, but is specified in volumeMounts"));
  EXPECT_TRUE(events.empty()) << "the caller tells";
}

TEST_F(VolumeManagerTest, AVolumeOfAnotherNodeIsRefused) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  Bind(objects, "x",
       absl::StrCat(
           R"("nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"k","operator":"In",)",
           R"("values":["there"]}]}]}},"local":{"path":")", root / "disk", R"("})"));
  const auto pod = PodFrom(kClaim, kClaimMount);
  std::optional<Status> result;
  Spawn(loop.get_executor(), "wait", Remember(*manager, pod, &result));
  clock.Advance(0s, loop);
  EXPECT_EQ(events, std::vector<std::string>{"Warning FailedMount: MountVolume.NodeAffinity check failed for volume "
                                             "\"pv\" : no matching NodeSelectorTerms"});
  EXPECT_FALSE(result);
  labels["k"] = "there";
  clock.Advance(500ms, loop);
  for (int i = 0; i < 2000 && !result; ++i) loop.run_for(5ms), loop.restart();
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->ok()) << *result;
  EXPECT_EQ(events.size(), 1u);
}

TEST_F(VolumeManagerTest, ReadWriteOncePodIsForOnePod) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  const std::string local = absl::StrCat(R"("local":{"path":")", root / "disk", R"("})");
  const auto first = PodFrom(kClaim, kClaimMount);
  auto second = std::make_shared<Pod>(*first);
  second->mutable_metadata()->set_uid("uid-2");
  // With several modes nobody knows which is meant.
  Bind(objects, "x", R"("accessModes":["ReadWriteOncePod","ReadWriteOnce"],)" + local);
  ASSERT_TRUE(Mount(first).ok());
  ASSERT_TRUE(Mount(second).ok());
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-2", true)).ok());

  Bind(objects, "x", R"("accessModes":["ReadWriteOncePod"],)" + local);
  ASSERT_TRUE(Mount(first).ok());
  // Of an earlier process too.
  VolumeOptions options;
  options.root_dir = root.path();
  VolumeManager later(loop.get_executor(), options, objects, mounter, clock,
                      [this](const Pod&, std::string_view, std::string_view, std::string_view message) {
                        events.push_back(std::string(message));
                      });
  std::optional<Status> result;
  Spawn(loop.get_executor(), "wait", Remember(later, second, &result));
  for (int i = 0; i < 2000 && events.empty(); ++i) loop.run_for(5ms), loop.restart();
  EXPECT_EQ(events, std::vector<std::string>{"MountVolume.SetUp failed for volume \"pv\" : volume uses the "
                                             "ReadWriteOncePod access mode and is already in use by another pod"});
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  clock.Advance(500ms, loop);
  for (int i = 0; i < 2000 && !result; ++i) loop.run_for(5ms), loop.restart();
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->ok()) << *result;
}

TEST_F(VolumeManagerTest, VolumesBringGroups) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  const auto pod = PodFrom(kClaim, kClaimMount, R"("securityContext":{"supplementalGroups":[7]},)");
  for (const auto& [gid, groups] :
       {std::pair<std::string, std::vector<int64_t>>{"1234", {1234}}, {"7", {}}, {"x", {}}}) {
    Bind(objects, "x", absl::StrCat(R"("local":{"path":")", root / "disk", R"("})"));
    (*objects.volumes["pv"].mutable_metadata()->mutable_annotations())["pv.beta.kubernetes.io/gid"] = gid;
    EXPECT_TRUE(manager->ExtraGroups(*pod).empty());
    ASSERT_TRUE(Mount(pod).ok());
    EXPECT_EQ(manager->ExtraGroups(*pod), groups) << gid;
    ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());
  }
}

// As upstream: the first pod that has a local volume gives it to its group, the others take it as it is.
TEST_F(VolumeManagerTest, ASharedVolumeKeepsItsGroup) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  struct stat disk {};
  ASSERT_EQ(stat((root / "disk").c_str(), &disk), 0);
  Bind(objects, "x", absl::StrCat(R"("local":{"path":")", root / "disk", R"("})"));
  auto with_group = [&](std::string_view uid, gid_t group) {
    return WithUid(PodFrom(kClaim, kClaimMount, absl::StrCat(R"("securityContext":{"fsGroup":)", group, "},")), uid);
  };
  auto mode = [&](std::string_view uid) {
    struct stat st {};
    const std::string dir = root / absl::StrCat("pods/", uid, "/volumes/kubernetes.io~local-volume/pv");
    EXPECT_EQ(stat(dir.c_str(), &st), 0);
    return st.st_mode & 07777;
  };
  ASSERT_TRUE(Mount(with_group("uid-1", disk.st_gid)).ok());
  EXPECT_TRUE(mode("uid-1") & S_ISGID);
  ASSERT_TRUE(Mount(with_group("uid-2", disk.st_gid)).ok());
  EXPECT_TRUE(events.empty());
  ASSERT_TRUE(Mount(with_group("uid-3", disk.st_gid + 1)).ok());
  EXPECT_EQ(mode("uid-2"), 0750u) << "its files are looked at by nobody";
  EXPECT_EQ(mode("uid-3"), 0750u);
  EXPECT_EQ(events, std::vector<std::string>{absl::StrCat("Warning AlreadyMountedVolume: The requested fsGroup is ",
                                                          disk.st_gid + 1, ", but the volume pv has GID ", disk.st_gid,
                                                          ". The volume may not be shareable.")});
  for (const char* uid : {"uid-1", "uid-2", "uid-3"}) {
    ASSERT_TRUE(RunTask(loop, manager->TearDown(uid, true)).ok());
  }
  ASSERT_TRUE(Mount(with_group("uid-4", disk.st_gid)).ok());
  EXPECT_TRUE(mode("uid-4") & S_ISGID) << "it is the first again";
}

TEST_F(VolumeManagerTest, MountOptionsOfLocalVolumes) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  Bind(objects, "x", absl::StrCat(R"("mountOptions":["nosuid","noexec"],"local":{"path":")", root / "disk", R"("})"));
  const auto pod = PodFrom(kClaim, kClaimMount);
  ASSERT_TRUE(Mount(pod).ok());
  EXPECT_EQ(mounter.mounts().at(Volume("kubernetes.io~local-volume/pv")),
            absl::StrCat("bind ", root / "disk", " noexec,nosuid"));
  ASSERT_TRUE(RunTask(loop, manager->TearDown("uid-1", true)).ok());

  // Other kinds cannot have any.
  Bind(objects, "x", absl::StrCat(R"("mountOptions":["noexec"],"hostPath":{"path":")", root / "disk", R"("})"));
  std::optional<Status> result;
  Spawn(loop.get_executor(), "wait", Remember(*manager, pod, &result));
  clock.Advance(0s, loop);
  EXPECT_EQ(events, std::vector<std::string>{"Warning FailedMount: MountVolume.MountOptionSupport check failed for "
                                             "volume \"pv\" : mount options are not supported for this volume type"});
}

// As upstream counts: what is written again, and what fails then.
TEST_F(VolumeManagerTest, RefreshesAreCounted) {
  metrics::Registry registry;
  EnableWorkMetrics(registry);
  (*objects.config_maps["cm"].mutable_data())["k"] = "v";
  const auto pod = PodFrom(R"([{"name":"cm","configMap":{"name":"cm"}}])");
  ASSERT_TRUE(Mount(pod).ok());
  TaskGroup group(loop.get_executor());
  group.Spawn("run", RunManager(*manager));
  auto count = [&](std::string_view status) {
    return absl::StrContains(registry.Expose(), absl::StrCat("operation_name=\"volume_mount\",status=\"", status,
                                                             "\",volume_plugin=\"kubernetes.io/configmap\"} "
                                                             "",
                                                             status == "success" ? 2 : 1, "\n"));
  };
  manager->UpdatePod(pod);
  for (int i = 0; i < 400 && !count("success"); ++i) loop.run_for(5ms), loop.restart();
  EXPECT_TRUE(count("success"));
  objects.config_maps.clear();
  manager->UpdatePod(pod);
  for (int i = 0; i < 400 && !count("fail-unknown"); ++i) loop.run_for(5ms), loop.restart();
  EXPECT_TRUE(count("fail-unknown"));
  group.Cancel();
  loop.run_for(5ms);
  DisableWorkMetrics();
}

TEST(NestedMountPointsTest, OfEveryKindOfContainer) {
  auto pod = std::make_shared<Pod>(*PodFrom(R"([{"name":"v","emptyDir":{}},{"name":"w","emptyDir":{}}])"));
  auto* debugger = pod->mutable_spec()->add_ephemeralcontainers()->mutable_ephemeralcontainercommon();
  for (const auto& [name, path] : {std::pair("v", "/data"), {"w", "/data/inner/deep"}}) {
    auto* mount = debugger->add_volumemounts();
    mount->set_name(name);
    mount->set_mountpath(path);
  }
  EXPECT_EQ(NestedMountPoints(*pod, "v"), std::vector<std::string>{"inner/deep"});
}

TEST_F(VolumeManagerTest, EphemeralClaimsBelongToThePod) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  Bind(objects, "p-v", absl::StrCat(R"("hostPath":{"path":")", root / "disk", R"("})"));
  const auto pod = PodFrom(R"([{"name":"v","ephemeral":{"volumeClaimTemplate":{"spec":{}}}}])", kClaimMount);
  EXPECT_TRUE(absl::StrContains(Mount(pod).message(), "PVC ns/p-v was not created for pod ns/p (pod is not owner)"));
  clock.Advance(1s, loop);
  auto* owner = objects.claims["p-v"].mutable_metadata()->add_ownerreferences();
  owner->set_uid("uid-1");
  owner->set_controller(true);
  EXPECT_TRUE(Mount(pod).ok());
}

TEST_F(VolumeManagerTest, HugePages) {
  auto with_requests = [](std::string_view medium, std::string_view requests) {
    auto pod = std::make_shared<Pod>(
        *PodFrom(absl::StrCat(R"([{"name":"v","emptyDir":{"medium":")", medium, R"("}}])"), kClaimMount));
    const std::string json = absl::StrCat(R"({"requests":{)", requests, "}}");
    EXPECT_TRUE(api::FromJson(json, pod->mutable_spec()->mutable_containers(0)->mutable_resources()).ok());
    return pod;
  };
  ASSERT_TRUE(Mount(with_requests("HugePages", R"("hugepages-2Mi":"4Mi")")).ok());
  EXPECT_EQ(mounter.mounts().at(Volume("kubernetes.io~empty-dir/v")), "hugetlbfs pagesize=2Mi");
  EXPECT_EQ(HugePagesOption(*with_requests("", R"("hugepages-2Mi":"4Mi","hugepages-1Gi":"1Gi")"), "HugePages-1Gi")
                .value_or(""),
            "pagesize=1Gi");
  EXPECT_EQ(HugePagesOption(*with_requests("", R"("hugepages-2Mi":"4Mi","hugepages-1Gi":"1Gi")"), "HugePages")
                .status()
                .message(),
            "medium: HugePages can't be used if container requests multiple huge page sizes");
  EXPECT_EQ(HugePagesOption(*with_requests("", R"("cpu":"1")"), "HugePages-2Mi").status().message(),
            "medium HugePages-2Mi: hugePages storage requested, but there is no resource request for huge pages");
}

TEST_F(VolumeManagerTest, ContentFollowsThePodAtOnce) {
  const auto pod = PodFrom(
      R"([{"name":"d","downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}}])");
  ASSERT_TRUE(Mount(pod).ok());
  TaskGroup group(loop.get_executor());
  group.Spawn("run", RunManager(*manager));
  auto changed = std::make_shared<Pod>(*pod);
  (*changed->mutable_metadata()->mutable_labels())["b"] = "2";
  manager->UpdatePod(changed);
  const std::string file = Volume("kubernetes.io~downward-api/d/labels");
  for (int i = 0; i < 400 && *ReadFile(file) == "a=\"1\""; ++i) loop.run_for(5ms), loop.restart();
  EXPECT_EQ(*ReadFile(file), "a=\"1\"\nb=\"2\"");
  group.Cancel();
  loop.run_for(5ms);
}

TEST_F(VolumeManagerTest, AfterARestartWithoutServerVolumesOfBeforeDo) {
  (*objects.config_maps["cm"].mutable_data())["k"] = "v";
  const auto pod = PodFrom(R"([{"name":"cm","configMap":{"name":"cm"}}])");
  ASSERT_TRUE(Mount(pod).ok());
  VolumeOptions options;
  options.root_dir = root.path();
  VolumeManager second(loop.get_executor(), options, objects, mounter, clock, nullptr);
  objects.offline = Unavailable("connection refused");
  EXPECT_TRUE(RunTask(loop, second.WaitForMounts(pod)).ok());
  EXPECT_EQ(*ReadFile(Volume("kubernetes.io~configmap/cm/k")), "v");
}

// security.md: node-reboot. The directories are there, what was mounted on them is not.
TEST_F(VolumeManagerTest, node_reboot_MountsAreMadeAgain) {
  ASSERT_TRUE(MakeDirs(root / "disk").ok());
  (*objects.secrets["s"].mutable_data())["pass"] = "word";
  Bind(objects, "x", absl::StrCat(R"("local":{"path":")", root / "disk", R"("})"));
  const auto pod = PodFrom(
      R"([{"name":"mem","emptyDir":{"medium":"Memory"}},{"name":"sec","secret":{"secretName":"s"}},
          {"name":"v","persistentVolumeClaim":{"claimName":"x"}}])");
  ASSERT_TRUE(Mount(pod).ok());
  const auto before = mounter.mounts();
  ASSERT_EQ(before.size(), 3u);
  for (const auto& [target, what] : before) ASSERT_TRUE(mounter.Unmount(target).ok());
  // A pod that did not come back after the reboot.
  ASSERT_TRUE(MakeDirs(root / "pods/old/volumes/kubernetes.io~empty-dir/e").ok());
  VolumeOptions options;
  options.root_dir = root.path();
  options.allocatable_memory = [] { return int64_t{1} << 30; };
  VolumeManager second(loop.get_executor(), options, objects, mounter, clock, nullptr);
  ASSERT_TRUE(RunTask(loop, second.WaitForMounts(pod)).ok());
  EXPECT_EQ(mounter.mounts(), before);
  ASSERT_TRUE(RunTask(loop, second.CleanOrphans({"uid-1"})).ok());
  EXPECT_FALSE(Exists(root / "pods/old"));
  EXPECT_TRUE(Exists(root / "pods/uid-1"));
}

TEST_F(VolumeManagerTest, OrphansGoTheKeptStay) {
  ASSERT_TRUE(MakeDirs(root / "pods/old/volumes/kubernetes.io~empty-dir/e").ok());
  ASSERT_TRUE(MakeDirs(root / "pods/keep/volumes").ok());
  ASSERT_TRUE(mounter.MountTmpfs(root / "pods/old/volumes/kubernetes.io~secret/s", "").ok());
  ASSERT_TRUE(RunTask(loop, manager->CleanOrphans({"keep"})).ok());
  EXPECT_FALSE(Exists(root / "pods/old"));
  EXPECT_TRUE(Exists(root / "pods/keep"));
  EXPECT_TRUE(mounter.mounts().empty());
  EXPECT_FALSE(RunTask(loop, manager->TearDown("../x", true)).ok());
}

TEST_F(VolumeManagerTest, SubPathErrorsInUpstreamsWords) {
  const auto pod =
      PodFrom(R"([{"name":"ed","emptyDir":{}}])", R"j([{"name":"ed","mountPath":"/a","subPathExpr":"$(NOPE)"}])j");
  ASSERT_TRUE(Mount(pod).ok());
  EXPECT_EQ(Mounts(pod).status().message(), "missing value for NOPE");
  const auto up =
      PodFrom(R"([{"name":"ed","emptyDir":{}}])", R"([{"name":"ed","mountPath":"/a","subPath":"a/../../b"}])");
  EXPECT_EQ(Mounts(up).status().message(), "unable to provision SubPath `a/../../b`: must not contain '..'");
  const auto none = PodFrom(R"([{"name":"ed","emptyDir":{}}])", R"([{"name":"x","mountPath":"/a"}])");
  // What cannot be made is told from what cannot be mounted.
  ASSERT_EQ(symlink("nowhere", Volume("kubernetes.io~empty-dir/ed/link").c_str()), 0);
  const auto link = PodFrom(R"([{"name":"ed","emptyDir":{}}])", R"([{"name":"ed","mountPath":"/a","subPath":"link"}])");
  EXPECT_EQ(Mounts(link).status().message(),
            "failed to create subPath directory for volumeMount \"ed\" of container \"c\"");
  ASSERT_EQ(symlink("/etc", Volume("kubernetes.io~empty-dir/ed/out").c_str()), 0);
  const auto out = PodFrom(R"([{"name":"ed","emptyDir":{}}])", R"([{"name":"ed","mountPath":"/a","subPath":"out"}])");
  EXPECT_EQ(Mounts(out).status().message(), "failed to prepare subPath for volumeMount \"ed\" of container \"c\"");
  EXPECT_EQ(Mounts(none).status().message(), "cannot find volume \"x\" to mount into container \"c\"");
}

TEST_F(VolumeManagerTest, RecursiveReadOnlyIsTheRuntimes) {
  const char* volumes = R"([{"name":"ed","emptyDir":{}}])";
  auto mounts = [](std::string_view how) {
    return absl::StrCat(R"([{"name":"ed","mountPath":"/a","readOnly":true,"recursiveReadOnly":")", how, "\"}]");
  };
  const auto wish = PodFrom(volumes, mounts("IfPossible")), demand = PodFrom(volumes, mounts("Enabled"));
  ASSERT_TRUE(Mount(wish).ok());
  EXPECT_FALSE(Mounts(wish)->front().recursive_read_only);
  EXPECT_EQ(
      Mounts(demand).status().message(),
      "failed to resolve recursive read-only mode: volume \"ed\" requested recursive read-only mode, but it is not "
      "supported by the runtime");
  recursive_read_only = true;
  EXPECT_TRUE(Mounts(wish)->front().recursive_read_only);
  EXPECT_TRUE(Mounts(demand)->front().recursive_read_only);
}

}  // namespace
}  // namespace skiff::kubelet
