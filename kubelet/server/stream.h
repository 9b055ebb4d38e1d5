// exec, attach and portForward: the runtime's streaming server does the work, the kubelet relays the upgraded
// connection. Loop only. Upstream: the CRI's streaming requests.
#ifndef SKIFF_KUBELET_SERVER_STREAM_H_
#define SKIFF_KUBELET_SERVER_STREAM_H_

#include <chrono>
#include <string>

#include "base/http_server.h"
#include "kubelet/server/host.h"

namespace skiff::kubelet {

struct StreamTarget {
  std::string ns, pod, uid, container;  // uid "" when the path has none
};

enum class StreamKind { kExec, kAttach, kPortForward };

// Answers the request: relayed to the runtime, or an error in upstream's words.
Task<void> ServeStream(http::Exchange& exchange, StreamKind kind, StreamTarget target, ServerHost& host,
                       std::chrono::nanoseconds idle_timeout);

// Sends the client's upgrade request to `url` (http://host:port/path) and relays, or passes the refusal on.
Task<void> RelayUpgrade(http::Exchange& exchange, const std::string& url, std::chrono::nanoseconds idle_timeout);

// The part after http:// up to the path, and the path with query. kInvalidArgument for other URLs.
struct StreamUrl {
  std::string authority, target;
};
StatusOr<StreamUrl> ParseStreamUrl(std::string_view url);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_STREAM_H_
