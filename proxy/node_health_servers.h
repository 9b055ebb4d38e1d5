// Health check node ports: one small HTTP server for each service of type LoadBalancer with the traffic policy Local,
// which tells outside load balancers whether this node has endpoints. A service of both families has two, each counting
// its own family's endpoints, as upstream's two proxiers do. Loop thread only.
#ifndef SKIFF_PROXY_NODE_HEALTH_SERVERS_H_
#define SKIFF_PROXY_NODE_HEALTH_SERVERS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/http_server.h"
#include "proxy/health.h"
#include "proxy/syncer.h"

namespace skiff::proxy {

class NodeHealthServers {
 public:
  // `warn` hears of ports that cannot be listened on: the service, and the message for an Event on it. `health` must
  // outlive this.
  using Warn = std::function<void(const std::string& service, std::string message)>;
  NodeHealthServers(asio::any_io_executor executor, const Health& health, std::string node_name, Warn warn);
  // Where to listen, by family (HealthCheckAddresses). All servers start anew where that has changed; with the next
  // Update.
  void SetAddresses(std::vector<std::string> v4, std::vector<std::string> v6);
  // Starts, stops and changes servers to match. A port that cannot be bound is logged, told in an Event on the service,
  // and tried again next time.
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
  using Key = std::pair<std::string, Family>;  // service
  static Task<void> Serve(std::shared_ptr<State> state, http::Exchange& exchange);
  Status Start(const std::string& service, Family family, uint16_t port);

  asio::any_io_executor executor_;
  const Health& health_;
  std::string node_name_;
  Warn warn_;
  std::vector<std::string> addresses_[2] = {{"0.0.0.0"}, {"[::]"}};
  std::map<Key, Entry> servers_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_NODE_HEALTH_SERVERS_H_
