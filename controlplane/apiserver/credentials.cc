#include "controlplane/apiserver/credentials.h"

#include <unistd.h>

#include "base/files.h"
#include "client/kubeconfig.h"

namespace skiff::controlplane {
namespace {

constexpr auto kAuthorityLifetime = std::chrono::hours(24 * 3650);
constexpr auto kLifetime = std::chrono::hours(24 * 365);

Status Save(const std::string& directory, const std::string& name, const KeyPair& pair) {
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(directory, name + ".key"), pair.key_pem, 0600));
  return WriteFileAtomic(JoinPath(directory, name + ".crt"), pair.cert_pem, 0644);
}

StatusOr<KeyPair> Load(const std::string& directory, const std::string& name) {
  KeyPair pair;
  ASSIGN_OR_RETURN(pair.cert_pem, ReadFile(JoinPath(directory, name + ".crt")));
  ASSIGN_OR_RETURN(pair.key_pem, ReadFile(JoinPath(directory, name + ".key")));
  return pair;
}

bool Have(const std::string& directory, const std::string& name) {
  return Exists(JoinPath(directory, name + ".crt")) && Exists(JoinPath(directory, name + ".key"));
}

StatusOr<KeyPair> Authority(const std::string& directory) {
  if (Have(directory, "ca")) return Load(directory, "ca");
  RETURN_IF_ERROR(MakeDirs(directory, 0700));
  CertificateRequest request{.common_name = "kubernetes", .is_ca = true, .lifetime = kAuthorityLifetime};
  ASSIGN_OR_RETURN(KeyPair pair, SelfSigned(request), "make certificate authority");
  RETURN_IF_ERROR(Save(directory, "ca", pair));
  return pair;
}

// A certificate that is there, still fits and lives on for a month; else a new one.
StatusOr<KeyPair> Signed(const std::string& directory, const std::string& name, const KeyPair& ca,
                         const CertificateRequest& request) {
  if (Have(directory, name)) {
    ASSIGN_OR_RETURN(KeyPair pair, Load(directory, name));
    auto info = ReadCertificate(pair.cert_pem);
    if (info.ok() && info->not_after > std::chrono::system_clock::now() + std::chrono::hours(24 * 30)) {
      bool fits = true;
      for (const std::string& ip : request.ip_addresses)
        fits = fits && std::find(info->ip_addresses.begin(), info->ip_addresses.end(), ip) != info->ip_addresses.end();
      if (fits) return pair;
    }
  }
  ASSIGN_OR_RETURN(KeyPair pair, Sign(ca, request), "sign certificate ", name);
  RETURN_IF_ERROR(Save(directory, name, pair));
  return pair;
}

}  // namespace

StatusOr<Credentials> LoadCredentials(const ApiServerOptions& options, const std::string& service_address) {
  Credentials out;
  const bool given = !options.tls_cert_file.empty();
  ASSIGN_OR_RETURN(KeyPair ca, Authority(options.cert_dir));
  out.ca_pem = ca.cert_pem;
  if (options.client_ca_file.empty()) {
    out.client_ca_pem = ca.cert_pem;
  } else {
    ASSIGN_OR_RETURN(out.client_ca_pem, ReadFile(options.client_ca_file), "--client-ca-file");
    // Clients of a cluster with its own authority check the server against that one.
    if (given) out.ca_pem = out.client_ca_pem;
  }
  if (given) {
    ASSIGN_OR_RETURN(KeyPair pair, [&]() -> StatusOr<KeyPair> {
      KeyPair files;
      ASSIGN_OR_RETURN(files.cert_pem, ReadFile(options.tls_cert_file), "--tls-cert-file");
      ASSIGN_OR_RETURN(files.key_pem, ReadFile(options.tls_key_file), "--tls-private-key-file");
      return files;
    }());
    ASSIGN_OR_RETURN(out.serving, TlsServerConfig::Make(pair, out.client_ca_pem, Unverified::kReport),
                     "--tls-cert-file");
  } else {
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    CertificateRequest request{.common_name = "kube-apiserver",
                               .dns_names = {"kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                             "kubernetes.default.svc.cluster.local", "localhost", host},
                               .ip_addresses = {"127.0.0.1", service_address},
                               .server_auth = true,
                               .lifetime = kLifetime};
    for (const std::string& ip : {options.advertise_address, options.bind_address})
      if (ip != "0.0.0.0" && ip != "::" && ip != "127.0.0.1" && ip != request.ip_addresses.back())
        request.ip_addresses.push_back(ip);
    ASSIGN_OR_RETURN(KeyPair pair, Signed(options.cert_dir, "apiserver", ca, request));
    pair.cert_pem += ca.cert_pem;
    ASSIGN_OR_RETURN(out.serving, TlsServerConfig::Make(pair, out.client_ca_pem, Unverified::kReport));
  }

  TlsClientConfig::Options kubelet;
  if (!options.kubelet_client_certificate.empty()) {
    kubelet.cert_file = options.kubelet_client_certificate;
    kubelet.key_file = options.kubelet_client_key;
  } else {
    ASSIGN_OR_RETURN(kubelet.pair, Signed(options.cert_dir, "apiserver-kubelet-client", ca,
                                          {.common_name = "kube-apiserver-kubelet-client",
                                           .organizations = {"system:masters"},
                                           .client_auth = true,
                                           .lifetime = kLifetime}));
  }
  if (options.kubelet_certificate_authority.empty()) {
    // As upstream without the flag: kubelets serve with certificates of their own making.
    kubelet.insecure_skip_verify = true;
  } else {
    ASSIGN_OR_RETURN(kubelet.ca_pem, ReadFile(options.kubelet_certificate_authority),
                     "--kubelet-certificate-authority");
  }
  ASSIGN_OR_RETURN(out.kubelet_client, TlsClientConfig::Make(kubelet), "--kubelet-client-certificate");

  std::string signing = options.service_account_signing_key_file;
  if (signing.empty()) {
    signing = JoinPath(options.cert_dir, "sa.key");
    if (!Exists(signing)) {
      ASSIGN_OR_RETURN(std::string key, GenerateKey(/*rsa2048=*/true));
      RETURN_IF_ERROR(WriteFileAtomic(signing, key, 0600));
    }
  }
  ASSIGN_OR_RETURN(out.signing_key_pem, ReadFile(signing), "--service-account-signing-key-file");
  for (const std::string& file : options.service_account_key_files) {
    ASSIGN_OR_RETURN(std::string key, ReadFile(file), "--service-account-key-file");
    out.more_key_pems.push_back(std::move(key));
  }
  return out;
}

StatusOr<std::string> MakeKubeconfig(const std::string& cert_dir, const std::string& server, const std::string& user,
                                     const std::vector<std::string>& groups) {
  if (!Have(cert_dir, "ca")) return NotFound("no certificate authority (ca.crt, ca.key) in ", cert_dir);
  ASSIGN_OR_RETURN(KeyPair ca, Load(cert_dir, "ca"));
  client::Config config;
  config.server = server;
  config.tls.ca_pem = ca.cert_pem;
  ASSIGN_OR_RETURN(
      config.tls.pair,
      Sign(ca, {.common_name = user, .organizations = groups, .client_auth = true, .lifetime = kLifetime}));
  return client::ToKubeconfig(config, "kubernetes", user);
}

}  // namespace skiff::controlplane
