// The kernel programs with real sockets.
#include "proxy/data_path.h"

#include <bpf/bpf.h>

#include <chrono>

#include "base/heap_testing.h"
#include "proxy/data_path_testing.h"
#include "proxy/reconcile.h"
#include "proxy/stale_udp.h"

namespace skiff::proxy {
namespace {

using Clock = std::chrono::steady_clock;

struct PortSpec {
  std::vector<std::string> ips;  // frontends
  uint16_t port = 0, node_port = 0;
  uint8_t protocol = IPPROTO_TCP;
  std::vector<std::pair<std::string, uint16_t>> endpoints;
  uint32_t affinity = 0;
};

ServiceChange Make(std::string name, const std::vector<PortSpec>& specs) {
  ServiceModel model;
  int number = 0;
  for (const PortSpec& spec : specs) {
    for (Family family : {Family::kIPv4, Family::kIPv6}) {
      ModelPort port{.name = absl::StrCat("p", number++), .protocol = spec.protocol, .family = family};
      port.affinity_seconds = spec.affinity;
      for (const auto& [ip, p] : spec.endpoints) {
        if (FamilyOf(A(ip)) == family) {
          port.endpoints.push_back({A(ip), p, SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING});
        }
      }
      std::sort(port.endpoints.begin(), port.endpoints.end(), [](const auto& a, const auto& b) {
        return a.address == b.address ? a.port < b.port : a.address < b.address;
      });
      for (const std::string& ip : spec.ips) {
        if (FamilyOf(A(ip)) != family) continue;
        port.frontends.push_back({MakeKey(A(ip), spec.port, spec.protocol), 0});
        model.addresses.push_back(AddressKey(A(ip)));
      }
      if (spec.node_port != 0) port.frontends.push_back({NodePortKey(family, spec.node_port, spec.protocol), 0});
      if (!port.frontends.empty()) model.ports.push_back(std::move(port));
    }
  }
  return {std::move(name), std::move(model)};
}

class DataPathTest : public OwnNodeTest {
 protected:
  void SetUp() override {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    Start();
  }
  void TearDown() override {
    reconciler_.reset();
    data_path_.reset();
    if (!skip_.empty()) return;
    EXPECT_TRUE(RemoveDataPath(Options()).ok());
    EXPECT_FALSE(Exists(dir_));
  }

  void Start() {
    auto loaded = DataPath::Load(Options());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    data_path_ = std::move(*loaded);
    reconciler_ = std::make_unique<Reconciler>(data_path_->maps());
  }
  void ApplyAll(const std::vector<ServiceChange>& all) {
    auto result = reconciler_->ApplyAll(all);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(data_path_->Attach().ok());
  }
  void Apply(const ServiceChange& change) {
    auto result = reconciler_->Apply({change});
    ASSERT_TRUE(result.ok()) << result.status();
  }

