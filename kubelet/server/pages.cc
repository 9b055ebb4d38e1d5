#include "kubelet/server/pages.h"

#include <unistd.h>

#include <ctime>

#include "api/codec.h"
#include "api/time.h"
#include "base/files.h"
#include "base/log.h"
#include "base/metrics_text.h"
#include "base/program.h"
#include "kubelet/pod/types.h"
#include "kubelet/runtime/image_puller.h"
#include "kubelet/server/answers.h"
#include "kubelet/server/metrics_protobuf.h"
#include "kubelet/state/layout.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

constexpr char kConfigSource[] = "kubernetes.io/config.source";

// When this process began, seconds since the epoch.
int64_t StartTime() {
  static const int64_t start = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return start;
}
[[maybe_unused]] const int64_t kStartedAtLoad = StartTime();

Task<void> AnswerMetrics(http::Exchange& exchange, std::string text) {
  http::Headers headers{{"Content-Type", metrics::kTextContentType},
                        {"Process-Start-Time-Unix", absl::StrCat(StartTime())}};
  if (WantsDelimitedMetrics(exchange.request().headers)) {
    headers.Set("Content-Type", kDelimitedMetricsType);
    text = DelimitedMetrics(text);
  }
  (co_await exchange.Respond(200, std::move(headers), std::move(text))).IgnoreError();
}

}  // namespace

bool SyncLoopAlive(std::chrono::nanoseconds sync_frequency, ServerHost& host, Clock& clock) {
  const auto patience = std::max<std::chrono::nanoseconds>(sync_frequency * 2, 5min);
  return clock.Steady() - host.LastSync() <= patience;
}

Task<void> ServeHealthz(http::Exchange& exchange, std::string check, HealthChecks checks) {
  const http::Request& request = exchange.request();
  if (!check.empty()) {
    if (check == "syncloop" && !checks.sync_loop_alive) {
      co_return co_await AnswerError(exchange, 500, "internal server error: sync Loop took longer than expected");
    }
    co_return co_await AnswerText(exchange, 200, "ok");
  }
  std::vector<std::string> excluded = request.query.All("exclude");
  std::string report;
  bool healthy = true;
  for (const std::string_view name : checks.names) {
    if (auto found = std::find(excluded.begin(), excluded.end(), name); found != excluded.end()) {
      excluded.erase(found);
      absl::StrAppend(&report, "[+]", name, " excluded: ok\n");
      continue;
    }
    const bool ok = name != "syncloop" || checks.sync_loop_alive;
    checks.slis.Observe(name, "healthz", ok);
    healthy = healthy && ok;
    absl::StrAppend(&report, ok ? "[+]" : "[-]", name, ok ? " ok\n" : " failed: reason withheld\n");
  }
  if (!excluded.empty()) {
    absl::StrAppend(&report, "warn: some health checks cannot be excluded: no matches for \"",
                    absl::StrJoin(excluded, "\", \""), "\"\n");
  }
  if (!healthy) co_return co_await AnswerError(exchange, 500, absl::StrCat(report, "healthz check failed"));
  http::Headers headers{{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}};
  std::string body = request.query.Has("verbose") ? absl::StrCat(report, "healthz check passed\n") : "ok";
  (co_await exchange.Respond(200, std::move(headers), std::move(body))).IgnoreError();
}

Task<void> ServePods(http::Exchange& exchange, ServerHost& host) {
  // One pod at a time: the list of a full node as one JSON text would be most of the kubelet's memory.
  if (!(co_await exchange.Begin(200, {{"Content-Type", "application/json"}})).ok()) co_return;
  const auto pods = host.Pods();
  std::string piece = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":";
  if (pods.empty()) piece += "null";
  bool first = true;
  for (const auto& pod : pods) {
    piece += first ? "[" : ",";
    first = false;
    if (pod->metadata().annotations().contains(kConfigSource)) {
      api::AppendJson(*pod, nullptr, &piece);
    } else {
      // As upstream tells of pods of the API server; when it took them is when it acknowledged them.
      ServerHost::Pod shown = *pod;
      auto& annotations = *shown.mutable_metadata()->mutable_annotations();
      annotations[kConfigSource] = "api";
      const auto& seen =
          shown.status().has_starttime() ? shown.status().starttime() : shown.metadata().creationtimestamp();
      annotations["kubernetes.io/config.seen"] =
          api::FormatTime(std::chrono::system_clock::time_point(std::chrono::seconds(seen.seconds())));
      api::AppendJson(shown, nullptr, &piece);
    }
    if (piece.size() < 32 << 10) continue;
    if (!(co_await exchange.Write(piece)).ok()) co_return;
    piece.clear();
  }
  piece += pods.empty() ? "}" : "]}";
  piece += "\n";
  if (!(co_await exchange.Write(piece)).ok()) co_return;
  (co_await exchange.End()).IgnoreError();
}

