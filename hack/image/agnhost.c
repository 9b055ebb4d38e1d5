// Stands in for upstream's multi-purpose test image in replayed recordings (command lines and answers are what the
// recordings show of it):
//
//   agnhost netexec [--http-port=8080] [--udp-port=8081]   HTTP: /hostname, /clientip, /echo?msg=, /shell?cmd=,
//       /exit?code=, /shutdown, /healthz, and the time on every other path; UDP: hostname, echo TEXT, clientip
//   agnhost liveness                                       HTTP on 8080: /healthz is 200 for ten seconds, then 500
//   agnhost grpc-health-checking [--port=5000] [--http-port=8080]   gRPC's health service, of which only the empty
//       service name is known; /make-not-serving and /make-serving over HTTP turn it
//   agnhost pause
//
// netexec and grpc-health-checking begin to listen a quarter of a second late, as a large program does, so that what
// probes a container at once finds nobody. As the first process of its container a Go program without a handler ends on
// SIGTERM with 2: so does this.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct timespec started;
static volatile int serving = 1;
static int liveness;

static void on_term(int signal) {
  (void)signal;
  _exit(2);
}

static double since_start(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - started.tv_sec) + (double)(now.tv_nsec - started.tv_nsec) / 1e9;
}

static int send_all(int fd, const void* data, size_t n) {
  const char* at = data;
  while (n > 0) {
    ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
    if (sent <= 0) return -1;
    at += sent;
    n -= (size_t)sent;
  }
  return 0;
}

static int read_all(int fd, void* to, size_t n) {
  char* at = to;
  while (n > 0) {
    ssize_t got = recv(fd, at, n, 0);
    if (got <= 0) return -1;
    at += got;
    n -= (size_t)got;
  }
  return 0;
}

static int listen_on(int type, int port) {
  int fd = socket(AF_INET6, type, 0), one = 1, zero = 0;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  if (fd < 0 || bind(fd, (struct sockaddr*)&address, sizeof address) != 0 ||
      (type == SOCK_STREAM && listen(fd, 64) != 0)) {
    perror("listen");
    exit(1);
  }
  return fd;
}

static void peer_name(const struct sockaddr_in6* from, char* text, size_t size) {
  char host[INET6_ADDRSTRLEN];
  if (IN6_IS_ADDR_V4MAPPED(&from->sin6_addr)) {
    inet_ntop(AF_INET, &from->sin6_addr.s6_addr[12], host, sizeof host);
    snprintf(text, size, "%s:%d", host, ntohs(from->sin6_port));
  } else {
    inet_ntop(AF_INET6, &from->sin6_addr, host, sizeof host);
    snprintf(text, size, "[%s]:%d", host, ntohs(from->sin6_port));
  }
}

// The value of a query's parameter, %XX and + undone; "" when there is none.
static void parameter(const char* query, const char* name, char* out, size_t size) {
  size_t n = strlen(name), used = 0;
  out[0] = 0;
  for (const char* at = query; at != NULL; at = strchr(at, '&')) {
    if (*at == '&') at++;
    if (strncmp(at, name, n) != 0 || at[n] != '=') continue;
    for (at += n + 1; *at && *at != '&' && used + 1 < size; at++) {
      unsigned byte;
      if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1) {
        out[used++] = (char)byte;
        at += 2;
      } else {
        out[used++] = *at == '+' ? ' ' : *at;
      }
    }
    out[used] = 0;
    return;
  }
}

static void run_shell(const char* command, char* body, size_t size) {
  char output[4096] = "";
  FILE* pipe = popen(command, "r");
  size_t n = pipe ? fread(output, 1, sizeof output - 1, pipe) : 0;
  output[n] = 0;
  int status = pipe ? pclose(pipe) : -1;
  size_t used = (size_t)snprintf(body, size, "{%s\"output\":\"", status ? "\"error\":\"the command failed\"," : "");
  for (size_t i = 0; i < n && used + 8 < size; i++) {
    if (output[i] == '\n') {
      used += (size_t)snprintf(body + used, size - used, "\\n");
    } else {
      if (output[i] == '"' || output[i] == '\\') body[used++] = '\\';
      body[used++] = output[i];
    }
  }
  snprintf(body + used, size - used, "\"}");
}

