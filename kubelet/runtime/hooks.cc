#include "kubelet/runtime/hooks.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/go_text.h"
#include "kubelet/probe/probe_action.h"

namespace skiff::kubelet {
namespace {

namespace cri_v1 = ::runtime::v1;

// The hook's own limit is the grace period, which the caller keeps.
constexpr std::chrono::hours kHookTimeout{24};

Task<Status> HttpHook(HookTarget target, core::HTTPGetAction get, std::function<void(std::string)> warn) {
  if (get.host().empty() && target.pod_ip.empty()) co_return Unavailable("failed to find networking container");
  // Any answer is fine.
  auto answer = co_await HttpGet(get, target.container, target.pod_ip, "lifecycle", kHookTimeout);
  if (answer.ok() || !absl::StrContains(answer.status().message(), "server gave HTTP response to HTTPS client")) {
    co_return answer.status();
  }
  // Older hooks said HTTPS and meant HTTP.
  get.set_scheme("HTTP");
  auto headers = std::move(*get.mutable_httpheaders());
  get.clear_httpheaders();
  for (auto& header : headers) {
    if (!absl::EqualsIgnoreCase(header.name(), "Authorization")) *get.add_httpheaders() = std::move(header);
  }
  auto plain = co_await HttpGet(get, target.container, target.pod_ip, "lifecycle", kHookTimeout);
  if (!plain.ok()) co_return absl::IsCancelled(plain.status()) ? plain.status() : answer.status();
  CO_ASSIGN_OR_RETURN(int port, ResolvePort(get.port(), target.container));
  warn(absl::StrCat("request to HTTPS lifecycle hook ",
                    JoinHostPort(get.host().empty() ? target.pod_ip : get.host(), port),
                    " got HTTP response, retry with HTTP succeeded"));
  co_return absl::OkStatus();
}

}  // namespace

std::string Quoted(std::string_view text) { return GoQuote(text); }

Task<Status> RunHook(cri::Runtime& runtime, Clock& clock, HookTarget target, core::LifecycleHandler handler,
                     std::function<void(std::string)> warn) {
  std::string where = absl::StrCat(" for Container \"", target.container.name(), "\" in Pod \"", FormatPod(*target.pod),
                                   "\" failed - error: ");
  if (handler.has_exec()) {
    cri_v1::ExecSyncRequest request;
    request.set_container_id(target.container_id);
    for (const auto& word : handler.exec().command()) request.add_cmd(word);
    auto answer = co_await runtime.ExecSync(std::move(request), {.timeout = std::chrono::nanoseconds(0)});
    if (absl::IsCancelled(answer.status())) co_return answer.status();
    if (answer.ok() && answer->exit_code() == 0) co_return absl::OkStatus();
    std::string command = absl::StrJoin(handler.exec().command(), " ");
    std::string error =
        answer.ok() ? absl::StrCat("command '", command, "' exited with ", answer->exit_code(), ": ", answer->stderr())
                    : RpcErrorText(answer.status());
    std::string output = answer.ok() ? answer->stdout() + answer->stderr() : "";
    if (output.size() > 4096) output.resize(4096);
    co_return Internal("Exec lifecycle hook ([", command, "])", where, error, ", message: ", Quoted(output));
  }
  if (handler.has_httpget()) {
    Status status = co_await HttpHook(target, handler.httpget(), std::move(warn));
    if (status.ok() || absl::IsCancelled(status)) co_return status;
    co_return Internal("HTTP lifecycle hook (", handler.httpget().path(), ")", where, status.message());
  }
  if (handler.has_sleep()) {
    co_return co_await clock.Sleep(std::chrono::seconds(handler.sleep().seconds()));
  }
  co_return InvalidArgument("Cannot run handler: invalid handler");
}

}  // namespace skiff::kubelet
