// The way of pods from their sources: manifests in a directory and from a URL, the difference between sets, mirror
// pods.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/http_testing.h"
#include "kubelet/pod/manifest_sources.h"
#include "kubelet/pod/mirror_pods.h"
#include "kubelet/pod/pod_config.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Manifest(const std::string& name, const std::string& image = "i") {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {containers: [{name: c, image: " + image +
         "}]}\n";
}

std::vector<std::string> Names(const std::vector<Pod>& pods) {
  std::vector<std::string> out;
  for (const auto& pod : pods) out.push_back(pod.metadata().name());
  return out;
}

class ManifestDirectoryTest : public ::testing::Test {
 protected:
  ManifestDirectoryTest() {
    char name[] = "/tmp/skiff-manifests-XXXXXX";
    dir = ::mkdtemp(name);
  }
  ~ManifestDirectoryTest() override { std::filesystem::remove_all(dir); }
  void Write(const std::string& file, const std::string& text) { std::ofstream(dir + "/" + file) << text; }

  std::string dir;
  FakeClock clock;
  std::vector<Pod> pods;
  int updates = 0, empty_updates = 0;
  ManifestUpdate Update() {
    return [this](std::vector<Pod> now) {
      pods = std::move(now);
      ++updates;
      if (pods.empty()) ++empty_updates;
    };
  }
};

TEST_F(ManifestDirectoryTest, ReadsFilesAndLeavesOutBadOnes) {
  Write("a.yaml", Manifest("a"));
  Write("b.json", R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},
                      "spec":{"containers":[{"name":"c","image":"i"}]}})");
  Write(".hidden.yaml", Manifest("hidden"));
  Write("bad.yaml", "kind: [");
  std::filesystem::create_directory(dir + "/sub");
  Write("sub/d.yaml", Manifest("d"));
  ManifestDirectory source(dir + "/", "n1", seconds(20), clock, Update());
  source.Read(true);
  EXPECT_THAT(Names(pods), ElementsAre("a-n1", "b-n1"));
  // A file that becomes bad keeps its pod until the next full look.
  Write("a.yaml", "kind: [");
  source.Read(false);
  EXPECT_THAT(Names(pods), ElementsAre("a-n1", "b-n1"));
  source.Read(true);
  EXPECT_THAT(Names(pods), ElementsAre("b-n1"));
  std::filesystem::remove(dir + "/b.json");
  source.Read(false);
  EXPECT_THAT(Names(pods), IsEmpty());
}

TEST_F(ManifestDirectoryTest, AFileAlone) {
  Write("one.yaml", Manifest("one"));
  ManifestDirectory source(dir + "/one.yaml", "n1", seconds(20), clock, Update());
  source.Read(true);
  EXPECT_THAT(Names(pods), ElementsAre("one-n1"));
  std::filesystem::remove(dir + "/one.yaml");
  source.Read(false);
  EXPECT_THAT(Names(pods), IsEmpty());
  EXPECT_EQ(updates, 2) << "a path that is not there is seen, and empty";
}

TEST_F(ManifestDirectoryTest, AFileAloneThatIsBadChangesNothing) {
  ManifestDirectory source(dir + "/one.yaml", "n1", seconds(20), clock, Update());
  Write("one.yaml", "kind: [");
  source.Read(true);
  EXPECT_EQ(updates, 0) << "its pods are not known yet";
  Write("one.yaml", Manifest("one"));
  source.Read(true);
  EXPECT_THAT(Names(pods), ElementsAre("one-n1"));
  for (const char* text : {"kind: [", ""}) {
    Write("one.yaml", text);
    source.Read(false);
    source.Read(true);
    EXPECT_THAT(Names(pods), ElementsAre("one-n1"));
    EXPECT_EQ(updates, 1);
  }
}

