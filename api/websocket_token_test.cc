#include "api/websocket_token.h"

#include "gtest/gtest.h"

namespace skiff::api {
namespace {

constexpr char kPrefix[] = "base64url.bearer.authorization.k8s.io.";
const std::string kGood = std::string(kPrefix) + "Z29vZA";

StatusOr<std::string> TokenOf(const std::string& protocols, const std::string& upgrade = "websocket") {
  return WebSocketToken({{"Connection", "Upgrade"}, {"Upgrade", upgrade}, {"Sec-WebSocket-Protocol", protocols}});
}

TEST(WebSocketToken, IsOneOfTheProtocols) {
  EXPECT_EQ(TokenOf("v4.channel.k8s.io, " + kGood).value_or("-"), "good");
  EXPECT_EQ(TokenOf(kGood + ",v4.channel.k8s.io").value_or("-"), "good");
  EXPECT_EQ(TokenOf("v4.channel.k8s.io").value_or("-"), "");
  EXPECT_EQ(TokenOf("v4.channel.k8s.io, " + kGood, "SPDY/3.1").value_or("-"), "");
  EXPECT_EQ(TokenOf("x" + kGood + ", v4.channel.k8s.io").value_or("-"), "") << "within another name";
}

TEST(WebSocketToken, WhatIsWrongIsSaid) {
  EXPECT_EQ(TokenOf(kGood).status().message(), "missing additional subprotocol");
  EXPECT_EQ(TokenOf(kGood + ", v4.channel.k8s.io, " + kGood).status().message(),
            "multiple base64.bearer.authorization tokens specified");
  EXPECT_EQ(TokenOf(std::string(kPrefix) + "!, v4.channel.k8s.io").status().message(),
            "invalid base64.bearer.authorization token encoding");
  EXPECT_EQ(TokenOf(std::string(kPrefix) + "_w, v4.channel.k8s.io").status().message(),
            "invalid base64.bearer.authorization token");
}

TEST(WebSocketToken, IsTakenOut) {
  http::Headers headers{{"Sec-WebSocket-Protocol", "v5.channel.k8s.io, " + kGood}, {"X", kGood}};
  headers.Add("sec-websocket-protocol", "v4.channel.k8s.io");
  RemoveWebSocketToken(&headers);
  EXPECT_EQ(headers.All("Sec-WebSocket-Protocol"),
            std::vector<std::string_view>{"v5.channel.k8s.io,v4.channel.k8s.io"});
  EXPECT_EQ(headers.Get("X"), kGood);
}

}  // namespace
}  // namespace skiff::api
