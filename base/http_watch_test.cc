#include "base/http_watch.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/http_client.h"
#include "base/http_server.h"

namespace skiff::http {
namespace {

using namespace std::chrono_literals;

// Relays the client to a peer that never reads, and notes that the relay has ended.
struct Deaf {
  explicit Deaf(asio::any_io_executor executor) : pair(StreamPair(executor)), ended(executor) {}
  std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> pair;
  Wakeup ended;

  Task<void> Serve(Exchange& exchange) {
    auto client = co_await exchange.Upgrade(101, {{"Upgrade", "deaf"}});
    if (client.ok()) co_await Relay(**client, *pair.first);
    ended.Notify();
  }
};

Task<void> Flood(Client* client, Deaf* deaf) {
  auto up = co_await client->Upgrade({.method = "POST", .headers = {{"Connection", "Upgrade"}, {"Upgrade", "deaf"}}});
  EXPECT_TRUE(up.ok() && up->stream);
  EXPECT_TRUE((co_await up->stream->Write(std::string(100 * 1024, 'x'))).ok());
  EXPECT_TRUE((co_await deaf->pair.second->Write("hello")).ok());
  char one;
  EXPECT_EQ(*co_await up->stream->Read({&one, 1}), 1u);
  // A socket closed with unread bytes resets its connection, as a killed client's does.
  up->stream->Close();
  EXPECT_TRUE((co_await deaf->ended.WaitFor(60s)).ok()) << "the relay is still there";
}

TEST(WatchTest, AClientThatDiesWhileItsFloodIsNotReadEndsTheRelay) {
  asio::io_context loop;
  Deaf deaf(loop.get_executor());
  Server server(loop.get_executor(), [&](Exchange& exchange) { return deaf.Serve(exchange); });
  Client client(loop.get_executor(), absl::StrCat("127.0.0.1:", *server.Listen("127.0.0.1:0")));
  RunTask(loop, Flood(&client, &deaf));
}

Task<void> EndWithBytesLeft(WatchOptions options) {
  const auto executor = co_await asio::this_coro::executor;
  auto [client, client_far] = StreamPair(executor);
  auto [deaf, deaf_far] = StreamPair(executor);
  TaskGroup group(executor);
  const auto relay = [](Stream* a, Stream* b, WatchOptions options) -> Task<void> { co_await Relay(*a, *b, options); };
  group.Spawn("relay", relay(client_far.get(), deaf_far.get(), options));
  EXPECT_TRUE((co_await client->Write(std::string(100 * 1024, 'x'))).ok());
  if (options.idle_timeout.count() == 0) client->CloseWrite();
  co_await group.Join();
}

TEST(WatchTest, AClientThatEndedWaitsForItsBytesOnlySoLong) {
  asio::io_context loop;
  RunTask(loop, EndWithBytesLeft({.patience = 1ms}));
}

TEST(WatchTest, NothingMovingForTheIdleTimeoutEndsBoth) {
  asio::io_context loop;
  RunTask(loop, EndWithBytesLeft({.idle_timeout = 1ms}));
}

Task<std::string> ReadAll(std::string data) {
  const auto executor = co_await asio::this_coro::executor;
  auto [client, client_far] = StreamPair(executor);
  auto watched = WatchStream(executor, std::shared_ptr<Stream>(std::move(client_far)), {.held = 1000}, nullptr);
  TaskGroup group(executor);
  const auto send = [](Stream* to, std::string data) -> Task<void> {
    EXPECT_TRUE((co_await to->Write(data)).ok());
    to->CloseWrite();
  };
  group.Spawn("send", send(client.get(), std::move(data)));
  std::string got;
  char buffer[777];
  for (;;) {
    const auto n = co_await watched->Read(buffer);
    if (!n.ok() || *n == 0) break;
    got.append(buffer, *n);
  }
  co_await group.Join();
  co_return got;
}

TEST(WatchTest, BytesComeWholeAndInOrder) {
  asio::io_context loop;
  std::string data;
  for (int i = 0; i < 300000; ++i) data += static_cast<char>(i * 7);
  EXPECT_EQ(RunTask(loop, ReadAll(data)), data);
}

}  // namespace
}  // namespace skiff::http
