// The pages of both ports, the health check node ports and the watch of the configuration file, over real sockets.
#include "proxy/server.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/async_testing.h"
#include "base/files.h"
#include "base/http_client.h"
#include "base/log.h"
#include "client/testing.h"
#include "proxy/config_watch.h"
#include "proxy/node_health_servers.h"

namespace skiff::proxy {
namespace {

struct ServerTest : testing::Test {
  ServerTest() {
    config.healthz_bind_address = config.metrics_bind_address = "127.0.0.1:0";
    config.enable_profiling = true;
    registry.AddMetaMetrics();
  }
  // "200 body"
  std::string Ask(uint16_t port, std::string target, std::string method = "GET", std::string body = "",
                  const char* host = "127.0.0.1") {
    http::Client client(loop.get_executor(), absl::StrCat(host, ":", port));
    http::ClientRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    auto answer = RunTask(loop, client.Do(std::move(request)));
    if (!answer.ok()) return std::string(answer.status().message());
    last = answer->headers;
    return absl::StrCat(answer->status, " ", answer->body);
  }
  asio::io_context loop;
  Config config;
  metrics::Registry registry;
  Metrics metrics{registry};
  FakeClock clock;
  Health health{clock};
  http::Headers last;
};

TEST_F(ServerTest, Pages) {
  Servers servers(loop.get_executor(), config, {{"config", ""}, {"nodeport-addresses", "[primary]"}, {"v", "0"}},
                  health, metrics, registry);
  ASSERT_TRUE(servers.Listen().ok());
  servers.SetFlag("nodeport-addresses", "[10.0.0.1/32]");
  uint16_t port = servers.metrics_port();
  EXPECT_EQ(Ask(port, "/proxyMode"), "200 ebpf");
  EXPECT_EQ(Ask(port, "/flagz"),
            "200 \nkube-proxy flagz\nWarning: This endpoint is not meant to be machine parseable, has no formatting "
            "compatibility guarantees and is for debugging purposes only.\nconfig: \nnodeport-addresses: "
            "[10.0.0.1/32]\nv: 0\n");
  EXPECT_NE(Ask(port, "/statusz").find("Paths  /configz /flagz /healthz /metrics /proxyMode\n"), std::string::npos);
  EXPECT_EQ(Ask(port, "/metrics/slis").find("healthcheck"), std::string::npos);
  EXPECT_EQ(Ask(port, "/healthz"), "200 ok");
  EXPECT_EQ(Ask(port, "/healthz?verbose"), "200 [+]ping ok\nhealthz check passed\n");
  EXPECT_NE(Ask(port, "/metrics/slis")
                .find("kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"healthz\"} 2\n"),
            std::string::npos);
  EXPECT_EQ(Ask(port, "/metrics/slis", "DELETE"), "200 metrics reset\n");
  EXPECT_EQ(Ask(port, "/metrics/slis").find("healthcheck"), std::string::npos);
  EXPECT_NE(Ask(port, "/metrics").find("registered_metrics_total"), std::string::npos);
  EXPECT_EQ(Ask(port, "/debug/flags/v"), "406 unsupported http method\n");
  EXPECT_EQ(Ask(port, "/debug/flags/v", "PUT", "x"), "400 strconv.ParseUint: parsing \"x\": invalid syntax\n");
  int before = log::Verbosity();
  EXPECT_EQ(Ask(port, "/debug/flags/v", "PUT", "3"), "200 successfully set klog.logging.verbosity to 3\n");
  EXPECT_EQ(log::Verbosity(), 3);
  log::SetVerbosity(before);
  EXPECT_EQ(Ask(port, "/debug/pprof/"), "404 404 page not found\n");
  config.enable_profiling = false;
  EXPECT_EQ(Ask(port, "/debug/flags/v"), "404 404 page not found\n");
}

TEST_F(ServerTest, NodeThatIsToGo) {
  Servers servers(loop.get_executor(), config, {}, health, metrics, registry);
  ASSERT_TRUE(servers.Listen().ok());
  uint16_t port = servers.health_port();
  health.SetNode(true, true);
  EXPECT_TRUE(Ask(port, "/healthz").starts_with("200 {")) << Ask(port, "/healthz");
  health.SetNode(true, false);
  EXPECT_TRUE(Ask(port, "/healthz").starts_with("503 {"));
  EXPECT_TRUE(Ask(port, "/livez").starts_with("200 {"));
  EXPECT_EQ(Ask(servers.metrics_port(), "/flagz"), "404 404 page not found\n") << "gate off, or a build without flags";
}

TEST_F(ServerTest, AddressInUse) {
  Servers first(loop.get_executor(), config, {}, health, metrics, registry);
  ASSERT_TRUE(first.Listen().ok());
  Config other = config;
  other.metrics_bind_address = absl::StrCat("127.0.0.1:", first.metrics_port());
  Servers second(loop.get_executor(), other, {}, health, metrics, registry);
  EXPECT_TRUE(second.Listen().ok()) << "tried again later";
  other.bind_address_hard_fail = true;
  Servers third(loop.get_executor(), other, {}, health, metrics, registry);
  const char* event = nullptr;
  EXPECT_FALSE(third.Listen(&event).ok());
  EXPECT_STREQ(event, "FailedToStartMetricServer");
}

TEST_F(ServerTest, HealthCheckNodePorts) {
  std::vector<std::string> warnings;
  NodeHealthServers servers(loop.get_executor(), health, "n1", [&](const std::string& service, std::string message) {
    warnings.push_back(absl::StrCat(service, ": ", message));
  });
  servers.SetAddresses({"127.0.0.1"}, {"[::1]"});
  // A port that is free in both families, or nearly always so.
  http::Server probe(loop.get_executor(),
                     [](http::Exchange& e) -> Task<void> { (void)co_await e.Respond(200, {}, ""); });
  auto taken = probe.Listen("127.0.0.1:0");
  ASSERT_TRUE(taken.ok());
  Syncer::LocalHealth web;
  web.port = *taken;
  web.families[0] = true;
  servers.Update({{"ns/web", web}});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_TRUE(warnings[0].starts_with(
      absl::StrCat("ns/web: node n1 failed to start healthcheck \"ns/web\" on port ", *taken, ": ")))
      << warnings[0];
  EXPECT_EQ(servers.size(), 0u);
  RunTask(loop, probe.Shutdown(std::chrono::nanoseconds(0)));
  web.families[1] = true;
  web.local_endpoints[0] = 2;
  servers.Update({{"ns/web", web}});
  EXPECT_EQ(warnings.size(), 1u);
  ASSERT_EQ(servers.size(), 2u);
  EXPECT_EQ(Ask(web.port, "/"),
            "200 {\n\t\"service\": {\n\t\t\"namespace\": \"ns\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": "
            "2,\n\t\"serviceProxyHealthy\": true\n}");
  EXPECT_EQ(last.Get("X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_TRUE(Ask(web.port, "/", "GET", "", "[::1]").starts_with("503 ")) << "each family counts its own";
  EXPECT_EQ(last.Get("X-Load-Balancing-Endpoint-Weight"), "0");
  servers.Update({});
  EXPECT_EQ(servers.size(), 0u);
}

TEST(ConfigWatchTest, WrittenTo) {
  asio::io_context loop;
  char dir[] = "/tmp/skiff-config-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  std::string path = absl::StrCat(dir, "/config");
  ASSERT_TRUE(WriteFileAtomic(path, "a").ok());
  Status ended;
  TaskGroup group(loop.get_executor());
  auto watch = [](asio::any_io_executor executor, std::string file, Status* out) -> Task<void> {
    *out = co_await WatchConfigFile(executor, std::move(file));
  };
  group.Spawn("watch", watch(loop.get_executor(), path, &ended));
  loop.poll();
  FILE* f = fopen(path.c_str(), "ae");
  ASSERT_NE(f, nullptr);
  fputs("b", f);
  fclose(f);
  EXPECT_TRUE(client::RunUntil(loop, [&] { return !ended.ok(); }));
  EXPECT_EQ(std::string(ended.message()), "content of the proxy server's configuration file was updated");
  EXPECT_FALSE(RunTask(loop, WatchConfigFile(loop.get_executor(), "/nonexistent/config")).ok());
  EXPECT_EQ(system(absl::StrCat("rm -r ", dir).c_str()), 0);
}

}  // namespace
}  // namespace skiff::proxy
