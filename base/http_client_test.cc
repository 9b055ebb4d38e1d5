#include "base/http_client.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/http_testing.h"
#include "base/http_transport.h"
#include "base/log.h"

namespace skiff::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A server of a few words: for each connection in turn it reads until a blank line and sends the given bytes, then
// closes unless told to stay.
struct Script {
  std::vector<std::string> answers;  // one a connection; "" closes at once
  bool stay = false;
  size_t accepted = 0;
};

class ClientTest : public HttpTest {
 protected:
  void Play(Script script) {
    script_ = std::make_shared<Script>(std::move(script));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(fd, 10), 0);
    socklen_t size = sizeof address;
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    listener_ = *Transport::Adopt(executor(), fd);
    Spawn(executor(), "script", Run1(listener_, script_));
  }
  ~ClientTest() override {
    if (listener_) listener_->Close();
  }

  static Task<void> Run1(std::shared_ptr<Transport> listener, std::shared_ptr<Script> script) {
    std::vector<std::shared_ptr<Transport>> kept;
    for (const std::string& answer : script->answers) {
      if (!(co_await listener->WaitReadable()).ok()) co_return;
      const int fd = accept4(listener->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      EXPECT_GE(fd, 0);
      ++script->accepted;
      auto transport = *Transport::Adopt(co_await asio::this_coro::executor, fd);
      std::string in;
      while (in.find("\r\n\r\n") == std::string::npos) {
        const auto more = co_await transport->ReadInto(&in, 1000);
        if (!more.ok() || !*more) break;
      }
      if (!answer.empty()) (void)co_await transport->WriteOne(answer);
      if (!script->stay) {
        transport->Close();
      } else {
        kept.push_back(transport);
      }
    }
    (void)co_await listener->WaitReadable();
  }

  std::shared_ptr<Script> script_;
  std::shared_ptr<Transport> listener_;
};

TEST_F(ClientTest, RefusedConnectionIsToldInGosWords) {
  // A port that was just free.
  Play({});
  listener_->Close();
  const auto response = Run(Client(executor(), authority()).Do({}));
  EXPECT_EQ(response.status().message(), absl::StrCat("dial tcp ", authority(), ": connect: connection refused"));
  EXPECT_TRUE(absl::IsUnavailable(response.status()));
  EXPECT_EQ(ErrnoOf(response.status()), ECONNREFUSED);
}

TEST_F(ClientTest, UnknownHostIsToldInGosWords) {
  const auto response = Run(Client(executor(), "no-such-host.invalid:80").Do({.timeout = seconds(30)}));
  EXPECT_FALSE(response.ok());
  EXPECT_EQ(response.status().message().find("dial tcp: lookup no-such-host.invalid: "), 0u) << response.status();
}

TEST_F(ClientTest, NamesAreResolved) {
  Serve(Echo);
  const auto response = Run(Client(executor(), absl::StrCat("localhost:", port)).Do({}));
  EXPECT_TRUE(response.ok()) << response.status();
}

