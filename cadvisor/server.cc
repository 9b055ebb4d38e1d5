#include "cadvisor/server.h"

#include "cadvisor/api_json.h"
#include "cadvisor/exposition.h"
#include "cadvisor/filesystem.h"

namespace skiff::cadvisor {
namespace {

constexpr char kPlain[] = "text/plain; charset=utf-8";
constexpr char kJson[] = "application/json";

Task<void> Answer(http::Exchange& exchange, int status, std::string type, std::string body) {
  // A client that has gone needs no answer.
  (void)co_await exchange.Respond(status, {{"Content-Type", std::move(type)}}, std::move(body));
}

Task<void> AnswerError(http::Exchange& exchange, Status status) {
  const int code = absl::IsNotFound(status) ? 404 : absl::IsInvalidArgument(status) ? 400 : 500;
  co_await Answer(exchange, code, kPlain, absl::StrCat(status.message(), "\n"));
}

struct Sweep {
  MachineInfo machine;
  std::vector<ContainerReading> readings;
  bool scrape_error = false;
};

ContainerRecord RecordOf(const std::string& cgroup) {
  ContainerRecord record;
  record.cgroup = cgroup;
  if (cgroup == "/") record.network_pid = 1;
  return record;
}

StatusOr<Sweep> SweepAll(const Host& host, const CgroupTree& cgroups) {
  Sweep sweep;
  ASSIGN_OR_RETURN(sweep.machine, ReadMachine(host));
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, cgroups.List("/"));
  std::vector<ContainerRecord> records;
  for (const std::string& path : paths) records.push_back(RecordOf(path));
  Collector collector(host, cgroups);
  sweep.readings = ReadAll(collector, records, &sweep.scrape_error);
  return sweep;
}

// What is directly below `cgroup` in a list of it and all below.
std::vector<std::string> Children(const std::string& cgroup, const std::vector<std::string>& all) {
  const std::string prefix = cgroup == "/" ? "/" : cgroup + "/";
  std::vector<std::string> children;
  for (const std::string& path : all) {
    if (path.size() > prefix.size() && path.starts_with(prefix) && path.find('/', prefix.size()) == std::string::npos) {
      children.push_back(path);
    }
  }
  return children;
}

StatusOr<std::string> ReadContainer(const Host& host, const CgroupTree& cgroups, const std::string& cgroup) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all, cgroups.List(cgroup));
  Collector collector(host, cgroups);
  ASSIGN_OR_RETURN(const ContainerStats stats, collector.Read(RecordOf(cgroup)));
  return ContainerJson(cgroup, Children(cgroup, all), stats);
}

}  // namespace

ApiServer::ApiServer(Host host, CgroupTree cgroups, Options options)
    : machine_(std::make_shared<Machine>(Machine{.host = std::move(host), .cgroups = std::move(cgroups)})),
      options_(std::move(options)) {
  registry_.AddProcessMetrics();
}

Task<void> ApiServer::Handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  std::string_view path = request.path;
  const bool below =
      options_.url_prefix.empty() || path == options_.url_prefix || path.starts_with(options_.url_prefix + "/");
  if (!below) {
    co_await Answer(exchange, 404, kPlain, "404 page not found\n");
    co_return;
  }
  path.remove_prefix(options_.url_prefix.size());
  constexpr std::string_view kContainersApi = "/api/v1.3/containers", kContainers = "/containers";
  const auto is_or_below = [&](std::string_view name) {
    return path.starts_with(name) && (path.size() == name.size() || path[name.size()] == '/');
  };
  // The cgroup that the rest of the path names: no "." or "..", no trailing slash.
  const auto cgroup_of = [&](std::string_view name) {
    std::string cgroup(path.substr(name.size()));
    while (cgroup.size() > 1 && cgroup.back() == '/') cgroup.pop_back();
    return cgroup.empty() ? std::string("/") : cgroup;
  };
  if (path == "/healthz") {
    co_await Answer(exchange, 200, kPlain, "ok");
  } else if (path == options_.metrics_path) {
    co_await Metrics(exchange);
  } else if (path == "/api/v1.3/machine") {
    co_await MachineApi(exchange);
  } else if (path == "/api/v1.3/version") {
    co_await VersionApi(exchange);
  } else if (is_or_below(kContainersApi)) {
    co_await ContainerApi(exchange, cgroup_of(kContainersApi));
  } else if (is_or_below(kContainers)) {
    co_await Containers(exchange, cgroup_of(kContainers));
  } else if (path == "/" || path.empty()) {
    (void)co_await exchange.Respond(307, {{"Location", options_.url_prefix + "/containers/"}}, "");
  } else {
    co_await Answer(exchange, 404, kPlain, "404 page not found\n");
  }
}