TEST_F(ManifestDirectoryTest, OfTwoFilesOfOneNameTheLastCounts) {
  Write("a.yaml", Manifest("p", "first"));
  Write("b.yaml", Manifest("p", "last"));
  Write("c.yaml", Manifest("q"));
  ManifestDirectory source(dir, "n1", seconds(20), clock, Update());
  source.Read(true);
  ASSERT_THAT(Names(pods), ElementsAre("p-n1", "q-n1"));
  EXPECT_EQ(pods[0].spec().containers(0).image(), "last");
  std::filesystem::remove(dir + "/b.yaml");
  source.Read(false);
  ASSERT_THAT(Names(pods), ElementsAre("p-n1", "q-n1"));
  EXPECT_EQ(pods[0].spec().containers(0).image(), "first");
}

TEST_F(ManifestDirectoryTest, NoticesChangesAtOnce) {
  asio::io_context loop;
  ManifestDirectory source(dir, "n1", seconds(20), clock, Update());
  TaskGroup group(loop.get_executor());
  group.Spawn("source", source.Run());
  auto until = [&](const std::function<bool()>& met) {
    for (int i = 0; i < 2000 && !met(); ++i) {
      loop.restart();
      loop.run_for(std::chrono::milliseconds(5));
    }
    return met();
  };
  ASSERT_TRUE(until([&] { return updates >= 2; })) << "once at the start, once when the watch is in place";
  Write("a.yaml", Manifest("a"));
  EXPECT_TRUE(until([&] { return pods.size() == 1; }));
  const std::string uid = pods.at(0).metadata().uid();
  Write(".tmp", Manifest("a", "other"));
  std::filesystem::rename(dir + "/.tmp", dir + "/a.yaml");
  EXPECT_TRUE(until([&] { return pods.size() == 1 && pods[0].metadata().uid() != uid; }));
  // Gone and back before anybody looked: it has ended, and begins again.
  const int empty_before = empty_updates;
  std::filesystem::remove(dir + "/a.yaml");
  Write("a.yaml", Manifest("a", "other"));
  EXPECT_TRUE(until([&] { return empty_updates > empty_before && pods.size() == 1; }));
  std::filesystem::remove(dir + "/a.yaml");
  EXPECT_TRUE(until([&] { return pods.empty(); }));
  // The directory goes and comes back: the clock's second later it is watched again.
  std::filesystem::remove_all(dir);
  const int before = updates;
  EXPECT_TRUE(until([&] { return updates > before; }));
  std::filesystem::create_directory(dir);
  Write("b.yaml", Manifest("b"));
  clock.Advance(seconds(1), loop);
  EXPECT_TRUE(until([&] { return pods.size() == 1; }));
  group.Cancel();
  loop.restart();
  loop.run_for(std::chrono::milliseconds(50));
}

class ManifestUrlTest : public http::HttpTest {};

