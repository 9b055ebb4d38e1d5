// Ports that clients use again, and addresses of the node that change, as tables of packets.
#include <bpf/bpf.h>

#include "bpf/objects.h"
#include "proxy/packet_table_testing.h"

namespace skiff::proxy {
namespace {

constexpr uint8_t kSyn = 2, kAck = 16;

class PacketReuseTableTest : public PacketTableTest {
 protected:
  std::string Tcp(const Fd& program, const std::string& from, int from_port, const std::string& to, int to_port,
                  uint8_t flags) {
    return Through(program, Wire::Make(from, static_cast<uint16_t>(from_port), to, static_cast<uint16_t>(to_port),
                                       IPPROTO_TCP, flags));
  }
  static std::vector<skiff_flow_key> Keys(const Fd& map) {
    std::vector<skiff_flow_key> keys;
    skiff_flow_key key;
    for (const skiff_flow_key* last = nullptr; bpf_map_get_next_key(map.get(), last, &key) == 0; last = &keys.back()) {
      keys.push_back(key);
    }
    return keys;
  }
  // As if nothing had passed for so long.
  void Age(uint64_t seconds) {
    Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/flows");
    for (const skiff_flow_key& k : Keys(map)) {
      skiff_flow flow;
      ASSERT_EQ(bpf_map_lookup_elem(map.get(), &k, &flow), 0);
      flow.used -= seconds * 1000000000u;
      ASSERT_EQ(bpf_map_update_elem(map.get(), &k, &flow, BPF_EXIST), 0);
    }
  }
  void DeleteFlows(uint8_t kind) {
    Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/flows");
    for (const skiff_flow_key& k : Keys(map)) {
      if (k.kind == kind) bpf_map_delete_elem(map.get(), &k);
    }
  }
};

TEST_F(PacketReuseTableTest, ROOT_ASynAgainStaysAndALaterOneIsPlacedAnew) {
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}})});
  auto send = [&](uint8_t flags) { return Tcp(in_, "192.0.2.2", 1000, "192.0.2.1", 30080, flags); };
  EXPECT_EQ(send(kSyn), "192.0.2.2:1000 > 10.244.0.2:8080");
  // Another endpoint comes, so many times as likely that a new choice would be seen.
  std::vector<End> ends = {{"10.244.0.2", 8080, kHere}};
  for (int i = 0; i < 200; i++) ends.push_back({absl::StrCat("10.244.3.", i), 8080, kHere});
  ASSERT_TRUE(reconciler_->Apply({NodePort(30080, IPPROTO_TCP, ends)}).ok());
  EXPECT_EQ(send(kSyn), "192.0.2.2:1000 > 10.244.0.2:8080") << "a SYN that comes again";
  Age(8);
  EXPECT_EQ(send(kSyn), "192.0.2.2:1000 > 10.244.0.2:8080");
  Age(60);
  EXPECT_EQ(send(kAck), "192.0.2.2:1000 > 10.244.0.2:8080") << "a connection stays";
  Age(12);
  std::string placed = send(kSyn);
  EXPECT_NE(placed, "192.0.2.2:1000 > 10.244.0.2:8080") << "another connection from the same port";
  EXPECT_EQ(send(kAck), placed);
}

TEST_F(PacketReuseTableTest, ROOT_TerminatingEndpoints_NoNewConnectionFromAUsedPort) {
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}})});
  auto send = [&](uint8_t flags) { return Tcp(in_, "192.0.2.2", 1000, "192.0.2.1", 30080, flags); };
  EXPECT_EQ(send(kSyn), "192.0.2.2:1000 > 10.244.0.2:8080");
  ASSERT_TRUE(reconciler_
                  ->Apply({NodePort(
                      30080, IPPROTO_TCP,
                      {{"10.244.0.2", 8080, SKIFF_BACKEND_SERVING | SKIFF_BACKEND_HERE}, {"10.244.0.3", 8080, kHere}})})
                  .ok());
  EXPECT_EQ(send(kAck), "192.0.2.2:1000 > 10.244.0.2:8080");
  EXPECT_EQ(send(kSyn), "192.0.2.2:1000 > 10.244.0.3:8080");
}

TEST_F(PacketReuseTableTest, ROOT_MasqueradeFollowsTheNodesAddress) {
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.1.2", 8080, SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING}})});
  auto out = [&] { return Tcp(out_, "192.0.2.2", 1000, "10.244.1.2", 8080, kAck); };
  EXPECT_EQ(Tcp(in_, "192.0.2.2", 1000, "192.0.2.1", 30080, kSyn), "192.0.2.2:1000 > 10.244.1.2:8080");
  const std::string before = out();
  ASSERT_TRUE(before.starts_with("10.0.0.1:")) << before;
  Age(2);
  EXPECT_EQ(out(), before);
  // The way back has left the table: it comes again, through the same port.
  DeleteFlows(SKIFF_FLOW_TO_CLIENT);
  Age(2);
  EXPECT_EQ(out(), before);
  const int port = atoi(before.c_str() + strlen("10.0.0.1:"));
  EXPECT_EQ(Tcp(in_, "10.244.1.2", 8080, "10.0.0.1", port, kAck), "10.244.1.2:8080 > 192.0.2.2:1000");
  // Another address of the node's.
  Fd devices = *bpf::OpenPinned(data_path_->maps_dir() + "/devices");
  skiff_device device;
  ASSERT_EQ(bpf_map_lookup_elem(devices.get(), &index_, &device), 0);
  device.v4 = A("10.0.0.9");
  ASSERT_EQ(bpf_map_update_elem(devices.get(), &index_, &device, BPF_ANY), 0);
  Age(2);
  const std::string after = out();
  EXPECT_TRUE(after.starts_with("10.0.0.9:")) << after;
  EXPECT_EQ(Tcp(in_, "10.244.1.2", 8080, "10.0.0.9", atoi(after.c_str() + strlen("10.0.0.9:")), kAck),
            "10.244.1.2:8080 > 192.0.2.2:1000");
}

}  // namespace
}  // namespace skiff::proxy
