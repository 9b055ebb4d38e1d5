// The packet programs as tables: packets in and out by BPF_PROG_TEST_RUN.
#include "proxy/packet_table_testing.h"

#include <bpf/bpf.h>

namespace skiff::proxy {
namespace {

TEST_F(PacketTableTest, ROOT_PacketTable) {
  const Fd &in = in_, &out = out_;
  auto run = [&](const Fd& program, const std::string& packet) { return Through(program, packet); };
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.1.2", 8080, kThere}, {"fd45::2", 8080, kThere}}),
            NodePort(30081, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}}), NodePort(30082, IPPROTO_TCP, {}),
            NodePort(30053, IPPROTO_UDP, {{"10.244.1.2", 1053, kThere}, {"fd45::2", 1053, kThere}})});
  // A load balancer's address that only some may use.
  auto balanced = NodePort(30090, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}, {"fd44::2", 8080, kHere}});
  for (auto& port : balanced.model->ports) {
    bool v6 = port.family == Family::kIPv6;
    port.frontends.push_back(
        {MakeKey(A(v6 ? "fd0b::9" : "203.0.113.9"), 80, IPPROTO_TCP), SKIFF_FRONTEND_PASS | SKIFF_FRONTEND_RANGES});
    port.source_ranges = {*ParsePrefix(v6 ? "fd02::/64" : "192.0.2.0/25")};
  }
  ASSERT_TRUE(reconciler_->Apply({balanced}).ok());
  constexpr uint8_t kSyn = 2, kAck = 16, kTcp = IPPROTO_TCP, kUdp = IPPROTO_UDP;
  auto tcp = [&](const Fd& p, const char* s, int sp, const char* d, int dp, uint8_t flags) {
    return run(p, Wire::Make(s, static_cast<uint16_t>(sp), d, static_cast<uint16_t>(dp), kTcp, flags));
  };
  // Not ours: untouched.
  EXPECT_EQ(tcp(in, "192.0.2.2", 999, "192.0.2.9", 30080, kSyn), "192.0.2.2:999 > 192.0.2.9:30080");
  EXPECT_EQ(tcp(in, "192.0.2.2", 999, "192.0.2.1", 22, kSyn), "192.0.2.2:999 > 192.0.2.1:22");
  EXPECT_EQ(tcp(in, "192.0.2.2", 999, "192.0.2.1", 30080, kAck), "192.0.2.2:999 > 192.0.2.1:30080") << "no connection";
  EXPECT_EQ(tcp(in, "192.0.2.2", 999, "192.0.2.1", 30082, kSyn), "192.0.2.2:999 > 192.0.2.1:30082") << "no endpoint";
  EXPECT_EQ(tcp(out, "10.244.1.2", 8080, "192.0.2.2", 1000, kAck), "10.244.1.2:8080 > 192.0.2.2:1000");
  // An endpoint here: there and back.
  EXPECT_EQ(tcp(in, "192.0.2.2", 1000, "192.0.2.1", 30081, kSyn), "192.0.2.2:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(out, "192.0.2.2", 1000, "10.244.0.2", 8080, kSyn), "192.0.2.2:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(out, "10.244.0.2", 8080, "192.0.2.2", 1000, kSyn | kAck), "192.0.2.1:30081 > 192.0.2.2:1000");
  EXPECT_EQ(tcp(in, "192.0.2.2", 1000, "192.0.2.1", 30081, kAck), "192.0.2.2:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(in, "192.0.2.2", 1000, "203.0.113.9", 80, kSyn), "192.0.2.2:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(in, "192.0.2.200", 1000, "203.0.113.9", 80, kSyn), "dropped");
  EXPECT_EQ(tcp(in, "192.0.2.200", 1000, "192.0.2.1", 30090, kSyn), "192.0.2.200:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(in, "fd02::2", 1000, "fd0b::9", 80, kSyn), "fd02::2:1000 > fd44::2:8080");
  EXPECT_EQ(tcp(in, "fd03::2", 1000, "fd0b::9", 80, kSyn), "dropped");
  // One elsewhere, in both families and protocols: masqueraded, and both translations undone on the way back.
  for (bool v6 : {false, true}) {
    for (uint8_t protocol : {kTcp, kUdp}) {
      for (bool sum : {true, false}) {
        if (!sum && (v6 || protocol == kTcp)) continue;
        const char *client = v6 ? "fd02::2" : "192.0.2.2", *node = v6 ? "fd02::1" : "192.0.2.1";
        const char *far = v6 ? "fd45::2" : "10.244.1.2", *own = v6 ? "fd0a::1" : "10.0.0.1";
        uint16_t service = protocol == kTcp ? 30080 : 30053, port = protocol == kTcp ? 8080 : 1053;
        std::string no = sum ? "" : " nosum";
        auto step = [&](const Fd& p, const char* s, uint16_t sp, const char* d, uint16_t dp, uint8_t flags) {
          return run(p, Wire::Make(s, sp, d, dp, protocol, flags, sum));
        };
        EXPECT_EQ(step(in, client, 2000, node, service, kSyn), absl::StrCat(client, ":2000 > ", far, ":", port, no));
        std::string there = step(out, client, 2000, far, port, kSyn);
        ASSERT_TRUE(there.starts_with(absl::StrCat(own, ":"))) << there;
        int masquerade = 0;
        ASSERT_TRUE(absl::SimpleAtoi(there.substr(strlen(own) + 1, there.find(' ') - strlen(own) - 1), &masquerade));
        EXPECT_EQ(there, absl::StrCat(own, ":", masquerade, " > ", far, ":", port, no));
        EXPECT_EQ(step(out, client, 2000, far, port, kAck), there) << "the port stays";
        auto m = static_cast<uint16_t>(masquerade);
        EXPECT_EQ(step(in, far, port, own, m, kAck), absl::StrCat(far, ":", port, " > ", client, ":2000", no));
        EXPECT_EQ(step(out, far, port, client, 2000, kAck),
                  absl::StrCat(node, ":", service, " > ", client, ":2000", no));
      }
    }
  }
  // No endpoint at an address that is not the node's: this device's port 0 refuses for it.
  auto empty = NodePort(30091, IPPROTO_TCP, {});
  empty.model->ports[0].frontends.push_back({MakeKey(A("203.0.113.8"), 80, IPPROTO_TCP), 0});
  ASSERT_TRUE(reconciler_->Apply({empty}).ok());
  EXPECT_EQ(tcp(in, "192.0.2.2", 4000, "203.0.113.8", 80, kSyn), "192.0.2.2:4000 > 10.0.0.1:0");
  EXPECT_EQ(tcp(out, "10.0.0.1", 0, "192.0.2.2", 4000, kAck), "203.0.113.8:80 > 192.0.2.2:4000");
  // Cut short or strange: left alone.
  std::string syn = Wire::Make("192.0.2.2", 3000, "192.0.2.1", 30080, kTcp);
  for (size_t size = 14; size < syn.size(); size++) {
    std::string result(512, '\0');
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = syn.data(), .data_out = result.data(),
                .data_size_in = static_cast<uint32_t>(size), .data_size_out = 512);
    if (bpf_prog_test_run_opts(in.get(), &opts) != 0) continue;  // the kernel refuses frames of nothing
    if (size < 14 + 20 + 14) EXPECT_EQ(result.substr(0, size), syn.substr(0, size)) << size;
  }
}

