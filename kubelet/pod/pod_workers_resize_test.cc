// In-place resizes: granted, kept on the disk, carried out and told.
#include "base/blocking_testing.h"
#include "kubelet/pod/pod_workers_testing.h"

namespace skiff::kubelet {
namespace {

void SetCpu(Pod* pod, const char* value) {
  auto* resources = pod->mutable_spec()->mutable_containers(0)->mutable_resources();
  (*resources->mutable_requests())["cpu"] = api::Quantity::Of(value).ToProto();
}

Pod PodWithCpu(const char* name, const char* value) {
  Pod pod = MakePod({"c"});
  pod.mutable_metadata()->set_name(name);
  pod.mutable_metadata()->set_uid(name);
  SetCpu(&pod, value);
  return pod;
}

int64_t MilliOf(const Pod& pod) {
  return api::Quantity::Of(pod.spec().containers(0).resources().requests().at("cpu")).MilliValue();
}

class ResizesOnDiskTest : public PodWorkersTest {
 protected:
  ResizesOnDiskTest() { KeepGrantsOnDisk(); }
  std::string Kept() const { return ReadFile(root + "/allocated_pods_state").value_or(""); }
  void Resize(const char* name, const char* value) {
    Change(name, [&](Pod* pod) { SetCpu(pod, value); });
  }
  // What the runtime was told last of the pod's only container.
  int64_t Shares() {
    const auto& updated = runtime.containers.at(runtime.ContainerNamed("c")).updated;
    return updated.cpu_shares();
  }
};

// Nobody runs the allocations: what is written, the worker wrote.
TEST_F(ResizesOnDiskTest, AGrantedOneIsThereWhenTheRuntimeHasHeardOfIt) {
  Add(PodWithCpu("p", "100m"));
  Resize("p", "200m");
  ASSERT_TRUE(Until([&] { return runtime.CountCalls("UpdateContainerResources") == 1; }));
  EXPECT_THAT(Kept(), HasSubstr("200m"));
}

// Its worker may be busy for long, or come to an end first.
TEST_F(ResizesOnDiskTest, AGrantedOneIsWrittenWhileItsWorkerIsBusy) {
  Spawn(loop.get_executor(), "allocations", on_disk.Run());
  Add(PodWithCpu("p", "100m"));
  Add(PodWithCpu("q", "100m"));
  reject = Rejection{"OutOfcpu", "no room"};
  Resize("p", "200m");
  ASSERT_NE(FindCondition(*statuses.Get("p"), "PodResizePending"), nullptr);
  Wakeup made(loop.get_executor());
  bool busy = false;
  runtime.on_run = [&]() -> Task<void> {
    busy = true;
    (void)co_await made.Wait();
  };
  for (const auto& [id, sandbox] : runtime.sandboxes) {
    if (sandbox.config.metadata().name() == "p") runtime.KillSandbox(id);
  }
  Relist();
  Advance(seconds(1));
  ASSERT_TRUE(busy);
  ASSERT_THAT(Kept(), Not(HasSubstr("200m")));
  reject.reset();
  ASSERT_TRUE(workers->Evict("q", 1, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  auto started = [&] {
    const auto events = Events();
    return std::any_of(events.begin(), events.end(), [](const auto& e) { return e.starts_with("ResizeStarted"); });
  };
  ASSERT_TRUE(Until(started));
  Advance(seconds(1));
  EXPECT_TRUE(Until([&] { return Kept().find("200m") != std::string::npos; }));
  made.Notify();
  Settle();
}

// A pod's own resize that has ended may be what the next waited for.
TEST_F(ResizesOnDiskTest, WhatAnEndedOneMakesRoomForIsWrittenToo) {
  admit = [&](const Pod& pod, const std::vector<PodPtr>&) -> AdmissionResult {
    if (MilliOf(pod) <= 200) return {};
    for (const std::string& event : Events()) {
      if (event.starts_with("ResizeCompleted")) return {};
    }
    return Rejection{"OutOfcpu", "no room"};
  };
  Add(PodWithCpu("p", "100m"));
  auto& failures = runtime.failures["UpdateContainerResources"];
  failures = {absl::UnknownError("not now"), absl::UnknownError("not now")};
  Resize("p", "200m");
  ASSERT_TRUE(Until([&] { return failures.size() == 1; }));
  Resize("p", "300m");
  ASSERT_TRUE(Until([&] { return failures.empty(); }));
  ASSERT_NE(FindCondition(*statuses.Get("p"), "PodResizePending"), nullptr);
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  Advance(seconds(11));
  EXPECT_EQ(Shares(), 204) << "the next one is not written yet";
  EXPECT_THAT(Events(), Contains(HasSubstr("ResizeCompleted")));
  for (int i = 0; i < 100 && Shares() == 204; ++i) {
    pool.restart();
    pool.poll();
    Settle();
  }
  EXPECT_EQ(Shares(), 307);
  EXPECT_THAT(Kept(), HasSubstr("300m"));
}

// The next one is granted while the first is being written.
TEST_F(ResizesOnDiskTest, WhatIsGrantedMeanwhileIsWrittenToo) {
  for (const char* name : {"p", "q", "r"}) Add(PodWithCpu(name, "100m"));
  auto told = [this](std::string_view reason) {
    const auto events = Events();
    return std::count_if(events.begin(), events.end(), [&](const auto& e) { return e.starts_with(reason); });
  };
  auto refuse = [this] { reject = Rejection{"OutOfcpu", "no room"}; };
  auto make_room = [this](const char* name) {
    reject.reset();
    EXPECT_TRUE(workers->Evict(name, 1, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  };
  refuse();
  Resize("p", "200m");
  Wakeup made(loop.get_executor());
  runtime.on_run = [&]() -> Task<void> { (void)co_await made.Wait(); };
  for (const auto& [id, sandbox] : runtime.sandboxes) {
    if (sandbox.config.metadata().name() == "p") runtime.KillSandbox(id);
  }
  Relist();
  Advance(seconds(1));
  make_room("q");
  ASSERT_TRUE(Until([&] { return told("ResizeStarted") == 1; }));
  refuse();
  Resize("p", "300m");
  Settle();
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  auto step = [&] {
    pool.restart();
    pool.poll_one();
    Settle();
  };
  made.Notify();
  Settle();
  for (int i = 0; i < 100 && told("ResizeDeferred") < 2; ++i) step();
  ASSERT_EQ(told("ResizeDeferred"), 2);
  make_room("r");
  ASSERT_TRUE(Until([&] { return told("ResizeStarted") == 2; }));
  ASSERT_EQ(runtime.CountCalls("UpdateContainerResources"), 0u);
  for (int i = 0; i < 100 && runtime.CountCalls("UpdateContainerResources") == 0; ++i) step();
  ASSERT_EQ(runtime.CountCalls("UpdateContainerResources"), 1u);
  EXPECT_THAT(Kept(), HasSubstr("300m"));
}

// Two that are granted together are one write: who did not take it waits for it as well.
TEST_F(ResizesOnDiskTest, NoneGoesOnWhileAnotherWritesItsGrant) {
  Add(PodWithCpu("p", "100m"));
  Add(PodWithCpu("q", "100m"));
  Add(PodWithCpu("r", "100m"));
  reject = Rejection{"OutOfcpu", "no room"};
  Resize("p", "200m");
  Resize("q", "200m");
  asio::io_context pool;
  const BlockingOn on(pool.get_executor());
  reject.reset();
  Resize("r", "50m");  // which gives room
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 0u);
  for (int i = 0; i < 100 && runtime.CountCalls("UpdateContainerResources") < 3; ++i) {
    pool.restart();
    pool.poll();
    Settle();
  }
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 3u);
}

TEST_F(PodWorkersTest, ResizesAreGrantedCarriedOutAndTold) {
  Pod pod = MakePod({"c"});
  auto cpu = [](Pod* p, const char* value) {
    auto* resources = p->mutable_spec()->mutable_containers(0)->mutable_resources();
    (*resources->mutable_requests())["cpu"] = api::Quantity::Of(value).ToProto();
  };
  auto requests = [&](const char* field) {
    const auto& s = statuses.Get("u-1")->containerstatuses(0);
    const auto& list = std::string(field) == "allocated" ? s.allocatedresources() : s.resources().requests();
    return api::Quantity::Of(list.at("cpu")).MilliValue();
  };
  auto resize = [&](const char* value) {
    Pod& stored = sink.pods["p"];
    cpu(&stored, value);
    stored.mutable_metadata()->set_generation(stored.metadata().generation() + 1);
    stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    workers->Update(std::make_shared<const Pod>(stored));
    Settle();
  };
  cpu(&pod, "100m");
  Add(pod);
  EXPECT_EQ(requests("actual"), 100);
  resize("200m");
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 1u);
  EXPECT_EQ(runtime.CountCalls("StartContainer"), 1u);
  EXPECT_EQ(requests("allocated"), 200);
  EXPECT_EQ(requests("actual"), 200);
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizeInProgress"), nullptr);
  const std::string what =
      "{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"200m\"}}}],\"generation\":2}";
  EXPECT_THAT(Events(), Contains("ResizeStarted: Pod resize started: " + what));
  EXPECT_THAT(Events(), Contains("ResizeCompleted: Pod resize completed: " + what));
  bool in_progress = false;
  for (const auto& s : sink.written) {
    const auto* c = FindCondition(s, "PodResizeInProgress");
    if (c == nullptr) continue;
    in_progress = true;
    EXPECT_EQ(c->observedgeneration(), 2);
    EXPECT_EQ(s.conditions(0).type(), "PodResizeInProgress") << "first";
    EXPECT_EQ(api::Quantity::Of(s.containerstatuses(0).allocatedresources().at("cpu")).MilliValue(), 200);
  }
  EXPECT_TRUE(in_progress);

  // One that does not fit waits, and is granted once there is room.
  reject = Rejection{"OutOfcpu", "Node didn't have enough resource: cpu, requested: 1900, used: 760, capacity: 2000"};
  resize("1900m");
  const auto* pending = FindCondition(*statuses.Get("u-1"), "PodResizePending");
  ASSERT_NE(pending, nullptr);
  EXPECT_EQ(pending->reason(), "Deferred");
  EXPECT_EQ(pending->message(), "Node didn't have enough resource: cpu, requested: 1900, used: 760, capacity: 2000");
  EXPECT_EQ(requests("allocated"), 200);
  EXPECT_THAT(Events(), Contains(HasSubstr("ResizeDeferred: Pod resize OutOfcpu: {\"containers\":")));
  const size_t events_before = Events().size();
  workers->Wake("u-1");
  Settle();
  EXPECT_EQ(Events().size(), events_before) << "told once";
  reject.reset();
  Pod other = MakePod({"c"});
  other.mutable_metadata()->set_name("q");
  other.mutable_metadata()->set_uid("u-2");
  Add(other);
  workers->Remove("u-2");
  EXPECT_TRUE(Until([&] { return requests("actual") == 1900; }));
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizePending"), nullptr);

  // A runtime that sizes the sandbox hears of it, before the containers, and may refuse.
  runtime.sandbox_resources.emplace();
  resize("400m");
  EXPECT_EQ(runtime.sandbox_resources->pod_sandbox_id(), runtime.sandboxes.begin()->first);
  EXPECT_EQ(runtime.sandbox_resources->resources().cpu_shares(), 409);
  EXPECT_TRUE(Until([&] { return requests("actual") == 400; }));
  const size_t resized = runtime.CountCalls("UpdateContainerResources");
  runtime.failures["UpdatePodSandboxResources"] = {absl::InternalError("no room")};
  resize("500m");
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizeInProgress")->message(),
            "the runtime refuses the pod's resize: no room");
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), resized);
  Advance(seconds(30));
  EXPECT_TRUE(Until([&] { return requests("actual") == 500; }));
  runtime.sandbox_resources.reset();

