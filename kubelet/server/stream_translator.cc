#include "kubelet/server/stream_translator.h"

#include "api/codec.h"
#include "base/http_client.h"
#include "base/http_watch.h"
#include "base/log.h"
#include "base/websocket.h"
#include "kubelet/server/answers.h"
#include "kubelet/server/spdy.h"
#include "kubelet/server/stream.h"

namespace skiff::kubelet {
namespace {

constexpr std::string_view kV5 = "v5.channel.k8s.io";
constexpr std::string_view kTunnel = "SPDY/3.1+portforward.k8s.io";
constexpr int kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4, kCloseSignal = 255;

bool Offers(const http::Request& request, std::string_view protocol) {
  if (!request.headers.HasToken("Connection", "upgrade") || !request.headers.HasToken("Upgrade", "websocket")) {
    return false;
  }
  return request.headers.HasToken("Sec-WebSocket-Protocol", protocol);
}

std::string SuccessStatus() { return "{\"metadata\":{},\"status\":\"Success\"}"; }

std::string InternalStatus(std::string_view message) {
  std::string quoted, whole;
  api::AppendJsonString(message, &quoted);
  api::AppendJsonString(absl::StrCat("Internal error occurred: ", message), &whole);
  return absl::StrCat("{\"metadata\":{},\"status\":\"Failure\",\"message\":", whole,
                      ",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":", quoted,
                      "}]},\"code\":500}");
}

StatusOr<std::unique_ptr<http::Stream>> Switched(StatusOr<http::UpgradeResult> result) {
  RETURN_IF_ERROR(result.status());
  if (result->status != 101 || result->stream == nullptr) {
    return Unavailable("unable to upgrade connection: ", result->body);
  }
  return std::move(result->stream);
}

// A SPDY connection to the runtime's streaming server.
Task<StatusOr<std::unique_ptr<http::Stream>>> DialSpdy(const std::string& url,
                                                       std::vector<std::string_view> protocols) {
  CO_ASSIGN_OR_RETURN(const StreamUrl parsed, ParseStreamUrl(url));
  http::ClientRequest request;
  request.method = "POST";
  request.target = parsed.target;
  request.headers = {{"Connection", "Upgrade"}, {"Upgrade", "SPDY/3.1"}};
  for (std::string_view protocol : protocols) request.headers.Add("X-Stream-Protocol-Version", protocol);
  request.timeout = std::chrono::seconds(30);
  http::Client client(co_await asio::this_coro::executor, parsed.authority);
  co_return Switched(co_await client.Upgrade(std::move(request)));
}

Task<StatusOr<std::unique_ptr<http::Stream>>> AcceptWebSocket(http::Exchange& exchange, std::string_view protocol) {
  const http::Request& request = exchange.request();
  http::Headers headers{{"Upgrade", "websocket"},
                        {"Connection", "Upgrade"},
                        {"Sec-WebSocket-Accept", WebSocketAccept(request.headers.Get("Sec-WebSocket-Key"))},
                        {"Sec-WebSocket-Protocol", std::string(protocol)}};
  co_return co_await exchange.Upgrade(101, std::move(headers));
}

// One translated connection; shared by its two directions.
struct Session : std::enable_shared_from_this<Session> {
  std::unique_ptr<WebSocket> socket;
  std::unique_ptr<SpdyClient> spdy;
  uint32_t error = 0, in = 0, out = 0, err = 0, resize = 0;
  bool client_gone = false;

