#include "base/foreign_work.h"

#include <optional>

#include <gtest/gtest.h>

#include "base/blocking_testing.h"

namespace skiff {
namespace {

// Blocking work is begun when the test polls `held`.
struct ForeignWorkTest : testing::Test {
  asio::io_context loop, held;
  BlockingOn on{held.get_executor()};
  TaskGroup group{loop.get_executor()};
  int runs = 0;

  Task<void> Keep(std::string key, std::optional<Status>* out, std::shared_ptr<void> keep) {
    std::function<Status()> work = [this] {
      ++runs;
      return NotFound("no such path");
    };
    *out = co_await ForeignWork::Of(loop.get_executor()).Run(std::move(key), std::move(work), std::move(keep));
  }
  std::function<void()> Start(std::string key, std::optional<Status>* out, std::shared_ptr<void> keep = nullptr) {
    auto cancel = group.Spawn("waiter", Keep(std::move(key), out, std::move(keep)));
    Poll(loop);
    return cancel;
  }
  static void Poll(asio::io_context& context) {
    context.restart();
    context.poll();
  }
};

TEST_F(ForeignWorkTest, WhoAsksForTheSameSharesThePiece) {
  std::optional<Status> first, second, third;
  Start("/a", &first);
  Start("/a", &second);
  EXPECT_FALSE(first || second);
  Poll(held), Poll(loop);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->message(), "no such path");
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(runs, 1);
  Start("/a", &third);
  Poll(held), Poll(loop);
  EXPECT_TRUE(third);
  EXPECT_EQ(runs, 2);
}

TEST_F(ForeignWorkTest, WhoeverWaitsMayLeave) {
  std::optional<Status> first, second;
  auto keep = std::make_shared<int>();
  const std::weak_ptr<int> kept = keep;
  const auto cancel = Start("/a", &first, std::move(keep));
  Start("/a", &second);
  cancel();
  Poll(loop);
  ASSERT_TRUE(first);
  EXPECT_TRUE(absl::IsCancelled(*first));
  EXPECT_FALSE(second);
  EXPECT_FALSE(kept.expired()) << "the work is not over";
  Poll(held), Poll(loop);
  EXPECT_TRUE(second);
  EXPECT_TRUE(kept.expired());
}

TEST_F(ForeignWorkTest, NoMoreThanAShareIsHeld) {
  asio::make_service<ForeignWork>(loop, ForeignWork::Options{.most = 2, .patience = std::chrono::milliseconds(1)});
  std::optional<Status> hanging[2], more, later;
  Start("/a", &hanging[0]);
  Start("/b", &hanging[1]);
  Start("/c", &more);
  for (int i = 0; i < 10'000 && !more; ++i) loop.run_for(std::chrono::milliseconds(1)), loop.restart();
  ASSERT_TRUE(more);
  EXPECT_EQ(more->message(), "2 other paths of the host do not answer, which is as many as may be waited for");
  Poll(held), Poll(loop);
  EXPECT_TRUE(hanging[0] && hanging[1]);
  Start("/c", &later);
  Poll(held), Poll(loop);
  ASSERT_TRUE(later);
  EXPECT_EQ(later->message(), "no such path");
}

TEST_F(ForeignWorkTest, WhatWaitsForAPlaceGetsTheNext) {
  asio::make_service<ForeignWork>(loop, ForeignWork::Options{.most = 1, .patience = std::chrono::hours(1)});
  std::optional<Status> first, second;
  Start("/a", &first);
  Start("/b", &second);
  Poll(held), Poll(loop);
  EXPECT_TRUE(first);
  EXPECT_FALSE(second);
  Poll(held), Poll(loop);
  EXPECT_TRUE(second);
}

}  // namespace
}  // namespace skiff
