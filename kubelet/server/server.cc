#include "kubelet/server/server.h"

#include "absl/strings/str_replace.h"
#include "base/files.h"
#include "base/log.h"
#include "base/paths.h"
#include "kubelet/server/answers.h"
#include "kubelet/server/pages.h"
#include "kubelet/server/request_metrics.h"
#include "kubelet/server/stream.h"
#include "kubelet/state/layout.h"

namespace skiff::kubelet {
namespace {

// Paths whose first segment belongs to the server; everything else is 404 without asking who it is.
enum class Area {
  kNone,
  kHealthz,
  kMetrics,
  kPods,
  kStats,
  kRun,
  kExec,
  kAttach,
  kPortForward,
  kContainerLogs,
  kConfigz,
  kRunningPods,
  kCheckpoint,
  kStatusz,
  kFlagz,
  kLogs,
  kPprof,
  kDebugFlags,
};

struct Route {
  Area area = Area::kNone;
  std::vector<std::string> rest;  // the segments after the area's
  bool slash = false;             // the path ends with one
};

constexpr std::string_view kChecks[] = {"ping", "log", "syncloop", "device-plugin"};

Route RouteOf(const std::string& path) {
  Route out;
  std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (parts.empty()) return out;
  out.slash = path.back() == '/';
  struct Row {
    std::string_view name;
    Area area;
  };
  static constexpr Row kRows[] = {
      {"healthz", Area::kHealthz},
      {"metrics", Area::kMetrics},
      {"pods", Area::kPods},
      {"stats", Area::kStats},
      {"run", Area::kRun},
      {"exec", Area::kExec},
      {"attach", Area::kAttach},
      {"portForward", Area::kPortForward},
      {"containerLogs", Area::kContainerLogs},
      {"configz", Area::kConfigz},
      {"runningpods", Area::kRunningPods},
      {"checkpoint", Area::kCheckpoint},
      {"statusz", Area::kStatusz},
      {"flagz", Area::kFlagz},
      {"logs", Area::kLogs},
  };
  for (const Row& row : kRows) {
    if (parts[0] == row.name) out.area = row.area;
  }
  size_t used = 1;
  if (parts[0] == "debug" && parts.size() > 1 && parts[1] == "pprof") {
    out.area = Area::kPprof;
    used = 2;
  }
  if (parts[0] == "debug" && parts.size() == 3 && parts[1] == "flags" && parts[2] == "v") {
    out.area = Area::kDebugFlags;
    used = 3;
  }
  out.rest.assign(parts.begin() + static_cast<ptrdiff_t>(used), parts.end());

  // Areas that are single paths.
  const bool exact = out.rest.empty() && !out.slash;
  if (out.area == Area::kHealthz && !exact) {
    const bool known = out.rest.size() == 1 && !out.slash &&
                       std::find(std::begin(kChecks), std::end(kChecks), out.rest[0]) != std::end(kChecks);
    if (!known) out.area = Area::kNone;
  }
  if (out.area == Area::kMetrics && !exact) {
    static constexpr std::string_view kKinds[] = {"cadvisor", "resource", "probes", "slis"};
    const bool known = out.rest.size() == 1 && !out.slash &&
                       std::find(std::begin(kKinds), std::end(kKinds), out.rest[0]) != std::end(kKinds);
    if (!known) out.area = Area::kNone;
  }
  if ((out.area == Area::kConfigz || out.area == Area::kStatusz || out.area == Area::kFlagz ||
       out.area == Area::kDebugFlags) &&
      !exact) {
    out.area = Area::kNone;
  }
  return out;
}

// As Go's mux has it. Who may do what is asked by the path's beginning, so no other spelling of it may get any further.
std::string UsualSpelling(const std::string& path) {
  std::string out = CleanPath(path);
  if (path.ends_with('/') && out != "/") out += '/';
  return out;
}

// In a form that can stand in a header, with the request's query.
std::string LocationOf(const std::string& path, const std::string& target) {
  std::string out = absl::StrReplaceAll(http::PercentEncode(path), {{"%2F", "/"}});
  if (const size_t question = target.find('?'); question != std::string::npos) out += target.substr(question);
  return out;
}

bool IsDebug(Area area) {
  switch (area) {
    case Area::kNone:
    case Area::kHealthz:
    case Area::kMetrics:
    case Area::kPods:
    case Area::kStats: return false;
    default: return true;
  }
}

Task<void> NotFoundPage(http::Exchange& exchange) { return AnswerText(exchange, 404, "404: Page Not Found"); }

}  // namespace

struct KubeletServer::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor executor, KubeletServerOptions o, ServerHost& host, Reviewer* reviewer, Clock& clock)
      : executor(executor),
        options(std::move(o)),
        host(host),
        clock(clock),
        auth(options.auth, host.NodeName(), reviewer, clock) {
    if (options.metrics != nullptr) requests = std::make_unique<RequestMetrics>(*options.metrics, clock);
  }

  asio::any_io_executor executor;
  KubeletServerOptions options;
  ServerHost& host;
  Clock& clock;
  Authenticator auth;
  std::unique_ptr<http::Server> main, health, read_only;
  std::unique_ptr<RequestMetrics> requests;
  client::HealthSlis slis;
  uint16_t port = 0, health_port = 0, read_only_port = 0;

  StatusOr<std::shared_ptr<TlsServerConfig>> Certificates();
  Task<void> Serve(http::Exchange& exchange, bool trusted_port);
  Task<void> Answer(http::Exchange& exchange, bool trusted_port);
  Task<void> ServeHealthPort(http::Exchange& exchange);
  Task<void> Dispatch(http::Exchange& exchange, const Route& route);
  Task<void> DispatchStream(http::Exchange& exchange, StreamKind kind, const std::vector<std::string>& rest);
  Task<void> DispatchDebug(http::Exchange& exchange, const Route& route);
};

