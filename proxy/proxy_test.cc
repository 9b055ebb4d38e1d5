// The whole proxy against a fake API server, with real kernel programs and sockets.
#include "proxy/proxy.h"

#include <mutex>

#include "base/log.h"
#include "client/fake_api_server.h"
#include "client/testing.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"
#include "proxy/data_path_testing.h"

namespace skiff::proxy {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery = ::k8s::io::api::discovery::v1;
namespace networking = ::k8s::io::api::networking::v1;
using client::RunUntil;

core::Service Web(std::string_view cluster_ip = "10.96.0.1") {
  core::Service out;
  out.mutable_metadata()->set_namespace_("default");
  out.mutable_metadata()->set_name("web");
  out.mutable_spec()->set_clusterip(std::string(cluster_ip));
  out.mutable_spec()->add_clusterips(std::string(cluster_ip));
  auto* port = out.mutable_spec()->add_ports();
  port->set_port(80);
  port->set_protocol("TCP");
  return out;
}

discovery::EndpointSlice Slice(const std::vector<std::string>& ips) {
  discovery::EndpointSlice out;
  out.mutable_metadata()->set_namespace_("default");
  out.mutable_metadata()->set_name("web-abc");
  (*out.mutable_metadata()->mutable_labels())["kubernetes.io/service-name"] = "web";
  out.set_addresstype("IPv4");
  auto* port = out.add_ports();
  port->set_name("");
  port->set_port(8080);
  port->set_protocol("TCP");
  for (const auto& ip : ips) {
    auto* e = out.add_endpoints();
    e->add_addresses(ip);
    e->mutable_conditions()->set_ready(true);
  }
  return out;
}

class ProxyTest : public OwnNodeTest {
 protected:
  void SetUp() override {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    core::Node node;
    node.mutable_metadata()->set_name("n1");
    server_.Put(node);
  }
  void TearDown() override {
    if (!skip_.empty()) return;
    Stop();
    EXPECT_TRUE(RemoveDataPath(Options()).ok());
  }
  void Start(std::shared_ptr<client::Rest> rest = nullptr) {
    auto loaded = DataPath::Load(Options());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    data_path_ = std::move(*loaded);
    ProxyOptions options;
    options.node_name = "n1";
    options.config.healthz_bind_address = "127.0.0.1:0";
    options.config.metrics_bind_address = "127.0.0.1:0";
    group_ = std::make_unique<TaskGroup>(loop_.get_executor());
    ended_ = false;
    group_->Spawn("proxy", Run(rest ? std::move(rest) : server_.NewRest(), options));
  }
  Task<void> Run(std::shared_ptr<client::Rest> rest, ProxyOptions options) {
    status_ = co_await RunProxy(loop_.get_executor(), std::move(rest), *data_path_, std::move(options));
    ended_ = true;
  }
  void Stop() {
    if (!group_) return;
    group_->Cancel();
    EXPECT_TRUE(RunUntil(loop_, [&] { return ended_; }));
    EXPECT_TRUE(absl::IsCancelled(status_)) << status_;
    group_.reset();
    data_path_.reset();
  }
  // The answer becomes `want`.
  testing::AssertionResult Comes(std::string_view want, std::string_view ip = "10.96.0.1", uint16_t port = 80) {
    std::string have;
    bool ok = RunUntil(loop_, [&] {
      have = TcpOnce(ip, port);
      return have == want;
    });
    return ok ? testing::AssertionSuccess() : testing::AssertionFailure() << have << " instead of " << want;
  }

  asio::io_context loop_;
  client::FakeApiServer server_{loop_.get_executor()};
  std::unique_ptr<DataPath> data_path_;
  std::unique_ptr<TaskGroup> group_;
  Status status_;
  bool ended_ = false;
};

TEST_F(ProxyTest, ROOT_FollowsTheApi) {
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM), b("b", "10.1.0.2", 8080, SOCK_STREAM);
  server_.Put(Web());
  server_.Put(Slice({"10.1.0.1"}));
  Start();
  EXPECT_TRUE(Comes("a 10.96.0.1:80"));
  server_.Put(Slice({"10.1.0.2"}));
  EXPECT_TRUE(Comes("b 10.96.0.1:80"));
  server_.Put(Slice({}));
  EXPECT_TRUE(Comes("connect: Connection refused"));
  server_.Put(Web("10.96.0.7"));
  server_.Put(Slice({"10.1.0.1"}));
  EXPECT_TRUE(Comes("a 10.96.0.7:80", "10.96.0.7"));
  EXPECT_EQ(TcpOnce("10.96.0.1", 80), "connect: Network is unreachable") << "no longer a service";
  // Deleted and made anew while nobody watches: another uid, the same content.
  server_.Remove(core::Service::default_instance(), "default/web");
  server_.Put(Web("10.96.0.7"));
  server_.DropWatches();
  server_.Compact();
  server_.Put(Slice({"10.1.0.2"}));
  EXPECT_TRUE(Comes("b 10.96.0.7:80", "10.96.0.7"));
  // While the proxy is away the data path goes on; what changed meanwhile is made good.
  Stop();
  EXPECT_EQ(TcpOnce("10.96.0.7", 80), "b 10.96.0.7:80");
  server_.Put(Slice({"10.1.0.1"}));
  Start();
  EXPECT_TRUE(Comes("a 10.96.0.7:80", "10.96.0.7"));
  server_.Remove(core::Service::default_instance(), "default/web");
  EXPECT_TRUE(Comes("connect: Network is unreachable", "10.96.0.7"));
}