// Fills the answer's body; returns its status.
static int answer(char* target, const struct sockaddr_in6* from, char* body, size_t size) {
  char value[2048];
  char* query = strchr(target, '?');
  if (query) *query++ = 0;
  body[0] = 0;
  if (liveness) {
    if (strcmp(target, "/healthz") != 0) return 404;
    if (since_start() > 10) {
      snprintf(body, size, "error: %fs", since_start());
      return 500;
    }
    snprintf(body, size, "ok");
    return 200;
  }
  if (strcasecmp(target, "/hostname") == 0) {
    gethostname(body, size);
  } else if (strcmp(target, "/clientip") == 0) {
    peer_name(from, body, size);
  } else if (strcmp(target, "/echo") == 0) {
    parameter(query, "msg", body, size);
    parameter(query, "code", value, sizeof value);
    if (value[0]) return atoi(value);
  } else if (strcmp(target, "/shell") == 0) {
    parameter(query, "cmd", value, sizeof value);
    run_shell(value, body, size);
  } else if (strcmp(target, "/exit") == 0) {
    parameter(query, "code", value, sizeof value);
    exit(atoi(value));
  } else if (strcmp(target, "/shutdown") == 0) {
    exit(0);
  } else if (strcmp(target, "/make-not-serving") == 0 || strcmp(target, "/make-serving") == 0) {
    serving = strcmp(target, "/make-serving") == 0;
  } else if (strcmp(target, "/healthz") != 0) {
    struct tm now;
    time_t seconds = time(NULL);
    strftime(body, size, "NOW: %Y-%m-%d %H:%M:%S +0000 UTC", gmtime_r(&seconds, &now));
  }
  return 200;
}

struct client {
  int fd;
  struct sockaddr_in6 from;
};

static void* serve_http(void* argument) {
  struct client c = *(struct client*)argument;
  free(argument);
  char request[8192], body[8192], head[256], target[2048];
  size_t used = 0;
  for (;;) {
    ssize_t got = recv(c.fd, request + used, sizeof request - 1 - used, 0);
    if (got <= 0) break;
    used += (size_t)got;
    request[used] = 0;
    if ((unsigned char)request[0] == 0x16) {  // a TLS greeting, answered as Go's server does
      const char* no =
          "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad "
          "Request";
      send_all(c.fd, no, strlen(no));
      break;
    }
    if (!strstr(request, "\r\n\r\n")) {
      if (used == sizeof request - 1) break;
      continue;
    }
    if (sscanf(request, "%*s %2047s", target) != 1) break;
    int status = answer(target, &c.from, body, sizeof body);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                     status,
                     status == 200   ? "OK"
                     : status == 404 ? "Not Found"
                                     : "Internal Server Error",
                     strlen(body));
    if (send_all(c.fd, head, (size_t)n) == 0) send_all(c.fd, body, strlen(body));
    break;
  }
  close(c.fd);
  return NULL;
}

// --- gRPC: one unary call a stream, header blocks written without compression and not looked at when read
// ----------------

enum { kData = 0, kHeaders = 1, kSettings = 4, kPing = 6, kGoAway = 7, kEndStream = 1, kAck = 1, kEndHeaders = 4 };

static int send_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const void* payload, size_t n) {
  uint8_t head[9] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags};
  stream = htonl(stream);
  memcpy(head + 5, &stream, 4);
  return send_all(fd, head, sizeof head) || send_all(fd, payload, n);
}

static size_t header(uint8_t* to, const char* name, const char* value) {
  size_t n = 0;
  to[n++] = 0;  // literal, not indexed
  to[n++] = (uint8_t)strlen(name);
  memcpy(to + n, name, strlen(name));
  n += strlen(name);
  to[n++] = (uint8_t)strlen(value);
  memcpy(to + n, value, strlen(value));
  return n + strlen(value);
}

static int answer_health(int fd, uint32_t stream, const uint8_t* message, size_t n) {
  uint8_t block[256];
  size_t used = 1;
  block[0] = 0x88;  // :status 200
  used += header(block + used, "content-type", "application/grpc");
  const int known = n <= 5 || message[5] != 0x0a || message[6] == 0;  // field 1, the service's name, is absent or empty
  if (!known) {
    used += header(block + used, "grpc-status", "5");
    used += header(block + used, "grpc-message", "unknown service");
    return send_frame(fd, kHeaders, kEndHeaders | kEndStream, stream, block, used);
  }
  const uint8_t data[] = {0, 0, 0, 0, 2, 0x08, serving ? 1 : 2};
  if (send_frame(fd, kHeaders, kEndHeaders, stream, block, used) || send_frame(fd, kData, 0, stream, data, sizeof data))
    return -1;
  used = header(block, "grpc-status", "0");
  return send_frame(fd, kHeaders, kEndHeaders | kEndStream, stream, block, used);
}

