#include "proxy/data_path_testing.h"

#include "base/netlink.h"

namespace skiff::proxy {

Sockaddr Sockaddr::Of(std::string_view ip, uint16_t port, bool as_v6) {
  Sockaddr out;
  Address a = A(ip);
  if (FamilyOf(a) == Family::kIPv4 && !as_v6) {
    auto* in = reinterpret_cast<sockaddr_in*>(&out.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = a.word[3];
    out.size = sizeof(*in);
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    std::memcpy(&in6->sin6_addr, &a, sizeof(a));
    out.size = sizeof(*in6);
  }
  return out;
}

std::string Sockaddr::Text() const {
  char buffer[INET6_ADDRSTRLEN];
  if (storage.ss_family == AF_INET) {
    auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    return absl::StrCat(inet_ntop(AF_INET, &in->sin_addr, buffer, sizeof(buffer)), ":", ntohs(in->sin_port));
  }
  auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
  return absl::StrCat("[", inet_ntop(AF_INET6, &in6->sin6_addr, buffer, sizeof(buffer)), "]:", ntohs(in6->sin6_port));
}

Backend::Backend(std::string name, std::string_view ip, uint16_t port, int type, bool tell)
    : name_(std::move(name)), type_(type), tell_(tell) {
  Sockaddr at = Sockaddr::Of(ip, port);
  fd_ = Fd(socket(at.storage.ss_family, type | SOCK_CLOEXEC, 0));
  int one = 1;
  setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  EXPECT_EQ(bind(fd_.get(), at.get(), at.size), 0) << ip << ": " << strerror(errno);
  if (type == SOCK_STREAM) EXPECT_EQ(listen(fd_.get(), 1024), 0);
  thread_ = std::thread([this] { Run(); });
}

Backend::~Backend() {
  stop_ = true;
  thread_.join();
}

void Backend::Run() {
  std::vector<Fd> open;
  while (!stop_) {
    std::vector<pollfd> polls = {{fd_.get(), POLLIN, 0}};
    for (const Fd& fd : open) polls.push_back({fd.get(), POLLIN, 0});
    if (poll(polls.data(), polls.size(), 20) <= 0) continue;
    char buffer[65536];
    for (size_t i = polls.size(); i-- > 1;) {
      if (!polls[i].revents) continue;
      ssize_t n = read(polls[i].fd, buffer, sizeof(buffer));
      if (n <= 0)
        open.erase(open.begin() + static_cast<ssize_t>(i) - 1);
      else
        (void)!write(polls[i].fd, buffer, static_cast<size_t>(n));
    }
    if (!polls[0].revents) continue;
    if (type_ == SOCK_STREAM) {
      Sockaddr from;
      Fd fd(accept(fd_.get(), from.get(), &from.size));
      if (!fd.valid()) continue;
      std::string answer = Answer(from);
      (void)!write(fd.get(), answer.data(), answer.size());
      open.push_back(std::move(fd));
    } else {
      Sockaddr from;
      if (ssize_t n = recvfrom(fd_.get(), buffer, sizeof(buffer), 0, from.get(), &from.size); n >= 0) {
        // Large datagrams come back as they are, and may be cut on the way.
        std::string answer = n < 100 ? Answer(from) : std::string(buffer, static_cast<size_t>(n));
        int dont = 0;  // IP_PMTUDISC_DONT
        setsockopt(fd_.get(), IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof(dont));
        sendto(fd_.get(), answer.data(), answer.size(), 0, from.get(), from.size);
      }
    }
  }
}

std::string Backend::Answer(const Sockaddr& from) const {
  if (!tell_) return name_;
  std::string text = from.Text();
  return absl::StrCat(name_, " from ", text.substr(0, text.rfind(':')));
}

std::string ReadName(int fd) {
  timeval timeout = {10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  char buffer[64];
  ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
  return n < 0 ? absl::StrCat("recv: ", strerror(errno)) : std::string(buffer, static_cast<size_t>(n));
}

std::string TcpOnce(std::string_view ip, uint16_t port, bool as_v6, Fd* keep) {
  Sockaddr to = Sockaddr::Of(ip, port, as_v6);
  Fd fd(socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), to.get(), to.size) != 0) return absl::StrCat("connect: ", strerror(errno));
  Sockaddr peer;
  getpeername(fd.get(), peer.get(), &peer.size);
  std::string out = absl::StrCat(ReadName(fd.get()), " ", peer.Text());
  if (keep != nullptr) *keep = std::move(fd);
  return out;
}

std::string UdpOnce(int fd, std::string_view ip, uint16_t port, bool as_v6) {
  Sockaddr to = Sockaddr::Of(ip, port, as_v6), from;
  if (sendto(fd, "x", 1, 0, to.get(), to.size) != 1) return absl::StrCat("sendto: ", strerror(errno));
  timeval timeout = {10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  char buffer[64];
  ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0, from.get(), &from.size);
  if (n < 0) return absl::StrCat("recvfrom: ", strerror(errno));
  return absl::StrCat(std::string_view(buffer, static_cast<size_t>(n)), " ", from.Text());
}

void OwnNodeTest::SetUpTestSuite() {
  if (geteuid() != 0) {
    skip_ = "needs root";
    return;
  }
  auto cgroup = bpf::FindCgroup2();
  if (!cgroup.ok()) {
    skip_ = "no cgroup v2 hierarchy";
    return;
  }
  root_ = *cgroup;
  cgroup_ = absl::StrCat(root_, "/skiff-test-", getpid());
  if (mkdir(cgroup_.c_str(), 0755) != 0 || !Enter(cgroup_)) {
    skip_ = absl::StrCat("cannot make a cgroup: ", strerror(errno));
    return;
  }
  netns_ = Fd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (unshare(CLONE_NEWNET) != 0) {
    skip_ = absl::StrCat("cannot make a network namespace: ", strerror(errno));
    return;
  }
  auto netlink = Netlink::Open();
  ASSERT_TRUE(netlink.ok()) << netlink.status();
  auto lo = (*netlink)->LinkByName("lo");
  ASSERT_TRUE(lo.ok()) << lo.status();
  ASSERT_TRUE((*netlink)->SetUp(lo->index, true).ok());
  for (const char* ip : {"10.1.0.1", "10.1.0.2", "10.250.0.1", "fd01::1", "fd01::2"}) {
    bool v6 = strchr(ip, ':') != nullptr;
    Status s = (*netlink)->AddAddress(
        {.link = lo->index, .address = ip, .prefix = v6 ? 128 : 32, .family = v6 ? AF_INET6 : AF_INET});
    ASSERT_TRUE(s.ok()) << s;
  }
  dir_ = absl::StrCat("/tmp/skiff-bpf-", getpid());
}

void OwnNodeTest::TearDownTestSuite() {
  if (!cgroup_.empty()) {
    Enter(root_);
    rmdir(cgroup_.c_str());
  }
  if (netns_.valid()) EXPECT_EQ(setns(netns_.get(), CLONE_NEWNET), 0);
  netns_ = Fd();
}

bool OwnNodeTest::Enter(const std::string& cgroup) {
  Fd fd(open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() && write(fd.get(), "0", 1) == 1;
}

}  // namespace skiff::proxy
