// Nodes as network namespaces, for tests of the data path as a whole:
//
//   c                 a client outside:          192.0.2.2, fd02::2 at the node's device c0
//   (the test's own)  the node:                  192.0.2.1, fd02::1; bridge cni0 10.244.0.1, fd44::1
//   p, q              its pods:                  10.244.0.2, fd44::2; 10.244.0.3, fd44::3
//   r                 another node:              10.0.0.2, fd0a::2 at the node's device r0
//   s                 the other node's pod:      10.244.1.2, fd45::2
//
// The other node knows the way to the node's pods and not to the client: what comes for its pod from outside must be
// masqueraded. Services go through the model, as in production. Clients are processes whose sockets are translated
// (`hooked`), or are out of reach of the hooks and send packets.
#ifndef SKIFF_PROXY_NODES_TESTING_H_
#define SKIFF_PROXY_NODES_TESTING_H_

#include <sys/wait.h>

#include <set>

#include "absl/strings/str_join.h"
#include "proxy/data_path_testing.h"
#include "proxy/model.h"
#include "proxy/packet_path.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {

struct TestService {
  std::string name;
  std::vector<std::string> endpoints;  // "p", "q" (here), "s" (there); the port is the service port's number + 8000
  uint16_t port = 80, node_port = 0;
  uint8_t protocol = IPPROTO_TCP;
  int number = 0;  // last part of its addresses: 10.96.0.N, fd96::N; external 198.51.100.N; balanced 203.0.113.N
  bool external_local = false, internal_local = false;
  std::vector<std::string> source_ranges;
  uint32_t affinity = 0;
  uint8_t p_flags = kReady | kServing;  // EndpointFlags of p
};

class NodesTest : public OwnNodeTest {
 protected:
  static constexpr uint16_t kEndpointPort = 8080;

