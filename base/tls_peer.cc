#include "base/tls_peer.h"

#include "base/tls_internal.h"

namespace skiff {

bool ReadPeerNames(ssl_st* ssl, std::string* common_name, std::vector<std::string>* organizations) {
  X509* const certificate = SSL_get0_peer_certificate(ssl);
  const bool verified = (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0 && SSL_get_verify_result(ssl) == X509_V_OK;
  if (certificate == nullptr || !verified) return false;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  *common_name = tls_internal::CommonNameOf(subject);
  *organizations = tls_internal::OrganizationsOf(subject);
  return true;
}

}  // namespace skiff
