#include "api/websocket_token.h"

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/tls.h"
#include "base/utf8.h"

namespace skiff::api {
namespace {

constexpr char kProtocols[] = "Sec-WebSocket-Protocol";
constexpr std::string_view kTokenProtocol = "base64url.bearer.authorization.k8s.io.";

std::vector<std::string_view> ProtocolsOf(const http::Headers& headers) {
  std::vector<std::string_view> out;
  for (const std::string_view header : headers.All(kProtocols)) {
    for (const absl::string_view protocol : absl::StrSplit(header, ',')) {
      out.push_back(absl::StripAsciiWhitespace(protocol));
    }
  }
  return out;
}

}  // namespace

StatusOr<std::string> WebSocketToken(const http::Headers& headers) {
  if (!headers.HasToken("Connection", "upgrade") || !headers.HasToken("Upgrade", "websocket")) return "";
  std::optional<std::string> token;
  bool others = false;
  for (const std::string_view protocol : ProtocolsOf(headers)) {
    if (!absl::StartsWith(protocol, kTokenProtocol)) {
      others = true;
      continue;
    }
    if (token) return InvalidArgument("multiple base64.bearer.authorization tokens specified");
    auto decoded = Base64UrlDecode(protocol.substr(kTokenProtocol.size()));
    if (!decoded.ok()) return InvalidArgument("invalid base64.bearer.authorization token encoding");
    if (!IsUtf8(*decoded)) return InvalidArgument("invalid base64.bearer.authorization token");
    token = *std::move(decoded);
  }
  if (!token.value_or("").empty() && !others) return InvalidArgument("missing additional subprotocol");
  return token.value_or("");
}

void RemoveWebSocketToken(http::Headers* headers) {
  std::vector<std::string_view> kept = ProtocolsOf(*headers);
  if (std::erase_if(kept, [](auto protocol) { return absl::StartsWith(protocol, kTokenProtocol); }) == 0) return;
  const std::string text = absl::StrJoin(kept, ",");
  headers->Remove(kProtocols);
  if (!text.empty()) headers->Set(kProtocols, text);
}

}  // namespace skiff::api
