// TLS settings as values, certificates as PEM text, and the few X.509 operations that Kubernetes needs: making a CA,
// signing, self-signed serving certificates, reading names and expiry. OpenSSL stays behind this header. Thread-safe
// once made.
#ifndef SKIFF_BASE_TLS_H_
#define SKIFF_BASE_TLS_H_

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

// OpenSSL's SSL_CTX, without its headers.
struct ssl_ctx_st;

namespace skiff {

struct KeyPair {
  std::string cert_pem;  // leaf first, then intermediates
  std::string key_pem;
};

// What a server does with a client certificate that does not verify: fail the handshake, or let the handler see no
// certificate but why (Peer::certificate_error), which is how upstream's servers come to answer 401.
enum class Unverified { kRefuse, kReport };

// A server's certificate and, optionally, the CAs that client certificates are verified against. Client certificates
// are requested, never required: authentication is the handler's matter.
class TlsServerConfig {
 public:
  // Errors name what is wrong with the PEM text.
  static StatusOr<std::shared_ptr<TlsServerConfig>> Make(const KeyPair& pair, const std::string& client_ca_pem = "",
                                                         Unverified unverified = Unverified::kRefuse);
  // From files that are looked at again (identity and mtime) when used, at most once a `reload_interval`, so that
  // rotation needs no restart. Files that cannot be used then are logged and the old state stays. The client CA's file
  // may be "". Certificate and key may be one file.
  static StatusOr<std::shared_ptr<TlsServerConfig>> FromFiles(
      const std::string& cert_file, const std::string& key_file, const std::string& client_ca_file = "",
      Unverified unverified = Unverified::kRefuse, std::chrono::nanoseconds reload_interval = std::chrono::seconds(2));
  virtual ~TlsServerConfig() = default;
  virtual std::shared_ptr<ssl_ctx_st> Context() = 0;
};

class TlsClientConfig {
 public:
  struct Options {
    std::string ca_pem;                 // empty: the system's
    KeyPair pair;                       // empty: no client certificate
    std::string cert_file, key_file;    // alternatively, re-read when changed (the kubelet's rotated certificate)
    bool files_may_come_later = false;  // without them connections have no client certificate
    std::string server_name;            // empty: the host that is dialled
    bool insecure_skip_verify = false;
    std::chrono::nanoseconds reload_interval = std::chrono::seconds(2);
  };
  static StatusOr<std::shared_ptr<TlsClientConfig>> Make(Options options);
  virtual ~TlsClientConfig() = default;
  virtual std::shared_ptr<ssl_ctx_st> Context() = 0;
  virtual const std::string& server_name() const = 0;
  virtual bool insecure_skip_verify() const = 0;
};

// X.509. Keys are ECDSA P-256 unless said otherwise.
struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  bool is_ca = false, server_auth = false, client_auth = false;
  std::chrono::seconds lifetime = std::chrono::hours(24 * 365);
};
StatusOr<KeyPair> SelfSigned(const CertificateRequest& request);
StatusOr<KeyPair> Sign(const KeyPair& ca, const CertificateRequest& request);

struct CertificateInfo {
  std::string common_name;
  std::vector<std::string> organizations, dns_names, ip_addresses;
  std::chrono::system_clock::time_point not_before, not_after;
  bool is_ca = false;
};
StatusOr<CertificateInfo> ReadCertificate(const std::string& pem);  // the first in the text

// Signatures for service account tokens (RS256 or ES256 by the key's type) and random bytes.
StatusOr<std::string> GenerateKey(bool rsa2048);  // PEM private key
StatusOr<std::string> PublicKeyOf(const std::string& private_key_pem);
StatusOr<std::string> SignJws(const std::string& private_key_pem,
                              std::string_view signing_input);  // raw signature bytes
Status VerifyJws(const std::string& public_key_pem, std::string_view signing_input, std::string_view signature);
std::string RandomBytes(size_t n);
std::string RandomUuid();                   // version 4
std::string Sha256(std::string_view data);  // 32 raw bytes
std::string Base64Encode(std::string_view data);
StatusOr<std::string> Base64Decode(std::string_view text);
std::string Base64UrlEncode(std::string_view data);  // no padding
StatusOr<std::string> Base64UrlDecode(std::string_view text);
std::string HexEncode(std::string_view data);

}  // namespace skiff

#endif  // SKIFF_BASE_TLS_H_
