// The proxy's two HTTP servers: health (10256) and metrics (10249), as upstream's. Loop thread only.
#ifndef SKIFF_PROXY_SERVER_H_
#define SKIFF_PROXY_SERVER_H_

#include <memory>
#include <string>

#include "base/http_server.h"
#include "base/metrics.h"
#include "proxy/config.h"
#include "proxy/health.h"
#include "proxy/metrics.h"

namespace skiff::proxy {

class Servers {
 public:
  // All references must outlive this.
  Servers(asio::any_io_executor executor, const Config& config, const Health& health, Metrics& metrics,
          const metrics::Registry& registry);
  // Failures are errors with bindAddressHardFail, else logged and tried again every 5 seconds (Retry).
  Status Listen();
  Task<void> Retry();
  uint16_t health_port() const { return health_port_; }
  uint16_t metrics_port() const { return metrics_port_; }

 private:
  Task<void> ServeHealth(http::Exchange& exchange);
  Task<void> ServeMetrics(http::Exchange& exchange);
  Status ListenOne(http::Server& server, const std::string& address, std::string_view what, uint16_t* port);

  asio::any_io_executor executor_;
  const Config& config_;
  const Health& health_;
  Metrics& metrics_;
  const metrics::Registry& registry_;
  WallTime started_;
  http::Server health_server_, metrics_server_;
  uint16_t health_port_ = 0, metrics_port_ = 0;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_SERVER_H_
