// Bytes as WebSocket messages, for clients that take a log that way (browsers): an empty message, then the bytes as
// they come, binary or in base64, then a close. What the client sends is ignored. Upstream: kubernetes.io, subprotocols
// "binary.k8s.io" and "base64.binary.k8s.io"; without one, binary.
#ifndef SKIFF_CONTROLPLANE_APISERVER_MESSAGE_STREAM_H_
#define SKIFF_CONTROLPLANE_APISERVER_MESSAGE_STREAM_H_

#include "base/http_client.h"
#include "base/http_server.h"

namespace skiff::controlplane {

bool IsWebSocketRequest(const http::Request& request);

// Takes the connection over and copies until either side ends.
Task<Status> CopyAsMessages(http::Exchange& exchange, http::BodyReader& from);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_MESSAGE_STREAM_H_
