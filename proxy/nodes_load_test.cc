// Endpoints that go and come and an agent that dies, under load.
#include "proxy/load_testing.h"
#include "proxy/nodes_testing.h"

namespace skiff::proxy {
namespace {

TEST_F(NodesTest, ROOT_TerminatingEndpoints_AgentKill_PacketsLoseNothing) {
  std::vector<std::unique_ptr<Echo>> echoes;
  for (const char* pod : {"p", "s"}) {
    for (Family family : {Family::kIPv4, Family::kIPv6}) {
      echoes.push_back(InThread(pod, [&] { return std::make_unique<Echo>(FormatAddress(PodAddress(pod, family))); }));
    }
  }
  auto services = [](const std::vector<std::string>& pods, uint8_t p_flags = kReady | kServing) {
    std::vector<TestService> out;
    for (uint8_t protocol : {kTcp, kUdp}) {
      out.push_back({.name = absl::StrCat("ns/", ProtocolName(protocol)),
                     .endpoints = pods,
                     .port = 80,
                     .node_port = 30080,
                     .protocol = protocol,
                     .number = protocol == kTcp ? 1 : 2,
                     .p_flags = p_flags});
    }
    return out;
  };
  auto change = [&](const std::vector<TestService>& to) {
    std::vector<ServiceChange> changes;
    for (const TestService& s : to) changes.push_back(Make(s));
    auto result = reconciler_->Apply(changes);
    ASSERT_TRUE(result.ok()) << result.status();
  };
  const std::vector<std::string> both = {"p", "s"};
  ApplyAll(services(both));
  {
    // From outside by NodePort, in both families, and a pod's packets to the cluster IP.
    std::vector<std::unique_ptr<LoadClient>> clients;
    for (int kind = 0; kind < 4; kind++) {
      auto k = static_cast<LoadClient::Kind>(kind);
      bool tcp = k == LoadClient::kNewConnections || k == LoadClient::kOneConnection;
      for (const char* ip : {"192.0.2.1", "fd02::1"})
        clients.push_back(InThread("c", [&] { return std::make_unique<LoadClient>(k, ip, 30080); }));
      clients.push_back(
          InThread("q", [&] { return std::make_unique<LoadClient>(k, tcp ? "10.96.0.1" : "10.96.0.2", 80); }));
    }
    auto all_move_on = [&] {
      std::vector<int> before;
      for (auto& client : clients) before.push_back(client->done());
      for (size_t i = 0; i < clients.size(); i++) {
        while (clients[i]->done() < before[i] + 3 && !clients[i]->failed()) std::this_thread::yield();
      }
    };
    for (int round = 0; round < 8; round++) {
      change(services(both, kServing | kTerminating));
      all_move_on();
      change(services({"s"}));
      all_move_on();
      change(services(both));
      change(services({"p"}));
      all_move_on();
      change(services(both));
      all_move_on();
      if (round % 3 == 2) {
        // Killed: nothing is cleaned up; then the next version, whose programs take over.
        reconciler_.reset();
        packets_.reset();
        data_path_.reset();
        all_move_on();
        Load();
        ApplyAll(services(both));
        all_move_on();
      }
    }
    for (auto& client : clients) {
      client->Stop();
      EXPECT_EQ(client->failure, "");
      EXPECT_GT(client->done(), 50);
    }
  }
  for (auto& echo : echoes) EXPECT_GT(echo->served(), 0);
}

// (Sockets: DataPathTest.)
class UpgradeTest : public NodesTest, public testing::WithParamInterface<bool> {};

// Also from a version that did not note which pods have connections by packets.
INSTANTIATE_TEST_SUITE_P(WithoutPodAddresses, UpgradeTest, testing::Bool());

TEST_P(UpgradeTest, ROOT_KeepsPacketConnections) {
  const bool without_addresses = GetParam();
  Serve({"p"}, SOCK_STREAM);
  const std::vector<TestService> services = {{.name = "ns/s", .endpoints = {"p"}, .node_port = 30080, .number = 1}};
  ApplyAll(services);
  std::vector<Fd> connections;
  for (auto [ns, ip, port] : {std::tuple{"q", "10.96.0.1", uint16_t{80}}, {"c", "192.0.2.1", uint16_t{30080}}}) {
    connections.push_back(InThread(ns, [&] {
      Fd out;
      TcpOnce(ip, port, false, &out);
      return out;
    }));
  }
  // As if this had been the version before.
  reconciler_.reset();
  packets_.reset();
  data_path_.reset();
  std::string now = MapsDirOf(dir_), before = absl::StrCat(dir_, "/maps-v", SKIFF_LAYOUT_VERSION - 1);
  ASSERT_EQ(rename(now.c_str(), before.c_str()), 0) << strerror(errno);
  if (without_addresses) ASSERT_EQ(unlink((before + "/pod_addresses").c_str()), 0);
  Load();
  ApplyAll(services);
  EXPECT_FALSE(Exists(before));
  for (Fd& fd : connections) {
    timeval timeout = {5, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    ASSERT_EQ(send(fd.get(), "hi", 2, 0), 2);
    EXPECT_EQ(ReadName(fd.get()), "hi");
  }
}

}  // namespace
}  // namespace skiff::proxy
