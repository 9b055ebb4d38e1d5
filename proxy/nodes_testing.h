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

#include <functional>
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
  static constexpr uint8_t kTcp = IPPROTO_TCP, kUdp = IPPROTO_UDP;
  static constexpr char kRefused[] = "connect: Connection refused";

  void SetUp() override;
  void TearDown() override;

  void Load();
  void Configure(uint32_t more) {
    skiff_settings settings = settings_;
    settings.flags |= more;
    ASSERT_TRUE(data_path_->Configure(settings).ok());
  }
  void Attach();

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

  void MakeNamespace(std::string_view name);
  static void Addresses(const std::string& ip, const std::string& device, const std::string& v4, const std::string& v6);
  void MakeNetwork();

  static Address PodAddress(const std::string& pod, Family family);
  static ServiceChange Make(const TestService& s);
  void ApplyAll(const std::vector<TestService>& services);

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
  void Serve(const std::vector<std::string>& pods, int type);

  struct Client {
    std::string ns;  // "": the node itself
    bool hooked;
    std::string Name() const { return absl::StrCat(ns.empty() ? "node" : ns, hooked ? " by sockets" : " by packets"); }
  };
  // Runs `f` in a process of its own, there; gives what it returns.
  std::string As(const Client& client, const std::function<std::string()>& f);
  // Whether a connection, or a datagram, is left without any answer.
  bool IsDropped(const Client& client, const std::string& ip, uint16_t port, uint8_t protocol);
  // What a client is told: the endpoint's name, whom the endpoint sees, and the peer as the client sees it.
  static std::string Answer(const std::string& pod, const std::string& source, const std::string& ip, uint16_t port);
  // Every answer that `tries` connections or datagrams get, sorted, each once, joined by "; ".
  std::string Ask(const Client& client, const std::string& ip, uint16_t port, uint8_t protocol, int tries = 1);

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
