#include "kubelet/server/stream.h"

#include "api/websocket_token.h"
#include "base/http_client.h"
#include "base/http_watch.h"
#include "base/log.h"
#include "kubelet/server/answers.h"
#include "kubelet/server/stream_translator.h"

namespace skiff::kubelet {
namespace {

bool IsTrue(const http::Query& query, std::string_view name) {
  return query.Get(name) == "1" || query.Get(name) == "true";
}

bool IsUpgrade(const http::Request& request) { return request.headers.HasToken("Connection", "upgrade"); }

bool HasContainer(const ServerHost::Pod& pod, const std::string& name) {
  auto named = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(), [&](const auto& c) { return c.name() == name; });
  };
  if (named(pod.spec().containers()) || named(pod.spec().initcontainers())) return true;
  for (const auto& c : pod.spec().ephemeralcontainers()) {
    if (c.ephemeralcontainercommon().name() == name) return true;
  }
  return false;
}

// The ports of a WebSocket portForward: repeated, or separated by commas.
StatusOr<std::vector<int32_t>> PortsOf(const http::Query& query) {
  std::vector<int32_t> out;
  for (const std::string& value : query.All("port")) {
    for (std::string_view text : absl::StrSplit(value, ',')) {
      int32_t port = 0;
      if (!absl::SimpleAtoi(text, &port) || port < 1 || port > 65535) {
        return InvalidArgument("invalid port value '", text, "' ");
      }
      out.push_back(port);
    }
  }
  return out;
}

}  // namespace

StatusOr<StreamUrl> ParseStreamUrl(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  if (url.substr(0, kScheme.size()) != kScheme) {
    return InvalidArgument("the runtime's streaming URL has no http scheme: ", url);
  }
  url.remove_prefix(kScheme.size());
  const size_t slash = url.find('/');
  StreamUrl out;
  out.authority = url.substr(0, slash);
  out.target = slash == std::string_view::npos ? "/" : url.substr(slash);
  if (out.authority.empty()) return InvalidArgument("the runtime's streaming URL has no host");
  return out;
}

namespace {

Task<Status> AwaitEnd(http::Stream& stream) {
  char scratch[1024];
  for (;;) {
    CO_ASSIGN_OR_RETURN(const size_t got, co_await stream.Read(scratch));
    if (got == 0) co_return absl::OkStatus();
  }
}

// The runtime's answer as it came, and then the end of the connection: what follows an upgrade that failed is nothing
// that the kubelet could tell from a next request.
Task<void> PassRefusal(http::Exchange& exchange, int status, http::Headers headers, std::string body) {
  auto down = co_await exchange.Upgrade(status, std::move(headers));
  if (!down.ok()) co_return;
  if (!(co_await (*down)->Write(body)).ok()) co_return;
  (*down)->CloseWrite();
  // A client that has sent more would lose the answer to a reset.
  (co_await WithTimeout(std::chrono::seconds(5), "the client's end", AwaitEnd(**down))).IgnoreError();
  (*down)->Close();
}

}  // namespace

Task<void> RelayUpgrade(http::Exchange& exchange, const std::string& url, std::chrono::nanoseconds idle_timeout) {
  auto parsed = ParseStreamUrl(url);
  if (!parsed.ok()) {
    LOG_ERROR(parsed.status(), "Cannot relay to the container runtime");
    co_return co_await AnswerError(exchange, 500, std::string(parsed.status().message()));
  }
  const http::Request& request = exchange.request();
  http::ClientRequest forward;
  forward.method = request.method;
  forward.target = parsed->target;
  forward.timeout = std::chrono::seconds(30);
  for (const auto& [name, value] : request.headers.fields()) {
    // The runtime needs no credentials of the client, and makes its own of the rest.
    if (absl::EqualsIgnoreCase(name, "Authorization") || absl::EqualsIgnoreCase(name, "Host") ||
        absl::EqualsIgnoreCase(name, "Content-Length")) {
      continue;
    }
    forward.headers.Add(name, value);
  }
  api::RemoveWebSocketToken(&forward.headers);
  http::Client client(co_await asio::this_coro::executor, parsed->authority);
  auto answer = co_await client.Upgrade(std::move(forward));
  if (!answer.ok()) {
    LOG_ERROR(answer.status(), "Error while proxying request");
    co_return co_await AnswerError(exchange, 500, std::string(answer.status().message()));
  }
  http::Headers headers;
  for (const auto& [name, value] : answer->headers.fields()) {
    if (absl::EqualsIgnoreCase(name, "Content-Length") || absl::EqualsIgnoreCase(name, "Transfer-Encoding") ||
        absl::EqualsIgnoreCase(name, "Date")) {
      continue;
    }
    headers.Add(name, value);
  }
  if (answer->status != 101 || answer->stream == nullptr) {
    // One without a length ends with its connection.
    const bool has_length = answer->headers.Has("Content-Length") || answer->headers.Has("Transfer-Encoding");
    headers.Remove(has_length ? "Connection" : "Content-Length");
    if (has_length) headers.Set("Content-Length", absl::StrCat(answer->body.size()));
    if (!has_length) headers.Set("Connection", "close");
    co_return co_await PassRefusal(exchange, answer->status, std::move(headers), std::move(answer->body));
  }
  auto down = co_await exchange.Upgrade(101, std::move(headers));
  if (!down.ok()) co_return;
  http::WatchOptions watch;
  watch.idle_timeout = idle_timeout;
  co_await http::Relay(**down, *answer->stream, watch);
}