Task<void> ServeRunningPods(http::Exchange& exchange, ServerHost& host) {
  const auto pods = co_await host.RunningPods();
  if (!pods.ok()) co_return co_await AnswerText(exchange, 500, std::string(pods.status().message()));
  std::string out = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":";
  if (pods->empty()) out += "null";
  bool first = true;
  for (const auto& pod : *pods) {
    out += first ? "[" : ",";
    first = false;
    out += "{\"metadata\":{\"name\":";
    api::AppendJsonString(pod.name, &out);
    out += ",\"namespace\":";
    api::AppendJsonString(pod.ns, &out);
    out += ",\"uid\":";
    api::AppendJsonString(pod.uid, &out);
    out += "},\"spec\":{\"containers\":";
    if (pod.containers.empty()) out += "null";
    bool first_container = true;
    for (const auto& container : pod.containers) {
      out += first_container ? "[{\"name\":" : ",{\"name\":";
      first_container = false;
      api::AppendJsonString(container.name, &out);
      out += ",\"image\":";
      api::AppendJsonString(container.image, &out);
      out += ",\"resources\":{}}";
    }
    if (!pod.containers.empty()) out += "]";
    out += "},\"status\":{}}";
  }
  out += pods->empty() ? "}\n" : "]}\n";
  co_await AnswerJson(exchange, std::move(out));
}

Task<void> ServeConfigz(http::Exchange& exchange, ServerHost& host) {
  http::Headers headers{{"Content-Type", "application/json"}, {"X-Content-Type-Options", "nosniff"}};
  std::string body = absl::StrCat("{\"kubeletconfig\":", host.ConfigJson(), "}");
  (co_await exchange.Respond(200, std::move(headers), std::move(body))).IgnoreError();
}

Task<void> ServeMetrics(http::Exchange& exchange, const std::string& which, ServerHost& host) {
  StatusOr<std::string> text = std::string();
  if (which.empty()) {
    text = co_await host.Metrics();
  } else if (which == "cadvisor") {
    text = co_await host.CadvisorMetrics();
  } else if (which == "resource") {
    text = co_await host.ResourceMetrics();
  } else {
    text = co_await host.ProbeMetrics();
  }
  if (!text.ok()) co_return co_await AnswerError(exchange, 500, std::string(text.status().message()));
  co_await AnswerMetrics(exchange, *std::move(text));
}

Task<void> ServeSlis(http::Exchange& exchange, client::HealthSlis& slis) {
  if (exchange.request().method == "DELETE") {
    slis.Reset();
    co_return co_await AnswerText(exchange, 200, "metrics reset\n");
  }
  co_await AnswerMetrics(exchange, slis.Expose());
}

Task<void> ServeStatsSummary(http::Exchange& exchange, ServerHost& host) {
  const http::Request& request = exchange.request();
  bool only = false;
  if (request.query.Has("only_cpu_and_memory")) {
    const std::string_view value = request.query.Get("only_cpu_and_memory");
    only = value == "true" || value == "1" || value == "t" || value == "T" || value == "TRUE" || value == "True";
  }
  auto summary = co_await host.StatsSummary(only);
  if (!summary.ok()) co_return co_await AnswerText(exchange, 500, std::string(summary.status().message()));
  co_await AnswerJson(exchange, *std::move(summary));
}

Task<void> ServeStatusz(http::Exchange& exchange, Clock& clock) {
  const time_t start = StartTime();
  struct tm tm {};
  gmtime_r(&start, &tm);
  char text[64];
  strftime(text, sizeof(text), "%a %b %e %H:%M:%S UTC %Y", &tm);
  const int64_t up = std::chrono::system_clock::to_time_t(clock.Now()) - start;
  char up_text[64];
  snprintf(up_text, sizeof(up_text), "%lld hr %02lld min %02lld sec", static_cast<long long>(up / 3600),
           static_cast<long long>(up / 60 % 60), static_cast<long long>(up % 60));
  const std::string_view version = std::string_view(kKubernetesVersion).substr(1);
  const std::string_view minor = version.substr(0, version.rfind('.'));
  co_await AnswerText(
      exchange, 200,
      absl::StrCat("\nkubelet statusz\nWarning: This endpoint is not meant to be machine parseable, has "
                   "no formatting compatibility guarantees and is for debugging purposes only.\n\n",
                   "Started= ", text, "\nUp= ", up_text, "\nBinary version= ", version, "\nEmulation version= ", minor,
                   "\nPaths= /configz /debug /flagz /healthz /metrics\n"));
}

