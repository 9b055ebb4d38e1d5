#include "controlplane/apiserver/api_server.h"

#include "api/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "controlplane/apiserver/allocators.h"
#include "controlplane/apiserver/authn.h"
#include "controlplane/apiserver/authz.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/bootstrap.h"
#include "controlplane/apiserver/credentials.h"
#include "controlplane/apiserver/custom/custom_resources.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/discovery.h"
#include "controlplane/apiserver/kubelet_connections.h"
#include "controlplane/apiserver/node_authorizer.h"
#include "controlplane/apiserver/nonresource.h"
#include "controlplane/apiserver/openapi.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/server_parts.h"
#include "controlplane/storage/sqlite_store.h"
#include "k8s/io/api/core/v1/service.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

constexpr std::chrono::minutes kCompactEvery(5);
constexpr std::chrono::seconds kExpireEvery(60);
const std::vector<double> kSecondsBounds = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2,
                                            3,     4,     5,    6,   8,   10,  15,  20,  30,  45,   60};

Status Forbidden(const User& user, const Access& access, const Decision& decision, const Kind* kind) {
  std::string why = absl::StrCat("User \"", user.name, "\" cannot ", access.Describe());
  if (!decision.reason.empty()) absl::StrAppend(&why, ": ", decision.reason);
  (void)kind;
  if (access.is_resource) return api::ForbiddenError({access.group, access.resource, access.name}, why);
  api::StatusMessage status;
  status.set_status("Failure");
  status.set_message("forbidden: " + why);
  status.set_reason("Forbidden");
  status.mutable_details();
  status.set_code(403);
  return api::FromStatusMessage(std::move(status));
}

Status NotServed() {
  api::StatusMessage status;
  status.set_status("Failure");
  status.set_message("the server could not find the requested resource");
  status.set_reason("NotFound");
  status.mutable_details();
  status.set_code(404);
  return api::FromStatusMessage(std::move(status));
}

Status NotAllowed() {
  api::StatusMessage status;
  status.set_status("Failure");
  status.set_message("the server does not allow this method on the requested resource");
  status.set_reason("MethodNotAllowed");
  status.mutable_details();
  status.set_code(405);
  return api::FromStatusMessage(std::move(status));
}

bool HasWord(std::string_view comma_separated, std::string_view word) {
  for (std::string_view entry : api::SplitList(comma_separated))
    if (entry == word) return true;
  return false;
}

class ApiServerImpl final : public ApiServer {
 public:
  ApiServerImpl(asio::io_context& loop, ApiServerOptions options, Clock& clock, std::unique_ptr<SqliteStore> store,
                std::unique_ptr<Allocators> allocators, Credentials credentials, ServiceAccountTokens tokens)
      : loop_(loop),
        options_(std::move(options)),
        clock_(clock),
        store_(std::move(store)),
        allocators_(std::move(allocators)),
        credentials_(std::move(credentials)),
        tokens_(std::move(tokens)),
        kinds_(allocators_.get()),
        admission_(*store_, kinds_),
        registry_(*store_, kinds_, admission_, clock_),
        authenticator_(tokens_, admission_, options_.anonymous_auth),
        nodes_(*store_, kinds_),
        authorizer_(admission_, &nodes_, ModesOf(options_)),
        kubelets_(loop, credentials_.kubelet_client, options_.kubelet_preferred_address_types),
        openapi_(kinds_),
        requests_(metrics_.Counters(
            "apiserver_request_total",
            "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, "
            "version, resource, scope, component, and HTTP response code.",
            {"code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"})),
        durations_(
            metrics_.Histograms("apiserver_request_duration_seconds",
                                "[STABLE] Response latency distribution in seconds for each verb, dry run value, "
                                "group, version, resource, subresource, scope and component.",
                                kSecondsBounds, {"verb"})),
        long_running_(metrics_.Gauges(
            "apiserver_longrunning_requests",
            "[STABLE] Gauge of all active long-running apiserver requests broken out by verb and resource.",
            {"resource", "verb"})) {
    metrics_.AddProcessMetrics();
    metrics_.Collector("apiserver_storage_objects",
                       "[STABLE] Number of stored objects at the time of last check split by kind.", "gauge",
                       [this](const metrics::Emit& emit) {
                         for (const auto& kind : kinds_.all()) {
                           if (!kind->stored() || kind->storage_type != kind->type) continue;
                           double count = 0;
                           store_->PeekPrefix(kind->prefix, [&](const std::string&, const ValuePtr&) {
                             ++count;
                             return true;
                           });
                           const std::string name = absl::StrCat(std::string(kind->resource->plural),
                                                                 kind->resource->group.empty() ? "" : ".",
                                                                 std::string(kind->resource->group));
                           emit({{{"resource", name}}, count, 0});
                         }
                       });
  }

