// Keys and signatures for service account tokens (RFC 7515: RS256 and ES256).
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/tls_internal.h"

namespace skiff {

using tls_internal::BioPtr;
using tls_internal::DigestPtr;
using tls_internal::KeyCtxPtr;
using tls_internal::KeyPtr;
using tls_internal::OpensslError;
using tls_internal::Owned;

namespace {

constexpr int kEcPart = 32;  // bytes of r and of s for P-256

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(n));
}

const unsigned char* Bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Status CheckKind(EVP_PKEY* key) {
  const int kind = EVP_PKEY_base_id(key);
  if (kind == EVP_PKEY_RSA) return absl::OkStatus();
  if (kind == EVP_PKEY_EC && EVP_PKEY_bits(key) == 256) return absl::OkStatus();
  return InvalidArgument("unsupported key type: RSA or ECDSA P-256 is needed");
}

StatusOr<KeyPtr> ParsePublicKey(const std::string& pem) {
  ERR_clear_error();
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (KeyPtr key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr)); key) return key;
  // Upstream's --service-account-key-file also takes a private key or a certificate.
  if (auto key = tls_internal::ParsePrivateKey(pem); key.ok()) return key;
  if (auto certificates = tls_internal::ParseCertificates(pem); certificates.ok()) {
    if (KeyPtr key(X509_get_pubkey(certificates->front().get())); key) return key;
  }
  ERR_clear_error();
  return InvalidArgument("no public key in PEM text");
}

StatusOr<std::string> RawFromDer(std::string_view der) {
  const unsigned char* p = Bytes(der);
  Owned<ECDSA_SIG, ECDSA_SIG_free> sig(d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(der.size())));
  if (!sig) return OpensslError("read ECDSA signature");
  std::string raw(2 * kEcPart, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  if (BN_bn2binpad(ECDSA_SIG_get0_r(sig.get()), out, kEcPart) != kEcPart ||
      BN_bn2binpad(ECDSA_SIG_get0_s(sig.get()), out + kEcPart, kEcPart) != kEcPart) {
    return OpensslError("write ECDSA signature");
  }
  return raw;
}

StatusOr<std::string> DerFromRaw(std::string_view raw) {
  if (raw.size() != 2 * kEcPart) return absl::UnauthenticatedError("ES256 signature of a wrong size");
  Owned<ECDSA_SIG, ECDSA_SIG_free> sig(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(Bytes(raw), kEcPart, nullptr);
  BIGNUM* s = BN_bin2bn(Bytes(raw) + kEcPart, kEcPart, nullptr);
  if (ECDSA_SIG_set0(sig.get(), r, s) != 1) return OpensslError("make ECDSA signature");
  unsigned char* der = nullptr;
  const int n = i2d_ECDSA_SIG(sig.get(), &der);
  if (n <= 0) return OpensslError("write ECDSA signature");
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(n));
  OPENSSL_free(der);
  return out;
}

}  // namespace

StatusOr<std::string> GenerateKey(bool rsa2048) {
  ERR_clear_error();
  KeyPtr key(rsa2048 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  if (!key) return OpensslError("generate key");
  BioPtr bio(BIO_new(BIO_s_mem()));
  // The forms that upstream writes: "RSA PRIVATE KEY" and "EC PRIVATE KEY".
  if (PEM_write_bio_PrivateKey_traditional(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpensslError("write key");
  }
  return TextOf(bio.get());
}

StatusOr<std::string> PublicKeyOf(const std::string& private_key_pem) {
  ASSIGN_OR_RETURN(const KeyPtr key, tls_internal::ParsePrivateKey(private_key_pem));
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1) return OpensslError("write public key");
  return TextOf(bio.get());
}

StatusOr<std::string> SignJws(const std::string& private_key_pem, std::string_view signing_input) {
  ASSIGN_OR_RETURN(const KeyPtr key, tls_internal::ParsePrivateKey(private_key_pem));
  RETURN_IF_ERROR(CheckKind(key.get()));
  DigestPtr digest(EVP_MD_CTX_new());
  size_t n = 0;
  if (EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(digest.get(), nullptr, &n, Bytes(signing_input), signing_input.size()) != 1) {
    return OpensslError("sign");
  }
  std::string out(n, '\0');
  if (EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(out.data()), &n, Bytes(signing_input),
                     signing_input.size()) != 1) {
    return OpensslError("sign");
  }
  out.resize(n);
  if (EVP_PKEY_base_id(key.get()) == EVP_PKEY_EC) return RawFromDer(out);
  return out;
}

Status VerifyJws(const std::string& public_key_pem, std::string_view signing_input, std::string_view signature) {
  ASSIGN_OR_RETURN(const KeyPtr key, ParsePublicKey(public_key_pem));
  RETURN_IF_ERROR(CheckKind(key.get()));
  std::string der(signature);
  if (EVP_PKEY_base_id(key.get()) == EVP_PKEY_EC) {
    ASSIGN_OR_RETURN(der, DerFromRaw(signature));
  }
  DigestPtr digest(EVP_MD_CTX_new());
  if (EVP_DigestVerifyInit(digest.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1) return OpensslError("verify");
  const int ok = EVP_DigestVerify(digest.get(), Bytes(der), der.size(), Bytes(signing_input), signing_input.size());
  ERR_clear_error();
  if (ok != 1) return absl::UnauthenticatedError("signature does not match");
  return absl::OkStatus();
}

}  // namespace skiff
