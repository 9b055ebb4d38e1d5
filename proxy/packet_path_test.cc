// The packet programs: packets in and out by BPF_PROG_TEST_RUN, and a node with a client outside, a pod here and one on
// another node, each a network namespace.
#include "proxy/packet_path.h"

#include <bpf/bpf.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include "bpf/skeletons.h"
#include "proxy/data_path_testing.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {
namespace {

constexpr uint8_t kHere = SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_LOCAL | SKIFF_BACKEND_SERVING | SKIFF_BACKEND_HERE;
constexpr uint8_t kThere = SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING;

struct End {
  std::string ip;
  uint16_t port;
  uint8_t state;
};

ServiceChange NodePort(uint16_t node_port, uint8_t protocol, const std::vector<End>& ends, uint32_t flags = 0) {
  ServiceModel model;
  for (Family family : {Family::kIPv4, Family::kIPv6}) {
    ModelPort port{.name = "p", .protocol = protocol, .family = family};
    for (const End& e : ends) {
      if (FamilyOf(A(e.ip)) == family) port.endpoints.push_back({A(e.ip), e.port, e.state});
    }
    port.frontends.push_back({NodePortKey(family, node_port, protocol), flags});
    model.ports.push_back(std::move(port));
  }
  return {absl::StrCat("ns/s", node_port, "-", protocol), std::move(model)};
}

class PacketPathTest : public OwnNodeTest {
 protected:
  void SetUp() override {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    if (system("ip -V >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs iproute2";
    // The sockets of this test are not to be translated: their packets are.
    other_ = cgroup_ + "/other";
    mkdir(other_.c_str(), 0755);
    auto loaded = DataPath::Load({.dir = dir_, .cgroup = other_});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    data_path_ = std::move(*loaded);
    reconciler_ = std::make_unique<Reconciler>(data_path_->maps());
    reconciler_->SetNodeAddresses({{A("192.0.2.1"), false}, {A("fd02::1"), false}});
    auto packets = PacketPath::Load(data_path_->maps_dir());
    ASSERT_TRUE(packets.ok()) << packets.status();
    packets_ = std::move(*packets);
  }
  void TearDown() override {
    if (!skip_.empty()) return;
    EXPECT_TRUE(RemoveDataPath({.dir = dir_, .cgroup = other_}).ok());
    rmdir(other_.c_str());
    for (const std::string& ns : namespaces_) Run(absl::StrCat("ip netns del ", ns));
  }
  static void Run(const std::string& command) { EXPECT_EQ(system(command.c_str()), 0) << command; }
  static std::string Ns(std::string_view name) { return absl::StrCat("skt", getpid(), name); }

  void MakeNode() {
    Run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
    struct Side {
      const char *name, *device, *here, *there, *here6, *there6;
    };
    for (const Side& s : {Side{"c", "c0", "192.0.2.1/24", "192.0.2.2/24", "fd02::1/64", "fd02::2/64"},
                          Side{"p", "p0", "10.244.0.1/24", "10.244.0.2/24", "fd44::1/64", "fd44::2/64"},
                          Side{"r", "r0", "10.0.0.1/24", "10.0.0.2/24", "fd0a::1/64", "fd0a::2/64"}}) {
      std::string ns = Ns(s.name);
      namespaces_.push_back(ns);
      // Duplicate address detection would hold IPv6 back for seconds.
      Run(absl::StrCat("ip netns add ", ns, " && ip netns exec ", ns,
                       " sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0"));
      Run(absl::StrCat("ip link add ", s.device, " type veth peer name eth0 netns ", ns));
      Run(absl::StrCat("ip addr add ", s.here, " dev ", s.device, " && ip addr add ", s.here6, " dev ", s.device,
                       " nodad && ip link set ", s.device, " up"));
      Run(absl::StrCat("ip -n ", ns, " addr add ", s.there, " dev eth0 && ip -n ", ns, " addr add ", s.there6,
                       " dev eth0 nodad && ip -n ", ns, " link set eth0 up && ip -n ", ns, " link set lo up"));
    }
    Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    Run(absl::StrCat("ip -n ", Ns("c"), " route add default via 192.0.2.1"));
    Run(absl::StrCat("ip -n ", Ns("p"), " route add default via 10.244.0.1 && ip -n ", Ns("p"),
                     " -6 route add default via fd44::1"));
    // The other node knows nobody but this one: only masqueraded packets find back.
    Run(absl::StrCat("ip -n ", Ns("r"), " addr add 10.244.1.2/32 dev lo && ip -n ", Ns("r"),
                     " addr add fd45::2/128 dev lo nodad"));
    Run("ip route add 10.244.1.0/24 via 10.0.0.2 && ip -6 route add fd45::/64 via fd0a::2");
    auto devices = FindDevices({}, std::vector<std::string>{"c0", "r0"});
    ASSERT_TRUE(devices.ok()) << devices.status();
    ASSERT_EQ(devices->size(), 2u);
    Status status = packets_->Update(*devices);
    ASSERT_TRUE(status.ok()) << status;
  }
  void ApplyAll(const std::vector<ServiceChange>& all) {
    auto result = reconciler_->ApplyAll(all);
    ASSERT_TRUE(result.ok()) << result.status();
  }

  // Runs `f` on a thread in that namespace.
  template <typename F>
  static auto In(std::string_view ns, F f) {
    decltype(f()) out;
    std::thread([&] {
      Fd fd(open(absl::StrCat("/run/netns/", Ns(ns)).c_str(), O_RDONLY | O_CLOEXEC));
      EXPECT_EQ(setns(fd.get(), CLONE_NEWNET), 0);
      out = f();
    }).join();
    return out;
  }
  static std::unique_ptr<Backend> Server(std::string_view ns, std::string name, std::string_view ip, uint16_t port,
                                         int type) {
    return In(ns, [&] { return std::make_unique<Backend>(name, ip, port, type, true); });
  }

  std::string other_;
  std::vector<std::string> namespaces_;
  std::unique_ptr<DataPath> data_path_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<PacketPath> packets_;
};

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
  EXPECT_GT(*CountFlows(data_path_->maps_dir()), 100u);
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

TEST_F(PacketPathTest, ROOT_ProgramsOutliveTheAgentAndAreRemoved) {
  MakeNode();
  auto pod = Server("p", "pod", "10.244.0.2", 8080, SOCK_STREAM);
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}})});
  packets_.reset();
  auto ask = [&] { return In("c", [] { return TcpOnce("192.0.2.1", 30080); }); };
  EXPECT_EQ(ask(), "pod from 192.0.2.2 192.0.2.1:30080");
  auto again = PacketPath::Load(data_path_->maps_dir());
  ASSERT_TRUE(again.ok());
  auto devices = FindDevices({}, std::vector<std::string>{"c0"});
  ASSERT_TRUE((*again)->Update(*devices).ok());
  EXPECT_EQ(ask(), "pod from 192.0.2.2 192.0.2.1:30080");
  EXPECT_EQ(system("tc filter show dev r0 ingress | grep -q packet_"), 256) << "no longer wanted there";
  ASSERT_TRUE(PacketPath::Remove().ok());
  EXPECT_EQ(ask(), "connect: Connection refused");
  EXPECT_EQ(system("tc qdisc show dev c0 | grep -q clsact"), 256) << "nothing is left";
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

