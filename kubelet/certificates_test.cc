// Certificates by signing requests, against a small API server that signs.
#include "kubelet/certificates.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <limits>
#include <optional>

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
  int refuse = 0;       // this HTTP status for requests
  bool healthy = true;  // /healthz
  int health_asked = 0;
  std::vector<std::string> authorizations;  // of the requests
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
    if (exchange.request().path == "/healthz") {
      ++health_asked;
      (co_await exchange.Respond(healthy ? 200 : 500, {}, "ok")).IgnoreError();
      co_return;
    }
    if (exchange.request().method == "POST") {
      auto body = co_await exchange.ReadBody();
      authorizations.emplace_back(exchange.request().headers.Get("Authorization"));
      if (refuse != 0) {
        (co_await exchange.Respond(refuse, {{"Content-Type", "application/json"}}, R"({"message":"no"})"))
            .IgnoreError();
        co_return;
      }
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
  // A kubeconfig for this server.
  std::string Kubeconfig(const std::string& name, const std::string& user) {
    const std::string path = dir / name;
    EXPECT_TRUE(WriteFileAtomic(path,
                                "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: "
                                "{server: \"" +
                                    url +
                                    "\"}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                                    "users: [{name: u, user: {" +
                                    user + "}}]\n")
                    .ok());
    return path;
  }
  // For the node n1, signed by the CA, for an hour from now.
  KeyPair NodesPair(const std::string& name = "n1") {
    CertificateRequest request;
    request.common_name = "system:node:" + name;
    request.organizations = {"system:nodes"};
    request.client_auth = true;
    request.lifetime = 1h;
    return *Sign(ca, request);
  }
  static std::string Inline(const KeyPair& pair) {
    return "client-certificate-data: \"" + Base64Encode(pair.cert_pem) + "\", client-key-data: \"" +
           Base64Encode(pair.key_pem) + "\"";
  }
  std::function<StatusOr<std::shared_ptr<client::Rest>>()> ClientOf(client::Config config) {
    return [this, config] { return client::Rest::Make(loop.get_executor(), config); };
  }
  // Runs `rotator` on its clock until `met`.
  void RunUntil(CertificateRotator& rotator, FakeClock& ours, const std::function<bool()>& met) {
    TaskGroup group(loop.get_executor());
    group.Spawn("rotate", rotator.Run());
    EXPECT_TRUE(client::RunUntil(loop, [&] {
      if (met()) return true;
      if (ours.sleepers() > 0) ours.Advance(1s, loop);
      return false;
    }));
    group.Cancel();
    EXPECT_TRUE(client::RunUntil(loop, [&] { return group.size() == 0; }));
  }
  CertificateRotator Rotator(RotationOptions options) {
    options.poll = 1ms;
    return CertificateRotator(rest, clock, std::move(options));
  }
};

TEST_F(CertificatesTest, AServingCertificateIsAskedForAndStored) {
  CertificateRotator rotator = Rotator(ServerRotation(dir.path(), "n1", Names("host1", {"10.0.0.1", "fd00::1"})));
  EXPECT_FALSE(rotator.Current());
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
  EXPECT_TRUE(rotator.Current());
  EXPECT_GT(rotator.RenewalTime(), clock.Now() + 40min);
  EXPECT_LT(rotator.RenewalTime(), clock.Now() + 55min);
  char target[512];
  const ssize_t n = readlink((dir / "kubelet-server-current.pem").c_str(), target, sizeof target);
  ASSERT_GT(n, 0);
  EXPECT_TRUE(TlsServerConfig::FromFiles(rotator.current_path(), rotator.current_path()).ok());
}

// Upstream's kubelet moves NAME-updated.pem to NAME-current.pem, and may end in between.
TEST_F(CertificatesTest, AnInterruptedRotationIsEnded) {
  const RotationOptions options = ServerRotation(dir.path(), "n1", Names("host1", {"10.0.0.1"}));
  const std::string current = dir / "kubelet-server-current.pem", updated = dir / "kubelet-server-updated.pem";
  {
    CertificateRotator rotator = Rotator(options);
    ASSERT_TRUE(RunTask(loop, rotator.Renew()).ok());
  }
  ASSERT_EQ(::rename(current.c_str(), updated.c_str()), 0);
  EXPECT_TRUE(Rotator(options).Current());
  EXPECT_FALSE(Exists(updated));
  // A file is not what a rotation leaves.
  ASSERT_TRUE(WriteFileAtomic(updated, *ReadFile(current)).ok());
  ASSERT_EQ(::unlink(current.c_str()), 0);
  EXPECT_FALSE(Rotator(options).Current());
  EXPECT_TRUE(Exists(updated));
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
  Kubeconfig("bootstrap", "token: abc.def");
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

TEST_F(CertificatesTest, BootstrapWaitsForTheServer) {
  healthy = false;
  polls_before = 0;
  FakeClock ours;
  signing = &ours;
  Kubeconfig("bootstrap", "token: abc.def");
  std::optional<Status> done;
  TaskGroup group(loop.get_executor());
  group.Spawn("bootstrap", [](CertificatesTest& t, FakeClock& c, std::optional<Status>& out) -> Task<void> {
    out = co_await Bootstrap(t.loop.get_executor(), t.dir / "bootstrap", t.dir / "kubeconfig", t.dir / "pki", "n1", c);
  }(*this, ours, done));
  const SteadyTime begin = ours.Steady();
  ASSERT_TRUE(client::RunUntil(loop, [&] {
    if (health_asked == 5) healthy = true;
    if (!done && ours.sleepers() > 0) ours.Advance(1s, loop);
    return done.has_value();
  }));
  EXPECT_TRUE(done->ok()) << *done;
  EXPECT_EQ(health_asked, 6);
  EXPECT_GE(ours.Steady() - begin, 10s);
  EXPECT_EQ(requests.size(), 1u);
}

// kubeadm writes the certificate out in the kubeconfig of a control plane's node, and looks for the store's link.
TEST_F(CertificatesTest, ACertificateInTheKubeconfigGoesToTheStoreAndIsRenewedAtOnce) {
  const KeyPair pair = NodesPair();
  const std::string path = Kubeconfig("kubeconfig", Inline(pair));
  RotationOptions rotation = ClientRotation(dir / "pki", "n1");
  auto access = PrepareRotation(path, "", &rotation, clock.Now());
  ASSERT_TRUE(access.ok()) << access.status();
  const std::string current = dir / "pki/kubelet-client-current.pem";
  EXPECT_EQ(*ReadFile(current), pair.cert_pem + pair.key_pem);
  EXPECT_EQ(access->api.tls.cert_file, current);
  EXPECT_EQ(access->api.tls.key_file, current);
  EXPECT_TRUE(access->api.tls.pair.cert_pem.empty()) << "which would stay for ever";
  EXPECT_TRUE(rotation.at_once);

  polls_before = 0;
  FakeClock ours;
  ours.JumpWall(clock.Now() - ours.Now());
  signing = &ours;
  CertificateRotator rotator(rest, ours, rotation);
  RunUntil(rotator, ours, [&] { return *ReadFile(current) != pair.cert_pem + pair.key_pem; });
  EXPECT_EQ(requests.size(), 1u);

  // The next start has the store's.
  RotationOptions again = ClientRotation(dir / "pki", "n1");
  const std::string rotated = *ReadFile(current);
  ASSERT_TRUE(PrepareRotation(path, "", &again, ours.Now()).ok());
  EXPECT_FALSE(again.at_once);
  EXPECT_EQ(*ReadFile(current), rotated);
}

TEST_F(CertificatesTest, ACertificateInOtherFilesIsRenewedWhenItsTimeComes) {
  const KeyPair pair = NodesPair();
  ASSERT_TRUE(WriteFileAtomic(dir / "node.crt", pair.cert_pem).ok());
  ASSERT_TRUE(WriteFileAtomic(dir / "node.key", pair.key_pem).ok());
  const std::string path = Kubeconfig("kubeconfig", "client-certificate: node.crt, client-key: node.key");
  RotationOptions rotation = ClientRotation(dir / "pki", "n1");
  const auto access = PrepareRotation(path, "", &rotation, clock.Now());
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_FALSE(rotation.at_once);
  EXPECT_EQ(*ReadFile(access->api.tls.cert_file), pair.cert_pem + pair.key_pem);
}

TEST_F(CertificatesTest, AnothersCertificateIsRenewedAtOnce) {
  FakeClock ours;
  ours.JumpWall(clock.Now() - ours.Now());
  signing = &ours;
  polls_before = 0;
  const RotationOptions rotation = ClientRotation(dir.path(), "n1");
  ASSERT_TRUE(StorePair(rotation, NodesPair("n2"), ours.Now()).ok());
  CertificateRotator rotator(rest, ours, rotation);
  RunUntil(rotator, ours, [&] { return rotator.Current() && rotator.Current()->common_name == "system:node:n1"; });
  EXPECT_EQ(requests.size(), 1u);
}

TEST_F(CertificatesTest, WithRotationTheBootstrapIsInTheBackground) {
  const std::string bootstrap = Kubeconfig("bootstrap", "token: abc.def");
  const std::string path = Kubeconfig("kubeconfig", "token: old");
  RotationOptions rotation = ClientRotation(dir / "pki", "n1");
  const auto access = PrepareRotation(path, bootstrap, &rotation, clock.Now());
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_FALSE(KubeconfigUsable(path, clock.Now())) << "there is no certificate yet";
  EXPECT_THAT(*ReadFile(path), HasSubstr(dir / "pki/kubelet-client-current.pem"));
  EXPECT_EQ(access->api.token, "");
  EXPECT_EQ(access->first.token, "abc.def");
  EXPECT_TRUE(client::Rest::Make(loop.get_executor(), access->api).ok());

  // No server, then one that refuses, then one that signs: it is asked until there is a certificate.
  rotation.first_client = ClientOf(access->first);
  metrics::Counter errors;
  rotation.errors = &errors;
  refuse = 500;
  polls_before = 0;
  FakeClock ours;
  ours.JumpWall(clock.Now() - ours.Now());
  signing = &ours;
  CertificateRotator rotator(rest, ours, rotation);
  EXPECT_EQ(CertificateTtl(rotator, ours.Now()), std::numeric_limits<double>::infinity());
  RunUntil(rotator, ours, [&] { return errors.value() == 3; });
  EXPECT_FALSE(rotator.server_answers());
  refuse = 403;
  RunUntil(rotator, ours, [&] { return errors.value() == 4; });
  EXPECT_TRUE(rotator.server_answers());
  refuse = 0;
  RunUntil(rotator, ours, [&] { return rotator.Current().has_value(); });
  EXPECT_THAT(authorizations, testing::Each("Bearer abc.def"));
  EXPECT_EQ(authorizations.size(), 5u);
  EXPECT_TRUE(KubeconfigUsable(path, ours.Now()));
  const double ttl = CertificateTtl(rotator, ours.Now());
  EXPECT_GT(ttl, 3500);
  EXPECT_LE(ttl, 3600);

  // With the certificate the node asks for itself.
  ASSERT_TRUE(RunTask(loop, rotator.Renew()).ok());
  EXPECT_EQ(authorizations.back(), "");
}

TEST_F(CertificatesTest, ALostCertificateEndsTheKubeletIfTheServerAnswers) {
  FakeClock ours;
  ours.JumpWall(clock.Now() - ours.Now());
  const RotationOptions rotation = ClientRotation(dir.path(), "n1");
  ASSERT_TRUE(StorePair(rotation, NodesPair(), ours.Now()).ok());
  CertificateRotator rotator(rest, ours, rotation);
  std::optional<Status> lost;
  TaskGroup group(loop.get_executor());
  group.Spawn("loss", [](CertificateRotator& r, Clock& c, std::optional<Status>& out) -> Task<void> {
    out = co_await AwaitLostCertificate(r, c);
  }(rotator, ours, lost));
  auto pass = [&](std::chrono::seconds time) {
    for (auto t = 0s; t < time; t += 10s) ours.Advance(10s, loop);
  };
  refuse = 503;
  EXPECT_FALSE(RunTask(loop, rotator.Renew()).ok());
  pass(50min);
  EXPECT_FALSE(lost);
  pass(30min);
  EXPECT_FALSE(rotator.Current()) << "it has expired";
  EXPECT_FALSE(lost) << "a new start would be no better off";
  refuse = 401;
  EXPECT_FALSE(RunTask(loop, rotator.Renew()).ok());
  pass(10s);
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->message(), "No valid client certificate is found and the server is responsive, exiting.");
}

TEST_F(CertificatesTest, ACertificateThatIsLostIsNotMissedAtOnce) {
  FakeClock ours;
  ours.JumpWall(clock.Now() - ours.Now());
  CertificateRotator rotator(rest, ours, ClientRotation(dir.path(), "n1"));
  refuse = 401;
  EXPECT_FALSE(RunTask(loop, rotator.Renew()).ok());
  std::optional<Status> lost;
  TaskGroup group(loop.get_executor());
  group.Spawn("loss", [](CertificateRotator& r, Clock& c, std::optional<Status>& out) -> Task<void> {
    out = co_await AwaitLostCertificate(r, c);
  }(rotator, ours, lost));
  loop.restart();
  loop.poll();
  for (int i = 0; i < 30; ++i) ours.Advance(10s, loop);
  EXPECT_FALSE(lost);
  ours.Advance(10s, loop);
  EXPECT_TRUE(lost);
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
  // One that nobody has signed yet is not waited for.
  polls_before = 1000000;
  ips = {"10.0.0.3"};
  ASSERT_TRUE(until([&] { return requests.size() == 3; }));
  ips = {"10.0.0.4"};
  const SteadyTime soon = ours.Steady() + 30s;
  ASSERT_TRUE(until([&] { return requests.size() == 4; }));
  EXPECT_LT(ours.Steady(), soon);
  polls_before = 0;
  ASSERT_TRUE(until([&] { return certified() == ips; }));
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
