// Statuses on their way to the API server, and what a pod's security asks for.
#include "base/blocking_testing.h"
#include "base/files.h"
#include "kubelet/pod/pod_workers_testing.h"

namespace skiff::kubelet {
namespace {

TEST_F(PodWorkersTest, WhatOthersOwnInAStatusStays) {
  Pod pod = MakePod({"c"});
  auto* status = pod.mutable_status();
  auto* condition = status->add_conditions();
  condition->set_type("example.com/mine");
  condition->set_status("True");
  condition = status->add_conditions();
  condition->set_type("DisruptionTarget");
  condition->set_status("True");
  condition->set_reason("PreemptionByScheduler");
  status->set_nominatednodename("n9");
  status->add_resourceclaimstatuses()->set_name("claim");
  status->mutable_extendedresourceclaimstatus()->set_resourceclaimname("extended");
  status->GetReflection()->MutableUnknownFields(status)->AddVarint(999, 7);
  Add(pod);
  ASSERT_FALSE(sink.written.empty());
  const core::PodStatus& written = sink.written.back();
  ASSERT_NE(FindCondition(written, "example.com/mine"), nullptr);
  ASSERT_NE(FindCondition(written, "DisruptionTarget"), nullptr);
  EXPECT_EQ(FindCondition(written, "DisruptionTarget")->reason(), "PreemptionByScheduler");
  ASSERT_EQ(written.resourceclaimstatuses_size(), 1);
  EXPECT_EQ(written.extendedresourceclaimstatus().resourceclaimname(), "extended");
  ASSERT_EQ(written.GetReflection()->GetUnknownFields(written).field_count(), 1);
  EXPECT_EQ(written.nominatednodename(), "") << "as upstream: a bound pod has none";
  EXPECT_EQ(written.conditions(0).type(), "example.com/mine") << "others' come first";
}

TEST_F(PodWorkersTest, WithoutClusterDnsThePodAndTheNodeSaySo) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_dnspolicy("ClusterFirst");
  Add(pod);
  ASSERT_TRUE(Until([&] { return sink.pods["p"].status().phase() == "Running"; }));
  std::map<std::string, std::string> told;
  for (const auto& e : events.events) {
    if (e.reason == "MissingClusterDNS") told[absl::StrCat(e.about.kind(), " ", e.about.name())] = e.message;
  }
  EXPECT_EQ(told["Node n1"],
            "kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. "
            "Falling back to \"Default\" policy.");
  EXPECT_EQ(told["Pod p"], "pod: \"p_ns(u-1)\". " + told["Node n1"]);
}

TEST_F(PodWorkersTest, WhatOthersWriteIntoAStatusIsUndone) {
  Add(MakePod({"c"}));
  auto ready = [&] {
    for (auto& c : *sink.pods["p"].mutable_status()->mutable_conditions()) {
      if (c.type() == "Ready") return &c;
    }
    return static_cast<core::PodCondition*>(nullptr);
  };
  auto tell = [&] {
    workers->Update(std::make_shared<const Pod>(sink.pods["p"]));
    Settle();
  };
  auto mark_not_ready = [&] {
    ready()->set_status("False");
    sink.pods["p"].mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    tell();
  };
  tell();
  ASSERT_TRUE(Until([&] { return ready() != nullptr && ready()->status() == "True"; }));
  const size_t writes = sink.written.size();
  mark_not_ready();
  EXPECT_EQ(ready()->status(), "True");
  EXPECT_EQ(sink.written.size(), writes + 1);
  tell();  // the own write comes back
  EXPECT_EQ(sink.written.size(), writes + 1);
  // A condition of others stays, wherever they put it.
  auto* other = sink.pods["p"].mutable_status()->add_conditions();
  other->set_type("example.com/x");
  other->set_status("True");
  sink.pods["p"].mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
  tell();
  EXPECT_EQ(sink.written.size(), writes + 1);
  // Two that disagree do not write in a circle.
  mark_not_ready();
  Advance(seconds(9));
  EXPECT_EQ(ready()->status(), "False");
  Advance(seconds(2));
  Pod another = MakePod({"c"});
  another.mutable_metadata()->set_name("q");
  another.mutable_metadata()->set_uid("u-2");
  Add(another);  // the queue's own timer runs on real time; this has it look
  EXPECT_EQ(ready()->status(), "True");
}

// Reliability row api-outage: pods, probes and restarts go on; afterwards each pod's newest status is delivered, once.
TEST_F(PodWorkersTest, api_outage) {
  std::vector<std::string> names;
  for (int i = 0; i < 30; ++i) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(absl::StrCat("p", i));
    pod.mutable_metadata()->set_uid(absl::StrCat("u-", i));
    names.push_back(pod.metadata().name());
    Add(pod);
  }
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 30u);
  for (const auto& name : names) workers->Update(std::make_shared<const Pod>(sink.pods[name]));
  Settle();
  const size_t before = sink.written.size();
  sink.fail_writes = 1000000;
  std::vector<std::string> containers;
  for (const auto& [id, container] : runtime.containers) containers.push_back(id);
  for (int minute = 0; minute < 10; ++minute) {
    runtime.Exit(containers[minute], 1);  // one pod crashes each minute, and is started again
    Relist();
    Advance(seconds(60));
  }
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 40u);
  EXPECT_EQ(sink.written.size(), before);
  sink.fail_writes = 0;
  Advance(seconds(11));
  EXPECT_GT(sink.written.size(), before);
  EXPECT_LE(sink.written.size(), before + 30) << "one write a pod at the most: no burst of what is past";
  for (int i = 0; i < 30; ++i) {
    const core::PodStatus* now = statuses.Get(absl::StrCat("u-", i));
    const core::PodStatus& there = sink.pods[names[i]].status();
    EXPECT_EQ(there.containerstatuses(0).restartcount(), now->containerstatuses(0).restartcount()) << names[i];
    EXPECT_EQ(there.containerstatuses(0).containerid(), now->containerstatuses(0).containerid()) << names[i];
  }
}