  // The runtime refuses: tried again, told once.
  runtime.failures["UpdateContainerResources"] = {absl::UnknownError("no"), absl::UnknownError("no")};
  resize("100m");
  const auto* failed = FindCondition(*statuses.Get("u-1"), "PodResizeInProgress");
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->reason(), "Error");
  EXPECT_EQ(failed->message(), "no");
  EXPECT_THAT(Events(), Contains(HasSubstr("ResizeError: Pod resize error: ")));
  Advance(seconds(30));
  Advance(seconds(30));
  EXPECT_TRUE(Until([&] { return requests("actual") == 100; }));
  EXPECT_EQ(FindCondition(*statuses.Get("u-1"), "PodResizeInProgress"), nullptr);
}

// What a shrinking container still has is nobody else's; once it is given back, who may have it first gets it at once.
TEST_F(PodWorkersTest, RoomOfAShrinkingPodIsFreeWhenItsContainersHaveShrunk) {
  auto milli = [](const Pod& pod) {
    return api::Quantity::Of(pod.spec().containers(0).resources().requests().at("cpu")).MilliValue();
  };
  admit = [&](const Pod& pod, const std::vector<PodPtr>& others) -> AdmissionResult {
    int64_t used = 0;
    for (const PodPtr& p : others) used += milli(*p);
    if (used + milli(pod) <= 500) return {};
    return Rejection{"OutOfcpu", absl::StrCat("used: ", used)};
  };
  auto set = [](Pod* pod, const char* cpu) {
    auto* resources = pod->mutable_spec()->mutable_containers(0)->mutable_resources();
    (*resources->mutable_requests())["cpu"] = api::Quantity::Of(cpu).ToProto();
  };
  auto add = [&](const char* name, const char* cpu, int32_t priority) {
    Pod pod = MakePod({"c"});
    pod.mutable_metadata()->set_name(name);
    pod.mutable_metadata()->set_uid(name);
    pod.mutable_spec()->set_priority(priority);
    set(&pod, cpu);
    Add(pod);
  };
  auto resize = [&](const char* name, const char* cpu) {
    Pod& stored = sink.pods[name];
    set(&stored, cpu);
    stored.mutable_metadata()->set_generation(stored.metadata().generation() + 1);
    stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    workers->Update(std::make_shared<const Pod>(stored));
    Settle();
  };
  auto pending = [&](const char* name) {
    const auto* c = FindCondition(*statuses.Get(name), "PodResizePending");
    return c == nullptr ? std::string() : c->message();
  };
  add("big", "300m", 0);
  add("low", "100m", 0);
  add("urgent", "100m", 9);
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 3u);
  resize("low", "300m");
  EXPECT_EQ(pending("low"), "used: 400");
  resize("urgent", "300m");
  EXPECT_EQ(pending("urgent"), "used: 400");
  runtime.failures["UpdateContainerResources"] = {absl::UnknownError("not now")};
  resize("big", "100m");
  EXPECT_EQ(FindCondition(*statuses.Get("big"), "PodResizeInProgress")->reason(), "Error");
  EXPECT_EQ(pending("urgent"), "used: 400") << "the container has its 300m still";
  Advance(seconds(11));
  EXPECT_TRUE(Until([&] { return FindCondition(*statuses.Get("big"), "PodResizeInProgress") == nullptr; }));
  EXPECT_TRUE(Until([&] { return pending("urgent").empty(); }));
  EXPECT_EQ(pending("low"), "used: 400");

  // A pod that is over waits for nothing more.
  runtime.exit_code_on_stop = 143;
  ASSERT_TRUE(workers->Evict("low", 1, {"Evicted", "The node was low on resource: memory. "}, std::nullopt));
  ASSERT_TRUE(Until([&] { return statuses.Get("low")->phase() == "Failed"; }));
  EXPECT_EQ(pending("low"), "");
}

