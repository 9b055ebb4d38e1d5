// What proves to an API server who a client is: the Authorization and Impersonate- headers of each request, and the
// client certificate where a program hands one out. Loop only. Follows
// kubernetes.io/docs/reference/access-authn-authz/authentication.
#ifndef SKIFF_CLIENT_CREDENTIALS_H_
#define SKIFF_CLIENT_CREDENTIALS_H_

#include <memory>

#include "base/async.h"
#include "base/clock.h"
#include "base/http.h"
#include "base/tls.h"
#include "client/kubeconfig.h"

namespace skiff::client {

class Credentials {
 public:
  virtual ~Credentials() = default;
  // Sets what goes with a request. Errors: a token file cannot be read, a program gives no credentials.
  virtual Task<Status> Authorize(http::Headers* headers) = 0;
  // The server answered 401: what was kept is fetched anew before the next request. False where it would be the same.
  virtual bool Refused() = 0;
  // For connections to the server; null where `config` has neither a server with TLS nor certificates.
  virtual std::shared_ptr<TlsClientConfig> tls() const = 0;

  static StatusOr<std::unique_ptr<Credentials>> Make(const Config& config, Clock& clock);
};

// By a program (kubeconfig's `exec`); see exec_credentials.cc.
StatusOr<std::unique_ptr<Credentials>> MakeExecCredentials(const Config& config, Clock& clock);

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_CREDENTIALS_H_
