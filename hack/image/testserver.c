// The server of the test image: a small HTTP/1.1 and UDP server to stand behind Services.
//
//   testserver [-p PORT] [-d SECONDS] [-l SECONDS]
//     GET /            the pod's name (its host name) and a newline
//     GET /hostname    the same without newline
//     GET /version     $VERSION
//     GET /healthz     200; after -l seconds 500
//     GET /exit?code=N ends the process with N
//     GET /hold        keeps the connection and writes a line a second
//   UDP on the same port echoes the host name.
// After SIGTERM it serves on for -d seconds (default 3), closing kept-alive connections, so that a rolling update
// loses no request while endpoints are withdrawn.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kMaxConnections = 900, kRequestBytes = 8192 };

struct connection {
  int fd;
  size_t used;
  int hold;  // writes a line a second instead of reading requests
  time_t next;
  char request[kRequestBytes];
};

static struct connection* connections[kMaxConnections];
static volatile sig_atomic_t terminating;
static char name[256];
static time_t started, live_for;

static void on_term(int signal) {
  (void)signal;
  terminating = 1;
}

static int send_all(int fd, const char* data, size_t n) {
  while (n > 0) {
    ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return -1;
    data += sent;
    n -= (size_t)sent;
  }
  return 0;
}

static int answer(int fd, int status, const char* body, int keep) {
  char text[1024];
  int n =
      snprintf(text, sizeof text,
               "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s", status,
               status == 200   ? "OK"
               : status == 404 ? "Not Found"
                               : "Internal Server Error",
               strlen(body), keep ? "keep-alive" : "close", body);
  return send_all(fd, text, (size_t)n);
}

// Handles one complete request; returns 0 to keep the connection.
static int handle(struct connection* c) {
  char path[512] = "";
  sscanf(c->request, "%*s %511s", path);
  const int keep = !terminating && strcasestr(c->request, "connection: close") == NULL &&
                   strstr(c->request, " HTTP/1.0\r\n") == NULL;
  char body[512];
  int status = 200;
  if (strcmp(path, "/") == 0) {
    snprintf(body, sizeof body, "%s\n", name);
  } else if (strncmp(path, "/hostname", 9) == 0) {
    snprintf(body, sizeof body, "%s", name);
  } else if (strcmp(path, "/version") == 0) {
    snprintf(body, sizeof body, "%s\n", getenv("VERSION") ? getenv("VERSION") : "");
  } else if (strcmp(path, "/healthz") == 0) {
    if (live_for && time(NULL) - started > live_for) status = 500;
    snprintf(body, sizeof body, status == 200 ? "ok" : "error: %ld", (long)(time(NULL) - started));
  } else if (strncmp(path, "/exit", 5) == 0) {
    const char* code = strstr(path, "code=");
    exit(code ? atoi(code + 5) : 0);
  } else if (strcmp(path, "/hold") == 0) {
    c->hold = 1;
    c->next = time(NULL);
    const char* head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
    return send_all(c->fd, head, strlen(head));
  } else {
    status = 404;
    snprintf(body, sizeof body, "404 page not found\n");
  }
  return answer(c->fd, status, body, keep) != 0 || !keep;
}

static int read_requests(struct connection* c) {
  ssize_t n = recv(c->fd, c->request + c->used, kRequestBytes - 1 - c->used, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) return -1;
  c->used += (size_t)n;
  c->request[c->used] = 0;
  char* end;
  while (!c->hold && (end = strstr(c->request, "\r\n\r\n")) != NULL) {
    if (handle(c) != 0) return -1;
    const size_t rest = c->used - (size_t)(end + 4 - c->request);
    memmove(c->request, end + 4, rest + 1);
    c->used = rest;
  }
  return c->used == kRequestBytes - 1 ? -1 : 0;
}

static int listen_on(int type, int port) {
  int fd = socket(AF_INET6, type, 0);
  int one = 1, zero = 0;
  if (fd < 0) {
    perror("socket");
    exit(1);
  }
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
  if (bind(fd, (struct sockaddr*)&address, sizeof address) != 0 || (type == SOCK_STREAM && listen(fd, 512) != 0)) {
    perror("bind");
    exit(1);
  }
  return fd;
}

int main(int argc, char** argv) {
  int port = 8080, drain = 3, option;
  while ((option = getopt(argc, argv, "p:d:l:")) != -1) {
    if (option == 'p')
      port = atoi(optarg);
    else if (option == 'd')
      drain = atoi(optarg);
    else if (option == 'l')
      live_for = atoi(optarg);
    else
      return 2;
  }
  gethostname(name, sizeof name - 1);
  started = time(NULL);
  struct sigaction action = {.sa_handler = on_term};
  sigaction(SIGTERM, &action, NULL);
  const int tcp = listen_on(SOCK_STREAM, port), udp = listen_on(SOCK_DGRAM, port);
  printf("%s serving on port %d\n", name, port);
  fflush(stdout);
  time_t until = 0;
  for (;;) {
    if (terminating && !until) {
      until = time(NULL) + drain;
      printf("%s terminating\n", name);
      fflush(stdout);
    }
    if (until && time(NULL) >= until) return 0;
    struct pollfd polls[kMaxConnections + 2];
    int index[kMaxConnections + 2], n = 0, free_slot = -1;
    polls[n++] = (struct pollfd){.fd = udp, .events = POLLIN};
    for (int i = 0; i < kMaxConnections; i++) {
      if (!connections[i]) {
        free_slot = i;
        continue;
      }
      index[n] = i;
      polls[n++] = (struct pollfd){.fd = connections[i]->fd, .events = POLLIN};
    }
    if (free_slot >= 0) polls[n] = (struct pollfd){.fd = tcp, .events = POLLIN};
    if (poll(polls, (nfds_t)(n + (free_slot >= 0)), 200) < 0) continue;
    if (polls[0].revents) {
      char data[2048];
      struct sockaddr_in6 from;
      socklen_t length = sizeof from;
      if (recvfrom(udp, data, sizeof data, MSG_DONTWAIT, (struct sockaddr*)&from, &length) >= 0)
        sendto(udp, name, strlen(name), MSG_DONTWAIT, (struct sockaddr*)&from, length);
    }
    for (int i = 1; i < n; i++) {
      struct connection* c = connections[index[i]];
      int gone = polls[i].revents ? read_requests(c) : 0;
      if (!gone && c->hold && time(NULL) >= c->next) {
        char line[300];
        c->next = time(NULL) + 1;
        gone = send_all(c->fd, line, (size_t)snprintf(line, sizeof line, "%s %ld\n", name, (long)c->next));
      }
      if (gone) {
        close(c->fd);
        free(c);
        connections[index[i]] = NULL;
      }
    }
    if (free_slot >= 0 && polls[n].revents) {
      int fd = accept4(tcp, NULL, NULL, SOCK_CLOEXEC);
      int one = 1;
      struct connection* c = fd >= 0 ? calloc(1, sizeof *c) : NULL;
      if (!c) continue;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      c->fd = fd;
      connections[free_slot] = c;
    }
  }
}