TEST_F(PacketTableTest, ROOT_PodsPackets) {
  constexpr uint8_t kSyn = 2, kAck = 16;
  ServiceChange service = NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}}, SKIFF_FRONTEND_OUTSIDE_LOCAL);
  service.model->ports[0].frontends.push_back({MakeKey(A("10.96.0.1"), 80, IPPROTO_TCP), 0});
  service.model->addresses.push_back(AddressKey(A("10.96.0.1")));
  ApplyAll({service});
  auto tcp = [&](const Fd& p, const char* s, int sp, const char* d, int dp, uint8_t flags) {
    return Through(p, Wire::Make(s, static_cast<uint16_t>(sp), d, static_cast<uint16_t>(dp), IPPROTO_TCP, flags));
  };
  auto flows = [&] { return *CountEntries(data_path_->maps_dir(), "flows"); };
  // Of whom packets are looked up in the connection table.
  auto looked_up = [&] {
    std::vector<uint32_t> slots;
    Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/pod_addresses");
    for (uint32_t slot = 0; slot < SKIFF_POD_SLOTS; slot++) {
      uint64_t used = 0;
      if (bpf_map_lookup_elem(map.get(), &slot, &used) == 0 && used != 0) slots.push_back(slot);
    }
    return slots;
  };
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1000, "10.244.0.9", 8080, kSyn), "10.244.0.3:1000 > 10.244.0.9:8080");
  EXPECT_EQ(flows(), 0u);
  // No connection of a pod's has been placed: whatever goes on is not ours.
  for (uint8_t part : {kAck, uint8_t{kSyn | kAck}, uint8_t{0x11}, uint8_t{0x04}}) {
    EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1000, "10.96.0.1", 80, part), "10.244.0.3:1000 > 10.96.0.1:80");
    EXPECT_EQ(tcp(pod_in_, "fd44::3", 1000, "fd96::1", 80, part), "fd44::3:1000 > fd96::1:80");
    EXPECT_EQ(tcp(pod_out_, "10.244.0.2", 8080, "10.244.0.3", 1000, part), "10.244.0.2:8080 > 10.244.0.3:1000");
  }
  EXPECT_EQ(flows(), 0u);
  EXPECT_EQ(looked_up(), std::vector<uint32_t>{});
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1000, "10.96.0.1", 80, kSyn), "10.244.0.3:1000 > 10.244.0.2:8080");
  EXPECT_EQ(flows(), 2u);
  EXPECT_EQ(looked_up(), std::vector<uint32_t>{3}) << "of the client, not of the endpoint";
  EXPECT_EQ(tcp(pod_out_, "10.244.0.3", 1000, "10.244.0.2", 8080, kSyn), "10.244.0.3:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(pod_in_, "10.244.0.2", 8080, "10.244.0.3", 1000, kAck), "10.244.0.2:8080 > 10.244.0.3:1000");
  EXPECT_EQ(tcp(pod_out_, "10.244.0.2", 8080, "10.244.0.3", 1000, kAck), "10.96.0.1:80 > 10.244.0.3:1000");
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1000, "10.96.0.1", 80, kAck), "10.244.0.3:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1000, "192.0.2.1", 30080, kSyn), "10.244.0.3:1000 > 10.244.0.2:8080");
  // A port of the address that the service has not: this device's port 0 refuses.
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1001, "10.96.0.1", 81, kSyn), "10.244.0.3:1001 > 10.0.0.1:0");
  EXPECT_EQ(tcp(pod_out_, "10.0.0.1", 0, "10.244.0.3", 1001, kAck), "10.96.0.1:81 > 10.244.0.3:1001");
  // A port that talks to the service, then straight to its endpoint, then to the service: UDP, whose sockets may.
  auto udp_service = NodePort(30053, IPPROTO_UDP, {{"10.244.0.2", 1053, kHere}});
  udp_service.model->ports[0].frontends.push_back({MakeKey(A("10.96.0.2"), 53, IPPROTO_UDP), 0});
  ASSERT_TRUE(reconciler_->Apply({udp_service}).ok());
  auto udp = [&](const Fd& p, const char* s, int sp, const char* d, int dp) {
    return Through(p, Wire::Make(s, static_cast<uint16_t>(sp), d, static_cast<uint16_t>(dp), IPPROTO_UDP));
  };
  for (int i = 0; i < 3; i++) {
    EXPECT_EQ(udp(pod_in_, "10.244.0.3", 900, "10.96.0.2", 53), "10.244.0.3:900 > 10.244.0.2:1053");
    EXPECT_EQ(udp(pod_out_, "10.244.0.2", 1053, "10.244.0.3", 900), "10.96.0.2:53 > 10.244.0.3:900");
    EXPECT_EQ(udp(pod_in_, "10.244.0.3", 900, "10.244.0.2", 1053), "10.244.0.3:900 > 10.244.0.2:1053");
    EXPECT_EQ(udp(pod_out_, "10.244.0.2", 1053, "10.244.0.3", 900), "10.244.0.2:1053 > 10.244.0.3:900");
  }
  // Hairpin: masqueraded.
  EXPECT_EQ(tcp(pod_in_, "10.244.0.2", 1000, "10.96.0.1", 80, kSyn), "10.244.0.2:1000 > 10.244.0.2:8080");
  std::string there = tcp(pod_out_, "10.244.0.2", 1000, "10.244.0.2", 8080, kSyn);
  EXPECT_TRUE(there.starts_with("10.0.0.1:") && there.ends_with(" > 10.244.0.2:8080")) << there;
  EXPECT_EQ(looked_up(), (std::vector<uint32_t>{2, 3}));
}

