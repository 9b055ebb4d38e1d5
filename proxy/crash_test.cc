// Killed at any instruction: a process that writes services, or replaces the programs, is killed at random moments
// again and again. After each the maps must be whole as packets see them, and clients must not notice.
#include <signal.h>
#include <sys/wait.h>

#include <random>
#include <set>

#include "proxy/data_path_testing.h"
#include "proxy/packet_path.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {
namespace {

constexpr int kServices = 40, kEndpoints = 9;
constexpr uint8_t kState = SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING;

// All endpoints of one generation: 10.<100 + generation>.<service>.<1..>.
ServiceChange Generation(int service, int generation) {
  ServiceModel model;
  ModelPort port{.name = "p", .protocol = IPPROTO_TCP};
  if (service % 4 == 0) port.balancing = Balancing::kMaglev;
  for (int e = 1; e <= kEndpoints; e++) {
    port.endpoints.push_back({A(absl::StrCat("10.", 100 + generation, ".", service, ".", e)), 8080, kState});
  }
  port.frontends.push_back({MakeKey(A(absl::StrCat("10.97.0.", service)), 80, IPPROTO_TCP), 0});
  port.frontends.push_back({NodePortKey(Family::kIPv4, static_cast<uint16_t>(31000 + service), IPPROTO_TCP), 0});
  model.ports.push_back(std::move(port));
  model.addresses.push_back(AddressKey(A(absl::StrCat("10.97.0.", service))));
  return {absl::StrCat("ns/s", service), std::move(model)};
}

// One that has listeners.
ServiceChange Live(const std::vector<std::string>& endpoints) {
  ServiceModel model;
  ModelPort port{.name = "p", .protocol = IPPROTO_TCP};
  for (const std::string& e : endpoints) port.endpoints.push_back({A(e), 8080, kState});
  port.frontends.push_back({MakeKey(A("10.96.0.1"), 80, IPPROTO_TCP), 0});
  model.ports.push_back(std::move(port));
  return {"ns/live", std::move(model)};
}

class CrashTest : public OwnNodeTest {
 protected:
  void SetUp() override {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    auto loaded = DataPath::Load(Options());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    data_path_ = std::move(*loaded);
    Reconciler reconciler(data_path_->maps());
    auto result = reconciler.ApplyAll(All(0));
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(data_path_->Attach().ok());
    for (const char* ip : {"10.1.0.1", "10.1.0.2"}) {
      servers_.push_back(std::make_unique<Backend>("live", ip, 8080, SOCK_STREAM));
    }
    client_ = std::thread([this] {
      while (!stop_) {
        std::string got = TcpOnce("10.96.0.1", 80);
        if (got != "live 10.96.0.1:80") bad_ = got;
        good_++;
      }
    });
  }
  void TearDown() override {
    if (!skip_.empty()) return;
    stop_ = true;
    if (client_.joinable()) client_.join();
    EXPECT_EQ(bad_, "");
    EXPECT_GT(good_, 0);
    printf("%d connections meanwhile\n", good_.load());
    data_path_.reset();
    EXPECT_TRUE(RemoveDataPath(Options()).ok());
  }
  static std::vector<ServiceChange> All(int generation) {
    std::vector<ServiceChange> all;
    for (int s = 0; s < kServices; s++) all.push_back(Generation(s, generation));
    all.push_back(Live({"10.1.0.1", "10.1.0.2"}));
    return all;
  }

  // Runs `work` in a process of its own that is killed after `us` microseconds of it.
  template <typename F>
  static void KillAfter(int us, F work) {
    int pipes[2];
    ASSERT_EQ(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
      work([&] { (void)!write(pipes[1], "x", 1); });
      _exit(1);  // it gave up by itself
    }
    close(pipes[1]);
    char c;
    EXPECT_EQ(read(pipes[0], &c, 1), 1) << "it never began";
    usleep(static_cast<useconds_t>(us));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
    close(pipes[0]);
  }

