#include "controlplane/apiserver/nonresource.h"

#include "api/codec.h"
#include "api/errors.h"
#include "base/program.h"
#include "controlplane/apiserver/output.h"

namespace skiff::controlplane {
namespace {

struct Check {
  std::string name;
  bool ok;
};

std::vector<Check> ChecksOf(const ServerParts& parts, std::string_view which) {
  std::vector<Check> checks = {{"ping", true}, {"log", true}};
  if (which == "readyz") checks.push_back({"informer-sync", true});
  checks.push_back({"etcd", true});
  checks.push_back({"poststarthook/rbac/bootstrap-roles", parts.ready});
  checks.push_back({"poststarthook/scheduling/bootstrap-system-priority-classes", parts.ready});
  checks.push_back({"poststarthook/bootstrap-controller", parts.ready});
  if (which == "readyz") checks.push_back({"shutdown", true});
  return checks;
}

Task<Status> Text(http::Exchange& exchange, int code, std::string body) {
  http::Headers headers = AnswerHeaders("text/plain; charset=utf-8", nullptr);
  headers.Set("X-Content-Type-Options", "nosniff");
  co_return co_await exchange.Respond(code, std::move(headers), std::move(body));
}

Task<Status> ServeHealth(ServerParts& parts, http::Exchange& exchange, const std::string& which,
                         const std::string& one) {
  const auto checks = ChecksOf(parts, which);
  if (!one.empty()) {
    for (const Check& check : checks)
      if (check.name == one)
        co_return co_await Text(exchange, check.ok ? 200 : 500,
                                check.ok ? "ok" : absl::StrCat("internal server error: ", one, " failed\n"));
    co_return co_await Text(exchange, 404, "404 page not found\n");
  }
  const http::Query& query = exchange.request().query;
  std::string text, failed, unknown;
  std::vector<std::string> excluded = query.All("exclude");
  for (const Check& check : checks) {
    auto it = std::find(excluded.begin(), excluded.end(), check.name);
    if (it != excluded.end()) {
      absl::StrAppend(&text, "[+]", check.name, " excluded: ok\n");
      excluded.erase(it);
      continue;
    }
    absl::StrAppend(&text, check.ok ? "[+]" : "[-]", check.name, check.ok ? " ok\n" : " failed: reason withheld\n");
    if (!check.ok) absl::StrAppend(&failed, failed.empty() ? "" : ",", check.name);
  }
  for (const std::string& name : excluded) absl::StrAppend(&unknown, unknown.empty() ? "" : ",", "\"", name, "\"");
  if (!unknown.empty())
    absl::StrAppend(&text, "warn: some health checks cannot be excluded: no matches for ", unknown, "\n");
  if (!failed.empty()) co_return co_await Text(exchange, 500, absl::StrCat(text, which, " check failed\n"));
  if (!query.Has("verbose")) co_return co_await Text(exchange, 200, "ok");
  co_return co_await Text(exchange, 200, absl::StrCat(text, which, " check passed\n"));
}

Task<Status> Json(http::Exchange& exchange, const Context& context, std::string text,
                  std::string_view type = "application/json") {
  co_return co_await exchange.Respond(200, AnswerHeaders(type, &context), std::move(text));
}

}  // namespace

Task<Status> ServeNonResource(ServerParts& parts, const Discovery& discovery, const OpenApi& openapi,
                              http::Exchange& exchange, Context& context) {
  const http::Request& request = exchange.request();
  const std::string& path = request.path;
  if (discovery.Owns(path)) {
    if (request.method != "GET") co_return api::MethodNotSupportedError({}, context.info.verb);
    co_return co_await discovery.Serve(exchange, context);
  }
  if (path.starts_with("/openapi/")) co_return co_await openapi.Serve(exchange, context);
  for (const char* which : {"healthz", "livez", "readyz"}) {
    const std::string prefix = absl::StrCat("/", which);
    if (path == prefix || path == prefix + "/") co_return co_await ServeHealth(parts, exchange, which, "");
    if (path.starts_with(prefix + "/"))
      co_return co_await ServeHealth(parts, exchange, which, path.substr(prefix.size() + 1));
  }
  if (path == "/version" || path == "/version/") {
    Output output;
    auto negotiated = Negotiate(request.headers, request.query, false, false);
    if (negotiated.ok() && negotiated->format == Format::kJson) output = *negotiated;
    const std::string text = absl::StrCat(
        "{\"major\":\"1\",\"minor\":\"36\",\"emulationMajor\":\"1\",\"emulationMinor\":\"36\","
        "\"minCompatibilityMajor\":\"1\",\"minCompatibilityMinor\":\"35\",\"gitVersion\":\"",
        kKubernetesVersion,
        "\",\"gitCommit\":\"\",\"gitTreeState\":\"\",\"buildDate\":\"1970-01-01T00:00:00Z\",\"goVersion\":\"\","
        "\"compiler\":\"clang\",\"platform\":\"linux/amd64\"}");
    co_return co_await Json(exchange, context, api::IndentJson(text));
  }
  if (path == "/metrics")
    co_return co_await exchange.Respond(200, AnswerHeaders("text/plain; version=0.0.4; charset=utf-8", nullptr),
                                        parts.metrics.Expose());
  if (path == "/openid/v1/jwks")
    co_return co_await Json(exchange, context, parts.tokens.JwksJson(), "application/jwk-set+json");
  if (path == "/.well-known/openid-configuration")
    co_return co_await Json(
        exchange, context,
        absl::StrCat(
            "{\"issuer\":\"", parts.tokens.issuer(), "\",\"jwks_uri\":\"https://", parts.advertised,
            "/openid/v1/jwks\",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
            "\"id_token_signing_alg_values_supported\":[\"RS256\"]}"));
  if (path == "/" || path.empty()) {
    std::vector<std::string> paths = {"/.well-known/openid-configuration",
                                      "/api",
                                      "/api/v1",
                                      "/apis",
                                      "/apis/",
                                      "/healthz",
                                      "/livez",
                                      "/metrics",
                                      "/openapi/v2",
                                      "/openapi/v3",
                                      "/openapi/v3/",
                                      "/openid/v1/jwks",
                                      "/readyz",
                                      "/version"};
    for (const std::string& gv : discovery.GroupVersions()) {
      if (gv == "v1") continue;
      paths.push_back("/apis/" + gv);
      const std::string group = "/apis/" + gv.substr(0, gv.find('/'));
      if (std::find(paths.begin(), paths.end(), group) == paths.end()) paths.push_back(group);
    }
    for (const char* which : {"healthz", "livez", "readyz"})
      for (const Check& check : ChecksOf(parts, which)) paths.push_back(absl::StrCat("/", which, "/", check.name));
    std::sort(paths.begin(), paths.end());
    std::string text;
    api::AppendJson(api::json{{"paths", paths}}, &text);
    co_return co_await Json(exchange, context, api::IndentJson(text));
  }
  co_return co_await Text(exchange, 404, "404 page not found\n");
}

}  // namespace skiff::controlplane
