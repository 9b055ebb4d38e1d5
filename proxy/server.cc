#include "proxy/server.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "base/go_text.h"
#include "base/log.h"
#include "base/metrics_text.h"
#include "base/program.h"

namespace skiff::proxy {

namespace {

http::Headers Text() { return {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}}; }
http::Headers Json() { return {{"Content-Type", "application/json"}, {"X-Content-Type-Options", "nosniff"}}; }

constexpr char kZpageWarning[] =
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is "
    "for "
    "debugging purposes only.\n";

}  // namespace

Servers::Servers(asio::any_io_executor executor, const Config& config,
                 std::vector<std::pair<std::string, std::string>> flags, const Health& health, Metrics& metrics,
                 const metrics::Registry& registry)
    : executor_(executor),
      config_(config),
      health_(health),
      metrics_(metrics),
      registry_(registry),
      flags_(std::move(flags)),
      started_(std::chrono::system_clock::now()),
      health_server_(executor, [this](http::Exchange& e) { return ServeHealth(e); }),
      metrics_server_(executor, [this](http::Exchange& e) { return ServeMetrics(e); }) {}

Status Servers::ListenOne(http::Server& server, const std::string& address, std::string_view what, uint16_t* port) {
  auto listening = server.Listen(address);
  if (listening.ok()) {
    *port = *listening;
    return absl::OkStatus();
  }
  if (config_.bind_address_hard_fail) return Annotate(listening.status(), absl::StrCat("failed to start ", what));
  LOG_ERROR(listening.status(), "Failed to start server; trying again", {"server", what}, {"address", address});
  return absl::OkStatus();
}

Status Servers::Listen(const char** failed) {
  const char* ignored = nullptr;
  if (failed == nullptr) failed = &ignored;
  if (health_port_ == 0 && !config_.healthz_bind_address.empty()) {
    *failed = "FailedToStartProxierHealthcheck";
    RETURN_IF_ERROR(ListenOne(health_server_, config_.healthz_bind_address, "proxy healthz", &health_port_));
  }
  if (metrics_port_ == 0 && !config_.metrics_bind_address.empty()) {
    *failed = "FailedToStartMetricServer";
    RETURN_IF_ERROR(ListenOne(metrics_server_, config_.metrics_bind_address, "metrics server", &metrics_port_));
  }
  return absl::OkStatus();
}

Task<void> Servers::Retry() {
  while (health_port_ == 0 || metrics_port_ == 0) {
    if (!(co_await SleepFor(std::chrono::seconds(5))).ok()) co_return;
    if (!Listen().ok()) co_return;
  }
}

Task<void> Servers::ServeHealth(http::Exchange& exchange) {
  const std::string& path = exchange.request().path;
  if (path == "/healthz" || path == "/livez") {
    auto answer = path == "/healthz" ? health_.Healthz() : health_.Livez();
    (path == "/healthz" ? metrics_.healthz_total : metrics_.livez_total).With({absl::StrCat(answer.status)}).Inc();
    (void)co_await exchange.Respond(answer.status, Json(), std::move(answer.body));
    co_return;
  }
  (void)co_await exchange.Respond(404, Text(), "404 page not found\n");
}

Task<void> Servers::ServeMetrics(http::Exchange& exchange) {
  const std::string& path = exchange.request().path;
  if (path == "/metrics") {
    (void)co_await exchange.Respond(200, {{"Content-Type", metrics::kTextContentType}}, registry_.Expose());
  } else if (path == "/healthz" || path == "/healthz/ping") {
    co_await ServePing(exchange);
  } else if (path == "/metrics/slis") {
    co_await ServeSlis(exchange);
  } else if (path == "/proxyMode") {
    (void)co_await exchange.Respond(200, Text(), "ebpf");
  } else if (path == "/configz") {
    std::string body;
    api::AppendJson(nlohmann::json{{"kubeproxy.config.k8s.io", config_.ToJson()}}, &body);
    (void)co_await exchange.Respond(200, Json(), std::move(body));
  } else if (path == "/flagz" && !flags_.empty()) {
    (void)co_await exchange.Respond(200, {{"Content-Type", "text/plain; charset=utf-8"}}, Flagz());
  } else if (path == "/statusz") {
    (void)co_await exchange.Respond(200, {{"Content-Type", "text/plain; charset=utf-8"}}, Statusz());
  } else if (path == "/debug/flags/v" && config_.enable_profiling) {
    co_await ServeVerbosity(exchange);
  } else {
    (void)co_await exchange.Respond(404, Text(), "404 page not found\n");
  }
}

void Servers::SetFlag(std::string_view name, std::string value) {
  for (auto& [flag, now] : flags_) {
    if (flag != name) continue;
    now = std::move(value);
    return;
  }
}

std::string Servers::Flagz() const {
  std::string out = absl::StrCat("\nkube-proxy flagz\n", kZpageWarning);
  for (const auto& [name, value] : flags_) absl::StrAppend(&out, name, ": ", value, "\n");
  return out;
}

std::string Servers::Statusz() const {
  auto up = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - started_).count();
  time_t when = std::chrono::system_clock::to_time_t(started_);
  tm parts;
  gmtime_r(&when, &parts);
  char date[64], duration[64];
  strftime(date, sizeof(date), "%a %b %e %H:%M:%S UTC %Y", &parts);
  snprintf(duration, sizeof(duration), "%d hr %02d min %02d sec", static_cast<int>(up / 3600),
           static_cast<int>(up / 60 % 60), static_cast<int>(up % 60));
  return absl::StrCat("\nkube-proxy statusz\n", kZpageWarning, "\nStarted  ", date, "\nUp  ", duration,
                      "\nBinary version  ", kKubernetesVersion + 1, "\nEmulation version  1.36\nPaths  /configz",
                      flags_.empty() ? "" : " /flagz", " /healthz /metrics /proxyMode\n");
}

// The metrics port's own health: that it answers.
Task<void> Servers::ServePing(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  std::string body = "ok";
  if (request.path == "/healthz") {
    slis_.Observe("ping", "healthz", true);
    if (request.query.Has("verbose")) body = "[+]ping ok\nhealthz check passed\n";
  }
  (void)co_await exchange.Respond(200, Text(), std::move(body));
}

Task<void> Servers::ServeSlis(http::Exchange& exchange) {
  if (exchange.request().method == "DELETE") {
    slis_.Reset();
    (void)co_await exchange.Respond(200, Text(), "metrics reset\n");
    co_return;
  }
  (void)co_await exchange.Respond(200, {{"Content-Type", metrics::kTextContentType}}, slis_.Expose());
}

Task<void> Servers::ServeVerbosity(http::Exchange& exchange) {
  http::Headers headers = {{"Content-Type", "text/plain"}, {"X-Content-Type-Options", "nosniff"}};
  if (exchange.request().method != "PUT") {
    (void)co_await exchange.Respond(406, std::move(headers), "unsupported http method\n");
    co_return;
  }
  auto body = co_await exchange.ReadBody(64);
  uint32_t level = 0;
  if (!body.ok() || !absl::SimpleAtoi(*body, &level) || level > INT32_MAX) {
    std::string text = body.ok() ? *body : "";
    (void)co_await exchange.Respond(400, std::move(headers),
                                    absl::StrCat("strconv.ParseUint: parsing ", GoQuote(text), ": invalid syntax\n"));
    co_return;
  }
  log::SetVerbosity(static_cast<int>(level));
  (void)co_await exchange.Respond(200, std::move(headers),
                                  absl::StrCat("successfully set klog.logging.verbosity to ", level, "\n"));
}

}  // namespace skiff::proxy
