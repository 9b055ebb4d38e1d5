// Certificates by signing requests, against a small API server that signs.
#include "kubelet/certificates.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "api/codec.h"
#include "base/async_testing.h"
#include "base/files.h"
#include "base/http_server.h"
#include "client/testing.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Signs a request as it is, for an hour from `now`.
std::string SignRequest(const KeyPair& ca, const std::string& csr_pem, WallTime now) {
  BIO* in = BIO_new_mem_buf(csr_pem.data(), static_cast<int>(csr_pem.size()));
  X509_REQ* csr = PEM_read_bio_X509_REQ(in, nullptr, nullptr, nullptr);
  BIO_free(in);
  EXPECT_NE(csr, nullptr);
  BIO* key_in = BIO_new_mem_buf(ca.key_pem.data(), static_cast<int>(ca.key_pem.size()));
  EVP_PKEY* ca_key = PEM_read_bio_PrivateKey(key_in, nullptr, nullptr, nullptr);
  BIO_free(key_in);
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
  const time_t from = std::chrono::system_clock::to_time_t(now);
  ASN1_TIME_set(X509_getm_notBefore(cert), from);
  ASN1_TIME_set(X509_getm_notAfter(cert), from + 3600);
  X509_set_subject_name(cert, X509_REQ_get_subject_name(csr));
  X509_set_issuer_name(cert, X509_REQ_get_subject_name(csr));
  X509_set_pubkey(cert, X509_REQ_get0_pubkey(csr));
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(csr);
  for (int i = 0; i < sk_X509_EXTENSION_num(extensions); ++i) {
    X509_add_ext(cert, sk_X509_EXTENSION_value(extensions, i), -1);
  }
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  X509_sign(cert, ca_key, EVP_sha256());
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(out, cert);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  std::string pem(data, static_cast<size_t>(size));
  BIO_free(out);
  X509_free(cert);
  EVP_PKEY_free(ca_key);
  X509_REQ_free(csr);
  return pem;
}

std::function<void(CertificateRequest*)> Names(std::string dns, std::vector<std::string> ips) {
  return [=](CertificateRequest* request) {
    request->dns_names = {dns};
    request->ip_addresses = ips;
  };
}

struct CertificatesTest : testing::Test {
  TempDir dir;
  asio::io_context loop;
  KeyPair ca;
  std::vector<json> requests;
  int polls_before = 1;  // answers without a decision
  std::string deny;
  std::unique_ptr<http::Server> server;
  std::shared_ptr<client::Rest> rest;
  Clock& clock = Clock::Real();
  Clock* signing = &clock;  // the signer's
  std::string url;

  void SetUp() override {
    CertificateRequest request;
    request.common_name = "ca";
    request.is_ca = true;
    ca = *SelfSigned(request);
    server = std::make_unique<http::Server>(loop.get_executor(), [this](http::Exchange& e) { return Serve(e); });
    url = absl::StrCat("http://127.0.0.1:", *server->Listen("127.0.0.1:0"));
    client::Config config;
    config.server = url;
    rest = *client::Rest::Make(loop.get_executor(), config);
  }

  Task<void> Serve(http::Exchange& exchange) {
    json answer;
    if (exchange.request().method == "POST") {
      auto body = co_await exchange.ReadBody();
      answer = *api::ParseJson(*body);
      answer["metadata"]["name"] = absl::StrCat("csr-", requests.size());
      requests.push_back(answer);
    } else {
      answer = requests.back();
      if (polls_before-- <= 0) {
        const std::string type = deny.empty() ? "Approved" : deny;
        answer["status"]["conditions"] = {{{"type", type}, {"status", "True"}, {"reason", "R"}, {"message", "m"}}};
        if (deny.empty()) {
          const std::string csr = *Base64Decode(answer["spec"]["request"].get<std::string>());
          answer["status"]["certificate"] = Base64Encode(SignRequest(ca, csr, signing->Now()));
        }
      }
    }
    (co_await exchange.Respond(200, {{"Content-Type", "application/json"}}, answer.dump())).IgnoreError();
  }
  CertificateRotator Rotator(RotationOptions options) {
    options.poll = 1ms;
    return CertificateRotator(rest, clock, std::move(options));
  }
};

