// The control plane's one program. By its name, or its first argument, it is kube-apiserver, kube-scheduler,
// kube-controller-manager, or (as skiff-controlplane) all three in one process; `kubeconfig` writes credentials.
#include <cstdio>
#include <cstring>

#include "base/files.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/program.h"
#include "client/kubeconfig.h"
#include "client/rest.h"
#include "controlplane/apiserver/api_server.h"
#include "controlplane/apiserver/credentials.h"
#include "controlplane/controllers/controllers.h"
#include "controlplane/scheduler/scheduler.h"

namespace skiff::controlplane {
namespace {

struct Common {
  int32_t verbosity = 0;
  std::string logging_format = "text";
  bool version = false;

  void Register(FlagSet* flags) {
    flags->Int32("v", &verbosity, "Log verbosity.", 'v');
    flags->String("logging-format", &logging_format, "text or json.");
    flags->Bool("version", &version, "Print version information and quit.");
  }
  Status Apply() const {
    if (logging_format != "text" && logging_format != "json")
      return InvalidArgument("logging-format: unsupported format \"", logging_format, "\", supported: text, json");
    log::SetVerbosity(verbosity);
    log::SetFormat(logging_format == "json" ? log::Format::kJson : log::Format::kText);
    return absl::OkStatus();
  }
};

struct ClientFlags {
  std::string kubeconfig, master;
  double qps = 50;
  int32_t burst = 100;

