// For tests of the data path with real sockets: servers, clients, and a fixture that moves this process into a cgroup
// and a network namespace of its own, whose loopback has the endpoints' addresses.
#ifndef SKIFF_PROXY_DATA_PATH_TESTING_H_
#define SKIFF_PROXY_DATA_PATH_TESTING_H_

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "base/netlink.h"
#include "bpf/objects.h"
#include "proxy/address_testing.h"
#include "proxy/data_path.h"

namespace skiff::proxy {

struct Sockaddr {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  // `as_v6`: an IPv4 address in its mapped form.
  static Sockaddr Of(std::string_view ip, uint16_t port, bool as_v6 = false);
  std::string Text() const;
};

// Answers every TCP connection and every datagram with its name (and, if asked, " from ADDRESS"); TCP connections stay
// open and echo.
class Backend {
 public:
  Backend(std::string name, std::string_view ip, uint16_t port, int type, bool tell = false);
  ~Backend();

 private:
  void Run();

  std::string Answer(const Sockaddr& from) const;

  std::string name_;
  int type_;
  bool tell_;
  Fd fd_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

std::string ReadName(int fd);

// "name peer", or "connect: error".
std::string TcpOnce(std::string_view ip, uint16_t port, bool as_v6 = false, Fd* keep = nullptr);

// "name source", or "sendto: error".
std::string UdpOnce(int fd, std::string_view ip, uint16_t port, bool as_v6 = false);

class OwnNodeTest : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  static bool Enter(const std::string& cgroup);

  static DataPathOptions Options() { return {.dir = dir_, .cgroup = cgroup_}; }

  static inline std::string skip_, root_, cgroup_, dir_;
  static inline Fd netns_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_DATA_PATH_TESTING_H_