StatusOr<std::shared_ptr<TlsServerConfig>> KubeletServer::Impl::Certificates() {
  if (options.tls != nullptr) return options.tls;
  std::string cert = options.cert_file, key = options.key_file;
  if (cert.empty() || key.empty()) {
    const std::string dir = options.cert_dir.empty() ? layout::Pki(options.root_dir) : options.cert_dir;
    cert = absl::StrCat(dir, "/kubelet.crt");
    key = absl::StrCat(dir, "/kubelet.key");
    // An operator's, whose key may be somewhere else: not to be written over. (The other way about is what an end
    // between the two writes below leaves.)
    if (Exists(cert) && !Exists(key)) {
      return FailedPrecondition("error reading ", key, ", certificate and key must be supplied as a pair");
    }
    if (!Exists(cert)) {
      CertificateRequest request;
      request.common_name = absl::StrCat(options.hostname, "@", std::chrono::system_clock::to_time_t(clock.Now()));
      request.dns_names = {options.hostname};
      request.ip_addresses = options.node_ips;
      request.server_auth = true;
      ASSIGN_OR_RETURN(const KeyPair pair, SelfSigned(request), "make a serving certificate");
      RETURN_IF_ERROR(MakeDirs(dir, 0755));
      // The key first: a certificate without its key would be taken for a whole pair.
      RETURN_IF_ERROR(WriteFileAtomic(key, pair.key_pem, 0600));
      RETURN_IF_ERROR(WriteFileAtomic(cert, pair.cert_pem, 0644));
      LOG_INFO("Using self-signed cert", {"certFile", cert}, {"keyFile", key});
    }
  }
  return LimitedTlsServer(cert, key, options.client_ca_file, options.tls_limits);
}

Task<void> KubeletServer::Impl::Serve(http::Exchange& exchange, bool trusted_port) {
  auto self = shared_from_this();
  std::unique_ptr<RequestMetrics::Running> running;
  if (requests) running = requests->Begin(exchange.request(), trusted_port);
  co_await Answer(exchange, trusted_port);
}

Task<void> KubeletServer::Impl::Answer(http::Exchange& exchange, bool trusted_port) {
  const http::Request& request = exchange.request();
  if (const std::string usual = UsualSpelling(request.path); usual != request.path) {
    co_return co_await AnswerRedirect(exchange, LocationOf(usual, request.target));
  }
  const Route route = RouteOf(request.path);
  if (route.area == Area::kNone) co_return co_await AnswerNotFound(exchange);
  // Go's mux sends the bare name of a subtree on, before anybody is asked who they are.
  if (route.rest.empty() && !route.slash) {
    if (route.area == Area::kLogs) co_return co_await AnswerRedirect(exchange, "/logs/");
    if (route.area == Area::kStats) co_return co_await AnswerRedirect(exchange, "/stats/");
    if (route.area == Area::kRunningPods) co_return co_await AnswerRedirect(exchange, "/runningpods/");
    if (route.area == Area::kPprof) co_return co_await AnswerRedirect(exchange, "/debug/pprof/");
  }
  if (trusted_port) {
    if (!co_await auth.Allow(exchange)) co_return;
  }
  if (IsDebug(route.area) && (!trusted_port || !options.enable_debugging_handlers)) {
    const bool known = route.area == Area::kRun || route.area == Area::kExec || route.area == Area::kAttach ||
                       route.area == Area::kPortForward || route.area == Area::kContainerLogs ||
                       route.area == Area::kRunningPods || route.area == Area::kPprof || route.area == Area::kLogs;
    if (known) co_return co_await AnswerError(exchange, 405, "Debug endpoints are disabled.");
    co_return co_await AnswerNotFound(exchange);
  }
  co_await Dispatch(exchange, route);
}