TEST_F(PodWorkersTest, AResizeEndsTheBackOff) {
  Pod pod = MakePod({"c"});
  auto memory = [](Pod* p, const char* value) {
    auto* resources = p->mutable_spec()->mutable_containers(0)->mutable_resources();
    (*resources->mutable_requests())["memory"] = api::Quantity::Of(value).ToProto();
  };
  memory(&pod, "64Mi");
  Add(pod);
  for (int i = 0; i < 2; ++i) {
    runtime.Exit(runtime.ContainerNamed("c"), 137, "OOMKilled");
    Relist();
    Advance(milliseconds(1));
  }
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 2u);
  Advance(seconds(2));
  ASSERT_EQ(statuses.Get("u-1")->containerstatuses(0).state().waiting().reason(), "CrashLoopBackOff");
  Pod& stored = sink.pods["p"];
  memory(&stored, "128Mi");
  stored.mutable_metadata()->set_generation(stored.metadata().generation() + 1);
  stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
  workers->Update(std::make_shared<const Pod>(stored));
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("StartContainer") == 3; }));
}

struct ResizedPod {
  Pod pod = MakePod({"c"});
  static void Memory(Pod* p, const char* value) {
    auto* resources = p->mutable_spec()->mutable_containers(0)->mutable_resources();
    (*resources->mutable_requests())["memory"] = api::Quantity::Of(value).ToProto();
  }
};

