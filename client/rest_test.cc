#include "client/rest.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/files.h"
#include "base/log.h"
#include "client/fake_api_server.h"
#include "client/limited_call.h"
#include "client/rate_limit.h"
#include "client/request_metrics.h"
#include "client/testing.h"
#include "client/wire.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/reference.pb.h"
#include "k8s/io/api/core/v1/scheduling.pb.h"

namespace skiff::client {
namespace {

namespace core = ::k8s::io::api::core::v1;

core::ConfigMap Map(const std::string& name, const std::string& value = "1") {
  core::ConfigMap map;
  map.mutable_metadata()->set_namespace_("ns");
  map.mutable_metadata()->set_name(name);
  (*map.mutable_data())["k"] = value;
  return map;
}

class RestTest : public testing::Test {
 protected:
  asio::io_context loop_;
  FakeApiServer server_{loop_.get_executor()};
  std::shared_ptr<Rest> rest_ = server_.NewRest();
};

TEST_F(RestTest, CreatesReadsUpdatesPatchesAndDeletes) {
  auto created = RunTask(loop_, rest_->Create(Map("a")));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_FALSE(created->metadata().resourceversion().empty());
  auto read = RunTask(loop_, rest_->Get<core::ConfigMap>("ns", "a"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->data().at("k"), "1");
  (*read->mutable_data())["k"] = "2";
  auto updated = RunTask(loop_, rest_->Update(*read));
  ASSERT_TRUE(updated.ok()) << updated.status();
  auto patched = RunTask(loop_, rest_->Patch<core::ConfigMap>("ns", "a", R"({"data":{"l":"3"}})",
                                                              {.type = PatchType::kMerge, .field_manager = "me"}));
  ASSERT_TRUE(patched.ok()) << patched.status();
  EXPECT_EQ(patched->data().size(), 2u);
  EXPECT_EQ(server_.requests().back(), "PATCH /api/v1/namespaces/ns/configmaps/a?fieldManager=me");
  EXPECT_TRUE(RunTask(loop_, rest_->Delete<core::ConfigMap>("ns", "a")).ok());
  EXPECT_EQ(server_.Get<core::ConfigMap>("ns/a"), nullptr);
}

TEST_F(RestTest, PagesOfAListAreOneRequestToTheRateLimit) {
  for (int i = 0; i < 7; ++i) server_.Put(Map(absl::StrCat("m", i)));
  FakeClock clock;  // stands still: who waits, waits for ever
  Config config = server_.config();
  config.qps = 0.001;
  config.burst = 1;
  auto rest = Rest::Make(loop_.get_executor(), config, clock);
  ASSERT_TRUE(rest.ok()) << rest.status();
  ListOptions options{.limit = 2};
  int items = 0;
  for (int page = 0; page < 4; ++page) {
    auto list = RunTask(loop_, (*rest)->List<core::ConfigMap>("ns", options));
    ASSERT_TRUE(list.ok()) << list.status();
    items += static_cast<int>(list->items.size());
    options.continue_token = list->continue_token;
  }
  EXPECT_EQ(items, 7);
  EXPECT_TRUE(options.continue_token.empty());
}

// Security row secrets-in-logs, for what a client sends and is sent: at no verbosity, whatever becomes of the request.
TEST_F(RestTest, secrets_in_logs) {
  core::Secret secret;
  secret.mutable_metadata()->set_namespace_("ns");
  secret.mutable_metadata()->set_name("s");
  (*secret.mutable_data())["k"] = "hunter2-value";
  Config config = server_.config();
  config.token = "hunter2-token";
  Config basic = server_.config();
  basic.username = "u";
  basic.password = "hunter2-password";
  std::string errors;
  const auto before = log::Verbosity();
  log::SetVerbosity(10);
  testing::internal::CaptureStderr();
  for (const Config& c : {config, basic}) {
    auto rest = *Rest::Make(loop_.get_executor(), c);
    absl::StrAppend(&errors, RunTask(loop_, rest->Create(secret)).status().ToString());
    absl::StrAppend(&errors, RunTask(loop_, rest->Create(secret)).status().ToString());  // is there already
    absl::StrAppend(&errors, RunTask(loop_, rest->Get<core::Secret>("ns", "s")).status().ToString());
    server_.FailNext(1, 401);
    absl::StrAppend(&errors, RunTask(loop_, rest->Update(secret)).status().ToString());
    server_.FailNext(1, 429);
    absl::StrAppend(&errors, RunTask(loop_, rest->Update(secret)).status().ToString());
    server_.DropNext(1);
    absl::StrAppend(&errors, RunTask(loop_, rest->Update(secret)).status().ToString());
  }
  const std::string logged = testing::internal::GetCapturedStderr();
  log::SetVerbosity(before);
  for (const char* text : {"hunter2", "dTpodW50ZXIy"}) {
    EXPECT_EQ(logged.find(text), std::string::npos) << logged;
    EXPECT_EQ(errors.find(text), std::string::npos) << errors;
  }
}

TEST_F(RestTest, RequestsAreCounted) {
  metrics::Registry registry;
  EnableRequestMetrics(registry);
  EXPECT_TRUE(RunTask(loop_, rest_->Create(Map("a"))).ok());
  EXPECT_FALSE(RunTask(loop_, rest_->Get<core::ConfigMap>("ns", "b")).ok());
  DisableRequestMetrics();
  EXPECT_TRUE(RunTask(loop_, rest_->Get<core::ConfigMap>("ns", "a")).ok());
  const std::string text = registry.Expose();
  auto has = [&](std::string_view line) { EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text; };
  std::string host = server_.config().server;
  host = host.substr(host.find("//") + 2);
  has(absl::StrCat("rest_client_requests_total{code=\"201\",host=\"", host, "\",method=\"POST\"} 1\n"));
  has(absl::StrCat("rest_client_requests_total{code=\"404\",host=\"", host, "\",method=\"GET\"} 1\n"));
  has(absl::StrCat("rest_client_request_duration_seconds_count{host=\"", host, "\",verb=\"POST\"} 1\n"));
  has(absl::StrCat("rest_client_rate_limiter_duration_seconds_count{host=\"", host, "\",verb=\"GET\"} 1\n"));
  has("rest_client_exec_plugin_ttl_seconds +Inf\n");
}

TEST_F(RestTest, ErrorsCarryReasonAndCode) {
  const auto missing = RunTask(loop_, rest_->Get<core::ConfigMap>("ns", "a")).status();
  EXPECT_TRUE(IsNotFound(missing));
  EXPECT_EQ(ReasonOf(missing), "NotFound");
  EXPECT_EQ(HttpCodeOf(missing), 404);
  EXPECT_EQ(missing.message(), "configmaps \"a\" not found");
  server_.Put(Map("a"));
  EXPECT_TRUE(IsAlreadyExists(RunTask(loop_, rest_->Create(Map("a"))).status()));
  auto stale = Map("a");
  stale.mutable_metadata()->set_resourceversion("1");
  const auto conflict = RunTask(loop_, rest_->Update(stale)).status();
  EXPECT_TRUE(IsConflict(conflict)) << conflict;
  EXPECT_FALSE(IsAlreadyExists(conflict));
}

TEST_F(RestTest, SubresourcesHaveBodiesOfTheirOwn) {
  core::Pod pod;
  pod.mutable_metadata()->set_namespace_("ns");
  pod.mutable_metadata()->set_name("p");
  server_.Put(pod);
  core::Binding binding;
  binding.mutable_target()->set_name("n1");
  auto bound = RunTask(loop_, rest_->CreateSub<core::Pod, core::Binding, meta::Status>("ns", "p", "binding", binding));
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(server_.Get<core::Pod>("ns/p")->spec().nodename(), "n1");
  pod = *server_.Get<core::Pod>("ns/p");
  pod.mutable_status()->set_phase("Running");
  pod.mutable_spec()->set_nodename("elsewhere");
  ASSERT_TRUE(RunTask(loop_, rest_->UpdateStatus(pod)).ok());
  EXPECT_EQ(server_.Get<core::Pod>("ns/p")->spec().nodename(), "n1");
  EXPECT_EQ(server_.Get<core::Pod>("ns/p")->status().phase(), "Running");
}

TEST_F(RestTest, ListsInPages) {
  for (int i = 0; i < 7; ++i) server_.Put(Map(absl::StrCat("m", i)));
  auto page = RunTask(loop_, rest_->List<core::ConfigMap>("ns", {.limit = 3}));
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->items.size(), 3u);
  EXPECT_FALSE(page->continue_token.empty());
  ListOptions next{.limit = 10, .continue_token = page->continue_token};
  page = RunTask(loop_, rest_->List<core::ConfigMap>("ns", next));
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->items.size(), 4u);
  EXPECT_EQ(page->items[0]->metadata().name(), "m3");
  EXPECT_TRUE(page->continue_token.empty());
}

TEST_F(RestTest, RetriesWhatTheServerAsksFor) {
  server_.Put(Map("a"));
  server_.FailNext(2, 429, "0");
  EXPECT_TRUE(RunTask(loop_, rest_->Get<core::ConfigMap>("ns", "a")).ok());
  server_.FailNext(1, 503, "0");
  EXPECT_TRUE(RunTask(loop_, rest_->Create(Map("b"))).ok());
  EXPECT_EQ(server_.CountRequests("POST"), 2u);
}

TEST_F(RestTest, DoesNotRepeatAWriteThatMayHaveHappened) {
  server_.FailNext(1, 503);
  const auto status = RunTask(loop_, rest_->Create(Map("b"))).status();
  EXPECT_EQ(HttpCodeOf(status), 503);
  EXPECT_EQ(server_.CountRequests("POST"), 1u);
  server_.FailNext(1, 503);  // a read, though
  server_.Put(Map("b"));
  EXPECT_TRUE(RunTask(loop_, rest_->Get<core::ConfigMap>("ns", "b")).ok());
}

TEST_F(RestTest, GivesUpAfterTenRetryAfters) {
  server_.FailNext(100, 429, "0");
  const auto status = RunTask(loop_, rest_->Get<core::ConfigMap>("ns", "a")).status();
  EXPECT_TRUE(IsTooManyRequests(status));
  EXPECT_EQ(server_.requests().size(), 11u);
}

TEST_F(RestTest, NamesTheRequestWhenNobodyAnswers) {
  Config config;
  config.server = "http://127.0.0.1:1";
  auto rest = Rest::Make(loop_.get_executor(), config).value();
  const auto status = RunTask(loop_, rest->Create(Map("a"))).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_NE(status.message().find("Post \"http://127.0.0.1:1/api/v1/namespaces/ns/configmaps\""), std::string::npos)
      << status;
}

TEST_F(RestTest, SendsTokenFileAndReadsItAgainAfter401) {
  const std::string path = testing::TempDir() + "/skiff-token-" + std::to_string(getpid());
  ASSERT_TRUE(WriteFileAtomic(path, "one\n").ok());
  Config config = server_.config();
  config.token_file = path;
  auto rest = Rest::Make(loop_.get_executor(), config).value();
  server_.Put(Map("a"));
  std::vector<std::string> seen;
  server_.inspect = [&](const http::Request& request) {
    seen.emplace_back(request.headers.Get("Authorization"));
    return true;
  };
  EXPECT_TRUE(RunTask(loop_, rest->Get<core::ConfigMap>("ns", "a")).ok());
  ASSERT_TRUE(WriteFileAtomic(path, "two\n").ok());
  EXPECT_TRUE(RunTask(loop_, rest->Get<core::ConfigMap>("ns", "a")).ok());
  server_.FailNext(1, 401);
  EXPECT_TRUE(RunTask(loop_, rest->Get<core::ConfigMap>("ns", "a")).ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"Bearer one", "Bearer one", "Bearer one", "Bearer two"}));
  ASSERT_TRUE(RemoveAll(path).ok());
}

