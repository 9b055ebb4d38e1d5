// Health check node ports: one small HTTP server for each service of type LoadBalancer with the traffic policy Local,
// which tells outside load balancers whether this node has endpoints. Loop thread only.
#ifndef SKIFF_PROXY_NODE_HEALTH_SERVERS_H_
#define SKIFF_PROXY_NODE_HEALTH_SERVERS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/http_server.h"
#include "proxy/health.h"
#include "proxy/syncer.h"

namespace skiff::proxy {

class NodeHealthServers {
 public:
  // `addresses`: where to listen; the first that can be bound is enough.
  NodeHealthServers(asio::any_io_executor executor, const Health& health, std::vector<std::string> addresses);
  // Starts, stops and changes servers to match. A port that cannot be bound is logged and tried again next time.
  void Update(const std::map<std::string, Syncer::LocalHealth>& services);
  size_t size() const { return servers_.size(); }

 private:
  struct State {
    std::string ns, name;
    int local_endpoints = 0;
    const Health* health;
  };
  struct Entry {
    uint16_t port;
    std::shared_ptr<State> state;
    std::unique_ptr<http::Server> server;
  };
  static Task<void> Serve(std::shared_ptr<State> state, http::Exchange& exchange);

  asio::any_io_executor executor_;
  const Health& health_;
  std::vector<std::string> addresses_;
  std::map<std::string, Entry> servers_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_NODE_HEALTH_SERVERS_H_
