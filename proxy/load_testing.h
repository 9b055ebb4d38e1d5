// Load with verified payload, for tests of the rows terminating-endpoints and agent-kill: servers that echo, and
// clients that count whatever does not come back as it was sent.
#ifndef SKIFF_PROXY_LOAD_TESTING_H_
#define SKIFF_PROXY_LOAD_TESTING_H_

#include <poll.h>

#include <atomic>
#include <thread>

#include "proxy/data_path_testing.h"

namespace skiff::proxy {

// Echoes TCP and UDP on one address.
class Echo {
 public:
  explicit Echo(std::string_view ip) {
    Sockaddr at = Sockaddr::Of(ip, 8080);
    listener_ = Fd(socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    udp_ = Fd(socket(at.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int one = 1;
    setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    EXPECT_EQ(bind(listener_.get(), at.get(), at.size), 0) << strerror(errno);
    EXPECT_EQ(listen(listener_.get(), 1024), 0);
    EXPECT_EQ(bind(udp_.get(), at.get(), at.size), 0) << strerror(errno);
    thread_ = std::thread([this] { Run(); });
  }
  ~Echo() {
    stop_ = true;
    thread_.join();
  }
  int served() const { return served_; }

 private:
  void Run() {
    std::vector<Fd> open;
    while (!stop_) {
      std::vector<pollfd> fds = {{listener_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}};
      for (const Fd& fd : open) fds.push_back({fd.get(), POLLIN, 0});
      if (poll(fds.data(), fds.size(), 50) <= 0) continue;
      char buffer[2048];
      for (size_t i = fds.size(); i-- > 2;) {
        if (fds[i].revents == 0) continue;
        ssize_t n = recv(fds[i].fd, buffer, sizeof(buffer), 0);
        if (n <= 0) {
          open.erase(open.begin() + static_cast<long>(i) - 2);
          continue;
        }
        served_++;
        (void)!send(fds[i].fd, buffer, static_cast<size_t>(n), MSG_NOSIGNAL);
      }
      if (fds[0].revents != 0) {
        Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (fd.valid()) open.push_back(std::move(fd));
      }
      if (fds[1].revents != 0) {
        Sockaddr from;
        ssize_t n = recvfrom(udp_.get(), buffer, sizeof(buffer), 0, from.get(), &from.size);
        if (n > 0) {
          served_++;
          (void)!sendto(udp_.get(), buffer, static_cast<size_t>(n), 0, from.get(), from.size);
        }
      }
    }
  }
  Fd listener_, udp_;
  std::thread thread_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> served_ = 0;
};

// Sends numbered payloads to the service until stopped; whatever does not come back as it was is a failure.
class LoadClient {
 public:
  enum Kind { kNewConnections, kOneConnection, kUdpConnected, kUdpUnconnected };
  LoadClient(Kind kind, std::string ip, uint16_t port) : kind_(kind), ip_(std::move(ip)), port_(port) {
    thread_ = std::thread([this] {
      Run();
      failed_ = !stop_;
    });
  }
  ~LoadClient() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int done() const { return done_; }
  bool failed() const { return failed_; }
  std::string failure;  // the first; read after Stop

 private:
  Fd Open() {
    bool tcp = kind_ == kNewConnections || kind_ == kOneConnection;
    Sockaddr to = Sockaddr::Of(ip_, port_);
    Fd fd(socket(to.storage.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
    timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    linger now{.l_onoff = 1, .l_linger = 0};
    if (tcp) setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    if (kind_ != kUdpUnconnected && connect(fd.get(), to.get(), to.size) != 0) {
      failure = absl::StrCat("connect: ", strerror(errno));
      return Fd();
    }
    return fd;
  }
  void Run() {
    Fd fd;
    for (int n = 0; !stop_ && failure.empty(); n++) {
      if (!fd.valid() || kind_ == kNewConnections) fd = Open();
      if (!fd.valid()) return;
      std::string sent = absl::StrCat("payload ", n, " ", std::string(static_cast<size_t>(n % 500), 'x')), got;
      got.resize(sent.size());
      Sockaddr to = Sockaddr::Of(ip_, port_);
      ssize_t out = kind_ == kUdpUnconnected ? sendto(fd.get(), sent.data(), sent.size(), 0, to.get(), to.size)
                                             : send(fd.get(), sent.data(), sent.size(), MSG_NOSIGNAL);
      if (out != static_cast<ssize_t>(sent.size())) {
        failure = absl::StrCat("send ", n, ": ", strerror(errno));
        return;
      }
      for (size_t have = 0; have < got.size();) {
        ssize_t in = recv(fd.get(), got.data() + have, got.size() - have, 0);
        if (in <= 0) {
          failure = absl::StrCat("receive ", n, ": ", in == 0 ? "closed" : strerror(errno));
          return;
        }
        have += static_cast<size_t>(in);
      }
      if (got != sent) failure = absl::StrCat("receive ", n, ": other bytes");
      done_++;
    }
  }
  Kind kind_;
  std::string ip_;
  uint16_t port_;
  std::thread thread_;
  std::atomic<bool> stop_ = false, failed_ = false;
  std::atomic<int> done_ = 0;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_LOAD_TESTING_H_