// As after a loss of the record of what containers have: told to be done only when it is.
TEST_F(PodWorkersTest, AContainerThatNothingIsRecordedOfIsResized) {
  ResizedPod of;
  ResizedPod::Memory(&of.pod, "64Mi");
  Add(of.pod);
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 1u);
  allocations.Remove("u-1");
  allocations.Allocate(of.pod);
  Pod& stored = sink.pods["p"];
  ResizedPod::Memory(&stored, "128Mi");
  stored.mutable_metadata()->set_generation(2);
  stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
  workers->Update(std::make_shared<const Pod>(stored));
  Settle();
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 1u);
  EXPECT_THAT(Events(), Contains(HasSubstr("ResizeCompleted")));
  EXPECT_EQ(allocations.ResizeFrom(stored), nullptr);
  workers->Wake("u-1");
  Settle();
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 1u);
}

TEST_F(PodWorkersTest, AContainerMadeBeforeAResizeIsResizedOnceItRuns) {
  ResizedPod of;
  ResizedPod::Memory(&of.pod, "64Mi");
  runtime.failures["StartContainer"] = {absl::UnknownError("not now")};
  Add(of.pod);
  ASSERT_EQ(runtime.CountCalls("CreateContainer"), 1u);
  runtime.containers.begin()->second.status.set_state(cri_v1::CONTAINER_CREATED);  // the call did not arrive
  throws = true;  // this sync does not come to start it
  Relist();
  ASSERT_EQ(runtime.CountCalls("StartContainer"), 1u);
  Pod& stored = sink.pods["p"];
  ResizedPod::Memory(&stored, "128Mi");
  stored.mutable_metadata()->set_generation(2);
  stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
  workers->Update(std::make_shared<const Pod>(stored));
  Advance(seconds(30));
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("UpdateContainerResources") == 1; }));
  EXPECT_EQ(runtime.CountCalls("CreateContainer"), 1u) << "it is the one that is started";
}