TEST_F(CertificatesTest, AServingCertificateIsAskedForAndStored) {
  CertificateRotator rotator = Rotator(ServerRotation(dir.path(), "n1", Names("host1", {"10.0.0.1", "fd00::1"})));
  EXPECT_FALSE(rotator.Usable());
  EXPECT_LT(rotator.RenewalTime(), clock.Now());
  const Status renewed = RunTask(loop, rotator.Renew());
  ASSERT_TRUE(renewed.ok()) << renewed;
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0]["spec"]["signerName"], "kubernetes.io/kubelet-serving");
  EXPECT_EQ(requests[0]["spec"]["usages"], (json{"digital signature", "server auth"}));
  const auto info = ReadCertificate(*ReadFile(rotator.current_path()));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->common_name, "system:node:n1");
  EXPECT_THAT(info->organizations, ElementsAre("system:nodes"));
  EXPECT_THAT(info->dns_names, ElementsAre("host1"));
  EXPECT_EQ(info->ip_addresses.size(), 2u);
  EXPECT_TRUE(rotator.Usable());
  EXPECT_GT(rotator.RenewalTime(), clock.Now() + 40min);
  EXPECT_LT(rotator.RenewalTime(), clock.Now() + 55min);
  char target[512];
  const ssize_t n = readlink((dir / "kubelet-server-current.pem").c_str(), target, sizeof target);
  ASSERT_GT(n, 0);
  EXPECT_TRUE(TlsServerConfig::FromFiles(rotator.current_path(), rotator.current_path()).ok());
}

TEST_F(CertificatesTest, DenialsAndSilenceAreErrors) {
  CertificateRotator rotator = Rotator(ClientRotation(dir.path(), "n1"));
  deny = "Denied";
  const Status denied = RunTask(loop, rotator.Renew());
  EXPECT_TRUE(absl::IsPermissionDenied(denied)) << denied;
  EXPECT_THAT(std::string(denied.message()), HasSubstr("certificate signing request is denied, reason: R, message: m"));
  RotationOptions options = ClientRotation(dir.path(), "n1");
  options.patience = 1ms;
  polls_before = 1000000;
  CertificateRotator hasty = Rotator(options);
  EXPECT_TRUE(absl::IsDeadlineExceeded(RunTask(loop, hasty.Renew())));
  EXPECT_FALSE(Exists(hasty.current_path()));
}

TEST_F(CertificatesTest, BootstrapWritesAKubeconfigThatWorks) {
  ASSERT_TRUE(WriteFileAtomic(
                  dir / "bootstrap",
                  "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: {server: \"" + url +
                      "\"}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: "
                      "{token: abc.def}}]\n")
                  .ok());
  EXPECT_FALSE(KubeconfigUsable(dir / "kubeconfig", clock.Now()));
  polls_before = 0;
  const Status status =
      RunTask(loop, Bootstrap(loop.get_executor(), dir / "bootstrap", dir / "kubeconfig", dir / "pki", "n1", clock));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(requests[0]["spec"]["signerName"], "kubernetes.io/kube-apiserver-client-kubelet");
  EXPECT_EQ(requests[0]["spec"]["usages"], (json{"digital signature", "client auth"}));
  EXPECT_TRUE(KubeconfigUsable(dir / "kubeconfig", clock.Now()));
  EXPECT_FALSE(KubeconfigUsable(dir / "kubeconfig", clock.Now() + 2h)) << "expired";
  const auto config = client::LoadKubeconfig(dir / "kubeconfig");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server, url);
  EXPECT_EQ(config->tls.cert_file, dir / "pki/kubelet-client-current.pem");
  EXPECT_TRUE(config->token.empty()) << "the bootstrap token is not kept";
}

