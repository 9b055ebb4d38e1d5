// The packet programs: packets in and out by BPF_PROG_TEST_RUN, and a node with a client outside, a pod here and one on
// another node, each a network namespace.
#include "proxy/packet_path.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include "absl/strings/str_join.h"
#include "bpf/devices.h"
#include "bpf/skeletons.h"
#include "proxy/data_path_testing.h"
#include "proxy/path_settings.h"
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
  static std::string Attached(const char* device, bpf::Direction direction) {
    return absl::StrJoin(bpf::AttachedPrograms(static_cast<int>(if_nametoindex(device)), direction, "packet_"), ",");
  }

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
    auto devices = FindDevices({.only = {"c0", "r0"}});
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
  EXPECT_EQ(Attached("p0", bpf::Direction::kIn), "packet_pod_in");
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
  // `packet` with its IPv4 header changed, checksum and all.
  static std::string WithFragment(std::string packet, uint16_t flags_and_offset, uint16_t id) {
    packet.replace(18, 2, Be16(id));
    packet.replace(20, 2, Be16(flags_and_offset));
    packet.replace(24, 2, Be16(0));
    packet.replace(24, 2, Be16(Fold(Sum(packet.data() + 14, 20, 0))));
    return packet;
  }
  // `packet` with an IPv6 extension header, `header`'s first byte to be filled in.
  static std::string WithExtension(std::string packet, uint8_t number, std::string header) {
    header[0] = packet[20];
    packet[20] = static_cast<char>(number);
    size_t length = packet.size() - 54 + header.size();
    packet.replace(18, 2, Be16(static_cast<uint32_t>(length)));
    return packet.insert(54, header);
  }
  static std::string FragmentHeader(uint16_t offset_and_more, uint32_t id) {
    return std::string(2, '\0') + Be16(offset_and_more) + Be16(id >> 16) + Be16(id & 0xffff);
  }
  // An ICMP "packet too big" from `src` to `dst` about `quoted`, of which as much as fits a minimal error is quoted.
  static std::string IcmpError(std::string_view src, std::string_view dst, const std::string& quoted) {
    std::string inner = quoted.substr(14, 48 + 20);
    Address s = A(src), d = A(dst);
    bool v6 = FamilyOf(s) == Family::kIPv6;
    std::string icmp =
        (v6 ? std::string("\2\0\0\0", 4) + Be16(0) + Be16(1300) : std::string("\3\4\0\0", 4) + Be16(0) + Be16(1300)) +
        inner;
    std::string addresses =
        v6 ? std::string(reinterpret_cast<char*>(&s), 16) + std::string(reinterpret_cast<char*>(&d), 16)
           : std::string(reinterpret_cast<char*>(&s.word[3]), 4) + std::string(reinterpret_cast<char*>(&d.word[3]), 4);
    uint16_t check = v6 ? L4Sum(addresses, icmp, IPPROTO_ICMPV6) : Fold(Sum(icmp.data(), icmp.size(), 0));
    icmp.replace(2, 2, Be16(check));
    std::string ip;
    if (v6) {
      ip = std::string("\x60\0\0\0", 4) + Be16(static_cast<uint32_t>(icmp.size())) + std::string("\x3a\x40", 2) +
           addresses;
    } else {
      ip = std::string("\x45\0", 2) + Be16(static_cast<uint32_t>(20 + icmp.size())) + Be16(7) + Be16(0) + "\x40" +
           "\1" + Be16(0) + addresses;
      ip.replace(10, 2, Be16(Fold(Sum(ip.data(), 20, 0))));
    }
    return std::string(12, '\2') + (v6 ? "\x86\xdd" : std::string("\x08\0", 2)) + ip + icmp;
  }
  // "src > dst about src:port > dst:port", with "!" where a checksum is wrong.
  static std::string ReadError(const std::string& b) {
    bool v6 = static_cast<uint8_t>(b[12]) == 0x86;
    size_t size = v6 ? 16 : 4, from = v6 ? 22 : 26, l4 = v6 ? 54 : 34, inner = l4 + 8;
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
    std::string icmp = b.substr(l4), addresses = b.substr(from, size * 2);
    bool good = v6 ? L4Sum(addresses, icmp, IPPROTO_ICMPV6) == 0 : Fold(Sum(icmp.data(), icmp.size(), 0)) == 0;
    if (!v6) good &= Fold(Sum(b.data() + 14, 20, 0)) == 0 && Fold(Sum(b.data() + inner, 20, 0)) == 0;
    size_t q = inner + (v6 ? 8 : 12), ports = inner + (v6 ? 40 : 20);
    return absl::StrCat(address(from), " > ", address(from + size), " about ", address(q), ":", port(ports), " > ",
                        address(q + size), ":", port(ports + 2), good ? "" : " !");
  }
  static uint16_t L4Sum(const std::string& addresses, const std::string& l4, uint8_t protocol) {
    uint32_t sum = Sum(addresses.data(), addresses.size(), 0);
    sum += protocol + static_cast<uint32_t>(l4.size());
    return Fold(Sum(l4.data(), l4.size(), sum));
  }
  // ICMP echo request.
  static std::string Echo(std::string_view src, std::string_view dst, size_t size) {
    std::string error = IcmpError(src, dst, Make(src, 1, dst, 2, IPPROTO_UDP));
    Address s = A(src), d = A(dst);
    bool v6 = FamilyOf(s) == Family::kIPv6;
    std::string icmp = (v6 ? std::string("\x80\0\0\0", 4) : std::string("\x08\0\0\0", 4)) + Be16(7) + Be16(1) +
                       std::string(size - 8, 'e');
    std::string addresses =
        v6 ? std::string(reinterpret_cast<char*>(&s), 16) + std::string(reinterpret_cast<char*>(&d), 16) : "";
    icmp.replace(2, 2, Be16(v6 ? L4Sum(addresses, icmp, IPPROTO_ICMPV6) : Fold(Sum(icmp.data(), icmp.size(), 0))));
    std::string out = error.substr(0, v6 ? 54 : 34) + icmp;
    if (v6) {
      out.replace(18, 2, Be16(static_cast<uint32_t>(icmp.size())));
    } else {
      out.replace(16, 2, Be16(static_cast<uint32_t>(20 + icmp.size())));
      out.replace(24, 2, Be16(0));
      out.replace(24, 2, Be16(Fold(Sum(out.data() + 14, 20, 0))));
    }
    return out;
  }
  static uint32_t Crc32c(std::string_view data) {
    uint32_t crc = ~0u;
    for (char c : data) {
      crc ^= static_cast<uint8_t>(c);
      for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
  }
  // One chunk of that type, with `size` bytes.
  static std::string Sctp(std::string_view src, uint16_t sport, std::string_view dst, uint16_t dport, uint8_t chunk,
                          size_t size) {
    std::string udp = Make(src, sport, dst, dport, IPPROTO_UDP);
    bool v6 = static_cast<uint8_t>(udp[12]) == 0x86;
    std::string sctp = Be16(sport) + Be16(dport) + std::string(8, '\0') + static_cast<char>(chunk) + '\0' +
                       Be16(static_cast<uint32_t>(4 + size)) + std::string(size, 's');
    uint32_t crc = Crc32c(sctp);
    sctp.replace(8, 4, std::string(reinterpret_cast<char*>(&crc), 4));
    std::string out = udp.substr(0, v6 ? 54 : 34) + sctp;
    out[v6 ? 20 : 23] = static_cast<char>(IPPROTO_SCTP);
    if (v6) {
      out.replace(18, 2, Be16(static_cast<uint32_t>(sctp.size())));
    } else {
      out.replace(16, 2, Be16(static_cast<uint32_t>(20 + sctp.size())));
      out.replace(24, 2, Be16(0));
      out.replace(24, 2, Be16(Fold(Sum(out.data() + 14, 20, 0))));
    }
    return out;
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
    if (protocol == IPPROTO_SCTP) {
      uint32_t crc = 0;
      std::memcpy(&crc, body.data() + 8, 4);
      good = Crc32c(body.substr(0, 8) + std::string(4, '\0') + body.substr(12)) == crc;
    }
    if (!v6) good &= Fold(Sum(b.data() + 14, 20, 0)) == 0;
    return absl::StrCat(address(from), ":", port(l4), " > ", address(from + size), ":", port(l4 + 2),
                        no_check ? " nosum" : "", good ? "" : " !");
  }
};