TEST_F(RestTest, RawGivesTheAnswerAsItIs) {
  auto answer = RunTask(loop_, rest_->Raw({.target = "/nothing"}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 404);
}

TEST(TokenBucketTest, LetsABurstThroughThenARate) {
  asio::io_context loop;
  FakeClock clock;
  TokenBucket bucket(10, 2, clock);
  EXPECT_EQ(bucket.Reserve().count(), 0);
  EXPECT_EQ(bucket.Reserve().count(), 0);
  EXPECT_NEAR(static_cast<double>(bucket.Reserve().count()), 1e8, 1e6);
  EXPECT_NEAR(static_cast<double>(bucket.Reserve().count()), 2e8, 1e6);
  clock.Advance(std::chrono::seconds(1), loop);
  EXPECT_EQ(bucket.Reserve().count(), 0);
  EXPECT_TRUE(bucket.TryTake());
  EXPECT_FALSE(bucket.TryTake());
}

TEST(TokenBucketTest, WhatIsGivenBackIsThereForOthers) {
  FakeClock clock;
  TokenBucket bucket(10, 2, clock);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(bucket.Reserve().count(), 0);
  EXPECT_NEAR(static_cast<double>(bucket.Wait().count()), 1e8, 1e6);
  EXPECT_NEAR(static_cast<double>(bucket.Reserve().count()), 1e8, 1e6);
  bucket.Cancel();
  EXPECT_NEAR(static_cast<double>(bucket.Wait().count()), 1e8, 1e6);
  for (int i = 0; i < 9; ++i) bucket.Cancel();
  EXPECT_EQ(bucket.Reserve().count(), 0);
  EXPECT_EQ(bucket.Reserve().count(), 0);
  EXPECT_GT(bucket.Reserve().count(), 0) << "never more than the burst";
}

// Whoever can cause requests, and hangs up before they are sent, must not make others wait.
TEST_F(RestTest, RequestsThatAreGivenUpTakeNothingFromTheRateLimit) {
  FakeClock clock;
  Config config = server_.config();
  config.qps = 10;
  config.burst = 1;
  auto rest = *Rest::Make(loop_.get_executor(), config, clock);
  ASSERT_TRUE(RunTask(loop_, rest->Create(Map("first"))).ok());
  int ended = 0;
  auto create = [&](int i) -> Task<void> {
    EXPECT_TRUE(absl::IsCancelled((co_await rest->Create(Map(absl::StrCat("m", i)))).status()));
    ++ended;
  };
  TaskGroup group(loop_.get_executor());
  for (int i = 0; i < 1000; ++i) group.Spawn("create", create(i));
  RunUntil(loop_, [&] { return clock.sleepers() == 1000; });
  group.Cancel();
  RunUntil(loop_, [&] { return ended == 1000; });
  bool done = false;
  auto next = [&]() -> Task<void> {
    EXPECT_TRUE((co_await rest->Create(Map("next"))).ok());
    done = true;
  };
  group.Spawn("next", next());
  RunUntil(loop_, [&] { return clock.sleepers() == 1; });
  clock.Advance(std::chrono::milliseconds(100), loop_);
  EXPECT_EQ(clock.sleepers(), 0u);
  RunUntil(loop_, [&] { return done; });
}

TEST_F(RestTest, CallsWithALimitEndThen) {
  FakeClock clock;
  Config config = server_.config();
  config.qps = 1;
  config.burst = 1;
  auto rest = *Rest::Make(loop_.get_executor(), config, clock);
  using std::chrono::seconds;
  EXPECT_TRUE(RunTask(loop_, CreateWithin(rest, seconds(3), Map("a"))).ok());
  std::vector<Status> ended;
  auto create = [&](std::string name) -> Task<void> {
    ended.push_back((co_await CreateWithin(rest, seconds(3), Map(name))).status());
  };
  TaskGroup group(loop_.get_executor());
  for (const char* name : {"b", "c", "d"}) group.Spawn("create", create(name));
  RunUntil(loop_, [&] { return clock.sleepers() == 6; });
  group.Spawn("create", create("e"));
  RunUntil(loop_, [&] { return ended.size() == 1; });
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended[0])) << "the fourth would have waited for four seconds: " << ended[0];
  for (size_t i = 2; i <= 3; ++i) {
    clock.Advance(seconds(1), loop_);
    RunUntil(loop_, [&] { return ended.size() == i; });
    EXPECT_TRUE(ended.back().ok()) << ended.back();
  }
  server_.FailNext(1, 503, "600");
  clock.Advance(seconds(1), loop_);
  RunUntil(loop_, [&] { return ended.size() == 4; });
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended[3])) << ended[3];
}

