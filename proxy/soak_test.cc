// Rows soak, agent-kill and terminating-endpoints of the reliability table, with real maps, programs and sockets: many
// endpoint changes cost no memory and no files; changing endpoints, and a proxy that is killed and started again by a
// new version, lose nothing of what clients send and get.
#include "absl/strings/numbers.h"
#include "base/heap_testing.h"
#include "proxy/load_testing.h"
#include "proxy/syncer.h"

namespace skiff::proxy {
namespace {

class SoakTest : public OwnNodeTest {
 protected:
  struct Agent {  // what a kube-proxy process has
    explicit Agent(std::unique_ptr<DataPath> path)
        : data_path(std::move(path)), syncer(data_path->maps(), {"n1", ""}, Clock::Real(), metrics, health) {}
    metrics::Registry registry;
    Metrics metrics{registry};
    Health health{Clock::Real()};
    std::unique_ptr<DataPath> data_path;
    Syncer syncer;
  };

  void SetUp() override {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
  }
  void TearDown() override {
    if (!skip_.empty()) return;
    agent_.reset();
    EXPECT_TRUE(RemoveDataPath(Options()).ok());
  }
  // A start, or the next one after the process before was killed.
  void Start(const std::vector<std::string>& endpoints) {
    agent_.reset();
    auto loaded = DataPath::Load(Options());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    agent_ = std::make_unique<Agent>(std::move(*loaded));
    ServiceDigest service;
    service.cluster_ips = {A("10.96.0.1")};
    service.ports = {{.name = "tcp", .port = 80, .protocol = IPPROTO_TCP},
                     {.name = "udp", .port = 80, .protocol = IPPROTO_UDP}};
    agent_->syncer.SetService("ns/web", service);
    Set(endpoints);
    Status status = agent_->data_path->Attach();
    ASSERT_TRUE(status.ok()) << status;
  }
  // "10.1.0.1", or with " draining" behind it.
  void Set(const std::vector<std::string>& endpoints) {
    SliceDigest slice{.service = "ns/web"};
    slice.ports = {{.name = "tcp", .port = 8080, .protocol = IPPROTO_TCP},
                   {.name = "udp", .port = 8080, .protocol = IPPROTO_UDP}};
    for (const std::string& text : endpoints) {
      bool draining = text.find(' ') != std::string::npos;
      auto flags = static_cast<uint8_t>(draining ? kServing | kTerminating : kReady | kServing);
      slice.endpoints.push_back({A(text.substr(0, text.find(' '))), 0, flags});
    }
    agent_->syncer.SetSlice("ns/web-1", slice);
    if (agent_->syncer.dirty()) {
      auto result = agent_->syncer.Sync();
      ASSERT_TRUE(result.ok()) << result.status();
    }
  }
  static size_t Rss() {
    size_t size = 0, resident = 0;
    FILE* f = fopen("/proc/self/statm", "re");
    if (f != nullptr) {
      EXPECT_EQ(fscanf(f, "%zu %zu", &size, &resident), 2);
      fclose(f);
    }
    return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  }
  static size_t Files() { return ListDir("/proc/self/fd")->size(); }

  std::unique_ptr<Agent> agent_;
};

TEST_F(SoakTest, ROOT_EndpointChangesCostNothingThatStays) {
  int changes = 10000;
  if (const char* text = getenv("SKIFF_SOAK_CHANGES")) ASSERT_TRUE(absl::SimpleAtoi(text, &changes));
  Start({"10.1.0.1"});
  auto change = [&](int i) {
    std::vector<std::string> endpoints;
    for (int e = 0; e < 1 + i % 20; e++)
      endpoints.push_back(absl::StrCat("10.2.", i / 250 % 250, ".", (i + e) % 250 + 1));
    Set(endpoints);
  };
  // Ids of removed endpoints rest before they are used again, so that memory first grows by so many.
  for (int i = 0; i < 3000; i++) change(i);
  size_t rss = Rss(), files = Files();
  for (int i = 3000; i < 3000 + changes; i++) change(i);
  EXPECT_EQ(Files(), files);
  if (!kForeignHeap) EXPECT_LT(Rss(), rss + (1 << 20)) << "from " << rss;
  Set({"10.1.0.1"});
  auto backends = agent_->data_path->maps().ReadBackends();
  ASSERT_TRUE(backends.ok());
  EXPECT_EQ(backends->size(), 2u) << "one endpoint, two ports";
}

TEST_F(SoakTest, ROOT_TerminatingEndpoints_AgentKill_SocketsLoseNothing) {
  Echo one("10.1.0.1"), two("10.1.0.2");
  const std::vector<std::string> both = {"10.1.0.1", "10.1.0.2"};
  Start(both);
  {
    std::unique_ptr<LoadClient> clients[4];
    for (int kind = 0; kind < 4; kind++)
      clients[kind] = std::make_unique<LoadClient>(static_cast<LoadClient::Kind>(kind), "10.96.0.1", 80);
    auto all_move_on = [&] {
      int before[4];
      for (size_t i = 0; i < 4; i++) before[i] = clients[i]->done();
      for (size_t i = 0; i < 4; i++) {
        while (clients[i]->done() < before[i] + 3 && !clients[i]->failed()) std::this_thread::yield();
      }
    };
    for (int round = 0; round < 12; round++) {
      // As a rolling update has it: one drains, is gone, and comes back.
      Set({"10.1.0.1", "10.1.0.2 draining"});
      all_move_on();
      Set({"10.1.0.1"});
      all_move_on();
      Set(both);
      Set({"10.1.0.2"});
      Set(both);
      all_move_on();
      if (round % 3 == 2) {
        agent_.reset();  // killed: nothing is cleaned up
        all_move_on();
        Start(both);
        all_move_on();
      }
    }
    for (auto& client : clients) {
      client->Stop();
      EXPECT_EQ(client->failure, "");
      EXPECT_GT(client->done(), 50);
    }
  }
  EXPECT_GT(one.served(), 0);
  EXPECT_GT(two.served(), 0);
}

}  // namespace
}  // namespace skiff::proxy
