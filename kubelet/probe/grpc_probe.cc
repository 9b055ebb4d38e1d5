// The gRPC health protocol (grpc.health.v1.Health/Check) over a socket that we dial ourselves: its errors are
// upstream's and it is reset when closed.
#include "base/flags.h"
#include "base/go_text.h"
#include "base/grpc_channel.h"
#include "base/program.h"
#include "kubelet/probe/probe_action.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

// A protobuf string at field 1.
std::string EncodeRequest(const std::string& service) {
  if (service.empty()) return "";
  std::string out = "\x0a";
  size_t n = service.size();
  while (n >= 0x80) {
    out.push_back(static_cast<char>(n | 0x80));
    n >>= 7;
  }
  out.push_back(static_cast<char>(n));
  return out + service;
}

// Field 1 as a varint; other fields are skipped as far as they are understood.
int DecodeStatus(std::string_view data) {
  if (data.empty()) return 0;
  if (data.size() >= 2 && data[0] == 0x08) return data[1] & 0x7f;
  return -1;
}

std::string_view StatusName(int status) {
  switch (status) {
    case 0: return "UNKNOWN";
    case 1: return "SERVING";
    case 2: return "NOT_SERVING";
    case 3: return "SERVICE_UNKNOWN";
    default: return "";
  }
}

Task<StatusOr<int>> DialUntil(std::string host, int port, std::chrono::nanoseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= 0ns) co_return absl::DeadlineExceededError("context deadline exceeded");
    auto fd = co_await DialReset(host, port, left);
    if (fd.ok() || absl::IsCancelled(fd.status())) co_return fd;
    if (absl::IsDeadlineExceeded(fd.status())) co_return fd.status();
    // As gRPC does: a refused connection is tried again after a second, until the probe's time is up.
    CO_RETURN_IF_ERROR(co_await SleepFor(std::min<std::chrono::nanoseconds>(
        1s, std::max<std::chrono::nanoseconds>(deadline - std::chrono::steady_clock::now(), 1ms))));
  }
}

}  // namespace

Task<ProbeOutcome> ProbeGrpc(k8s::io::api::core::v1::GRPCAction action, std::string pod_ip,
                             std::chrono::nanoseconds timeout) {
  const auto start = std::chrono::steady_clock::now();
  const std::string address = JoinHostPort(pod_ip, action.port());
  const auto fd = co_await DialUntil(pod_ip, action.port(), timeout);
  if (!fd.ok()) {
    co_return ProbeOutcome{ProbeOutcome::kFailure,
                           absl::StrCat("timeout: failed to connect service ", GoQuote(address), " within ",
                                        FormatDuration(timeout), ": context deadline exceeded")};
  }
  const std::string_view version = std::string_view(kKubernetesVersion).substr(1);
  GrpcChannel channel(co_await asio::this_coro::executor, *fd,
                      {.authority = address,
                       .user_agent = absl::StrCat("kube-probe/", version.substr(0, version.rfind('.')), " grpc-skiff"),
                       .max_message_bytes = 64 << 10});
  const auto left = std::max<std::chrono::nanoseconds>(timeout - (std::chrono::steady_clock::now() - start), 1ms);
  const auto body = co_await channel.Unary("/grpc.health.v1.Health/Check", EncodeRequest(action.service()), left);
  if (!body.ok()) {
    const std::string message(body.status().message());
    if (co_await IsCancelled()) co_return ProbeOutcome{ProbeOutcome::kError, "context canceled"};
    if (absl::IsUnimplemented(body.status())) {
      co_return ProbeOutcome{
          ProbeOutcome::kFailure,
          absl::StrCat("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ",
                       message)};
    }
    if (absl::IsDeadlineExceeded(body.status())) {
      co_return ProbeOutcome{ProbeOutcome::kFailure,
                             absl::StrCat("timeout: health rpc did not complete within ", FormatDuration(timeout))};
    }
    co_return ProbeOutcome{ProbeOutcome::kFailure,
                           absl::StrCat("error: health rpc probe failed: ", RpcErrorText(body.status()))};
  }
  const int serving = DecodeStatus(*body);
  if (serving == 1) co_return ProbeOutcome{ProbeOutcome::kSuccess, "service healthy"};
  co_return ProbeOutcome{ProbeOutcome::kFailure,
                         absl::StrCat("service unhealthy (responded with \"", StatusName(serving), "\")")};
}

}  // namespace skiff::kubelet