// A pod is bound to a node for a label that it got a moment ago.
TEST_F(PodWorkersTest, AffinityIsLookedAtAgainWithTheNodeAsItIsNow) {
  reject =
      Rejection{"NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"};
  int reads = 0;
  on_node_read = [&] {
    ++reads;
    reject.reset();
  };
  Add(MakePod({"c"}));
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(sink.pods["p"].status().phase(), "Running");
  // One that does not match that either is refused, and one that lacks something else at once.
  on_node_read = [&] { ++reads; };
  reject =
      Rejection{"NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"};
  for (const char* name : {"q", "r"}) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(name);
    pod.mutable_metadata()->set_uid(name);
    Add(pod);
    EXPECT_EQ(sink.pods[name].status().reason(), reject->reason);
    EXPECT_EQ(reads, 2);
    reject = Rejection{"OutOfcpu", "Node didn't have enough resource: cpu, requested: 100, used: 0, capacity: 1"};
  }
}

// cgroupRoot, or the driver, is another since the kubelet was started anew.
TEST_F(PodWorkersTest, ContainersOutsideTheirPodsCgroupAreMadeAnew) {
  std::filesystem::create_directories(root + "/moved");
  ASSERT_TRUE(WriteFileAtomic(root + "/moved/cgroup.controllers", "").ok());
  Cgroups moved({.mount = root + "/moved"});
  for (const char* policy : {"Always", "Never"}) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(policy);
    pod.mutable_metadata()->set_uid(policy);
    pod.mutable_spec()->set_restartpolicy(policy);
    Add(pod);
  }
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 2u);
  Relist();
  workers = nullptr;
  workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                         moved, events, PodWorkersOptions{.root_dir = root}, PodWorkersHooks{});
  for (const char* name : {"Always", "Never"}) workers->Update(std::make_shared<const Pod>(sink.pods[name]));
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 3 && workers->Released("Never"); }));
  EXPECT_EQ(runtime.CountCalls("StopContainer"), 2u);
  EXPECT_EQ(statuses.Get("Always")->phase(), "Running");
  EXPECT_EQ(statuses.Get("Always")->containerstatuses(0).restartcount(), 1);
  EXPECT_TRUE(moved.PodExists(sink.pods["Always"]));
  EXPECT_TRUE(IsTerminalPhase(statuses.Get("Never")->phase()));
  EXPECT_FALSE(moved.PodExists(sink.pods["Never"]));
}