TEST_F(CertificatesTest, HandshakesFailUntilThereIsACertificate) {
  auto config = AwaitedServerConfig(dir / "kubelet-server-current.pem", "", {.least_minor_version = 3});
  const auto none = config->Context();
  ASSERT_NE(none, nullptr);
  CertificateRotator rotator = Rotator(ServerRotation(dir.path(), "n1", Names("host1", {"10.0.0.1"})));
  ASSERT_TRUE(RunTask(loop, rotator.Renew()).ok());
  EXPECT_NE(config->Context(), none);
  EXPECT_EQ(SSL_CTX_get_min_proto_version(config->Context().get()), TLS1_3_VERSION);
}

// A cloud provider that says what the addresses are, or a host that gets others: the certificate follows.
TEST_F(CertificatesTest, ServingCertificatesFollowTheNodesAddresses) {
  FakeClock ours;
  signing = &ours;
  polls_before = 0;
  std::vector<std::string> ips;
  CertificateRotator rotator(rest, ours, ServerRotation(dir.path(), "n1", [&](CertificateRequest* request) {
                               request->dns_names = {"host1"};
                               request->ip_addresses = ips;
                             }));
  TaskGroup group(loop.get_executor());
  group.Spawn("rotate", rotator.Run());
  auto until = [&](const std::function<bool()>& met) {
    return client::RunUntil(loop, [&] {
      if (met()) return true;
      if (ours.sleepers() > 0) ours.Advance(1s, loop);
      return false;
    });
  };
  auto certified = [&] {
    const auto pem = ReadFile(rotator.current_path());
    return pem.ok() ? ReadCertificate(*pem)->ip_addresses : std::vector<std::string>();
  };
  const SteadyTime later = ours.Steady() + 60s;
  ASSERT_TRUE(until([&] { return ours.Steady() >= later; }));
  EXPECT_TRUE(requests.empty()) << "there is no address yet";
  ips = {"10.0.0.1"};
  ASSERT_TRUE(until([&] { return certified() == ips; }));
  ips = {"10.0.0.2", "fd00::2"};
  ASSERT_TRUE(until([&] { return certified() == ips; }));
  EXPECT_EQ(requests.size(), 2u);
  group.Cancel();
  ASSERT_TRUE(until([&] { return group.size() == 0; }));
}

// Reliability row clock-jump: a clock that was set back lets no certificate run out, one that was set forward renews
// early, once, not over and over because every new one seems to be old. The signer's clock is right all the time.
TEST_F(CertificatesTest, clock_jump) {
  for (const bool serving : {false, true}) {
    for (auto jump : {-1h, 1h}) {
      FakeClock ours, signers;
      signing = &signers;
      polls_before = 0;
      requests.clear();
      TempDir place;
      RotationOptions options =
          serving ? ServerRotation(place.path(), "n1", Names("h", {"10.0.0.1"})) : ClientRotation(place.path(), "n1");
      CertificateRotator rotator(rest, ours, options);
      TaskGroup group(loop.get_executor());
      const auto cancel = group.Spawn("rotate", rotator.Run());
      auto last = [&] { return Exists(rotator.current_path()) ? *ReadFile(rotator.current_path()) : ""; };
      auto until = [&](const std::function<bool()>& met) { return client::RunUntil(loop, met); };
      auto pass = [&](std::chrono::minutes time) {
        for (auto t = 0min; t < time; ++t) {
          // Requests are answered over a socket: time stands still for them.
          ASSERT_TRUE(until([&] { return ours.sleepers() > 0; }));
          ours.Advance(1min, loop);
          signers.Advance(1min, loop);
          ASSERT_TRUE(until([&] { return ours.sleepers() > 0; }));
          EXPECT_GT(ReadCertificate(last())->not_after, signers.Now());
        }
      };
      ASSERT_TRUE(until([&] { return !last().empty() && ours.sleepers() > 0; }));
      ASSERT_EQ(requests.size(), 1u);
      pass(20min);
      EXPECT_EQ(requests.size(), 1u);
      ours.JumpWall(jump);
      pass(40min);
      EXPECT_GE(requests.size(), 2u) << "in the hour of its life";
      pass(120min);
      EXPECT_GE(requests.size(), 4u);
      EXPECT_LE(requests.size(), 7u);
      cancel();
      ASSERT_TRUE(until([&] { return group.size() == 0; }));
    }
  }
}

}  // namespace
}  // namespace skiff::kubelet