// One in a test's memory, which takes an hour for everything.
class SlowRest final : public Rest {
 public:
  SlowRest(asio::any_io_executor executor, Clock& clock) : executor_(std::move(executor)), clock_(clock) {}
  Task<StatusOr<std::unique_ptr<Watch>>> StartWatch(const Message&, std::string, ListOptions,
                                                    std::chrono::seconds) override {
    co_return absl::UnimplementedError("watch");
  }
  Task<StatusOr<http::ClientResponse>> Raw(RawRequest) override { co_return absl::UnimplementedError("raw"); }
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> RawOpen(RawRequest) override {
    co_return absl::UnimplementedError("raw");
  }
  Task<Status> Run(Call, Message*) override { return clock_.Sleep(std::chrono::hours(1)); }
  Task<StatusOr<RawList>> RunList(const Message&, std::string, ListOptions,
                                  std::function<void(std::shared_ptr<Message>)>) override {
    co_return absl::UnimplementedError("list");
  }
  const Config& config() const override { return config_; }
  asio::any_io_executor executor() const override { return executor_; }
  Clock& clock() const override { return clock_; }

 private:
  const asio::any_io_executor executor_;
  Clock& clock_;
  const Config config_;
};

TEST_F(RestTest, ACallOfAnyKindOfRestEndsInTime) {
  FakeClock clock;
  const auto rest = std::make_shared<SlowRest>(loop_.get_executor(), clock);
  std::optional<Status> ended;
  auto create = [&]() -> Task<void> {
    ended = (co_await CreateWithin<core::ConfigMap>(rest, std::chrono::seconds(3), Map("a"))).status();
  };
  TaskGroup group(loop_.get_executor());
  group.Spawn("create", create());
  RunUntil(loop_, [&] { return clock.sleepers() == 2; });
  clock.Advance(std::chrono::seconds(3), loop_);
  RunUntil(loop_, [&] { return ended.has_value(); });
  ASSERT_TRUE(ended);
  EXPECT_TRUE(absl::IsDeadlineExceeded(*ended)) << *ended;
}