  Task<Status> Start() override {
    admission_.SetAuthorizer(&authorizer_);
    registry_.SetEventTtl(std::chrono::duration_cast<std::chrono::seconds>(options_.event_ttl));
    for (const std::string& plugin : options_.enable_admission_plugins)
      if (plugin == "NodeRestriction") admission_.SetNodeRestriction(true);
    // What services hold already.
    store_->PeekPrefix(kinds_.Core("services").prefix, [&](const std::string& key, const ValuePtr& value) {
      auto object = kinds_.Core("services").Decode(key, *value);
      if (!object.ok()) return true;
      const auto& spec = object->As<core::Service>()->spec();
      if (!spec.clusterip().empty() && spec.clusterip() != "None") (void)allocators_->addresses.Take(spec.clusterip());
      for (const auto& port : spec.ports())
        if (port.nodeport() > 0) (void)allocators_->ports.Take(port.nodeport());
      if (spec.healthchecknodeport() > 0) (void)allocators_->ports.Take(spec.healthchecknodeport());
      return true;
    });
    if (!options_.token_auth_file.empty())
      if (Status status = authenticator_.LoadTokenFile(options_.token_auth_file); !status.ok()) co_return status;

    server_ = std::make_unique<http::Server>(loop_.get_executor(),
                                             [this](http::Exchange& exchange) { return Handle(exchange); });
    const std::string host = options_.bind_address.find(':') != std::string::npos ? "[" + options_.bind_address + "]"
                                                                                  : options_.bind_address;
    auto port = server_->Listen(absl::StrCat(host, ":", options_.secure_port), credentials_.serving);
    if (!port.ok()) co_return Annotate(port.status(), "--secure-port");
    port_ = *port;
    custom_ = std::make_unique<CustomResources>(loop_.get_executor(), *store_, kinds_, registry_, clock_);
    custom_->Start();
    tasks_.Spawn("custom-resources", custom_->Run());
    discovery_ = std::make_unique<Discovery>(kinds_, absl::StrCat(options_.advertise_address, ":", port_));
    parts_ = std::unique_ptr<ServerParts>(new ServerParts{
        loop_, clock_, *store_, kinds_, admission_, registry_, tokens_, authenticator_, authorizer_, kubelets_,
        metrics_, absl::StrCat(options_.advertise_address, ":", port_), ready_, options_.controllers_inside});
    BootstrapFacts facts;
    facts.service_address = allocators_->addresses.First();
    facts.advertise_address = options_.advertise_address;
    facts.port = port_;
    facts.service_range = allocators_->addresses.cidr();
    facts.client_ca_pem = credentials_.client_ca_pem;
    facts.group_versions = discovery_->GroupVersions();
    if (Status status = co_await Bootstrap(registry_, facts, clock_.Now()); !status.ok()) co_return status;
    ready_ = true;
    if (!options_.write_kubeconfig.empty())
      if (Status status = WriteKubeconfigs(); !status.ok()) co_return status;
    LOG_INFO("Serving securely", {"address", absl::StrCat(options_.bind_address, ":", port_)},
             {"store", options_.storage_file}, {"revision", store_->revision()});
    co_return absl::OkStatus();
  }

  Task<void> Run() override {
    auto last_compact = clock_.Steady();
    int64_t compact_to = store_->revision();
    while (true) {
      Status status = co_await clock_.Sleep(kExpireEvery);
      if (!status.ok()) break;
      const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(clock_.Now().time_since_epoch()).count();
      if (Status expired = co_await store_->RemoveExpired(now); !expired.ok() && !absl::IsCancelled(expired))
        LOG_ERROR(expired, "Failed to remove expired objects");
      if (clock_.Steady() - last_compact < kCompactEvery) continue;
      // What was current five minutes ago and is not any more.
      last_compact = clock_.Steady();
      if (Status compacted = co_await store_->Compact(compact_to); !compacted.ok() && !absl::IsCancelled(compacted))
        LOG_ERROR(compacted, "Failed to compact the store");
      compact_to = store_->revision();
    }
    ready_ = false;
    co_await asio::this_coro::reset_cancellation_state();
    tasks_.Cancel();
    co_await tasks_.Join();
    co_await server_->Shutdown(std::chrono::seconds(2));
  }

  uint16_t port() const override { return port_; }
  std::string local_url() const override {
    const std::string host =
        options_.bind_address == "0.0.0.0" || options_.bind_address == "::" ? "127.0.0.1" : options_.bind_address;
    return absl::StrCat("https://", host, ":", port_);
  }
  const std::string& ca_pem() const override { return credentials_.ca_pem; }

