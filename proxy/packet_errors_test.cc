// ICMP errors, fragments and IPv6 extension headers through the packet programs; what they drop and refuse.
#include "proxy/packet_table_testing.h"

namespace skiff::proxy {
namespace {

TEST_F(PacketTableTest, ROOT_IcmpErrorsBothWays) {
  ApplyAll({NodePort(30053, IPPROTO_UDP, {{"10.244.1.2", 1053, kThere}, {"fd45::2", 1053, kThere}}),
            NodePort(30054, IPPROTO_UDP, {{"10.244.0.2", 1053, kHere}, {"fd44::2", 1053, kHere}})});
  for (bool v6 : {false, true}) {
    const char *client = v6 ? "fd02::2" : "192.0.2.2", *node = v6 ? "fd02::1" : "192.0.2.1";
    const char *far = v6 ? "fd45::2" : "10.244.1.2", *own = v6 ? "fd0a::1" : "10.0.0.1";
    const char *near = v6 ? "fd44::2" : "10.244.0.2", *router = v6 ? "fd99::9" : "198.51.100.9";
    auto udp = [](const char* s, int sp, const char* d, int dp) {
      return Wire::Make(s, static_cast<uint16_t>(sp), d, static_cast<uint16_t>(dp), IPPROTO_UDP);
    };
    Raw(in_, udp(client, 5000, node, 30053));
    std::string there = Raw(out_, udp(client, 5000, far, 1053));
    std::string text = Wire::Read(there);
    int m = 0;
    ASSERT_TRUE(absl::SimpleAtoi(text.substr(strlen(own) + 1, text.find(' ') - strlen(own) - 1), &m)) << text;
    // The masqueraded request hit something: a router says so, and the endpoint.
    EXPECT_EQ(Error(in_, Wire::IcmpError(router, own, there)),
              absl::StrCat(router, " > ", client, " about ", client, ":5000 > ", far, ":1053"));
    EXPECT_EQ(Error(in_, Wire::IcmpError(far, own, there)),
              absl::StrCat(far, " > ", client, " about ", client, ":5000 > ", far, ":1053"));
    // On its way out to the client it is about the service.
    EXPECT_EQ(Error(out_, Wire::IcmpError(far, client, udp(client, 5000, far, 1053))),
              absl::StrCat(node, " > ", client, " about ", client, ":5000 > ", node, ":30053"));
    EXPECT_EQ(Error(out_, Wire::IcmpError(router, client, udp(client, 5000, far, 1053))),
              absl::StrCat(router, " > ", client, " about ", client, ":5000 > ", node, ":30053"));
    // The answer in the service's name hit something behind us: the endpoint must learn of it, as its own packet.
    EXPECT_EQ(Error(in_, Wire::IcmpError(router, node, udp(node, 30053, client, 5000))),
              absl::StrCat(router, " > ", far, " about ", far, ":1053 > ", client, ":5000"));
    EXPECT_EQ(Error(out_, Wire::IcmpError(router, far, udp(far, 1053, client, 5000))),
              absl::StrCat(router, " > ", far, " about ", far, ":1053 > ", own, ":", m));
    EXPECT_EQ(Error(out_, Wire::IcmpError(client, far, udp(far, 1053, client, 5000))),
              absl::StrCat(own, " > ", far, " about ", far, ":1053 > ", own, ":", m));
    // An endpoint here.
    Raw(in_, udp(client, 6000, node, 30054));
    EXPECT_EQ(Error(in_, Wire::IcmpError(router, node, udp(node, 30054, client, 6000))),
              absl::StrCat(router, " > ", near, " about ", near, ":1053 > ", client, ":6000"));
    EXPECT_EQ(Error(out_, Wire::IcmpError(near, client, udp(client, 6000, near, 1053))),
              absl::StrCat(node, " > ", client, " about ", client, ":6000 > ", node, ":30054"));
    // About nothing of ours: as it came.
    EXPECT_EQ(Error(in_, Wire::IcmpError(router, node, udp(node, 999, client, 5000))),
              absl::StrCat(router, " > ", node, " about ", node, ":999 > ", client, ":5000"));
  }
}

TEST_F(PacketTableTest, ROOT_FragmentsAndExtensionHeaders) {
  ApplyAll({NodePort(30053, IPPROTO_UDP, {{"10.244.0.2", 1053, kHere}, {"fd44::2", 1053, kHere}})});
  auto counter = [&] { return (*data_path_->maps().ReadCounters())[SKIFF_COUNT_PACKET_FRAGMENT]; };
  auto addresses = [](const std::string& b) {  // and whether the IPv4 header's checksum is right
    std::string text = Wire::Read(b);
    if (static_cast<uint8_t>(b[12]) == 0x86) return FormatAddress(*reinterpret_cast<const Address*>(&b[38]));
    Address a = {};
    a.word[2] = htonl(0xffff);
    std::memcpy(&a.word[3], &b[30], 4);
    return absl::StrCat(FormatAddress(a), Wire::Fold(Wire::Sum(b.data() + 14, 20, 0)) == 0 ? "" : " !");
  };
  // IPv4: the second fragment has data where ports would be.
  std::string whole = Wire::Make("192.0.2.2", 700, "192.0.2.1", 30053, IPPROTO_UDP);
  auto four = [&](uint16_t bits, uint16_t id) { return Wire::WithFragment(whole, bits, id); };
  EXPECT_EQ(addresses(Raw(in_, four(3, 77))), "192.0.2.1") << "before its first fragment: not known";
  EXPECT_EQ(counter(), 1u);
  EXPECT_EQ(Through(in_, four(0x2000, 77)), "192.0.2.2:700 > 10.244.0.2:1053");
  std::string later = Raw(in_, four(0x2003, 77));
  EXPECT_EQ(addresses(later), "10.244.0.2");
  EXPECT_EQ(later.substr(34), whole.substr(34)) << "of its data nothing changes";
  EXPECT_EQ(addresses(Raw(in_, four(5, 77))), "10.244.0.2");
  EXPECT_EQ(addresses(Raw(in_, four(5, 78))), "192.0.2.1") << "another datagram";
  EXPECT_EQ(counter(), 2u);
  // IPv6: the same with a header of its own, and behind another one.
  std::string six = Wire::Make("fd02::2", 700, "fd02::1", 30053, IPPROTO_UDP);
  auto fragment = [&](uint16_t bits, uint32_t id) {
    return Wire::WithExtension(six, IPPROTO_FRAGMENT, Wire::FragmentHeader(bits, id));
  };
  auto destination = [](const std::string& b) {
    Address a;
    std::memcpy(&a, &b[38], sizeof(a));
    return FormatAddress(a);
  };
  EXPECT_EQ(destination(Raw(in_, fragment(8, 5))), "fd02::1");
  std::string first = Raw(in_, fragment(1, 5));
  EXPECT_EQ(destination(first), "fd44::2");
  EXPECT_EQ(first.substr(64, 2), Wire::Be16(1053));
  EXPECT_EQ(destination(Raw(in_, fragment(9, 5))), "fd44::2");
  EXPECT_EQ(Raw(in_, fragment(9, 5)).substr(62), fragment(9, 5).substr(62));
  EXPECT_EQ(destination(Raw(in_, fragment(8, 6))), "fd02::1");
  // Hop-by-hop and destination options of any size, and a fragment header on a whole datagram.
  for (uint8_t number : {IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, IPPROTO_ROUTING}) {
    for (int units : {0, 1, 5}) {
      std::string header(static_cast<size_t>(8 * (units + 1)), '\0');
      header[1] = static_cast<char>(units);
      std::string out = Raw(in_, Wire::WithExtension(six, number, header));
      EXPECT_EQ(destination(out), "fd44::2") << int{number} << " " << units;
      EXPECT_EQ(out.substr(54 + header.size() + 2, 2), Wire::Be16(1053));
    }
  }
  EXPECT_EQ(destination(Raw(in_, fragment(0, 9))), "fd44::2");
  // Cut anywhere: no program reads past the end.
  std::string deep = Wire::WithExtension(Wire::WithExtension(six, IPPROTO_DSTOPTS, std::string(8, '\0')),
                                         IPPROTO_HOPOPTS, std::string(8, '\0'));
  for (size_t size = 34; size < deep.size(); size++) {
    for (const Fd* program : {&in_, &out_, &pod_in_, &pod_out_}) (void)Raw(*program, deep.substr(0, size));
  }
}

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
      // Not as they come in: another proxy here may serve them.
      const bool leaves = program == &out_ || program == &guard_;
      EXPECT_EQ(send(*program, "10.244.0.3", "10.96.9.9", protocol),
                leaves ? "dropped" : "10.244.0.3:1000 > 10.96.9.9:80");
      EXPECT_EQ(send(*program, "fd44::3", "fd96::9", protocol), leaves ? "dropped" : "fd44::3:1000 > fd96::9:80");
      EXPECT_EQ(send(*program, "10.244.0.3", "10.97.0.1", protocol), "10.244.0.3:1000 > 10.97.0.1:80");
      EXPECT_EQ(send(*program, "fd44::3", "fd97::1", protocol), "fd44::3:1000 > fd97::1:80");
    }
  }
  EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_PACKET_UNKNOWN], 8u);
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
        EXPECT_EQ(ping(*program, unknown) == "dropped", out);
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
