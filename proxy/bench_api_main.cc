// For measurements: an API server that knows SERVICES services of ENDPOINTS endpoints each, and one Node "n1". Writes a
// kubeconfig for itself to FILE and serves until it is stopped. Each line on standard input changes one endpoint.
//
//   kube-proxy-bench-api FILE SERVICES ENDPOINTS [TARGET...]
//
// With TARGETs (addresses on the node, port 8080) there is one more service, 10.111.0.1:80 and NodePort 30080, which
// leads to one of them at a time; then each line makes it the next one. After each change the time before it is
// printed, CLOCK_MONOTONIC in nanoseconds.
#include <cstdio>
#include <cstdlib>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/files.h"
#include "base/program.h"
#include "client/fake_api_server.h"
#include "client/kubeconfig.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"

namespace skiff::proxy {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery = ::k8s::io::api::discovery::v1;

void PutService(client::FakeApiServer& server, int i) {
  core::Service s;
  s.mutable_metadata()->set_namespace_("bench");
  s.mutable_metadata()->set_name(absl::StrCat("service-", i));
  std::string ip = absl::StrCat("10.", 97 + i / 62500, ".", i / 250 % 250, ".", i % 250 + 1);
  s.mutable_spec()->set_clusterip(ip);
  s.mutable_spec()->add_clusterips(ip);
  s.mutable_spec()->set_type("ClusterIP");
  s.mutable_spec()->set_sessionaffinity("None");
  (*s.mutable_spec()->mutable_selector())["app"] = absl::StrCat("service-", i);
  auto* port = s.mutable_spec()->add_ports();
  port->set_name("http");
  port->set_port(80);
  port->set_protocol("TCP");
  server.Put(s);
}

void PutSlice(client::FakeApiServer& server, int i, int endpoints) {
  discovery::EndpointSlice s;
  s.mutable_metadata()->set_namespace_("bench");
  s.mutable_metadata()->set_name(absl::StrCat("service-", i, "-abcde"));
  (*s.mutable_metadata()->mutable_labels())["kubernetes.io/service-name"] = absl::StrCat("service-", i);
  s.set_addresstype("IPv4");
  auto* port = s.add_ports();
  port->set_name("http");
  port->set_port(8080);
  port->set_protocol("TCP");
  for (int e = 0; e < endpoints; e++) {
    int n = i * endpoints + e;
    auto* endpoint = s.add_endpoints();
    endpoint->add_addresses(absl::StrCat("10.", 128 + n / 62500, ".", n / 250 % 250, ".", n % 250 + 1));
    endpoint->mutable_conditions()->set_ready(true);
    endpoint->mutable_conditions()->set_serving(true);
    endpoint->mutable_conditions()->set_terminating(false);
    endpoint->set_nodename(absl::StrCat("node-", n % 100));
    auto* target = endpoint->mutable_targetref();
    target->set_kind("Pod");
    target->set_namespace_("bench");
    target->set_name(absl::StrCat("service-", i, "-", e));
  }
  server.Put(s);
}

void PutTarget(client::FakeApiServer& server) {
  core::Service s;
  s.mutable_metadata()->set_namespace_("bench");
  s.mutable_metadata()->set_name("target");
  s.mutable_spec()->set_clusterip("10.111.0.1");
  s.mutable_spec()->add_clusterips("10.111.0.1");
  s.mutable_spec()->set_type("NodePort");
  s.mutable_spec()->set_externaltrafficpolicy("Cluster");
  auto* port = s.mutable_spec()->add_ports();
  port->set_name("http");
  port->set_port(80);
  port->set_nodeport(30080);
  port->set_protocol("TCP");
  server.Put(s);
}

void PutTargetSlice(client::FakeApiServer& server, const std::string& address) {
  discovery::EndpointSlice s;
  s.mutable_metadata()->set_namespace_("bench");
  s.mutable_metadata()->set_name("target-abcde");
  (*s.mutable_metadata()->mutable_labels())["kubernetes.io/service-name"] = "target";
  s.set_addresstype("IPv4");
  auto* port = s.add_ports();
  port->set_name("http");
  port->set_port(8080);
  port->set_protocol("TCP");
  auto* endpoint = s.add_endpoints();
  endpoint->add_addresses(address);
  endpoint->mutable_conditions()->set_ready(true);
  endpoint->set_nodename("n1");
  server.Put(s);
}

Task<Status> Serve(asio::io_context& loop, std::string file, int services, int endpoints,
                   std::vector<std::string> targets) {
  client::FakeApiServer server(loop.get_executor());
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  server.Put(node);
  for (int i = 0; i < services; i++) {
    PutService(server, i);
    PutSlice(server, i, endpoints);
  }
  if (!targets.empty()) {
    PutTarget(server);
    PutTargetSlice(server, targets[0]);
  }
  CO_RETURN_IF_ERROR(WriteFileAtomic(file, client::ToKubeconfig(server.config())));
  asio::posix::stream_descriptor input(loop, dup(0));
  for (size_t flip = 1;; flip++) {
    char buffer[64];
    auto [ec, n] = co_await input.async_read_some(asio::buffer(buffer), kAwait);
    if (ec) break;
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    if (!targets.empty())
      PutTargetSlice(server, targets[flip % targets.size()]);
    else if (services > 0)
      PutSlice(server, services / 2, flip % 2 == 0 ? endpoints : endpoints - 1);
    // After the watch has it: what comes first is what is measured.
    co_await asio::post(loop.get_executor(), kAwait);
    printf("%lld\n", static_cast<long long>(std::chrono::nanoseconds(now).count()));
    fflush(stdout);
  }
  for (;;) CO_RETURN_IF_ERROR(co_await SleepFor(std::chrono::hours(1)));
}

}  // namespace
}  // namespace skiff::proxy

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s FILE SERVICES ENDPOINTS [TARGET...]\n", argv[0]);
    return 2;
  }
  return skiff::RunProgram([&](skiff::asio::io_context& loop) {
    return skiff::proxy::Serve(loop, argv[1], atoi(argv[2]), atoi(argv[3]), {argv + 4, argv + argc});
  });
}