 private:
  static Authorizer::Modes ModesOf(const ApiServerOptions& options) {
    Authorizer::Modes modes{false, false, false};
    for (const std::string& mode : options.authorization_modes) {
      if (mode == "Node") modes.node = true;
      if (mode == "RBAC") modes.rbac = true;
      if (mode == "AlwaysAllow") modes.always_allow = true;
    }
    return modes;
  }

  Status WriteKubeconfigs() {
    RETURN_IF_ERROR(MakeDirs(options_.write_kubeconfig, 0700));
    struct Entry {
      const char *file, *user;
      std::vector<std::string> groups;
      bool local;
    };
    const Entry entries[] = {
        {"admin.kubeconfig", "kubernetes-admin", {std::string(kMasters)}, false},
        {"kube-scheduler.kubeconfig", "system:kube-scheduler", {}, true},
        // All controllers share one client, where upstream's have a service account each: it needs what they need.
        {"kube-controller-manager.kubeconfig", "system:kube-controller-manager", {std::string(kMasters)}, true},
        {"kube-proxy.kubeconfig", "system:kube-proxy", {}, false},
    };
    const bool everywhere = options_.bind_address == "0.0.0.0" || options_.bind_address == "::";
    const std::string advertised =
        everywhere ? absl::StrCat("https://", options_.advertise_address, ":", port_) : local_url();
    for (const Entry& entry : entries) {
      ASSIGN_OR_RETURN(std::string text, MakeKubeconfig(options_.cert_dir, entry.local ? local_url() : advertised,
                                                        entry.user, entry.groups));
      RETURN_IF_ERROR(WriteFileAtomic(JoinPath(options_.write_kubeconfig, entry.file), text, 0600));
    }
    return absl::OkStatus();
  }

  Task<void> Handle(http::Exchange& exchange) {
    Context context;
    context.now = clock_.Now();
    const auto begun = clock_.Steady();
    context.info = RequestInfo::Parse(exchange.request().method, exchange.request().path, exchange.request().query);
    Status status = co_await Route(exchange, context);
    int code = exchange.answered() && status.ok() ? 200 : api::HttpCodeOf(status);
    if (!status.ok() && !exchange.answered() && !absl::IsCancelled(status)) {
      if (code >= 500)
        LOG_ERROR(status, "Request failed", {"method", exchange.request().method}, {"path", exchange.request().path},
                  {"user", context.user.name});
      Status sent = co_await AnswerError(exchange, status, &context);
      (void)sent;
    }
    const RequestInfo& info = context.info;
    if (info.is_resource) {
      std::string verb = info.verb;
      for (char& c : verb) c = static_cast<char>(toupper(c));
      requests_
          .With({absl::StrCat(code), "apiserver", context.dry_run ? "All" : "", info.group, info.resource,
                 !info.name.empty() ? "resource"
                 : !info.ns.empty() ? "namespace"
                                    : "cluster",
                 info.subresource, verb, info.version})
          .Inc();
      if (info.verb != "watch")
        durations_.With({verb}).Observe(std::chrono::duration<double>(clock_.Steady() - begun).count());
    }
    VLOG(3, "HTTP", {"verb", info.verb}, {"path", exchange.request().target}, {"user", context.user.name},
         {"code", code});
  }

  Task<Status> Route(http::Exchange& exchange, Context& context) {
    const http::Request& request = exchange.request();
    auto user = authenticator_.Authenticate(request, context.now);
    if (!user.ok()) co_return user.status();
    context.user = *std::move(user);

    Access access;
    const RequestInfo& info = context.info;
    access.verb = info.verb;
    access.is_resource = info.is_resource;
    access.group = info.group;
    access.version = info.version;
    access.resource = info.resource;
    access.subresource = info.subresource;
    access.ns = info.ns;
    access.name = info.name;
    access.path = info.path;
    access.field_selector = std::string(request.query.Get("fieldSelector"));
    if (info.resource == "namespaces" && info.group.empty()) access.ns = info.ns.empty() ? "" : info.ns;

    auto impersonated = Authenticator::Impersonated(request);
    if (!impersonated.ok()) co_return impersonated.status();
    if (*impersonated) {
      if (Status status = CheckImpersonation(context.user, **impersonated, access); !status.ok()) co_return status;
      context.user = **std::move(impersonated);
    }

    const Decision decision = authorizer_.Authorize(context.user, access);
    if (!decision.allowed) co_return Forbidden(context.user, access, decision, nullptr);

    if (!info.is_resource || discovery_->Owns(request.path))
      co_return co_await ServeNonResource(*parts_, *discovery_, openapi_, exchange, context);
    if (info.prefix == "apis" && !discovery_->HasGroup(info.group)) {
      http::Headers headers = AnswerHeaders("text/plain; charset=utf-8", nullptr);
      headers.Set("X-Content-Type-Options", "nosniff");
      co_return co_await exchange.Respond(404, std::move(headers), "404 page not found\n");
    }
    if (const Kind* kind = kinds_.Find(info.group, info.version, info.resource))
      co_return co_await RouteResource(exchange, context, *kind);
    // Held for as long as the request lasts: its definition may change meanwhile.
    const std::shared_ptr<const Kind> custom = kinds_.FindCustom(info.group, info.version, info.resource);
    if (!custom) co_return NotServed();
    if (!custom->custom->deprecation.empty()) context.warnings.push_back(custom->custom->deprecation);
    co_return co_await RouteResource(exchange, context, *custom);
  }

