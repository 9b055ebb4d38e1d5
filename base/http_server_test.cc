// Server and client together over loopback, and the server against raw bytes.
#include "base/http_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/http_client.h"
#include "base/http_testing.h"
#include "base/log.h"

namespace skiff::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(HttpTest, KeepAliveServesManyRequestsOnOneConnection) {
  Serve(Echo);
  Client client(executor(), authority());
  for (int i = 0; i < 3; ++i) {
    const auto response = Run(client.Do({.method = "POST", .target = "/p%41th?x=a%20b", .body = "hello"}));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, "POST /pAth x=a b hello");
    EXPECT_TRUE(response->headers.Has("Date"));
    EXPECT_EQ(response->headers.Get("Content-Length"), "22");
  }
  EXPECT_EQ(server->connections(), 1u);
}

TEST_F(HttpTest, HeadHasALengthAndNoBody) {
  Serve(Echo);
  Client client(executor(), authority());
  for (int i = 0; i < 2; ++i) {
    const auto response = Run(client.Do({.method = "HEAD", .target = "/"}));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "");
    EXPECT_EQ(response->headers.Get("Content-Length"), "8");
  }
  EXPECT_EQ(server->connections(), 1u);
}

Task<void> Stream3(Exchange& exchange) {
  EXPECT_TRUE((co_await exchange.Begin(200, {{"Content-Type", "text/plain"}})).ok());
  for (const char* part : {"one ", "two ", "three"}) EXPECT_TRUE((co_await exchange.Write(part)).ok());
  EXPECT_TRUE((co_await exchange.Write("")).ok());
  EXPECT_TRUE((co_await exchange.End()).ok());
}

TEST_F(HttpTest, ChunkedAnswerIsReadWhole) {
  Serve(Stream3);
  Client client(executor(), authority());
  for (int i = 0; i < 2; ++i) {
    const auto response = Run(client.Do({}));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "one two three");
    EXPECT_EQ(response->headers.Get("Transfer-Encoding"), "chunked");
  }
  EXPECT_EQ(server->connections(), 1u);
}

// A watch: each event arrives when it is sent, not when the answer ends.
struct Watch {
  explicit Watch(asio::any_io_executor executor) : next(executor) {}
  Wakeup next;
  Status handler_end;
  bool ended = false;
};

Task<void> ServeWatch(std::shared_ptr<Watch> watch, Exchange& exchange) {
  EXPECT_TRUE((co_await exchange.Begin(200, {})).ok());
  while (true) {
    watch->handler_end = co_await watch->next.Wait();
    if (!watch->handler_end.ok()) break;
    EXPECT_TRUE((co_await exchange.Write("event\n")).ok());
  }
  watch->ended = true;
}

Task<void> UseWatch(Client* client, std::shared_ptr<Watch> watch) {
  auto body = co_await client->Open({.target = "/watch"});
  EXPECT_TRUE(body.ok()) << body.status();
  char buffer[100];
  for (int i = 0; i < 3; ++i) {
    watch->next.Notify();
    const auto n = co_await (*body)->Read(buffer);
    EXPECT_TRUE(n.ok()) << n.status();
    EXPECT_EQ(std::string_view(buffer, *n), "event\n");
  }
  body->reset();  // drops the connection
  while (!watch->ended) (void)co_await SleepFor(milliseconds(1));
}

TEST_F(HttpTest, WatchDeliversAtOnceAndPeerLossCancelsTheIdleHandler) {
  auto watch = std::make_shared<Watch>(executor());
  Serve([watch](Exchange& exchange) { return ServeWatch(watch, exchange); });
  Client client(executor(), authority());
  Run(UseWatch(&client, watch));
  EXPECT_TRUE(absl::IsCancelled(watch->handler_end)) << watch->handler_end;
  UntilConnections(0);
}

TEST_F(HttpTest, PeerLossCancelsAHandlerThatHasNotAnsweredTls) {
  auto watch = std::make_shared<Watch>(executor());
  ServeTls([watch](Exchange& exchange) { return ServeWatch(watch, exchange); });
  Client client(executor(), authority(), ClientTls());
  Run(UseWatch(&client, watch));
  EXPECT_TRUE(absl::IsCancelled(watch->handler_end)) << watch->handler_end;
  UntilConnections(0);
}

Task<void> CancelledRead(Client* client, Status* out) {
  auto body = co_await client->Open({.target = "/watch"});
  char buffer[100];
  *out = (co_await (*body)->Read(buffer)).status();
}