TEST_F(ManifestUrlTest, AsksWithHeadersAndKeepsWhatItHasOnErrors) {
  std::string body = R"({"apiVersion":"v1","kind":"PodList","items":[
      {"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}},
      {"metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"i"}]}}]})";
  int status = 200;
  std::string token;
  Serve([&](http::Exchange& exchange) -> Task<void> {
    token = exchange.request().headers.Get("X-Token");
    (void)co_await exchange.Respond(status, {}, body);
  });
  FakeClock clock;
  std::vector<std::vector<std::string>> updates;
  ManifestUrl source(executor(), {absl::StrCat("http://", authority(), "/pods?x=1"), "n1", {{"X-Token", "secret"}}},
                     clock, [&](std::vector<Pod> pods) { updates.push_back(Names(pods)); });
  EXPECT_TRUE(Run(source.Read()).ok());
  EXPECT_EQ(token, "secret");
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_THAT(updates[0], ElementsAre("a-n1", "b-n1"));
  EXPECT_TRUE(Run(source.Read()).ok());
  EXPECT_EQ(updates.size(), 1u) << "the same answer is no update";
  status = 503;
  EXPECT_FALSE(Run(source.Read()).ok());
  status = 200;
  body = "nonsense: [";
  EXPECT_FALSE(Run(source.Read()).ok());
  EXPECT_EQ(updates.size(), 1u);
  body = "";
  EXPECT_THAT(Run(source.Read()).message(), HasSubstr("zero-length data received"));
  ASSERT_EQ(updates.size(), 2u);
  EXPECT_THAT(updates[1], IsEmpty());
  ManifestUrl bad(executor(), {"ftp://x/", "n1", {}}, clock, [](std::vector<Pod>) {});
  EXPECT_FALSE(Run(bad.Read()).ok());
}

// ---- differences ----

struct ConfigTest : ::testing::Test {
  FakeClock clock;
  client::FakeEventSink events;
  std::vector<std::string> log;
  PodConfig config{clock,
                   events,
                   {.update = [this](PodPtr p) { log.push_back("update " + p->metadata().uid()); },
                    .remove = [this](const std::string& uid) { log.push_back("remove " + uid); },
                    .changed = [this] { log.push_back("changed"); }}};
  static Pod Make(const std::string& name, const std::string& uid) {
    Pod pod = testing_pods::MakePod({"c"});
    pod.mutable_metadata()->set_name(name);
    pod.mutable_metadata()->set_uid(uid);
    return pod;
  }
};

TEST_F(ConfigTest, SetsBecomeDifferences) {
  config.Expect("file");
  config.Expect("http");
  EXPECT_FALSE(config.SeenAll());
  config.Set("file", {Make("a", "1"), Make("b", "2")});
  EXPECT_THAT(log, ElementsAre("update 1", "update 2", "changed"));
  PodPtr a = config.StaticByName("ns", "a");
  ASSERT_NE(a, nullptr);
  EXPECT_TRUE(IsStatic(*a));
  EXPECT_EQ(Annotation(*a, kSourceAnnotation), "file");
  EXPECT_EQ(Annotation(*a, kSeenAnnotation), "2026-01-01T00:00:00Z");
  log.clear();
  clock.JumpWall(seconds(5));
  Pod other = Make("a", "1");
  other.mutable_spec()->set_hostnetwork(true);
  config.Set("file", {other, Make("b", "2"), Make("b", "3")});
  EXPECT_THAT(log, ElementsAre("update 1", "changed")) << "the same again is no update; one pod a name";
  EXPECT_EQ(Annotation(*config.StaticByName("ns", "a"), kSeenAnnotation), "2026-01-01T00:00:00Z");
  ASSERT_EQ(events.events.size(), 1u);
  EXPECT_EQ(events.events[0].reason, "FailedValidation");
  EXPECT_EQ(events.events[0].message,
            "Error validating pod b_ns(3) from file due to duplicate pod name \"b\", ignoring");
  log.clear();
  EXPECT_FALSE(config.SeenAll());
  config.Set("http", {Make("c", "9")});
  EXPECT_TRUE(config.SeenAll());
  config.Set("file", {Make("a", "1b")});
  EXPECT_THAT(log, ElementsAre("update 9", "changed", "remove 1", "remove 2", "update 1b", "changed"));
}

TEST_F(ConfigTest, OnlyManifestsMakeStaticPods) {
  Pod pod = Make("a", "1");
  (*pod.mutable_metadata()->mutable_annotations())[kSourceAnnotation] = "file";
  Pod sent = pod;
  config.MarkApi(&pod);
  EXPECT_FALSE(IsStatic(pod)) << "whatever it says of itself";
  EXPECT_EQ(Annotation(pod, kSeenAnnotation), "2026-01-01T00:00:00Z");
  clock.JumpWall(seconds(5));
  Pod again = sent;
  config.MarkApi(&again);
  EXPECT_EQ(Annotation(again, kSeenAnnotation), "2026-01-01T00:00:00Z") << "first seen";
  config.Unmark(&pod);
  EXPECT_EQ(pod.SerializeAsString(), sent.SerializeAsString());
}

// ---- mirror pods ----

struct FakeMirrorApi final : MirrorApi {
  std::map<std::string, PodPtr> pods;
  std::vector<std::string> log;
  Status fail;
  int uids = 0;
  Task<Status> Create(Pod pod) override {
    const std::string name = pod.metadata().name();
    log.push_back("create " + name + " " + Annotation(pod, kMirrorAnnotation));
    if (!fail.ok()) co_return fail;
    if (pods.contains(name)) co_return absl::AlreadyExistsError("exists");
    pod.mutable_metadata()->set_uid("api-" + std::to_string(++uids));
    pods[name] = std::make_shared<const Pod>(std::move(pod));
    co_return absl::OkStatus();
  }
  Task<Status> Delete(std::string, std::string name, std::string uid) override {
    log.push_back("delete " + name + " " + uid);
    auto it = pods.find(name);
    if (it == pods.end()) co_return absl::NotFoundError("no");
    if (it->second->metadata().uid() != uid) co_return absl::AbortedError("uid");
    pods.erase(it);
    co_return absl::OkStatus();
  }
};

struct MirrorTest : ::testing::Test {
  MirrorTest() {
    hooks.static_pods = [this] { return wanted; };
    hooks.mirrors = [this] {
      std::vector<PodPtr> out;
      for (const auto& [name, pod] : api.pods) out.push_back(pod);
      return out;
    };
    hooks.in_api = [this](const std::string&, const std::string& name) {
      auto it = api.pods.find(name);
      return it == api.pods.end() ? nullptr : it->second;
    };
    hooks.node_uid = [this] { return node_uid; };
    hooks.ending = [this](const std::string&, const std::string&) { return ending; };
    hooks.complete = [this] { return complete; };
    hooks.waits = [this](const Pod&) { return waits; };
  }
  bool Pass() {
    MirrorPods mirrors(loop.get_executor(), "n1", api, clock, hooks);
    return RunTask(loop, mirrors.Pass());
  }
  static PodPtr Static(const std::string& hash) {
    Pod pod = testing_pods::MakePod({"c"});
    (*pod.mutable_metadata()->mutable_annotations())[kHashAnnotation] = hash;
    (*pod.mutable_metadata()->mutable_annotations())[kSourceAnnotation] = "file";
    return std::make_shared<const Pod>(pod);
  }
  asio::io_context loop;
  FakeClock clock;
  FakeMirrorApi api;
  std::vector<PodPtr> wanted;
  std::string node_uid = "n-uid";
  bool ending = false, complete = true, waits = false;
  MirrorHooks hooks;
};

TEST_F(MirrorTest, MadeReplacedAndDeleted) {
  wanted = {Static("h1")};
  EXPECT_TRUE(Pass());
  EXPECT_TRUE(Pass());
  EXPECT_THAT(api.log, ElementsAre("create p h1")) << "once";
  api.log.clear();
  // Somebody deletes it: the grace period runs, the kubelet ends it and makes another.
  Pod deleted = *api.pods["p"];
  deleted.mutable_metadata()->mutable_deletiontimestamp()->set_seconds(1);
  api.pods["p"] = std::make_shared<const Pod>(deleted);
  EXPECT_TRUE(Pass());
  EXPECT_THAT(api.log, ElementsAre("delete p api-1", "create p h1"));
  api.log.clear();
  wanted = {Static("h2")};  // another manifest
  waits = true;
  EXPECT_TRUE(Pass());
  EXPECT_THAT(api.log, IsEmpty()) << "what it was runs on for its grace period";
  waits = false;
  EXPECT_TRUE(Pass());
  EXPECT_THAT(api.log, ElementsAre("delete p api-2", "create p h2"));
  api.log.clear();
  wanted = {};
  ending = true;
  EXPECT_TRUE(Pass());
  EXPECT_THAT(api.log, IsEmpty()) << "not while its containers run";
  ending = false;
  complete = false;
  EXPECT_TRUE(Pass());
  EXPECT_THAT(api.log, IsEmpty()) << "not before all sources have spoken";
  complete = true;
  EXPECT_TRUE(Pass());
  EXPECT_THAT(api.log, ElementsAre("delete p api-3"));
}

TEST_F(MirrorTest, WaitsForTheNodeAndTriesAgain) {
  wanted = {Static("h1")};
  node_uid = "";
  EXPECT_FALSE(Pass());
  EXPECT_THAT(api.log, IsEmpty());
  node_uid = "n-uid";
  api.fail = absl::UnavailableError("away");
  EXPECT_FALSE(Pass());
  api.fail = absl::OkStatus();
  EXPECT_TRUE(Pass());
  EXPECT_EQ(api.pods.size(), 1u);
}

}  // namespace
}  // namespace skiff::kubelet
