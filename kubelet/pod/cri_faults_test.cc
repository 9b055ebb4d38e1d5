// Calls to the runtime fail, lose their answers, arrive twice or late, kubelets are killed in between: in the end the
// pods run as they should and nothing is left of others. Seeded: SKIFF_FAULT_SEEDS says how many (20), SKIFF_FAULT_SEED
// which one to run alone.
#include <cstdlib>
#include <iostream>

#include "absl/strings/numbers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/node_testing.h"
#include "kubelet/runtime/labels.h"
#include "kubelet/state/layout.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing_node::Advance;
using testing_node::Life;
using testing_node::Settle;
using testing_node::World;

int64_t Setting(const char* name, int64_t otherwise) {
  int64_t value = 0;
  const char* text = std::getenv(name);
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

class Scenario {
 public:
  explicit Scenario(uint64_t seed) : random_(seed), world_(loop_) {
    cri::FaultRates rates;
    rates.fail = rates.lose = 0.08;
    rates.twice = 0.05;
    rates.delay = 0.3;
    rates.freeze = 0.02;
    rates.longest_freeze = seconds(90);
    plan_ = std::make_shared<cri::FaultPlan>(seed, rates);
    world_.runtime.has_events = seed % 2 == 0;
    world_.runtime.on_start = [this](const cri::FakeRuntime::FakeContainer& c) {
      const std::string who = Who(c);
      // Init containers begin to count anew in a new sandbox, as upstream's: the old ones are removed with their logs.
      if (!started_.insert(absl::StrCat(who, "#", c.config.metadata().attempt(), " in ", c.sandbox_id)).second) {
        problems_.push_back(absl::StrCat(who, " was started twice at attempt ", c.config.metadata().attempt()));
      }
      if (Running(c) > 1) problems_.push_back(who + " runs twice at a time");
    };
    world_.runtime.on_exit = [this](const cri::FakeRuntime::FakeContainer& c) { ++exits_[Who(c)]; };
    life_ = std::make_unique<Life>(world_, plan_);
  }
  ~Scenario() {
    Kill();
    Settle(loop_);
  }

  std::vector<std::string> Go() {
    for (SteadyTime end = world_.clock.Steady() + seconds(240); world_.clock.Steady() < end;) {
      Something();
      Advance(world_, milliseconds(Below(3000)));
      Processes();
    }
    plan_->SetOn(false);
    // Late calls arrive, back-offs end (at most 40 s), a kubelet looks at everything again.
    for (int i = 0; i < 300; ++i) {
      Advance(world_, seconds(1));
      Processes();
    }
    Check();
    return problems_;
  }
  uint64_t faults() const { return plan_->drawn(); }

 private:
  int64_t Below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  bool OneIn(int64_t n) { return Below(n) == 0; }
  static std::string Who(const cri::FakeRuntime::FakeContainer& c) {
    return absl::StrCat(c.config.labels().at(kPodNameLabel), "/", c.config.metadata().name());
  }
  int Running(const cri::FakeRuntime::FakeContainer& of) const {
    int n = 0;
    for (const auto& [id, c] : world_.runtime.containers) {
      n += Who(c) == Who(of) && c.status.state() == cri_v1::CONTAINER_RUNNING ? 1 : 0;
    }
    return n;
  }

  Pod NewPod() {
    std::vector<std::string> containers = {"a"}, inits;
    if (OneIn(2)) containers.push_back("b");
    for (int i = 0, n = static_cast<int>(Below(3)); i < n; ++i) inits.push_back(absl::StrCat("i", i));
    Pod pod = testing_pods::MakePod(containers, inits);
    const std::string name = absl::StrCat("p", ++count_);
    pod.mutable_metadata()->set_name(name);
    pod.mutable_metadata()->set_uid(absl::StrCat("uid-", name));
    auto* spec = pod.mutable_spec();
    for (auto& c : *spec->mutable_initcontainers()) {
      if (OneIn(2)) c.set_restartpolicy("Always");
    }
    if (OneIn(4)) spec->set_restartpolicy(OneIn(2) ? "Never" : "OnFailure");
    if (OneIn(2)) (*spec->mutable_containers(0)->mutable_resources()->mutable_requests())["cpu"].set_string("10m");
    if (OneIn(2)) {
      auto* volume = spec->add_volumes();
      volume->set_name("v");
      if (OneIn(2)) {
        volume->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("map");
      } else {
        volume->mutable_volumesource()->mutable_emptydir()->set_medium("Memory");
      }
      auto* mount = spec->mutable_containers(0)->add_volumemounts();
      mount->set_name("v");
      mount->set_mountpath("/v");
    }
    return pod;
  }

  template <typename Map>
  typename Map::iterator Any(Map& map) {
    return std::next(map.begin(), Below(static_cast<int64_t>(map.size())));
  }

  void Something() {
    switch (Below(12)) {
      case 0:
      case 1:
      case 2:
        if (world_.api.pods.size() < 8) world_.api.Create(NewPod());
        break;
      case 3:
      case 4:
        if (!world_.api.pods.empty()) world_.api.Delete(Any(world_.api.pods)->first, OneIn(4) ? 0 : 1 + Below(20));
        break;
      case 5:
      case 6:
        if (!world_.runtime.containers.empty()) {
          auto& [id, c] = *Any(world_.runtime.containers);
          if (c.status.state() == cri_v1::CONTAINER_RUNNING) world_.runtime.Exit(id, static_cast<int>(Below(3)));
        }
        break;
      case 7:
        // A pod that is never restarted and loses its sandbox while it begins stays Pending, as upstream's.
        if (!world_.runtime.sandboxes.empty() && OneIn(2)) {
          const auto& [id, sandbox] = *Any(world_.runtime.sandboxes);
          auto it = world_.api.pods.find(sandbox.config.metadata().name());
          if (it == world_.api.pods.end() || it->second.spec().restartpolicy() != "Never") {
            world_.runtime.KillSandbox(id);
          }
        }
        break;
      case 8:
        if (OneIn(3)) {
          Kill();
          Advance(world_, milliseconds(Below(3000)));
          life_ = std::make_unique<Life>(world_, plan_);
        }
        break;
      default: break;
    }
  }
  void Kill() {
    life_->Kill();
    Settle(loop_);
    if (!life_->over()) problems_.push_back("a killed kubelet goes on");
    if (life_->over()) life_ = nullptr;
  }

  // Init containers and those of finite pods do their work.
  void Processes() {
    for (auto& [id, c] : world_.runtime.containers) {
      if (c.status.state() != cri_v1::CONTAINER_RUNNING) continue;
      auto it = world_.api.pods.find(c.config.labels().at(kPodNameLabel));
      if (it == world_.api.pods.end()) continue;
      const Pod& pod = it->second;
      const core::Container* spec = FindContainer(pod, c.config.metadata().name());
      const bool init = IsInitContainer(pod, spec->name());
      if (init ? IsSidecar(*spec) : pod.spec().restartpolicy() == "Always") continue;
      const auto age = world_.clock.Now().time_since_epoch() - std::chrono::nanoseconds(c.status.started_at());
      if (age > seconds(2) && OneIn(2)) world_.runtime.Exit(id, plan_->on() && OneIn(5) ? 1 : 0);
    }
  }

  void Problem(std::string text) { problems_.push_back(std::move(text)); }
  void Check();
  void CheckPod(const Pod& pod);

  asio::io_context loop_;
  std::mt19937_64 random_;
  World world_;
  std::shared_ptr<cri::FaultPlan> plan_;
  std::unique_ptr<Life> life_;
  int count_ = 0;
  std::set<std::string> started_;
  std::map<std::string, int> exits_;
  std::vector<std::string> problems_;
};

void Scenario::CheckPod(const Pod& pod) {
  const std::string& name = pod.metadata().name();
  const core::PodStatus& status = pod.status();
  const bool over = IsTerminalPhase(status.phase());
  if (pod.metadata().has_deletiontimestamp()) Problem(name + " is not deleted");
  int ready = 0;
  std::string sandbox;
  for (const auto& [id, s] : world_.runtime.sandboxes) {
    if (s.config.metadata().name() != name || s.status.state() != cri_v1::SANDBOX_READY) continue;
    ++ready;
    sandbox = id;
  }
  if (ready != (over ? 0 : 1))
    Problem(absl::StrCat(name, " (", pod.spec().restartpolicy(), ", ", status.phase(), ") has ", ready,
                         " ready sandboxes"));
  if (pod.spec().restartpolicy() == "Always" && status.phase() != "Running") {
    Problem(absl::StrCat(name, " is ", status.phase(), ": ", status.ShortDebugString()));
  }
  if (pod.spec().restartpolicy() != "Always" && !over) Problem(absl::StrCat(name, " is still ", status.phase()));
  auto look = [&](const core::Container& c, bool runs) {
    const std::string who = absl::StrCat(name, "/", c.name());
    const auto* s = FindStatus(status, c.name());
    if (s == nullptr) return Problem(who + " has no status");
    if (s->restartcount() > exits_[who]) {
      Problem(absl::StrCat(who, " restarted ", s->restartcount(), " times and ended ", exits_[who], " times"));
    }
    int running = 0;
    for (const auto& [id, there] : world_.runtime.containers) {
      if (Who(there) != who || there.status.state() != cri_v1::CONTAINER_RUNNING) continue;
      ++running;
      if (there.sandbox_id != sandbox) Problem(who + " runs in an old sandbox");
      if (s->containerid() != "containerd://" + id || !s->state().has_running()) {
        Problem(absl::StrCat(who, " has another status: ", s->ShortDebugString(), " than ", id));
      }
      if (s->restartcount() < static_cast<int>(there.config.metadata().attempt())) {
        Problem(
            absl::StrCat(who, " is at attempt ", there.config.metadata().attempt(), ", status ", s->restartcount()));
      }
    }
    if (running != (runs && !over ? 1 : 0))
      Problem(absl::StrCat(who, " runs ", running, " times: ", s->ShortDebugString()));
    if (over && s->state().has_running()) Problem(who + " is told to run and its pod is over");
  };
  for (const auto& c : pod.spec().initcontainers()) look(c, IsSidecar(c));
  for (const auto& c : pod.spec().containers()) look(c, true);
}

void Scenario::Check() {
  std::set<std::string> wanted;  // uids
  for (const auto& [name, pod] : world_.api.pods) {
    wanted.insert(pod.metadata().uid());
    CheckPod(pod);
  }
  auto known = [&](const std::string& uid, const std::string& what) {
    if (!wanted.contains(uid)) Problem(absl::StrCat(what, " of ", uid, " is left"));
  };
  for (const auto& [id, s] : world_.runtime.sandboxes) known(s.config.metadata().uid(), "a sandbox");
  for (const auto& [id, c] : world_.runtime.containers) known(c.config.labels().at(kPodUidLabel), "a container");
  for (const char* kind : {"/pods", "/logs"}) {
    if (!std::filesystem::exists(world_.root + kind)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(world_.root + kind)) {
      const std::string name = entry.path().filename();
      known(name.substr(name.rfind('_') + 1), std::string("a directory in ") + kind);
    }
  }
  for (const auto& uid : life_->cgroups.PodsOnDisk()) known(uid, "a cgroup");
  for (const auto& [target, what] : world_.mounter.mounts()) {
    const std::string rest = target.substr(target.find("/pods/") + 6);
    known(rest.substr(0, rest.find('/')), "a mount");
  }
  for (const auto& uid : life_->objects.registered) known(uid, "a registration");
  for (const auto& uid : life_->workers->Known()) known(uid, "a worker");
}

// Reliability row agent-kill as well: the kubelet is killed between any two steps.
TEST(CriFaults, agent_kill_PodsConvergeAndNothingIsLeft) {
  const int64_t only = Setting("SKIFF_FAULT_SEED", 0), seeds = Setting("SKIFF_FAULT_SEEDS", 20);
  uint64_t faults = 0;
  for (int64_t seed = only != 0 ? only : 1; seed <= (only != 0 ? only : seeds); ++seed) {
    Scenario run(static_cast<uint64_t>(seed));
    for (const auto& problem : run.Go()) ADD_FAILURE() << "seed " << seed << ": " << problem;
    faults += run.faults();
  }
  EXPECT_GT(faults, 0u);
}

}  // namespace
}  // namespace skiff::kubelet