TEST_F(PacketTableTest, ROOT_MaglevKeepsFlowsWhereTheyAre) {
  std::vector<End> ends;
  for (int i = 1; i <= 10; i++) ends.push_back({absl::StrCat("10.244.0.", i), 8080, kHere});
  auto service = [](const std::vector<End>& e) {
    auto change = NodePort(30080, IPPROTO_TCP, e);
    for (auto& port : change.model->ports) port.balancing = Balancing::kMaglev;
    return change;
  };
  auto place = [&](int client) {
    std::string out = Through(in_, Wire::Make(absl::StrCat("198.18.", client / 250, ".", client % 250 + 1),
                                              static_cast<uint16_t>(2000 + client), "192.0.2.1", 30080, IPPROTO_TCP));
    return out.substr(out.find("> ") + 2);
  };
  auto clear = [&] {  // as another node would see the client, or this one after the entry was evicted
    Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/flows");
    skiff_flow_key key;
    while (bpf_map_get_next_key(map.get(), nullptr, &key) == 0) bpf_map_delete_elem(map.get(), &key);
  };
  constexpr int kClients = 1000;
  ApplyAll({service(ends)});
  std::vector<std::string> before(kClients);
  std::map<std::string, int> shares;
  for (int i = 0; i < kClients; i++) shares[before[static_cast<size_t>(i)] = place(i)]++;
  EXPECT_EQ(shares.size(), 10u);
  for (const auto& [ip, n] : shares) EXPECT_NEAR(n, kClients / 10, 45) << ip;
  clear();
  for (int i = 0; i < kClients; i++) ASSERT_EQ(place(i), before[static_cast<size_t>(i)]) << "without the entry too";
  clear();
  ends.erase(ends.begin() + 4);
  ASSERT_TRUE(reconciler_->Apply({service(ends)}).ok());
  int must = 0, moved = 0;
  for (int i = 0; i < kClients; i++) {
    std::string was = before[static_cast<size_t>(i)], now = place(i);
    if (was == "10.244.0.5:8080")
      must++;
    else
      moved += was != now;
  }
  printf("one of 10 endpoints goes: %d of %d flows were its own, %d others moved\n", must, kClients, moved);
  EXPECT_LT(moved, kClients / 10);
}