TEST_F(PodWorkersTest, AStateThatCannotBeReadIsTold) {
  Add(MakePod({"c"}));
  runtime.failures["ContainerStatus"] = std::deque<Status>(3, absl::UnknownError("no such bundle"));
  DeleteFromApi(1);
  Advance(seconds(5));
  ASSERT_TRUE(Until([&] { return sink.deleted.size() == 1; }));
  size_t told = 0;
  for (const std::string& e : Events()) {
    if (!e.starts_with("FailedSync: ")) continue;
    ++told;
    EXPECT_THAT(e, HasSubstr("error determining status: "));
    EXPECT_THAT(e, HasSubstr("no such bundle"));
  }
  EXPECT_EQ(told, 1u);
}

// Each failure is told; that they go on is not.
TEST_F(PodWorkersTest, WaitingForVolumesInVainIsNoEventOfItsOwn) {
  Pod pod = MakePod({"c"});
  auto* volume = pod.mutable_spec()->add_volumes();
  volume->set_name("v");
  volume->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("none");
  pod.mutable_spec()->mutable_containers(0)->add_volumemounts()->set_name("v");
  Add(pod);
  for (int i = 0; i < 13; ++i) Advance(seconds(10));
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 0u);
  EXPECT_THAT(Events(), Not(Contains(HasSubstr("Unable to attach or mount volumes"))));
}

TEST_F(PodWorkersTest, ReadinessGoesFirst) {
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(name);
    pod.mutable_metadata()->set_uid(name);
    pod.mutable_status()->set_phase("Pending");
    sink.pods[name] = pod;
    core::PodStatus status = pod.status();
    status.set_phase("Running");
    auto* ready = status.add_conditions();
    ready->set_type("Ready");
    ready->set_status(std::string_view(name) == "f" ? "True" : "False");
    statuses.Set(pod, status);
  }
  Settle();
  ASSERT_EQ(sink.order.size(), 6u);
  EXPECT_EQ(sink.order[0], "f");
  EXPECT_EQ(sink.order[1], "a");
}

// Reliability row clock-jump: an hour back or forth changes neither back-offs nor deadlines.
TEST_F(PodWorkersTest, clock_jump) {
  for (auto jump : {std::chrono::hours(1), std::chrono::hours(-1)}) {
    const std::string uid = jump.count() > 0 ? "u-forth" : "u-back";
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(uid);
    pod.mutable_metadata()->set_uid(uid);
    pod.mutable_spec()->set_activedeadlineseconds(300);
    Add(pod);
    auto starts = [&] { return runtime.CountCalls("StartContainer"); };
    auto crash = [&] {
      runtime.Exit(runtime.ContainerNamed("c"), 1);
      Relist();
      Advance(milliseconds(1));
    };
    crash();  // the first restart is immediate
    const size_t before = starts();
    crash();  // now it waits for ten seconds
    clock.JumpWall(jump);
    workers->Wake(uid);
    Advance(seconds(8));
    EXPECT_EQ(starts(), before) << uid;
    Advance(seconds(3));
    EXPECT_EQ(starts(), before + 1) << uid;
    EXPECT_EQ(statuses.Get(uid)->phase(), "Running") << uid;
    Advance(seconds(270));
    EXPECT_EQ(statuses.Get(uid)->phase(), "Running") << uid;
    Advance(seconds(30));
    EXPECT_TRUE(Until([&] { return statuses.Get(uid)->reason() == "DeadlineExceeded"; })) << uid;
    workers->Remove(uid);
    EXPECT_TRUE(Until([&] { return workers->size() == 0; }));
  }
}

// ---- security ----

// Row seccomp-empty-localhost: an error, never unconfined.
TEST_F(PodWorkersTest, seccomp_empty_localhost) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_containers(0)->mutable_securitycontext()->mutable_seccompprofile()->set_type("Localhost");
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("CreateContainer"), 0u);
  const auto& waiting = statuses.Get("u-1")->containerstatuses(0).state().waiting();
  EXPECT_EQ(waiting.reason(), "CreateContainerConfigError");
  EXPECT_EQ(waiting.message(), "localhostProfile must be set if seccompProfile type is Localhost.");
}