// One packet through a program: what comes out, with its checksums.
struct Wire {
  std::string bytes;
  static uint32_t Sum(const char* data, size_t size, uint32_t start) {
    for (size_t i = 0; i < size; i += 2) {
      start += static_cast<uint32_t>(static_cast<uint8_t>(data[i])) << 8 |
               (i + 1 < size ? static_cast<uint8_t>(data[i + 1]) : 0u);
    }
    return start;
  }
  static uint16_t Fold(uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
  }
  static std::string Be16(uint32_t v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }

  static std::string Make(std::string_view src, uint16_t sport, std::string_view dst, uint16_t dport, uint8_t protocol,
                          uint8_t tcp_flags = 2, bool udp_checksum = true) {
    Address s = A(src), d = A(dst);
    bool v6 = FamilyOf(s) == Family::kIPv6;
    std::string payload = "hello, world";
    std::string l4 = Be16(sport) + Be16(dport);
    if (protocol == IPPROTO_TCP) {
      l4 +=
          std::string(8, '\1') + std::string("\x50", 1) + static_cast<char>(tcp_flags) + Be16(1000) + Be16(0) + Be16(0);
    } else {
      l4 += Be16(static_cast<uint32_t>(8 + payload.size())) + Be16(0);
    }
    l4 += payload;
    std::string addresses =
        v6 ? std::string(reinterpret_cast<char*>(&s), 16) + std::string(reinterpret_cast<char*>(&d), 16)
           : std::string(reinterpret_cast<char*>(&s.word[3]), 4) + std::string(reinterpret_cast<char*>(&d.word[3]), 4);
    size_t check = protocol == IPPROTO_TCP ? 16 : 6;
    if (protocol == IPPROTO_TCP || udp_checksum) {
      l4.replace(check, 2, Be16(L4Sum(addresses, l4, protocol)));
    }
    std::string ip;
    if (v6) {
      ip = std::string("\x60\0\0\0", 4) + Be16(static_cast<uint32_t>(l4.size())) + static_cast<char>(protocol) +
           "\x40" + addresses;
    } else {
      ip = std::string("\x45\0", 2) + Be16(static_cast<uint32_t>(20 + l4.size())) + Be16(7) + Be16(0) + "\x40" +
           static_cast<char>(protocol) + Be16(0) + addresses;
      ip.replace(10, 2, Be16(Fold(Sum(ip.data(), 20, 0))));
    }
    return std::string(12, '\2') + (v6 ? "\x86\xdd" : std::string("\x08\0", 2)) + ip + l4;
  }
  static uint16_t L4Sum(const std::string& addresses, const std::string& l4, uint8_t protocol) {
    uint32_t sum = Sum(addresses.data(), addresses.size(), 0);
    sum += protocol + static_cast<uint32_t>(l4.size());
    return Fold(Sum(l4.data(), l4.size(), sum));
  }
  // "src:port > dst:port", with "!" where a checksum is wrong.
  static std::string Read(const std::string& b) {
    bool v6 = static_cast<uint8_t>(b[12]) == 0x86;
    size_t l4 = v6 ? 54 : 34;
    auto address = [&](size_t at) {
      Address a = {};
      if (v6) {
        std::memcpy(&a, b.data() + at, 16);
      } else {
        a.word[2] = htonl(0xffff);
        std::memcpy(&a.word[3], b.data() + at, 4);
      }
      return FormatAddress(a);
    };
    auto port = [&](size_t at) { return static_cast<uint8_t>(b[at]) << 8 | static_cast<uint8_t>(b[at + 1]); };
    size_t size = v6 ? 16 : 4, from = v6 ? 22 : 26;
    std::string body = b.substr(l4), addresses = b.substr(from, size * 2);
    auto protocol = static_cast<uint8_t>(b[v6 ? 20 : 23]);
    bool no_check = protocol == IPPROTO_UDP && body[6] == 0 && body[7] == 0;
    bool good = no_check || L4Sum(addresses, body, protocol) == 0;
    if (!v6) good &= Fold(Sum(b.data() + 14, 20, 0)) == 0;
    return absl::StrCat(address(from), ":", port(l4), " > ", address(from + size), ":", port(l4 + 2),
                        no_check ? " nosum" : "", good ? "" : " !");
  }
};