  std::unique_ptr<DataPath> data_path_;
  std::unique_ptr<Reconciler> reconciler_;
};

TEST_F(DataPathTest, ROOT_TcpInEveryFamily) {
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM), b("b", "10.1.0.2", 8081, SOCK_STREAM);
  Backend six("six", "fd01::1", 8080, SOCK_STREAM);
  ApplyAll({Make("ns/s", {{.ips = {"10.96.0.1", "fd00::1"},
                           .port = 80,
                           .endpoints = {{"10.1.0.1", 8080}, {"10.1.0.2", 8081}, {"fd01::1", 8080}}},
                          {.ips = {"10.96.0.1", "fd00::1"}, .port = 81}})});
  std::map<std::string, int> seen;
  for (int i = 0; i < 60; i++) seen[TcpOnce("10.96.0.1", 80)]++;
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_GT(seen["a 10.96.0.1:80"], 10);
  EXPECT_GT(seen["b 10.96.0.1:80"], 10);
  seen.clear();
  for (int i = 0; i < 60; i++) seen[TcpOnce("10.96.0.1", 80, true)]++;
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_GT(seen["a [::ffff:10.96.0.1]:80"], 10) << seen.begin()->first;
  EXPECT_GT(seen["b [::ffff:10.96.0.1]:80"], 10);
  EXPECT_EQ(TcpOnce("fd00::1", 80), "six [fd00::1]:80");
  // No endpoint, and a port that the service does not have: at once, in every family.
  for (uint16_t port : {81, 82}) {
    EXPECT_EQ(TcpOnce("10.96.0.1", port), "connect: Connection refused");
    EXPECT_EQ(TcpOnce("10.96.0.1", port, true), "connect: Connection refused");
    EXPECT_EQ(TcpOnce("fd00::1", port), "connect: Connection refused");
  }
  EXPECT_EQ(TcpOnce("10.1.0.1", 8080), "a 10.1.0.1:8080") << "an endpoint itself is left alone";
  auto counters = data_path_->maps().ReadCounters();
  ASSERT_TRUE(counters.ok());
  EXPECT_EQ((*counters)[SKIFF_COUNT_CONNECT], 121u);
  EXPECT_EQ((*counters)[SKIFF_COUNT_NO_ENDPOINT], 3u);
  EXPECT_EQ((*counters)[SKIFF_COUNT_UNUSED_PORT], 3u);
  EXPECT_EQ((*counters)[SKIFF_COUNT_GAVE_UP], 0u);
}

TEST_F(DataPathTest, ROOT_ConntrackUdp_UnconnectedKeepsItsEndpointWhileThatLives) {
  Backend a("a", "10.1.0.1", 1053, SOCK_DGRAM), b("b", "10.1.0.2", 1053, SOCK_DGRAM);
  Backend a6("a6", "fd01::1", 1053, SOCK_DGRAM), b6("b6", "fd01::2", 1053, SOCK_DGRAM);
  auto with = [](std::vector<std::string> ips) {
    PortSpec spec{.ips = {"10.96.0.1", "fd00::1"}, .port = 53, .protocol = IPPROTO_UDP};
    for (auto& ip : ips) spec.endpoints.emplace_back(ip, 1053);
    return Make("ns/dns", {spec});
  };
  auto both = with({"10.1.0.1", "10.1.0.2", "fd01::1", "fd01::2"});
  struct Case {
    const char* ip;
    bool as_v6;
    std::string source, a, b;
    int family;
  };
  ApplyAll({both});
  for (const Case& c : std::vector<Case>{{"10.96.0.1", false, "10.96.0.1:53", "a", "b", AF_INET},
                                         {"10.96.0.1", true, "[::ffff:10.96.0.1]:53", "a", "b", AF_INET6},
                                         {"fd00::1", false, "[fd00::1]:53", "a6", "b6", AF_INET6}}) {
    Apply(both);
    std::map<std::string, int> first;
    for (int i = 0; i < 20; i++) {
      Fd fd(socket(c.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      std::string answer = UdpOnce(fd.get(), c.ip, 53, c.as_v6);
      first[answer]++;
      for (int k = 0; k < 5; k++) ASSERT_EQ(UdpOnce(fd.get(), c.ip, 53, c.as_v6), answer);
    }
    EXPECT_EQ(first.size(), 2u) << first.begin()->first;
    EXPECT_TRUE(first.contains(c.a + " " + c.source)) << first.begin()->first;

    Fd fd(socket(c.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::string answer = UdpOnce(fd.get(), c.ip, 53, c.as_v6);
    bool on_a = answer.starts_with("a");
    // The endpoint goes away, the very next datagram reaches a live one.
    Apply(with({on_a ? "10.1.0.2" : "10.1.0.1", on_a ? "fd01::2" : "fd01::1"}));
    EXPECT_EQ(UdpOnce(fd.get(), c.ip, 53, c.as_v6), absl::StrCat(on_a ? c.b : c.a, " ", c.source));
    Apply(with({}));
    EXPECT_EQ(UdpOnce(fd.get(), c.ip, 53, c.as_v6), "sendto: Connection refused");
    Apply(both);
    EXPECT_TRUE(UdpOnce(fd.get(), c.ip, 53, c.as_v6).ends_with(c.source));
  }
}

TEST_F(DataPathTest, ROOT_OneUdpSocketManyServices) {
  Backend a("a", "10.1.0.1", 1053, SOCK_DGRAM);
  std::vector<ServiceChange> all;
  for (int i = 0; i < 40; i++) {
    // All share the endpoint: an answer belongs to the service that was asked last.
    all.push_back(Make(absl::StrCat("ns/s", i), {{.ips = {absl::StrCat("10.96.1.", i)},
                                                  .port = 53,
                                                  .protocol = IPPROTO_UDP,
                                                  .endpoints = {{"10.1.0.1", 1053}}}}));
  }
  ApplyAll(all);
  Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 40; i++) {
      std::string ip = absl::StrCat("10.96.1.", i);
      ASSERT_EQ(UdpOnce(fd.get(), ip, 53), absl::StrCat("a ", ip, ":53"));
    }
  }
  EXPECT_GT((*data_path_->maps().ReadCounters())[SKIFF_COUNT_FLOW_EVICTED], 50u);
}

TEST_F(DataPathTest, ROOT_ConntrackUdp_ConnectedIsMovedOffADeadEndpoint) {
  Backend a("a", "10.1.0.1", 1053, SOCK_DGRAM), b("b", "10.1.0.2", 1053, SOCK_DGRAM);
  Backend a6("a6", "fd01::1", 1053, SOCK_DGRAM), b6("b6", "fd01::2", 1053, SOCK_DGRAM);
  auto with = [](std::vector<std::string> ips) {
    PortSpec spec{.ips = {"10.96.0.1", "fd00::1"}, .port = 53, .protocol = IPPROTO_UDP};
    for (auto& ip : ips) spec.endpoints.emplace_back(ip, 1053);
    return Make("ns/dns", {spec});
  };
  ApplyAll({with({})});
  if (data_path_->stale_udp_pin().empty()) GTEST_SKIP() << "the kernel has no iterator over socket storage";
  struct Case {
    const char* ip;
    bool as_v6;
    std::string peer, a, b;
    size_t family;
  };
  for (const Case& c : std::vector<Case>{{"10.96.0.1", false, "10.96.0.1:53", "a", "b", 0},
                                         {"10.96.0.1", true, "[::ffff:10.96.0.1]:53", "a", "b", 0},
                                         {"fd00::1", false, "[fd00::1]:53", "a6", "b6", 1}}) {
    Apply(with({"10.1.0.1", "fd01::1"}));
    Sockaddr to = Sockaddr::Of(c.ip, 53, c.as_v6), local, now, peer;
    Fd fd(socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(fd.get(), to.get(), to.size), 0) << strerror(errno);
    getsockname(fd.get(), local.get(), &local.size);
    auto ask = [&]() -> std::string {
      if (send(fd.get(), "x", 1, 0) != 1) return absl::StrCat("send: ", strerror(errno));
      return ReadName(fd.get());
    };
    EXPECT_EQ(ask(), c.a);
    getpeername(fd.get(), peer.get(), &peer.size);
    EXPECT_EQ(peer.Text(), c.peer);
    auto nothing = MoveStaleUdp(data_path_->stale_udp_pin());
    ASSERT_TRUE(nothing.ok()) << nothing.status();
    EXPECT_EQ(nothing->moved[c.family], 0);

    Apply(with({"10.1.0.2", "fd01::2"}));
    auto moved = MoveStaleUdp(data_path_->stale_udp_pin());
    ASSERT_TRUE(moved.ok()) << moved.status();
    EXPECT_EQ(moved->moved[c.family], 1);
    EXPECT_EQ(moved->failed, 0);
    EXPECT_EQ(ask(), c.b);
    getsockname(fd.get(), now.get(), &now.size);
    EXPECT_EQ(now.Text(), local.Text()) << "the port stays";
    getpeername(fd.get(), peer.get(), &peer.size);
    EXPECT_EQ(peer.Text(), c.peer);

    Apply(with({}));
    auto aborted = MoveStaleUdp(data_path_->stale_udp_pin());
    ASSERT_TRUE(aborted.ok()) << aborted.status();
    EXPECT_EQ(aborted->aborted[c.family], 1);
    EXPECT_EQ(aborted->failed, 0);
    // A reader is woken with the error; the socket is unconnected now, so a writer hears that.
    EXPECT_EQ(ReadName(fd.get()), "recv: Software caused connection abort");
    EXPECT_EQ(ask(), "send: Destination address required");
    // What the process does with its socket from now on is its own business.
    Apply(with({"10.1.0.1", "fd01::1"}));
    auto again = MoveStaleUdp(data_path_->stale_udp_pin());
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->moved[c.family] + again->aborted[c.family] + again->failed, 0);
  }
}

TEST_F(DataPathTest, ROOT_AgentKill_DataPathSurvivesAndIsReplacedAtomically) {
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM);
  auto service = Make("ns/s", {{.ips = {"10.96.0.1"}, .port = 80, .endpoints = {{"10.1.0.1", 8080}}}});
  ApplyAll({service});
  Fd kept;
  ASSERT_EQ(TcpOnce("10.96.0.1", 80, false, &kept), "a 10.96.0.1:80");
  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::string bad;
  std::thread client([&] {
    while (!stop) {
      if (std::string s = TcpOnce("10.96.0.1", 80); s == "a 10.96.0.1:80")
        good++;
      else
        bad = s;
    }
  });
  for (int i = 0; i < 5; i++) {
    reconciler_.reset();
    data_path_.reset();  // the agent is gone
    int before = good;
    while (good < before + 20 && bad.empty()) std::this_thread::yield();
    Start();
    ApplyAll({service});
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  ASSERT_EQ(send(kept.get(), "hi", 2, 0), 2);
  EXPECT_EQ(ReadName(kept.get()), "hi");
  Sockaddr peer;
  getpeername(kept.get(), peer.get(), &peer.size);
  EXPECT_EQ(peer.Text(), "10.96.0.1:80");
}

TEST_F(DataPathTest, ROOT_MapsOfAnotherVersionGoOnceOursAreInUse) {
  std::string old = dir_ + "/maps-v0";
  ASSERT_EQ(mkdir(old.c_str(), 0700), 0);
  auto map = bpf::OpenPinned(MapsDirOf(dir_) + "/settings");
  ASSERT_TRUE(map.ok());
  ASSERT_EQ(bpf_obj_pin(map->get(), (old + "/settings").c_str()), 0);
  ASSERT_TRUE(reconciler_->ApplyAll({}).ok());
  EXPECT_TRUE(Exists(old));
  ASSERT_TRUE(data_path_->Attach().ok());
  EXPECT_FALSE(Exists(old));
}

TEST_F(DataPathTest, ROOT_AnUpgradeToANewLayoutKeepsConnections) {
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM), b("b", "10.1.0.2", 8080, SOCK_STREAM);
  Backend ua("a", "10.1.0.1", 1053, SOCK_DGRAM), ub("b", "10.1.0.2", 1053, SOCK_DGRAM);
  auto service =
      Make("ns/s", {{.ips = {"10.96.0.1"}, .port = 80, .endpoints = {{"10.1.0.1", 8080}, {"10.1.0.2", 8080}}},
                    {.ips = {"10.96.0.1"},
                     .port = 53,
                     .protocol = IPPROTO_UDP,
                     .endpoints = {{"10.1.0.1", 1053}, {"10.1.0.2", 1053}}}});
  ApplyAll({service});
  Fd tcp, udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  TcpOnce("10.96.0.1", 80, false, &tcp);
  std::string answer = UdpOnce(udp.get(), "10.96.0.1", 53);
  // As if this had been the version before.
  reconciler_.reset();
  data_path_.reset();
  std::string now = MapsDirOf(dir_), before = absl::StrCat(dir_, "/maps-v", SKIFF_LAYOUT_VERSION - 1);
  ASSERT_EQ(mkdir(before.c_str(), 0700), 0);
  std::vector<std::string> names = *ListDir(now);
  for (const std::string& name : names) {
    auto map = bpf::OpenPinned(now + "/" + name);
    ASSERT_TRUE(map.ok());
    ASSERT_EQ(bpf_obj_pin(map->get(), (before + "/" + name).c_str()), 0);
    ASSERT_EQ(unlink((now + "/" + name).c_str()), 0);
  }
  ASSERT_EQ(rmdir(now.c_str()), 0);
  Start();
  auto result = reconciler_->ApplyAll({service});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->frontends_written + result->backends_written + result->slots_written, 0u);
  ASSERT_TRUE(data_path_->Attach().ok());
  EXPECT_FALSE(Exists(before));
  for (int i = 0; i < 5; i++) EXPECT_EQ(UdpOnce(udp.get(), "10.96.0.1", 53), answer) << "its endpoint stays";
  ASSERT_EQ(send(tcp.get(), "hi", 2, 0), 2);
  EXPECT_EQ(ReadName(tcp.get()), "hi");
  Sockaddr peer;
  getpeername(tcp.get(), peer.get(), &peer.size);
  EXPECT_EQ(peer.Text(), "10.96.0.1:80");
}

