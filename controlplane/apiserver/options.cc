#include "controlplane/apiserver/options.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <algorithm>

#include "base/files.h"

namespace skiff::controlplane {
namespace {

// The first address that is not the loopback's.
std::string OwnAddress() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "127.0.0.1";
  std::string found = "127.0.0.1";
  for (ifaddrs* entry = all; entry; entry = entry->ifa_next) {
    if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET || entry->ifa_flags & IFF_LOOPBACK ||
        !(entry->ifa_flags & IFF_UP))
      continue;
    char text[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    if (inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text))) {
      found = text;
      break;
    }
  }
  freeifaddrs(all);
  return found;
}

}  // namespace

void ApiServerOptions::Register(FlagSet* flags) {
  flags->String("bind-address", &bind_address, "Address to listen on for --secure-port.");
  flags->Int32("secure-port", &secure_port, "Port that serves HTTPS with authentication and authorization.");
  flags->String("advertise-address", &advertise_address,
                "Address under which the server is reached by members of the cluster; found by itself when empty.");
  flags->String("data-dir", &data_dir, "Directory for the store and for certificates made here.");
  flags->String("storage-file", &storage_file, "File of the embedded store; DATA-DIR/store.db when empty.");
  flags->String("storage-backend", &storage_backend, "Kind of store: sqlite.");
  flags->Strings("etcd-servers", &etcd_servers, "etcd servers to keep objects in; not supported yet.");
  flags->String("cert-dir", &cert_dir,
                "Directory where a certificate authority, certificates and keys are made when none are given; "
                "DATA-DIR/pki when empty.");
  flags->String("write-kubeconfig", &write_kubeconfig,
                "Directory into which admin.kubeconfig and those of the control plane's parts are written.");
  flags->String("tls-cert-file", &tls_cert_file, "Certificate to serve with.");
  flags->String("tls-private-key-file", &tls_key_file, "Key of --tls-cert-file.");
  flags->String("client-ca-file", &client_ca_file, "Authorities whose client certificates are believed.");
  flags->Strings("service-account-key-file", &service_account_key_files,
                 "Keys that service account tokens are checked with.");
  flags->String("service-account-signing-key-file", &service_account_signing_key_file,
                "Key that service account tokens are signed with.");
  flags->String("service-account-issuer", &service_account_issuer, "Issuer of service account tokens.");
  flags->Strings("api-audiences", &api_audiences, "Audiences of tokens for this server; the issuer when empty.");
  flags->String("token-auth-file", &token_auth_file, "File of static bearer tokens: token,user,uid,\"group1,group2\".");
  flags->Bool("anonymous-auth", &anonymous_auth, "Whether requests without credentials are system:anonymous's.");
  flags->Strings("authorization-mode", &authorization_modes, "Authorizers, in order: Node, RBAC, AlwaysAllow.");
  flags->Strings("enable-admission-plugins", &enable_admission_plugins,
                 "Admission plugins besides those that always run: NodeRestriction.");
  flags->String("kubelet-client-certificate", &kubelet_client_certificate, "Client certificate shown to kubelets.");
  flags->String("kubelet-client-key", &kubelet_client_key, "Key of --kubelet-client-certificate.");
  flags->String("kubelet-certificate-authority", &kubelet_certificate_authority,
                "Authority that kubelets' certificates are checked against; not checked when empty.");
  flags->Strings("kubelet-preferred-address-types", &kubelet_preferred_address_types,
                 "Node address types to reach kubelets by, the best first.");
  flags->String("service-cluster-ip-range", &service_cluster_ip_range, "Range of services' cluster addresses.");
  flags->String("service-node-port-range", &service_node_port_range, "Range of services' node ports.");
  flags->Duration("event-ttl", &event_ttl, "How long events are kept.");
}

Status ApiServerOptions::Complete() {
  if (!etcd_servers.empty())
    return absl::UnimplementedError(
        "--etcd-servers: the etcd backend is not supported yet; objects are kept in --storage-file");
  if (storage_backend != "sqlite")
    return absl::UnimplementedError(
        absl::StrCat("--storage-backend: unknown or unsupported backend \"", storage_backend, "\", known: sqlite"));
  if (storage_file.empty()) storage_file = JoinPath(data_dir, "store.db");
  if (cert_dir.empty()) cert_dir = JoinPath(data_dir, "pki");
  // As upstream: an address that only this machine can dial is no address for others.
  const bool reachable =
      bind_address != "0.0.0.0" && bind_address != "::" && !bind_address.starts_with("127.") && bind_address != "::1";
  if (advertise_address.empty()) advertise_address = reachable ? bind_address : OwnAddress();
  if (tls_cert_file.empty() != tls_key_file.empty())
    return InvalidArgument("--tls-cert-file and --tls-private-key-file must be given together");
  if (secure_port < 0 || secure_port > 65535)
    return InvalidArgument("--secure-port ", secure_port, " must be between 0 and 65535, inclusive");
  // Named on upstream's command lines; these run here anyway.
  static constexpr std::string_view kAlways[] = {
      "NamespaceLifecycle",       "LimitRanger",           "ServiceAccount", "Priority",
      "DefaultTolerationSeconds", "TaintNodesByCondition", "RuntimeClass",   "StorageObjectInUseProtection"};
  for (const std::string& plugin : enable_admission_plugins)
    if (plugin != "NodeRestriction" && std::find(std::begin(kAlways), std::end(kAlways), plugin) == std::end(kAlways))
      return absl::UnimplementedError(
          absl::StrCat("--enable-admission-plugins: ", plugin, " is unknown or not supported"));
  for (const std::string& mode : authorization_modes)
    if (mode != "Node" && mode != "RBAC" && mode != "AlwaysAllow")
      return InvalidArgument("authorization-mode: \"", mode, "\" is not a supported mode: Node, RBAC, AlwaysAllow");
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
