// The API server: opens the store, makes what every cluster has, and serves until cancelled.
#ifndef SKIFF_CONTROLPLANE_APISERVER_API_SERVER_H_
#define SKIFF_CONTROLPLANE_APISERVER_API_SERVER_H_

#include <memory>
#include <string>

#include "base/async.h"
#include "base/clock.h"
#include "controlplane/apiserver/options.h"

namespace skiff::controlplane {

class ApiServer {
 public:
  // Options must be complete. Errors: the store or the certificates, each naming file or flag.
  static StatusOr<std::unique_ptr<ApiServer>> Make(asio::io_context& loop, ApiServerOptions options,
                                                   Clock& clock = Clock::Real());
  virtual ~ApiServer() = default;

  // Bootstraps the cluster and listens. After it, requests are answered.
  virtual Task<Status> Start() = 0;
  // Serves and does housekeeping until cancelled, then ends running requests.
  virtual Task<void> Run() = 0;

  virtual uint16_t port() const = 0;
  // "https://127.0.0.1:6443" and the authority that signs for it.
  virtual std::string local_url() const = 0;
  virtual const std::string& ca_pem() const = 0;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_API_SERVER_H_
