#include "kubelet/server/server.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "api/codec.h"
#include "base/async_testing.h"
#include "base/files.h"
#include "base/http_client.h"
#include "base/log.h"
#include "base/websocket.h"
#include "kubelet/server/flagz.h"
#include "kubelet/server/metrics_protobuf.h"
#include "kubelet/server/spdy.h"
#include "kubelet/server/stream.h"
#include "kubelet/server/stream_translator.h"
#include "kubelet/server/testing.h"
#include "kubelet/server/tls_limits.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
using namespace std::chrono_literals;
using nlohmann::json;

struct FakeReviewer final : Reviewer {
  Task<StatusOr<std::optional<UserInfo>>> ReviewToken(std::string token) override {
    ++token_reviews;
    if (token != "good") co_return std::optional<UserInfo>();
    UserInfo user;
    user.name = "system:serviceaccount:golden:default";
    co_return user;
  }
  Task<StatusOr<bool>> ReviewAccess(AccessRequest request) override {
    asked.push_back(absl::StrCat(request.user.name, " ", request.verb, " ", request.subresource));
    co_return (std::find(request.user.groups.begin(), request.user.groups.end(), "system:masters") !=
               request.user.groups.end()) ||
        granted.count(request.subresource) > 0;
  }
  int token_reviews = 0;
  std::vector<std::string> asked;
  std::set<std::string> granted;
};

struct ServerTest : testing::Test {
  TempDir dir;
  asio::io_context loop;
  FakeClock clock;
  FakeServerHost host;
  FakeReviewer reviewer;
  KeyPair ca, admin;
  std::unique_ptr<KubeletServer> server;
  std::unique_ptr<http::Client> client, stranger;

  void SetUp() override {
    CertificateRequest request;
    request.common_name = "ca";
    request.is_ca = true;
    ca = *SelfSigned(request);
    request = {};
    request.common_name = "admin";
    request.organizations = {"system:masters"};
    request.client_auth = true;
    admin = *Sign(ca, request);
    ASSERT_TRUE(WriteFileAtomic(dir / "ca.crt", ca.cert_pem).ok());
    ASSERT_TRUE(MakeDirs(dir / "logs").ok());
    ASSERT_TRUE(MakeDirs(dir / "varlog/sub").ok());
    host.logs = dir / "logs";
    host.last_sync = clock.Steady();
    ASSERT_TRUE(WriteFileAtomic(host.logs + "/b.log", "2026-11-21T05:06:33.1Z stdout F only-b\n").ok());
    ASSERT_TRUE(WriteFileAtomic(host.logs + "/a.log",
                                "2026-11-21T05:06:33Z stdout F line 6\n"
                                "2026-11-21T05:06:33.090170473Z stdout F line 7\n"
                                "2026-11-21T05:06:33.090198765Z stderr F err 7\n")
                    .ok());

    KubeletServerOptions options;
    options.root_dir = dir.path();
    options.address = "127.0.0.1";
    options.port = 0;
    options.healthz_port = -1;
    options.client_ca_file = dir / "ca.crt";
    options.hostname = "n1";
    options.node_ips = {"127.0.0.1"};
    options.system_log_dir = dir / "varlog";
    options.pod_logs_dir = host.logs;
    server = std::make_unique<KubeletServer>(loop.get_executor(), options, host, &reviewer, clock);
    const Status status = server->Start();
    ASSERT_TRUE(status.ok()) << status;
    client = Connect(admin);
    stranger = Connect({});
  }

  std::unique_ptr<http::Client> Connect(const KeyPair& pair) {
    TlsClientConfig::Options options;
    options.insecure_skip_verify = true;
    options.pair = pair;
    return std::make_unique<http::Client>(loop.get_executor(), absl::StrCat("127.0.0.1:", server->port()),
                                          *TlsClientConfig::Make(std::move(options)));
  }
  http::ClientResponse Ask(http::Client& from, std::string method, std::string target, http::Headers headers = {}) {
    http::ClientRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers = std::move(headers);
    request.timeout = 5s;
    auto answer = RunTask(loop, from.Do(std::move(request)));
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : http::ClientResponse{};
  }
};

