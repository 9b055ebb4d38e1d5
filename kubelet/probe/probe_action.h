// One look at a container: HTTP, TCP, gRPC or a command, and what it means in upstream's words. Each connection is
// fresh and closed with a reset, so that no TIME_WAIT sockets gather. Loop only.
#ifndef SKIFF_KUBELET_PROBE_PROBE_ACTION_H_
#define SKIFF_KUBELET_PROBE_PROBE_ACTION_H_

#include <chrono>
#include <string>

#include "base/async.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "kubelet/probe/prober.h"

namespace skiff::kubelet {

// How one attempt ended. kError: it could not be made; `text` says why.
struct ProbeOutcome {
  enum Kind { kSuccess, kWarning, kFailure, kError } kind = kSuccess;
  std::string text;
  std::string_view state = "unknown";  // of an error: the state that the event names
};

// The port of a probe or hook: a number, or the name of one of the container's ports. Errors:
// `couldn't find port: ... for ...`, `strconv.Atoi: parsing "x": invalid syntax`, "invalid port number: 0".
StatusOr<int> ResolvePort(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& port,
                          const k8s::io::api::core::v1::Container& container);

struct HttpGetResult {
  int status = 0;
  std::string body;   // the first 10 KiB
  Status body_error;  // what kept it from being read so far
};
// GETs what the action says, following redirects on the same host; the time-out covers the body. `purpose` makes the
// User-Agent ("probe" gives kube-probe/1.36, "lifecycle" kube-lifecycle/1.36). Errors in Go's words: `Get "http://...":
// dial tcp ...`. kInvalidArgument: the port does not resolve.
Task<StatusOr<HttpGetResult>> HttpGet(k8s::io::api::core::v1::HTTPGetAction action,
                                      k8s::io::api::core::v1::Container container, std::string pod_ip,
                                      std::string purpose, std::chrono::nanoseconds timeout);

Task<ProbeOutcome> ProbeHttp(k8s::io::api::core::v1::HTTPGetAction action, k8s::io::api::core::v1::Container container,
                             std::string pod_ip, std::chrono::nanoseconds timeout);
Task<ProbeOutcome> ProbeTcp(k8s::io::api::core::v1::TCPSocketAction action, k8s::io::api::core::v1::Container container,
                            std::string pod_ip, std::chrono::nanoseconds timeout);
Task<ProbeOutcome> ProbeGrpc(k8s::io::api::core::v1::GRPCAction action, std::string pod_ip,
                             std::chrono::nanoseconds timeout);
Task<ProbeOutcome> ProbeExec(ProbeHost& host, std::string container_id, k8s::io::api::core::v1::Container container,
                             std::vector<std::string> command, std::chrono::nanoseconds timeout);

// "rpc error: code = NotFound desc = ...": how upstream's gRPC shows a status.
std::string RpcErrorText(const Status& status);

// Connects, for the TCP and gRPC probes; a socket that resets when closed.
Task<StatusOr<int>> DialReset(std::string host, int port, std::chrono::nanoseconds timeout);
std::string JoinHostPort(std::string_view host, int port);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_PROBE_PROBE_ACTION_H_
