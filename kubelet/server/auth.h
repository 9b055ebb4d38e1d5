// Who may use the kubelet's HTTPS port: client certificates, bearer tokens through TokenReview (in the header, or among
// a WebSocket's protocols), anonymous if allowed; without TokenReview nobody looks at tokens. Then SubjectAccessReview
// for the verb and node subresource, or AlwaysAllow. Answers are cached. Loop only. Upstream:
// kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz.
#ifndef SKIFF_KUBELET_SERVER_AUTH_H_
#define SKIFF_KUBELET_SERVER_AUTH_H_

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "base/http_server.h"

namespace skiff::kubelet {

struct UserInfo {
  std::string name, uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
};

struct AccessRequest {
  UserInfo user;
  std::string verb, subresource, node;
  std::string path;
};

// The two reviews, asked of the API server (or a fake).
class Reviewer {
 public:
  virtual ~Reviewer() = default;
  // nullopt: the token is no good. An error: nobody could be asked.
  virtual Task<StatusOr<std::optional<UserInfo>>> ReviewToken(std::string token) = 0;
  virtual Task<StatusOr<bool>> ReviewAccess(AccessRequest request) = 0;
};

struct AuthOptions {
  bool anonymous = false;
  bool webhook_authentication = true;
  bool webhook_authorization = true;  // false: AlwaysAllow
  std::chrono::nanoseconds token_ttl = std::chrono::minutes(2);
  std::chrono::nanoseconds allow_ttl = std::chrono::minutes(5);
  std::chrono::nanoseconds deny_ttl = std::chrono::seconds(30);
};

class Authenticator {
 public:
  Authenticator(AuthOptions options, std::string node_name, Reviewer* reviewer, Clock& clock);

  // Lets the request pass (true), or has answered it with 401, 403 or 500 (false).
  Task<bool> Allow(http::Exchange& exchange);

 private:
  Task<StatusOr<std::optional<UserInfo>>> Authenticate(const http::Request& request);
  Task<StatusOr<bool>> Authorize(AccessRequest request);
  void Trim();

  struct CachedUser {
    std::optional<UserInfo> user;
    SteadyTime expires;
  };
  struct CachedAccess {
    bool allowed = false;
    SteadyTime expires;
  };
  AuthOptions options_;
  std::string node_name_;
  Reviewer* reviewer_;
  Clock& clock_;
  std::map<std::string, CachedUser> users_;  // by SHA-256 of the token
  std::map<std::string, CachedAccess> accesses_;
};

// The verb and the subresources (asked in order, one grant is enough) for a request: GET is get whatever it upgrades
// to, POST create, PUT update, PATCH patch, DELETE delete. exec, attach, run and portForward over GET need what POST
// needs (security row verb-mapping): see auth.cc.
struct RequestAttributes {
  std::string verb;
  std::vector<std::string> subresources;
};
RequestAttributes AttributesOf(const std::string& method, const std::string& path);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_AUTH_H_
