// The XDP program as a table: what it forwards, and how that looks, and what it leaves to the kernel.
#include "proxy/packet_table_testing.h"

#include <bpf/bpf.h>
#include <time.h>

namespace skiff::proxy {
namespace {

class PacketXdpTest : public PacketTableTest {
 protected:
  static constexpr uint32_t kPass = 2, kForward = 4;  // XDP_PASS, XDP_REDIRECT
  static constexpr uint8_t kSyn = 2, kAck = 16, kTcp = IPPROTO_TCP, kUdp = IPPROTO_UDP;

  void SetUp() override {
    PacketTableTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    // Everybody is behind one router, whose hardware address is known.
    Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    Run("ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev d0 nud permanent && ip -6 neigh add fd0a::9 lladdr "
        "02:00:00:00:00:09 dev d0 nud permanent");
    Run("ip route add 192.0.2.0/24 via 10.0.0.9 && ip route add 10.244.0.0/16 via 10.0.0.9 && ip -6 route add "
        "fd02::/64 via fd0a::9 && ip -6 route add fd45::/64 via fd0a::9");
    auto programs = bpf::Programs::Load(bpf::ProgramSet::kXdp, data_path_->maps_dir());
    ASSERT_TRUE(programs.ok()) << programs.status();
    xdp_ = *programs->Take("packet_xdp");
    SetDeviceFlags(SKIFF_DEVICE_XDP);
  }
  void SetDeviceFlags(uint32_t flags) const {
    Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/devices");
    skiff_device device = {};
    ASSERT_EQ(bpf_map_lookup_elem(map.get(), &index_, &device), 0);
    device.flags = flags;
    ASSERT_EQ(bpf_map_update_elem(map.get(), &index_, &device, BPF_ANY), 0);
  }
  // When all connections were last seen by the tc programs.
  void SetUsed(uint64_t seconds_ago) const {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    Fd map = *bpf::OpenPinned(data_path_->maps_dir() + "/flows");
    skiff_flow_key key = {}, next = {};
    for (bool first = true; bpf_map_get_next_key(map.get(), first ? nullptr : &key, &next) == 0; first = false) {
      key = next;
      skiff_flow flow = {};
      if (bpf_map_lookup_elem(map.get(), &key, &flow) != 0) continue;
      flow.used = (static_cast<uint64_t>(now.tv_sec) - seconds_ago) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
      ASSERT_EQ(bpf_map_update_elem(map.get(), &key, &flow, BPF_EXIST), 0);
    }
  }
  // The frame that is forwarded, or "passed" where it is the kernel's, and as it came.
  std::string Frame(const std::string& packet, uint64_t used_seconds_ago = 0) const {
    SetUsed(used_seconds_ago);
    std::string result(packet.size() + 256, '\0');
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(), .data_out = result.data(),
                .data_size_in = static_cast<uint32_t>(packet.size()),
                .data_size_out = static_cast<uint32_t>(result.size()));
    if (bpf_prog_test_run_opts(xdp_.get(), &opts) != 0) return absl::StrCat("run: ", strerror(errno));
    result.resize(opts.data_size_out);
    if (opts.retval == kPass) return result == packet ? "passed" : "changed and passed";
    return opts.retval == kForward ? result : absl::StrCat("verdict ", opts.retval);
  }
  std::string Text(const std::string& packet) const {
    std::string out = Frame(packet);
    if (out.size() < 42) return out;
    bool v6 = static_cast<uint8_t>(out[12]) == 0x86;
    return absl::StrCat(Wire::Read(out), " hops ", static_cast<int>(out[v6 ? 21 : 22]),
                        out.starts_with(std::string("\2\0\0\0\0\11", 6)) ? "" : " to the wrong neighbour");
  }
  // A connection as the tc programs place it; the port that it is masqueraded with.
  uint16_t Place(const char* client, uint16_t port, const char* node, uint16_t service, const char* far,
                 uint16_t far_port, uint8_t protocol) {
    Raw(in_, Wire::Make(client, port, node, service, protocol, kSyn));
    std::string text = Through(out_, Wire::Make(client, port, far, far_port, protocol, kSyn));
    std::string from = text.substr(0, text.find(" > "));
    int out = 0;
    EXPECT_TRUE(absl::SimpleAtoi(from.substr(from.rfind(':') + 1), &out)) << text;
    return static_cast<uint16_t>(out);
  }
  Fd xdp_;
};

TEST_F(PacketXdpTest, ROOT_ForwardsPlacedConnectionsBothWays) {
  ApplyAll({NodePort(30080, kTcp, {{"10.244.1.2", 8080, kThere}, {"fd45::2", 8080, kThere}}),
            NodePort(30053, kUdp, {{"10.244.1.2", 1053, kThere}, {"fd45::2", 1053, kThere}})});
  for (bool v6 : {false, true}) {
    for (uint8_t protocol : {kTcp, kUdp}) {
      for (bool sum : {true, false}) {
        if (!sum && (v6 || protocol == kTcp)) continue;
        const char *client = v6 ? "fd02::2" : sum ? "192.0.2.2" : "192.0.2.3", *node = v6 ? "fd02::1" : "192.0.2.1";
        const char *far = v6 ? "fd45::2" : "10.244.1.2", *own = v6 ? "fd0a::1" : "10.0.0.1";
        uint16_t service = protocol == kTcp ? 30080 : 30053, port = protocol == kTcp ? 8080 : 1053;
        auto make = [&](const char* s, uint16_t sp, const char* d, uint16_t dp) {
          return Wire::Make(s, sp, d, dp, protocol, kAck, sum);
        };
        EXPECT_EQ(Text(make(client, 2000, node, service)), "passed") << "not placed yet";
        uint16_t m = Place(client, 2000, node, service, far, port, protocol);
        std::string end = sum ? " hops 63" : " nosum hops 63";
        EXPECT_EQ(Text(make(client, 2000, node, service)), absl::StrCat(own, ":", m, " > ", far, ":", port, end));
        EXPECT_EQ(Text(make(far, port, own, m)), absl::StrCat(node, ":", service, " > ", client, ":2000", end));
        // Another way the tc programs have not made.
        EXPECT_EQ(Text(make(client, 2001, node, service)), "passed");
        EXPECT_EQ(Text(make(far, port, own, static_cast<uint16_t>(m + 1))), "passed");
      }
    }
  }
  EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_PACKET_XDP], 10u);
}

