// The bearer token that a browser, which cannot set headers, gives as one of a WebSocket's subprotocols
// ("base64url.bearer.authorization.k8s.io.TOKEN"). Pure, thread-safe.
#ifndef SKIFF_API_WEBSOCKET_TOKEN_H_
#define SKIFF_API_WEBSOCKET_TOKEN_H_

#include <string>

#include "base/http.h"
#include "base/status.h"

namespace skiff::api {

// "" where there is none, or no WebSocket is asked for. Errors, in upstream's words: several tokens, one that is not
// base64url of UTF-8, no other subprotocol beside it (it is never answered with the one that is a secret).
StatusOr<std::string> WebSocketToken(const http::Headers& headers);

// Takes it out, so that whoever the request is passed on to does not see it.
void RemoveWebSocketToken(http::Headers* headers);

}  // namespace skiff::api

#endif  // SKIFF_API_WEBSOCKET_TOKEN_H_
