// Who sent a request: client certificates, bearer tokens (static file, service accounts), anonymous, and
// impersonation's wish. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_AUTHN_H_
#define SKIFF_CONTROLPLANE_APISERVER_AUTHN_H_

#include <map>
#include <optional>
#include <string>

#include "base/http_server.h"
#include "controlplane/apiserver/service_account_tokens.h"
#include "controlplane/apiserver/user.h"

namespace skiff::controlplane {

class Authenticator {
 public:
  Authenticator(const ServiceAccountTokens& tokens, const Admission& objects, bool anonymous)
      : tokens_(tokens), objects_(objects), anonymous_(anonymous) {}

  // Lines of token,user,uid[,"group1,group2"]. Error: file and line.
  Status LoadTokenFile(const std::string& path);
  void AddToken(std::string token, User user) { static_tokens_[std::move(token)] = std::move(user); }

  // 401 for a credential that is wrong, and for none where anonymous requests are off.
  StatusOr<User> Authenticate(const http::Request& request, WallTime now) const;
  // A token alone, as TokenReview asks.
  StatusOr<ServiceAccountTokens::Verified> AuthenticateToken(const std::string& token,
                                                             const std::vector<std::string>& audiences,
                                                             WallTime now) const;
  // The user that an authenticated one wants to act as, or nothing. Error: headers that do not make sense.
  static StatusOr<std::optional<User>> Impersonated(const http::Request& request);

 private:
  const ServiceAccountTokens& tokens_;
  const Admission& objects_;
  const bool anonymous_;
  std::map<std::string, User> static_tokens_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_AUTHN_H_