TEST_F(PacketXdpTest, ROOT_LeavesTheRestToTheKernel) {
  auto udp = NodePort(30053, kUdp, {{"10.244.1.2", 1053, kThere}});
  ApplyAll({NodePort(30080, kTcp, {{"10.244.1.2", 8080, kThere}, {"fd45::2", 8080, kThere}}),
            NodePort(30081, kTcp, {{"10.244.0.2", 8080, kHere}}), udp});
  Place("192.0.2.2", 2000, "192.0.2.1", 30080, "10.244.1.2", 8080, kTcp);
  Place("fd02::2", 2000, "fd02::1", 30080, "fd45::2", 8080, kTcp);
  Place("192.0.2.2", 2000, "192.0.2.1", 30053, "10.244.1.2", 1053, kUdp);
  Raw(in_, Wire::Make("192.0.2.2", 2000, "192.0.2.1", 30081, kTcp, kSyn));
  auto tcp = [](uint8_t flags) { return Wire::Make("192.0.2.2", 2000, "192.0.2.1", 30080, kTcp, flags); };
  const std::string four = tcp(kAck), six = Wire::Make("fd02::2", 2000, "fd02::1", 30080, kTcp, kAck);
  auto forwarded = [&](const std::string& packet) { return Frame(packet).size() > 42; };
  ASSERT_TRUE(forwarded(four) && forwarded(six));
  for (uint8_t flags : {1, 2, 4, 0x11, 0x12, 0x14}) EXPECT_EQ(Frame(tcp(flags)), "passed") << "opens or ends " << flags;
  EXPECT_EQ(Frame(Wire::Make("192.0.2.2", 2000, "192.0.2.1", 30081, kTcp, kAck)), "passed") << "an endpoint here";
  EXPECT_EQ(Frame(Wire::WithFragment(four, 0x2000, 7)), "passed") << "a first fragment";
  EXPECT_EQ(Frame(Wire::WithFragment(four, 3, 7)), "passed") << "a later fragment";
  EXPECT_TRUE(forwarded(Wire::WithFragment(four, 0x4000, 7))) << "not to be fragmented";
  EXPECT_EQ(Frame(Wire::WithExtension(six, IPPROTO_DSTOPTS, std::string(8, '\0'))), "passed");
  auto with = [](std::string packet, size_t at, char byte) {
    packet[at] = byte;
    return packet;
  };
  EXPECT_EQ(Frame(with(four, 14, 0x46)), "passed") << "options";
  EXPECT_EQ(Frame(with(four, 22, 1)), "passed") << "its last hop: the kernel tells the sender";
  EXPECT_EQ(Frame(with(six, 21, 1)), "passed");
  EXPECT_EQ(Frame(with(four, 23, IPPROTO_ICMP)), "passed");
  EXPECT_EQ(Frame(with(four, 12, '\x81')), "passed") << "a VLAN's tag";
  for (const std::string& packet : {four, six}) {
    size_t headers = packet == four ? 54 : 74;
    for (size_t size = 14; size < headers; size++) {
      std::string cut = Frame(packet.substr(0, size));
      EXPECT_TRUE(cut == "passed" || cut.starts_with("run: ")) << size << " " << cut;
    }
  }
  // No neighbour, or no device that takes it.
  Run("ip neigh del 10.0.0.9 dev d0");
  EXPECT_EQ(Frame(four), "passed");
  Run("ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev d0 nud permanent");
  SetDeviceFlags(0);
  EXPECT_EQ(Frame(four), "passed");
  SetDeviceFlags(SKIFF_DEVICE_XDP);
  EXPECT_TRUE(forwarded(four));
  // An endpoint that is gone: its UDP clients are placed anew, its TCP connections are left alone.
  const std::string datagram = Wire::Make("192.0.2.2", 2000, "192.0.2.1", 30053, kUdp);
  EXPECT_TRUE(forwarded(datagram));
  udp.model->ports[0].endpoints = {{A("10.244.1.3"), 1053, kThere}};
  ASSERT_TRUE(reconciler_->Apply({udp}).ok());
  EXPECT_EQ(Frame(datagram), "passed");
  // A packet a second goes to the tc programs, so that they see that the connection lives.
  EXPECT_TRUE(forwarded(four));
  EXPECT_EQ(Frame(four, 2), "passed");
}

}  // namespace
}  // namespace skiff::proxy