  // As packets see it: each set whole, of one generation, with live backends of its own service.
  void ExpectWhole() {
    auto maps = KernelBpfMaps::Open(MapsDirOf(dir_));
    ASSERT_TRUE(maps.ok()) << maps.status();
    auto frontends = (*maps)->ReadFrontends();
    auto slots = (*maps)->ReadSlots();
    auto list = (*maps)->ReadBackends();
    ASSERT_TRUE(frontends.ok() && slots.ok() && list.ok());
    std::map<uint32_t, skiff_backend> backends(list->begin(), list->end());
    int seen = 0;
    for (const auto& [key, f] : *frontends) {
      if (key.port == 0) continue;
      seen++;
      ASSERT_NE(f.service, 0u);
      ASSERT_GT(f.inside.count, 0u) << FormatKey(key);
      std::set<std::string> endpoints;
      std::set<uint8_t> generations;
      for (uint32_t i = 0; i < f.inside.count; i++) {
        const skiff_slot& slot = slots->at(f.inside.first + i);
        ASSERT_EQ(slot.service, f.service) << FormatKey(key) << " slot " << i;
        auto b = backends.find(slot.backend);
        ASSERT_NE(b, backends.end()) << FormatKey(key) << " leads to a backend that is gone";
        ASSERT_EQ(b->second.service, f.service);
        ASSERT_TRUE(b->second.state & SKIFF_BACKEND_CLUSTER);
        endpoints.insert(FormatAddress(b->second.address));
        generations.insert(static_cast<uint8_t>(b->second.address.word[3] >> 8 & 255));
      }
      ASSERT_EQ(generations.size(), 1u) << FormatKey(key) << ": half a service";
      bool live = f.inside.count <= 2;
      if (!live) ASSERT_EQ(endpoints.size(), size_t{kEndpoints}) << FormatKey(key);
    }
    EXPECT_GE(seen, kServices);
  }

  std::unique_ptr<DataPath> data_path_;
  std::vector<std::unique_ptr<Backend>> servers_;
  std::thread client_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> good_ = 0;
  std::string bad_;
};

TEST_F(CrashTest, ROOT_AgentKill_AtAnyWriteOfASync) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; round++) {
    auto seed = static_cast<unsigned>(random());
    // From the moment that it opens the maps: the read-back and its first full pass are killed too.
    KillAfter(static_cast<int>(random() % 60000), [&](auto begun) {
      std::mt19937 mine(seed);
      begun();
      auto maps = KernelBpfMaps::Open(MapsDirOf(dir_));
      if (!maps.ok()) return;
      Reconciler reconciler(**maps);
      if (!reconciler.ApplyAll(All(static_cast<int>(mine() % 100))).ok()) return;
      for (;;) {
        std::vector<ServiceChange> changes;
        for (int s = 0; s < kServices; s++) {
          if (mine() % 3 == 0) changes.push_back(Generation(s, static_cast<int>(mine() % 100)));
        }
        switch (mine() % 3) {
          case 0: changes.push_back(Live({"10.1.0.1"})); break;
          case 1: changes.push_back(Live({"10.1.0.2"})); break;
          default: changes.push_back(Live({"10.1.0.1", "10.1.0.2"}));
        }
        if (!reconciler.Apply(changes).ok()) return;
      }
    });
    ExpectWhole();
    if (HasFatalFailure() || !bad_.empty()) break;
  }
  // The next run makes it exactly what is wanted, with nothing left over.
  // Opened anew, as a process that starts does: the others have added chunks that this one does not know.
  auto maps = KernelBpfMaps::Open(MapsDirOf(dir_));
  ASSERT_TRUE(maps.ok()) << maps.status();
  Reconciler reconciler(**maps);
  auto result = reconciler.ApplyAll(All(1));
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectWhole();
  EXPECT_EQ((*maps)->ReadBackends()->size(), size_t{kServices * kEndpoints + 2});
  EXPECT_EQ((*maps)->ReadFrontends()->size(), size_t{kServices * 3 + 1});
  EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_GAVE_UP], 0u);
}

TEST_F(CrashTest, ROOT_AgentKill_AtAnyInstructionOfAnUpgrade) {
  std::mt19937 random(11);
  Fd kept;
  ASSERT_EQ(TcpOnce("10.96.0.1", 80, false, &kept), "live 10.96.0.1:80");
  for (int round = 0; round < 16; round++) {
    KillAfter(static_cast<int>(random() % 700000), [&](auto begun) {
      begun();
      for (;;) {
        auto loaded = DataPath::Load(Options());
        if (!loaded.ok()) return;
        Reconciler reconciler((*loaded)->maps());
        if (!reconciler.ApplyAll(All(2)).ok() || !(*loaded)->Attach().ok()) return;
        auto packets = PacketPath::Load((*loaded)->maps_dir());
        if (!packets.ok()) return;
      }
    });
    ExpectWhole();
    if (HasFatalFailure() || !bad_.empty()) break;
  }
  ASSERT_EQ(send(kept.get(), "hi", 2, 0), 2);
  EXPECT_EQ(ReadName(kept.get()), "hi") << "a connection from before all of it";
  Sockaddr peer;
  getpeername(kept.get(), peer.get(), &peer.size);
  EXPECT_EQ(peer.Text(), "10.96.0.1:80");
}

}  // namespace
}  // namespace skiff::proxy
