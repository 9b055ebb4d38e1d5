// Connections from outside (a node with a client outside, a pod here and one on another node, each a network
// namespace), and where the packet programs are attached, beside whom, and how long they stay.
#include "proxy/packet_path_testing.h"

namespace skiff::proxy {
namespace {

TEST_F(PacketPathTest, ROOT_TcpFromOutside) {
  MakeNode();
  auto pod = Server("p", "pod", "10.244.0.2", 8080, SOCK_STREAM),
       pod6 = Server("p", "pod", "fd44::2", 8080, SOCK_STREAM);
  auto far = Server("r", "far", "10.244.1.2", 8080, SOCK_STREAM),
       far6 = Server("r", "far", "fd45::2", 8080, SOCK_STREAM);
  ApplyAll({NodePort(30080, IPPROTO_TCP,
                     {{"10.244.0.2", 8080, kHere},
                      {"10.244.1.2", 8080, kThere},
                      {"fd44::2", 8080, kHere},
                      {"fd45::2", 8080, kThere}}),
            NodePort(30081, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}, {"10.244.1.2", 8080, kThere}},
                     SKIFF_FRONTEND_OUTSIDE_LOCAL),
            NodePort(30082, IPPROTO_TCP, {})});
  for (const char* ip : {"192.0.2.1", "fd02::1"}) {
    bool v6 = strchr(ip, ':') != nullptr;
    std::map<std::string, int> seen;
    In("c", [&] {
      for (int i = 0; i < 40; i++) seen[TcpOnce(ip, 30080)]++;
      return 0;
    });
    // Here the client's address is seen; there it is this node's.
    std::string pod_sees = v6 ? "pod from [fd02::2] [fd02::1]:30080" : "pod from 192.0.2.2 192.0.2.1:30080";
    std::string far_sees = v6 ? "far from [fd0a::1] [fd02::1]:30080" : "far from 10.0.0.1 192.0.2.1:30080";
    EXPECT_EQ(seen.size(), 2u) << seen.begin()->first;
    EXPECT_GT(seen[pod_sees], 5) << seen.begin()->first;
    EXPECT_GT(seen[far_sees], 5) << seen.begin()->first;
  }
  In("c", [&] {
    for (int i = 0; i < 10; i++) EXPECT_EQ(TcpOnce("192.0.2.1", 30081), "pod from 192.0.2.2 192.0.2.1:30081");
    EXPECT_EQ(TcpOnce("192.0.2.1", 30082), "connect: Connection refused");
    EXPECT_EQ(TcpOnce("192.0.2.1", 30099), "connect: Connection refused");
    // Bulk both ways; the programs are replaced meanwhile.
    for (int i = 0; i < 6; i++) {
      Fd fd;
      TcpOnce("192.0.2.1", 30080, false, &fd);
      std::string sent, got;
      for (int k = 0; k < 200; k++) {
        std::string chunk(4000, static_cast<char>('a' + (i + k) % 26));
        for (size_t at = 0; at < chunk.size();) {
          ssize_t n = send(fd.get(), chunk.data() + at, chunk.size() - at, 0);
          if (n <= 0) break;
          at += static_cast<size_t>(n);
        }
        sent += chunk;
        char buffer[65536];
        while (got.size() < sent.size()) {
          ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
          if (n <= 0) break;
          got.append(buffer, static_cast<size_t>(n));
        }
      }
      EXPECT_EQ(got.size(), sent.size());
      EXPECT_TRUE(got == sent);
    }
    return 0;
  });
  EXPECT_GT(*CountEntries(data_path_->maps_dir(), "flows"), 100u);
  EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_PACKET_NO_PORT], 0u);
}

