#include "client/informer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "client/fake_api_server.h"
#include "client/testing.h"
#include "k8s/io/api/core/v1/config.pb.h"

namespace skiff::client {
namespace {

namespace core = ::k8s::io::api::core::v1;
using testing::ElementsAre;

core::ConfigMap Map(const std::string& name, const std::string& value = "1", const std::string& ns = "ns") {
  core::ConfigMap map;
  map.mutable_metadata()->set_namespace_(ns);
  map.mutable_metadata()->set_name(name);
  (*map.mutable_data())["k"] = value;
  return map;
}

class InformerTest : public testing::Test {
 protected:
  ~InformerTest() override {
    group_.Cancel();
    RunUntil(loop_, [this] { return group_.size() == 0; });
  }
  void Start(InformerOptions options = {}) {
    maps_ = std::make_shared<Informer<core::ConfigMap>>(rest_, options);
    maps_->AddHandler({
        .added = [this](const auto& m) { log_.push_back("+" + m->metadata().name()); },
        .updated = [this](const auto&, const auto& m) { log_.push_back("~" + m->metadata().name()); },
        .deleted = [this](const auto& m) { log_.push_back("-" + m->metadata().name()); },
    });
    group_.Spawn("maps", maps_->Run());
    ASSERT_TRUE(RunUntil(loop_, [this] { return maps_->HasSynced() && server_.watches() == 1; }));
  }
  bool Until(const std::function<bool()>& condition) { return RunUntil(loop_, condition); }

