#include "proxy/stale_udp.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <thread>
#include <unordered_map>

#include "absl/strings/numbers.h"
#include "base/files.h"
#include "base/log.h"
#include "bpf/objects.h"
#include "proxy/address.h"

namespace skiff::proxy {

namespace {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress ToSocketAddress(uint16_t family, const Address& address, uint16_t port) {
  SocketAddress out;
  if (family == AF_INET) {
    auto* in = reinterpret_cast<sockaddr_in*>(&out.storage);
    in->sin_family = AF_INET;
    in->sin_port = port;
    in->sin_addr.s_addr = address.word[3];
    out.size = sizeof(*in);
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = port;
    std::memcpy(&in6->sin6_addr, &address, sizeof(address));
    out.size = sizeof(*in6);
  }
  return out;
}

bool SamePeer(int fd, uint16_t family, const Address& address, uint16_t port) {
  SocketAddress have, want = ToSocketAddress(family, address, port);
  have.size = sizeof(have.storage);
  if (getpeername(fd, have.get(), &have.size) != 0) return false;  // disconnected meanwhile
  if (family == AF_INET) {
    auto* a = reinterpret_cast<sockaddr_in*>(&have.storage);
    auto* b = reinterpret_cast<sockaddr_in*>(&want.storage);
    return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
  }
  auto* a = reinterpret_cast<sockaddr_in6*>(&have.storage);
  auto* b = reinterpret_cast<sockaddr_in6*>(&want.storage);
  return a->sin6_port == b->sin6_port && std::memcmp(&a->sin6_addr, &b->sin6_addr, sizeof(in6_addr)) == 0;
}

// In the network namespace `netns`, on a thread of its own: setns moves a thread.
Status DestroyIn(int netns, const inet_diag_req_v2& request) {
  Status status;
  std::thread([&] {
    if (setns(netns, CLONE_NEWNET) != 0) {
      status = ErrnoStatus(errno, "setns");
      return;
    }
    Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!fd.valid()) {
      status = ErrnoStatus(errno, "socket NETLINK_SOCK_DIAG");
      return;
    }
    struct {
      nlmsghdr header;
      inet_diag_req_v2 request;
    } message = {};
    message.header.nlmsg_len = sizeof(message);
    message.header.nlmsg_type = SOCK_DESTROY;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    message.request = request;
    struct {
      nlmsghdr header;
      nlmsgerr error;
      char rest[256];
    } answer = {};
    if (send(fd.get(), &message, sizeof(message), 0) < 0 || recv(fd.get(), &answer, sizeof(answer), 0) < 0) {
      status = ErrnoStatus(errno, "SOCK_DESTROY");
    } else if (answer.header.nlmsg_type == NLMSG_ERROR && answer.error.error != 0) {
      status = ErrnoStatus(-answer.error.error, "SOCK_DESTROY");
    }
  }).join();
  return status;
}

Status Abort(int fd, const skiff_stale& stale, const std::string& netns_path) {
  Fd netns(open(netns_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns.valid()) return ErrnoStatus(errno, netns_path);
  SocketAddress local;
  local.size = sizeof(local.storage);
  if (getsockname(fd, local.get(), &local.size) != 0) return ErrnoStatus(errno, "getsockname");
  inet_diag_req_v2 r = {};
  r.sdiag_family = static_cast<uint8_t>(stale.family);
  r.sdiag_protocol = IPPROTO_UDP;
  r.idiag_states = ~0u;
  r.id.idiag_dport = stale.peer.backend_port;
  if (stale.family == AF_INET) {
    auto* in = reinterpret_cast<sockaddr_in*>(&local.storage);
    r.id.idiag_sport = in->sin_port;
    r.id.idiag_src[0] = in->sin_addr.s_addr;
    r.id.idiag_dst[0] = stale.peer.backend_address.word[3];
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&local.storage);
    r.id.idiag_sport = in6->sin6_port;
    std::memcpy(r.id.idiag_src, &in6->sin6_addr, sizeof(in6_addr));
    std::memcpy(r.id.idiag_dst, &stale.peer.backend_address, sizeof(in6_addr));
  }
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return ErrnoStatus(errno, "SO_COOKIE");
  r.id.idiag_cookie[0] = static_cast<uint32_t>(cookie);
  r.id.idiag_cookie[1] = static_cast<uint32_t>(cookie >> 32);
  return DestroyIn(netns.get(), r);
}

Status MoveOne(int pid, int number, const skiff_stale& stale, const std::string& proc, StaleUdpResult* result) {
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return ErrnoStatus(errno, "pidfd_open");
  Fd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), number, 0)));
  if (!fd.valid()) return ErrnoStatus(errno, "pidfd_getfd");
  const skiff_peer& peer = stale.peer;
  // The numbers may mean something else by now, and the process may have connected elsewhere.
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (getsockopt(fd.get(), SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return ErrnoStatus(errno, "SO_COOKIE");
  if (stale.cookie != 0 && cookie != stale.cookie) return absl::OkStatus();
  if (!SamePeer(fd.get(), stale.family, peer.frontend_address, peer.frontend_port)) return absl::OkStatus();
  size_t family = FamilyOf(peer.frontend_address) == Family::kIPv4 ? 0 : 1;
  SocketAddress to = ToSocketAddress(stale.family, peer.frontend_address, peer.frontend_port);
  if (connect(fd.get(), to.get(), to.size) == 0) {
    // A service that is gone altogether is no longer translated: its socket would point at the bare service address,
    // which is upstream's behaviour too.
    result->moved[family]++;
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(Abort(fd.get(), stale, absl::StrCat(proc, "/", pid, "/ns/net")));
  result->aborted[family]++;
  return absl::OkStatus();
}

struct CloseDir {
  void operator()(DIR* d) const { closedir(d); }
};
using DirHandle = std::unique_ptr<DIR, CloseDir>;

}  // namespace

StatusOr<StaleUdpResult> MoveStaleUdp(const std::string& iterator, const std::string& proc) {
  std::string bytes;
  RETURN_IF_ERROR(bpf::RunIterator(iterator, [&](std::string_view data) { bytes.append(data); }));
  std::unordered_map<uint64_t, skiff_stale> by_inode;
  for (size_t at = 0; at + sizeof(skiff_stale) <= bytes.size(); at += sizeof(skiff_stale)) {
    skiff_stale stale;
    std::memcpy(&stale, bytes.data() + at, sizeof(stale));
    if (stale.inode != 0) by_inode.emplace(stale.inode, stale);
  }
  StaleUdpResult result;
  if (by_inode.empty()) return result;

  DirHandle processes(opendir(proc.c_str()));
  if (!processes) return ErrnoStatus(errno, proc);
  while (dirent* p = readdir(processes.get())) {
    int pid = 0;
    if (by_inode.empty() || !absl::SimpleAtoi(p->d_name, &pid)) continue;
    std::string fd_dir = absl::StrCat(proc, "/", pid, "/fd");
    DirHandle fds(opendir(fd_dir.c_str()));
    if (!fds) continue;  // gone
    while (dirent* f = readdir(fds.get())) {
      char link[64];
      ssize_t n = readlinkat(dirfd(fds.get()), f->d_name, link, sizeof(link) - 1);
      if (n <= 0) continue;
      std::string_view text(link, static_cast<size_t>(n));
      uint64_t inode = 0;
      int number = 0;
      if (!text.starts_with("socket:[") || !text.ends_with("]")) continue;
      text = text.substr(8, text.size() - 9);
      if (!absl::SimpleAtoi(text, &inode) || !absl::SimpleAtoi(f->d_name, &number)) continue;
      auto it = by_inode.find(inode);
      if (it == by_inode.end()) continue;
      if (Status status = MoveOne(pid, number, it->second, proc, &result); !status.ok()) {
        result.failed++;
        LOG_ERROR(status, "Failed to move a UDP socket off a removed endpoint", {"pid", pid},
                  {"endpoint", FormatAddress(it->second.peer.backend_address)});
      }
      by_inode.erase(it);
    }
  }
  result.not_found = static_cast<int>(by_inode.size());
  return result;
}

}  // namespace skiff::proxy
