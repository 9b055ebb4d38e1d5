// What the packet programs drop and refuse.
#include "proxy/packet_table_testing.h"

namespace skiff::proxy {
namespace {

TEST_F(PacketTableTest, ROOT_PolicyLocalDropsWhereItsEndpointsAreElsewhere) {
  constexpr uint8_t kSyn = 2;
  auto service = NodePort(30080, IPPROTO_TCP, {{"10.244.1.2", 8080, kThere}},
                          SKIFF_FRONTEND_OUTSIDE_LOCAL | SKIFF_FRONTEND_OUTSIDE_DROP);
  service.model->ports[0].frontends.push_back(
      {MakeKey(A("10.96.0.1"), 80, IPPROTO_TCP), SKIFF_FRONTEND_INSIDE_LOCAL | SKIFF_FRONTEND_OUTSIDE_LOCAL |
                                                     SKIFF_FRONTEND_INSIDE_DROP | SKIFF_FRONTEND_OUTSIDE_DROP});
  ApplyAll({service});
  auto tcp = [&](const Fd& p, const char* s, const char* d, int dp) {
    return Through(p, Wire::Make(s, 1000, d, static_cast<uint16_t>(dp), IPPROTO_TCP, kSyn));
  };
  EXPECT_EQ(tcp(in_, "192.0.2.2", "192.0.2.1", 30080), "dropped");
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", "192.0.2.1", 30080), "10.244.0.3:1000 > 10.244.1.2:8080")
      << "pods reach every endpoint";
  EXPECT_EQ(tcp(in_, "192.0.2.2", "10.96.0.1", 80), "dropped");
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", "10.96.0.1", 80), "dropped");
  auto counters = *data_path_->maps().ReadCounters();
  EXPECT_EQ(counters[SKIFF_COUNT_PACKET_POLICY], 3u);
  auto counts = *data_path_->maps().ReadCounts();
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts[0].second.connections, 1u);
  EXPECT_EQ(counts[0].second.refused, 3u);
  // The node's own, which no program at its socket took.
  SetServiceCidrs({"10.96.0.0/16"});
  EXPECT_EQ(tcp(guard_, "192.0.2.1", "10.96.0.1", 80), "dropped");
  EXPECT_EQ(tcp(out_, "192.0.2.1", "10.96.0.1", 80), "dropped");
}

TEST_F(PacketTableTest, ROOT_ClusterIpsThatNoServiceHasAreDropped) {
  constexpr uint8_t kSyn = 2, kAck = 16;
  auto service = NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}, {"fd44::2", 8080, kHere}});
  for (auto& port : service.model->ports) {
    const char* ip = port.family == Family::kIPv6 ? "fd96::1" : "10.96.0.1";
    port.frontends.push_back({MakeKey(A(ip), 80, IPPROTO_TCP), 0});
    service.model->addresses.push_back(AddressKey(A(ip)));
  }
  ApplyAll({service});
  auto send = [&](const Fd& p, const char* s, const char* d, uint8_t protocol, uint8_t flags = kSyn) {
    return Through(p, Wire::Make(s, 1000, d, 80, protocol, flags));
  };
  EXPECT_EQ(send(pod_in_, "10.244.0.3", "10.96.9.9", IPPROTO_TCP), "10.244.0.3:1000 > 10.96.9.9:80")
      << "without ServiceCIDR objects nobody knows";
  SetServiceCidrs({"10.96.0.0/16", "fd96::/112"});
  for (const Fd* program : {&in_, &pod_in_, &out_, &guard_}) {
    for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
      EXPECT_EQ(send(*program, "10.244.0.3", "10.96.9.9", protocol), "dropped");
      EXPECT_EQ(send(*program, "fd44::3", "fd96::9", protocol), "dropped");
      EXPECT_EQ(send(*program, "10.244.0.3", "10.97.0.1", protocol), "10.244.0.3:1000 > 10.97.0.1:80");
      EXPECT_EQ(send(*program, "fd44::3", "fd97::1", protocol), "fd44::3:1000 > fd97::1:80");
    }
  }
  EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_PACKET_UNKNOWN], 16u);
  EXPECT_EQ(send(pod_in_, "10.244.0.3", "10.96.0.1", IPPROTO_TCP), "10.244.0.3:1000 > 10.244.0.2:8080");
  EXPECT_EQ(send(pod_in_, "10.244.0.3", "10.96.9.9", IPPROTO_TCP, kAck), "10.244.0.3:1000 > 10.96.9.9:80")
      << "what opens no connection is nobody's business";
}

TEST_F(PacketTableTest, ROOT_EchoToAClusterIpIsRefused) {
  auto service = NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}, {"fd44::2", 8080, kHere}});
  service.model->addresses = {AddressKey(A("10.96.0.1")), AddressKey(A("fd96::1"))};
  ApplyAll({service});
  SetServiceCidrs({"10.96.0.0/16", "fd96::/112"});
  const std::string macs = "\1\1\1\1\1\1\2\2\2\2\2\2";
  for (bool v6 : {false, true}) {
    const char *pod = v6 ? "fd44::3" : "10.244.0.3", *own = v6 ? "fd0a::1" : "10.0.0.1";
    const char *ip = v6 ? "fd96::1" : "10.96.0.1", *unknown = v6 ? "fd96::9" : "10.96.9.9";
    const char* elsewhere = v6 ? "fd99::9" : "198.51.100.9";
    for (size_t size : {8u, 64u, 1400u}) {
      auto ping = [&](const Fd& p, const char* to) {
        std::string packet = Wire::Echo(pod, to, size);
        packet.replace(0, 12, macs);
        return Raw(p, packet);
      };
      for (const Fd* program : {&in_, &pod_in_, &out_, &guard_}) {
        bool out = program == &out_ || program == &guard_;
        std::string answer = ping(*program, ip);
        ASSERT_NE(answer, "dropped");
        EXPECT_EQ(verdict_, uint32_t{kRedirect});
        EXPECT_EQ(answer.substr(0, 12), macs.substr(6, 6) + macs.substr(0, 6)) << "back to whom it came from";
        // What a quoted echo has in the place of ports is its type and code, and its checksum.
        EXPECT_TRUE(Wire::ReadError(answer).starts_with(absl::StrCat(out ? ip : own, " > ", pod, " about ", pod, ":")))
            << Wire::ReadError(answer);
        EXPECT_EQ(Wire::ReadError(answer).find('!'), std::string::npos) << Wire::ReadError(answer);
        EXPECT_EQ(answer.substr(v6 ? 54 : 34, 2), v6 ? std::string("\1\4") : std::string("\3\3")) << "port unreachable";
        EXPECT_EQ(ping(*program, unknown), "dropped");
        std::string passed = ping(*program, elsewhere);
        EXPECT_EQ(verdict_, uint32_t{kNext});
        EXPECT_EQ(passed.substr(12), Wire::Echo(pod, elsewhere, size).substr(12));
      }
      EXPECT_EQ(ping(pod_out_, ip).substr(12), Wire::Echo(pod, ip, size).substr(12)) << "never seen there";
    }
  }
}

}  // namespace
}  // namespace skiff::proxy