  asio::io_context loop_;
  FakeApiServer server_{loop_.get_executor()};
  std::shared_ptr<Rest> rest_ = server_.NewRest();
  TaskGroup group_{loop_.get_executor()};
  std::shared_ptr<Informer<core::ConfigMap>> maps_;
  std::vector<std::string> log_;
};

TEST_F(InformerTest, ListsInPagesThenFollows) {
  for (const char* name : {"a", "b", "c"}) server_.Put(Map(name));
  Start({.page_size = 2});
  EXPECT_THAT(log_, ElementsAre("+a", "+b", "+c"));
  EXPECT_EQ(server_.CountRequests("GET /api/v1/configmaps?limit=2"), 2u);
  server_.Put(Map("b", "2"));
  server_.Remove(core::ConfigMap(), "ns/a");
  server_.Put(Map("d"));
  ASSERT_TRUE(Until([&] { return log_.size() == 6; }));
  EXPECT_THAT(log_, ElementsAre("+a", "+b", "+c", "~b", "-a", "+d"));
  EXPECT_EQ(maps_->Get("ns", "b")->data().at("k"), "2");
  EXPECT_EQ(maps_->Get("ns/a"), nullptr);
  EXPECT_EQ(maps_->size(), 3u);
}

TEST_F(InformerTest, ResumesADroppedWatchWithoutListing) {
  server_.Put(Map("a"));
  Start();
  const size_t lists = server_.CountRequests("GET /api/v1/configmaps?limit");
  server_.DropWatches();
  server_.Put(Map("b"));
  ASSERT_TRUE(Until([&] { return log_.size() == 2; }));
  EXPECT_THAT(log_, ElementsAre("+a", "+b"));
  EXPECT_EQ(server_.CountRequests("GET /api/v1/configmaps?limit"), lists);
}

TEST_F(InformerTest, ListsAgainWhenTheVersionIsGone) {
  server_.Put(Map("a"));
  server_.Put(Map("b"));
  Start();
  server_.MuteWatches(true);
  server_.Put(Map("a", "2"));
  server_.Remove(core::ConfigMap(), "ns/b");
  server_.Put(Map("c"));
  server_.Compact();
  server_.DropWatches();
  server_.MuteWatches(false);
  ASSERT_TRUE(Until([&] { return log_.size() == 5; }));
  EXPECT_THAT(log_, ElementsAre("+a", "+b", "~a", "+c", "-b"));
}

// As upstream: a version that the server has not reached (504 after a restore) or cannot serve would be asked for ever.
TEST_F(InformerTest, ListsAgainWhenTheServerRefusesTheVersion) {
  server_.Put(Map("a"));
  Start();
  auto lists = [this] { return server_.CountRequests("GET /api/v1/configmaps?limit"); };
  for (const int status : {500, 504}) {
    const size_t before = lists();
    server_.FailNextWatches(1, status);
    server_.DropWatches();
    ASSERT_TRUE(Until([&] { return server_.watches() == 1 && lists() == before + 1; })) << status;
  }
  const size_t before = lists(), watches = server_.CountRequests("GET /api/v1/configmaps?res");
  server_.FailNextWatches(1, 503);
  server_.DropWatches();
  ASSERT_TRUE(Until(
      [&] { return server_.watches() == 1 && server_.CountRequests("GET /api/v1/configmaps?res") >= watches + 2; }));
  EXPECT_EQ(lists(), before) << "a server that is away is not asked for everything";
}

TEST_F(InformerTest, BookmarksMoveTheResumePoint) {
  server_.Put(Map("a"));
  Start();
  core::Secret other;
  other.mutable_metadata()->set_name("s");
  for (int i = 0; i < 5; ++i) server_.Put(other);
  server_.SendBookmarks();
  const std::string now = server_.Get<core::Secret>("s")->metadata().resourceversion();
  server_.Put(Map("z"));  // so that the bookmark is known to have arrived
  ASSERT_TRUE(Until([&] { return log_.size() == 2; }));
  server_.SendBookmarks();
  server_.EndWatches();
  ASSERT_TRUE(
      Until([&] { return server_.watches() == 1 && server_.CountRequests("GET /api/v1/configmaps?res") == 2; }));
  const std::string expected = server_.Get<core::ConfigMap>("ns/z")->metadata().resourceversion();
  EXPECT_NE(server_.requests().back().find("resourceVersion=" + expected), std::string::npos)
      << server_.requests().back() << " " << now;
}

TEST_F(InformerTest, GarbageOnTheWatchEndsInTheSameState) {
  server_.Put(Map("a"));
  Start();
  server_.CorruptNextEvent();
  server_.Put(Map("a", "2"));
  ASSERT_TRUE(Until([&] { return log_.size() == 2; }));
  EXPECT_THAT(log_, ElementsAre("+a", "~a"));
  EXPECT_EQ(maps_->Get("ns/a")->data().at("k"), "2");
}

TEST_F(InformerTest, AFailingServerIsTriedAgain) {
  server_.FailNext(2, 500);
  server_.Put(Map("a"));
  Start();
  EXPECT_THAT(log_, ElementsAre("+a"));
  EXPECT_TRUE(maps_->last_error().ok());
}

TEST_F(InformerTest, ADeletedAndRecreatedObjectIsTwoObjects) {
  server_.Put(Map("a"));
  Start();
  server_.MuteWatches(true);
  server_.Remove(core::ConfigMap(), "ns/a");
  server_.Put(Map("a"));
  server_.Compact();
  server_.DropWatches();
  server_.MuteWatches(false);
  ASSERT_TRUE(Until([&] { return log_.size() == 3; }));
  EXPECT_THAT(log_, ElementsAre("+a", "-a", "+a"));
}

TEST_F(InformerTest, SelectorsIndexesAndTransforms) {
  auto with_label = Map("a");
  (*with_label.mutable_metadata()->mutable_labels())["app"] = "x";
  with_label.mutable_metadata()->add_managedfields()->set_manager("m");
  server_.Put(with_label);
  server_.Put(Map("b"));
  maps_ = std::make_shared<Informer<core::ConfigMap>>(rest_, InformerOptions{.label_selector = "app=x"});
  maps_->SetTransform([](core::ConfigMap& map) { map.clear_data(); });
  maps_->AddIndex(
      "app", [](const core::ConfigMap& map) { return std::vector<std::string>{map.metadata().labels().at("app")}; });
  group_.Spawn("maps", maps_->Run());
  ASSERT_TRUE(RunTask(loop_, maps_->WaitForSync()).ok());
  ASSERT_EQ(maps_->size(), 1u);
  EXPECT_EQ(maps_->ByIndex("app", "x").size(), 1u);
  EXPECT_EQ(maps_->ByIndex("app", "y").size(), 0u);
  EXPECT_EQ(maps_->InNamespace("ns").size(), 1u);
  EXPECT_EQ(maps_->InNamespace("n").size(), 0u);
  EXPECT_TRUE(maps_->Get("ns/a")->data().empty());
  EXPECT_EQ(maps_->Get("ns/a")->metadata().managedfields_size(), 0);
  ASSERT_TRUE(Until([&] { return server_.watches() == 1; }));
  // Leaving the selector is a deletion, and leaves the index too.
  server_.Put(Map("a"));
  ASSERT_TRUE(Until([&] { return maps_->size() == 0; }));
  EXPECT_EQ(maps_->ByIndex("app", "x").size(), 0u);
}

TEST_F(InformerTest, RestartWithAnotherSelectorDeletesWhatNoLongerMatches) {
  server_.Put(Map("a"));
  server_.Put(Map("b"));
  Start();
  maps_->Restart({.field_selector = "metadata.name=b"});
  ASSERT_TRUE(Until([&] { return maps_->size() == 1; }));
  EXPECT_THAT(log_, ElementsAre("+a", "+b", "-a"));
  server_.Put(Map("b", "2"));
  ASSERT_TRUE(Until([&] { return log_.size() == 4; }));
}

TEST_F(InformerTest, ALateHandlerSeesWhatIsThere) {
  server_.Put(Map("a"));
  Start();
  std::vector<std::string> late;
  maps_->AddHandler({.added = [&](const auto& m) { late.push_back(m->metadata().name()); }});
  EXPECT_THAT(late, ElementsAre("a"));
}

TEST_F(InformerTest, SurvivesItsOwnersDeath) {
  server_.Put(Map("a"));
  Start();
  maps_.reset();
  server_.Put(Map("b"));
  EXPECT_TRUE(Until([&] { return group_.size() == 0; }));
  EXPECT_THAT(log_, ElementsAre("+a"));
}

}  // namespace
}  // namespace skiff::client
