// Rows soak, agent-kill and terminating-endpoints of the reliability table, with real maps, programs and sockets: many
// endpoint changes cost no memory and no files; changing endpoints, and a proxy that is killed and started again by a
// new version, lose nothing of what clients send and get.
#include <poll.h>

#include <atomic>
#include <thread>

#include "absl/strings/numbers.h"
#include "proxy/data_path_testing.h"
#include "proxy/syncer.h"

namespace skiff::proxy {
namespace {

// Echoes TCP and UDP on one address.
class Echo {
 public:
  explicit Echo(std::string_view ip) {
    Sockaddr at = Sockaddr::Of(ip, 8080);
    listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    udp_ = Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int one = 1;
    setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    EXPECT_EQ(bind(listener_.get(), at.get(), at.size), 0) << strerror(errno);
    EXPECT_EQ(listen(listener_.get(), 1024), 0);
    EXPECT_EQ(bind(udp_.get(), at.get(), at.size), 0) << strerror(errno);
    thread_ = std::thread([this] { Run(); });
  }
  ~Echo() {
    stop_ = true;
    thread_.join();
  }
  int served() const { return served_; }

 private:
  void Run() {
    std::vector<Fd> open;
    while (!stop_) {
      std::vector<pollfd> fds = {{listener_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}};
      for (const Fd& fd : open) fds.push_back({fd.get(), POLLIN, 0});
      if (poll(fds.data(), fds.size(), 50) <= 0) continue;
      char buffer[2048];
      for (size_t i = fds.size(); i-- > 2;) {
        if (fds[i].revents == 0) continue;
        ssize_t n = recv(fds[i].fd, buffer, sizeof(buffer), 0);
        if (n <= 0) {
          open.erase(open.begin() + static_cast<long>(i) - 2);
          continue;
        }
        served_++;
        (void)!send(fds[i].fd, buffer, static_cast<size_t>(n), MSG_NOSIGNAL);
      }
      if (fds[0].revents != 0) {
        Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (fd.valid()) open.push_back(std::move(fd));
      }
      if (fds[1].revents != 0) {
        Sockaddr from;
        ssize_t n = recvfrom(udp_.get(), buffer, sizeof(buffer), 0, from.get(), &from.size);
        if (n > 0) {
          served_++;
          (void)!sendto(udp_.get(), buffer, static_cast<size_t>(n), 0, from.get(), from.size);
        }
      }
    }
  }
  Fd listener_, udp_;
  std::thread thread_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> served_ = 0;
};

// Sends numbered payloads to the service until stopped; whatever does not come back as it was is a failure.
class Client {
 public:
  enum Kind { kNewConnections, kOneConnection, kUdpConnected, kUdpUnconnected };
  explicit Client(Kind kind) : kind_(kind) {
    thread_ = std::thread([this] {
      Run();
      failed_ = !stop_;
    });
  }
  ~Client() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int done() const { return done_; }
  bool failed() const { return failed_; }
  std::string failure;  // the first; read after Stop

 private:
  Fd Open() {
    bool tcp = kind_ == kNewConnections || kind_ == kOneConnection;
    Fd fd(socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
    timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    linger now{.l_onoff = 1, .l_linger = 0};
    if (tcp) setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    Sockaddr to = Sockaddr::Of("10.96.0.1", 80);
    if (kind_ != kUdpUnconnected && connect(fd.get(), to.get(), to.size) != 0) {
      failure = absl::StrCat("connect: ", strerror(errno));
      return Fd();
    }
    return fd;
  }
  void Run() {
    Fd fd;
    for (int n = 0; !stop_ && failure.empty(); n++) {
      if (!fd.valid() || kind_ == kNewConnections) fd = Open();
      if (!fd.valid()) return;
      std::string sent = absl::StrCat("payload ", n, " ", std::string(static_cast<size_t>(n % 500), 'x')), got;
      got.resize(sent.size());
      Sockaddr to = Sockaddr::Of("10.96.0.1", 80);
      ssize_t out = kind_ == kUdpUnconnected ? sendto(fd.get(), sent.data(), sent.size(), 0, to.get(), to.size)
                                             : send(fd.get(), sent.data(), sent.size(), MSG_NOSIGNAL);
      if (out != static_cast<ssize_t>(sent.size())) {
        failure = absl::StrCat("send ", n, ": ", strerror(errno));
        return;
      }
      for (size_t have = 0; have < got.size();) {
        ssize_t in = recv(fd.get(), got.data() + have, got.size() - have, 0);
        if (in <= 0) {
          failure = absl::StrCat("receive ", n, ": ", in == 0 ? "closed" : strerror(errno));
          return;
        }
        have += static_cast<size_t>(in);
      }
      if (got != sent) failure = absl::StrCat("receive ", n, ": other bytes");
      done_++;
    }
  }
  Kind kind_;
  std::thread thread_;
  std::atomic<bool> stop_ = false, failed_ = false;
  std::atomic<int> done_ = 0;
};

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
  EXPECT_LT(Rss(), rss + (1 << 20)) << "from " << rss;
  Set({"10.1.0.1"});
  auto backends = agent_->data_path->maps().ReadBackends();
  ASSERT_TRUE(backends.ok());
  EXPECT_EQ(backends->size(), 2u) << "one endpoint, two ports";
}

TEST_F(SoakTest, ROOT_FlappingEndpointsAndRestartsLoseNothing) {
  Echo one("10.1.0.1"), two("10.1.0.2");
  const std::vector<std::string> both = {"10.1.0.1", "10.1.0.2"};
  Start(both);
  {
    std::unique_ptr<Client> clients[4];
    for (int kind = 0; kind < 4; kind++) clients[kind] = std::make_unique<Client>(static_cast<Client::Kind>(kind));
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