Task<void> KubeletServer::Impl::Dispatch(http::Exchange& exchange, const Route& route) {
  const std::string& method = exchange.request().method;
  const std::string first = route.rest.empty() ? "" : route.rest[0];
  switch (route.area) {
    case Area::kHealthz: {
      const bool alive = SyncLoopAlive(options.sync_frequency, host, clock);
      co_return co_await ServeHealthz(exchange, first, {{std::begin(kChecks), std::end(kChecks)}, alive, slis});
    }
    case Area::kMetrics:
      if (first == "slis") co_return co_await ServeSlis(exchange, slis);
      co_return co_await ServeMetrics(exchange, first, host);
    case Area::kPods:
      if (!route.rest.empty()) co_return co_await NotFoundPage(exchange);
      if (method != "GET") co_return co_await AnswerMethodNotAllowed(exchange, "GET");
      co_return co_await ServePods(exchange, host);
    case Area::kStats:
      if (route.rest.size() != 1 || first != "summary") co_return co_await NotFoundPage(exchange);
      if (method != "GET" && method != "POST") co_return co_await AnswerMethodNotAllowed(exchange, "GET, POST");
      co_return co_await ServeStatsSummary(exchange, host);
    case Area::kConfigz: co_return co_await ServeConfigz(exchange, host);
    case Area::kStatusz: co_return co_await ServeStatusz(exchange, clock);
    case Area::kFlagz:
      if (options.flagz.empty()) co_return co_await AnswerNotFound(exchange);
      co_return co_await AnswerText(exchange, 200, options.flagz);
    case Area::kRunningPods:
      if (!route.rest.empty()) co_return co_await NotFoundPage(exchange);
      if (method != "GET") co_return co_await AnswerMethodNotAllowed(exchange, "GET");
      co_return co_await ServeRunningPods(exchange, host);
    default: co_return co_await DispatchDebug(exchange, route);
  }
}

Task<void> KubeletServer::Impl::DispatchStream(http::Exchange& exchange, StreamKind kind,
                                               const std::vector<std::string>& rest) {
  const size_t least = kind == StreamKind::kPortForward ? 2 : 3;
  if (rest.size() != least && rest.size() != least + 1) co_return co_await NotFoundPage(exchange);
  const std::string& method = exchange.request().method;
  if (method != "GET" && method != "POST") co_return co_await AnswerMethodNotAllowed(exchange, "GET, POST");
  StreamTarget target{rest[0], rest[1], rest.size() > least ? rest[2] : "",
                      kind == StreamKind::kPortForward ? "" : rest.back()};
  if (requests) requests->CountWebSocket(exchange.request(), kind);
  co_await ServeStream(exchange, kind, std::move(target), host, options.stream_idle_timeout);
}

Task<void> KubeletServer::Impl::DispatchDebug(http::Exchange& exchange, const Route& route) {
  const std::string& method = exchange.request().method;
  const auto& rest = route.rest;
  switch (route.area) {
    case Area::kExec: co_return co_await DispatchStream(exchange, StreamKind::kExec, rest);
    case Area::kAttach: co_return co_await DispatchStream(exchange, StreamKind::kAttach, rest);
    case Area::kPortForward: co_return co_await DispatchStream(exchange, StreamKind::kPortForward, rest);
    case Area::kRun:
      if (rest.size() != 3 && rest.size() != 4) co_return co_await NotFoundPage(exchange);
      if (method != "POST") co_return co_await AnswerMethodNotAllowed(exchange, "POST");
      co_return co_await ServeRun(exchange, rest[0], rest[1], rest.size() == 4 ? rest[2] : "", rest.back(), host);
    case Area::kContainerLogs:
      if (rest.size() != 3) co_return co_await NotFoundPage(exchange);
      if (method != "GET") co_return co_await AnswerMethodNotAllowed(exchange, "GET");
      co_return co_await ServeContainerLogs(exchange, rest[0], rest[1], rest[2], options, host, clock);
    case Area::kCheckpoint:
      if (rest.size() != 3) co_return co_await NotFoundPage(exchange);
      if (method != "POST") co_return co_await AnswerMethodNotAllowed(exchange, "POST");
      co_return co_await ServeCheckpoint(exchange, rest[0], rest[1], rest[2], options, host, clock);
    case Area::kLogs:
      if (!options.enable_system_log_handler) {
        co_return co_await AnswerError(exchange, 405, "logs endpoint is disabled.");
      }
      if (method != "GET") co_return co_await AnswerMethodNotAllowed(exchange, "GET");
      co_return co_await ServeNodeLogs(exchange, absl::StrJoin(rest, "/"), options);
    case Area::kPprof:
      if (!options.enable_profiling_handler) {
        co_return co_await AnswerError(exchange, 405, "profiling endpoint is disabled.");
      }
      if (rest.size() == 1 && rest[0] == "cmdline") co_return co_await ServeCmdline(exchange);
      if (rest.empty()) co_return co_await NotFoundPage(exchange);
      co_return co_await AnswerError(exchange, 501, "this kubelet has no Go profiles");
    case Area::kDebugFlags:
      if (!options.enable_debug_flags_handler) {
        co_return co_await AnswerError(exchange, 405, "flags endpoint is disabled.");
      }
      if (method != "PUT") {
        http::Headers headers{{"Content-Type", "text/plain"}, {"X-Content-Type-Options", "nosniff"}};
        (co_await exchange.Respond(406, std::move(headers), "unsupported http method\n")).IgnoreError();
        co_return;
      }
      co_return co_await ServeDebugFlags(exchange);
    default: co_return co_await AnswerNotFound(exchange);
  }
}

