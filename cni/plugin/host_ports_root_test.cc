// Host ports in the real kernel: a node, its pods and a client beyond the node are network namespaces.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <map>
#include <thread>

#include <nlohmann/json.hpp>

#include "base/netlink.h"
#include "cni/plugin/host_ports.h"
#include "cni/plugin/plugin.h"
#include "cni/root_testing.h"

namespace skiff::cni {
namespace {

using nlohmann::json;

// A socket stays in the namespace where it was made.
Fd SocketIn(const Fd& netns, int domain, int type, int protocol = 0) {
  int fd = -1;
  std::thread([&] {
    if (setns(netns.get(), CLONE_NEWNET) == 0) fd = socket(domain, type | SOCK_CLOEXEC, protocol);
  }).join();
  const timeval limit{.tv_sec = 2, .tv_usec = 0};
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return Fd(fd);
}

struct At {
  At(const std::string& ip, uint16_t port) {
    const Ip parsed = *Ip::Parse(ip);
    if (parsed.v6) {
      auto* in = reinterpret_cast<sockaddr_in6*>(&storage);
      *in = {
          .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_flowinfo = 0, .sin6_addr = {}, .sin6_scope_id = 0};
      memcpy(&in->sin6_addr, parsed.bytes.data(), 16);
      size = sizeof *in;
    } else {
      auto* in = reinterpret_cast<sockaddr_in*>(&storage);
      *in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
      memcpy(&in->sin_addr, parsed.bytes.data(), 4);
      size = sizeof *in;
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  sockaddr_storage storage{};
  socklen_t size = 0;
};

class ROOT_HostPortsTest : public NftTest {
 protected:
  struct Pod {
    std::string id;
    Fd netns;
  };

  void SetUp() override {
    NftTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    client_ = NewNamespace();
    node_ = ThisNamespace();
    auto node = *Netlink::Open();
    ASSERT_TRUE(node->SetUp(node->LinkByName("lo")->index, true).ok());
    ASSERT_TRUE(node->AddVeth("up", "eth0", client_.get(), 1500).ok());
    const int up = node->LinkByName("up")->index;
    ASSERT_TRUE(node->SetUp(up, true).ok());
    ASSERT_TRUE(node->AddAddress({up, "192.0.2.1", 24, AF_INET}).ok());
    ASSERT_TRUE(node->AddAddress({up, "2001:db8::1", 64, AF_INET6}).ok());
    auto client = *Netlink::OpenIn(client_.get());
    const int eth0 = client->LinkByName("eth0")->index;
    ASSERT_TRUE(client->SetUp(eth0, true).ok());
    ASSERT_TRUE(client->AddAddress({eth0, "192.0.2.2", 24, AF_INET}).ok());
    ASSERT_TRUE(client->AddAddress({eth0, "2001:db8::2", 64, AF_INET6}).ok());
    Route way;
    way.destination = "default";
    way.gateway = "192.0.2.1";
    way.link = eth0;
    ASSERT_TRUE(client->ReplaceRoute(way).ok());
  }
  static Pod NewPod(std::string id) { return {std::move(id), NewNamespace()}; }

  Outcome Call(const char* command, const Pod& pod, json ports = nullptr, json more = json::object()) {
    const std::map<std::string, std::string> env = {
        {"CNI_COMMAND", command},
        {"CNI_CONTAINERID", pod.id},
        {"CNI_NETNS", absl::StrCat("/proc/", getpid(), "/fd/", pod.netns.get())},
        {"CNI_IFNAME", "eth0"}};
    json config = {
        {"cniVersion", "1.1.0"}, {"name", "net"}, {"ranges", {"10.9.0.0/24", "fd09::/64"}}, {"stateDir", dir_}};
    if (!ports.is_null()) config["runtimeConfig"]["portMappings"] = std::move(ports);
    config.update(more);
    return RunPlugin(
        [&](const char* name) -> const char* {
          const auto it = env.find(name);
          return it == env.end() ? nullptr : it->second.c_str();
        },
        config.dump());
  }

  static Fd Listen(const Fd& netns, uint16_t port, int type = SOCK_STREAM, const char* ip = "::") {
    const At at(ip, port);
    Fd fd = SocketIn(netns, at.family(), type);
    EXPECT_EQ(bind(fd.get(), at.get(), at.size), 0) << strerror(errno);
    if (type == SOCK_STREAM) EXPECT_EQ(listen(fd.get(), 16), 0);
    return fd;
  }
  // 0, or the errno of connecting from there.
  static int Connect(const Fd& from, const char* ip, uint16_t port) {
    const At at(ip, port);
    const Fd fd = SocketIn(from, at.family(), SOCK_STREAM);
    return connect(fd.get(), at.get(), at.size) == 0 ? 0 : errno;
  }
  // Who the next connection says it comes from; "" if there is none.
  static std::string Accepted(const Fd& listener) {
    sockaddr_in6 peer{};
    socklen_t size = sizeof peer;
    const Fd fd(accept4(listener.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
    char text[INET6_ADDRSTRLEN] = "";
    if (fd.valid()) inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text);
    return text;
  }
  static bool Waiting(const Fd& fd) {
    pollfd poll_fd{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return poll(&poll_fd, 1, 0) > 0;
  }
  static void Nft(const std::string& command) { EXPECT_EQ(system(("nft '" + command + "'").c_str()), 0) << command; }
  static bool TableIsThere() { return system("nft list table inet skiff-hostports-net >/dev/null 2>&1") == 0; }

  Fd client_, node_;
};

const json kTcp = json::array({{{"hostPort", 8080}, {"containerPort", 80}, {"protocol", "tcp"}}});

TEST_F(ROOT_HostPortsTest, AreReachedFromEverywhereAndGoWithThePod) {
  const Pod pod = NewPod("c1");
  const Outcome add = Call("ADD", pod, kTcp);
  ASSERT_EQ(add.exit_code, 0) << add.out;
  const Fd server = Listen(pod.netns, 80);

  EXPECT_EQ(Connect(client_, "192.0.2.1", 8080), 0);
  EXPECT_EQ(Accepted(server), "::ffff:192.0.2.2") << "the client keeps its address";
  EXPECT_EQ(Connect(client_, "2001:db8::1", 8080), 0);
  EXPECT_EQ(Accepted(server), "2001:db8::2");
  EXPECT_EQ(Connect(node_, "192.0.2.1", 8080), 0);
  EXPECT_EQ(Connect(node_, "127.0.0.1", 8080), 0);
  EXPECT_EQ(Connect(pod.netns, "192.0.2.1", 8080), 0) << "itself";
  EXPECT_EQ(Connect(pod.netns, "2001:db8::1", 8080), 0) << "itself";
  EXPECT_EQ(Connect(client_, "192.0.2.1", 80), ECONNREFUSED) << "the pod's own port is not the node's";

  const json result = json::parse(add.out);
  const Outcome check = Call("CHECK", pod, kTcp, {{"prevResult", result}});
  EXPECT_EQ(check.exit_code, 0) << check.out;
  Nft("flush chain inet skiff-hostports-net output");
  EXPECT_EQ(json::parse(Call("CHECK", pod, kTcp, {{"prevResult", result}}).out)["msg"],
            "chain output of table skiff-hostports-net has no rules");
  Nft("flush map inet skiff-hostports-net v4");
  const Pod other = NewPod("c2");
  ASSERT_EQ(Call("ADD", other, {{{"hostPort", 8081}, {"containerPort", 80}}}).exit_code, 0);
  EXPECT_EQ(Call("CHECK", pod, kTcp, {{"prevResult", result}}).exit_code, 0) << "the next pod puts all of it right";
  Nft("flush map inet skiff-hostports-net v4");
  EXPECT_EQ(json::parse(Call("CHECK", pod, kTcp, {{"prevResult", result}}).out)["msg"],
            "host port tcp * 8080 80 does not lead to 10.9.0.2");

  EXPECT_EQ(Call("DEL", pod).exit_code, 0) << "without the runtime's configuration: ADD remembered";
  EXPECT_EQ(Connect(client_, "192.0.2.1", 8080), ECONNREFUSED);
  EXPECT_TRUE(TableIsThere());
  EXPECT_EQ(Call("GC", other, nullptr, {{"cni.dev/valid-attachments", json::array()}}).exit_code, 0);
  EXPECT_FALSE(TableIsThere());
}

// security.md: CVE-2019-9946.
TEST_F(ROOT_HostPortsTest, HostportDestination_OnlyWhatIsAddressedToTheNodeIsTaken) {
  const Pod pod = NewPod("c1"), backend = NewPod("c2");
  ASSERT_EQ(Call("ADD", pod, kTcp).exit_code, 0);
  ASSERT_EQ(Call("ADD", backend).exit_code, 0);
  const Fd server = Listen(pod.netns, 80), service = Listen(backend.netns, 8080);

  // A Service's address beyond this node, with the same port.
  auto inside = *Netlink::OpenIn(backend.netns.get());
  ASSERT_TRUE(inside->AddAddress({inside->LinkByName("lo")->index, "203.0.113.9", 32, AF_INET}).ok());
  auto node = *Netlink::Open();
  Route way;
  way.destination = "203.0.113.9/32";
  way.gateway = "10.9.0.3";
  way.link = node->LinkByName(HostInterface({"c2", "eth0"}))->index;
  way.onlink = true;
  ASSERT_TRUE(node->ReplaceRoute(way).ok());
  EXPECT_EQ(Connect(client_, "203.0.113.9", 8080), 0);
  EXPECT_EQ(Accepted(service), "::ffff:192.0.2.2");
  EXPECT_EQ(Connect(node_, "203.0.113.9", 8080), 0);

  // A node port with the same number, as a kube-proxy would translate it, although it was there first or comes later.
  Nft("table ip proxy { chain p { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 10.9.0.3:8080; }; "
      "}");
  EXPECT_FALSE(Accepted(service).empty());
  EXPECT_EQ(Connect(client_, "192.0.2.1", 8080), 0);
  EXPECT_EQ(Accepted(service), "::ffff:192.0.2.2");
  EXPECT_FALSE(Waiting(server));
}

TEST_F(ROOT_HostPortsTest, AHostIpIsTheOnlyAddress) {
  const Pod pod = NewPod("c1"), other = NewPod("c2");
  ASSERT_EQ(Call("ADD", pod,
                 {{{"hostPort", 8080}, {"containerPort", 80}, {"hostIP", "192.0.2.1"}},
                  {{"hostPort", 8080}, {"containerPort", 80}, {"hostIP", "2001:db8::1"}}})
                .exit_code,
            0);
  ASSERT_EQ(Call("ADD", other, {{{"hostPort", 8080}, {"containerPort", 80}, {"hostIP", "127.0.0.1"}}}).exit_code, 0);
  const Fd server = Listen(pod.netns, 80), local = Listen(other.netns, 80);
  EXPECT_EQ(Connect(client_, "192.0.2.1", 8080), 0);
  EXPECT_EQ(Accepted(server), "::ffff:192.0.2.2");
  EXPECT_EQ(Connect(client_, "2001:db8::1", 8080), 0);
  EXPECT_EQ(Accepted(server), "2001:db8::2");
  EXPECT_EQ(Connect(node_, "127.0.0.1", 8080), 0);
  EXPECT_EQ(Accepted(local), "::ffff:192.0.2.1");
  EXPECT_FALSE(Waiting(server));
}

TEST_F(ROOT_HostPortsTest, TheLaterClaimHoldsUntilItGoes) {
  const Pod first = NewPod("c1"), second = NewPod("c2");
  ASSERT_EQ(Call("ADD", first, kTcp).exit_code, 0);
  ASSERT_EQ(Call("ADD", second, kTcp).exit_code, 0);
  const Fd one = Listen(first.netns, 80), two = Listen(second.netns, 80);
  EXPECT_EQ(Connect(client_, "192.0.2.1", 8080), 0);
  EXPECT_TRUE(Waiting(two));
  EXPECT_FALSE(Waiting(one));
  ASSERT_EQ(Call("DEL", second).exit_code, 0);
  EXPECT_EQ(Connect(client_, "192.0.2.1", 8080), 0);
  EXPECT_TRUE(Waiting(one));
}

// Such a client never gives conntrack a reason to look again.
TEST_F(ROOT_HostPortsTest, ConntrackUdp_AClientOfBeforeReachesThePod) {
  const At at("192.0.2.1", 5353);
  const Fd client = SocketIn(client_, AF_INET, SOCK_DGRAM);
  ASSERT_EQ(connect(client.get(), at.get(), at.size), 0);
  // Conntrack works in a namespace where somebody asks for it.
  Nft("table ip t { chain c { type filter hook input priority 0; ct state new accept; }; }");
  char byte = 0;
  ASSERT_EQ(send(client.get(), "a", 1, 0), 1);
  EXPECT_EQ(recv(client.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);

  const Pod pod = NewPod("c1"), next = NewPod("c2");
  const json udp = {{{"hostPort", 5353}, {"containerPort", 53}, {"protocol", "udp"}}};
  ASSERT_EQ(Call("ADD", pod, udp).exit_code, 0);
  const Fd server = Listen(pod.netns, 53, SOCK_DGRAM);
  ASSERT_EQ(send(client.get(), "b", 1, 0), 1);
  ASSERT_EQ(recv(server.get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'b');
  ASSERT_EQ(Call("ADD", next, udp).exit_code, 0);
  const Fd successor = Listen(next.netns, 53, SOCK_DGRAM);
  ASSERT_EQ(Call("DEL", pod).exit_code, 0);
  ASSERT_EQ(send(client.get(), "c", 1, 0), 1);
  ASSERT_EQ(recv(successor.get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'c');
}

// security.md: CVE-2020-8558, here of the pod: with route_localnet on its link only the table's guard keeps it out.
TEST_F(ROOT_HostPortsTest, LocalhostNodeport_ThePodReachesNoLoopbackAddressOfTheNode) {
  const Pod pod = NewPod("c1");
  ASSERT_EQ(Call("ADD", pod, kTcp).exit_code, 0);
  const Fd secret = Listen(node_, 9999, SOCK_DGRAM, "127.0.0.1"),
           open_to_all = Listen(node_, 9998, SOCK_DGRAM, "0.0.0.0");
  auto inside = *Netlink::OpenIn(pod.netns.get());
  const int link = inside->LinkByName("eth0")->index;
  const std::string mac = (*Netlink::Open())->LinkByName(HostInterface({"c1", "eth0"}))->mac;

  struct Frame {
    ether_header ethernet;
    iphdr ip;
    udphdr udp;
    char data;
  } __attribute__((packed));
  const Fd packet = SocketIn(pod.netns, AF_PACKET, SOCK_RAW);
  auto deliver = [&](const char* from, const char* to, uint16_t port) {
    Frame frame{};
    sscanf(mac.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &frame.ethernet.ether_dhost[0], &frame.ethernet.ether_dhost[1],
           &frame.ethernet.ether_dhost[2], &frame.ethernet.ether_dhost[3], &frame.ethernet.ether_dhost[4],
           &frame.ethernet.ether_dhost[5]);
    frame.ethernet.ether_type = htons(ETHERTYPE_IP);
    frame.ip.version = 4;
    frame.ip.ihl = 5;
    frame.ip.tot_len = htons(sizeof frame - sizeof frame.ethernet);
    frame.ip.ttl = 64;
    frame.ip.protocol = IPPROTO_UDP;
    frame.ip.saddr = inet_addr(from);
    frame.ip.daddr = inet_addr(to);
    uint32_t sum = 0;
    uint16_t words[sizeof frame.ip / 2];
    memcpy(words, &frame.ip, sizeof frame.ip);
    for (const uint16_t word : words) sum += word;
    sum = (sum & 0xffff) + (sum >> 16);
    frame.ip.check = static_cast<uint16_t>(~(sum + (sum >> 16)));
    frame.udp.source = htons(1234);
    frame.udp.dest = htons(port);
    frame.udp.len = htons(sizeof frame.udp + 1);
    frame.data = 'x';
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_ifindex = link;
    EXPECT_EQ(sendto(packet.get(), &frame, sizeof frame, 0, reinterpret_cast<sockaddr*>(&at), sizeof at),
              static_cast<ssize_t>(sizeof frame));
  };
  char byte = 0;
  deliver("10.9.0.2", "127.0.0.1", 9999);
  deliver("127.0.0.1", "192.0.2.1", 9998);
  deliver("10.9.0.2", "192.0.2.1", 9998);
  sockaddr_in from{};
  socklen_t size = sizeof from;
  ASSERT_EQ(recvfrom(open_to_all.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size), 1);
  EXPECT_EQ(from.sin_addr.s_addr, inet_addr("10.9.0.2")) << "one that says it comes from 127.0.0.1 is dropped";
  EXPECT_FALSE(Waiting(secret));
  // That the frame would have arrived without the guard.
  Nft("flush chain inet skiff-hostports-net guard");
  deliver("10.9.0.2", "127.0.0.1", 9999);
  EXPECT_EQ(recv(secret.get(), &byte, 1, 0), 1);
}

TEST_F(ROOT_HostPortsTest, OnlyPodsWithHostPortsNeedNft) {
  const std::string path = getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const Pod pod = NewPod("c1");
  const Outcome add = Call("ADD", pod);
  const Outcome del = Call("DEL", pod);
  const Outcome with = Call("ADD", pod, kTcp);
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(add.exit_code, 0) << add.out;
  EXPECT_EQ(del.exit_code, 0) << del.out;
  EXPECT_EQ(with.exit_code, 1);
  EXPECT_NE(with.out.find("host ports: run nft: "), std::string::npos) << with.out;
  const Outcome again = Call("ADD", pod, kTcp);
  EXPECT_EQ(again.exit_code, 0) << again.out;
}

}  // namespace
}  // namespace skiff::cni
