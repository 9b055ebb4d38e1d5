// OpenSSL with owners and statuses; for base's TLS files only.
#ifndef SKIFF_BASE_TLS_INTERNAL_H_
#define SKIFF_BASE_TLS_INTERNAL_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/status.h"
#include "base/tls.h"

namespace skiff::tls_internal {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
template <typename T, auto kFree>
using Owned = std::unique_ptr<T, Freer<kFree>>;

using BioPtr = Owned<BIO, BIO_free_all>;
using KeyPtr = Owned<EVP_PKEY, EVP_PKEY_free>;
using KeyCtxPtr = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using DigestPtr = Owned<EVP_MD_CTX, EVP_MD_CTX_free>;
using CertPtr = Owned<X509, X509_free>;
using StorePtr = Owned<X509_STORE, X509_STORE_free>;

// "context: <OpenSSL's reason>" from the thread's error queue, which is emptied.
Status OpensslError(std::string_view context);

// All certificates in PEM text; other blocks are skipped. An error if there is none or one is broken.
StatusOr<std::vector<CertPtr>> ParseCertificates(std::string_view pem);
StatusOr<KeyPtr> ParsePrivateKey(std::string_view pem);

// Whether a server's connections go on with a certificate that does not verify.
inline void SetReportsUnverified(SSL_CTX* context, bool report) {
  static char yes;
  SSL_CTX_set_app_data(context, report ? &yes : nullptr);
}
inline bool ReportsUnverified(const SSL* ssl) { return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)) != nullptr; }

std::string CommonNameOf(const X509_NAME* name);
std::vector<std::string> OrganizationsOf(const X509_NAME* name);
CertificateInfo InfoOf(X509* certificate);

}  // namespace skiff::tls_internal

#endif  // SKIFF_BASE_TLS_INTERNAL_H_