Task<void> KubeletServer::Impl::ServeHealthPort(http::Exchange& exchange) {
  auto self = shared_from_this();
  const std::string& path = exchange.request().path;
  // As upstream: it only says that there is a kubelet. Who watches this port restarts the kubelet, which mends no
  // runtime.
  if (path == "/healthz" || path == "/healthz/ping") {
    co_return co_await ServeHealthz(exchange, path == "/healthz" ? "" : "ping", {{"ping"}, true, slis});
  }
  co_await AnswerNotFound(exchange);
}

KubeletServer::KubeletServer(asio::any_io_executor executor, KubeletServerOptions options, ServerHost& host,
                             Reviewer* reviewer, Clock& clock)
    : impl_(std::make_shared<Impl>(executor, std::move(options), host, reviewer, clock)) {}

KubeletServer::~KubeletServer() = default;

namespace {

std::string HostPort(const std::string& address, int port) {
  return absl::StrContains(address, ':') ? absl::StrCat("[", address, "]:", port) : absl::StrCat(address, ":", port);
}

}  // namespace

Status KubeletServer::Start() {
  // The servers belong to the Impl, so their handlers refer to it without owning it.
  Impl* impl = impl_.get();
  const KubeletServerOptions& options = impl->options;
  if (options.port >= 0) {
    ASSIGN_OR_RETURN(auto tls, impl->Certificates(), "kubelet server certificates");
    impl->main = std::make_unique<http::Server>(
        impl->executor, [impl](http::Exchange& exchange) { return impl->Serve(exchange, true); });
    ASSIGN_OR_RETURN(impl->port, impl->main->Listen(HostPort(options.address, options.port), std::move(tls)));
    LOG_INFO("Starting to listen", {"address", options.address}, {"port", impl->port});
  }
  if (options.healthz_port != 0) {
    impl->health = std::make_unique<http::Server>(
        impl->executor, [impl](http::Exchange& exchange) { return impl->ServeHealthPort(exchange); });
    ASSIGN_OR_RETURN(impl->health_port,
                     impl->health->Listen(HostPort(options.healthz_address, std::max(options.healthz_port, 0))));
  }
  if (options.read_only_port != 0) {
    impl->read_only = std::make_unique<http::Server>(
        impl->executor, [impl](http::Exchange& exchange) { return impl->Serve(exchange, false); });
    ASSIGN_OR_RETURN(impl->read_only_port,
                     impl->read_only->Listen(HostPort(options.address, std::max(options.read_only_port, 0))));
    LOG_INFO("Starting to listen read-only", {"address", options.address}, {"port", impl->read_only_port});
  }
  return absl::OkStatus();
}

Task<void> KubeletServer::Shutdown(std::chrono::nanoseconds grace) {
  auto impl = impl_;
  if (impl->read_only) co_await impl->read_only->Shutdown(grace);
  if (impl->health) co_await impl->health->Shutdown(grace);
  if (impl->main) co_await impl->main->Shutdown(grace);
}

uint16_t KubeletServer::port() const { return impl_->port; }
uint16_t KubeletServer::healthz_port() const { return impl_->health_port; }
uint16_t KubeletServer::read_only_port() const { return impl_->read_only_port; }

}  // namespace skiff::kubelet
