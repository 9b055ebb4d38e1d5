// What the cadvisor program serves: /metrics, /healthz, /api/v1.3/{machine,containers/..}, /api/v1.3/version, and a
// plain list of the cgroups at /containers/. Upstream's web pages, its storage drivers and the other API versions are
// not there (404). Loop thread; the readings are made on the blocking pool.
#ifndef SKIFF_CADVISOR_SERVER_H_
#define SKIFF_CADVISOR_SERVER_H_

#include <memory>
#include <string>

#include "base/http_server.h"
#include "base/metrics.h"
#include "cadvisor/cgroup.h"
#include "cadvisor/host.h"

namespace skiff::cadvisor {

class ApiServer {
 public:
  struct Options {
    std::string metrics_path = "/metrics";
    std::string url_prefix;  // "/cadvisor": before every path
    std::string version;
  };
  ApiServer(Host host, CgroupTree cgroups, Options options);

  Task<void> Handle(http::Exchange& exchange);

 private:
  // Shared with the readings on the pool, which a client that goes away does not stop.
  struct Machine {
    Host host;
    CgroupTree cgroups;
  };
  Task<void> Metrics(http::Exchange& exchange);
  Task<void> MachineApi(http::Exchange& exchange);
  Task<void> VersionApi(http::Exchange& exchange);
  Task<void> ContainerApi(http::Exchange& exchange, std::string cgroup);
  Task<void> Containers(http::Exchange& exchange, std::string cgroup);

  const std::shared_ptr<const Machine> machine_;
  const Options options_;
  metrics::Registry registry_;  // the program's own figures
};

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_SERVER_H_