// Programs run on single packets, as if these passed the device d0.
class PacketTableTest : public PacketPathTest {
 protected:
  void SetUp() override {
    PacketPathTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Run("ip link add d0 type bridge && ip addr add 10.0.0.1/24 dev d0 && ip addr add fd0a::1/64 dev d0 nodad && ip "
        "link set d0 up");
    auto devices = FindDevices({.only = {"d0"}});
    ASSERT_EQ(devices->size(), 1u);
    ASSERT_TRUE(packets_->Update(*devices).ok());
    index_ = static_cast<uint32_t>((*devices)[0].index);
    auto programs = bpf::Programs::Load(bpf::ProgramSet::kPacket, data_path_->maps_dir());
    ASSERT_TRUE(programs.ok());
    in_ = *programs->Take("packet_in");
    out_ = *programs->Take("packet_out");
    pod_in_ = *programs->Take("packet_pod_in");
    pod_out_ = *programs->Take("packet_pod_out");
    guard_ = *programs->Take("packet_guard");
  }
  void TearDown() override {
    if (skip_.empty()) Run("ip link del d0");
    PacketPathTest::TearDown();
  }
  // The packet as it leaves the program, or "dropped".
  std::string Raw(const Fd& program, const std::string& packet) const {
    std::string result(packet.size() + 256, '\0');
    struct {
      uint32_t fields[48] = {};
    } ctx;
    ctx.fields[10] = index_;
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(), .data_out = result.data(),
                .data_size_in = static_cast<uint32_t>(packet.size()),
                .data_size_out = static_cast<uint32_t>(result.size()), .ctx_in = &ctx,
                .ctx_size_in = sizeof(ctx.fields));
    if (bpf_prog_test_run_opts(program.get(), &opts) != 0) return absl::StrCat("run: ", strerror(errno));
    if (opts.retval == kShot) return "dropped";
    verdict_ = opts.retval;
    result.resize(opts.data_size_out);
    return result;
  }
  void SetServiceCidrs(const std::vector<std::string>& texts) {
    std::vector<Prefix> cidrs;
    for (const std::string& text : texts) cidrs.push_back(*ParsePrefix(text));
    ASSERT_TRUE(data_path_->Configure(PathSettings(Config{}, {}, {}, {}, cidrs)).ok());
  }
  std::string Error(const Fd& program, const std::string& packet) const {
    std::string out = Raw(program, packet);
    return out == "dropped" ? out : Wire::ReadError(out);
  }
  std::string Through(const Fd& program, const std::string& packet) const {
    std::string out = Raw(program, packet);
    return out == "dropped" ? out : Wire::Read(out);
  }
  static constexpr uint32_t kNext = ~0u, kShot = 2, kRedirect = 7;  // TC_ACT_*
  mutable uint32_t verdict_ = 0;                                    // of the last packet that was not dropped
  uint32_t index_ = 0;
  Fd in_, out_, pod_in_, pod_out_, guard_;
};

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