TEST(WireTest, RefusesWhatIsNoObject) {
  core::ConfigMap map;
  EXPECT_TRUE(absl::IsDataLoss(DecodeObject("application/vnd.kubernetes.protobuf", "nonsense", &map)));
  EXPECT_TRUE(absl::IsDataLoss(DecodeObject("application/json", "{", &map)));
  const auto wrong = DecodeObject("application/json", R"({"kind":"Pod","apiVersion":"v1"})", &map);
  EXPECT_EQ(wrong.message(), "the server answered a Pod where a ConfigMap was expected");
  const auto none = [](std::shared_ptr<Message>) { FAIL(); };
  EXPECT_FALSE(DecodeList("application/vnd.kubernetes.protobuf", EncodeObject(map), map, none).ok());
  EXPECT_FALSE(DecodeWatchEvent(true,
                                "\x0a\x05"
                                "ADD",
                                map)
                   .ok());
  EXPECT_FALSE(DecodeWatchEvent(false, R"({"type":"NEWS","object":{}})", map).ok());
  EXPECT_FALSE(DecodeWatchEvent(false, "[]", map).ok());
}

TEST(WireTest, ReadsJsonWatchEventsToo) {
  const core::ConfigMap map;
  auto event = DecodeWatchEvent(
      false, R"({"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"}}})", map);
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(static_cast<core::ConfigMap&>(*event->object).metadata().name(), "x");
  auto error = DecodeWatchEvent(
      false, R"({"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired"}})", map);
  EXPECT_TRUE(IsGone(error.status()));
}

}  // namespace
}  // namespace skiff::client
