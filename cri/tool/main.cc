// skiff-cri: drives a container runtime directly, without a kubelet. For hack/down (removing sandboxes so that CNI DEL
// runs) and for bench/ (the runtime's own time to start pods, beside which the kubelet's is measured).
#include <cinttypes>
#include <cstdio>

#include "absl/strings/str_replace.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/program.h"
#include "cri/client.h"

namespace skiff::cri {
namespace {

struct Settings {
  std::string endpoint = "unix:///run/containerd/containerd.sock";
  std::string image = "localhost/skiff/pause:1", cgroup_parent, log_dir = "/tmp";
  int64_t count = 10, parallel = 1;
  int64_t interval = 0;  // milliseconds
  bool full = false;
  std::string command;
};

Task<Status> RemoveAll(Runtime& runtime) {
  auto list = co_await runtime.ListPodSandbox({});
  if (!list.ok()) co_return Annotate(list.status(), "list sandboxes");
  Status first;
  for (const auto& sandbox : list->items()) {
    v1::StopPodSandboxRequest stop;
    stop.set_pod_sandbox_id(sandbox.id());
    auto stopped = co_await runtime.StopPodSandbox(stop);
    v1::RemovePodSandboxRequest remove;
    remove.set_pod_sandbox_id(sandbox.id());
    auto removed = co_await runtime.RemovePodSandbox(remove);
    for (const Status& status : {stopped.status(), removed.status()})
      if (!status.ok() && first.ok())
        first = Annotate(status, absl::StrCat("remove sandbox ", sandbox.metadata().name()));
  }
  co_return first;
}

Task<Status> List(Runtime& runtime) {
  auto list = co_await runtime.ListPodSandbox({});
  if (!list.ok()) co_return Annotate(list.status(), "list sandboxes");
  for (const auto& s : list->items())
    printf("%s %s/%s attempt %u %s\n", s.id().substr(0, 13).c_str(), s.metadata().namespace_().c_str(),
           s.metadata().name().c_str(), s.metadata().attempt(), v1::PodSandboxState_Name(s.state()).c_str());
  auto containers = co_await runtime.ListContainers({});
  if (!containers.ok()) co_return Annotate(containers.status(), "list containers");
  for (const auto& c : containers->containers())
    printf("  %s %s in %s attempt %u %s\n", c.id().substr(0, 13).c_str(), c.metadata().name().c_str(),
           c.pod_sandbox_id().substr(0, 13).c_str(), c.metadata().attempt(),
           v1::ContainerState_Name(c.state()).c_str());
  co_return absl::OkStatus();
}

// What a kubelet asks for beside the bare minimum, for a pod of one container that asks for nothing itself.
Status AddUsual(const Settings& settings, v1::PodSandboxConfig* sandbox, v1::ContainerConfig* container) {
  const std::string& name = sandbox->metadata().name();
  (*sandbox->mutable_labels())["io.kubernetes.pod.name"] = name;
  (*sandbox->mutable_annotations())["kubernetes.io/config.source"] = "api";
  sandbox->mutable_dns_config()->add_servers("10.96.0.10");
  sandbox->mutable_dns_config()->add_searches("svc.cluster.local");
  auto* linux = sandbox->mutable_linux();
  linux->set_cgroup_parent(absl::StrCat(settings.cgroup_parent, "/pod", name));
  linux->mutable_security_context()->mutable_seccomp()->set_profile_type(v1::SecurityProfile::RuntimeDefault);
  linux->mutable_resources()->set_cpu_shares(2);

  (*container->mutable_labels())["io.kubernetes.pod.name"] = name;
  for (const char* end : {"HOST", "PORT", "SERVICE_HOST", "SERVICE_PORT", "PORT_443_TCP", "PORT_443_TCP_ADDR"}) {
    auto* env = container->add_envs();
    env->set_key(absl::StrCat("KUBERNETES_", end));
    env->set_value("10.96.0.1");
  }
  for (const char* path : {"/etc/hosts", "/dev/termination-log"}) {
    auto* mount = container->add_mounts();
    mount->set_container_path(path);
    mount->set_host_path(absl::StrCat(settings.log_dir, "/", name, "-", absl::StrReplaceAll(path, {{"/", "."}})));
    // As a kubelet does: the runtime's own time holds no waits for the disk that are not the runtime's.
    RETURN_IF_ERROR(WriteFileAtomic(mount->host_path(), "", 0644, Durable::kNo));
  }
  auto* resources = container->mutable_linux()->mutable_resources();
  resources->set_cpu_shares(2);
  resources->set_cpu_period(100000);
  resources->set_oom_score_adj(1000);
  auto* security = container->mutable_linux()->mutable_security_context();
  security->mutable_run_as_user()->set_value(0);
  for (const char* path : {"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                           "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}) {
    security->add_masked_paths(path);
  }
  for (const char* path : {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}) {
    security->add_readonly_paths(path);
  }
  return absl::OkStatus();
}

// Milliseconds of one pod.
struct Took {
  double sandbox = 0, create = 0, start = 0, all = 0;
};

// One pod as a kubelet makes it: sandbox, container, start.
Task<Status> StartOne(Runtime& runtime, const Settings& settings, int64_t n, Took* took) {
  SteadyTime begin = Clock::Real().Steady();
  auto lap = [&] {
    const SteadyTime now = Clock::Real().Steady();
    const double out = std::chrono::duration<double, std::milli>(now - begin).count();
    begin = now;
    took->all += out;
    return out;
  };
  v1::RunPodSandboxRequest sandbox;
  auto& config = *sandbox.mutable_config();
  config.mutable_metadata()->set_name(absl::StrCat("bench-", n));
  config.mutable_metadata()->set_namespace_("skiff-bench");
  config.mutable_metadata()->set_uid(absl::StrCat("bench-", n));
  config.set_hostname(absl::StrCat("bench-", n));
  config.set_log_directory(settings.log_dir);
  config.mutable_linux()->set_cgroup_parent(settings.cgroup_parent);
  v1::CreateContainerRequest create;
  create.mutable_config()->mutable_metadata()->set_name("c");
  create.mutable_config()->mutable_image()->set_image(settings.image);
  create.mutable_config()->set_log_path(absl::StrCat("bench-", n, ".log"));
  create.mutable_config()->mutable_linux();
  if (settings.full) CO_RETURN_IF_ERROR(AddUsual(settings, &config, create.mutable_config()));
  *create.mutable_sandbox_config() = config;
  auto ran = co_await runtime.RunPodSandbox(sandbox);
  if (!ran.ok()) co_return Annotate(ran.status(), "run sandbox");
  took->sandbox = lap();
  create.set_pod_sandbox_id(ran->pod_sandbox_id());
  auto created = co_await runtime.CreateContainer(create);
  if (!created.ok()) co_return Annotate(created.status(), "create container");
  took->create = lap();
  v1::StartContainerRequest start;
  start.set_container_id(created->container_id());
  auto started = co_await runtime.StartContainer(start);
  if (!started.ok()) co_return Annotate(started.status(), "start container");
  took->start = lap();
  co_return absl::OkStatus();
}

struct Bench {
  SteadyTime begin;
  int64_t next = 0;
  std::vector<Took> took;
  Status status;
};

Task<void> Worker(Runtime& runtime, const Settings& settings, Bench& bench) {
  while (bench.next < settings.count && bench.status.ok()) {
    Took took;
    const int64_t n = bench.next++;
    const auto due = bench.begin + n * std::chrono::milliseconds(settings.interval);
    if (due > Clock::Real().Steady()) {
      if (!(co_await Clock::Real().Sleep(due - Clock::Real().Steady())).ok()) co_return;
    }
    Status status = co_await StartOne(runtime, settings, n, &took);
    if (!status.ok()) bench.status = status;
    bench.took.push_back(took);
  }
}

// Starts `count` pods, `parallel` at a time; prints JSON with milliseconds; removes them.
Task<Status> Measure(Runtime& runtime, const Settings& settings) {
  Bench bench;
  const SteadyTime begin = bench.begin = Clock::Real().Steady();
  TaskGroup group(co_await asio::this_coro::executor);
  for (int64_t i = 0; i < settings.parallel; ++i) group.Spawn("bench", Worker(runtime, settings, bench));
  co_await group.Join();
  const double total = std::chrono::duration<double, std::milli>(Clock::Real().Steady() - begin).count();
  CO_RETURN_IF_ERROR(bench.status);
  auto median = [&](double Took::*what) {
    std::sort(bench.took.begin(), bench.took.end(), [&](const Took& a, const Took& b) { return a.*what < b.*what; });
    return bench.took[bench.took.size() / 2].*what;
  };
  printf("{\"pods\":%" PRId64 ",\"parallel\":%" PRId64
         ",\"total_ms\":%.1f,\"p50_ms\":%.1f,\"sandbox_ms\":%.1f,\"create_ms\":%.1f,\"start_ms\":%.1f}\n",
         settings.count, settings.parallel, total, median(&Took::all), median(&Took::sandbox), median(&Took::create),
         median(&Took::start));
  fflush(stdout);
  co_return co_await RemoveAll(runtime);
}

Task<Status> Main(asio::io_context& loop, Settings settings) {
  ClientOptions options;
  options.endpoint = settings.endpoint;
  auto runtime = Connect(loop.get_executor(), options);
  if (!runtime.ok()) co_return runtime.status();
  if (settings.command == "list") co_return co_await List(**runtime);
  if (settings.command == "remove-all") co_return co_await RemoveAll(**runtime);
  co_return co_await Measure(**runtime, settings);
}

int Run(int argc, char** argv) {
  Settings settings;
  FlagSet flags("skiff-cri", "skiff-cri [flags] list | remove-all | bench: drives a container runtime over the CRI.");
  flags.String("endpoint", &settings.endpoint, "The runtime's socket.");
  flags.String("image", &settings.image, "bench: the container's image.");
  flags.String("cgroup-parent", &settings.cgroup_parent, "bench: the sandboxes' cgroup parent.");
  flags.String("log-dir", &settings.log_dir, "bench: where container logs go.");
  flags.Int("count", &settings.count, "bench: how many pods.");
  flags.Int("parallel", &settings.parallel, "bench: how many at a time.");
  flags.Bool(
      "full", &settings.full,
      "bench: with all that a kubelet asks for: hosts file, termination log, environment, resources, pod cgroup.");
  flags.Int("interval", &settings.interval, "bench: milliseconds from one start to the next, at least.");
  const auto rest = flags.Parse(argc, argv);
  if (absl::IsCancelled(rest.status())) {
    fputs(std::string(rest.status().message()).c_str(), stdout);
    return 0;
  }
  if (!rest.ok() || rest->size() != 1 ||
      (rest->front() != "list" && rest->front() != "remove-all" && rest->front() != "bench") || settings.count < 1 ||
      settings.parallel < 1 || settings.interval < 0) {
    fprintf(stderr, "Error: %s\n",
            rest.ok() ? "one of list, remove-all and bench is needed; see --help"
                      : std::string(rest.status().message()).c_str());
    return 1;
  }
  settings.command = rest->front();
  return RunProgram([&settings](asio::io_context& loop) { return Main(loop, settings); });
}

}  // namespace
}  // namespace skiff::cri

int main(int argc, char** argv) { return skiff::cri::Run(argc, argv); }