TEST_F(PacketPathTest, ROOT_PacketTable) {
  Run("ip link add d0 type bridge && ip addr add 10.0.0.1/24 dev d0 && ip addr add fd0a::1/64 dev d0 nodad && ip link "
      "set d0 up");
  auto devices = FindDevices({}, std::vector<std::string>{"d0"});
  ASSERT_EQ(devices->size(), 1u);
  ASSERT_TRUE(packets_->Update(*devices).ok());
  auto programs = bpf::Programs::Load(bpf::ProgramSet::kPacket, data_path_->maps_dir());
  ASSERT_TRUE(programs.ok());
  Fd in = *programs->Take("packet_in"), out = *programs->Take("packet_out");
  auto run = [&](const Fd& program, const std::string& packet) -> std::string {
    std::string result(packet.size() + 256, '\0');
    struct {
      uint32_t fields[48] = {};
    } ctx;
    ctx.fields[10] = static_cast<uint32_t>((*devices)[0].index);
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(), .data_out = result.data(),
                .data_size_in = static_cast<uint32_t>(packet.size()),
                .data_size_out = static_cast<uint32_t>(result.size()), .ctx_in = &ctx,
                .ctx_size_in = sizeof(ctx.fields));
    if (bpf_prog_test_run_opts(program.get(), &opts) != 0) return absl::StrCat("run: ", strerror(errno));
    result.resize(opts.data_size_out);
    return opts.retval == 0 ? Wire::Read(result) : absl::StrCat("dropped ", opts.retval);
  };
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
  EXPECT_EQ(tcp(in, "192.0.2.200", 1000, "203.0.113.9", 80, kSyn), "dropped 2");
  EXPECT_EQ(tcp(in, "192.0.2.200", 1000, "192.0.2.1", 30090, kSyn), "192.0.2.200:1000 > 10.244.0.2:8080");
  EXPECT_EQ(tcp(in, "fd02::2", 1000, "fd0b::9", 80, kSyn), "fd02::2:1000 > fd44::2:8080");
  EXPECT_EQ(tcp(in, "fd03::2", 1000, "fd0b::9", 80, kSyn), "dropped 2");
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
  std::string fragment = syn;
  fragment[20] = '\x20';
  EXPECT_EQ(run(in, fragment).substr(0, 37), "192.0.2.2:3000 > 192.0.2.1:30080 !");
  for (size_t size = 14; size < syn.size(); size++) {
    std::string result(512, '\0');
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = syn.data(), .data_out = result.data(),
                .data_size_in = static_cast<uint32_t>(size), .data_size_out = 512);
    if (bpf_prog_test_run_opts(in.get(), &opts) != 0) continue;  // the kernel refuses frames of nothing
    if (size < 14 + 20 + 14) EXPECT_EQ(result.substr(0, size), syn.substr(0, size)) << size;
  }
}

