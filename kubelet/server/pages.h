// The pages of the kubelet's server that need no stream: health, statistics, pods, configuration, logs. Loop only.
#ifndef SKIFF_KUBELET_SERVER_PAGES_H_
#define SKIFF_KUBELET_SERVER_PAGES_H_

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/http_server.h"
#include "client/component_metrics.h"
#include "kubelet/server/host.h"
#include "kubelet/server/server.h"

namespace skiff::kubelet {

// The loop that looks at the runtime went round within two sync periods, or five minutes where those are less.
bool SyncLoopAlive(std::chrono::nanoseconds sync_frequency, ServerHost& host, Clock& clock);
struct HealthChecks {
  std::vector<std::string_view> names;  // in the order of the page
  bool sync_loop_alive = true;          // what "syncloop" finds; the others are well whenever they can be asked
  client::HealthSlis& slis;             // where the outcomes are counted
};
// `check` is "" for all, or one of them.
Task<void> ServeHealthz(http::Exchange& exchange, std::string check, HealthChecks checks);
Task<void> ServePods(http::Exchange& exchange, ServerHost& host);
Task<void> ServeRunningPods(http::Exchange& exchange, ServerHost& host);
Task<void> ServeConfigz(http::Exchange& exchange, ServerHost& host);
// DELETE resets them.
Task<void> ServeSlis(http::Exchange& exchange, client::HealthSlis& slis);
// `which` is "", "cadvisor", "resource" or "probes".
Task<void> ServeMetrics(http::Exchange& exchange, const std::string& which, ServerHost& host);
Task<void> ServeStatsSummary(http::Exchange& exchange, ServerHost& host);
Task<void> ServeStatusz(http::Exchange& exchange, Clock& clock);
Task<void> ServeRun(http::Exchange& exchange, std::string ns, std::string pod, std::string uid, std::string container,
                    ServerHost& host);
Task<void> ServeCheckpoint(http::Exchange& exchange, std::string ns, std::string pod, std::string container,
                           const KubeletServerOptions& options, ServerHost& host, Clock& clock);
Task<void> ServeContainerLogs(http::Exchange& exchange, std::string ns, std::string pod, std::string container,
                              const KubeletServerOptions& options, ServerHost& host, Clock& clock);
// Files and listings of the node's log directory; no symbolic link is followed. `path` below it, "" for itself.
Task<void> ServeNodeLogs(http::Exchange& exchange, std::string path, const KubeletServerOptions& options);
Task<void> ServeDebugFlags(http::Exchange& exchange);
Task<void> ServeCmdline(http::Exchange& exchange);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_PAGES_H_
