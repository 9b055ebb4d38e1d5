#include "kubelet/runtime/start_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/async_testing.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;

TEST(StartQueue, TheOldestFirst) {
  asio::io_context loop;
  auto queue = std::make_shared<StartQueue>(loop.get_executor(), 1);
  std::vector<std::string> order;
  auto start = [&](int64_t age, std::string name) -> Task<void> {
    auto slot = co_await queue->Acquire({age, name});
    EXPECT_TRUE(slot.ok());
    order.push_back(name);
    (co_await SleepFor(milliseconds(5))).IgnoreError();
  };
  TaskGroup group(loop.get_executor());
  group.Spawn("first", start(5, "first"));
  group.Spawn("young", start(9, "young"));
  group.Spawn("old", start(1, "old"));
  loop.run();
  EXPECT_THAT(order, testing::ElementsAre("first", "old", "young"));
}

TEST(StartQueue, AFreeSlotIsTakenWhileAWaiterHasYetToRunWithItsOwn) {
  asio::io_context loop;
  auto queue = std::make_shared<StartQueue>(loop.get_executor(), 2);
  std::vector<std::string> order;
  auto waits = [&]() -> Task<void> {
    auto slot = co_await queue->Acquire({2, "waits"});
    order.push_back("waits");
    (co_await SleepFor(milliseconds(5))).IgnoreError();
    order.push_back("ends");
  };
  auto holds = [&](TaskGroup& group) -> Task<void> {
    auto one = co_await queue->Acquire({1, "one"});
    auto two = co_await queue->Acquire({1, "two"});
    group.Spawn("waits", waits());
    (co_await SleepFor(milliseconds(1))).IgnoreError();
    one->Release();
    two->Release();
    auto comes = co_await queue->Acquire({3, "comes"});
    order.push_back("comes");
  };
  TaskGroup group(loop.get_executor());
  group.Spawn("holds", holds(group));
  loop.run();
  EXPECT_THAT(order, testing::ElementsAre("comes", "waits", "ends"));
}

TEST(StartQueue, AStartThatHangsGivesItsSlotBack) {
  asio::io_context loop;
  auto queue = std::make_shared<StartQueue>(loop.get_executor(), 1, milliseconds(500));
  bool other = false;
  auto hang = [&]() -> Task<void> {
    auto slot = co_await queue->Acquire({1, "hangs"});
    (co_await SleepFor(milliseconds(2000))).IgnoreError();
    EXPECT_TRUE(other);
    slot->Release();  // given back already: there still is one
    auto again = co_await queue->Acquire({1, "hangs"});
    other = false;
    TaskGroup group(loop.get_executor());
    auto wait = [&]() -> Task<void> {
      auto mine = co_await queue->Acquire({2, "waits"});
      other = true;
    };
    group.Spawn("waits", wait());
    (co_await SleepFor(milliseconds(2))).IgnoreError();
    EXPECT_FALSE(other);
    again->Release();
    co_await group.Join();
    EXPECT_TRUE(other);
  };
  auto start = [&]() -> Task<void> {
    auto slot = co_await queue->Acquire({2, "starts"});
    other = true;
  };
  TaskGroup group(loop.get_executor());
  group.Spawn("hangs", hang());
  group.Spawn("starts", start());
  loop.run();
  EXPECT_TRUE(other);
}

}  // namespace
}  // namespace skiff::kubelet
