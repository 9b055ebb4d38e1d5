// Newer clients speak WebSocket where the runtime's streaming server speaks SPDY: exec and attach over
// v5.channel.k8s.io are translated stream by stream, portForward's tunnel is SPDY inside WebSocket messages. Loop only.
#ifndef SKIFF_KUBELET_SERVER_STREAM_TRANSLATOR_H_
#define SKIFF_KUBELET_SERVER_STREAM_TRANSLATOR_H_

#include <chrono>
#include <string>

#include "base/http_server.h"
#include "kubelet/server/host.h"

namespace skiff::kubelet {

// A WebSocket request that offers v5.channel.k8s.io.
bool WantsTranslation(const http::Request& request);
// A WebSocket request that offers SPDY/3.1+portforward.k8s.io.
bool WantsTunnel(const http::Request& request);

Task<void> TranslateStream(http::Exchange& exchange, const std::string& url, ServerHost::StreamOptions options,
                           std::chrono::nanoseconds idle_timeout);
Task<void> TunnelStream(http::Exchange& exchange, const std::string& url, std::chrono::nanoseconds idle_timeout);

// The Status that a v5 client gets for what the runtime wrote to its error stream ("" or JSON): upstream re-words it.
std::string TranslateStatus(std::string_view status_json);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_STREAM_TRANSLATOR_H_
