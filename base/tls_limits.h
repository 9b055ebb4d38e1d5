// A TLS server that takes less, or more, of a client's offer than base/tls.h's do. Thread-safe once made.
#ifndef SKIFF_BASE_TLS_LIMITS_H_
#define SKIFF_BASE_TLS_LIMITS_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace skiff {

class TlsServerConfig;

struct TlsLimits {
  int least_minor_version = 2;       // of TLS 1
  std::vector<std::string> ciphers;  // of versions before 1.3, by OpenSSL's names, best first; empty: OpenSSL's own
  std::vector<std::string> groups;   // for key exchange, likewise
};

// TlsServerConfig::FromFiles of a server that clients may show any certificate (Unverified::kReport). Where OpenSSL has
// none of the ciphers, TLS 1.3 alone is spoken.
StatusOr<std::shared_ptr<TlsServerConfig>> LimitedTlsServer(const std::string& cert_file, const std::string& key_file,
                                                            const std::string& client_ca_file, const TlsLimits& limits);

}  // namespace skiff

#endif  // SKIFF_BASE_TLS_LIMITS_H_