TEST_F(PacketPathTest, ROOT_ConntrackUdp_FromOutside) {
  MakeNode();
  auto pod = Server("p", "pod", "10.244.0.2", 1053, SOCK_DGRAM), pod6 = Server("p", "pod", "fd44::2", 1053, SOCK_DGRAM);
  auto far = Server("r", "far", "10.244.1.2", 1053, SOCK_DGRAM), far6 = Server("r", "far", "fd45::2", 1053, SOCK_DGRAM);
  std::vector<End> here = {{"10.244.0.2", 1053, kHere}, {"fd44::2", 1053, kHere}};
  std::vector<End> there = {{"10.244.1.2", 1053, kThere}, {"fd45::2", 1053, kThere}};
  ApplyAll({NodePort(30053, IPPROTO_UDP, here)});
  In("c", [&] {
    for (const char* ip : {"192.0.2.1", "fd02::1"}) {
      bool v6 = strchr(ip, ':') != nullptr;
      std::string source = v6 ? " [fd02::1]:30053" : " 192.0.2.1:30053";
      EXPECT_TRUE(reconciler_->Apply({NodePort(30053, IPPROTO_UDP, here)}).ok());
      Fd fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      for (int i = 0; i < 3; i++) {
        EXPECT_EQ(UdpOnce(fd.get(), ip, 30053), (v6 ? "pod from [fd02::2]" : "pod from 192.0.2.2") + source);
      }
      EXPECT_TRUE(reconciler_->Apply({NodePort(30053, IPPROTO_UDP, there)}).ok());
      for (int i = 0; i < 3; i++) {
        EXPECT_EQ(UdpOnce(fd.get(), ip, 30053), (v6 ? "far from [fd0a::1]" : "far from 10.0.0.1") + source);
      }
    }
    return 0;
  });
}

TEST_F(PacketPathTest, ROOT_RefusalsAndErrorsFindBackToTheClient) {
  MakeNode();
  std::vector<ServiceChange> all;
  // Nobody listens on 1999: the endpoints' own nodes say so by ICMP. The load balancer's address has no endpoint.
  all.push_back(NodePort(30001, IPPROTO_UDP, {{"10.244.0.2", 1999, kHere}, {"fd44::2", 1999, kHere}}));
  all.push_back(NodePort(30002, IPPROTO_UDP, {{"10.244.1.2", 1999, kThere}, {"fd45::2", 1999, kThere}}));
  all.push_back(NodePort(30003, IPPROTO_TCP, {{"10.244.0.2", 1999, kHere}, {"fd44::2", 1999, kHere}}));
  all.push_back(NodePort(30004, IPPROTO_TCP, {{"10.244.1.2", 1999, kThere}, {"fd45::2", 1999, kThere}}));
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    auto none = NodePort(30005, protocol, {});
    for (auto& port : none.model->ports) {
      const char* ip = port.family == Family::kIPv6 ? "fd0b::9" : "203.0.113.9";
      port.frontends.push_back({MakeKey(A(ip), 80, protocol), 0});
    }
    all.push_back(std::move(none));
  }
  ApplyAll(all);
  Run(absl::StrCat("ip -n ", Ns("c"), " -6 route add default via fd02::1"));
  In("c", [&] {
    for (bool v6 : {false, true}) {
      const char *node = v6 ? "fd02::1" : "192.0.2.1", *balancer = v6 ? "fd0b::9" : "203.0.113.9";
      for (auto [ip, port] : {std::pair{node, 30001}, {node, 30002}, {node, 30005}, {balancer, 80}}) {
        Sockaddr to = Sockaddr::Of(ip, static_cast<uint16_t>(port));
        Fd fd(socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(connect(fd.get(), to.get(), to.size), 0);
        EXPECT_EQ(send(fd.get(), "x", 1, 0), 1);
        EXPECT_EQ(ReadName(fd.get()), "recv: Connection refused") << ip << " " << port;
      }
      for (auto [ip, port] : {std::pair{node, 30003}, {node, 30004}, {node, 30005}, {balancer, 80}}) {
        EXPECT_EQ(TcpOnce(ip, static_cast<uint16_t>(port)), "connect: Connection refused") << ip << " " << port;
      }
    }
    return 0;
  });
}

TEST_F(PacketPathTest, ROOT_PathMtuReachesTheClient) {
  MakeNode();
  // The way to the other node is narrow, and its endpoint does not know.
  Run("ip link set r0 mtu 1300");
  auto far = Server("r", "far", "10.244.1.2", 1053, SOCK_DGRAM), far6 = Server("r", "far", "fd45::2", 1053, SOCK_DGRAM);
  ApplyAll({NodePort(30053, IPPROTO_UDP, {{"10.244.1.2", 1053, kThere}, {"fd45::2", 1053, kThere}})});
  In("c", [&] {
    for (bool v6 : {false, true}) {
      Sockaddr to = Sockaddr::Of(v6 ? "fd02::1" : "192.0.2.1", 30053);
      Fd fd(socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      int always = 2;  // IP_PMTUDISC_DO
      setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &always,
                 sizeof(always));
      EXPECT_EQ(connect(fd.get(), to.get(), to.size), 0);
      std::string big(1350, 'x');
      EXPECT_EQ(send(fd.get(), big.data(), big.size(), 0), 1350);
      int mtu = 0;
      for (int i = 0; i < 50 && mtu != 1300; i++) {
        socklen_t size = sizeof(mtu);
        getsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size);
        poll(nullptr, 0, 20);
      }
      EXPECT_EQ(mtu, 1300) << "the error quotes the packet as the client sent it";
    }
    return 0;
  });
}

