// The proxy's two HTTP servers: health (10256) and metrics (10249), as upstream's. Loop thread only.
#ifndef SKIFF_PROXY_SERVER_H_
#define SKIFF_PROXY_SERVER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/http_server.h"
#include "base/metrics.h"
#include "client/component_metrics.h"
#include "proxy/config.h"
#include "proxy/health.h"
#include "proxy/metrics.h"

namespace skiff::proxy {

class Servers {
 public:
  // `flags`: name and value of each, for /flagz; none: it is not served. `configz` and the rest refer to `config` as it
  // was at the start. All references must outlive this.
  Servers(asio::any_io_executor executor, const Config& config, std::vector<std::pair<std::string, std::string>> flags,
          const Health& health, Metrics& metrics, const metrics::Registry& registry);
  // Failures are errors with bindAddressHardFail (`failed`, if not null, is the Event's reason), else logged and tried
  // again every 5 seconds (Retry).
  Status Listen(const char** failed = nullptr);
  Task<void> Retry();
  // A flag that got its value late.
  void SetFlag(std::string_view name, std::string value);
  uint16_t health_port() const { return health_port_; }
  uint16_t metrics_port() const { return metrics_port_; }

 private:
  Task<void> ServeHealth(http::Exchange& exchange);
  Task<void> ServeMetrics(http::Exchange& exchange);
  Task<void> ServePing(http::Exchange& exchange);
  Task<void> ServeSlis(http::Exchange& exchange);
  Task<void> ServeVerbosity(http::Exchange& exchange);
  std::string Flagz() const;
  std::string Statusz() const;
  Status ListenOne(http::Server& server, const std::string& address, std::string_view what, uint16_t* port);

  asio::any_io_executor executor_;
  const Config& config_;
  const Health& health_;
  Metrics& metrics_;
  const metrics::Registry& registry_;
  std::vector<std::pair<std::string, std::string>> flags_;
  WallTime started_;
  client::HealthSlis slis_;  // of /healthz on the metrics port
  http::Server health_server_, metrics_server_;
  uint16_t health_port_ = 0, metrics_port_ = 0;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_SERVER_H_
