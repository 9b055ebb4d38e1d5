// PKCS #10 certificate signing requests: what a node sends to be given a certificate. Pure; any thread.
#ifndef SKIFF_BASE_CSR_H_
#define SKIFF_BASE_CSR_H_

#include <string>

#include "base/tls.h"

namespace skiff {

// The request, PEM, for the names in `request`, signed by `key_pem`. Usages are not part of it (Kubernetes has them
// beside it).
StatusOr<std::string> MakeCsr(const CertificateRequest& request, const std::string& key_pem);

// The common name of the subject of a request; "" where it has none. Errors for what is no request.
StatusOr<std::string> CsrCommonName(const std::string& csr_pem);

// Whether the certificate is for the key. Errors for what is not PEM.
StatusOr<bool> CertificateMatchesKey(const std::string& cert_pem, const std::string& key_pem);

}  // namespace skiff

#endif  // SKIFF_BASE_CSR_H_