Task<void> ServeStream(http::Exchange& exchange, StreamKind kind, StreamTarget target, ServerHost& host,
                       std::chrono::nanoseconds idle_timeout) {
  const http::Request& request = exchange.request();
  ServerHost::StreamOptions options;
  std::vector<int32_t> ports;
  if (kind == StreamKind::kPortForward) {
    auto parsed = PortsOf(request.query);
    if (!parsed.ok()) co_return co_await AnswerText(exchange, 400, std::string(parsed.status().message()));
    ports = *std::move(parsed);
  } else {
    options.stdin_ = IsTrue(request.query, "input");
    options.stdout_ = IsTrue(request.query, "output");
    options.stderr_ = IsTrue(request.query, "error");
    options.tty = IsTrue(request.query, "tty");
    // A terminal has one output: the runtime would refuse both.
    if (options.tty && options.stderr_) options.stderr_ = false;
    if (!options.stdin_ && !options.stdout_ && !options.stderr_) {
      co_return co_await AnswerText(exchange, 400, "you must specify at least 1 of stdin, stdout, stderr");
    }
    if (kind == StreamKind::kExec) options.command = request.query.All("command");
  }
  const auto pod = host.PodByName(target.ns, target.pod);
  if (pod == nullptr || (!target.uid.empty() && pod->metadata().uid() != target.uid)) {
    co_return co_await AnswerText(exchange, 404, "pod does not exist");
  }

  StatusOr<std::string> url = std::string();
  if (kind == StreamKind::kPortForward) {
    auto sandbox = host.SandboxId(*pod);
    if (!sandbox.ok()) {
      co_return co_await AnswerText(exchange, 500,
                                    absl::StrCat("pod not found (\"", target.pod, "_", target.ns, "\")"));
    }
    url = co_await host.PortForwardUrl(*sandbox, std::move(ports));
  } else {
    auto id = HasContainer(*pod, target.container) ? host.RunningContainerId(*pod, target.container)
                                                   : StatusOr<std::string>(NotFound("unknown container"));
    if (!id.ok()) {
      const std::string text =
          kind == StreamKind::kExec
              ? absl::StrCat("container not found (\"", target.container, "\")")
              : absl::StrCat("container ", target.container, " not found in pod ", target.pod, "_", target.ns);
      co_return co_await AnswerText(exchange, 500, text);
    }
    url = kind == StreamKind::kExec ? co_await host.ExecUrl(*id, options) : co_await host.AttachUrl(*id, options);
  }
  if (!url.ok()) co_return co_await AnswerText(exchange, 500, std::string(url.status().message()));
  if (!IsUpgrade(request)) co_return co_await AnswerError(exchange, 500, "Upgrade request required");

  if (kind != StreamKind::kPortForward && WantsTranslation(request)) {
    co_return co_await TranslateStream(exchange, *url, options, idle_timeout);
  }
  if (kind == StreamKind::kPortForward && WantsTunnel(request)) {
    co_return co_await TunnelStream(exchange, *url, idle_timeout);
  }
  co_await RelayUpgrade(exchange, *url, idle_timeout);
}

}  // namespace skiff::kubelet
