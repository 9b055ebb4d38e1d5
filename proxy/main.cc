// kube-proxy: the service proxy of a node. See docs/kube-proxy.md.
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/log.h"
#include "base/program.h"
#include "bpf/features.h"
#include "client/kubeconfig.h"
#include "client/rest.h"
#include "proxy/conntrack_settings.h"
#include "proxy/leftover_rules.h"
#include "proxy/proxy.h"
#include "proxy/show.h"

namespace skiff::proxy {
namespace {

int Fail(const Status& status) {
  std::string text(status.message());
  fprintf(stderr, "Error: %s\n", text.c_str());
  return 1;
}

StatusOr<std::string> NodeName(const Config& config) {
  if (!config.hostname_override.empty()) return config.hostname_override;
  utsname name;
  if (uname(&name) != 0) return ErrnoStatus(errno, "uname");
  std::string host(absl::StripAsciiWhitespace(name.nodename));
  absl::AsciiStrToLower(&host);
  if (host.empty()) return InvalidArgument("empty hostname is invalid");
  return host;
}

StatusOr<client::Config> ClientConfig(const CommandLine& line) {
  client::Config out;
  if (line.config.kubeconfig.empty() && line.master.empty()) {
    LOG_INFO("Neither kubeconfig file nor master URL was specified, falling back to in-cluster config");
    ASSIGN_OR_RETURN(out, client::InClusterConfig());
  } else if (!line.config.kubeconfig.empty()) {
    ASSIGN_OR_RETURN(out, client::LoadKubeconfig(line.config.kubeconfig));
  }
  if (!line.master.empty()) out.server = line.master;
  out.qps = line.config.qps;
  out.burst = line.config.burst;
  return out;
}

Task<Status> Serve(asio::io_context& loop, const CommandLine& line) {
  CO_ASSIGN_OR_RETURN(std::string node, NodeName(line.config));
  CO_ASSIGN_OR_RETURN(auto client_config, ClientConfig(line));
  auto loaded = DataPath::Load({.dir = line.bpf_dir, .cgroup = line.cgroup});
  std::vector<bpf::Feature> missing = bpf::Missing();
  if (!loaded.ok()) co_return bpf::Explain(loaded.status(), missing);
  for (const bpf::Feature& feature : missing) {
    LOG_WARNING("The kernel lacks a feature", {"feature", feature.name},
                {"since", absl::StrCat("Linux ", feature.since)}, {"without", feature.without});
  }
  std::unique_ptr<DataPath> data_path = std::move(*loaded);
  if (line.init_only) {
    // What needs privileges is done: the programs are in place, with whatever services the maps hold.
    co_return data_path->Attach();
  }
  auto score = absl::StrCat(line.config.oom_score_adj);
  if (FILE* f = fopen("/proc/self/oom_score_adj", "we"); f != nullptr) {
    bool ok = fputs(score.c_str(), f) >= 0;
    ok = fclose(f) == 0 && ok;
    if (!ok) VLOG(2, "Failed to apply OOMScore", {"oomScoreAdj", line.config.oom_score_adj});
  }
  ApplyConntrackSysctls(ConntrackSysctls(line.config.conntrack, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN))),
                        "/proc/sys/net/netfilter");
  CO_ASSIGN_OR_RETURN(auto rest, client::Rest::Make(loop.get_executor(), std::move(client_config)));
  if (line.config.mode != "ebpf") {
    LOG_INFO("The proxy mode is ebpf whatever was asked for", {"asked", line.config.mode});
  }
  Status status = co_await RunProxy(
      loop.get_executor(), std::move(rest), *data_path,
      {.config = line.config,
       .gates = line.gates,
       .config_file = line.config_file,
       .flags = line.flags,
       .node_name = std::move(node),
       .packet_devices = line.packet_devices,
       .path = {.pod_packets = line.pod_packets, .direct_return = line.direct_return, .xdp = line.xdp},
       .balancing = {.maglev = line.load_balancing == "maglev",
                     .table = static_cast<uint32_t>(line.maglev_table_size)}});
  co_return status;
}

int Main(int argc, char** argv) {
  auto line = CommandLine::Parse(argc, argv);
  if (absl::IsCancelled(line.status())) {
    fputs(std::string(line.status().message()).c_str(), stdout);
    return 0;
  }
  if (!line.ok()) return Fail(line.status());
  if (!line->version.empty()) {
    printf("Kubernetes %s\n", kKubernetesVersion);
    return 0;
  }
  log::SetVerbosity(line->config.verbosity);
  log::SetFormat(line->config.log_format == "json" ? log::Format::kJson : log::Format::kText);
  if (!line->write_config_to.empty()) {
    Status status = WriteFileAtomic(line->write_config_to, api::JsonToYaml(line->config.ToJson()));
    if (!status.ok()) return Fail(status);
    LOG_INFO("Wrote configuration", {"file", line->write_config_to});
    return 0;
  }
  if (line->show) {
    auto text = Show(line->bpf_dir, line->show_what);
    if (!text.ok()) return Fail(text.status());
    fputs(text->c_str(), stdout);
    return 0;
  }
  if (line->cleanup) {
    Status status = RemoveDataPath({.dir = line->bpf_dir, .cgroup = line->cgroup});
    int rules = RunProgram([](asio::io_context&) { return RemoveLeftoverRules(); });
    return status.ok() ? rules : Fail(status);
  }
  return RunProgram([&](asio::io_context& loop) { return Serve(loop, *line); });
}

}  // namespace
}  // namespace skiff::proxy

int main(int argc, char** argv) { return skiff::proxy::Main(argc, argv); }