// tlsMinVersion and tlsCipherSuites: who does not speak what is asked for is not served.
TEST_F(ServerTest, TlsLimits) {
  struct Case {
    const char* min_version;
    std::vector<std::string> suites;
    bool serves_12, serves_12_aes128;
  };
  for (const Case& c : {
           Case{"", {}, true, true},
           {"VersionTLS12", {}, true, true},
           {"VersionTLS13", {}, false, false},
           {"", {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, true, false},
           {"", {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}, true, true},
           {"", {"TLS_AES_128_GCM_SHA256"}, false, false},
           {"", {"TLS_RSA_WITH_RC4_128_SHA"}, false, false},
       }) {
    auto limits = ReadTlsLimits(c.min_version, c.suites, {});
    ASSERT_TRUE(limits.ok()) << limits.status();
    KubeletServerOptions options;
    options.root_dir = dir.path();
    options.address = "127.0.0.1";
    options.port = 0;
    options.healthz_port = 0;
    options.hostname = "n1";
    options.tls_limits = *limits;
    KubeletServer limited(loop.get_executor(), options, host, &reviewer, clock);
    const Status started = limited.Start();
    ASSERT_TRUE(started.ok()) << started;
    auto serves = [&](int version, const char* ciphers) {
      TlsClientConfig::Options client_options;
      client_options.insecure_skip_verify = true;
      auto config = *TlsClientConfig::Make(std::move(client_options));
      SSL_CTX_set_max_proto_version(config->Context().get(), version);
      if (ciphers != nullptr) SSL_CTX_set_cipher_list(config->Context().get(), ciphers);
      http::Client peer(loop.get_executor(), absl::StrCat("127.0.0.1:", limited.port()), config);
      http::ClientRequest request;
      request.target = "/healthz";
      request.timeout = 5s;
      return RunTask(loop, peer.Do(std::move(request))).ok();
    };
    const std::string what = absl::StrCat(c.min_version, " ", absl::StrJoin(c.suites, ","));
    EXPECT_TRUE(serves(TLS1_3_VERSION, nullptr)) << what;
    EXPECT_EQ(serves(TLS1_2_VERSION, nullptr), c.serves_12) << what;
    EXPECT_EQ(serves(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"), c.serves_12_aes128) << what;
    RunTask(loop, limited.Shutdown(0s));
  }
}

TEST_F(ServerTest, AnswersAsRecorded) {
  const std::string folder = "../shared/goldens/kubelet/11-endpoints/";
  auto names = ListDir(folder);
  if (!names.ok()) GTEST_SKIP() << "no recordings at " << folder;
  // Pages whose content is the node's own, and what this kubelet does not have.
  const std::set<std::string> other = {"configz.json",
                                       "configz-put.json",
                                       "statusz.json",
                                       "pods.json",
                                       "pods-slash.json",
                                       "runningpods.json",
                                       "logs-listing.json",
                                       "metrics-protobuf-accept.json",
                                       "flagz.json",
                                       "stats-summary.json",
                                       "stats-summary-cpu-and-memory.json",
                                       "debug-pprof-cmdline.json",
                                       "checkpoint-post.json",
                                       "403-node-cert-proxy.json",
                                       "metrics-cadvisor.json",
                                       "metrics-openmetrics-accept.json",
                                       "metrics-post.json",
                                       "metrics-probes.json",
                                       "metrics-resource.json",
                                       "metrics.json",
                                       "port-10248-healthz.json",
                                       "port-10255-healthz.json"};
  int checked = 0;
  for (const std::string& name : *names) {
    if (!absl::EndsWith(name, ".json") || absl::StartsWith(name, "stream-") || other.count(name) > 0) continue;
    const json golden = json::parse(*ReadFile(folder + name));
    const json& request = golden["request"];
    const std::string as = request.value("as", "");
    http::Headers headers;
    if (as == "bad token") headers.Set("Authorization", "Bearer bad");
    if (absl::StrContains(as, "serviceaccount")) headers.Set("Authorization", "Bearer good");
    http::Client& from = as == "admin certificate" ? *client : *stranger;
    const auto answer = Ask(from, request["method"], request["path"], headers);
    const json& want = golden["response"];
    EXPECT_EQ(answer.status, want["status"].get<int>()) << name;
    const json& body = want["body"];
    if (body.is_string()) {
      EXPECT_EQ(answer.body, body.get<std::string>()) << name;
    } else {
      EXPECT_EQ(json::parse(answer.body, nullptr, false), body) << name;
    }
    for (const auto& [field, value] : want["headers"].items()) {
      if (field == "Date" || field == "Content-Length" || field == "Transfer-Encoding") continue;
      EXPECT_EQ(answer.headers.Get(field), value.get<std::string>()) << name << " " << field;
    }
    EXPECT_EQ(answer.headers.Has("Content-Type"), want["headers"].contains("Content-Type")) << name;
    ++checked;
  }
  EXPECT_GT(checked, 45);
}

TEST_F(ServerTest, Pages) {
  EXPECT_EQ(Ask(*client, "GET", "/runningpods/").body,
            "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"lg\","
            "\"namespace\":\"golden\",\"uid\":\"u1\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"sha256:1\","
            "\"resources\":{}}]},\"status\":{}},{\"metadata\":{\"name\":\"empty\",\"namespace\":\"golden\",\"uid\":"
            "\"u2\"},\"spec\":{\"containers\":null},\"status\":{}}]}\n");
  const json pods = json::parse(Ask(*client, "GET", "/pods").body);
  EXPECT_EQ(pods["items"].size(), 1u);
  EXPECT_EQ(pods["items"][0]["metadata"]["name"], "lg");
  EXPECT_EQ(Ask(*client, "GET", "/configz").body, "{\"kubeletconfig\":{\"kind\":\"KubeletConfiguration\"}}");
  EXPECT_EQ(Ask(*client, "GET", "/metrics/cadvisor").body, "cadvisor\n");
  EXPECT_EQ(Ask(*client, "GET", "/metrics").headers.Get("Content-Type"),
            "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
  EXPECT_EQ(Ask(*client, "GET", "/stats/summary?only_cpu_and_memory=true").body, "{\"cpu\":1}");
  EXPECT_TRUE(absl::StrContains(Ask(*client, "GET", "/statusz").body, "Binary version= 1.36.2\n"));
  clock.Advance(10min, loop);
  const auto sick = Ask(*client, "GET", "/healthz");
  EXPECT_EQ(sick.status, 500);
  EXPECT_EQ(sick.body,
            "[+]ping ok\n[+]log ok\n[-]syncloop failed: reason withheld\n[+]device-plugin ok\nhealthz check failed\n");
  http::Client health(loop.get_executor(), absl::StrCat("127.0.0.1:", server->healthz_port()));
  EXPECT_EQ(Ask(health, "GET", "/healthz").body, "ok") << "as upstream: it only says that there is a kubelet";
  EXPECT_EQ(Ask(health, "GET", "/healthz/syncloop").status, 404);
  const auto slis = [&] { return Ask(*client, "GET", "/metrics/slis").body; };
  EXPECT_TRUE(absl::StrContains(slis(), "kubernetes_healthcheck{name=\"syncloop\",type=\"healthz\"} 0\n")) << slis();
  EXPECT_TRUE(
      absl::StrContains(slis(), "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"healthz\"} 2\n"))
      << slis();
  host.last_sync = clock.Steady();
  EXPECT_EQ(Ask(*client, "GET", "/healthz").status, 200);
  EXPECT_TRUE(absl::StrContains(slis(), "kubernetes_healthcheck{name=\"syncloop\",type=\"healthz\"} 1\n")) << slis();
  EXPECT_EQ(Ask(*client, "DELETE", "/metrics/slis").body, "metrics reset\n");
  EXPECT_FALSE(absl::StrContains(slis(), "healthcheck")) << slis();
  EXPECT_EQ(Ask(health, "GET", "/pods").status, 404);
}

TEST_F(ServerTest, SelfSignedCertificateIsMadeOnce) {
  const std::string cert = *ReadFile(dir / "pki/kubelet.crt");
  const auto info = ReadCertificate(cert);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->dns_names, std::vector<std::string>{"n1"});
  KubeletServerOptions options;
  options.root_dir = dir.path();
  options.address = "127.0.0.1";
  options.port = 0;
  options.healthz_port = 0;
  KubeletServer again(loop.get_executor(), options, host, &reviewer, clock);
  ASSERT_TRUE(again.Start().ok());
  EXPECT_EQ(*ReadFile(dir / "pki/kubelet.crt"), cert);
}

TEST_F(ServerTest, ACertificateWithoutItsKeyIsNotWrittenOver) {
  const std::string cert = *ReadFile(dir / "pki/kubelet.crt"), key = dir / "pki/kubelet.key";
  ASSERT_EQ(::unlink(key.c_str()), 0);
  KubeletServerOptions options;
  options.root_dir = dir.path();
  options.address = "127.0.0.1";
  options.port = 0;
  options.healthz_port = 0;
  KubeletServer again(loop.get_executor(), options, host, &reviewer, clock);
  EXPECT_EQ(again.Start().message(), absl::StrCat("kubelet server certificates: error reading ", key,
                                                  ", certificate and key must be supplied as a pair"));
  EXPECT_EQ(*ReadFile(dir / "pki/kubelet.crt"), cert);
  EXPECT_FALSE(Exists(key));
}

TEST_F(ServerTest, ReviewsAreCached) {
  reviewer.granted = {"pods"};
  const http::Headers token{{"Authorization", "Bearer good"}};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(*stranger, "GET", "/pods", token).status, 200);
  EXPECT_EQ(reviewer.token_reviews, 1);
  EXPECT_EQ(reviewer.asked.size(), 1u);
  clock.Advance(2min, loop);
  Ask(*stranger, "GET", "/pods", token);
  EXPECT_EQ(reviewer.token_reviews, 2);
  EXPECT_EQ(reviewer.asked.size(), 1u);  // grants live five minutes
  EXPECT_EQ(Ask(*stranger, "GET", "/configz", token).status, 403);
  EXPECT_EQ(reviewer.asked.size(), 3u);  // configz, then proxy
}

// Security row verb-mapping: reaching into a container over a WebSocket GET needs what POST needs.
TEST_F(ServerTest, verb_mapping) {
  for (const char* path : {"/exec/a/b/c", "/attach/a/b/c", "/portForward/a/b", "/run/a/b/c"}) {
    EXPECT_EQ(AttributesOf("GET", path).verb, "create") << path;
    EXPECT_EQ(AttributesOf("POST", path).verb, "create") << path;
    EXPECT_EQ(AttributesOf("GET", path).subresources, std::vector<std::string>{"proxy"});
  }
  EXPECT_EQ(AttributesOf("GET", "/pods").verb, "get");
  EXPECT_EQ(AttributesOf("GET", "/podsx").subresources, std::vector<std::string>{"proxy"});
}

TEST_F(ServerTest, verb_mapping_OfRequests) {
  const http::Headers token{{"Authorization", "Bearer good"}};
  http::Headers upgrade = token;
  for (auto [name, value] : {std::pair{"Connection", "Upgrade"},
                             {"Upgrade", "websocket"},
                             {"Sec-WebSocket-Version", "13"},
                             {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                             {"Sec-WebSocket-Protocol", "v4.channel.k8s.io"}}) {
    upgrade.Set(name, value);
  }
  for (const char* path : {"/exec/golden/lg/b?command=id&output=1", "/attach/golden/lg/b?output=1",
                           "/portForward/golden/lg?port=80", "/run/golden/lg/b?cmd=id"}) {
    std::vector<std::vector<std::string>> asked;
    for (const auto& [method, headers] : {std::pair{"POST", token}, {"GET", token}, {"GET", upgrade}}) {
      clock.Advance(10min, loop);  // nothing is remembered
      reviewer.asked.clear();
      EXPECT_EQ(Ask(*stranger, method, path, headers).status, 403) << method << " " << path;
      asked.push_back(reviewer.asked);
    }
    EXPECT_EQ(asked[0], std::vector<std::string>{"system:serviceaccount:golden:default create proxy"}) << path;
    EXPECT_EQ(asked[1], asked[0]) << path;
    EXPECT_EQ(asked[2], asked[0]) << path;
  }
}

TEST_F(ServerTest, TokensAmongAWebSocketsProtocols) {
  const auto ask = [&](std::vector<std::string> protocols, bool websocket = true) {
    http::Headers headers{{"Connection", "Upgrade"}, {"Upgrade", websocket ? "websocket" : "SPDY/3.1"}};
    for (const std::string& protocol : protocols) headers.Add("Sec-WebSocket-Protocol", protocol);
    return Ask(*stranger, "GET", "/exec/golden/lg/b?command=id&output=1", headers).status;
  };
  const std::string prefix = "base64url.bearer.authorization.k8s.io.", good = prefix + "Z29vZA", bad = prefix + "YmFk";
  EXPECT_EQ(ask({"v4.channel.k8s.io, " + good}), 403);
  EXPECT_EQ(ask({good, "v4.channel.k8s.io"}), 403);
  EXPECT_EQ(reviewer.asked, std::vector<std::string>(1, "system:serviceaccount:golden:default create proxy"))
      << "cached, then";
  EXPECT_EQ(ask({"v4.channel.k8s.io," + bad}), 401);
  EXPECT_EQ(ask({good}), 401) << "none is left to answer with";
  EXPECT_EQ(ask({good, good, "v4.channel.k8s.io"}), 401);
  EXPECT_EQ(ask({prefix + "!", "v4.channel.k8s.io"}), 401);
  EXPECT_EQ(ask({good, "v4.channel.k8s.io"}, false), 401);
}

// Without TokenReview a token says nothing, as upstream: who brings one is as anonymous as others.
TEST_F(ServerTest, TokensThatNobodyReviews) {
  for (const bool anonymous : {false, true}) {
    KubeletServerOptions options;
    options.root_dir = dir.path();
    options.address = "127.0.0.1";
    options.port = 0;
    options.healthz_port = -1;
    options.client_ca_file = dir / "ca.crt";
    options.auth.anonymous = anonymous;
    options.auth.webhook_authentication = false;
    server = std::make_unique<KubeletServer>(loop.get_executor(), options, host, &reviewer, clock);
    ASSERT_TRUE(server->Start().ok());
    stranger = Connect({});
    client = Connect(admin);
    reviewer.asked.clear();
    EXPECT_EQ(Ask(*stranger, "GET", "/pods", {{"Authorization", "Bearer good"}}).status, anonymous ? 403 : 401);
    EXPECT_EQ(Ask(*stranger, "GET", "/pods").status, anonymous ? 403 : 401);
    EXPECT_EQ(reviewer.asked.empty(), !anonymous);
    if (anonymous) {
      EXPECT_EQ(reviewer.asked.front(), "system:anonymous get pods");
    }
    EXPECT_EQ(Ask(*client, "GET", "/pods", {{"Authorization", "Bearer good"}}).status, 200);
    EXPECT_EQ(reviewer.token_reviews, 0);
  }
}

// Another spelling of a path is sent to the usual one, before anybody is asked.
TEST_F(ServerTest, verb_mapping_OfOtherSpellings) {
  for (auto [path, location] :
       {std::pair{"//exec/golden/lg/b?command=id&output=1", "/exec/golden/lg/b?command=id&output=1"},
        {"/%2Fattach/golden/lg/b?output=1", "/attach/golden/lg/b?output=1"},
        {"/./run/golden/lg/b", "/run/golden/lg/b"},
        {"/pods/../exec/golden/lg/b", "/exec/golden/lg/b"},
        {"/pods//%0d%0aX:%20y", "/pods/%0D%0AX%3A%20y"},
        {"///logs/", "/logs/"}}) {
    for (const char* method : {"GET", "POST"}) {
      reviewer.asked.clear();
      const auto answer = Ask(*stranger, method, path, {{"Authorization", "Bearer good"}});
      EXPECT_EQ(answer.status, 307) << path;
      EXPECT_EQ(answer.headers.Get("Location"), location);
      EXPECT_TRUE(reviewer.asked.empty()) << path;
    }
  }
}

// Security row log-symlink, for the node's own logs.
TEST_F(ServerTest, log_symlink_InTheNodesLogs) {
  ASSERT_TRUE(WriteFileAtomic(dir / "secret", "secret").ok());
  ASSERT_TRUE(WriteFileAtomic(dir / "varlog/sub/file.log", "text\n").ok());
  ASSERT_EQ(symlink((dir / "secret").c_str(), (dir / "varlog/link").c_str()), 0);
  ASSERT_EQ(symlink("..", (dir / "varlog/up").c_str()), 0);
  EXPECT_EQ(Ask(*client, "GET", "/logs/sub/file.log").body, "text\n");
  const std::string large(200'000, 'x');  // in several pieces
  ASSERT_TRUE(WriteFileAtomic(dir / "varlog/sub/large.log", large).ok());
  EXPECT_EQ(Ask(*client, "GET", "/logs/sub/large.log").body, large);
  EXPECT_TRUE(absl::StrContains(Ask(*client, "GET", "/logs/").body, "<a href=\"sub/\">sub/</a>\n"));
  for (const char* path : {"/logs/link", "/logs/up/secret", "/logs/%2e%2e/secret", "/logs/../secret"}) {
    const auto answer = Ask(*client, "GET", path);
    if (answer.status == 307) {
      EXPECT_EQ(answer.headers.Get("Location"), "/secret") << path;
      continue;
    }
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_FALSE(absl::StrContains(answer.body, "secret")) << path;
  }
}

// Security row checkpoint-and-readonly: the read-only port is off unless asked for; there and on the health port
// nothing writes, profiles or reaches into a container.
TEST_F(ServerTest, checkpoint_and_readonly) {
  EXPECT_EQ(server->read_only_port(), 0);  // nothing listens unless asked to
  KubeletServerOptions options;
  options.port = -1;
  options.healthz_port = -1;
  options.read_only_port = -1;
  options.address = "127.0.0.1";
  options.flagz = "flags";
  KubeletServer open(loop.get_executor(), options, host, &reviewer, clock);
  ASSERT_TRUE(open.Start().ok());
  http::Client read_only(loop.get_executor(), absl::StrCat("127.0.0.1:", open.read_only_port()));
  http::Client health(loop.get_executor(), absl::StrCat("127.0.0.1:", open.healthz_port()));
  EXPECT_EQ(Ask(read_only, "GET", "/pods").status, 200);
  EXPECT_EQ(Ask(read_only, "GET", "/metrics").status, 200);
  EXPECT_EQ(Ask(read_only, "POST", "/pods").status, 405);
  for (const char* path :
       {"/checkpoint/golden/lg/a", "/run/golden/lg/a?cmd=id", "/exec/golden/lg/a?command=id&output=1",
        "/attach/golden/lg/a?output=1", "/portForward/golden/lg", "/containerLogs/golden/lg/b", "/debug/pprof/profile",
        "/debug/pprof/cmdline", "/debug/flags/v", "/logs/", "/configz", "/flagz", "/statusz", "/runningpods/"}) {
    for (const char* method : {"GET", "POST", "PUT"}) {
      const int status = Ask(read_only, method, path).status;
      EXPECT_TRUE(status == 404 || status == 405) << method << " " << path << ": " << status;
      EXPECT_EQ(Ask(health, method, path).status, 404) << method << " " << path;
    }
  }
  EXPECT_EQ(host.checkpoint_location, "");
}

TEST_F(ServerTest, CheckpointsAreTheRuntimes) {
  host.checkpoint_status = absl::UnimplementedError("unknown method CheckpointContainer");
  auto answer = Ask(*client, "POST", "/checkpoint/golden/lg/a");
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body,
            "checkpointing of golden/lg/a failed (rpc error: code = Unimplemented desc = unknown method "
            "CheckpointContainer)");
  host.checkpoint_status = absl::OkStatus();
  answer = Ask(*client, "POST", "/checkpoint/golden/lg/a?timeout=5");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, absl::StrCat("{\"items\":[\"", host.checkpoint_location, "\"]}"));
  EXPECT_TRUE(absl::StartsWith(host.checkpoint_location, dir / "checkpoints/checkpoint-lg_golden-a-"));
  EXPECT_EQ(Ask(*client, "POST", "/checkpoint/golden/lg/a?timeout=x").status, 404);
}

// Security row secrets-in-logs, for what the server is sent.
TEST_F(ServerTest, secrets_in_logs) {
  const auto before = log::Verbosity();
  log::SetVerbosity(10);
  testing::internal::CaptureStderr();
  for (const char* path : {"/pods", "/configz", "/nosuch", "/containerLogs/golden/lg/b"}) {
    Ask(*stranger, "GET", path, {{"Authorization", "Bearer hunter2-token"}, {"Cookie", "hunter2-cookie"}});
    Ask(*stranger, "POST", path, {{"Authorization", "Basic aHVudGVyMjpodW50ZXIy"}});
  }
  const std::string logged = testing::internal::GetCapturedStderr();
  log::SetVerbosity(before);
  EXPECT_FALSE(absl::StrContains(logged, "hunter2")) << logged;
  EXPECT_FALSE(absl::StrContains(logged, "aHVudGVyMjpodW50ZXIy")) << logged;
}

TEST_F(ServerTest, MetricsAsProtobuf) {
  const auto answer = Ask(*client, "GET", "/metrics",
                          {{"Accept",
                            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                            "encoding=delimited,text/plain;version=0.0.4;q=0.3"}});
  EXPECT_EQ(answer.headers.Get("Content-Type"),
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; "
            "escaping=underscores");
  EXPECT_EQ(DelimitedMetrics("# HELP process_start_time_seconds [ALPHA] Start time of the process since unix epoch in "
                             "seconds.\n# TYPE process_start_time_seconds gauge\n"
                             "process_start_time_seconds 1.79523519144e+09\n"),
            Base64Decode("awoacHJvY2Vzc19zdGFydF90aW1lX3NlY29uZHMSPltBTFBIQV0gU3RhcnQgdGltZSBvZiB0aGUgcHJvY2VzcyBzaW5j"
                         "ZSB1bml4IGVwb2NoIGluIHNlY29uZHMuGAEiCxIJCfYo3F1HwNpB")
                .value_or(""));
  const std::string histogram = DelimitedMetrics(
      "# HELP h x\n# TYPE h histogram\nh_bucket{a=\"b\",le=\"1\"} 2\nh_bucket{a=\"b\",le=\"+Inf\"} 3\n"
      "h_sum{a=\"b\"} 0\nh_count{a=\"b\"} 3\n");
  // Count 3, sum 0, and one bucket: two up to 1. The infinite one is the count.
  EXPECT_TRUE(absl::EndsWith(
      histogram, std::string("\x3a\x18\x08\x03\x11\0\0\0\0\0\0\0\0\x1a\x0b\x08\x02\x11\0\0\0\0\0\0\xf0\x3f", 26)));
}

TEST(FlagzTest, GivenFlagsStandForDefaults) {
  const std::string page = FlagzPage({"--v=4", "--node-ip", "10.0.0.1", "--fail-swap-on=false", "--cluster-dns=1.1.1.1",
                                      "--cluster-dns=2.2.2.2", "--manifest-url-header=Authorization:hunter2"});
  EXPECT_TRUE(absl::StartsWith(page, "\nkubelet flagz\nWarning: "));
  for (const char* line : {"\nv 4\n", "\nnode-ip 10.0.0.1\n", "\nfail-swap-on false\n", "\nmax-pods 110\n",
                           "\ncluster-dns [1.1.1.1,2.2.2.2]\n", "\nroot-dir /var/lib/kubelet\n", "\nkubeconfig \n"}) {
    EXPECT_TRUE(absl::StrContains(page, line)) << line;
  }
  EXPECT_FALSE(absl::StrContains(page, "hunter2"));
}

// A runtime's streaming server that echoes what comes after the upgrade.
Task<void> EchoStream(http::Exchange& exchange) {
  if (exchange.request().path != "/exec/token") {
    (co_await exchange.Respond(403, {{"X-Accepted", "v4"}}, "unable to upgrade")).IgnoreError();
    co_return;
  }
  http::Headers headers{{"Connection", "Upgrade"},
                        {"Upgrade", "SPDY/3.1"},
                        {"X-Stream-Protocol-Version", "v4.channel.k8s.io"},
                        {"X-Saw-Authorization", exchange.request().headers.Has("Authorization") ? "yes" : "no"}};
  auto stream = co_await exchange.Upgrade(101, std::move(headers));
  if (!stream.ok()) co_return;
  char buffer[1024];
  for (;;) {
    auto got = co_await (*stream)->Read(buffer);
    if (!got.ok() || *got == 0) co_return;
    if (!(co_await (*stream)->Write({buffer, *got})).ok()) co_return;
  }
}

Task<std::string> Converse(http::Client& client, std::string target, std::string text) {
  http::ClientRequest request;
  request.method = "POST";
  request.target = std::move(target);
  request.headers = {{"Connection", "Upgrade"},
                     {"Upgrade", "SPDY/3.1"},
                     {"Authorization", "Bearer x"},
                     {"X-Stream-Protocol-Version", "v4.channel.k8s.io"}};
  auto result = co_await client.Upgrade(std::move(request));
  if (!result.ok()) co_return std::string(result.status().message());
  if (result->status != 101) co_return absl::StrCat(result->status, " ", result->body);
  if (!(co_await result->stream->Write(text)).ok()) co_return "write failed";
  char buffer[1024];
  auto got = co_await result->stream->Read(buffer);
  if (!got.ok()) co_return std::string(got.status().message());
  co_return absl::StrCat(result->headers.Get("X-Saw-Authorization"), " ", std::string_view(buffer, *got));
}

TEST_F(ServerTest, ExecRelaysToTheRuntime) {
  http::Server runtime(loop.get_executor(), EchoStream);
  const uint16_t port = *runtime.Listen("127.0.0.1:0");
  host.url = absl::StrCat("http://127.0.0.1:", port, "/exec/token");
  EXPECT_EQ(RunTask(loop, Converse(*client, "/exec/golden/lg/a?command=ls&command=-l&output=1&input=1&tty=1&error=1",
                                   "hello")),
            "no hello");
  EXPECT_EQ(host.last_options.command, (std::vector<std::string>{"ls", "-l"}));
  EXPECT_TRUE(host.last_options.stdin_ && host.last_options.stdout_ && host.last_options.tty);
  EXPECT_FALSE(host.last_options.stderr_);
  host.url = absl::StrCat("http://127.0.0.1:", port, "/gone");
  EXPECT_EQ(RunTask(loop, Converse(*client, "/exec/golden/lg/a?command=ls&output=1", "x")), "403 unable to upgrade");
  host.url = "http://127.0.0.1:1/gone";
  EXPECT_TRUE(absl::StartsWith(RunTask(loop, Converse(*client, "/attach/golden/lg/a?output=1", "x")), "500 dial tcp"));
}

TEST(StreamTranslatorTest, StatusIsReworded) {
  EXPECT_EQ(TranslateStatus(""), "{\"metadata\":{},\"status\":\"Success\"}");
  EXPECT_EQ(TranslateStatus(R"({"metadata":{},"status":"Success"})"), "{\"metadata\":{},\"status\":\"Success\"}");
  EXPECT_EQ(
      TranslateStatus(
          R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}})"),
      R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}})");
  EXPECT_EQ(
      TranslateStatus(R"({"status":"Failure","message":"no","reason":"InternalError"})"),
      R"({"metadata":{},"status":"Failure","message":"Internal error occurred: no","reason":"InternalError","details":{"causes":[{"message":"no"}]},"code":500})");
}

