#include "base/csr.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/tls_internal.h"

namespace skiff {
namespace {

using tls_internal::BioPtr;
using tls_internal::OpensslError;
using tls_internal::Owned;
using ReqPtr = Owned<X509_REQ, X509_REQ_free>;

bool AddName(X509_NAME* to, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(to, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

}  // namespace

StatusOr<std::string> MakeCsr(const CertificateRequest& request, const std::string& key_pem) {
  ASSIGN_OR_RETURN(auto key, tls_internal::ParsePrivateKey(key_pem));
  ReqPtr csr(X509_REQ_new());
  if (!csr || X509_REQ_set_version(csr.get(), 0) != 1) return OpensslError("certificate request");
  X509_NAME* name = X509_REQ_get_subject_name(csr.get());
  for (const std::string& organization : request.organizations) {
    if (!AddName(name, "O", organization)) return OpensslError("organization");
  }
  if (!AddName(name, "CN", request.common_name)) return OpensslError("common name");
  std::vector<std::string> alternatives;
  for (const auto& dns : request.dns_names) {
    // The text form has commas of its own.
    if (dns.find_first_of(",:\n") != std::string::npos) return InvalidArgument("bad DNS name \"", dns, "\"");
    alternatives.push_back("DNS:" + dns);
  }
  for (const auto& ip : request.ip_addresses) alternatives.push_back("IP:" + ip);
  if (!alternatives.empty()) {
    Owned<X509_EXTENSION, X509_EXTENSION_free> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, absl::StrJoin(alternatives, ",").c_str()));
    if (!extension) return OpensslError("subject alternative names");
    STACK_OF(X509_EXTENSION)* list = sk_X509_EXTENSION_new_null();
    sk_X509_EXTENSION_push(list, extension.get());
    const int added = X509_REQ_add_extensions(csr.get(), list);
    sk_X509_EXTENSION_free(list);
    if (added != 1) return OpensslError("subject alternative names");
  }
  if (X509_REQ_set_pubkey(csr.get(), key.get()) != 1 || X509_REQ_sign(csr.get(), key.get(), EVP_sha256()) == 0) {
    return OpensslError("sign a certificate request");
  }
  BioPtr out(BIO_new(BIO_s_mem()));
  if (!out || PEM_write_bio_X509_REQ(out.get(), csr.get()) != 1) return OpensslError("write a certificate request");
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

StatusOr<std::string> CsrCommonName(const std::string& csr_pem) {
  // OpenSSL would also read the old name, NEW CERTIFICATE REQUEST.
  if (csr_pem.find("-----BEGIN CERTIFICATE REQUEST-----") == std::string::npos)
    return InvalidArgument("PEM block type must be CERTIFICATE REQUEST");
  const BioPtr in(BIO_new_mem_buf(csr_pem.data(), static_cast<int>(csr_pem.size())));
  const ReqPtr csr(in ? PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!csr) return OpensslError("read a certificate request");
  const X509_NAME* subject = X509_REQ_get_subject_name(csr.get());
  int last = -1;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) last = at;
  if (last < 0) return std::string();
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
  if (size < 0) return OpensslError("read a common name");
  std::string out(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return out;
}

StatusOr<bool> CertificateMatchesKey(const std::string& cert_pem, const std::string& key_pem) {
  ASSIGN_OR_RETURN(const auto certificates, tls_internal::ParseCertificates(cert_pem));
  ASSIGN_OR_RETURN(const auto key, tls_internal::ParsePrivateKey(key_pem));
  return X509_check_private_key(certificates.front().get(), key.get()) == 1;
}

}  // namespace skiff
