#include "kubelet/runtime/hooks.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/go_text.h"
#include "base/http_client.h"

namespace skiff::kubelet {
namespace {

namespace cri_v1 = ::runtime::v1;

StatusOr<int> PortOf(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& port, const core::Container& c) {
  if (port.type() == 0) return port.intval();
  for (const auto& p : c.ports()) {
    if (p.name() == port.strval()) return p.containerport();
  }
  int n = 0;
  if (absl::SimpleAtoi(port.strval(), &n)) return n;
  return InvalidArgument("couldn't find port: ", port.strval());
}

Task<Status> HttpHook(HookTarget target, core::HTTPGetAction get) {
  std::string host = get.host().empty() ? target.pod_ip : get.host();
  if (host.empty()) co_return Unavailable("failed to find networking container");
  CO_ASSIGN_OR_RETURN(int port, PortOf(get.port(), target.container));
  std::string authority =
      host.find(':') == std::string::npos ? absl::StrCat(host, ":", port) : absl::StrCat("[", host, "]:", port);
  auto executor = co_await asio::this_coro::executor;
  std::shared_ptr<TlsClientConfig> tls;
  if (get.scheme() == "HTTPS") {
    TlsClientConfig::Options options;
    options.insecure_skip_verify = true;  // upstream does not verify what a pod serves itself
    CO_ASSIGN_OR_RETURN(tls, TlsClientConfig::Make(options));
  }
  http::ClientOptions options;
  options.keep_alive = false;
  options.reset_on_close = true;
  http::Client client(executor, authority, tls, options);
  http::ClientRequest request;
  request.target = get.path().empty() ? "/" : get.path();
  if (request.target[0] != '/') request.target = "/" + request.target;
  request.headers.Set("User-Agent", "kube-lifecycle/1.36");
  request.headers.Set("Accept", "*/*");
  for (const auto& header : get.httpheaders()) request.headers.Set(header.name(), header.value());
  auto answer = co_await client.Do(std::move(request));  // any answer is fine
  co_return answer.status();
}

}  // namespace

std::string Quoted(std::string_view text) { return GoQuote(text); }

Task<Status> RunHook(cri::Runtime& runtime, Clock& clock, HookTarget target, core::LifecycleHandler handler) {
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
                    : std::string(answer.status().message());
    std::string output = answer.ok() ? answer->stdout() + answer->stderr() : "";
    if (output.size() > 4096) output.resize(4096);
    co_return Internal("Exec lifecycle hook ([", command, "])", where, error, ", message: ", Quoted(output));
  }
  if (handler.has_httpget()) {
    Status status = co_await HttpHook(target, handler.httpget());
    if (status.ok() || absl::IsCancelled(status)) co_return status;
    co_return Internal("HTTP lifecycle hook (", handler.httpget().path(), ")", where, status.message());
  }
  if (handler.has_sleep()) {
    co_return co_await clock.Sleep(std::chrono::seconds(handler.sleep().seconds()));
  }
  co_return InvalidArgument("Cannot run handler: invalid handler");
}

}  // namespace skiff::kubelet