TEST_F(DataPathTest, ROOT_NodePorts) {
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM);
  reconciler_->SetNodeAddresses({{A("10.250.0.1"), false}, {A("127.0.0.1"), true}});
  ApplyAll({Make("ns/s", {{.ips = {"10.96.0.1"}, .port = 80, .node_port = 30080, .endpoints = {{"10.1.0.1", 8080}}},
                          {.ips = {"10.96.0.1"}, .port = 81, .node_port = 30081}})});
  EXPECT_EQ(TcpOnce("10.250.0.1", 30080), "a 10.250.0.1:30080");
  EXPECT_EQ(TcpOnce("127.0.0.1", 30080), "a 127.0.0.1:30080");
  EXPECT_EQ(TcpOnce("127.0.0.1", 30080, true), "a [::ffff:127.0.0.1]:30080");
  EXPECT_EQ(TcpOnce("10.250.0.1", 30081), "connect: Connection refused");
  EXPECT_EQ(TcpOnce("10.1.0.2", 30080), "connect: Connection refused") << "no node address";
  Backend own("own", "10.250.0.1", 9090, SOCK_STREAM);
  EXPECT_EQ(TcpOnce("10.250.0.1", 9090), "own 10.250.0.1:9090") << "other ports of the node are its own";
  // A pod's loopback is not the node's.
  std::string in_pod;
  std::thread([&] {
    unshare(CLONE_NEWNET);
    auto netlink = Netlink::Open();
    if (netlink.ok()) (void)(*netlink)->SetUp(1, true);
    in_pod = TcpOnce("127.0.0.1", 30080);
    EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_NO_ENDPOINT], 1u);
  }).join();
  EXPECT_EQ(in_pod, "connect: Connection refused");
}

