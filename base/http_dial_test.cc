#include "base/http_dial.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/blocking_testing.h"

namespace skiff::http {
namespace {

using namespace std::chrono_literals;

Task<void> DialInto(std::string host, StatusOr<int>* out) {
  Authority authority;
  authority.host = std::move(host);
  authority.port = "1";
  *out = co_await DialSocket(co_await asio::this_coro::executor, std::move(authority),
                             std::chrono::steady_clock::now() + 1h);
}

// Resolvers that are silent hold a thread a name, not a thread a request.
TEST(DialTest, LookupsOfOneNameAreJoined) {
  asio::io_context loop, resolver;
  const BlockingOn own(resolver.get_executor());
  StatusOr<int> out[4] = {1, 1, 1, 1};
  TaskGroup group(loop.get_executor());
  const auto leave = group.Spawn("a", DialInto("a.invalid", &out[0]));
  group.Spawn("b", DialInto("a.invalid", &out[1]));
  group.Spawn("c", DialInto("b.invalid", &out[2]));
  loop.poll();
  leave();
  loop.poll();
  EXPECT_TRUE(absl::IsCancelled(out[0].status()));
  group.Spawn("d", DialInto("a.invalid", &out[3]));
  loop.poll();
  EXPECT_EQ(group.size(), 3u);
  EXPECT_EQ(resolver.poll(), 2u);
  loop.restart();
  RunTask(loop, group.Join());
  for (const StatusOr<int>* one : {&out[1], &out[3]}) {
    EXPECT_TRUE(absl::StartsWith(one->status().message(), "dial tcp: lookup a.invalid: ")) << one->status();
  }
  EXPECT_TRUE(absl::StartsWith(out[2].status().message(), "dial tcp: lookup b.invalid: ")) << out[2].status();

  loop.restart();
  group.Spawn("again", DialInto("a.invalid", &out[0]));
  loop.poll();
  resolver.restart();
  EXPECT_EQ(resolver.poll(), 1u) << "an answer is not kept";
  RunTask(loop, group.Join());
}

}  // namespace
}  // namespace skiff::http