TEST_F(PacketPathTest, ROOT_LocalhostNodeport_NothingOnTheLinkReachesLoopback) {
  MakeNode();
  auto pod = Server("p", "pod", "10.244.0.2", 8080, SOCK_STREAM);
  Backend own("own", "127.0.0.1", 9090, SOCK_STREAM);
  reconciler_->SetNodeAddresses({{A("192.0.2.1"), false}, {A("127.0.0.1"), true}});
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}})});
  // A neighbour that sends packets for 127.0.0.1 over the wire.
  Run(absl::StrCat("ip netns exec ", Ns("c"), " sysctl -qw net.ipv4.conf.all.route_localnet=1 && ip -n ", Ns("c"),
                   " route del table local 127.0.0.0/8 dev lo && ip -n ", Ns("c"),
                   " addr del 127.0.0.1/8 dev lo && ip -n ", Ns("c"), " route add 127.0.0.0/8 via 192.0.2.1"));
  In("c", [&] {
    for (uint16_t port : {9090, 30080}) {
      Sockaddr to = Sockaddr::Of("127.0.0.1", port);
      Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      EXPECT_TRUE(connect(fd.get(), to.get(), to.size) != 0);
      pollfd p = {fd.get(), POLLOUT, 0};
      int error = 0;
      socklen_t size = sizeof(error);
      bool answered =
          poll(&p, 1, 500) > 0 && getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
      EXPECT_FALSE(answered) << port;
    }
    EXPECT_EQ(TcpOnce("192.0.2.1", 30080), "pod from 192.0.2.2 192.0.2.1:30080");
    return 0;
  });
  for (const char* device : {"all", "default", "c0", "p0", "r0", "lo"}) {
    EXPECT_EQ(*ReadFile(absl::StrCat("/proc/sys/net/ipv4/conf/", device, "/route_localnet")), "0\n") << device;
  }
}

TEST_F(PacketPathTest, ROOT_ProgramsOutliveTheAgentAndAreRemoved) {
  MakeNode();
  auto pod = Server("p", "pod", "10.244.0.2", 8080, SOCK_STREAM);
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}})});
  packets_.reset();
  auto ask = [&] { return In("c", [] { return TcpOnce("192.0.2.1", 30080); }); };
  EXPECT_EQ(ask(), "pod from 192.0.2.2 192.0.2.1:30080");
  auto again = PacketPath::Load(data_path_->maps_dir());
  ASSERT_TRUE(again.ok());
  auto devices = FindDevices({.only = {"c0"}});
  ASSERT_TRUE((*again)->Update(*devices).ok());
  EXPECT_EQ(ask(), "pod from 192.0.2.2 192.0.2.1:30080");
  EXPECT_EQ(Attached("r0", bpf::Direction::kIn), "") << "no longer wanted there";
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in");
  EXPECT_EQ(Attached("c0", bpf::Direction::kOut), "packet_out");
  ASSERT_TRUE(PacketPath::Remove().ok());
  EXPECT_EQ(ask(), "connect: Connection refused");
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "");
  EXPECT_EQ(system("tc qdisc show dev c0 | grep -q clsact"), 256) << "nothing is left";
}

