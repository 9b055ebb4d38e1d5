// cadvisor: statistics of the machine and its cgroups over HTTP.
#include <cstdio>

#include "base/flags.h"
#include "base/log.h"
#include "base/program.h"
#include "cadvisor/server.h"

namespace skiff::cadvisor {
namespace {

struct Options {
  std::string listen_ip;
  int64_t port = 8080;
  ApiServer::Options api;
};

Task<Status> Serve(asio::io_context& loop, const Options& options) {
  CO_ASSIGN_OR_RETURN(Host host, Host::Open());
  CO_ASSIGN_OR_RETURN(CgroupTree cgroups, CgroupTree::Detect(host.sys));
  LOG_INFO("Reading control groups", {"version", cgroups.version() == CgroupTree::Version::kV2 ? 2 : 1});
  ApiServer api(std::move(host), std::move(cgroups), options.api);
  http::Server server(loop.get_executor(), [&api](http::Exchange& exchange) { return api.Handle(exchange); });
  const std::string ip = options.listen_ip.empty()                          ? "0.0.0.0"
                         : options.listen_ip.find(':') != std::string::npos ? absl::StrCat("[", options.listen_ip, "]")
                                                                            : options.listen_ip;
  CO_ASSIGN_OR_RETURN(const uint16_t port, server.Listen(absl::StrCat(ip, ":", options.port)));
  LOG_INFO("Serving", {"address", ip}, {"port", port});
  while (!co_await IsCancelled()) (void)co_await SleepFor(std::chrono::hours(24));
  co_await ClearCancellation();
  co_await server.Shutdown(std::chrono::seconds(2));
  co_return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Options options;
  options.api.version = kSkiffVersion;
  FlagSet flags("cadvisor", "Serves CPU, memory, network and file system statistics of the machine and its cgroups.");
  flags.AllowSingleDash();
  int64_t verbosity = 0;
  bool version = false;
  flags.String("listen_ip", &options.listen_ip, "IP to listen on, defaults to all IPs");
  flags.Int("port", &options.port, "port to listen");
  flags.String("prometheus_endpoint", &options.api.metrics_path, "Endpoint to expose Prometheus metrics on");
  flags.String("url_base_prefix", &options.api.url_prefix, "prefix path that will be prepended to all paths");
  flags.Int("v", &verbosity, "number for the log level verbosity", 'v');
  flags.Bool("version", &version, "print cAdvisor version and exit");
  const StatusOr<std::vector<std::string>> rest = flags.Parse(argc, argv);
  if (absl::IsCancelled(rest.status())) {
    printf("%s", flags.Help().c_str());
    return 0;
  }
  std::string error = rest.ok() ? "" : std::string(rest.status().message());
  if (error.empty() && !rest->empty()) error = absl::StrCat("unexpected argument: ", rest->front());
  if (error.empty() && (options.port < 0 || options.port > 65535)) {
    error = absl::StrCat("invalid port: ", options.port);
  }
  if (!error.empty()) {
    fprintf(stderr, "%s\n", error.c_str());
    return 2;
  }
  if (version) {
    printf("cAdvisor version %s\n", kSkiffVersion);
    return 0;
  }
  log::SetVerbosity(static_cast<int>(verbosity));
  while (options.api.url_prefix.ends_with('/')) options.api.url_prefix.pop_back();
  return RunProgram([&options](asio::io_context& loop) { return Serve(loop, options); });
}

}  // namespace
}  // namespace skiff::cadvisor

int main(int argc, char** argv) { return skiff::cadvisor::Main(argc, argv); }