// The kernel would kill in it.
TEST_F(PodWorkersTest, AMemoryLimitIsNotLoweredBelowWhatIsInUse) {
  ResizedPod of;
  auto limit = [](Pod* p, const char* value) {
    (*p->mutable_spec()->mutable_resources()->mutable_limits())["memory"] = api::Quantity::Of(value).ToProto();
  };
  ResizedPod::Memory(&of.pod, "1Ki");
  limit(&of.pod, "128Ki");
  pod_memory = PodMemory{128 << 10, 100 << 10};
  runtime.memory_usage = 90 << 10;
  Add(of.pod);
  auto resize = [&](const char* value) {
    Pod& stored = sink.pods["p"];
    limit(&stored, value);
    stored.mutable_metadata()->set_generation(stored.metadata().generation() + 1);
    stored.mutable_metadata()->set_resourceversion(std::to_string(++sink.version));
    workers->Update(std::make_shared<const Pod>(stored));
    Settle();
  };
  resize("64Ki");
  const auto* failed = FindCondition(*statuses.Get("u-1"), "PodResizeInProgress");
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->message(),
            "cannot decrease memory limits: [attempting to set pod memory limit (65536) below current usage (102400), "
            "attempting to set container \"c\" memory limit (65536) below current usage (92160)]");
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 0u);
  resize("96Ki");
  failed = FindCondition(*statuses.Get("u-1"), "PodResizeInProgress");
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->message(),
            "cannot decrease memory limits: attempting to set pod memory limit (98304) below current usage (102400)");
  resize("112Ki");
  EXPECT_TRUE(Until([&] { return runtime.CountCalls("UpdateContainerResources") == 1; }));
  EXPECT_EQ(runtime.containers.begin()->second.updated.memory_limit_in_bytes(), 112 << 10);
}

// What it was granted is lost, and not what it asks for by now: that has to be admitted.
TEST_F(PodWorkersTest, AResizeThatWaitedIsNotGrantedByTheLossOfTheRecord) {
  ResizedPod of;
  ResizedPod::Memory(&of.pod, "64Mi");
  Add(of.pod);
  Relist();
  Pod wanted = sink.pods["p"];
  ResizedPod::Memory(&wanted, "128Mi");
  allocations.Remove("u-1");
  allocations.SetActuated(of.pod, of.pod.spec().containers(0));
  workers = nullptr;
  PodWorkersHooks refuses;
  refuses.admit = [](const Pod&, const std::vector<PodPtr>&) {
    return AdmissionResult(Rejection{"OutOfmemory", "no room"});
  };
  workers = std::make_unique<PodWorkers>(loop.get_executor(), clock, cache, *pods, statuses, probes, volumes, objects,
                                         cgroups, events, PodWorkersOptions{.root_dir = root}, std::move(refuses));
  workers->SetAllocations(&allocations);
  Add(wanted);
  const auto* pending = FindCondition(*statuses.Get("u-1"), "PodResizePending");
  ASSERT_NE(pending, nullptr);
  EXPECT_EQ(pending->message(), "no room");
  EXPECT_EQ(runtime.CountCalls("UpdateContainerResources"), 0u);
}

}  // namespace
}  // namespace skiff::kubelet