TEST_F(PacketTableTest, ROOT_ConnectionTableIsBoundedAndTheOldestGo) {
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}})});
  auto syn = [&](uint32_t i) {
    return Through(in_, Wire::Make(absl::StrCat("198.18.", i >> 8 & 255, ".", i & 255),
                                   static_cast<uint16_t>(1024 + (i >> 16)), "192.0.2.1", 30080, IPPROTO_TCP));
  };
  auto answer = [&](uint32_t i) {
    return Through(out_, Wire::Make("10.244.0.2", 8080, absl::StrCat("198.18.", i >> 8 & 255, ".", i & 255),
                                    static_cast<uint16_t>(1024 + (i >> 16)), IPPROTO_TCP, 16));
  };
  // Two entries a connection: twice as many connections as there is room for.
  for (uint32_t i = 0; i < SKIFF_MAX_FLOWS; i++) {
    std::string seen = syn(i);
    ASSERT_TRUE(seen.ends_with(" > 10.244.0.2:8080")) << i << " " << seen;
  }
  size_t fill = *CountEntries(data_path_->maps_dir(), "flows");
  EXPECT_LE(fill, size_t{SKIFF_MAX_FLOWS});
  EXPECT_GT(fill, size_t{SKIFF_MAX_FLOWS} * 8 / 10);
  int young = 0, old = 0;
  for (uint32_t i = 0; i < 1000; i++) {
    young += answer(SKIFF_MAX_FLOWS - 1 - i).starts_with("192.0.2.1:30080");
    old += answer(i).starts_with("192.0.2.1:30080");
  }
  EXPECT_GT(young, 950);
  EXPECT_EQ(old, 0);
}

