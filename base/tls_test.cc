#include "base/tls.h"

#include <openssl/ssl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/files.h"

namespace skiff {
namespace {

CertificateRequest CaRequest() {
  CertificateRequest request;
  request.common_name = "test-ca";
  request.is_ca = true;
  return request;
}

TEST(EncodingTest, Base64MatchesRfc4648) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : cases) {
    EXPECT_EQ(Base64Encode(plain), coded);
    EXPECT_EQ(*Base64Decode(coded), plain);
    std::string bare(coded);
    while (!bare.empty() && bare.back() == '=') bare.pop_back();
    EXPECT_EQ(Base64UrlEncode(plain), bare);
    EXPECT_EQ(*Base64UrlDecode(bare), plain);
  }
  EXPECT_EQ(Base64Encode("\xfb\xff"), "+/8=");
  EXPECT_EQ(Base64UrlEncode("\xfb\xff"), "-_8");
  EXPECT_EQ(*Base64Decode("Zm9v\nYmFy\r\n"), "foobar");
}

TEST(EncodingTest, Base64RefusesWhatGoRefuses) {
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Z===", "=", "Zm9vY", "Zm 9v", "Zg==Zg==", "Zm8=x", "-_8="}) {
    EXPECT_FALSE(Base64Decode(bad).ok()) << bad;
  }
  for (const char* bad : {"Z", "Zg==", "+/8", "Zm9vY"}) EXPECT_FALSE(Base64UrlDecode(bad).ok()) << bad;
}

TEST(EncodingTest, HexDigestAndRandom) {
  EXPECT_EQ(HexEncode(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(RandomBytes(20).size(), 20u);
  EXPECT_NE(RandomBytes(16), RandomBytes(16));
  const std::string uuid = RandomUuid();
  ASSERT_EQ(uuid.size(), 36u);
  EXPECT_EQ(uuid[14], '4');
  EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos);
}

TEST(X509Test, SelfSignedCarriesItsNames) {
  CertificateRequest request;
  request.common_name = "system:node:n1";
  request.organizations = {"system:nodes", "extra"};
  request.dns_names = {"n1", "n1.example"};
  request.ip_addresses = {"10.0.0.1", "fd00::1"};
  request.server_auth = true;
  const auto pair = SelfSigned(request);
  ASSERT_TRUE(pair.ok()) << pair.status();
  const auto info = ReadCertificate(pair->cert_pem);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->common_name, "system:node:n1");
  EXPECT_EQ(info->organizations, request.organizations);
  EXPECT_EQ(info->dns_names, request.dns_names);
  EXPECT_EQ(info->ip_addresses, request.ip_addresses);
  EXPECT_FALSE(info->is_ca);
  const auto now = std::chrono::system_clock::now();
  EXPECT_LT(info->not_before, now);
  EXPECT_GT(info->not_after, now + std::chrono::hours(24 * 364));
}

TEST(X509Test, SignsWithACa) {
  const auto ca = SelfSigned(CaRequest());
  ASSERT_TRUE(ca.ok());
  EXPECT_TRUE(ReadCertificate(ca->cert_pem)->is_ca);
  CertificateRequest request;
  request.common_name = "admin";
  request.client_auth = true;
  const auto pair = Sign(*ca, request);
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(ReadCertificate(pair->cert_pem)->common_name, "admin");
}

TEST(X509Test, ErrorsNameTheFault) {
  CertificateRequest request;
  request.ip_addresses = {"10.0.0.300"};
  EXPECT_EQ(SelfSigned(request).status().message(), "certificate IP address \"10.0.0.300\" is not one");
  EXPECT_EQ(ReadCertificate("nonsense").status().message(), "no certificate in PEM text");
  EXPECT_FALSE(ReadCertificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").ok());
  const auto a = SelfSigned(CaRequest()), b = SelfSigned(CaRequest());
  EXPECT_EQ(Sign({a->cert_pem, b->key_pem}, CertificateRequest{}).status().message(),
            "signing CA: private key does not match the certificate");
  EXPECT_EQ(TlsServerConfig::Make({a->cert_pem, b->key_pem}).status().message(),
            "tls: private key does not match public key");
  EXPECT_FALSE(TlsServerConfig::Make({a->cert_pem, ""}).ok());
  EXPECT_EQ(TlsServerConfig::Make(*a, "garbage").status().message(), "client CA: CA: no certificate in PEM text");
}

TEST(JwsTest, SignsAndVerifiesBothKinds) {
  for (const bool rsa : {false, true}) {
    const auto key = GenerateKey(rsa);
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_NE(key->find(rsa ? "BEGIN RSA PRIVATE KEY" : "BEGIN EC PRIVATE KEY"), std::string::npos);
    const auto pub = PublicKeyOf(*key);
    ASSERT_TRUE(pub.ok()) << pub.status();
    const auto signature = SignJws(*key, "header.payload");
    ASSERT_TRUE(signature.ok()) << signature.status();
    EXPECT_EQ(signature->size(), rsa ? 256u : 64u);
    EXPECT_TRUE(VerifyJws(*pub, "header.payload", *signature).ok());
    EXPECT_TRUE(VerifyJws(*key, "header.payload", *signature).ok());  // a private key holds the public one
    EXPECT_TRUE(absl::IsUnauthenticated(VerifyJws(*pub, "header.payloae", *signature)));
    std::string broken = *signature;
    broken[10] ^= 1;
    EXPECT_FALSE(VerifyJws(*pub, "header.payload", broken).ok());
    EXPECT_FALSE(VerifyJws(*pub, "header.payload", "").ok());
    EXPECT_FALSE(VerifyJws(*pub, "header.payload", std::string(64, '\0')).ok());
  }
  EXPECT_FALSE(SignJws("", "x").ok());
  EXPECT_FALSE(VerifyJws("", "x", "y").ok());
}

TEST(JwsTest, VerifiesWithACertificate) {
  const auto pair = SelfSigned(CaRequest());
  const auto signature = SignJws(pair->key_pem, "x");
  ASSERT_TRUE(signature.ok());
  EXPECT_TRUE(VerifyJws(pair->cert_pem, "x", *signature).ok());
}

// A client's store of rotated pairs: connections are made without a certificate until it has its first.
TEST(TlsTest, ThePairsFileMayComeLaterWhereThatIsSaid) {
  const std::string path = testing::TempDir() + "/later-" + RandomUuid() + ".pem";
  TlsClientConfig::Options options;
  options.cert_file = options.key_file = path;
  EXPECT_FALSE(TlsClientConfig::Make(options).ok());
  options.files_may_come_later = true;
  options.reload_interval = std::chrono::nanoseconds(0);
  const auto config = TlsClientConfig::Make(options);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto without = (*config)->Context();
  EXPECT_EQ(SSL_CTX_get0_certificate(without.get()), nullptr);
  EXPECT_EQ((*config)->Context(), without);
  const auto pair = SelfSigned(CaRequest());
  ASSERT_TRUE(WriteFileAtomic(path, pair->cert_pem + pair->key_pem).ok());
  const auto with = (*config)->Context();
  EXPECT_NE(SSL_CTX_get0_certificate(with.get()), nullptr);
  unlink(path.c_str());
  EXPECT_EQ((*config)->Context(), with) << "what was there once is kept";
}

}  // namespace
}  // namespace skiff
