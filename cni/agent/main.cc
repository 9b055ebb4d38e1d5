// skiff-cni-agent: one a node; see agent.h. Takes flanneld's place: same annotations, device and port.
#include <unistd.h>

#include <cstdio>

#include "base/flags.h"
#include "base/log.h"
#include "base/program.h"
#include "client/kubeconfig.h"
#include "cni/agent/agent.h"

namespace skiff::cni {
namespace {

struct Settings {
  AgentOptions agent;
  std::string kubeconfig, cluster_cidr = "10.244.0.0/16";
  bool cleanup = false;
};

Task<Status> Main(asio::io_context& loop, Settings settings) {
  if (settings.cleanup) co_return co_await Cleanup(settings.agent);
  auto config = settings.kubeconfig.empty() ? client::InClusterConfig() : client::LoadKubeconfig(settings.kubeconfig);
  if (!config.ok()) co_return config.status();
  auto rest = client::Rest::Make(loop.get_executor(), *std::move(config));
  if (!rest.ok()) co_return rest.status();
  co_return co_await RunAgent(*std::move(rest), settings.agent);
}

int Run(int argc, char** argv) {
  Settings settings;
  int64_t verbosity = 0, vni = 1, port = 8472;
  bool version = false;
  FlagSet flags("skiff-cni-agent", "Keeps this node's part of the pod network: VXLAN device, routes, masquerading.");
  flags.String("kubeconfig", &settings.kubeconfig,
               "Kubeconfig of the API server; without it the pod's service account is used.");
  flags.String("node-name", &settings.agent.node_name, "This node's name; by default $NODE_NAME, then the host name.");
  flags.String("cluster-cidr", &settings.cluster_cidr, "The addresses of all pods; traffic to others is masqueraded.");
  flags.String("public-ip", &settings.agent.public_ip,
               "The address other nodes reach this one at; by default its InternalIP.");
  flags.String("conf-dir", &settings.agent.conf_dir, "Where the runtime looks for its network configuration.");
  flags.String("state-dir", &settings.agent.state_dir, "Where the plugin keeps address reservations.");
  flags.Int("vni", &vni, "VXLAN network identifier, the same on all nodes.");
  flags.Int("port", &port, "UDP port of VXLAN, the same on all nodes.");
  flags.Bool("cleanup", &settings.cleanup, "Remove device, rules and configuration from this node, and exit.");
  flags.Bool("version", &version, "Print the version, and exit.");
  flags.Int("v", &verbosity, "Log verbosity.", 'v');
  const auto rest = flags.Parse(argc, argv);
  if (absl::IsCancelled(rest.status())) {
    fputs(std::string(rest.status().message()).c_str(), stdout);
    return 0;
  }
  if (version) {
    printf("skiff-cni-agent %s\n", kSkiffVersion);
    return 0;
  }
  Status status = rest.status();
  if (status.ok() && !rest->empty()) status = InvalidArgument("unexpected argument: ", rest->front());
  const auto cidr = Prefix::Parse(settings.cluster_cidr);
  if (status.ok() && (!cidr.ok() || cidr->ip.v6))
    status = InvalidArgument("--cluster-cidr: not an IPv4 subnet: \"", settings.cluster_cidr, "\"");
  if (status.ok() && (vni < 1 || vni >= 1 << 24))
    status = InvalidArgument("--vni: must be from 1 to 16777215, not ", vni);
  if (status.ok() && (port < 1 || port > 65535))
    status = InvalidArgument("--port: must be from 1 to 65535, not ", port);
  if (status.ok() && !settings.agent.public_ip.empty() && !Ip::Parse(settings.agent.public_ip).ok())
    status = InvalidArgument("--public-ip: not an IP address: \"", settings.agent.public_ip, "\"");
  if (!status.ok()) {
    fprintf(stderr, "Error: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  if (settings.agent.node_name.empty()) {
    char host[256] = "";
    const char* env = getenv("NODE_NAME");
    gethostname(host, sizeof host - 1);
    settings.agent.node_name = env ? env : host;
  }
  settings.agent.cluster_cidr = *cidr;
  settings.agent.vni = static_cast<uint32_t>(vni);
  settings.agent.port = static_cast<uint16_t>(port);
  log::SetVerbosity(static_cast<int>(verbosity));
  return RunProgram([&settings](asio::io_context& loop) { return Main(loop, settings); });
}

}  // namespace
}  // namespace skiff::cni

int main(int argc, char** argv) { return skiff::cni::Run(argc, argv); }
