#include "controlplane/storage/sqlite_store.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

namespace skiff::controlplane {
namespace {

using ::testing::ElementsAre;

class SqliteStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/skiff-store-XXXXXX";
    directory_ = mkdtemp(name);
    Open();
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Open(size_t history_events = 20000) {
    store_.reset();
    loop_.restart();
    auto store = SqliteStore::Open(loop_, {.path = directory_ + "/store.db", .history_events = history_events});
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  template <typename T>
  T Run(Task<T> task) {
    std::optional<T> result;
    loop_.restart();
    asio::co_spawn(loop_, Keep(std::move(task), &result), asio::detached);
    while (!result && loop_.run_one() > 0) {
    }
    return *std::move(result);
  }
  template <typename T>
  static Task<void> Keep(Task<T> task, std::optional<T>* result) {
    result->emplace(co_await std::move(task));
  }
  int64_t Put(const std::string& key, const std::string& data) {
    ValuePtr old = store_->Peek(key);
    auto value = old ? Run(store_->Update(key, data, old->mod_revision)) : Run(store_->Create(key, data));
    EXPECT_TRUE(value.ok()) << value.status();
    return value.ok() ? (*value)->mod_revision : 0;
  }
  std::vector<std::string> Listed(ListRequest request) {
    auto list = Run(store_->List(std::move(request)));
    EXPECT_TRUE(list.ok()) << list.status();
    std::vector<std::string> out;
    if (list.ok())
      for (const auto& entry : list->entries) out.push_back(entry.key + "=" + entry.value->data);
    return out;
  }
  std::vector<std::string> Events(StoreWatch& watch) {
    auto events = Run(watch.Next(std::chrono::nanoseconds(0)));
    if (!events.ok()) return {events.status().ToString()};
    std::vector<std::string> out;
    for (const auto& e : *events)
      out.push_back(absl::StrCat(e.revision, e.value ? (e.previous ? " MOD " : " ADD ") : " DEL ", e.key, " ",
                                 e.value ? e.value->data : e.previous->data));
    return out;
  }

  std::string directory_;
  asio::io_context loop_;
  std::unique_ptr<SqliteStore> store_;
};

TEST_F(SqliteStoreTest, RevisionsGrowAndComparesHold) {
  EXPECT_EQ(store_->revision(), 1);
  const int64_t first = Put("/a", "1");
  EXPECT_EQ(first, 2);
  EXPECT_TRUE(absl::IsAlreadyExists(Run(store_->Create("/a", "x")).status()));
  EXPECT_TRUE(absl::IsNotFound(Run(store_->Update("/b", "x", 1)).status()));
  EXPECT_TRUE(absl::IsAborted(Run(store_->Update("/a", "x", 99)).status()));
  auto updated = Run(store_->Update("/a", "2", first));
  ASSERT_TRUE(updated.ok());
  EXPECT_EQ((*updated)->create_revision, first);
  EXPECT_EQ((*updated)->mod_revision, 3);
  EXPECT_TRUE(absl::IsAborted(Run(store_->Delete("/a", first)).status()));
  auto deleted = Run(store_->Delete("/a", 3));
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(*deleted, 4);
  EXPECT_TRUE(absl::IsNotFound(Run(store_->Get("/a")).status()));
  EXPECT_EQ(store_->revision(), 4);
}

TEST_F(SqliteStoreTest, ListsByPrefixLimitAndOldRevision) {
  Put("/p/a", "1");
  Put("/p/b", "1");
  Put("/q/z", "1");
  const int64_t then = Put("/p/c", "1");
  Put("/p/b", "2");
  ASSERT_TRUE(Run(store_->Delete("/p/a", 0)).ok());
  Put("/p/d", "1");
  EXPECT_THAT(Listed({.prefix = "/p/"}), ElementsAre("/p/b=2", "/p/c=1", "/p/d=1"));
  EXPECT_THAT(Listed({.prefix = "/p/", .revision = then}), ElementsAre("/p/a=1", "/p/b=1", "/p/c=1"));
  EXPECT_THAT(Listed({.prefix = "/p/", .start = "/p/b", .revision = then}), ElementsAre("/p/b=1", "/p/c=1"));
  auto page = Run(store_->List({.prefix = "/p/", .limit = 1, .revision = then}));
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page->more);
  EXPECT_EQ(page->remaining, 2);
  Open();  // old revisions come from the file now
  EXPECT_THAT(Listed({.prefix = "/p/", .revision = then}), ElementsAre("/p/a=1", "/p/b=1", "/p/c=1"));
  ASSERT_TRUE(Run(store_->Compact(then + 1)).ok());
  EXPECT_TRUE(absl::IsOutOfRange(Run(store_->List({.prefix = "/p/", .revision = then})).status()));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(Run(store_->List({.prefix = "/p/", .revision = store_->revision() + 1})).status()));
}

TEST_F(SqliteStoreTest, WatchGivesEveryChangeOnce) {
  const int64_t start = Put("/p/a", "1");
  Put("/p/a", "2");
  Put("/q/a", "1");
  auto watch = store_->Watch("/p/", start);
  ASSERT_TRUE(watch.ok());
  EXPECT_THAT(Events(**watch), ElementsAre("3 MOD /p/a 2"));
  EXPECT_EQ((*watch)->revision(), 4);
  EXPECT_THAT(Events(**watch), ElementsAre());
  Put("/p/b", "1");
  ASSERT_TRUE(Run(store_->Delete("/p/a", 0)).ok());
  EXPECT_THAT(Events(**watch), ElementsAre("5 ADD /p/b 1", "6 DEL /p/a 2"));
}

