#include "kubelet/api_clients.h"

#include "client/lease.h"

namespace skiff::kubelet {
namespace {

client::Config WithLimit(client::Config config, int64_t qps, int64_t burst) {
  config.qps = qps == 0 ? 5 : static_cast<double>(qps);
  config.burst = burst == 0 ? 10 : static_cast<int>(burst);
  return config;
}

}  // namespace

StatusOr<ApiClients> MakeApiClients(asio::any_io_executor executor, const client::Config& api, const Config& config) {
  ApiClients out;
  ASSIGN_OR_RETURN(out.general,
                   client::Rest::Make(executor, WithLimit(api, config.kube_api_qps, config.kube_api_burst)));
  ASSIGN_OR_RETURN(
      out.heartbeats,
      client::Rest::Make(executor, client::ForHeartbeats(api, config.node_status_update_frequency,
                                                         std::chrono::seconds(config.node_lease_duration_seconds))));
  ASSIGN_OR_RETURN(out.events, client::Rest::Make(executor, WithLimit(api, config.event_qps, config.event_burst)));
  return out;
}

}  // namespace skiff::kubelet
