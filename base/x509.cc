// Certificates of tls.h: read, sign, self-sign.
#include <arpa/inet.h>

#include <cstring>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/tls_internal.h"

namespace skiff {
namespace tls_internal {
namespace {

std::string EntryText(const X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  const int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (n < 0) return "";
  std::string out(reinterpret_cast<char*>(utf8), static_cast<size_t>(n));
  OPENSSL_free(utf8);
  return out;
}

std::vector<std::string> Entries(const X509_NAME* name, int nid) {
  std::vector<std::string> out;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(const_cast<X509_NAME*>(name), nid, at)) >= 0;) {
    out.push_back(EntryText(X509_NAME_get_entry(name, at)));
  }
  return out;
}

std::chrono::system_clock::time_point TimeOf(const ASN1_TIME* time) {
  tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::system_clock::from_time_t(timegm(&parts));
}

std::string AddressText(const ASN1_OCTET_STRING* ip) {
  char text[INET6_ADDRSTRLEN] = "";
  const int n = ASN1_STRING_length(ip);
  if (n != 4 && n != 16) return "";
  inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof text);
  return text;
}

}  // namespace

Status OpensslError(std::string_view context) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  return InvalidArgument(context, ": ", reason ? reason : "unknown OpenSSL error");
}

StatusOr<std::vector<CertPtr>> ParseCertificates(std::string_view pem) {
  ERR_clear_error();
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<CertPtr> out;
  while (true) {
    CertPtr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate) {
      out.push_back(std::move(certificate));
      continue;
    }
    const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!at_end) return OpensslError("parse certificate");
    ERR_clear_error();
    if (out.empty()) return InvalidArgument("no certificate in PEM text");
    return out;
  }
}

StatusOr<KeyPtr> ParsePrivateKey(std::string_view pem) {
  ERR_clear_error();
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // A password callback that refuses: the default one would ask on the terminal.
  const auto refuse = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse, nullptr));
  if (!key) return OpensslError("parse private key");
  return key;
}

std::string CommonNameOf(const X509_NAME* name) {
  const auto names = Entries(name, NID_commonName);
  return names.empty() ? "" : names.back();  // Go takes the last as well
}

std::vector<std::string> OrganizationsOf(const X509_NAME* name) { return Entries(name, NID_organizationName); }

CertificateInfo InfoOf(X509* certificate) {
  CertificateInfo info;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  info.common_name = CommonNameOf(subject);
  info.organizations = OrganizationsOf(subject);
  info.not_before = TimeOf(X509_get0_notBefore(certificate));
  info.not_after = TimeOf(X509_get0_notAfter(certificate));
  info.is_ca = X509_check_ca(certificate) == 1;
  Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      info.dns_names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                                  ASN1_STRING_length(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      if (std::string ip = AddressText(name->d.iPAddress); !ip.empty()) info.ip_addresses.push_back(std::move(ip));
    }
  }
  ERR_clear_error();
  return info;
}

}  // namespace tls_internal

namespace {

using namespace tls_internal;  // NOLINT: this file is its other half

Status AddName(X509_NAME* subject, const char* field, const std::string& value) {
  if (X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                 static_cast<int>(value.size()), -1, 0) != 1) {
    return OpensslError(absl::StrCat("subject ", field, " \"", value, "\""));
  }
  return absl::OkStatus();
}

Status AddAltNames(X509* certificate, const CertificateRequest& request) {
  if (request.dns_names.empty() && request.ip_addresses.empty()) return absl::OkStatus();
  Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(GENERAL_NAMES_new());
  for (const std::string& dns : request.dns_names) {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), static_cast<int>(dns.size()));
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  for (const std::string& ip : request.ip_addresses) {
    ASN1_OCTET_STRING* bytes = a2i_IPADDRESS(ip.c_str());
    if (bytes == nullptr) return InvalidArgument("certificate IP address \"", ip, "\" is not one");
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_IPADD, bytes);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) != 1) {
    return OpensslError("add alternative names");
  }
  return absl::OkStatus();
}

Status AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  Owned<X509_EXTENSION, X509_EXTENSION_free> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpensslError(absl::StrCat("add extension ", OBJ_nid2sn(nid)));
  }
  return absl::OkStatus();
}