TEST_F(SqliteStoreTest, WatchFromBeforeARestartReadsTheFile) {
  const int64_t start = Put("/p/a", "1");
  Put("/p/a", "2");
  ASSERT_TRUE(Run(store_->Delete("/p/a", 0)).ok());
  Open();
  Put("/p/b", "1");
  auto watch = store_->Watch("/p/", start);
  ASSERT_TRUE(watch.ok());
  EXPECT_THAT(Events(**watch), ElementsAre("3 MOD /p/a 2", "4 DEL /p/a 2"));
  EXPECT_THAT(Events(**watch), ElementsAre("5 ADD /p/b 1"));
}

TEST_F(SqliteStoreTest, WatchGap_SlowWatchFallsBackToTheFileAndIsToldWhenCompacted) {
  Open(/*history_events=*/2);
  auto watch = store_->Watch("/p/", 1);
  for (int i = 0; i < 5; ++i) Put("/p/a", absl::StrCat(i));
  std::vector<std::string> all;
  for (int i = 0; i < 3; ++i)
    for (auto& e : Events(**watch)) all.push_back(e);
  EXPECT_THAT(all, ElementsAre("2 ADD /p/a 0", "3 MOD /p/a 1", "4 MOD /p/a 2", "5 MOD /p/a 3", "6 MOD /p/a 4"));
  auto late = store_->Watch("/p/", 1);
  ASSERT_TRUE(Run(store_->Compact(4)).ok());
  EXPECT_TRUE(absl::IsOutOfRange(Run((*late)->Next(std::chrono::nanoseconds(0))).status()));
  EXPECT_TRUE(absl::IsOutOfRange(store_->Watch("/p/", 2).status()));
}

TEST_F(SqliteStoreTest, RevisionSurvivesCompactionOfTheLastWrite) {
  Put("/a", "1");
  ASSERT_TRUE(Run(store_->Delete("/a", 0)).ok());
  ASSERT_TRUE(Run(store_->Compact(store_->revision())).ok());
  Open();
  EXPECT_EQ(store_->revision(), 3);
  EXPECT_EQ(store_->compacted_revision(), 3);
  EXPECT_EQ(Put("/a", "2"), 4);
}

TEST_F(SqliteStoreTest, SecondServerIsRefused) {
  asio::io_context other;
  auto store = SqliteStore::Open(other, {.path = directory_ + "/store.db"});
  EXPECT_THAT(std::string(store.status().message()), ::testing::HasSubstr("in use by another process"));
}

TEST_F(SqliteStoreTest, ExpiredKeysAreRemoved) {
  ASSERT_TRUE(Run(store_->Create("/e/1", "x", std::chrono::seconds(10))).ok());
  ASSERT_TRUE(Run(store_->Create("/e/2", "x")).ok());
  ASSERT_TRUE(Run(store_->RemoveExpired(time(nullptr) + 100)).ok());
  EXPECT_THAT(Listed({.prefix = "/e/"}), ElementsAre("/e/2=x"));
}

// Writers in a child process tell each acknowledged write through a pipe; the child is killed amid them.
Task<void> WriteAndTell(Store& store, int writer, int fd) {
  for (int i = 0;; ++i) {
    const std::string key = absl::StrCat("/w/", writer, "/", i % 10);
    const std::string data = absl::StrCat(writer, ":", i, ":", std::string(500, 'x'));
    ValuePtr old = store.Peek(key);
    StatusOr<ValuePtr> value = absl::UnknownError("");
    if (old)
      value = co_await store.Update(key, data, old->mod_revision);
    else
      value = co_await store.Create(key, data);
    if (!value.ok()) _exit(3);
    const int64_t told[3] = {writer, i, (*value)->mod_revision};
    if (write(fd, told, sizeof(told)) != sizeof(told)) _exit(4);
  }
}

TEST_F(SqliteStoreTest, StoreCrash_KillLosesNothingAcknowledged) {
  store_.reset();
  for (int round = 0; round < 3; ++round) {
    int fds[2];
    ASSERT_EQ(pipe(fds), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(fds[0]);
      asio::io_context loop;
      auto store = SqliteStore::Open(loop, {.path = directory_ + "/store.db"});
      if (!store.ok()) _exit(2);
      for (int writer = 0; writer < 8; ++writer)
        asio::co_spawn(loop, WriteAndTell(**store, writer, fds[1]), asio::detached);
      loop.run();
      _exit(5);
    }
    close(fds[1]);
    std::map<int64_t, std::array<int64_t, 3>> last;  // by writer and slot
    int64_t told[3];
    int64_t highest = 0;
    for (int n = 0; read(fds[0], told, sizeof(told)) == sizeof(told); ++n) {
      last[told[0] * 100 + told[1] % 10] = {told[0], told[1], told[2]};
      highest = std::max(highest, told[2]);
      if (n == 300) kill(child, SIGKILL);
    }
    close(fds[0]);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    ASSERT_GT(last.size(), 20u);
    Open();
    EXPECT_GE(store_->revision(), highest);
    for (const auto& [slot, entry] : last) {
      ValuePtr value = store_->Peek(absl::StrCat("/w/", entry[0], "/", entry[1] % 10));
      ASSERT_TRUE(value);
      EXPECT_GE(value->mod_revision, entry[2]);
      EXPECT_THAT(value->data, ::testing::EndsWith(std::string(500, 'x')));  // whole
      if (value->mod_revision == entry[2]) {
        EXPECT_TRUE(value->data.starts_with(absl::StrCat(entry[0], ":", entry[1], ":")));
      }
    }
    store_.reset();
  }
}

}  // namespace
}  // namespace skiff::controlplane
