#include "proxy/node_health_servers.h"

#include "base/log.h"

namespace skiff::proxy {

NodeHealthServers::NodeHealthServers(asio::any_io_executor executor, const Health& health,
                                     std::vector<std::string> addresses)
    : executor_(std::move(executor)), health_(health), addresses_(std::move(addresses)) {}

Task<void> NodeHealthServers::Serve(std::shared_ptr<State> state, http::Exchange& exchange) {
  bool healthy = state->health->healthy();
  int count = state->local_endpoints;
  http::Headers headers = {{"Content-Type", "application/json"},
                           {"X-Content-Type-Options", "nosniff"},
                           {"X-Load-Balancing-Endpoint-Weight", absl::StrCat(count)}};
  // The layout is upstream's text, tabs and all.
  std::string body = absl::StrCat("{\n\t\"service\": {\n\t\t\"namespace\": \"", state->ns, "\",\n\t\t\"name\": \"",
                                  state->name, "\"\n\t},\n\t\"localEndpoints\": ", count,
                                  ",\n\t\"serviceProxyHealthy\": ", healthy ? "true" : "false", "\n}");
  (void)co_await exchange.Respond(count > 0 && healthy ? 200 : 503, std::move(headers), std::move(body));
}

void NodeHealthServers::Update(const std::map<std::string, Syncer::LocalHealth>& services) {
  std::erase_if(servers_, [&](const auto& entry) {
    auto it = services.find(entry.first);
    return it == services.end() || it->second.port != entry.second.port;
  });
  for (const auto& [key, local] : services) {
    auto it = servers_.find(key);
    if (it == servers_.end()) {
      auto state = std::make_shared<State>();
      size_t slash = key.find('/');
      state->ns = key.substr(0, slash);
      state->name = key.substr(slash + 1);
      state->health = &health_;
      auto handler = [state](http::Exchange& exchange) { return Serve(state, exchange); };
      auto server = std::make_unique<http::Server>(executor_, handler);
      bool any = false;
      Status problem;
      for (const std::string& address : addresses_) {
        auto port = server->Listen(absl::StrCat(address, ":", local.port));
        problem = port.status();
        if ((any = port.ok())) break;
      }
      if (!any) LOG_ERROR(problem, "Failed to start healthcheck", {"service", key}, {"port", local.port});
      if (!any) continue;
      it = servers_.emplace(key, Entry{local.port, std::move(state), std::move(server)}).first;
    }
    it->second.state->local_endpoints = local.local_endpoints;
  }
}

}  // namespace skiff::proxy