  void Register(FlagSet* flags) {
    flags->String("kubeconfig", &kubeconfig, "File that says where the API server is and who asks.");
    flags->String("master", &master, "Address of the API server; overrides the kubeconfig's.");
    flags->Double("kube-api-qps", &qps, "Requests a second to the API server.");
    flags->Int32("kube-api-burst", &burst, "Requests to the API server in a burst.");
  }
  StatusOr<client::Config> Load() const {
    if (kubeconfig.empty()) return InvalidArgument("--kubeconfig is required");
    ASSIGN_OR_RETURN(client::Config config, client::LoadKubeconfig(kubeconfig), "--kubeconfig");
    if (!master.empty()) config.server = master;
    config.qps = qps;
    config.burst = burst;
    return config;
  }
};

void RegisterControllers(FlagSet* flags, ControllerOptions* options, std::string* root_ca_file) {
  flags->Strings("controllers", &options->controllers, "Controllers to run: * for all, NAME, -NAME.");
  flags->Bool("allocate-node-cidrs", &options->allocate_node_cidrs, "Whether nodes get a range of pod addresses.");
  flags->String("cluster-cidr", &options->cluster_cidr, "Range that nodes' pod addresses are taken from.");
  flags->String("root-ca-file", root_ca_file, "Authority that is published to pods in kube-root-ca.crt.");
}

// Flags of upstream's programs that do not apply to a single small control plane.
void AcceptIgnored(FlagSet* flags) {
  for (const char* name : {"leader-elect", "authentication-kubeconfig", "authorization-kubeconfig", "profiling",
                           "use-service-account-credentials", "allow-privileged"})
    flags->Deprecate(name, "it has no effect here");
}

// Handles --help and --version and what is wrong; nothing when the program should go on.
std::optional<int> ParseOrExit(FlagSet& flags, Common& common, const char* name, int argc, const char* const* argv) {
  auto rest = flags.Parse(argc, argv);
  if (absl::IsCancelled(rest.status())) {
    std::printf("%s\n", std::string(rest.status().message()).c_str());
    return 0;
  }
  Status status = rest.ok() && !rest->empty()
                      ? InvalidArgument("unknown command \"", rest->front(), "\" for \"", name, "\"")
                      : rest.status();
  if (status.ok()) status = common.Apply();
  if (!status.ok()) {
    std::fprintf(stderr, "Error: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  if (common.version) {
    std::printf("Kubernetes %s\n", kKubernetesVersion);
    return 0;
  }
  return std::nullopt;
}

Task<void> RunNamed(std::string name, Task<Status> task) {
  Status status = co_await std::move(task);
  if (!status.ok() && !absl::IsCancelled(status))
    LOG_ERROR(status, "A part of the control plane ended", {"part", name});
}

Task<Status> ServeAll(asio::io_context& loop, ApiServerOptions options, ControllerOptions controllers, bool all) {
  auto made = ApiServer::Make(loop, options);
  if (!made.ok()) co_return made.status();
  std::unique_ptr<ApiServer> server = *std::move(made);
  if (Status status = co_await server->Start(); !status.ok()) co_return status;
  auto executor = co_await asio::this_coro::executor;
  TaskGroup group(executor);
  if (all) {
    if (controllers.root_ca_pem.empty()) controllers.root_ca_pem = server->ca_pem();
    // Each part speaks to the server over loopback, as itself.
    std::shared_ptr<client::Rest> rests[2];
    const char* users[2] = {"system:kube-controller-manager", "system:kube-scheduler"};
    for (int i = 0; i < 2; ++i) {
      auto text = MakeKubeconfig(options.cert_dir, server->local_url(), users[i], {std::string("system:masters")});
      if (!text.ok()) co_return text.status();
      auto config = client::ParseKubeconfig(*text, users[i], options.cert_dir);
      if (!config.ok()) co_return config.status();
      config->user_agent = absl::StrCat(users[i] + 7, "/", kKubernetesVersion, " (linux/amd64) skiff");
      config->qps = 200;
      config->burst = 400;
      auto rest = client::Rest::Make(executor, *config);
      if (!rest.ok()) co_return rest.status();
      rests[i] = *std::move(rest);
    }
    auto informers = MakeInformers(rests[0]);
    group.Spawn("kube-controller-manager",
                RunNamed("kube-controller-manager", RunControllers(rests[0], controllers, informers)));
    group.Spawn("kube-scheduler", RunNamed("kube-scheduler", RunScheduler(rests[1], {}, informers)));
    group.Spawn("informers", RunInformers(informers));
  }
  co_await server->Run();
  co_await asio::this_coro::reset_cancellation_state();
  group.Cancel();
  co_await group.Join();
  co_return absl::OkStatus();
}

int ApiServerMain(bool all, int argc, const char* const* argv) {
  const char* name = all ? "skiff-controlplane" : "kube-apiserver";
  FlagSet flags(name, all ? "API server, scheduler and controllers in one process." : "The Kubernetes API server.");
  Common common;
  ApiServerOptions options;
  ControllerOptions controllers;
  std::string root_ca_file;
  common.Register(&flags);
  options.Register(&flags);
  if (all) RegisterControllers(&flags, &controllers, &root_ca_file);
  AcceptIgnored(&flags);
  if (auto code = ParseOrExit(flags, common, name, argc, argv)) return *code;
  options.controllers_inside = all;
  Status status = options.Complete();
  if (status.ok() && !root_ca_file.empty()) {
    auto pem = ReadFile(root_ca_file);
    status = pem.status();
    if (pem.ok()) controllers.root_ca_pem = *pem;
  }
  if (!status.ok()) {
    std::fprintf(stderr, "Error: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return RunProgram([&](asio::io_context& loop) { return ServeAll(loop, options, controllers, all); });
}

Task<Status> SchedulerBody(client::Config config) {
  auto rest = client::Rest::Make(co_await asio::this_coro::executor, std::move(config));
  if (!rest.ok()) co_return rest.status();
  co_return co_await RunScheduler(*std::move(rest));
}

Task<Status> ControllersBody(client::Config config, ControllerOptions options) {
  auto rest = client::Rest::Make(co_await asio::this_coro::executor, std::move(config));
  if (!rest.ok()) co_return rest.status();
  co_return co_await RunControllers(*std::move(rest), std::move(options));
}

int AgentMain(bool scheduler, int argc, const char* const* argv) {
  const char* name = scheduler ? "kube-scheduler" : "kube-controller-manager";
  FlagSet flags(name, scheduler ? "Assigns pods to nodes." : "Runs the cluster's control loops.");
  Common common;
  ClientFlags client_flags;
  ControllerOptions controllers;
  std::string root_ca_file;
  common.Register(&flags);
  client_flags.Register(&flags);
  if (!scheduler) RegisterControllers(&flags, &controllers, &root_ca_file);
  AcceptIgnored(&flags);
  if (auto code = ParseOrExit(flags, common, name, argc, argv)) return *code;
  auto config = client_flags.Load();
  Status status = config.status();
  if (status.ok() && !root_ca_file.empty()) {
    auto pem = ReadFile(root_ca_file);
    status = pem.status();
    if (pem.ok()) controllers.root_ca_pem = *pem;
  }
  if (!status.ok()) {
    std::fprintf(stderr, "Error: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  config->user_agent = absl::StrCat(name, "/", kKubernetesVersion, " (linux/amd64) skiff");
  return RunProgram(
      [&](asio::io_context&) { return scheduler ? SchedulerBody(*config) : ControllersBody(*config, controllers); });
}

int KubeconfigMain(int argc, const char* const* argv) {
  FlagSet flags("skiff-controlplane kubeconfig", "Writes a kubeconfig with a new client certificate.");
  Common common;
  std::string cert_dir, user, server, out;
  std::vector<std::string> groups;
  common.Register(&flags);
  flags.String("cert-dir", &cert_dir, "Directory with ca.crt and ca.key.");
  flags.String("user", &user, "Name of the user: the certificate's common name.");
  flags.Strings("group", &groups, "Groups of the user: the certificate's organizations.");
  flags.String("server", &server, "URL of the API server.");
  flags.String("out", &out, "File to write; standard output when empty.");
  if (auto code = ParseOrExit(flags, common, "skiff-controlplane kubeconfig", argc, argv)) return *code;
  Status status;
  if (cert_dir.empty() || user.empty() || server.empty())
    status = InvalidArgument("--cert-dir, --user and --server are required");
  if (status.ok()) {
    auto text = MakeKubeconfig(cert_dir, server, user, groups);
    status = text.status();
    if (text.ok() && out.empty()) std::fputs(text->c_str(), stdout);
    if (text.ok() && !out.empty()) status = WriteFileAtomic(out, *text, 0600);
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "Error: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Main(int argc, const char* const* argv) {
  std::string name = argc > 0 ? argv[0] : "";
  if (const size_t slash = name.rfind('/'); slash != std::string::npos) name = name.substr(slash + 1);
  // A first argument that is no flag names the part.
  if (name != "kube-apiserver" && name != "kube-scheduler" && name != "kube-controller-manager" && argc > 1 &&
      argv[1][0] != '-') {
    name = argv[1];
    --argc;
    ++argv;
  } else if (name != "kube-apiserver" && name != "kube-scheduler" && name != "kube-controller-manager") {
    name = "all";
  }
  if (name == "all") return ApiServerMain(true, argc, argv);
  if (name == "kube-apiserver") return ApiServerMain(false, argc, argv);
  if (name == "kube-scheduler") return AgentMain(true, argc, argv);
  if (name == "kube-controller-manager") return AgentMain(false, argc, argv);
  if (name == "kubeconfig") return KubeconfigMain(argc, argv);
  std::fprintf(stderr,
               "Error: unknown command \"%s\"\n"
               "Commands: kube-apiserver, kube-scheduler, kube-controller-manager, all, kubeconfig\n",
               name.c_str());
  return 1;
}

}  // namespace
}  // namespace skiff::controlplane

int main(int argc, char** argv) { return skiff::controlplane::Main(argc, argv); }