  Task<Status> RouteResource(http::Exchange& exchange, Context& context, const Kind& kind) {
    const http::Request& request = exchange.request();
    const RequestInfo& info = context.info;
    const api::Subresource* subresource = nullptr;
    if (!info.subresource.empty()) {
      subresource = kind.FindSubresource(info.subresource);
      if (!subresource) co_return NotServed();
    }
    if (request.method == "HEAD" || request.method == "OPTIONS" || info.verb.empty()) co_return NotAllowed();
    // proxy takes every method below it; the other subresources have no further path.
    const bool stream = info.subresource == "log" || info.subresource == "exec" || info.subresource == "attach" ||
                        info.subresource == "portforward" || info.subresource == "proxy";
    if (info.parts.size() > 3 && info.subresource != "proxy") co_return NotServed();
    const bool named_by_path = info.parts.size() >= 2;
    if (kind.resource->namespaced && info.ns.empty() && info.verb != "list" && info.verb != "watch")
      co_return NotAllowed();
    if (!kind.resource->namespaced && !info.ns.empty() && info.resource != "namespaces") co_return NotServed();
    const std::string_view verbs = subresource ? subresource->verbs : kind.resource->verbs;
    if (!HasWord(verbs, info.verb == "watch" && named_by_path ? "get" : info.verb)) co_return NotAllowed();
    if (info.verb == "create" && named_by_path && !subresource) co_return NotAllowed();
    if ((info.verb == "update" || info.verb == "patch") && !named_by_path) co_return NotAllowed();

    const bool watch = info.verb == "watch";
    Output output;
    if (!stream) {
      auto negotiated = Negotiate(request.headers, request.query, watch, true, !kind.custom);
      if (!negotiated.ok()) co_return negotiated.status();
      output = *std::move(negotiated);
    }
    if (kind.resource->group.empty() && kind.resource->plural == "endpoints" &&
        (info.verb == "create" || info.verb == "update" || info.verb == "patch" || info.verb == "list" ||
         info.verb == "watch" || info.verb == "get"))
      context.warnings.push_back("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");

    Call call{exchange, context, kind, subresource, output};
    if (stream) {
      metrics::Gauge& gauge = long_running_.With({info.resource, info.subresource});
      gauge.Inc(1);
      Status status = co_await ServeStream(*parts_, call);
      gauge.Inc(-1);
      co_return status;
    }
    if (!watch) {
      auto special = co_await ServeSpecial(*parts_, call);
      if (special) co_return *special;
    }
    if (!kind.stored()) co_return co_await ServeUnstored(call);
    if (watch) {
      metrics::Gauge& gauge = long_running_.With({info.resource, "WATCH"});
      gauge.Inc(1);
      Status status = co_await ServeWatch(*parts_, call);
      gauge.Inc(-1);
      co_return status;
    }
    if (info.verb == "get") co_return co_await ServeGet(*parts_, call);
    if (info.verb == "list") co_return co_await ServeList(*parts_, call);
    if (info.verb == "create") co_return co_await ServeCreate(*parts_, call);
    if (info.verb == "update") co_return co_await ServeUpdate(*parts_, call);
    if (info.verb == "patch") co_return co_await ServePatch(*parts_, call);
    if (info.verb == "delete") co_return co_await ServeDelete(*parts_, call);
    if (info.verb == "deletecollection") co_return co_await ServeDeleteCollection(*parts_, call);
    co_return NotAllowed();
  }

  Task<Status> ServeUnstored(Call& call) {
    co_return api::InternalError(
        absl::StrCat("resource ", std::string(call.kind.resource->plural), " is not implemented"));
  }