  void SetUp() override {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    if (system("ip -V >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs iproute2";
    hooked_ = cgroup_ + "/hooked";
    mkdir(hooked_.c_str(), 0755);
    MakeNetwork();
    Load();
  }
  void TearDown() override {
    if (!skip_.empty()) return;
    servers_.clear();
    EXPECT_TRUE(RemoveDataPath({.dir = dir_, .cgroup = hooked_}).ok());
    rmdir(hooked_.c_str());
    for (const std::string& ns : namespaces_) Run(absl::StrCat("ip netns del ", ns));
    Run("ip link del cni0");
  }

  void Load() {
    packets_.reset();
    auto loaded = DataPath::Load({.dir = dir_, .cgroup = hooked_});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    data_path_ = std::move(*loaded);
    skiff_settings settings = {};
    settings.flags = SKIFF_SETTING_LOCAL_BY_CIDR | SKIFF_SETTING_PACKETS;
    settings.service_cidrs = 2;
    settings.service_cidr[0] = {A("10.96.0.0"), {{~0u, ~0u, ~0u, htonl(0xffff0000u)}}};
    settings.service_cidr[1] = {A("fd96::"), A("ffff:ffff:ffff:ffff::")};
    settings.node_v4 = A("192.0.2.1");
    settings.node_v6 = A("fd02::1");
    settings.local_base4 = A("10.244.0.0");
    settings.local_mask4 = {{~0u, ~0u, ~0u, htonl(0xffff0000u)}};
    settings.local_base6 = A("fd44::");
    settings.local_mask6 = {{htonl(0xffff0000u), 0, 0, 0}};
    settings_ = settings;
    Configure(0);
    reconciler_ = std::make_unique<Reconciler>(data_path_->maps());
    reconciler_->SetNodeAddresses({{A("192.0.2.1"), false},
                                   {A("fd02::1"), false},
                                   {A("10.244.0.1"), false},
                                   {A("10.0.0.1"), false},
                                   {A("127.0.0.1"), true}});
    auto packets = PacketPath::Load(data_path_->maps_dir());
    ASSERT_TRUE(packets.ok()) << packets.status();
    packets_ = std::move(*packets);
    Attach();
  }
  void Configure(uint32_t more) {
    skiff_settings settings = settings_;
    settings.flags |= more;
    ASSERT_TRUE(data_path_->Configure(settings).ok());
  }
  void Attach() {
    auto devices = FindDevices({.only = {"c0", "r0"}, .pods = true, .node = {A("192.0.2.1"), A("fd02::1")}});
    ASSERT_TRUE(devices.ok()) << devices.status();
    ASSERT_EQ(devices->size(), 4u);
    Status status = packets_->Update(*devices);
    ASSERT_TRUE(status.ok()) << status;
  }

  static void Run(const std::string& command) { EXPECT_EQ(system(command.c_str()), 0) << command; }
  static std::string Ns(std::string_view name) {
    static const pid_t pid = getpid();  // the test's, in its children too
    return absl::StrCat("skn", pid, name);
  }
  // Duplicate address detection would hold IPv6 back for seconds.
  static constexpr char kSysctls[] =
      "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 net.ipv4.conf.all.rp_filter=0 "
      "net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
      "net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000";

  void MakeNamespace(std::string_view name) {
    std::string ns = Ns(name);
    namespaces_.push_back(ns);
    Run(absl::StrCat("ip netns add ", ns, " && ip netns exec ", ns, " ", kSysctls, " && ip -n ", ns,
                     " link set lo up"));
  }
  static void Addresses(const std::string& ip, const std::string& device, const std::string& v4,
                        const std::string& v6) {
    Run(absl::StrCat(ip, " addr add ", v4, " dev ", device, " && ", ip, " addr add ", v6, " dev ", device, " nodad && ",
                     ip, " link set ", device, " up"));
  }
  void MakeNetwork() {
    Run(kSysctls);
    Run("sysctl -qw net.ipv4.conf.all.rp_filter=1");  // what we do must pass the strictest check of sources
    for (const char* name : {"c", "p", "q", "r", "s"}) MakeNamespace(name);
    auto in = [](std::string_view name) { return absl::StrCat("ip -n ", Ns(name)); };
    Run(absl::StrCat("ip link add c0 type veth peer name eth0 netns ", Ns("c")));
    Addresses("ip", "c0", "192.0.2.1/24", "fd02::1/64");
    Addresses(in("c"), "eth0", "192.0.2.2/24", "fd02::2/64");
    Run("ip link add cni0 type bridge");
    Addresses("ip", "cni0", "10.244.0.1/24", "fd44::1/64");
    for (const char* pod : {"p", "q"}) {
      std::string host = absl::StrCat("v", pod), n = *pod == 'p' ? "2" : "3";
      Run(absl::StrCat("ip link add ", host, " type veth peer name eth0 netns ", Ns(pod), " && ip link set ", host,
                       " master cni0 up"));
      Addresses(in(pod), "eth0", absl::StrCat("10.244.0.", n, "/24"), absl::StrCat("fd44::", n, "/64"));
      Run(absl::StrCat(in(pod), " route add default via 10.244.0.1 && ", in(pod), " -6 route add default via fd44::1"));
    }
    Run(absl::StrCat("ip link add r0 type veth peer name eth0 netns ", Ns("r")));
    Addresses("ip", "r0", "10.0.0.1/24", "fd0a::1/64");
    Addresses(in("r"), "eth0", "10.0.0.2/24", "fd0a::2/64");
    Run(absl::StrCat(in("r"), " link add vs type veth peer name eth0 netns ", Ns("s")));
    Addresses(in("r"), "vs", "10.244.1.1/24", "fd45::1/64");
    Addresses(in("s"), "eth0", "10.244.1.2/24", "fd45::2/64");
    Run(absl::StrCat("ip route add 10.244.1.0/24 via 10.0.0.2 && ip -6 route add fd45::/64 via fd0a::2 && ", in("r"),
                     " route add 10.244.0.0/24 via 10.0.0.1 && ", in("r"), " -6 route add fd44::/64 via fd0a::1 && ",
                     in("s"), " route add default via 10.244.1.1 && ", in("s"), " -6 route add default via fd45::1 && ",
                     in("c"), " route add default via 192.0.2.1 && ", in("c"), " -6 route add default via fd02::1"));
  }

  static Address PodAddress(const std::string& pod, Family family) {
    if (family == Family::kIPv4) return A(pod == "p" ? "10.244.0.2" : pod == "q" ? "10.244.0.3" : "10.244.1.2");
    return A(pod == "p" ? "fd44::2" : pod == "q" ? "fd44::3" : "fd45::2");
  }
  static ServiceChange Make(const TestService& s) {
    ServiceDigest digest;
    digest.ports = {{"p", s.port, s.node_port, s.protocol}};
    std::string n = absl::StrCat(s.number);
    digest.cluster_ips = {A("10.96.0." + n), A("fd96::" + n)};
    digest.external_ips = {A("198.51.100." + n), A("fd98::" + n)};
    digest.load_balancer_ips = {A("203.0.113." + n), A("fdb0::" + n)};
    for (const std::string& range : s.source_ranges) digest.source_ranges.push_back(*ParsePrefix(range));
    digest.external_local = s.external_local;
    digest.internal_local = s.internal_local;
    digest.affinity_seconds = s.affinity;
    std::vector<SliceDigest> slices;
    for (Family family : {Family::kIPv4, Family::kIPv6}) {
      SliceDigest slice{.service = s.name, .family = family, .ports = {{"p", kEndpointPort, s.protocol}}};
      for (const std::string& pod : s.endpoints) {
        uint8_t flags = pod == "p" ? s.p_flags : kReady | kServing, local = pod == "s" ? 0 : kLocal;
        slice.endpoints.push_back({.address = PodAddress(pod, family), .flags = static_cast<uint8_t>(flags | local)});
      }
      slices.push_back(std::move(slice));
    }
    return {s.name, Build(digest, std::vector<const SliceDigest*>{&slices[0], &slices[1]}, {.name = "n", .zone = ""})};
  }
  void ApplyAll(const std::vector<TestService>& services) {
    std::vector<ServiceChange> all;
    for (const TestService& s : services) all.push_back(Make(s));
    auto result = reconciler_->ApplyAll(all);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(data_path_->Attach().ok());
  }

  template <typename F>
  static auto InThread(std::string_view ns, F f) {
    decltype(f()) out;
    std::thread([&] {
      Fd fd(open(absl::StrCat("/run/netns/", Ns(ns)).c_str(), O_RDONLY | O_CLOEXEC));
      EXPECT_EQ(setns(fd.get(), CLONE_NEWNET), 0);
      out = f();
    }).join();
    return out;
  }
  // Servers that say their pod's name and whom they see, in both families, on the endpoints' port.
  void Serve(const std::vector<std::string>& pods, int type) {
    for (const std::string& pod : pods) {
      for (Family family : {Family::kIPv4, Family::kIPv6}) {
        servers_.push_back(InThread(pod, [&] {
          return std::make_unique<Backend>(pod, FormatAddress(PodAddress(pod, family)), kEndpointPort, type, true);
        }));
      }
    }
  }

  struct Client {
    std::string ns;  // "": the node itself
    bool hooked;
    std::string Name() const { return absl::StrCat(ns.empty() ? "node" : ns, hooked ? " by sockets" : " by packets"); }
  };
  // Runs `f` in a process of its own, there; gives what it returns.
  template <typename F>
  std::string As(const Client& client, F f) {
    int pipes[2];
    EXPECT_EQ(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
      close(pipes[0]);
      std::string out = "cannot enter";
      bool entered = !client.hooked || Enter(hooked_);
      if (entered && !client.ns.empty()) {
        Fd fd(open(absl::StrCat("/run/netns/", Ns(client.ns)).c_str(), O_RDONLY | O_CLOEXEC));
        entered = setns(fd.get(), CLONE_NEWNET) == 0;
      }
      if (entered) out = f();
      (void)!write(pipes[1], out.data(), out.size());
      _exit(0);
    }
    close(pipes[1]);
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = read(pipes[0], buffer, sizeof(buffer))) > 0;) out.append(buffer, static_cast<size_t>(n));
    close(pipes[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return out;
  }
  // Whether a connection, or a datagram, is left without any answer.
  bool IsDropped(const Client& client, const std::string& ip, uint16_t port, uint8_t protocol) {
    return As(client, [&] {
             Sockaddr to = Sockaddr::Of(ip, port);
             Fd fd(
                 socket(to.storage.ss_family, (protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
             timeval timeout = {0, 150000};
             setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
             setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
             if (connect(fd.get(), to.get(), to.size) != 0) return errno == EINPROGRESS ? "dropped" : strerror(errno);
             char c;
             if (protocol == IPPROTO_TCP || send(fd.get(), "x", 1, 0) != 1) return "not dropped";
             return recv(fd.get(), &c, 1, 0) < 0 && errno == EAGAIN ? "dropped" : "answered";
           }) == "dropped";
  }
  // Every answer that `tries` connections or datagrams get, sorted, each once, joined by "; ".
  std::string Ask(const Client& client, const std::string& ip, uint16_t port, uint8_t protocol, int tries = 1) {
    return As(client, [&] {
      std::set<std::string> seen;
      for (int i = 0; i < tries; i++) {
        if (protocol == IPPROTO_TCP) {
          seen.insert(TcpOnce(ip, port));
          continue;
        }
        Sockaddr to = Sockaddr::Of(ip, port);
        Fd fd(socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (connect(fd.get(), to.get(), to.size) != 0) {
          seen.insert(absl::StrCat("connect: ", strerror(errno)));
          continue;
        }
        (void)!send(fd.get(), "x", 1, 0);
        std::string name = ReadName(fd.get());
        Sockaddr peer;
        getpeername(fd.get(), peer.get(), &peer.size);
        seen.insert(name.starts_with("recv: ") ? "connect: " + name.substr(6) : absl::StrCat(name, " ", peer.Text()));
      }
      return absl::StrJoin(seen, "; ");
    });
  }

  std::string hooked_;
  skiff_settings settings_ = {};
  std::vector<std::string> namespaces_;
  std::vector<std::unique_ptr<Backend>> servers_;
  std::unique_ptr<DataPath> data_path_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<PacketPath> packets_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_NODES_TESTING_H_
