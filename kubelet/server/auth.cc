#include "kubelet/server/auth.h"

#include "api/websocket_token.h"
#include "base/log.h"
#include "base/tls.h"

namespace skiff::kubelet {
namespace {

constexpr size_t kMaxCached = 4096;

http::Headers PlainText() { return {{"Content-Type", "text/plain; charset=utf-8"}}; }

bool IsSubpath(std::string_view path, std::string_view base) {
  return path == base || (path.size() > base.size() && path.substr(0, base.size()) == base && path[base.size()] == '/');
}

// "Bearer TOKEN", scheme without case.
std::string BearerToken(const http::Headers& headers) {
  std::string_view value = headers.Get("Authorization");
  if (value.size() < 7 || !absl::EqualsIgnoreCase(value.substr(0, 7), "bearer ")) return "";
  value.remove_prefix(7);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
  return std::string(value);
}

}  // namespace

RequestAttributes AttributesOf(const std::string& method, const std::string& path) {
  RequestAttributes out;
  if (method == "POST") out.verb = "create";
  if (method == "GET") out.verb = "get";
  if (method == "PUT") out.verb = "update";
  if (method == "PATCH") out.verb = "patch";
  if (method == "DELETE") out.verb = "delete";
  // A WebSocket begins with GET: what runs or reaches into a container needs the same permission as by POST, or whoever
  // may read /pods through nodes/proxy could execute commands.
  for (std::string_view root : {"/exec", "/attach", "/portForward", "/run"}) {
    if (IsSubpath(path, root)) out.verb = "create";
  }

  if (IsSubpath(path, "/pods") || IsSubpath(path, "/runningpods")) out.subresources.push_back("pods");
  if (IsSubpath(path, "/healthz")) out.subresources.push_back("healthz");
  if (IsSubpath(path, "/configz")) out.subresources.push_back("configz");
  struct Row {
    std::string_view path, subresource;
  };
  static constexpr Row kRows[] = {{"/stats", "stats"},           {"/metrics", "metrics"}, {"/logs", "log"},
                                  {"/checkpoint", "checkpoint"}, {"/statusz", "statusz"}, {"/flagz", "configz"}};
  for (const Row& row : kRows) {
    if (!IsSubpath(path, row.path)) continue;
    out.subresources.emplace_back(row.subresource);
    return out;
  }
  out.subresources.push_back("proxy");
  return out;
}

Authenticator::Authenticator(AuthOptions options, std::string node_name, Reviewer* reviewer, Clock& clock)
    : options_(options), node_name_(std::move(node_name)), reviewer_(reviewer), clock_(clock) {}

Task<StatusOr<std::optional<UserInfo>>> Authenticator::Authenticate(const http::Request& request) {
  if (request.peer.has_certificate) {
    UserInfo user;
    user.name = request.peer.common_name;
    user.groups = request.peer.organizations;
    user.groups.push_back("system:authenticated");
    co_return user;
  }
  std::string token;
  if (options_.webhook_authentication) {
    token = BearerToken(request.headers);
    if (token.empty()) {
      CO_ASSIGN_OR_RETURN(token, api::WebSocketToken(request.headers));
    }
  }
  if (!token.empty()) {
    const std::string key = Sha256(token);
    const SteadyTime now = clock_.Steady();
    if (auto found = users_.find(key); found != users_.end() && found->second.expires > now) {
      co_return found->second.user;
    }
    if (reviewer_ == nullptr) co_return Unavailable("no API server to review tokens");
    CO_ASSIGN_OR_RETURN(auto user, co_await reviewer_->ReviewToken(token));
    if (user) user->groups.push_back("system:authenticated");
    Trim();
    users_[key] = {user, now + options_.token_ttl};
    co_return user;
  }
  // As upstream: one whose certificate does not verify is nobody, not anonymous.
  if (options_.anonymous && request.peer.certificate_error.empty()) {
    UserInfo user;
    user.name = "system:anonymous";
    user.groups = {"system:unauthenticated"};
    co_return user;
  }
  co_return std::optional<UserInfo>();
}

Task<StatusOr<bool>> Authenticator::Authorize(AccessRequest request) {
  if (!options_.webhook_authorization) co_return true;
  std::string key = absl::StrCat(request.verb, "\n", request.subresource, "\n", request.path, "\n", request.user.name,
                                 "\n", request.user.uid);
  for (const std::string& group : request.user.groups) absl::StrAppend(&key, "\n", group);
  for (const auto& [name, values] : request.user.extra) {
    absl::StrAppend(&key, "\n", name, "=", absl::StrJoin(values, ","));
  }
  key = Sha256(key);
  const SteadyTime now = clock_.Steady();
  if (auto found = accesses_.find(key); found != accesses_.end() && found->second.expires > now) {
    co_return found->second.allowed;
  }
  if (reviewer_ == nullptr) co_return Unavailable("no API server to review access");
  CO_ASSIGN_OR_RETURN(const bool allowed, co_await reviewer_->ReviewAccess(std::move(request)));
  Trim();
  accesses_[key] = {allowed, now + (allowed ? options_.allow_ttl : options_.deny_ttl)};
  co_return allowed;
}

// Expired entries go; when too many are alive, all go: they are only a cache.
void Authenticator::Trim() {
  if (users_.size() + accesses_.size() < kMaxCached) return;
  const SteadyTime now = clock_.Steady();
  std::erase_if(users_, [now](const auto& entry) { return entry.second.expires <= now; });
  std::erase_if(accesses_, [now](const auto& entry) { return entry.second.expires <= now; });
  if (users_.size() + accesses_.size() >= kMaxCached) {
    users_.clear();
    accesses_.clear();
  }
}

Task<bool> Authenticator::Allow(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  auto user = co_await Authenticate(request);
  if (!user.ok()) {
    LOG_ERROR(user.status(), "Unable to authenticate the request due to an error");
  }
  if (!user.ok() || !user->has_value()) {
    (co_await exchange.Respond(401, PlainText(), "Unauthorized")).IgnoreError();
    co_return false;
  }
  const RequestAttributes attributes = AttributesOf(request.method, request.path);
  for (const std::string& subresource : attributes.subresources) {
    AccessRequest access;
    access.user = **user;
    access.verb = attributes.verb;
    access.subresource = subresource;
    access.node = node_name_;
    access.path = request.path;
    auto allowed = co_await Authorize(std::move(access));
    if (!allowed.ok()) {
      LOG_ERROR(allowed.status(), "Authorization error", {"user", (*user)->name}, {"verb", attributes.verb},
                {"resource", "nodes"}, {"subresource", subresource});
      (co_await exchange.Respond(500, PlainText(),
                                 absl::StrCat("Authorization error (user=", (*user)->name, ", verb=", attributes.verb,
                                              ", resource=nodes, subresource=", subresource, ")")))
          .IgnoreError();
      co_return false;
    }
    if (*allowed) co_return true;
  }
  (co_await exchange.Respond(
       403, PlainText(),
       absl::StrCat("Forbidden (user=", (*user)->name, ", verb=", attributes.verb, ", resource=nodes, subresource(s)=[",
                    absl::StrJoin(attributes.subresources, " "), "])\n")))
      .IgnoreError();
  co_return false;
}

}  // namespace skiff::kubelet