TEST_F(DataPathTest, ROOT_ClientAffinity) {
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM), b("b", "10.1.0.2", 8080, SOCK_STREAM);
  PortSpec spec{
      .ips = {"10.96.0.1"}, .port = 80, .endpoints = {{"10.1.0.1", 8080}, {"10.1.0.2", 8080}}, .affinity = 100};
  ApplyAll({Make("ns/s", {spec})});
  std::string first = TcpOnce("10.96.0.1", 80);
  for (int i = 0; i < 30; i++) EXPECT_EQ(TcpOnce("10.96.0.1", 80), first);
  spec.endpoints.erase(spec.endpoints.begin() + (first.starts_with("a") ? 0 : 1));
  Apply(Make("ns/s", {spec}));
  EXPECT_NE(TcpOnce("10.96.0.1", 80), first) << "its endpoint is gone";
}

TEST_F(DataPathTest, ROOT_TerminatingEndpoints_NoConnectionIsLostWhileTheSetChanges) {
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM), b("b", "10.1.0.2", 8080, SOCK_STREAM);
  auto with = [](std::vector<std::pair<std::string, uint8_t>> ends) {
    auto change = Make("ns/s", {{.ips = {"10.96.0.1"}, .port = 80}});
    for (auto& [ip, state] : ends) change.model->ports[0].endpoints.push_back({A(ip), 8080, state});
    return change;
  };
  constexpr uint8_t kReady = SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING, kDraining = SKIFF_BACKEND_SERVING;
  ApplyAll({with({{"10.1.0.1", kReady}})});
  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::string bad;
  std::thread client([&] {
    while (!stop) {
      if (std::string s = TcpOnce("10.96.0.1", 80); s.ends_with(" 10.96.0.1:80"))
        good++;
      else
        bad = s;
    }
  });
  while (good < 3000 && bad.empty()) {
    Apply(with({{"10.1.0.1", kReady}, {"10.1.0.2", kReady}}));
    Apply(with({{"10.1.0.1", kDraining}, {"10.1.0.2", kReady}}));
    Apply(with({{"10.1.0.2", kReady}}));
    Apply(with({{"10.1.0.1", kReady}}));
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_GAVE_UP], 0u);
}

