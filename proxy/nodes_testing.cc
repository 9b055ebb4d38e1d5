#include "proxy/nodes_testing.h"

#include <sys/wait.h>

namespace skiff::proxy {

void NodesTest::SetUp() {
  if (!skip_.empty()) GTEST_SKIP() << skip_;
  if (system("ip -V >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs iproute2";
  hooked_ = cgroup_ + "/hooked";
  mkdir(hooked_.c_str(), 0755);
  MakeNetwork();
  Load();
}

void NodesTest::TearDown() {
  if (!skip_.empty()) return;
  servers_.clear();
  EXPECT_TRUE(RemoveDataPath({.dir = dir_, .cgroup = hooked_}).ok());
  rmdir(hooked_.c_str());
  // By name, as what goes with its namespace goes late, and the next test wants the names.
  Run("for d in c0 r0 vp vq; do ip link del $d || exit 1; done");
  for (const std::string& ns : namespaces_) Run(absl::StrCat("ip netns del ", ns));
  Run("ip link del cni0");
}

void NodesTest::Load() {
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

void NodesTest::Attach() {
  auto devices = FindDevices({.only = {"c0", "r0"}, .pods = true, .node = {A("192.0.2.1"), A("fd02::1")}});
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_EQ(devices->size(), 4u);
  Status status = packets_->Update(*devices);
  ASSERT_TRUE(status.ok()) << status;
}

void NodesTest::MakeNamespace(std::string_view name) {
  std::string ns = Ns(name);
  namespaces_.push_back(ns);
  Run(absl::StrCat("ip netns add ", ns, " && ip netns exec ", ns, " ", kSysctls, " && ip -n ", ns, " link set lo up"));
}

void NodesTest::Addresses(const std::string& ip, const std::string& device, const std::string& v4,
                          const std::string& v6) {
  Run(absl::StrCat(ip, " addr add ", v4, " dev ", device, " && ", ip, " addr add ", v6, " dev ", device, " nodad && ",
                   ip, " link set ", device, " up"));
}

void NodesTest::MakeNetwork() {
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

Address NodesTest::PodAddress(const std::string& pod, Family family) {
  if (family == Family::kIPv4) return A(pod == "p" ? "10.244.0.2" : pod == "q" ? "10.244.0.3" : "10.244.1.2");
  return A(pod == "p" ? "fd44::2" : pod == "q" ? "fd44::3" : "fd45::2");
}

ServiceChange NodesTest::Make(const TestService& s) {
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

void NodesTest::ApplyAll(const std::vector<TestService>& services) {
  std::vector<ServiceChange> all;
  for (const TestService& s : services) all.push_back(Make(s));
  auto result = reconciler_->ApplyAll(all);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(data_path_->Attach().ok());
}

void NodesTest::Serve(const std::vector<std::string>& pods, int type) {
  for (const std::string& pod : pods) {
    for (Family family : {Family::kIPv4, Family::kIPv6}) {
      servers_.push_back(InThread(pod, [&] {
        return std::make_unique<Backend>(pod, FormatAddress(PodAddress(pod, family)), kEndpointPort, type, true);
      }));
    }
  }
}

std::string NodesTest::As(const Client& client, const std::function<std::string()>& f) {
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

bool NodesTest::IsDropped(const Client& client, const std::string& ip, uint16_t port, uint8_t protocol) {
  return As(client, [&] {
           Sockaddr to = Sockaddr::Of(ip, port);
           Fd fd(socket(to.storage.ss_family, (protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
           timeval timeout = {0, 150000};
           setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
           setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
           if (connect(fd.get(), to.get(), to.size) != 0) return errno == EINPROGRESS ? "dropped" : strerror(errno);
           char c;
           if (protocol == IPPROTO_TCP || send(fd.get(), "x", 1, 0) != 1) return "not dropped";
           return recv(fd.get(), &c, 1, 0) < 0 && errno == EAGAIN ? "dropped" : "answered";
         }) == "dropped";
}

std::string NodesTest::Answer(const std::string& pod, const std::string& source, const std::string& ip, uint16_t port) {
  bool v6 = ip.find(':') != std::string::npos;
  auto bracket = [&](const std::string& a) { return v6 ? absl::StrCat("[", a, "]") : a; };
  return absl::StrCat(pod, " from ", bracket(source), " ", bracket(ip), ":", port);
}

std::string NodesTest::Ask(const Client& client, const std::string& ip, uint16_t port, uint8_t protocol, int tries) {
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

}  // namespace skiff::proxy