TEST_F(HttpTest, CancelledClientEndsItsReadAndTheServersHandler) {
  auto watch = std::make_shared<Watch>(executor());
  Serve([watch](Exchange& exchange) { return ServeWatch(watch, exchange); });
  Client client(executor(), authority());
  Status out;
  TaskGroup group(executor());
  group.Spawn("read", CancelledRead(&client, &out));
  UntilConnections(1);
  (void)Run(SleepFor(milliseconds(20)));
  group.Cancel();
  Run(group.Join());
  EXPECT_TRUE(absl::IsCancelled(out)) << out;
  UntilConnections(0);
}

Task<void> EchoUpgrade(Exchange& exchange) {
  auto stream = co_await exchange.Upgrade(101, {{"Upgrade", "echo"}});
  EXPECT_TRUE(stream.ok()) << stream.status();
  char buffer[1000];
  while (true) {
    const auto n = co_await (*stream)->Read(buffer);
    if (!n.ok() || *n == 0) break;
    EXPECT_TRUE((co_await (*stream)->Write({buffer, *n})).ok());
  }
  (*stream)->CloseWrite();
}

Task<void> UseUpgrade(Client* client) {
  auto result =
      co_await client->Upgrade({.method = "POST", .headers = {{"Connection", "Upgrade"}, {"Upgrade", "echo"}}});
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->status, 101);
  EXPECT_EQ(result->headers.Get("Upgrade"), "echo");
  const std::string big(100000, 'x');
  auto send = [](Stream* stream, const std::string* data) -> Task<void> {
    EXPECT_TRUE((co_await stream->Write(*data)).ok());
    stream->CloseWrite();
  };
  TaskGroup group(co_await asio::this_coro::executor);
  group.Spawn("send", send(result->stream.get(), &big));
  std::string got;
  char buffer[5000];
  while (true) {
    const auto n = co_await result->stream->Read(buffer);
    EXPECT_TRUE(n.ok()) << n.status();
    if (!n.ok() || *n == 0) break;
    got.append(buffer, *n);
  }
  co_await group.Join();
  EXPECT_EQ(got, big);
}

TEST_F(HttpTest, UpgradeGivesAStreamBothWays) {
  Serve(EchoUpgrade);
  Client client(executor(), authority());
  Run(UseUpgrade(&client));
}

TEST_F(HttpTest, UpgradeOverTls) {
  ServeTls(EchoUpgrade);
  Client client(executor(), authority(), ClientTls());
  Run(UseUpgrade(&client));
}

TEST_F(HttpTest, UpgradeHandsOverBytesThatCameWithTheRequest) {
  Serve(EchoUpgrade);
  const std::string got =
      Raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly bytes", true);
  EXPECT_NE(got.find("HTTP/1.1 101 Switching Protocols\r\n"), std::string::npos) << got;
  EXPECT_NE(got.find("\r\nConnection: Upgrade\r\n"), std::string::npos) << got;
  EXPECT_EQ(got.substr(got.find("\r\n\r\n") + 4), "early bytes");
}

TEST_F(HttpTest, RefusedUpgradeIsAnOrdinaryAnswer) {
  Serve(Echo);
  Client client(executor(), authority());
  const auto result = Run(client.Upgrade({.headers = {{"Connection", "Upgrade"}, {"Upgrade", "echo"}}}));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->status, 200);
  EXPECT_EQ(result->body, "GET /  ");
  EXPECT_EQ(result->stream, nullptr);
}

