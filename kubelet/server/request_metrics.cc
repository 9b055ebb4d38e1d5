#include "kubelet/server/request_metrics.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_split.h"
#include "kubelet/server/stream_translator.h"

namespace skiff::kubelet {
namespace {

constexpr std::string_view kMethods[] = {"GET",    "HEAD",    "POST",  "PUT",    "PATCH",
                                         "DELETE", "CONNECT", "TRACE", "OPTIONS"};
constexpr std::string_view kPaths[] = {
    "healthz", "pods",  "stats",  "metrics",     "metrics/cadvisor", "metrics/probes", "metrics/resource", "checkpoint",
    "run",     "exec",  "attach", "portForward", "containerLogs",    "configz",        "runningpods",      "logs",
    "debug",   "pprof", "flagz",  "statusz"};

template <size_t N>
std::string Known(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) == std::end(names) ? "other" : std::string(name);
}

std::string PathLabel(const std::string& path) {
  std::vector<std::string_view> parts =
      absl::StrSplit(absl::string_view(path).substr(path.starts_with('/') ? 1 : 0), '/');
  std::string root(parts[0]);
  if (root == "metrics" && parts.size() > 1) root = std::string("metrics/") + std::string(parts[1]);
  return Known(kPaths, root);
}

}  // namespace

RequestMetrics::RequestMetrics(metrics::Registry& registry, Clock& clock)
    : clock_(clock),
      total_(registry.Counters("kubelet_http_requests_total",
                               "[ALPHA] Number of the http requests received since the server started",
                               {"method", "path", "server_type", "long_running"})),
      duration_(registry.Histograms(
          "kubelet_http_requests_duration_seconds", "[ALPHA] Duration in seconds to serve http requests",
          {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, {"method", "path", "server_type", "long_running"})),
      inflight_(registry.Gauges("kubelet_http_inflight_requests", "[ALPHA] Number of the inflight http requests",
                                {"method", "path", "server_type", "long_running"})),
      websockets_(registry.Counters("kubelet_websocket_streaming_requests_total",
                                    "[ALPHA] Total number of WebSocket streaming requests (exec/attach/portforward) "
                                    "received by the kubelet.",
                                    {"subresource"})) {}

RequestMetrics::Running::Running(RequestMetrics& metrics, metrics::LabelValues labels)
    : metrics_(metrics), labels_(std::move(labels)), began_(metrics.clock_.Steady()) {
  metrics_.total_.With(labels_).Inc();
  metrics_.inflight_.With(labels_).Inc();
}

RequestMetrics::Running::~Running() {
  metrics_.inflight_.With(labels_).Inc(-1);
  metrics_.duration_.With(labels_).Observe(std::chrono::duration<double>(metrics_.clock_.Steady() - began_).count());
}

std::unique_ptr<RequestMetrics::Running> RequestMetrics::Begin(const http::Request& request, bool trusted_port) {
  const std::string path = PathLabel(request.path);
  const bool long_running = path == "exec" || path == "attach" || path == "debug";  // upstream's spelling misses one
  return std::make_unique<Running>(
      *this, metrics::LabelValues{Known(kMethods, request.method), path, trusted_port ? "readwrite" : "readonly",
                                  long_running ? "true" : "false"});
}

void RequestMetrics::CountWebSocket(const http::Request& request, StreamKind kind) {
  if (kind == StreamKind::kPortForward ? !WantsTunnel(request) : !WantsTranslation(request)) return;
  const char* name = kind == StreamKind::kExec ? "exec" : kind == StreamKind::kAttach ? "attach" : "portforward";
  websockets_.With({name}).Inc();
}

}  // namespace skiff::kubelet