TEST_F(DataPathTest, ROOT_Soak_MemoryAndFilesStayFlatOver100000EndpointChanges) {
  auto change = [](int i) {
    PortSpec spec{.ips = {absl::StrCat("10.96.1.", i % 50)}, .port = 80};
    for (int e = 0; e < 1 + i % 7; e++)
      spec.endpoints.emplace_back(absl::StrCat("10.2.", i / 50 % 200, ".", e), uint16_t{80});
    return Make(absl::StrCat("ns/s", i % 50), {spec});
  };
  ApplyAll({});
  auto resident = [] {
    auto text = ReadFile("/proc/self/statm");
    std::vector<std::string> words = absl::StrSplit(*text, ' ');
    return atol(words[1].c_str()) * 4;
  };
  auto files = [] { return ListDir("/proc/self/fd")->size(); };
  long before_kib = 0;
  size_t before_files = 0;
  for (int i = 0; i < 100000; i++) {
    if (i == 20000) {
      before_kib = resident();
      before_files = files();
    }
    auto result = reconciler_->Apply({change(i)});
    ASSERT_TRUE(result.ok()) << result.status();
  }
  if (!kForeignHeap) EXPECT_LE(resident() - before_kib, 512);
  EXPECT_EQ(files(), before_files);
  EXPECT_LE(data_path_->maps().chunks(), 2u) << "numbers and slots are used again";
}

