// Certificates and keys of the control plane: read where they are given, made where they are not. The directory holds
// ca.crt and ca.key, apiserver.crt/.key (serving), apiserver-kubelet-client.crt/.key, sa.key, and what kubeconfig files
// are made from. Existing files are used as they are.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CREDENTIALS_H_
#define SKIFF_CONTROLPLANE_APISERVER_CREDENTIALS_H_

#include <memory>
#include <string>
#include <vector>

#include "base/tls.h"
#include "controlplane/apiserver/options.h"

namespace skiff::controlplane {

struct Credentials {
  std::string ca_pem;         // that the server's certificate is checked against (clients, kube-root-ca.crt)
  std::string client_ca_pem;  // that client certificates are checked against
  std::shared_ptr<TlsServerConfig> serving;
  std::shared_ptr<TlsClientConfig> kubelet_client;
  std::string signing_key_pem;
  std::vector<std::string> more_key_pems;
};

// `service_address` is the server's cluster IP, a name of the certificate.
StatusOr<Credentials> LoadCredentials(const ApiServerOptions& options, const std::string& service_address);

// A kubeconfig with a certificate for `user` in `groups`, signed by the directory's authority.
StatusOr<std::string> MakeKubeconfig(const std::string& cert_dir, const std::string& server, const std::string& user,
                                     const std::vector<std::string>& groups);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CREDENTIALS_H_
