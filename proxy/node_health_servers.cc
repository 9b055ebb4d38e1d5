#include "proxy/node_health_servers.h"

#include "absl/strings/str_cat.h"
#include "base/go_text.h"
#include "base/log.h"

namespace skiff::proxy {

NodeHealthServers::NodeHealthServers(asio::any_io_executor executor, const Health& health, std::string node_name,
                                     Warn warn)
    : executor_(std::move(executor)), health_(health), node_name_(std::move(node_name)), warn_(std::move(warn)) {}

void NodeHealthServers::SetAddresses(std::vector<std::string> v4, std::vector<std::string> v6) {
  std::vector<std::string>* now[2] = {&v4, &v6};
  for (size_t family : {0u, 1u}) {
    if (addresses_[family] == *now[family]) continue;
    addresses_[family] = std::move(*now[family]);
    std::erase_if(servers_, [&](const auto& entry) { return static_cast<size_t>(entry.first.second) == family; });
  }
}

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

Status NodeHealthServers::Start(const std::string& service, Family family, uint16_t port) {
  auto state = std::make_shared<State>();
  size_t slash = service.find('/');
  state->ns = service.substr(0, slash);
  state->name = service.substr(slash + 1);
  state->health = &health_;
  auto handler = [state](http::Exchange& exchange) { return Serve(state, exchange); };
  auto server = std::make_unique<http::Server>(executor_, handler);
  for (const std::string& address : addresses_[static_cast<size_t>(family)]) {
    RETURN_IF_ERROR(server->Listen(absl::StrCat(address, ":", port)));
  }
  servers_.emplace(Key(service, family), Entry{port, std::move(state), std::move(server)});
  VLOG(2, "Opening healthcheck", {"service", service}, {"port", port});
  return absl::OkStatus();
}

void NodeHealthServers::Update(const std::map<std::string, Syncer::LocalHealth>& services) {
  std::erase_if(servers_, [&](const auto& entry) {
    auto it = services.find(entry.first.first);
    bool gone = it == services.end() || it->second.port != entry.second.port ||
                !it->second.families[static_cast<size_t>(entry.first.second)];
    if (gone) VLOG(2, "Closing healthcheck", {"service", entry.first.first}, {"port", entry.second.port});
    return gone;
  });
  for (const auto& [service, local] : services) {
    for (Family family : {Family::kIPv4, Family::kIPv6}) {
      if (!local.families[static_cast<size_t>(family)]) continue;
      auto it = servers_.find(Key(service, family));
      if (it == servers_.end()) {
        Status status = Start(service, family, local.port);
        if (!status.ok()) {
          LOG_ERROR(status, "Failed to start healthcheck", {"node", node_name_}, {"service", service},
                    {"port", local.port});
          if (warn_) {
            warn_(service, absl::StrCat("node ", node_name_, " failed to start healthcheck ", GoQuote(service),
                                        " on port ", local.port, ": ", status.message()));
          }
          continue;
        }
        it = servers_.find(Key(service, family));
      }
      it->second.state->local_endpoints = local.local_endpoints[static_cast<size_t>(family)];
    }
  }
}

}  // namespace skiff::proxy