TEST_F(PacketTableTest, ROOT_PodsPackets) {
  constexpr uint8_t kSyn = 2, kAck = 16;
  ServiceChange service = NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}}, SKIFF_FRONTEND_OUTSIDE_LOCAL);
  service.model->ports[0].frontends.push_back({MakeKey(A("10.96.0.1"), 80, IPPROTO_TCP), 0});
  service.model->addresses.push_back(AddressKey(A("10.96.0.1")));
  ApplyAll({service});
  auto tcp = [&](const Fd& p, const char* s, int sp, const char* d, int dp, uint8_t flags) {
    return Through(p, Wire::Make(s, static_cast<uint16_t>(sp), d, static_cast<uint16_t>(dp), IPPROTO_TCP, flags));
  };
  auto flows = [&] { return *CountFlows(data_path_->maps_dir()); };
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1000, "10.244.0.9", 8080, kSyn), "10.244.0.3:1000 > 10.244.0.9:8080");
  EXPECT_EQ(flows(), 0u);
  EXPECT_EQ(tcp(pod_in_, "10.244.0.3", 1000, "10.96.0.1", 80, kSyn), "10.244.0.3:1000 > 10.244.0.2:8080");
  EXPECT_EQ(flows(), 2u);
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
  size_t fill = *CountFlows(data_path_->maps_dir());
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