Task<void> ApiServer::Metrics(http::Exchange& exchange) {
  std::function<StatusOr<Sweep>()> work = [machine = machine_] { return SweepAll(machine->host, machine->cgroups); };
  const StatusOr<Sweep> sweep = co_await RunBlockingFor<Sweep>(std::move(work));
  if (!sweep.ok()) {
    co_await AnswerError(exchange, sweep.status());
    co_return;
  }
  if (!(co_await exchange.Begin(200, {{"Content-Type", metrics::kTextContentType}})).ok()) co_return;
  const ExpositionOptions options{.pressure = machine_->cgroups.has_psi(),
                                  .pod_labels = false,
                                  .cadvisor_version = options_.version,
                                  .cadvisor_revision = ""};
  Exposition exposition(sweep->machine, sweep->readings, sweep->scrape_error, options);
  for (std::string part; exposition.Next(&part);) {
    if (!(co_await exchange.Write(part)).ok()) co_return;
  }
  if (!(co_await exchange.Write(registry_.Expose())).ok()) co_return;
  (void)co_await exchange.End();
}

Task<void> ApiServer::MachineApi(http::Exchange& exchange) {
  std::function<StatusOr<std::string>()> work = [machine = machine_]() -> StatusOr<std::string> {
    ASSIGN_OR_RETURN(const MachineInfo info, ReadMachine(machine->host));
    ASSIGN_OR_RETURN(const std::vector<FsStats> filesystems, ReadFilesystems(machine->host));
    return MachineJson(info, filesystems, std::chrono::system_clock::now());
  };
  StatusOr<std::string> json = co_await RunBlockingFor<std::string>(std::move(work));
  if (json.ok()) {
    co_await Answer(exchange, 200, kJson, *std::move(json));
  } else {
    co_await AnswerError(exchange, json.status());
  }
}

Task<void> ApiServer::VersionApi(http::Exchange& exchange) {
  const StatusOr<MachineInfo> info = ReadMachine(machine_->host);
  if (info.ok()) {
    co_await Answer(exchange, 200, kJson, VersionJson(*info, options_.version));
  } else {
    co_await AnswerError(exchange, info.status());
  }
}

Task<void> ApiServer::ContainerApi(http::Exchange& exchange, std::string cgroup) {
  std::function<StatusOr<std::string>()> work = [machine = machine_, cgroup] {
    return ReadContainer(machine->host, machine->cgroups, cgroup);
  };
  StatusOr<std::string> json = co_await RunBlockingFor<std::string>(std::move(work));
  if (json.ok()) {
    co_await Answer(exchange, 200, kJson, *std::move(json));
  } else if (absl::IsNotFound(json.status())) {
    co_await Answer(exchange, 404, kPlain, absl::StrCat("unknown container \"", cgroup, "\"\n"));
  } else {
    co_await AnswerError(exchange, json.status());
  }
}

Task<void> ApiServer::Containers(http::Exchange& exchange, std::string cgroup) {
  const StatusOr<std::vector<std::string>> paths = machine_->cgroups.List(cgroup);
  if (!paths.ok()) {
    co_await AnswerError(exchange, paths.status());
    co_return;
  }
  co_await Answer(exchange, 200, kPlain, absl::StrCat(absl::StrJoin(*paths, "\n"), "\n"));
}

}  // namespace skiff::cadvisor
