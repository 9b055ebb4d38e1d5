#include "base/blocking_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace skiff {
namespace {

using namespace std::chrono_literals;

// What work waits for; shared with it, so that it may outlive the test.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool Wait(std::chrono::milliseconds limit = 1min) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

bool Until(const std::function<bool()>& condition) {
  for (int i = 0; i < 12000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

// Holds a thread until the gate opens.
void PostStuck(BlockingPool& pool, const std::shared_ptr<Gate>& gate, std::atomic<int>* begun) {
  pool.Post([gate, begun] {
    ++*begun;
    gate->Wait();
  });
}

TEST(BlockingPoolTest, StuckWorkHoldsUpNoOther) {
  BlockingPool pool({.threads = 2, .most = 8, .patience = 200ms, .idle = 1h});
  const auto release = std::make_shared<Gate>(), other = std::make_shared<Gate>();
  std::atomic<int> stuck = 0, done = 0;
  PostStuck(pool, release, &stuck);
  PostStuck(pool, release, &stuck);
  ASSERT_TRUE(Until([&] { return stuck == 2; }));
  // Nothing comes after it that could notice.
  pool.Post([other] { other->Open(); });
  EXPECT_TRUE(other->Wait());
  // What the third thread is for it goes on with.
  for (int i = 0; i < 1000; ++i) pool.Post([&done] { ++done; });
  EXPECT_TRUE(Until([&] { return done == 1000; })) << "each waited for the third thread anew";
  release->Open();
}

TEST(BlockingPoolTest, GrowsNoFurtherThanItMayAndShrinksAgain) {
  BlockingPool pool({.threads = 2, .most = 5, .patience = 5ms, .idle = 100ms});
  const auto release = std::make_shared<Gate>();
  std::atomic<int> stuck = 0, done = 0;
  for (int i = 0; i < 8; ++i) PostStuck(pool, release, &stuck);
  ASSERT_TRUE(Until([&] { return stuck == 5; }));
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(stuck, 5);
  EXPECT_EQ(pool.threads(), 5u);
  release->Open();
  EXPECT_TRUE(Until([&] { return stuck == 8; }));
  EXPECT_TRUE(Until([&] { return pool.threads() == 2; }));
  for (int i = 0; i < 10; ++i) pool.Post([&done] { ++done; });
  EXPECT_TRUE(Until([&] { return done == 10; }));
}

// One that is free stays beside those that are stuck: the next work need not wait for patience again.
TEST(BlockingPoolTest, OneFreeThreadStays) {
  BlockingPool pool({.threads = 2, .most = 8, .patience = 5ms, .idle = 20ms});
  const auto release = std::make_shared<Gate>(), other = std::make_shared<Gate>();
  std::atomic<int> stuck = 0, done = 0;
  for (int i = 0; i < 4; ++i) PostStuck(pool, release, &stuck);
  pool.Post([other] { other->Open(); });
  ASSERT_TRUE(other->Wait());
  EXPECT_TRUE(Until([&] { return pool.threads() == 5; }));
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(pool.threads(), 5u);
  pool.Post([&done] { ++done; });
  EXPECT_TRUE(Until([&] { return done == 1; }));
  release->Open();
  EXPECT_TRUE(Until([&] { return pool.threads() == 2; }));
}

TEST(BlockingPoolTest, WorkThatGoesOnBringsNoMoreThreads) {
  BlockingPool pool({.threads = 2, .most = 8, .patience = 1h, .idle = 1h});
  std::atomic<int> now = 0, most = 0, done = 0;
  for (int i = 0; i < 50; ++i) {
    pool.Post([&] {
      most = std::max<int>(most, ++now);
      std::this_thread::sleep_for(1ms);
      --now;
      ++done;
    });
  }
  EXPECT_TRUE(Until([&] { return done == 50; }));
  EXPECT_EQ(most, 2);
  EXPECT_LE(pool.threads(), 3u);
}

TEST(BlockingPoolTest, ItsEndWaitsForNothing) {
  const auto release = std::make_shared<Gate>();
  const auto dropped = std::make_shared<int>();
  static std::atomic<int> stuck;
  {
    BlockingPool pool({.threads = 1, .most = 1, .patience = 1h, .idle = 1h});
    PostStuck(pool, release, &stuck);
    ASSERT_TRUE(Until([&] { return stuck == 1; }));
    pool.Post([dropped] { ADD_FAILURE() << "ran"; });
  }
  EXPECT_EQ(dropped.use_count(), 1);
  release->Open();
}

}  // namespace
}  // namespace skiff
