// Connections to kubelets, with the API server's client certificate. Redirects are never followed. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_KUBELET_CONNECTIONS_H_
#define SKIFF_CONTROLPLANE_APISERVER_KUBELET_CONNECTIONS_H_

#include <map>
#include <memory>
#include <string>

#include "base/http_client.h"
#include "controlplane/apiserver/admission.h"

namespace skiff::controlplane {

class KubeletConnections {
 public:
  // `preferred` types of node addresses, the first that a node has is dialled.
  KubeletConnections(asio::io_context& loop, std::shared_ptr<TlsClientConfig> tls, std::vector<std::string> preferred)
      : loop_(loop), tls_(std::move(tls)), preferred_(std::move(preferred)) {}

  struct Endpoint {
    std::string address;
    int port = 0;
    std::string authority() const;
  };
  // Where a node's kubelet listens. 404 for an unknown node, 500 in upstream's words for one without address.
  StatusOr<Endpoint> Find(const Admission& objects, const std::string& node) const;
  // A client for an endpoint; kept, and shared by requests.
  std::shared_ptr<http::Client> ClientFor(const std::string& authority, bool tls = true);

 private:
  asio::io_context& loop_;
  std::shared_ptr<TlsClientConfig> tls_;
  const std::vector<std::string> preferred_;
  std::map<std::string, std::shared_ptr<http::Client>> clients_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_KUBELET_CONNECTIONS_H_