TEST(PacketDevicesTest, Selection) {
  std::vector<Link> links = {{.index = 1, .name = "lo", .flags = 8},
                             {.index = 2, .name = "eth0"},
                             {.index = 3, .name = "eth1"},
                             {.index = 4, .name = "vx", .kind = "vxlan"},
                             {.index = 5, .name = "wg0", .kind = "wireguard"},
                             {.index = 6, .name = "veth1", .kind = "veth"}};
  std::vector<::skiff::Address> addresses = {{2, "10.0.0.5", 24, AF_INET},   {2, "fe80::1", 64, AF_INET6},
                                             {2, "10.0.0.6", 24, AF_INET},   {3, "192.168.0.1", 24, AF_INET},
                                             {4, "10.244.0.0", 32, AF_INET}, {5, "10.9.9.9", 32, AF_INET}};
  std::vector<Route> routes = {{.destination = "default", .link = 2}, {.destination = "10.1.0.0/16", .link = 6}};
  auto names = [&](std::vector<Address> node, std::vector<std::string> only) {
    std::string out;
    for (const auto& d : SelectDevices(links, addresses, routes, node, only)) absl::StrAppend(&out, d.name, " ");
    return out;
  };
  EXPECT_EQ(names({}, {}), "eth0 vx ");
  EXPECT_EQ(names({A("192.168.0.1"), A("10.9.9.9")}, {}), "eth0 eth1 vx ");
  EXPECT_EQ(names({}, {"veth1"}), "veth1 ");
  EXPECT_EQ(SelectDevices(links, addresses, routes, {}, {})[0].v4, A("10.0.0.5"));
  EXPECT_EQ(SelectDevices(links, addresses, routes, {}, {})[0].v6, Address{});
}

}  // namespace
}  // namespace skiff::proxy
