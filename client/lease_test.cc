#include "client/lease.h"

#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/time.h"
#include "base/http_server.h"
#include "client/fake_api_server.h"
#include "client/testing.h"
#include "client/wire.h"
#include "k8s/io/api/coordination/v1/generated.pb.h"

namespace skiff::client {
namespace {

using ::k8s::io::api::coordination::v1::Lease;

Task<void> Answer(http::Exchange& exchange, Lease* stored, int* renewals, bool* silent) {
  const std::string method = exchange.request().method;
  if (method == "GET") {
    (co_await exchange.Respond(404, {}, "")).IgnoreError();
    co_return;
  }
  const auto body = co_await exchange.ReadBody(1 << 20);
  if (!body.ok() || !DecodeObject(api::kProtobufType, *body, stored).ok()) co_return;
  if (method == "PUT" && !std::exchange(*silent, true)) {
    (co_await SleepFor(std::chrono::hours(1))).IgnoreError();
    co_return;
  }
  if (method == "PUT") ++*renewals;
  stored->mutable_metadata()->set_resourceversion(absl::StrCat("1", *renewals));
  http::Headers headers{{"Content-Type", std::string(api::kProtobufType)}};
  (co_await exchange.Respond(200, headers, EncodeObject(*stored))).IgnoreError();
}

TEST(NodeLeaseTest, IsMadeRenewedAndMadeAgain) {
  asio::io_context loop;
  FakeApiServer server(loop.get_executor());
  TaskGroup group(loop.get_executor());
  std::string uid;
  // A quarter of the shortest duration: renewals every 250 ms.
  group.Spawn("lease",
              RunNodeLease(server.NewRest(),
                           {.node_name = "n1", .duration = std::chrono::seconds(1), .node_uid = [&] { return uid; }}));
  const std::string key = "kube-node-lease/n1";
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key) != nullptr; }));
  const auto first = server.Get<Lease>(key);
  EXPECT_EQ(first->spec().holderidentity(), "n1");
  EXPECT_EQ(first->spec().leasedurationseconds(), 1);
  EXPECT_EQ(first->metadata().ownerreferences_size(), 0);
  uid = "node-uid";
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key)->metadata().ownerreferences_size() == 1; }));
  EXPECT_EQ(server.Get<Lease>(key)->metadata().ownerreferences(0).uid(), "node-uid");
  // Someone else writes it: the next renewal conflicts, reads and goes on.
  Lease touched = *server.Get<Lease>(key);
  (*touched.mutable_metadata()->mutable_labels())["a"] = "b";
  server.Put(touched);
  const std::string version = server.Get<Lease>(key)->metadata().resourceversion();
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key)->metadata().resourceversion() != version; }));
  EXPECT_EQ(server.Get<Lease>(key)->metadata().labels().at("a"), "b");
  server.Remove(Lease(), key);
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key) != nullptr; }));
  group.Cancel();
  ASSERT_TRUE(RunUntil(loop, [&] { return group.size() == 0; }));
}

// Reliability row clock-jump: renewals go on in their rhythm, and say the time that the clock has now.
TEST(NodeLeaseTest, clock_jump) {
  asio::io_context loop;
  FakeApiServer server(loop.get_executor());
  FakeClock clock;
  TaskGroup group(loop.get_executor());
  group.Spawn("lease", RunNodeLease(server.NewRest(clock), {.node_name = "n1", .duration = std::chrono::seconds(40)}));
  const std::string key = "kube-node-lease/n1";
  auto renewals = [&] { return server.CountRequests("PUT /apis/coordination.k8s.io/v1/"); };
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key) != nullptr && clock.sleepers() > 0; }));
  for (auto jump : {std::chrono::hours(1), std::chrono::hours(-1), std::chrono::hours(-1)}) {
    clock.JumpWall(jump);
    for (int i = 0; i < 3; ++i) {
      const size_t before = renewals();
      const std::string began = api::FormatMicroTime(api::ToMicroTime(clock.Now()));
      clock.Advance(std::chrono::milliseconds(10500), loop);  // a quarter and its jitter
      ASSERT_TRUE(RunUntil(loop, [&] { return renewals() == before + 1 && clock.sleepers() > 0; }));
      const std::string renewed = api::FormatMicroTime(server.Get<Lease>(key)->spec().renewtime());
      EXPECT_GT(renewed, began);
      EXPECT_LE(renewed, api::FormatMicroTime(api::ToMicroTime(clock.Now())));
    }
  }
  group.Cancel();
  EXPECT_TRUE(RunUntil(loop, [&] { return group.size() == 0; }));
}

// As upstream's heartbeat client: no rate limit, and the shorter of the two times.
TEST(HeartbeatTest, WaitsForNobodyAndGivesUpInTime) {
  using std::chrono::seconds;
  Config config;
  config.server = "https://a";
  const Config usual = ForHeartbeats(config, seconds(10), seconds(40));
  EXPECT_EQ(usual.server, "https://a");
  EXPECT_EQ(usual.timeout, seconds(10));
  EXPECT_LT(usual.qps, 0);
  EXPECT_EQ(ForHeartbeats(config, seconds(300), seconds(40)).timeout, seconds(40));
}

// A connection on which nothing comes back, as behind a load balancer whose backend died, costs one renewal.
TEST(HeartbeatTest, ASilentServerIsAskedAgainOnAnotherConnection) {
  asio::io_context loop;
  int renewals = 0;
  bool silent = false;
  Lease stored;
  // The least that a lease needs: nothing is there, it is made, the first renewal is never answered.
  auto handle = [&](http::Exchange& exchange) -> Task<void> { return Answer(exchange, &stored, &renewals, &silent); };
  http::Server server(loop.get_executor(), handle);
  Config config;
  config.server = absl::StrCat("http://127.0.0.1:", *server.Listen("127.0.0.1:0"));
  auto rest =
      *Rest::Make(loop.get_executor(), ForHeartbeats(config, std::chrono::milliseconds(200), std::chrono::seconds(1)));
  TaskGroup group(loop.get_executor());
  group.Spawn("lease", RunNodeLease(rest, {.node_name = "n1", .duration = std::chrono::seconds(1)}));
  EXPECT_TRUE(RunUntil(loop, [&] { return renewals >= 2; }));
  EXPECT_TRUE(silent);
  group.Cancel();
  EXPECT_TRUE(RunUntil(loop, [&] { return group.size() == 0; }));
}

}  // namespace
}  // namespace skiff::client