// Row nonroot-after-restart: the uid holds for every start of a container, and an image that becomes root's does not
// run.
TEST_F(PodWorkersTest, nonroot_after_restart) {
  auto image_user = [&](int64_t uid) {
    for (auto& [id, image] : runtime.images) image.mutable_uid()->set_value(uid);
  };
  image_user(1000);
  Pod pod = MakePod({"fixed", "image"});
  pod.mutable_spec()->mutable_securitycontext()->set_runasnonroot(true);
  pod.mutable_spec()->mutable_containers(0)->mutable_securitycontext()->set_runasuser(1234);
  Add(pod);
  auto user = [&](const char* name) {
    return runtime.containers[runtime.ContainerNamed(name)].config.linux().security_context().run_as_user().value();
  };
  for (int restart = 0; restart < 3; ++restart) {
    EXPECT_EQ(user("fixed"), 1234) << restart;
    EXPECT_EQ(user("image"), 1000) << restart;
    runtime.Exit(runtime.ContainerNamed("fixed"), 1);
    runtime.Exit(runtime.ContainerNamed("image"), 1);
    Relist();
    Advance(seconds(60));
  }
  image_user(0);
  runtime.Exit(runtime.ContainerNamed("fixed"), 1);
  runtime.Exit(runtime.ContainerNamed("image"), 1);
  Relist();
  const size_t images = runtime.CountCalls("StartContainer image");
  Advance(seconds(310));  // the longest back-off
  Advance(seconds(20));
  EXPECT_EQ(runtime.CountCalls("StartContainer image"), images);
  EXPECT_EQ(user("fixed"), 1234);
  EXPECT_EQ(statuses.Get("u-1")->containerstatuses(1).state().waiting().reason(), "CreateContainerConfigError");
  EXPECT_THAT(statuses.Get("u-1")->containerstatuses(1).state().waiting().message(),
              HasSubstr("container has runAsNonRoot and image will run as root"));
}

// A pod that wants users of its own is refused rather than run with the host's.
TEST_F(PodWorkersTest, PodsWithUsersOfTheirOwnAreRefused) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_hostusers(false);
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 0u);
  EXPECT_THAT(Events(), Contains("FailedCreatePodSandBox: Failed to create pod sandbox: can't set `spec.hostUsers: "
                                 "false`, runtime does not support user namespaces"));
}

// The runtime mounts images; the kubelet pulls them first.
TEST_F(PodWorkersTest, ImageVolumesAreHandedToTheRuntime) {
  Pod pod = MakePod({"c"});
  auto* volume = pod.mutable_spec()->add_volumes();
  volume->set_name("v");
  volume->mutable_volumesource()->mutable_image()->set_reference("files:1");
  volume->mutable_volumesource()->mutable_image()->set_pullpolicy("Always");
  auto* mount = pod.mutable_spec()->mutable_containers(0)->add_volumemounts();
  mount->set_name("v");
  mount->set_mountpath("/files");
  mount->set_subpath("sub");
  Add(pod);
  ASSERT_TRUE(Until([this] { return runtime.CountCalls("StartContainer c") == 1; }));
  ASSERT_FALSE(runtime.pulls.empty());
  EXPECT_EQ(runtime.pulls[0].image().image(), "files:1");
  const auto& config = runtime.containers.at(runtime.ContainerNamed("c")).config;
  const auto found = std::find_if(config.mounts().begin(), config.mounts().end(),
                                  [](const auto& m) { return m.container_path() == "/files"; });
  ASSERT_NE(found, config.mounts().end());
  EXPECT_FALSE(found->image().image().empty());
  EXPECT_EQ(found->image_sub_path(), "sub");
  EXPECT_EQ(found->host_path(), "");
  EXPECT_TRUE(found->readonly());
}

TEST_F(PodWorkersTest, PodsWithUsersOfTheirOwnAreMapped) {
  runtime.maps_users = true;
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_hostusers(false);
  Add(pod);
  ASSERT_EQ(runtime.CountCalls("StartContainer c"), 1u);
  const auto sandbox = runtime.sandboxes.begin()->second.config.linux().security_context().namespace_options();
  EXPECT_EQ(sandbox.userns_options().mode(), cri_v1::POD);
  ASSERT_EQ(sandbox.userns_options().uids_size(), 1);
  const auto& ids = sandbox.userns_options().uids(0);
  EXPECT_GE(ids.host_id(), 65536u);
  EXPECT_EQ(ids.length(), 65536u);
  const auto& container = runtime.containers.at(runtime.ContainerNamed("c")).config;
  EXPECT_EQ(container.linux().security_context().namespace_options().userns_options().uids(0).host_id(), ids.host_id());
  ASSERT_GT(container.mounts_size(), 0);
  for (const auto& mount : container.mounts()) {
    ASSERT_EQ(mount.uidmappings_size(), 1) << mount.container_path() << " is mapped as well";
    EXPECT_EQ(mount.gidmappings(0).host_id(), ids.host_id());
  }
  runtime.Exit(runtime.ContainerNamed("c"), 1);
  Relist();
  Advance(seconds(60));
  ASSERT_EQ(runtime.CountCalls("StartContainer c"), 2u);
  EXPECT_EQ(runtime.containers.at(runtime.ContainerNamed("c")).config.mounts(0).uidmappings(0).host_id(),
            ids.host_id());
}