static void* serve_grpc(void* argument) {
  struct client c = *(struct client*)argument;
  free(argument);
  uint8_t head[24], payload[16384];
  int bad = read_all(c.fd, head, 24) || send_frame(c.fd, kSettings, 0, 0, NULL, 0);
  while (!bad && read_all(c.fd, head, 9) == 0) {
    size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    uint32_t stream;
    memcpy(&stream, head + 5, 4);
    stream = ntohl(stream) & 0x7fffffff;
    if (n > sizeof payload || read_all(c.fd, payload, n) != 0) break;
    const uint8_t type = head[3], flags = head[4];
    if (type == kSettings && !(flags & kAck)) bad = send_frame(c.fd, kSettings, kAck, 0, NULL, 0);
    if (type == kPing && !(flags & kAck)) bad = send_frame(c.fd, kPing, kAck, 0, payload, n);
    if (type == kData && n > 0) bad = answer_health(c.fd, stream, payload, n);
    if (type == kGoAway) break;
  }
  close(c.fd);
  return NULL;
}

struct server {
  int port;
  void* (*serve)(void*);
};

static void* accept_on(void* argument) {
  struct server* s = argument;
  int fd = listen_on(SOCK_STREAM, s->port);
  for (;;) {
    struct client* c = calloc(1, sizeof *c);
    socklen_t length = sizeof c->from;
    c->fd = accept(fd, (struct sockaddr*)&c->from, &length);
    pthread_t thread;
    if (c->fd < 0 || pthread_create(&thread, NULL, s->serve, c) != 0) {
      free(c);
      continue;
    }
    pthread_detach(thread);
  }
  return NULL;
}

static void serve_udp(int port) {
  int fd = listen_on(SOCK_DGRAM, port);
  for (;;) {
    char text[2048], reply[2048] = "";
    struct sockaddr_in6 from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, text, sizeof text - 1, 0, (struct sockaddr*)&from, &length);
    if (n < 0) continue;
    text[n] = 0;
    if (strncasecmp(text, "hostname", 8) == 0) gethostname(reply, sizeof reply - 1);
    if (strncmp(text, "echo ", 5) == 0) snprintf(reply, sizeof reply, "%s", text + 5);
    if (strncmp(text, "clientip", 8) == 0) peer_name(&from, reply, sizeof reply);
    sendto(fd, reply, strlen(reply), 0, (struct sockaddr*)&from, length);
  }
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "pause";
  int http_port = 8080, udp_port = 8081, port = 5000;
  for (int i = 2; i < argc; i++) {
    if (sscanf(argv[i], "--http-port=%d", &http_port) != 1 && sscanf(argv[i], "--udp-port=%d", &udp_port) != 1 &&
        sscanf(argv[i], "--port=%d", &port) != 1) {
      fprintf(stderr, "unknown argument: %s\n", argv[i]);
      return 2;
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &started);
  struct sigaction end = {.sa_handler = on_term};
  sigaction(SIGTERM, &end, NULL);
  sigaction(SIGINT, &end, NULL);
  if (strcmp(what, "pause") == 0) {
    for (;;) pause();
  }
  if (strcmp(what, "liveness") != 0) usleep(250000);
  struct server http = {http_port, serve_http}, grpc = {port, serve_grpc};
  pthread_t thread;
  if (strcmp(what, "netexec") == 0) {
    pthread_create(&thread, NULL, accept_on, &http);
    serve_udp(udp_port);
  } else if (strcmp(what, "liveness") == 0) {
    liveness = 1;
    accept_on(&http);
  } else if (strcmp(what, "grpc-health-checking") == 0) {
    pthread_create(&thread, NULL, accept_on, &http);
    accept_on(&grpc);
  }
  fprintf(stderr, "unknown command: %s\n", what);
  return 2;
}