TEST_F(ClientTest, TimeoutAwaitingHeaders) {
  Play({.answers = {"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"}, .stay = true});
  Client client(executor(), authority());
  auto response = Run(client.Do({.timeout = milliseconds(300)}));
  EXPECT_TRUE(absl::IsDeadlineExceeded(response.status()));
  EXPECT_EQ(response.status().message(), "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
  response = Run(client.Do({.timeout = milliseconds(300)}));
  EXPECT_EQ(response.status().message(),
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)");
}

TEST_F(ClientTest, ConnectTimeout) {
  // A listener whose queue is full does not answer further SYNs.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd, 0), 0);
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  port = ntohs(address.sin_port);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    connect(fillers.back(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  ClientOptions options;
  options.connect_timeout = milliseconds(50);
  const auto response = Run(Client(executor(), authority(), nullptr, options).Do({}));
  EXPECT_EQ(response.status().message(), absl::StrCat("dial tcp ", authority(), ": i/o timeout"));
  EXPECT_TRUE(absl::IsDeadlineExceeded(response.status()));
  for (const int filler : fillers) close(filler);
  close(fd);
}

TEST_F(ClientTest, StalePooledConnectionIsRetriedOnce) {
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  Play({.answers = {ok, ok, ok}});
  Client client(executor(), authority());
  for (int i = 0; i < 3; ++i) {
    const auto response = Run(client.Do({.method = "POST", .body = "x"}));
    ASSERT_TRUE(response.ok()) << i << response.status();
    EXPECT_EQ(response->body, "ok");
    (void)Run(SleepFor(milliseconds(5)));
  }
  EXPECT_EQ(script_->accepted, 3u);
}

Task<void> ServeOnceThenHangUp(int* served, Exchange& exchange) {
  if (++*served == 2) {  // dies with the request in its hands
    (void)co_await exchange.Begin(200, {});
    co_return;
  }
  (void)co_await exchange.Respond(200, {}, "ok");
}

TEST_F(ClientTest, BrokenAnswersAreErrors) {
  Play({.answers = {"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nX",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}});
  Client client(executor(), authority());
  EXPECT_EQ(Run(client.Do({})).status(), Unavailable("EOF"));
  EXPECT_EQ(Run(client.Do({})).status(), Unavailable("unexpected EOF"));
  EXPECT_EQ(Run(client.Do({})).status().message(),
            "net/http: HTTP/1.x transport connection broken: malformed HTTP response");
  EXPECT_EQ(Run(client.Do({})).status(), Unavailable("unexpected EOF"));
  EXPECT_EQ(Run(client.Do({})).status(), Unavailable("unexpected EOF"));
  int served = 0;
  Serve([&served](Exchange& exchange) { return ServeOnceThenHangUp(&served, exchange); });
  Client second(executor(), authority());
  EXPECT_TRUE(Run(second.Do({})).ok());
  EXPECT_FALSE(Run(second.Do({})).ok());
  EXPECT_EQ(served, 2);  // it had begun to answer: not sent again
}

TEST_F(ClientTest, InformationalAnswersAreSkippedAndEofEndsAnUnmeasuredBody) {
  Play({.answers = {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 201 "
                    "Created\r\n\r\nrest"}});
  const auto response = Run(Client(executor(), authority()).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 201);
  EXPECT_EQ(response->body, "rest");
}

TEST_F(ClientTest, AnswerSentBeforeTheBodyWasTakenIsSeen) {
  Serve([](Exchange& exchange) -> Task<void> { (void)co_await exchange.Respond(413, {}, "too much"); });
  const auto response = Run(Client(executor(), authority()).Do({.method = "POST", .body = std::string(64 << 20, 'x')}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 413);
  EXPECT_EQ(response->body, "too much");
}

TEST_F(ClientTest, BodyLimitIsKept) {
  Serve(Echo);
  ClientOptions options;
  options.max_body_bytes = 100;
  Client client(executor(), authority(), nullptr, options);
  EXPECT_TRUE(absl::IsResourceExhausted(Run(client.Do({.method = "POST", .body = std::string(200, 'x')})).status()));
  EXPECT_TRUE(Run(client.Do({})).ok());
}

TEST_F(ClientTest, ReaderGivesItsConnectionBackAtTheEnd) {
  Serve(Echo);
  Client client(executor(), authority());
  for (int i = 0; i < 3; ++i) {
    auto body = Run(client.Open({}));
    ASSERT_TRUE(body.ok()) << body.status();
    EXPECT_EQ(*Run((*body)->ReadAll(1000)), "GET /  ");
  }
  EXPECT_EQ(server->connections(), 1u);
  auto body = Run(client.Open({}));
  EXPECT_TRUE(absl::IsResourceExhausted(Run((*body)->ReadAll(3)).status()));
}

TEST_F(ClientTest, ProbesUseAFreshConnectionAndReset) {
  Serve([](Exchange& exchange) -> Task<void> {
    (void)co_await exchange.Respond(200, {}, std::string(exchange.request().headers.Get("Connection")));
  });
  ClientOptions options;
  options.keep_alive = false;
  options.reset_on_close = true;
  Client client(executor(), authority(), nullptr, options);
  for (int i = 0; i < 3; ++i) {
    const auto response = Run(client.Do({}));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "close");
  }
  UntilConnections(0);
}

TEST_F(ClientTest, IdleConnectionsAreDroppedInTime) {
  Serve(Echo);
  ClientOptions options;
  options.idle_timeout = milliseconds(20);
  Client client(executor(), authority(), nullptr, options);
  EXPECT_TRUE(Run(client.Do({})).ok());
  EXPECT_EQ(server->connections(), 1u);
  UntilConnections(0);
}

Task<void> DoInto(Client* client, ClientRequest request, StatusOr<ClientResponse>* out) {
  *out = co_await client->Do(std::move(request));
}

TEST_F(ClientTest, ParallelRequestsAndAClientThatGoesFirst) {
  Serve([](Exchange& exchange) -> Task<void> {
    (void)co_await SleepFor(milliseconds(20));
    (void)co_await exchange.Respond(200, {}, "ok");
  });
  auto client = std::make_unique<Client>(executor(), authority());
  std::vector<StatusOr<ClientResponse>> out(10, absl::UnknownError(""));
  TaskGroup group(executor());
  for (auto& one : out) group.Spawn("do", DoInto(client.get(), {}, &one));
  UntilConnections(10);
  client.reset();
  Run(group.Join());
  for (const auto& one : out) EXPECT_TRUE(one.ok()) << one.status();
  UntilConnections(0);
}

Task<void> WhoAmI(Exchange& exchange) {
  const Peer& peer = exchange.request().peer;
  std::string text = peer.has_certificate ? peer.common_name : "anonymous";
  if (!peer.certificate_error.empty()) text = peer.certificate_error;
  for (const std::string& group : peer.organizations) absl::StrAppend(&text, ",", group);
  (void)co_await exchange.Respond(200, {}, text);
}

TEST_F(ClientTest, TlsClientCertificatesBecomeThePeer) {
  ServeTls(WhoAmI);
  EXPECT_EQ(Run(Client(executor(), authority(), ClientTls()).Do({}))->body, "anonymous");
  const KeyPair admin = ClientPair(ca, "kubernetes-admin", {"system:masters", "dev"});
  EXPECT_EQ(Run(Client(executor(), authority(), ClientTls(admin)).Do({}))->body, "kubernetes-admin,system:masters,dev");
}

TEST_F(ClientTest, TlsClientCertificateOfAStrangerFailsTheHandshake) {
  ServeTls(WhoAmI);
  CertificateRequest request;
  request.common_name = "ca";
  request.is_ca = true;
  const KeyPair stranger = *SelfSigned(request);
  const auto response = Run(Client(executor(), authority(), ClientTls(ClientPair(stranger, "admin"))).Do({}));
  EXPECT_FALSE(response.ok());
  request = {};
  request.common_name = "server-only";
  request.server_auth = true;
  const KeyPair server_only = *Sign(ca, request);
  EXPECT_FALSE(Run(Client(executor(), authority(), ClientTls(server_only)).Do({})).ok());
}

TEST_F(ClientTest, TlsClientCertificateOfAStrangerIsReportedWhereAskedFor) {
  ServeTls(WhoAmI);
  Serve(WhoAmI, {}, "127.0.0.1:0", *TlsServerConfig::Make(server_pair, ca.cert_pem, Unverified::kReport));
  CertificateRequest request;
  request.common_name = "ca";
  request.is_ca = true;
  const KeyPair stranger = *SelfSigned(request);
  const auto response = Run(Client(executor(), authority(), ClientTls(ClientPair(stranger, "admin"))).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "x509: certificate signed by unknown authority");
  EXPECT_EQ(Run(Client(executor(), authority(), ClientTls(ClientPair(ca, "admin"))).Do({}))->body, "admin");
  EXPECT_EQ(Run(Client(executor(), authority(), ClientTls()).Do({}))->body, "anonymous");
}

TEST_F(ClientTest, TlsServerIsVerifiedByNameAndAddress) {
  ServeTls(Echo);
  EXPECT_TRUE(Run(Client(executor(), authority(), ClientTls({}, "server.test")).Do({})).ok());
  auto wrong = Run(Client(executor(), authority(), ClientTls({}, "other.test")).Do({})).status();
  EXPECT_TRUE(absl::IsUnauthenticated(wrong));
  EXPECT_EQ(wrong.message(),
            "tls: failed to verify certificate: x509: certificate is valid for server.test, not other.test");
  wrong = Run(Client(executor(), authority(), ClientTls({}, "10.0.0.9")).Do({})).status();
  EXPECT_EQ(wrong.message(),
            "tls: failed to verify certificate: x509: certificate is valid for 127.0.0.1, not 10.0.0.9");
  // "server" is the subject's common name only.
  EXPECT_FALSE(Run(Client(executor(), authority(), ClientTls({}, "server")).Do({})).ok());
}

TEST_F(ClientTest, TlsServerOfAnotherAuthorityIsRefusedUnlessTold) {
  ServeTls(Echo);
  CertificateRequest request;
  request.common_name = "other";
  request.is_ca = true;
  TlsClientConfig::Options options;
  options.ca_pem = SelfSigned(request)->cert_pem;
  const auto status = Run(Client(executor(), authority(), *TlsClientConfig::Make(options)).Do({})).status();
  EXPECT_EQ(status.message(), "tls: failed to verify certificate: x509: certificate signed by unknown authority");
  EXPECT_TRUE(absl::IsUnauthenticated(status));
  options.insecure_skip_verify = true;
  EXPECT_TRUE(Run(Client(executor(), authority(), *TlsClientConfig::Make(options)).Do({})).ok());
}

TEST_F(ClientTest, TlsExpiredCertificateIsRefused) {
  ServeTls(Echo);
  CertificateRequest request;
  request.ip_addresses = {"127.0.0.1"};
  request.server_auth = true;
  request.lifetime = seconds(-10);
  server_pair = *Sign(ca, request);
  ServeTls(Echo);
  const auto status = Run(Client(executor(), authority(), ClientTls()).Do({})).status();
  EXPECT_EQ(
      status.message().find(
          "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 20"),
      0u)
      << status;
}

TEST_F(ClientTest, PlainAndTlsMixedUpAreToldApart) {
  ServeTls(Echo);
  const auto plain = Run(Client(executor(), authority()).Do({}));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->status, 400);
  EXPECT_EQ(plain->body, "Client sent an HTTP request to an HTTPS server.\n");
  Serve(Echo);
  const auto tls = Run(Client(executor(), authority(), ClientTls()).Do({}));
  EXPECT_EQ(tls.status().message(), "tls: first record does not look like a TLS handshake");
}

TEST_F(ClientTest, CertificateFilesAreReadAgainWhenTheyChange) {
  ServeTls(WhoAmI);
  const std::string path = absl::StrCat(testing::TempDir(), "skiff-client-", getpid(), ".pem");
  const auto write = [&](std::string name) {
    const KeyPair pair = ClientPair(ca, std::move(name));
    ASSERT_TRUE(WriteFileAtomic(path, pair.cert_pem + pair.key_pem, 0600).ok());
  };
  write("first");
  TlsClientConfig::Options options;
  options.ca_pem = ca.cert_pem;
  options.cert_file = options.key_file = path;
  options.reload_interval = std::chrono::nanoseconds(0);
  const auto tls = TlsClientConfig::Make(options);
  ASSERT_TRUE(tls.ok()) << tls.status();
  Client client(executor(), authority(), *tls);
  EXPECT_EQ(Run(client.Do({}))->body, "first");
  EXPECT_EQ(Run(client.Do({}))->body, "first");
  EXPECT_EQ(server->connections(), 1u) << "kept while nothing changes";
  write("second");
  // A kept connection would speak for the old certificate, and go on doing so after that has expired.
  EXPECT_EQ(Run(client.Do({}))->body, "second");
  ASSERT_TRUE(WriteFileAtomic(path, "half a rotation", 0600).ok());
  client.CloseIdle();
  log::SetSink([](std::string_view) {});
  EXPECT_EQ(Run(client.Do({}))->body, "second");  // keeps what works
  log::SetSink(nullptr);
  unlink(path.c_str());
  EXPECT_FALSE(TlsClientConfig::Make(options).ok());
}

}  // namespace
}  // namespace skiff::http