// What comes in by a pod's device and goes out there again is seen twice by one program, which must know which is
// which. (By way of a bridge, where the two are told apart by their device: NodesTest.)
TEST_F(PacketPathTest, ROOT_PodReachesItselfByItsRoutedDevice) {
  MakeNode();
  auto pod = Server("p", "pod", "10.244.0.2", 8080, SOCK_STREAM),
       pod6 = Server("p", "pod", "fd44::2", 8080, SOCK_STREAM);
  auto udp = Server("p", "pod", "10.244.0.2", 1053, SOCK_DGRAM), udp6 = Server("p", "pod", "fd44::2", 1053, SOCK_DGRAM);
  auto devices = FindDevices({.only = {"c0", "r0"}, .pods = true});
  ASSERT_TRUE(packets_->Update(*devices).ok());
  auto with = [](ServiceChange change, const char* four, const char* six, uint16_t port) {
    for (auto& p : change.model->ports) {
      p.frontends.push_back({MakeKey(A(p.family == Family::kIPv6 ? six : four), port, p.protocol), 0});
    }
    return change;
  };
  ApplyAll({with(NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}, {"fd44::2", 8080, kHere}}), "10.97.0.1",
                 "fd97::1", 80),
            with(NodePort(30053, IPPROTO_UDP, {{"10.244.0.2", 1053, kHere}, {"fd44::2", 1053, kHere}}), "10.97.0.1",
                 "fd97::1", 53)});
  In("p", [] {
    for (int i = 0; i < 3; i++) {
      EXPECT_EQ(TcpOnce("10.97.0.1", 80), "pod from 10.244.0.1 10.97.0.1:80");
      EXPECT_EQ(TcpOnce("fd97::1", 80), "pod from [fd44::1] [fd97::1]:80");
      for (const char* ip : {"10.97.0.1", "fd97::1"}) {
        bool v6 = strchr(ip, ':') != nullptr;
        Fd fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        for (int k = 0; k < 3; k++) {
          EXPECT_EQ(UdpOnce(fd.get(), ip, 53),
                    v6 ? "pod from [fd44::1] [fd97::1]:53" : "pod from 10.244.0.1 10.97.0.1:53");
        }
      }
    }
    return 0;
  });
  EXPECT_EQ((*data_path_->maps().ReadCounters())[SKIFF_COUNT_PACKET_POD], 12u);
}

// As the bandwidth plugin has it: an ingress qdisc whose filter takes whatever comes in elsewhere.
TEST_F(PacketPathTest, ROOT_AnothersIngressQdisc) {
  MakeNode();
  Run("tc qdisc add dev p0 ingress && tc filter add dev p0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid "
      ":1");
  auto devices = FindDevices({.only = {"c0", "r0"}, .pods = true});
  ASSERT_EQ(devices->size(), 3u);
  Status status = packets_->Update(*devices);
  if (!bpf::HasTcx()) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_NE(status.message().find("device p0"), std::string_view::npos) << status;
    EXPECT_EQ(Attached("p0", bpf::Direction::kIn), "");
    return;
  }
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Attached("p0", bpf::Direction::kIn), "packet_pod");
  EXPECT_EQ(Attached("p0", bpf::Direction::kOut), "packet_pod");
  auto service = NodePort(30080, IPPROTO_TCP, {{"10.0.0.2", 8080, kThere}});
  service.model->ports[0].frontends.push_back({MakeKey(A("10.96.0.1"), 80, IPPROTO_TCP), 0});
  ApplyAll({service});
  auto far = Server("r", "far", "10.0.0.2", 8080, SOCK_STREAM);
  Run(absl::StrCat("ip -n ", Ns("r"), " route add 10.244.0.0/24 via 10.0.0.1"));
  EXPECT_EQ(In("p", [] { return TcpOnce("10.96.0.1", 80); }), "far from 10.244.0.2 10.96.0.1:80");
  // What comes in goes on to theirs, and theirs stays when ours goes.
  EXPECT_EQ(system("tc -s qdisc show dev p0 ingress | grep -q 'Sent [1-9]'"), 0);
  ASSERT_TRUE(PacketPath::Remove().ok());
  EXPECT_EQ(system("tc filter show dev p0 parent ffff: | grep -q u32"), 0);
}

// What an earlier version, or an older kernel, attached by tc.
TEST_F(PacketPathTest, ROOT_FromTcToTcx) {
  if (!bpf::HasTcx()) GTEST_SKIP() << "the kernel has no tcx (Linux 6.6)";
  MakeNode();
  auto programs = bpf::Programs::Load(bpf::ProgramSet::kPacket, data_path_->maps_dir());
  ASSERT_TRUE(programs.ok()) << programs.status();
  Fd in = *programs->Take("packet_in");
  ASSERT_TRUE(PacketPath::Remove().ok());
  auto index = static_cast<int>(if_nametoindex("c0"));
  ASSERT_TRUE(bpf::AttachProgram(index, bpf::Direction::kIn, in.get(), "packet_", false).ok());
  EXPECT_EQ(system("tc filter show dev c0 ingress | grep -q packet_in"), 0);
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in");
  ASSERT_TRUE(bpf::AttachProgram(index, bpf::Direction::kIn, in.get(), "packet_").ok());
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in") << "once";
  EXPECT_EQ(system("tc qdisc show dev c0 | grep -q clsact"), 256) << "the qdisc that was made for it is gone";
  ASSERT_TRUE(bpf::AttachProgram(index, bpf::Direction::kIn, in.get(), "packet_").ok()) << "again is no error";
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in");
}

}  // namespace
}  // namespace skiff::proxy
