// For measurements of the data path: a TCP server and a client whose work is connections. No part of Skiff is linked.
//
//   kube-proxy-bench-load serve PORT                     echoes; a 'T' as the first byte asks for bytes without end
//   kube-proxy-bench-load connect IP PORT SECONDS        connect, 1 byte there and back, close
//   kube-proxy-bench-load request IP PORT SECONDS        the same over one connection
//   kube-proxy-bench-load stream IP PORT SECONDS         takes bytes; what is counted are MiB
//   kube-proxy-bench-load until IP PORT BYTE             connects until the server answers BYTE; prints nanoseconds
//                                                        since a line came on standard input, and CLOCK_MONOTONIC's
// The first three print one JSON object: "count", "seconds", "p50" and "p99" in microseconds, "failed", and "cpu", the
// nanoseconds of processor time of client and server together, the kernel's on their behalf included. The server
// answers every byte with the one in the environment variable BYTE ("x"), and a 'C' with its processor time.
// With BENCH_CPU set server and client stay on that CPU.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

int64_t ProcessorTime() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

sockaddr_in Target(char** argv) {
  sockaddr_in out = {};
  out.sin_family = AF_INET;
  inet_pton(AF_INET, argv[2], &out.sin_addr);
  out.sin_port = htons(static_cast<uint16_t>(atoi(argv[3])));
  return out;
}

int Connect(const sockaddr_in& to) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval limit{.tv_sec = 2, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) return fd;
  close(fd);
  return -1;
}

// No TIME_WAIT: the ports of one client address are not what is measured.
void Reset(int fd) {
  linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

bool Exchange(int fd, char* answer) {
  char byte = 'e';
  return send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, answer, 1, 0) == 1;
}

int Serve(int port) {
  const char* env = getenv("BYTE");
  char answer = env != nullptr ? env[0] : 'x';
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_in any = {};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0 || listen(listener, 4096) != 0) {
    perror("listen");
    return 1;
  }
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {.events = EPOLLIN, .data = {.fd = listener}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  std::vector<epoll_event> events(256);
  for (;;) {
    int n = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < n; i++) {
      int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == listener) {
        int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (accepted < 0) continue;
        epoll_event in = {.events = EPOLLIN, .data = {.fd = accepted}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &in);
        continue;
      }
      char buffer[4096];
      ssize_t got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
      if (got <= 0) {
        close(fd);
      } else if (buffer[0] == 'C') {
        int64_t used = ProcessorTime();
        (void)!send(fd, &used, sizeof(used), MSG_NOSIGNAL);
      } else if (buffer[0] == 'T') {
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
        std::thread([fd] {
          std::vector<char> bytes(1 << 17, 'x');
          while (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
          }
          close(fd);
        }).detach();
      } else {
        std::memset(buffer, answer, static_cast<size_t>(got));
        (void)!send(fd, buffer, static_cast<size_t>(got), MSG_NOSIGNAL);
      }
    }
  }
}

// Of this process and of the server.
int64_t ProcessorTimes(const sockaddr_in& to) {
  int64_t server = 0;
  int fd = Connect(to);
  bool good = fd >= 0 && send(fd, "C", 1, MSG_NOSIGNAL) == 1 &&
              recv(fd, &server, sizeof(server), MSG_WAITALL) == sizeof(server);
  if (fd >= 0) Reset(fd);
  return good ? server + ProcessorTime() : 0;
}

int Measure(const sockaddr_in& to, double seconds, bool connect_each) {
  std::vector<double> took;
  int failed = 0, fd = -1;
  int64_t used = ProcessorTimes(to);
  Clock::time_point begin = Clock::now();
  while (Since(begin) < seconds) {
    Clock::time_point one = Clock::now();
    char answer;
    if (fd < 0) fd = Connect(to);
    bool good = fd >= 0 && Exchange(fd, &answer);
    if (good)
      took.push_back(Since(one) * 1e6);
    else
      failed++;
    if (fd >= 0 && (connect_each || !good)) {
      Reset(fd);
      fd = -1;
    }
  }
  double all = Since(begin);
  used = ProcessorTimes(to) - used;
  std::sort(took.begin(), took.end());
  auto at = [&](double part) {
    return took.empty() ? 0 : took[static_cast<size_t>(part * static_cast<double>(took.size() - 1))];
  };
  printf("{\"count\": %zu, \"seconds\": %.6f, \"p50\": %.2f, \"p99\": %.2f, \"failed\": %d, \"cpu\": %lld}\n",
         took.size(), all, at(0.5), at(0.99), failed, static_cast<long long>(used));
  return 0;
}

int Stream(const sockaddr_in& to, double seconds) {
  int fd = Connect(to);
  if (fd < 0 || send(fd, "T", 1, MSG_NOSIGNAL) != 1) return 1;
  std::vector<char> buffer(1 << 18);
  double bytes = 0;
  int64_t used = ProcessorTimes(to);
  Clock::time_point begin = Clock::now();
  while (Since(begin) < seconds) {
    ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n <= 0) return 1;
    bytes += static_cast<double>(n);
  }
  double all = Since(begin);
  used = ProcessorTimes(to) - used;
  Reset(fd);
  printf("{\"count\": %.3f, \"seconds\": %.6f, \"p50\": 0, \"p99\": 0, \"failed\": 0, \"cpu\": %lld}\n",
         bytes / (1 << 20), all, static_cast<long long>(used));
  return 0;
}

int Until(const sockaddr_in& to, char want) {
  char line[16];
  printf("ready\n");
  fflush(stdout);
  if (read(0, line, sizeof(line)) <= 0) return 1;
  Clock::time_point begin = Clock::now();
  while (Since(begin) < 60) {
    int fd = Connect(to);
    char answer = 0;
    bool good = fd >= 0 && Exchange(fd, &answer) && answer == want;
    if (fd >= 0) Reset(fd);
    if (!good) continue;
    printf("%.0f %lld\n", Since(begin) * 1e9, static_cast<long long>(Clock::now().time_since_epoch().count()));
    return 0;
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  if (const char* cpu = getenv("BENCH_CPU"); cpu != nullptr) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(atoi(cpu)), &set);
    sched_setaffinity(0, sizeof(set), &set);
  }
  std::string what = argc > 2 ? argv[1] : "";
  if (what == "serve") return Serve(atoi(argv[2]));
  if (argc == 5 && what == "connect") return Measure(Target(argv), atof(argv[4]), true);
  if (argc == 5 && what == "request") return Measure(Target(argv), atof(argv[4]), false);
  if (argc == 5 && what == "stream") return Stream(Target(argv), atof(argv[4]));
  if (argc == 5 && what == "until") return Until(Target(argv), argv[4][0]);
  fprintf(stderr, "usage: %s serve PORT | connect|request|stream IP PORT SECONDS | until IP PORT BYTE\n", argv[0]);
  return 2;
}