TEST(WebSocketTest, Frames) {
  EXPECT_EQ(WebSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  const std::string masked("\x82\x87\0\0\0\0\0hello\n", 13);
  const auto frame = ParseWebSocketFrame(masked, true);
  ASSERT_TRUE(frame.ok() && *frame);
  EXPECT_EQ((*frame)->length, 7u);
  EXPECT_EQ((*frame)->head, 6u);
  EXPECT_FALSE(*ParseWebSocketFrame(masked.substr(0, 5), true));
  EXPECT_FALSE(ParseWebSocketFrame("\x82\x07", true).ok());                          // not masked
  EXPECT_FALSE(ParseWebSocketFrame(std::string("\x89\xfe\x01\x00", 4), true).ok());  // a ping of 256 bytes
  EXPECT_FALSE(ParseWebSocketFrame("\xc2\x80", true).ok());                          // a reserved bit
  for (uint64_t n : {uint64_t{0}, uint64_t{125}, uint64_t{126}, uint64_t{65535}, uint64_t{65536}}) {
    const auto back = ParseWebSocketFrame(WebSocketFrameHead(2, n), false);
    ASSERT_TRUE(back.ok() && *back) << n;
    EXPECT_EQ((*back)->length, n);
  }
}

TEST(SpdyTest, Frames) {
  const auto data =
      ParseSpdyFrame(std::string("\0\0\0\x05\x01\0\0\x03"
                                 "abc",
                                 11));
  ASSERT_TRUE(data.ok() && *data);
  EXPECT_EQ((*data)->kind, SpdyFrame::kData);
  EXPECT_EQ((*data)->stream, 5u);
  EXPECT_TRUE((*data)->fin);
  EXPECT_EQ((*data)->length, 3u);
  const auto reset = ParseSpdyFrame(std::string("\x80\x03\0\x03\0\0\0\x08\0\0\0\x07\0\0\0\x01", 16));
  ASSERT_TRUE(reset.ok() && *reset);
  EXPECT_EQ((*reset)->kind, SpdyFrame::kReset);
  EXPECT_EQ((*reset)->stream, 7u);
  EXPECT_FALSE(ParseSpdyFrame(std::string("\x80\x02\0\x03\0\0\0\x08", 8)).ok());
  EXPECT_FALSE(*ParseSpdyFrame(std::string("\x80\x03\0\x03\0\0\0\x08", 8)));
}

TEST(StreamUrlTest, OnlyPlainHttp) {
  EXPECT_EQ(ParseStreamUrl("http://127.0.0.1:33/exec/x?y")->authority, "127.0.0.1:33");
  EXPECT_EQ(ParseStreamUrl("http://127.0.0.1:33/exec/x?y")->target, "/exec/x?y");
  EXPECT_FALSE(ParseStreamUrl("ftp://x/").ok());
  EXPECT_FALSE(ParseStreamUrl("http:///x").ok());
}

}  // namespace
}  // namespace skiff::kubelet