TEST_F(PacketTableTest, ROOT_Sctp) {
  constexpr uint8_t kInit = 1, kData = 0;
  // The same port, another port, and a far endpoint, where the source port changes too.
  ApplyAll({NodePort(30001, IPPROTO_SCTP, {{"10.244.0.2", 30001, kHere}, {"fd44::2", 30001, kHere}}),
            NodePort(30002, IPPROTO_SCTP, {{"10.244.0.2", 3868, kHere}, {"fd44::2", 3868, kHere}}),
            NodePort(30003, IPPROTO_SCTP, {{"10.244.1.2", 3868, kThere}, {"fd45::2", 3868, kThere}}),
            NodePort(30004, IPPROTO_TCP, {{"10.244.0.2", 3868, kHere}, {"fd44::2", 3868, kHere}})});
  for (bool v6 : {false, true}) {
    const char *client = v6 ? "fd02::2" : "192.0.2.2", *node = v6 ? "fd02::1" : "192.0.2.1";
    const char *near = v6 ? "fd44::2" : "10.244.0.2", *far = v6 ? "fd45::2" : "10.244.1.2";
    const char* own = v6 ? "fd0a::1" : "10.0.0.1";
    for (size_t size : {0u, 1u, 3u, 100u, 1337u}) {
      auto sctp = [&](const Fd& p, const char* s, int sp, const char* d, int dp, uint8_t chunk) {
        return Through(p, Wire::Sctp(s, static_cast<uint16_t>(sp), d, static_cast<uint16_t>(dp), chunk, size));
      };
      int port = 2000 + static_cast<int>(size);
      EXPECT_EQ(sctp(in_, client, port, node, 30001, kData), absl::StrCat(client, ":", port, " > ", node, ":30001"))
          << "no association";
      for (uint8_t chunk : {kInit, kData}) {
        EXPECT_EQ(sctp(in_, client, port, node, 30001, chunk), absl::StrCat(client, ":", port, " > ", near, ":30001"));
        EXPECT_EQ(sctp(in_, client, port, node, 30002, chunk), absl::StrCat(client, ":", port, " > ", near, ":3868"));
        EXPECT_EQ(sctp(out_, near, 3868, client, port, chunk), absl::StrCat(node, ":30002 > ", client, ":", port));
        EXPECT_EQ(sctp(in_, client, port, node, 30003, chunk), absl::StrCat(client, ":", port, " > ", far, ":3868"));
        std::string there = sctp(out_, client, port, far, 3868, chunk);
        ASSERT_TRUE(there.starts_with(absl::StrCat(own, ":"))) << there;
        int m = 0;
        ASSERT_TRUE(absl::SimpleAtoi(there.substr(strlen(own) + 1, there.find(' ') - strlen(own) - 1), &m));
        EXPECT_EQ(there, absl::StrCat(own, ":", m, " > ", far, ":3868")) << "with its checksum";
        EXPECT_EQ(sctp(in_, far, 3868, own, m, kData), absl::StrCat(far, ":3868 > ", client, ":", port));
      }
      EXPECT_EQ(sctp(in_, client, port, node, 30004, kInit), absl::StrCat(client, ":", port, " > ", node, ":30004"))
          << "TCP's port is not SCTP's";
    }
  }
}

}  // namespace
}  // namespace skiff::proxy
