// Hostile and broken clients: what docs call the body-limits row, and its kin.
#include <malloc.h>

#include <gtest/gtest.h>

#include "base/http_testing.h"
#include "base/log.h"

namespace skiff::http {
namespace {

using std::chrono::milliseconds;

TEST_F(HttpTest, BodyLimits_DeclaredTooLongIs413WithoutReadingIt) {
  Serve(Echo);
  const std::string got = Raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
  EXPECT_EQ(got.find("HTTP/1.1 413 Request Entity Too Large\r\n"), 0u) << got;
  EXPECT_NE(got.find("Connection: close"), std::string::npos) << got;
}

Task<void> EchoSmall(Exchange& exchange) {
  const auto body = co_await exchange.ReadBody(10);
  EXPECT_EQ(absl::IsResourceExhausted(body.status()), !body.ok());
  (void)co_await exchange.Respond(body.ok() ? 200 : 413, {}, body.ok() ? *body : "too large");
}

TEST_F(HttpTest, BodyLimits_ChunkedTooLongIs413AtBoundedMemory) {
  Serve(EchoSmall);
  std::string request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_NE(Raw(request + "a\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n").find("0123456789"), std::string::npos);
  for (int i = 0; i < 1000; ++i) request += "b\r\n01234567890\r\n";
  const std::string got = Raw(request + "0\r\n\r\n");
  EXPECT_EQ(got.find("HTTP/1.1 413 "), 0u) << got;
}

TEST_F(HttpTest, BodyLimits_HugeChunkSizeAndExtensionsAreRefused) {
  Serve(Echo);
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(Raw(head + "fffffffffffffffff\r\nx").find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(Raw(head + "zz\r\nx").find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(Raw(head + "1;" + std::string(100000, 'e')).find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(Raw(head + "0\r\nT: " + std::string(100000, 'e')).find("HTTP/1.1 400 "), 0u);
}

TEST_F(HttpTest, BodyLimits_SlowBodyEndsInAnErrorAndAClosedConnection) {
  ServerOptions options;
  options.body_timeout = milliseconds(50);
  Status seen;
  Serve(
      [&seen](Exchange& exchange) -> Task<void> {
        seen = (co_await exchange.ReadBody()).status();
        (void)co_await exchange.Respond(408, {}, "");
      },
      options);
  const std::string got = Raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_EQ(got.find("HTTP/1.1 408 "), 0u) << got;
  EXPECT_TRUE(absl::IsDeadlineExceeded(seen)) << seen;
  UntilConnections(0);
}

TEST_F(HttpTest, BodyLimits_DribbledBodyDoesNotExtendItsTime) {
  ServerOptions options;
  options.body_timeout = milliseconds(100);
  Serve(
      [](Exchange& exchange) -> Task<void> {
        const auto body = co_await exchange.ReadBody();
        (void)co_await exchange.Respond(body.ok() ? 200 : 408, {}, "");
      },
      options);
  std::vector<std::string> parts = {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"};
  for (int i = 0; i < 30; ++i) parts.push_back("x");
  EXPECT_EQ(RawParts(parts, milliseconds(20)).find("HTTP/1.1 408 "), 0u);
}

TEST_F(HttpTest, BodyLimits_CutOffBodyIsAnError) {
  Status seen;
  Serve([&seen](Exchange& exchange) -> Task<void> {
    seen = (co_await exchange.ReadBody()).status();
    (void)co_await exchange.Respond(400, {}, "");
  });
  Raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc", true);
  EXPECT_EQ(seen, Unavailable("unexpected EOF"));
}

TEST_F(HttpTest, BodyLimits_SlowHeadersCloseTheConnection) {
  ServerOptions options;
  options.header_timeout = milliseconds(50);
  Serve(Echo, options);
  EXPECT_EQ(Raw(""), "");                               // nothing at all
  EXPECT_EQ(Raw("GET / HTTP/1.1\r\nHost: x\r\n"), "");  // half a head
  const std::string dribble = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
  std::vector<std::string> parts = {dribble};
  for (int i = 0; i < 20; ++i) parts.push_back("x");
  EXPECT_EQ(RawParts(parts, milliseconds(10)), "");
  UntilConnections(0);
}

TEST_F(HttpTest, BodyLimits_SlowTlsHandshakeClosesTheConnection) {
  ServerOptions options;
  options.header_timeout = milliseconds(50);
  ServeTls(Echo, options);
  EXPECT_EQ(Raw(""), "");
  EXPECT_EQ(Raw("\x16\x03\x01"), "");
  UntilConnections(0);
}

TEST_F(HttpTest, BodyLimits_IdleConnectionsAreClosed) {
  ServerOptions options;
  options.idle_timeout = milliseconds(50);
  Serve(Echo, options);
  const std::string got = Raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(got.find("200 OK"), std::string::npos);
  UntilConnections(0);
}

TEST_F(HttpTest, BodyLimits_LongHeadersAre431) {
  Serve(Echo);
  const std::string field = "X-Long: " + std::string(1000, 'v') + "\r\n";
  std::string request = "GET / HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 60; ++i) request += field;
  EXPECT_NE(Raw(request + "Connection: close\r\n\r\n").find("200 OK"), std::string::npos);
  for (int i = 0; i < 60; ++i) request += field;
  EXPECT_EQ(Raw(request + "\r\n").find("HTTP/1.1 431 Request Header Fields Too Large\r\n"), 0u);
  EXPECT_EQ(Raw("GET /" + std::string(200000, 'p') + " HTTP/1.1\r\nHost: x\r\n\r\n").find("HTTP/1.1 431 "), 0u);
}

TEST_F(HttpTest, MalformedRequestsAre400) {
  Serve(Echo);
  const char* const bad[] = {
      "nonsense\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",  // no Host
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET / HTTP/3.7\r\nHost: x\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
      "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
      "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",  // smuggling
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  };
  for (const char* request : bad) {
    const std::string got = Raw(request);
    EXPECT_EQ(got.find("HTTP/1.1 400 Bad Request\r\n"), 0u) << request << "\n" << got;
    EXPECT_NE(got.find("Connection: close"), std::string::npos);
  }
  EXPECT_EQ(Raw("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").find("HTTP/1.1 501 "), 0u);
  EXPECT_EQ(Raw("GET / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\n\r\n").find("HTTP/1.1 417 "), 0u);
  const auto alive = Run(Client(executor(), authority()).Do({}));
  EXPECT_TRUE(alive.ok()) << alive.status();
}

TEST_F(HttpTest, MoreThanTheMaximumOfConnectionsWait) {
  ServerOptions options;
  options.max_connections = 2;
  Serve(Echo, options);
  Client a(executor(), authority()), b(executor(), authority()), c(executor(), authority());
  ASSERT_TRUE(Run(a.Do({})).ok());
  ASSERT_TRUE(Run(b.Do({})).ok());
  const auto waits = Run(c.Do({.timeout = milliseconds(50)}));
  EXPECT_TRUE(absl::IsDeadlineExceeded(waits.status())) << waits.status();
  EXPECT_EQ(server->connections(), 2u);
  a.CloseIdle();
  const auto served = Run(c.Do({.timeout = std::chrono::seconds(10)}));
  EXPECT_TRUE(served.ok()) << served.status();
}

// A peer that does not read costs a waiting handler, and its going away ends that.
TEST_F(HttpTest, HandlerBlockedOnWriteEndsWhenThePeerGoes) {
  Status seen;
  bool done = false;
  Serve([&](Exchange& exchange) -> Task<void> {
    seen = co_await exchange.Begin(200, {});
    const std::string block(1 << 20, 'x');
    while (seen.ok()) seen = co_await exchange.Write(block);
    done = true;
  });
  Client client(executor(), authority());
  {
    auto body = Run(client.Open({}));
    ASSERT_TRUE(body.ok());
    (void)Run(SleepFor(milliseconds(150)));
    EXPECT_FALSE(done);
  }
  UntilConnections(0);
  EXPECT_TRUE(done);
  EXPECT_FALSE(seen.ok());
}

size_t HeapInUse() { return mallinfo2().uordblks; }

TEST_F(HttpTest, IdleConnectionsAreSmall) {
  if (HeapInUse() == 0) GTEST_SKIP() << "this allocator does not tell (sanitizers)";
  constexpr size_t kCount = 100;
  for (const bool tls : {false, true}) {
    tls ? ServeTls(Echo) : Serve(Echo);
    std::vector<std::unique_ptr<Client>> clients;
    const auto config = tls ? ClientTls() : nullptr;
    const auto open_one = [&] {
      clients.push_back(std::make_unique<Client>(executor(), authority(), config));
      ASSERT_TRUE(Run(clients.back()->Do({.method = "POST", .body = std::string(100000, 'x')})).ok());
    };
    for (int i = 0; i < 10; ++i) open_one();
    const size_t before = HeapInUse();
    for (size_t i = 0; i < kCount; ++i) open_one();
    const size_t each = (HeapInUse() - before) / kCount;
    RecordProperty(tls ? "tls_bytes" : "plain_bytes", static_cast<int>(each));
    printf("%s: %zu bytes for a client's and a server's end\n", tls ? "TLS" : "plain", each);
    EXPECT_LT(each, tls ? 48 * 1024u : 8 * 1024u);  // OpenSSL itself has some 19 KiB at each end
  }
}

}  // namespace
}  // namespace skiff::http
