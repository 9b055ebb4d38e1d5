// The API server's flags, in upstream's spelling where upstream has them.
#ifndef SKIFF_CONTROLPLANE_APISERVER_OPTIONS_H_
#define SKIFF_CONTROLPLANE_APISERVER_OPTIONS_H_

#include <map>
#include <string>
#include <vector>

#include "base/flags.h"

namespace skiff::controlplane {

struct ApiServerOptions {
  std::string bind_address = "0.0.0.0";
  int32_t secure_port = 6443;
  std::string advertise_address;  // found when empty
  std::string data_dir = "/var/lib/skiff/controlplane";
  std::string storage_file;  // DATA_DIR/store.db when empty
  std::string cert_dir;      // DATA_DIR/pki when empty
  std::string write_kubeconfig;
  std::vector<std::string> etcd_servers;
  std::string storage_backend = "sqlite";

  std::string tls_cert_file, tls_key_file, client_ca_file;
  std::vector<std::string> service_account_key_files;
  std::string service_account_signing_key_file;
  std::string service_account_issuer = "https://kubernetes.default.svc";
  std::vector<std::string> api_audiences;
  std::string token_auth_file;
  bool anonymous_auth = true;
  std::vector<std::string> authorization_modes = {"Node", "RBAC"};

  std::vector<std::string> enable_admission_plugins;
  bool controllers_inside = false;  // the scheduler and the controllers run in this process

  std::string kubelet_client_certificate, kubelet_client_key, kubelet_certificate_authority;
  std::vector<std::string> kubelet_preferred_address_types = {"InternalIP", "Hostname", "InternalDNS", "ExternalIP",
                                                              "ExternalDNS"};
  std::string service_cluster_ip_range = "10.96.0.0/16";
  std::string service_node_port_range = "30000-32767";
  std::chrono::nanoseconds event_ttl = std::chrono::hours(1);

  void Register(FlagSet* flags);
  // Fills in what depends on other flags; refuses what is not there, by name.
  Status Complete();
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_OPTIONS_H_