TEST_F(HttpTest, PipelinedRequestsAreAllAnsweredInOrder) {
  Serve(Echo);
  const std::string got = Raw(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
      "POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n"
      "GET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const size_t one = got.find("GET /1"), two = got.find("POST /2  abc"), three = got.find("POST /3  abcde"),
               four = got.find("GET /4");
  EXPECT_LT(one, two) << got;
  EXPECT_LT(two, three) << got;
  EXPECT_LT(three, four) << got;
  EXPECT_NE(four, std::string::npos) << got;
}

Task<void> Slow(Exchange& exchange) {
  (void)co_await SleepFor(milliseconds(250));  // long enough for the peer to be watched
  (void)co_await exchange.Respond(200, {}, exchange.request().method + " " + exchange.request().path);
}

TEST_F(HttpTest, PipelinedBytesThatArriveDuringASlowHandlerAreKept) {
  Serve(Slow);
  const std::string got =
      RawParts({"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\n", "Connection: close\r\n\r\n"},
               milliseconds(120));
  EXPECT_NE(got.find("GET /1"), std::string::npos) << got;
  EXPECT_NE(got.find("GET /2"), std::string::npos) << got;
}

TEST_F(HttpTest, ExpectContinueIsAnsweredWhenTheBodyIsWanted) {
  Serve(Echo);
  const std::string got = RawParts(
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n", "hi"},
      milliseconds(200));
  EXPECT_EQ(got.find("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), 0u) << got;
  EXPECT_NE(got.find("POST /  hi"), std::string::npos) << got;
}

Task<void> RefuseAtOnce(Exchange& exchange) { (void)co_await exchange.Respond(403, {}, "no"); }

TEST_F(HttpTest, ExpectContinueRefusedClosesWithoutTheBody) {
  Serve(RefuseAtOnce);
  const std::string got = Raw("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 200\r\n\r\n");
  EXPECT_EQ(got.find("HTTP/1.1 403 Forbidden\r\n"), 0u) << got;
  EXPECT_NE(got.find("Connection: close"), std::string::npos) << got;
  EXPECT_EQ(got.find("100 Continue"), std::string::npos) << got;
}

TEST_F(HttpTest, UnreadSmallBodyIsSkippedAndTheConnectionKept) {
  Serve(RefuseAtOnce);
  const std::string got =
      Raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"
          "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const size_t first = got.find("403");
  EXPECT_NE(got.find("403", first + 3), std::string::npos) << got;
}

TEST_F(HttpTest, Http10ClosesUnlessAskedAndIsNeverChunked) {
  Serve(Echo);
  std::string got = Raw("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_EQ(got.find("HTTP/1.0 200 OK\r\n"), 0u) << got;
  EXPECT_NE(got.find("Connection: close"), std::string::npos) << got;
  got = Raw("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
  EXPECT_NE(got.find("Connection: keep-alive"), std::string::npos) << got;
  EXPECT_NE(got.find("GET /b"), std::string::npos) << got;
  Serve(Stream3);
  got = Raw("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(got.find("chunked"), std::string::npos) << got;
  EXPECT_EQ(got.substr(got.find("\r\n\r\n") + 4), "one two three");
}

Task<void> Silent(Exchange&) { co_return; }
Task<void> Throwing(Exchange&) {
  throw std::runtime_error("a bug");
  co_return;
}
Task<void> Unfinished(Exchange& exchange) {
  (void)co_await exchange.Begin(200, {});
  (void)co_await exchange.Write("half");
}

TEST_F(HttpTest, FaultyHandlersGive500OrATruncatedAnswer) {
  log::SetSink([](std::string_view) {});
  Serve(Silent);
  EXPECT_EQ(Run(Client(executor(), authority()).Do({}))->status, 500);
  Serve(Throwing);
  EXPECT_EQ(Run(Client(executor(), authority()).Do({}))->status, 500);
  Serve(Unfinished);
  const auto half = Run(Client(executor(), authority()).Do({}));
  EXPECT_EQ(half.status(), Unavailable("unexpected EOF"));
  log::SetSink(nullptr);
}

Task<void> Misuse(Exchange& exchange) {
  EXPECT_FALSE((co_await exchange.Write("x")).ok());
  EXPECT_FALSE((co_await exchange.End()).ok());
  EXPECT_TRUE((co_await exchange.Respond(204, {{"X-Split", "a\r\nInjected: 1"}}, "ignored")).ok());
  EXPECT_FALSE((co_await exchange.Respond(200, {}, "")).ok());
  EXPECT_FALSE((co_await exchange.Begin(200, {})).ok());
  EXPECT_FALSE((co_await exchange.Upgrade(101, {})).ok());
}

TEST_F(HttpTest, AnswersOnceAndCannotBeSplit) {
  Serve(Misuse);
  const auto response = Run(Client(executor(), authority()).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 204);
  EXPECT_EQ(response->body, "");
  EXPECT_FALSE(response->headers.Has("Injected"));
  EXPECT_FALSE(response->headers.Has("Content-Length"));
  EXPECT_EQ(response->headers.Get("X-Split"), "a  Injected: 1");
}

Task<void> OfLength(Exchange& exchange) {
  EXPECT_TRUE((co_await exchange.Begin(200, {{"Content-Length", "6"}})).ok());
  EXPECT_TRUE((co_await exchange.Write("abc")).ok());
  EXPECT_FALSE((co_await exchange.Write("defg")).ok());
  EXPECT_TRUE((co_await exchange.Write("def")).ok());
  EXPECT_TRUE((co_await exchange.End()).ok());
}

TEST_F(HttpTest, StreamOfADeclaredLengthIsNotChunked) {
  Serve(OfLength);
  const auto response = Run(Client(executor(), authority()).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "abcdef");
  EXPECT_FALSE(response->headers.Has("Transfer-Encoding"));
}

Task<void> SendBig(Exchange& exchange) { (void)co_await exchange.Respond(200, {}, std::string(8 * 1024 * 1024, 'b')); }

TEST_F(HttpTest, LargeBodiesBothWays) {
  Serve(SendBig);
  auto response = Run(Client(executor(), authority()).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, std::string(8 * 1024 * 1024, 'b'));
  ServeTls(SendBig);
  response = Run(Client(executor(), authority(), ClientTls()).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, std::string(8 * 1024 * 1024, 'b'));
  ServeTls(Echo);
  const std::string body(2 * 1024 * 1024, 'u');
  response = Run(Client(executor(), authority(), ClientTls()).Do({.method = "PUT", .body = body}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "PUT /  " + body);
}

TEST_F(HttpTest, IPv6AndUnixSockets) {
  Serve(Echo, {}, "[::1]:0");
  auto response = Run(Client(executor(), absl::StrCat("[::1]:", port)).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(last_peer.substr(0, 6), "[::1]:");
  const std::string path = absl::StrCat(testing::TempDir(), "skiff-http-", getpid(), ".sock");
  Serve(Echo, {}, "unix:" + path);
  EXPECT_EQ(port, 0);
  response = Run(Client(executor(), "unix:" + path).Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  Server second(executor(), Echo);
  const auto taken = second.Listen("unix:" + path);
  EXPECT_EQ(taken.status().message(), absl::StrCat("listen unix ", path, ": bind: address already in use"));
  server.reset();
  EXPECT_NE(access(path.c_str(), F_OK), 0);  // removed
  const auto gone = Run(Client(executor(), "unix:" + path).Do({}));
  EXPECT_EQ(gone.status().message(), absl::StrCat("dial unix ", path, ": connect: no such file or directory"));
  EXPECT_TRUE(absl::IsUnavailable(gone.status()));
}

TEST_F(HttpTest, ListenErrorsAreGos) {
  Serve(Echo);
  Server second(executor(), Echo);
  const auto taken = second.Listen(authority());
  EXPECT_EQ(taken.status().message(), absl::StrCat("listen tcp ", authority(), ": bind: address already in use"));
  EXPECT_TRUE(absl::IsFailedPrecondition(taken.status()));
  EXPECT_EQ(ErrnoOf(taken.status()), EADDRINUSE);
  EXPECT_EQ(second.Listen("127.0.0.1").status().message(), "listen tcp: address 127.0.0.1: missing port in address");
  EXPECT_EQ(second.Listen("127.0.0.1:70000").status().message(), "listen tcp: address 70000: invalid port");
  EXPECT_FALSE(second.Listen("nonsense:1").ok());
}

TEST_F(HttpTest, ShutdownWaitsForRunningExchangesAndClosesIdleOnes) {
  Serve(Slow);
  Client client(executor(), authority()), idle(executor(), authority());
  ASSERT_TRUE(Run(idle.Do({})).ok());
  auto request = [](Client* client, StatusOr<ClientResponse>* out) -> Task<void> { *out = co_await client->Do({}); };
  StatusOr<ClientResponse> out = absl::UnknownError("");
  TaskGroup group(executor());
  group.Spawn("request", request(&client, &out));
  UntilConnections(2);
  (void)Run(SleepFor(milliseconds(20)));
  Run(server->Shutdown(seconds(10)));
  EXPECT_EQ(server->connections(), 0u);
  Run(group.Join());
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->headers.Get("Connection"), "close");
}

TEST_F(HttpTest, ShutdownCancelsWhatOutlastsTheGrace) {
  auto watch = std::make_shared<Watch>(executor());
  Serve([watch](Exchange& exchange) { return ServeWatch(watch, exchange); });
  Client client(executor(), authority());
  const auto body = Run(client.Open({}));
  ASSERT_TRUE(body.ok());
  Run(server->Shutdown(milliseconds(10)));
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_TRUE(absl::IsCancelled(watch->handler_end));
}

TEST_F(HttpTest, ServerDestroyedUnderLoadLeavesNothing) {
  auto watch = std::make_shared<Watch>(executor());
  Serve([watch](Exchange& exchange) { return ServeWatch(watch, exchange); });
  Client client(executor(), authority());
  auto body = Run(client.Open({}));
  ASSERT_TRUE(body.ok());
  server.reset();
  char buffer[10];
  const auto end = Run((*body)->Read(buffer));
  EXPECT_FALSE(end.ok());
  loop.restart();
  loop.poll();
  EXPECT_TRUE(watch->ended);
}

}  // namespace
}  // namespace skiff::http
