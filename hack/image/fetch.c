// fetch [-t SECONDS] http://ADDRESS[:PORT][/PATH]: prints the body of a 200 answer. For the test image: the static
// busybox of the distribution crashes in its resolver, even for plain addresses.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int fail(const char* what) {
  perror(what);
  return 1;
}

int main(int argc, char** argv) {
  struct timeval limit = {.tv_sec = 5};
  int option;
  while ((option = getopt(argc, argv, "t:")) != -1) {
    if (option != 't') return 2;
    limit.tv_sec = atoi(optarg);
  }
  char host[64] = "", path[1024] = "/";
  int port = 80;
  const char* url = optind < argc ? argv[optind] : "";
  if (sscanf(url, "http://%63[0-9.]:%d%1023s", host, &port, path) < 2 &&
      sscanf(url, "http://%63[0-9.]%1023s", host, path) < 1) {
    fprintf(stderr, "usage: fetch [-t SECONDS] http://ADDRESS[:PORT][/PATH]\n");
    return 2;
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  if (inet_pton(AF_INET, host, &to.sin_addr) != 1) return fail(host);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr*)&to, sizeof to) != 0) return fail("connect");
  char text[65536];
  int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
  if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) return fail("send");
  size_t used = 0;
  for (ssize_t got; used < sizeof text - 1 && (got = recv(fd, text + used, sizeof text - 1 - used, 0)) != 0;) {
    if (got < 0) return fail("receive");
    used += (size_t)got;
  }
  text[used] = 0;
  int status = 0;
  char* body = strstr(text, "\r\n\r\n");
  if (sscanf(text, "HTTP/1.%*d %d", &status) != 1 || !body) {
    fprintf(stderr, "no HTTP answer\n");
    return 1;
  }
  fwrite(body + 4, 1, used - (size_t)(body + 4 - text), status == 200 ? stdout : stderr);
  return status == 200 ? 0 : 1;
}
