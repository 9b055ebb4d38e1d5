// Reviews are caused by whoever reaches the kubelet's port: however many there are, the rest of the kubelet is heard.
#include "kubelet/server/reviewer.h"

#include <gtest/gtest.h>

#include "client/fake_api_server.h"
#include "client/testing.h"

namespace skiff::kubelet {
namespace {

using client::RunUntil;
using std::chrono::seconds;

TEST(Reviewer, ReviewsBeyondTheirLimitAreRefusedAtOnce) {
  asio::io_context loop;
  FakeClock clock;
  client::FakeApiServer server{loop.get_executor()};
  client::Config config = server.config();
  config.qps = 10;
  config.burst = 1;
  auto rest = *client::Rest::Make(loop.get_executor(), config, clock);
  auto reviewer = NewReviewer(rest);
  server.FailNext(1 << 30, 404);
  constexpr size_t kTokens = 1000, kWithin = 301;  // one at once, ten a second for thirty seconds
  size_t refused = 0, sent = 0, given_up = 0;
  auto review = [&](size_t i) -> Task<void> {
    const Status s = (co_await reviewer->ReviewToken(absl::StrCat("token-", i))).status();
    ++(absl::IsDeadlineExceeded(s) ? refused : absl::IsCancelled(s) ? given_up : sent);
  };
  TaskGroup group(loop.get_executor());
  for (size_t i = 0; i < kTokens; ++i) group.Spawn("review", review(i));
  ASSERT_TRUE(RunUntil(loop, [&] { return refused + sent >= kTokens - kWithin + 1; }));
  EXPECT_EQ(refused, kTokens - kWithin);
  EXPECT_EQ(sent, 1u);
  group.Cancel();
  ASSERT_TRUE(RunUntil(loop, [&] { return group.size() == 0; }));
  EXPECT_EQ(given_up, kWithin - 1);
  // Nobody waits for those that have hung up.
  auto access = [&]() -> Task<void> { (void)co_await reviewer->ReviewAccess({}); };
  group.Spawn("access", access());
  ASSERT_TRUE(RunUntil(loop, [&] { return clock.sleepers() == 2; }));
  const size_t before = server.requests().size();
  clock.Advance(std::chrono::milliseconds(100), loop);
  EXPECT_TRUE(RunUntil(loop, [&] { return server.requests().size() > before; }));
  RunUntil(loop, [&] { return group.size() == 0; });
}

}  // namespace
}  // namespace skiff::kubelet