  Task<void> FromClient();
  Task<std::string> FromRuntime();
};

Task<void> Session::FromClient() {
  auto self = shared_from_this();
  for (;;) {
    auto message = co_await socket->Read();
    if (!message.ok()) break;
    if (message->empty()) continue;
    const int channel = static_cast<uint8_t>((*message)[0]);
    const std::string_view data = std::string_view(*message).substr(1);
    Status status;
    if (channel == kStdin && in != 0 && !data.empty()) {
      status = co_await spdy->Write(in, data, false);
    } else if (channel == kResize && resize != 0) {
      status = co_await spdy->Write(resize, data, false);
    } else if (channel == kCloseSignal && data.size() == 1 && data[0] == kStdin && in != 0) {
      status = co_await spdy->Write(in, "", true);
    }
    if (!status.ok()) break;
  }
  // The client went away: so does its process's connection.
  client_gone = true;
  spdy->Close();
}

// Until the error stream has ended or the connection has; the Status text of the runtime, "" for success.
Task<std::string> Session::FromRuntime() {
  auto self = shared_from_this();
  std::string status;
  std::set<uint32_t> open;
  for (uint32_t stream : {error, out, err}) {
    if (stream != 0) open.insert(stream);
  }
  // Output may still be on its way when the error stream has ended: all three are read to their ends.
  while (!open.empty()) {
    auto event = co_await spdy->Read();
    if (!event.ok()) break;
    if (!event->data.empty()) {
      Status sent;
      if (event->stream == error && status.size() < (64 << 10)) status += event->data;
      if (event->stream == out) sent = co_await socket->Write(kStdout, event->data);
      if (event->stream == err) sent = co_await socket->Write(kStderr, event->data);
      if (!sent.ok()) break;
    }
    if (event->fin) open.erase(event->stream);
  }
  co_return status;
}

Task<void> ReadClient(std::shared_ptr<Session> session) { co_await session->FromClient(); }

// Opens the streams that the options ask for, in the order that upstream's client has.
Task<Status> OpenStreams(Session& session, const ServerHost::StreamOptions& options) {
  struct Wanted {
    bool wanted;
    const char* type;
    uint32_t* id;
  };
  const Wanted streams[] = {{true, "error", &session.error},
                            {options.stdin_, "stdin", &session.in},
                            {options.stdout_, "stdout", &session.out},
                            {options.stderr_ && !options.tty, "stderr", &session.err},
                            {options.tty, "resize", &session.resize}};
  for (const Wanted& stream : streams) {
    if (!stream.wanted) continue;
    std::vector<std::pair<std::string, std::string>> headers{{"streamtype", stream.type}};
    CO_ASSIGN_OR_RETURN(*stream.id, co_await session.spdy->Open(std::move(headers)));
  }
  co_return absl::OkStatus();
}

Task<void> CopyTunnelIn(std::shared_ptr<WebSocket> socket, std::shared_ptr<http::Stream> up) {
  for (;;) {
    auto message = co_await socket->Read();
    if (!message.ok() || !(co_await up->Write(*message)).ok()) break;
  }
  up->Close();
}

}  // namespace

bool WantsTranslation(const http::Request& request) { return Offers(request, kV5); }
bool WantsTunnel(const http::Request& request) { return Offers(request, kTunnel); }

std::string TranslateStatus(std::string_view text) {
  if (text.empty()) return SuccessStatus();
  const auto status = api::ParseJson(text);
  if (!status.ok() || !status->is_object()) {
    return InternalStatus("error stream protocol error: unmarshal failed");
  }
  const auto field = [](const nlohmann::json& from, const char* name) {
    auto found = from.find(name);
    return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (field(*status, "status") == "Success") return SuccessStatus();
  if (field(*status, "reason") == "NonZeroExitCode") {
    std::string code;
    if (auto details = status->find("details"); details != status->end() && details->is_object()) {
      if (auto causes = details->find("causes"); causes != details->end() && causes->is_array()) {
        for (const auto& cause : *causes) {
          if (cause.is_object() && field(cause, "reason") == "ExitCode") code = field(cause, "message");
        }
      }
    }
    int value = 0;
    if (!absl::SimpleAtoi(code, &value)) return InternalStatus("error stream protocol error: invalid exit code value");
    return absl::StrCat(
        "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: command "
        "terminated with exit code ",
        value, "\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"",
        value, "\"}]}}");
  }
  return InternalStatus(field(*status, "message"));
}

Task<void> TranslateStream(http::Exchange& exchange, const std::string& url, ServerHost::StreamOptions options,
                           std::chrono::nanoseconds idle_timeout) {
  const auto executor = co_await asio::this_coro::executor;
  auto accepted = co_await AcceptWebSocket(exchange, kV5);
  if (!accepted.ok()) co_return;
  auto session = std::make_shared<Session>();
  http::WatchOptions watch;
  watch.idle_timeout = idle_timeout;
  session->socket = std::make_unique<WebSocket>(
      http::WatchStream(executor, *std::move(accepted), watch, [weak = std::weak_ptr(session)] {
        auto session = weak.lock();
        if (session && session->spdy) session->spdy->Close();
      }));
  // As upstream's, an empty message first: it tells clients that the connection works.
  if (!(co_await session->socket->Write(kStdout, "")).ok()) co_return;

  const std::vector<std::string_view> protocols{"v4.channel.k8s.io"};
  auto up = co_await DialSpdy(url, protocols);
  std::string status;
  if (!up.ok()) {
    status = InternalStatus(up.status().message());
  } else {
    session->spdy = std::make_unique<SpdyClient>(*std::move(up));
    if (Status opened = co_await OpenStreams(*session, options); !opened.ok()) {
      status = InternalStatus(opened.message());
    } else {
      TaskGroup group(executor);
      group.Spawn("exec input", ReadClient(session));
      status = TranslateStatus(co_await session->FromRuntime());
      if (!session->client_gone) {
        (co_await session->socket->Write(kError, status)).IgnoreError();
        co_await session->socket->SendClose(1000);
      }
      session->spdy->Close();
      session->socket->Close();
      co_return;
    }
  }
  (co_await session->socket->Write(kError, status)).IgnoreError();
  co_await session->socket->SendClose(1000);
  session->socket->Close();
}

Task<void> TunnelStream(http::Exchange& exchange, const std::string& url, std::chrono::nanoseconds idle_timeout) {
  const auto executor = co_await asio::this_coro::executor;
  const std::vector<std::string_view> protocols{"portforward.k8s.io"};
  auto dialled = co_await DialSpdy(url, protocols);
  if (!dialled.ok()) co_return co_await AnswerError(exchange, 500, std::string(dialled.status().message()));
  auto accepted = co_await AcceptWebSocket(exchange, kTunnel);
  if (!accepted.ok()) co_return;
  std::shared_ptr<http::Stream> up = *std::move(dialled);
  http::WatchOptions watch;
  watch.idle_timeout = idle_timeout;
  auto socket =
      std::make_shared<WebSocket>(http::WatchStream(executor, *std::move(accepted), watch, [up] { up->Close(); }));
  TaskGroup group(executor);
  group.Spawn("port forward", CopyTunnelIn(socket, up));
  std::string buffer(32 << 10, '\0');
  for (;;) {
    auto got = co_await up->Read({buffer.data(), buffer.size()});
    if (!got.ok() || *got == 0) break;
    if (!(co_await socket->Write(-1, std::string_view(buffer).substr(0, *got))).ok()) break;
  }
  co_await socket->SendClose(1000);
  socket->Close();
  up->Close();
}

}  // namespace skiff::kubelet
