// What /metrics says of the kubelet's own HTTP server: requests, their durations, those under way, WebSocket streams.
// Loop only. Names and labels are upstream's.
#ifndef SKIFF_KUBELET_SERVER_REQUEST_METRICS_H_
#define SKIFF_KUBELET_SERVER_REQUEST_METRICS_H_

#include <memory>

#include "base/clock.h"
#include "base/http_server.h"
#include "base/metrics.h"
#include "kubelet/server/stream.h"

namespace skiff::kubelet {

class RequestMetrics {
 public:
  RequestMetrics(metrics::Registry& registry, Clock& clock);

  // Counts a request; it has ended when the answer is destroyed.
  class Running {
   public:
    Running(RequestMetrics& metrics, metrics::LabelValues labels);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    RequestMetrics& metrics_;
    metrics::LabelValues labels_;
    SteadyTime began_;
  };
  std::unique_ptr<Running> Begin(const http::Request& request, bool trusted_port);
  // A stream that the kubelet itself speaks WebSocket on.
  void CountWebSocket(const http::Request& request, StreamKind kind);

 private:
  Clock& clock_;
  metrics::Family<metrics::Counter>& total_;
  metrics::Family<metrics::Histogram>& duration_;
  metrics::Family<metrics::Gauge>& inflight_;
  metrics::Family<metrics::Counter>& websockets_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_REQUEST_METRICS_H_