// Their files are written and synced on the pool, by one pod after the other.
TEST_F(PodWorkersTest, UsersAreTakenOffTheLoop) {
  runtime.maps_users = true;
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  for (int i = 1; i <= 2; ++i) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(absl::StrCat("p", i));
    pod.mutable_metadata()->set_uid(absl::StrCat("u-", i));
    pod.mutable_spec()->set_hostusers(false);
    Add(pod);
  }
  auto taken = [this](int i) { return Exists(absl::StrCat(root, "/pods/u-", i, "/userns")); };
  EXPECT_FALSE(taken(1) || taken(2));
  for (int i = 0; i < 100 && runtime.CountCalls("RunPodSandbox") < 2; ++i) {
    pool.restart();
    pool.poll();
    Settle();
  }
  ASSERT_TRUE(taken(1) && taken(2));
  std::set<uint32_t> ids;
  for (const auto& [id, sandbox] : runtime.sandboxes) {
    ids.insert(sandbox.config.linux().security_context().namespace_options().userns_options().uids(0).host_id());
  }
  EXPECT_EQ(ids.size(), 2u);
  // What is under way still ends.
  for (int i = 0; i < 10; ++i) {
    pool.restart();
    pool.poll();
    Settle();
  }
}

// Its directories are there, and not its limits: it is made again.
TEST_F(PodWorkersTest, APodsCgroupThatWasMadeByHalfIsMadeAgain) {
  const std::string mount = root + "/cgroup", shares = mount + "/cpu/kubepods/besteffort/podu-1/cpu.shares";
  ASSERT_TRUE(MakeDirs(mount + "/memory").ok());
  ASSERT_TRUE(MakeDirs(shares).ok());  // which cannot be written
  cgroups = Cgroups({.mount = mount});
  Add(MakePod({"c"}));
  EXPECT_THAT(Events(), Contains(HasSubstr("FailedCreatePodContainer: unable to ensure pod container exists: ")));
  ASSERT_TRUE(cgroups.PodExists(MakePod({"c"})));
  std::filesystem::remove(shares);
  ASSERT_TRUE(WriteFileAtomic(shares, "9").ok());
  Advance(seconds(11));
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 1; }));
  EXPECT_EQ(ReadFile(shares).value_or(""), "2");
}

// systemd takes its time; what it has begun is awaited, and goes with the pod.
TEST_F(PodWorkersTest, APodThatIsDeletedWhileItsCgroupIsMadeNeverRuns) {
  const std::string mount = root + "/cgroup";
  ASSERT_TRUE(MakeDirs(mount).ok());
  ASSERT_TRUE(WriteFileAtomic(mount + "/cgroup.controllers", "cpu memory").ok());
  FakeSystemdSlices slices;
  cgroups = Cgroups({.mount = mount, .names = CgroupNames("", true), .slices = &slices});
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  Add(MakePod({"c"}));
  DeleteFromApi(30);
  Advance(seconds(1));
  EXPECT_THAT(slices.calls, IsEmpty());
  EXPECT_FALSE(workers->Released("u-1"));
  for (int i = 0; i < 100 && !workers->Released("u-1"); ++i) {
    pool.restart();
    pool.poll();
    Settle();
  }
  EXPECT_TRUE(workers->Released("u-1"));
  EXPECT_EQ(runtime.CountCalls("RunPodSandbox"), 0u);
  EXPECT_THAT(slices.calls, Contains(HasSubstr("Start kubepods-besteffort-podu_1.slice")));
  EXPECT_EQ(slices.calls.back(), "Stop kubepods-besteffort-podu_1.slice");
  EXPECT_THAT(cgroups.PodsOnDisk(), IsEmpty());
}