  // Acting as another needs the right to, for the user, each group and each extra value.
  Status CheckImpersonation(const User& user, const User& wanted, const Access& access) const {
    auto check = [&](std::string resource, std::string name, std::string ns, std::string group,
                     std::string sub) -> bool {
      Access impersonate;
      impersonate.verb = "impersonate";
      impersonate.group = std::move(group);
      impersonate.version = "v1";
      impersonate.resource = std::move(resource);
      impersonate.subresource = std::move(sub);
      impersonate.name = std::move(name);
      impersonate.ns = std::move(ns);
      return authorizer_.Authorize(user, impersonate).allowed;
    };
    bool allowed = true;
    constexpr std::string_view kAccount = "system:serviceaccount:";
    if (std::string_view(wanted.name).starts_with(kAccount)) {
      const std::string rest = wanted.name.substr(kAccount.size());
      const size_t colon = rest.find(':');
      allowed = check("serviceaccounts", colon == std::string::npos ? rest : rest.substr(colon + 1),
                      rest.substr(0, colon), "", "");
    } else {
      allowed = check("users", wanted.name, "", "", "");
    }
    for (const std::string& group : wanted.groups)
      if (group != kAuthenticated && group != kUnauthenticated && !group.starts_with("system:serviceaccounts"))
        allowed = allowed && check("groups", group, "", "", "");
    if (!wanted.uid.empty()) allowed = allowed && check("uids", wanted.uid, "", "authentication.k8s.io", "");
    for (const auto& [key, values] : wanted.extra)
      for (const std::string& value : values)
        allowed = allowed && check("userextras", value, "", "authentication.k8s.io", key);
    if (allowed) return absl::OkStatus();
    Access shown = access;
    shown.verb = absl::StrCat("impersonate-on:user-info:", access.verb);
    return Forbidden(user, shown, {}, nullptr);
  }

  asio::io_context& loop_;
  const ApiServerOptions options_;
  Clock& clock_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<Allocators> allocators_;
  Credentials credentials_;
  ServiceAccountTokens tokens_;
  Kinds kinds_;
  Admission admission_;
  Registry registry_;
  Authenticator authenticator_;
  NodeAuthorizer nodes_;
  Authorizer authorizer_;
  KubeletConnections kubelets_;
  metrics::Registry metrics_;
  OpenApi openapi_;
  metrics::Family<metrics::Counter>& requests_;
  metrics::Family<metrics::Histogram>& durations_;
  metrics::Family<metrics::Gauge>& long_running_;
  std::unique_ptr<CustomResources> custom_;
  TaskGroup tasks_{loop_.get_executor()};
  std::unique_ptr<Discovery> discovery_;
  std::unique_ptr<ServerParts> parts_;
  std::unique_ptr<http::Server> server_;
  uint16_t port_ = 0;
  bool ready_ = false;
};

}  // namespace

StatusOr<std::unique_ptr<ApiServer>> ApiServer::Make(asio::io_context& loop, ApiServerOptions options, Clock& clock) {
  ASSIGN_OR_RETURN(AddressAllocator addresses, AddressAllocator::Make(options.service_cluster_ip_range));
  int first = 0, last = 0;
  if (sscanf(options.service_node_port_range.c_str(), "%d-%d", &first, &last) != 2 || first < 1 || last < first ||
      last > 65535)
    return InvalidArgument("--service-node-port-range: invalid range ", options.service_node_port_range);
  auto allocators = std::make_unique<Allocators>(Allocators{std::move(addresses), PortAllocator(first, last)});
  const size_t slash = options.storage_file.rfind('/');
  if (slash != std::string::npos && slash > 0)
    RETURN_IF_ERROR(MakeDirs(options.storage_file.substr(0, slash), 0700), "--storage-file");
  RETURN_IF_ERROR(MakeDirs(options.cert_dir, 0700), "--cert-dir");
  ASSIGN_OR_RETURN(Credentials credentials, LoadCredentials(options, allocators->addresses.First()));
  ASSIGN_OR_RETURN(ServiceAccountTokens tokens,
                   ServiceAccountTokens::Make(options.service_account_issuer, options.api_audiences,
                                              credentials.signing_key_pem, credentials.more_key_pems));
  ASSIGN_OR_RETURN(auto store, SqliteStore::Open(loop, {.path = options.storage_file}));
  return std::unique_ptr<ApiServer>(std::make_unique<ApiServerImpl>(loop, std::move(options), clock, std::move(store),
                                                                    std::move(allocators), std::move(credentials),
                                                                    std::move(tokens)));
}

}  // namespace skiff::controlplane
