// Connected UDP sockets whose endpoint went away. The kernel runs no program for send(2) on them, so they would talk to
// nobody for ever. Each is connected again from here to the service that it believes to be connected to, through a
// duplicate of its descriptor (pidfd_getfd): the connect program picks a live endpoint, the local port stays, the
// process notices nothing. Where the service has no endpoint left the socket is aborted (SOCK_DESTROY, ECONNABORTED).
// Needs CAP_SYS_PTRACE and CAP_NET_ADMIN. Blocking, as it reads /proc/*/fd: for the thread pool.
#ifndef SKIFF_PROXY_STALE_UDP_H_
#define SKIFF_PROXY_STALE_UDP_H_

#include <string>

#include "base/status.h"

namespace skiff::proxy {

struct StaleUdpResult {
  int moved[2] = {0, 0};  // by family
  int aborted[2] = {0, 0};
  int failed = 0;     // found, and neither could be done
  int not_found = 0;  // in no process that can be seen here
};

// `iterator` is where the iterator over such sockets is pinned (DataPath::stale_udp_pin).
StatusOr<StaleUdpResult> MoveStaleUdp(const std::string& iterator, const std::string& proc = "/proc");

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_STALE_UDP_H_