Task<void> RemoveState(PodRuntime* pods, PodStatePtr state, std::optional<Status>* out) {
  *out = co_await pods->Remove(std::move(state));
}

// A directory of gigabytes takes the disk a while.
TEST_F(PodWorkersTest, APodsLogsAreRemovedOffTheLoop) {
  auto state = std::make_shared<PodState>();
  state->uid = "u-9";
  state->ns = "ns";
  state->name = "gone";
  const std::string dir = root + "/logs/ns_gone_u-9";
  ASSERT_TRUE(MakeDirs(dir).ok());
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  std::optional<Status> removed;
  Spawn(loop.get_executor(), "remove", RemoveState(pods.get(), state, &removed));
  Settle();
  EXPECT_TRUE(Exists(dir));
  pool.poll();
  Settle();
  EXPECT_FALSE(Exists(dir));
  ASSERT_TRUE(removed);
  EXPECT_TRUE(removed->ok()) << *removed;
}

// The volume's file server is dead: the container is never made, and the pod can be deleted all the same.
TEST_F(PodWorkersTest, ASubPathThatDoesNotAnswerDoesNotKeepThePod) {
  ASSERT_TRUE(MakeDirs(root + "/disk/sub").ok());
  Pod pod = MakePod({"c"});
  auto* volume = pod.mutable_spec()->add_volumes();
  volume->set_name("v");
  volume->mutable_volumesource()->mutable_hostpath()->set_path(root + "/disk");
  auto* mount = pod.mutable_spec()->mutable_containers(0)->add_volumemounts();
  mount->set_name("v");
  mount->set_mountpath("/v");
  mount->set_subpath("sub");
  asio::io_context hangs;
  auto on = std::make_optional<BlockingOn>(hangs.get_executor());
  Add(pod);
  EXPECT_EQ(runtime.CountCalls("CreateContainer c"), 0u);
  on.reset();
  DeleteFromApi(0);
  EXPECT_TRUE(Until([this] { return !sink.deleted.empty(); }));
  hangs.poll();
  Settle();
  EXPECT_TRUE(mounter.mounts().empty());
}

std::string* g_log = nullptr;

// Row secrets-in-logs: what a secret holds is in no log line at any verbosity, no event and no status.
TEST_F(PodWorkersTest, secrets_in_logs) {
  std::string lines;
  g_log = &lines;
  log::SetSink([](std::string_view line) { g_log->append(line); });
  log::SetVerbosity(10);
  constexpr char kValue[] = "hunter2-do-not-print";
  Secret secret;
  (*secret.mutable_data())["password"] = kValue;
  (*secret.mutable_data())["not a name="] = kValue;
  (*secret.mutable_data())[".dockerconfigjson"] =
      absl::StrCat("{\"auths\":{\"reg.example\":{\"username\":\"u\",\"password\":\"", kValue, "\"}}}");
  objects.secrets["s"] = secret;
  Pod pod = MakePod({"c", "d"});
  auto* c = pod.mutable_spec()->mutable_containers(0);
  c->add_envfrom()->mutable_secretref()->mutable_localobjectreference()->set_name("s");
  c->add_args("$(password)");
  auto* d = pod.mutable_spec()->mutable_containers(1);
  d->set_image("reg.example/none:1");
  pod.mutable_spec()->add_imagepullsecrets()->set_name("s");
  runtime.pull_failures["reg.example/none:1"] = absl::UnknownError("denied");
  runtime.failures["StartContainer"] = {absl::UnknownError("no such program")};
  Add(pod);
  Advance(seconds(30));
  log::SetSink(nullptr);
  log::SetVerbosity(0);
  EXPECT_GE(runtime.CountCalls("CreateContainer c"), 1u);
  bool given = false;
  for (const auto& [id, container] : runtime.containers) {
    for (const auto& env : container.config.envs()) given = given || env.value() == kValue;
  }
  EXPECT_TRUE(given) << "the container does get it";
  EXPECT_FALSE(lines.empty());
  EXPECT_EQ(lines.find(kValue), std::string::npos);
  for (const auto& event : Events()) EXPECT_EQ(event.find(kValue), std::string::npos) << event;
  for (const auto& status : sink.written) EXPECT_EQ(status.DebugString().find(kValue), std::string::npos);
}

}  // namespace
}  // namespace skiff::kubelet