TEST_F(ProxyTest, ROOT_ServiceCidrsReachTheKernel) {
  networking::ServiceCIDR cidr;
  cidr.mutable_metadata()->set_name("kubernetes");
  cidr.mutable_spec()->add_cidrs("10.96.0.0/16");
  cidr.mutable_spec()->add_cidrs("fd96::/112");
  server_.Put(cidr);
  Start();
  auto known = [&] { return data_path_->maps().ReadSettings()->service_cidrs; };
  EXPECT_TRUE(RunUntil(loop_, [&] { return known() == 2; }));
  cidr.mutable_metadata()->set_name("more");
  cidr.mutable_spec()->clear_cidrs();
  cidr.mutable_spec()->add_cidrs("10.98.0.0/16");
  server_.Put(cidr);
  EXPECT_TRUE(RunUntil(loop_, [&] { return known() == 3; }));
  server_.Remove(networking::ServiceCIDR::default_instance(), "kubernetes");
  EXPECT_TRUE(RunUntil(loop_, [&] { return known() == 1; }));
}

TEST_F(ProxyTest, ROOT_AServerWithoutServiceCidrsIsServedToo) {
  server_.inspect = [](const http::Request& request) {
    return request.target.find("servicecidrs") == std::string::npos;
  };
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM);
  server_.Put(Web());
  server_.Put(Slice({"10.1.0.1"}));
  Start();
  EXPECT_TRUE(Comes("a 10.96.0.1:80"));
}

std::mutex g_log_lock;  // programs are loaded on another thread
std::string g_log;

// Security row secrets-in-logs: the token that requests carry, whatever happens to them.
TEST_F(ProxyTest, ROOT_SecretsInLogs_TheTokenIsNeverThere) {
  constexpr char kToken[] = "hunter2-do-not-print";
  log::SetSink([](std::string_view line) {
    std::lock_guard lock(g_log_lock);
    g_log.append(line);
  });
  log::SetVerbosity(10);
  Backend a("a", "10.1.0.1", 8080, SOCK_STREAM);
  int given = 0;
  server_.inspect = [&](const http::Request& request) {
    given += request.headers.Get("Authorization") == absl::StrCat("Bearer ", kToken);
    return given != 2 && given != 5;  // what fails is logged
  };
  server_.FailNext(2, 401);
  server_.DropNext(1);
  server_.Put(Web());
  server_.Put(Slice({"10.1.0.1"}));
  client::Config config = server_.config();
  config.token = kToken;
  auto rest = client::Rest::Make(loop_.get_executor(), std::move(config));
  ASSERT_TRUE(rest.ok()) << rest.status();
  Start(*rest);
  EXPECT_TRUE(Comes("a 10.96.0.1:80"));
  server_.CorruptNextEvent();
  server_.Put(Slice({"10.1.0.1"}));
  server_.DropWatches();
  EXPECT_TRUE(RunUntil(loop_, [&] { return server_.watches() >= 3; }));
  Stop();
  log::SetSink(nullptr);
  log::SetVerbosity(0);
  EXPECT_GT(given, 8);
  std::lock_guard lock(g_log_lock);
  for (const char* said : {"refused by the test", "a fault on demand", "Services are served"}) {
    EXPECT_NE(g_log.find(said), std::string::npos) << g_log;
  }
  EXPECT_EQ(g_log.find(kToken), std::string::npos);
}

TEST_F(ProxyTest, ROOT_HealthCheckNodePort) {
  auto service = Web();
  service.mutable_spec()->set_type("LoadBalancer");
  service.mutable_spec()->set_externaltrafficpolicy("Local");
  service.mutable_spec()->set_healthchecknodeport(31000);
  server_.Put(service);
  auto slice = Slice({"10.1.0.1", "10.1.0.2"});
  for (auto& e : *slice.mutable_endpoints()) e.set_nodename("n1");
  server_.Put(slice);
  Start();
  // Asked from a thread: the loop answers.
  auto ask = [&] {
    std::string answer;
    std::atomic<bool> done = false;
    std::thread client([&] {
      Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      Sockaddr to = Sockaddr::Of("127.0.0.1", 31000);
      if (connect(fd.get(), to.get(), to.size) == 0) {
        std::string_view request = "GET /anything HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        (void)!write(fd.get(), request.data(), request.size());
        for (std::string part; !(part = ReadName(fd.get())).empty() && !part.starts_with("recv");) answer += part;
      }
      done = true;
    });
    EXPECT_TRUE(RunUntil(loop_, [&] { return done.load(); }));
    client.join();
    return answer;
  };
  std::string answer;
  EXPECT_TRUE(RunUntil(loop_, [&] { return !(answer = ask()).empty(); }));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("X-Load-Balancing-Endpoint-Weight: 2\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(
      answer.ends_with("\r\n\r\n{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n"
                       "\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}"))
      << answer;
  server_.Put(Slice({"10.1.0.1"}));  // of no node
  EXPECT_TRUE(RunUntil(loop_, [&] { return (answer = ask()).starts_with("HTTP/1.1 503"); })) << answer;
  EXPECT_NE(answer.find("X-Load-Balancing-Endpoint-Weight: 0\r\n"), std::string::npos) << answer;
  server_.Remove(core::Service::default_instance(), "default/web");
  EXPECT_TRUE(RunUntil(loop_, [&] { return ask().empty(); }));
}

}  // namespace
}  // namespace skiff::proxy