Task<void> ServeRun(http::Exchange& exchange, std::string ns, std::string name, std::string uid, std::string container,
                    ServerHost& host) {
  const auto pod = host.PodByName(ns, name);
  if (pod == nullptr || (!uid.empty() && pod->metadata().uid() != uid)) {
    co_return co_await AnswerText(exchange, 404, "pod does not exist");
  }
  const auto id = host.RunningContainerId(*pod, container);
  if (!id.ok()) {
    co_return co_await AnswerText(exchange, 500, absl::StrCat("container not found (\"", container, "\")"));
  }
  const std::vector<std::string> command = absl::StrSplit(exchange.request().query.Get("cmd"), ' ');
  auto result = co_await host.RunInContainer(*id, command, 0s);
  if (!result.ok()) co_return co_await AnswerText(exchange, 500, std::string(result.status().message()));
  if (result->exit_code != 0) {
    co_return co_await AnswerText(exchange, 500,
                                  absl::StrCat("command '", absl::StrJoin(command, " "), "' exited with ",
                                               result->exit_code, ": ", result->output));
  }
  co_await AnswerJson(exchange, std::move(result->output));
}

Task<void> ServeCheckpoint(http::Exchange& exchange, std::string ns, std::string name, std::string container,
                           const KubeletServerOptions& options, ServerHost& host, Clock& clock) {
  const auto pod = host.PodByName(ns, name);
  if (pod == nullptr) co_return co_await AnswerText(exchange, 404, "pod does not exist");
  if (FindContainer(*pod, container) == nullptr) {
    co_return co_await AnswerText(exchange, 404, absl::StrCat("container ", container, " does not exist"));
  }
  int64_t timeout = 0;
  if (const auto given = exchange.request().query.All("timeout"); !given.empty()) {
    if (!absl::SimpleAtoi(given.back(), &timeout)) {
      co_return co_await AnswerText(exchange, 404, "cannot parse value of timeout parameter");
    }
  }
  std::string error;
  std::string location =
      absl::StrCat(layout::Checkpoints(options.root_dir), "/checkpoint-", name, "_", ns, "-", container, "-",
                   api::FormatTime(std::chrono::floor<std::chrono::seconds>(clock.Now())), ".tar");
  auto id = host.RunningContainerId(*pod, container);
  if (!id.ok()) {
    error = absl::StrCat("container ", container, " not found");
  } else if (timeout < 0) {
    error = "CheckpointContainer requires the timeout value to be > 0";
  } else if (Status status = co_await host.Checkpoint(*id, location, timeout); !status.ok()) {
    error = GrpcErrorText(status);
  }
  if (!error.empty()) {
    co_return co_await AnswerText(
        exchange, 500, absl::StrCat("checkpointing of ", ns, "/", name, "/", container, " failed (", error, ")"));
  }
  co_await AnswerJson(exchange, absl::StrCat("{\"items\":[\"", location, "\"]}"));
}

Task<void> ServeDebugFlags(http::Exchange& exchange) {
  http::Headers headers{{"Content-Type", "text/plain"}, {"X-Content-Type-Options", "nosniff"}};
  const auto body = co_await exchange.ReadBody(1024);
  int level = 0;
  if (!body.ok() || !absl::SimpleAtoi(*body, &level)) {
    (co_await exchange.Respond(400, std::move(headers),
                               absl::StrCat("error setting flag: failed set klog.logging.verbosity to ",
                                            body.ok() ? *body : std::string(), "\n")))
        .IgnoreError();
    co_return;
  }
  log::SetVerbosity(level);
  (co_await exchange.Respond(200, std::move(headers),
                             absl::StrCat("successfully set klog.logging.verbosity to ", level)))
      .IgnoreError();
}

Task<void> ServeCmdline(http::Exchange& exchange) {
  auto text = ReadFile("/proc/self/cmdline", 1 << 20);
  if (!text.ok()) co_return co_await AnswerError(exchange, 500, std::string(text.status().message()));
  // As os.Args joined with NUL: none at the end.
  if (!text->empty() && text->back() == '\0') text->pop_back();
  http::Headers headers{{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}};
  (co_await exchange.Respond(200, std::move(headers), *std::move(text))).IgnoreError();
}

}  // namespace skiff::kubelet