Status AddExtensions(X509* certificate, X509* issuer, const CertificateRequest& request) {
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_basic_constraints,
                               request.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE"));
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_key_usage,
                               request.is_ca ? "critical,digitalSignature,keyEncipherment,keyCertSign"
                                             : "critical,digitalSignature,keyEncipherment"));
  const char* purposes = request.server_auth && request.client_auth ? "serverAuth,clientAuth"
                         : request.server_auth                      ? "serverAuth"
                         : request.client_auth                      ? "clientAuth"
                                                                    : nullptr;
  if (purposes != nullptr) RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_ext_key_usage, purposes));
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_subject_key_identifier, "hash"));
  if (issuer != certificate) RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_authority_key_identifier, "keyid"));
  return AddAltNames(certificate, request);
}

// `issuer` null: self-signed.
StatusOr<KeyPair> Issue(X509* issuer, EVP_PKEY* issuer_key, const CertificateRequest& request) {
  KeyPtr key(EVP_EC_gen("P-256"));
  CertPtr certificate(X509_new());
  if (!key || !certificate) return OpensslError("generate key");
  X509* const cert = certificate.get();
  std::string serial = RandomBytes(16);
  serial[0] = static_cast<char>((serial[0] & 0x7f) | 0x40);  // positive and never short
  Owned<BIGNUM, BN_free> number(BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()), 16, nullptr));
  X509_set_version(cert, 2);
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(cert));
  // A little back in time, for clocks that are behind ours.
  X509_gmtime_adj(X509_getm_notBefore(cert), -300);
  const int64_t lifetime = request.lifetime.count();
  if (X509_time_adj_ex(X509_getm_notAfter(cert), static_cast<int>(lifetime / 86400), lifetime % 86400, nullptr) ==
      nullptr) {
    return OpensslError("set lifetime");
  }
  X509_NAME* subject = X509_get_subject_name(cert);
  for (const std::string& organization : request.organizations) RETURN_IF_ERROR(AddName(subject, "O", organization));
  if (!request.common_name.empty()) RETURN_IF_ERROR(AddName(subject, "CN", request.common_name));
  if (X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) != 1 ||
      X509_set_pubkey(cert, key.get()) != 1) {
    return OpensslError("fill certificate");
  }
  RETURN_IF_ERROR(AddExtensions(cert, issuer ? issuer : cert, request));
  EVP_PKEY* const signer = issuer ? issuer_key : key.get();
  const int kind = EVP_PKEY_base_id(signer);
  const EVP_MD* digest = kind == EVP_PKEY_ED25519 || kind == EVP_PKEY_ED448 ? nullptr : EVP_sha256();
  if (X509_sign(cert, signer, digest) <= 0) return OpensslError("sign certificate");

  KeyPair pair;
  for (const bool key_part : {false, true}) {
    BioPtr bio(BIO_new(BIO_s_mem()));
    const int ok =
        key_part ? PEM_write_bio_PrivateKey_traditional(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr)
                 : PEM_write_bio_X509(bio.get(), cert);
    if (ok != 1) return OpensslError("write PEM");
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &data);
    (key_part ? pair.key_pem : pair.cert_pem).assign(data, static_cast<size_t>(n));
  }
  return pair;
}

}  // namespace

StatusOr<KeyPair> SelfSigned(const CertificateRequest& request) {
  ERR_clear_error();
  return Issue(nullptr, nullptr, request);
}

StatusOr<KeyPair> Sign(const KeyPair& ca, const CertificateRequest& request) {
  ASSIGN_OR_RETURN(const auto issuers, ParseCertificates(ca.cert_pem), "signing CA");
  ASSIGN_OR_RETURN(const KeyPtr key, ParsePrivateKey(ca.key_pem), "signing CA");
  if (X509_check_private_key(issuers.front().get(), key.get()) != 1) {
    ERR_clear_error();
    return InvalidArgument("signing CA: private key does not match the certificate");
  }
  return Issue(issuers.front().get(), key.get(), request);
}

StatusOr<CertificateInfo> ReadCertificate(const std::string& pem) {
  ASSIGN_OR_RETURN(const auto certificates, ParseCertificates(pem));
  return InfoOf(certificates.front().get());
}

}  // namespace skiff