TEST(PacketDevicesTest, Selection) {
  std::vector<Link> links = {{.index = 1, .name = "lo", .flags = 8},
                             {.index = 2, .name = "eth0"},
                             {.index = 3, .name = "eth1"},
                             {.index = 4, .name = "vx", .kind = "vxlan"},
                             {.index = 5, .name = "wg0", .kind = "wireguard"},
                             {.index = 6, .name = "veth1", .kind = "veth"},
                             {.index = 7, .name = "cni0", .kind = "bridge"},
                             {.index = 8, .name = "veth2", .kind = "veth", .master = 7},
                             {.index = 9, .name = "tap0", .kind = "tun", .master = 7},
                             {.index = 10, .name = "tun0", .kind = "tun"}};
  std::vector<::skiff::Address> addresses = {{2, "10.0.0.5", 24, AF_INET},   {2, "fe80::1", 64, AF_INET6},
                                             {2, "10.0.0.6", 24, AF_INET},   {3, "192.168.0.1", 24, AF_INET},
                                             {4, "10.244.0.0", 32, AF_INET}, {5, "10.9.9.9", 32, AF_INET},
                                             {7, "10.244.0.1", 24, AF_INET}};
  std::vector<Route> routes = {{.destination = "default", .link = 2}, {.destination = "10.1.0.0/16", .link = 6}};
  auto names = [&](const DeviceChoice& choice) {
    std::string out;
    for (const auto& d : SelectDevices(links, addresses, routes, choice)) {
      absl::StrAppend(&out, d.name, d.pod ? "/pod" : "", d.guard ? "/guard" : "", d.local ? "/local" : "", " ");
    }
    return out;
  };
  EXPECT_EQ(names({}), "eth0 vx ");
  EXPECT_EQ(names({.node = {A("192.168.0.1"), A("10.9.9.9")}}), "eth0 eth1 vx ");
  EXPECT_EQ(names({.only = {"veth1"}}), "veth1 ");
  EXPECT_EQ(names({.pods = true}), "eth0 vx veth1/pod veth2/pod tap0/pod ");
  EXPECT_EQ(names({.outside = false, .pods = true}), "veth1/pod veth2/pod tap0/pod ");
  EXPECT_EQ(names({.outside = false, .guard = true}), "eth0/guard vx/guard ");
  EXPECT_EQ(names({.guard = true}), "eth0 vx ");
  EXPECT_EQ(names({.pods = true, .bridge = "cni0"}), "eth0 vx veth1/pod veth2/pod/local tap0/pod/local ");
  EXPECT_EQ(names({.pods = true, .prefix = "veth"}), "eth0 vx veth1/pod/local veth2/pod/local tap0/pod ");
  EXPECT_EQ(names({.only = {"veth1"}, .pods = true}), "veth1 veth2/pod tap0/pod ");
  auto all = SelectDevices(links, addresses, routes, {.pods = true, .node = {A("10.0.0.5"), A("fd00::5")}});
  EXPECT_EQ(all[0].v4, A("10.0.0.5"));
  EXPECT_EQ(all[0].v6, A("fd00::5")) << "the node's, as the device has none";
  EXPECT_EQ(all[2].v4, A("10.0.0.5"));
  EXPECT_EQ(all[3].v4, A("10.244.0.1")) << "its bridge's";
}

TEST(PathSettingsTest, DetectLocalModes) {
  Config config;
  config.cluster_cidr = "10.244.0.0/16,fd44::/56";
  std::vector<Address> node = {A("192.0.2.1"), A("192.0.2.2"), A("fd02::1")};
  std::vector<std::string> cidrs = {"10.244.3.0/24"};
  auto s = PathSettings(config, {}, node, cidrs);
  EXPECT_EQ(s.flags, uint32_t{SKIFF_SETTING_LOCAL_BY_CIDR | SKIFF_SETTING_PACKETS});
  EXPECT_EQ(s.node_v4, A("192.0.2.1"));
  EXPECT_EQ(s.node_v6, A("fd02::1"));
  EXPECT_EQ(s.local_base4, A("10.244.0.0"));
  EXPECT_EQ(s.local_mask4.word[3], htonl(0xffff0000u));
  EXPECT_EQ(s.local_mask4.word[2], ~0u);
  EXPECT_EQ(s.local_base6, A("fd44::"));
  EXPECT_EQ(s.local_mask6, A("ffff:ffff:ffff:ff00::"));
  config.detect_local_mode = "NodeCIDR";
  config.iptables.all = true;
  s = PathSettings(config, {.pod_packets = false, .direct_return = true}, node, cidrs);
  EXPECT_EQ(s.flags,
            uint32_t{SKIFF_SETTING_LOCAL_BY_CIDR | SKIFF_SETTING_MASQUERADE_ALL | SKIFF_SETTING_DIRECT_RETURN});
  EXPECT_EQ(s.local_base4, A("10.244.3.0"));
  EXPECT_EQ(s.local_mask6, Address{});
  config.detect_local_mode = "BridgeInterface";
  EXPECT_TRUE(PathSettings(config, {}, node, {}).flags & SKIFF_SETTING_LOCAL_BY_DEVICE);
  EXPECT_EQ(PathSettings(Config{}, {.pod_packets = false}, {}, {}).flags, 0u)
      << "no range: everybody is local, as upstream";
  std::vector<Prefix> service_cidrs = {*ParsePrefix("10.96.0.0/16"), *ParsePrefix("fd96::/112")};
  s = PathSettings(config, {}, node, {}, service_cidrs);
  EXPECT_EQ(s.service_cidrs, 2u);
  EXPECT_EQ(s.service_cidr[0].base, A("10.96.0.0"));
  EXPECT_EQ(s.service_cidr[0].mask.word[3], htonl(0xffff0000u));
  EXPECT_EQ(s.service_cidr[1].mask, A("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0"));
  service_cidrs.resize(SKIFF_MAX_SERVICE_CIDRS + 3, *ParsePrefix("10.97.0.0/16"));
  EXPECT_EQ(PathSettings(config, {}, node, {}, service_cidrs).service_cidrs, uint32_t{SKIFF_MAX_SERVICE_CIDRS});
}

}  // namespace
}  // namespace skiff::proxy
