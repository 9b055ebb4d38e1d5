// Service account tokens: JWTs that the server signs and later believes, as long as the objects they are bound to
// exist. Follows https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ . Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_SERVICE_ACCOUNT_TOKENS_H_
#define SKIFF_CONTROLPLANE_APISERVER_SERVICE_ACCOUNT_TOKENS_H_

#include <string>
#include <vector>

#include "base/clock.h"
#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/user.h"

namespace skiff::controlplane {

struct TokenClaims {
  std::vector<std::string> audiences;
  std::string ns, account, account_uid;
  std::string pod, pod_uid, node, node_uid, secret, secret_uid;  // what it is bound to
  int64_t issued = 0, expires = 0, warn_after = 0;               // seconds since the epoch
};

class ServiceAccountTokens {
 public:
  // `signing_key_pem` signs; tokens signed by it or by any of `more_keys_pem` (private or public) are believed.
  static StatusOr<ServiceAccountTokens> Make(std::string issuer, std::vector<std::string> api_audiences,
                                             const std::string& signing_key_pem,
                                             const std::vector<std::string>& more_keys_pem);

  StatusOr<std::string> Sign(const TokenClaims& claims) const;

  struct Verified {
    User user;
    std::vector<std::string> audiences;  // those of the token that were asked for
  };
  // Whether a token claims to be one of ours, by its issuer alone.
  bool IsOurs(std::string_view token) const;
  // `audiences` empty: the API server's own. Errors say what is wrong, never the token.
  StatusOr<Verified> Verify(std::string_view token, const std::vector<std::string>& audiences, const Admission& objects,
                            WallTime now) const;

  const std::string& issuer() const { return issuer_; }
  const std::vector<std::string>& api_audiences() const { return api_audiences_; }
  std::string JwksJson() const;

 private:
  struct Key {
    std::string id, public_pem, algorithm;
  };
  std::string issuer_, signing_key_;
  std::vector<std::string> api_audiences_;
  std::vector<Key> keys_;  // the first belongs to the signing key
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_SERVICE_ACCOUNT_TOKENS_H_
