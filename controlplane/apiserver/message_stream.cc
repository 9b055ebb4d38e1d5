#include "controlplane/apiserver/message_stream.h"

#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/tls.h"
#include "base/websocket.h"

namespace skiff::controlplane {
namespace {

constexpr size_t kMessageBytes = 2048;

// The first of the client's subprotocols that is known; "" when it names none.
std::optional<std::string> ChooseProtocol(const http::Request& request) {
  bool any = false;
  for (const std::string_view header : request.headers.All("Sec-WebSocket-Protocol")) {
    for (std::string_view name : absl::StrSplit(header, ',', absl::SkipWhitespace())) {
      name = absl::StripAsciiWhitespace(name);
      any = true;
      if (name == "binary.k8s.io" || name == "base64.binary.k8s.io") return std::string(name);
    }
  }
  if (any) return std::nullopt;
  return "";
}

Task<Status> SendOne(WebSocket* socket, std::string data, bool base64) {
  if (!base64) co_return co_await socket->Write(-1, data);
  const std::string text = Base64Encode(data);
  co_return co_await socket->WriteText(text);
}

Task<void> Send(WebSocket* socket, http::BodyReader* from, bool base64) {
  std::vector<char> buffer(kMessageBytes);
  Status status = co_await SendOne(socket, "", base64);
  while (status.ok()) {
    auto n = co_await from->Read(buffer);
    if (!n.ok() || *n == 0) break;
    status = co_await SendOne(socket, std::string(buffer.data(), *n), base64);
  }
  if (status.ok() && !co_await IsCancelled()) co_await socket->SendClose(1000);
  socket->Close();
}

// Until the client is gone; pings are answered on the way.
Task<void> Listen(WebSocket* socket, TaskGroup* group) {
  while ((co_await socket->Read()).ok()) {
  }
  group->Cancel();
}

}  // namespace

bool IsWebSocketRequest(const http::Request& request) {
  return request.headers.HasToken("Connection", "upgrade") &&
         absl::EqualsIgnoreCase(request.headers.Get("Upgrade"), "websocket");
}

Task<Status> CopyAsMessages(http::Exchange& exchange, http::BodyReader& from) {
  const http::Request& request = exchange.request();
  const auto protocol = ChooseProtocol(request);
  const std::string_view key = request.headers.Get("Sec-WebSocket-Key");
  if (!protocol || key.empty()) {
    co_return co_await exchange.Respond(key.empty() ? 400 : 403, {}, "");
  }
  http::Headers headers;
  headers.Set("Upgrade", "websocket");
  headers.Set("Connection", "Upgrade");
  headers.Set("Sec-WebSocket-Accept", WebSocketAccept(key));
  if (!protocol->empty()) headers.Set("Sec-WebSocket-Protocol", *protocol);
  auto stream = co_await exchange.Upgrade(101, std::move(headers));
  if (!stream.ok()) co_return stream.status();
  WebSocket socket(*std::move(stream));
  TaskGroup group(co_await asio::this_coro::executor);
  group.Spawn("log messages", Send(&socket, &from, protocol->starts_with("base64.")));
  group.Spawn("log reader", Listen(&socket, &group));
  co_await group.Join();
  socket.Close();
  co_return absl::OkStatus();
}

}  // namespace skiff::controlplane
