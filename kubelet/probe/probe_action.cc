#include "kubelet/probe/probe_action.h"

#include <sys/socket.h>
#include <unistd.h>

#include "api/int_or_string.h"
#include "base/flags.h"
#include "base/go_text.h"
#include "base/http_dial.h"
#include "kubelet/runtime/env.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;

constexpr size_t kOutputLimit = 10 << 10;

// $(NAME) by the container's environment as the pod names it, where what comes from elsewhere has no value; a name that
// is not there stays as it is.
std::string ExpandStatic(std::string_view text, const core::Container& container) {
  return Expand(text, [&](std::string_view name) {
    const std::string* found = nullptr;
    for (const auto& env : container.env()) {
      if (env.name() == name) found = &env.value();
    }
    return found;
  });
}

std::string_view GoCodeName(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk: return "OK";
    case absl::StatusCode::kCancelled: return "Canceled";
    case absl::StatusCode::kInvalidArgument: return "InvalidArgument";
    case absl::StatusCode::kDeadlineExceeded: return "DeadlineExceeded";
    case absl::StatusCode::kNotFound: return "NotFound";
    case absl::StatusCode::kAlreadyExists: return "AlreadyExists";
    case absl::StatusCode::kPermissionDenied: return "PermissionDenied";
    case absl::StatusCode::kResourceExhausted: return "ResourceExhausted";
    case absl::StatusCode::kFailedPrecondition: return "FailedPrecondition";
    case absl::StatusCode::kAborted: return "Aborted";
    case absl::StatusCode::kOutOfRange: return "OutOfRange";
    case absl::StatusCode::kUnimplemented: return "Unimplemented";
    case absl::StatusCode::kInternal: return "Internal";
    case absl::StatusCode::kUnavailable: return "Unavailable";
    case absl::StatusCode::kDataLoss: return "DataLoss";
    case absl::StatusCode::kUnauthenticated: return "Unauthenticated";
    default: return "Unknown";
  }
}

}  // namespace

std::string RpcErrorText(const Status& status) {
  if (absl::StartsWith(status.message(), "rpc error: ")) return std::string(status.message());
  return absl::StrCat("rpc error: code = ", GoCodeName(status.code()), " desc = ", status.message());
}

std::string JoinHostPort(std::string_view host, int port) {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

StatusOr<int> ResolvePort(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& port,
                          const core::Container& container) {
  int number = -1;
  if (!api::IsString(port)) {
    number = port.intval();
  } else {
    for (const auto& named : container.ports()) {
      if (named.name() == port.strval()) number = named.containerport();
    }
    if (number < 0 && !absl::SimpleAtoi(port.strval(), &number)) {
      return InvalidArgument("strconv.Atoi: parsing ", GoQuote(port.strval()), ": invalid syntax");
    }
  }
  if (number <= 0 || number > 65535) return InvalidArgument("invalid port number: ", number);
  return number;
}

Task<StatusOr<int>> DialReset(std::string host, int port, std::chrono::nanoseconds timeout) {
  http::Authority authority;
  authority.host = std::move(host);
  authority.port = absl::StrCat(port);
  CO_ASSIGN_OR_RETURN(const int fd, co_await http::DialSocket(co_await asio::this_coro::executor, std::move(authority),
                                                              std::chrono::steady_clock::now() + timeout));
  const linger reset{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  co_return fd;
}

Task<ProbeOutcome> ProbeTcp(core::TCPSocketAction action, core::Container container, std::string pod_ip,
                            std::chrono::nanoseconds timeout) {
  const auto port = ResolvePort(action.port(), container);
  if (!port.ok()) co_return ProbeOutcome{ProbeOutcome::kError, std::string(port.status().message())};
  const auto fd = co_await DialReset(action.host().empty() ? pod_ip : action.host(), *port, timeout);
  if (!fd.ok()) co_return ProbeOutcome{ProbeOutcome::kFailure, std::string(fd.status().message())};
  close(*fd);
  co_return ProbeOutcome{};
}

Task<ProbeOutcome> ProbeExec(ProbeHost& host, std::string container_id, core::Container container,
                             std::vector<std::string> command, std::chrono::nanoseconds timeout) {
  for (std::string& part : command) part = ExpandStatic(part, container);
  auto result = co_await host.ExecSync(container_id, command, timeout);
  if (absl::IsDeadlineExceeded(result.status())) {
    co_return ProbeOutcome{ProbeOutcome::kFailure,
                           absl::StrCat("command timed out: ", GoQuote(absl::StrJoin(command, " ")),
                                        " timed out after ", FormatDuration(timeout))};
  }
  if (!result.ok()) co_return ProbeOutcome{ProbeOutcome::kError, RpcErrorText(result.status())};
  if (result->output.size() > kOutputLimit) result->output.resize(kOutputLimit);
  const auto kind = result->exit_code == 0 ? ProbeOutcome::kSuccess : ProbeOutcome::kFailure;
  co_return ProbeOutcome{kind, std::move(result->output)};
}

}  // namespace skiff::kubelet