TEST_F(DataPathTest, ROOT_LoadErrorsSayWhy) {
  reconciler_.reset();
  data_path_.reset();
  ASSERT_TRUE(RemoveDataPath(Options()).ok());
  ASSERT_TRUE(bpf::EnsureBpffs(dir_).ok());
  auto missing = DataPath::Load({.dir = dir_, .cgroup = "/nonexistent"});
  EXPECT_EQ(missing.status().message(), "open cgroup /nonexistent: No such file or directory");
}

TEST_F(DataPathTest, ROOT_TenThousandServices) {
  std::vector<ServiceChange> all;
  for (int i = 0; i < 10000; i++) {
    PortSpec spec{.ips = {absl::StrCat("10.97.", i / 250, ".", i % 250)}, .port = 80};
    for (int e = 0; e < 10; e++) {
      int n = i * 10 + e;
      spec.endpoints.emplace_back(absl::StrCat("10.", 128 + n / 62500, ".", n / 250 % 250, ".", n % 250),
                                  uint16_t{8080});
    }
    all.push_back(Make(absl::StrCat("ns/s", i), {spec}));
  }
  auto ms = [](Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
  auto begin = Clock::now();
  ApplyAll(all);
  auto full = Clock::now() - begin;

  reconciler_ = std::make_unique<Reconciler>(data_path_->maps());
  begin = Clock::now();
  auto result = reconciler_->ApplyAll(all);
  auto again = Clock::now() - begin;
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->frontends_written + result->backends_written + result->slots_written, 0u);

  auto change = all[5000];
  change.model->ports[0].endpoints.pop_back();
  begin = Clock::now();
  auto changed = reconciler_->Apply({change});
  auto one = Clock::now() - begin;
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_LE(changed->frontends_written + changed->backends_written + changed->slots_written, 20u) << "of one service";
  printf("10,000 services x 10: first fill %.1f ms, start on filled maps %.1f ms, one endpoint %.3f ms\n", ms(full),
         ms(again), ms(one));
  RecordProperty("fill_ms", static_cast<int>(ms(full)));

  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM);
  change.model->ports[0].endpoints = {{A("10.1.0.1"), 8080, SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING}};
  Apply(change);
  EXPECT_EQ(TcpOnce("10.97.20.0", 80), "a 10.97.20.0:80");
}

}  // namespace
}  // namespace skiff::proxy
