#include "kubelet/volume/object_cache.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/time.h"
#include "base/async_testing.h"
#include "base/http_server.h"
#include "client/fake_api_server.h"
#include "client/testing.h"

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;

class ObjectCacheTest : public testing::Test {
 protected:
  ObjectCacheTest() {
    config_.mutable_metadata()->set_namespace_("ns");
    config_.mutable_metadata()->set_name("cm");
    (*config_.mutable_data())["k"] = "old";
    server_.Put(config_);
  }
  void Change(const std::string& value) {
    (*config_.mutable_data())["k"] = value;
    config_.mutable_metadata()->clear_resourceversion();
    server_.Put(config_);
  }
  // The client waits between its tries by the same clock.
  std::string Read() {
    std::optional<std::string> out;
    Spawn(loop_.get_executor(), "read", Keep(cache_, &out));
    client::RunUntil(loop_, [&] {
      if (clock_.sleepers() > 0) clock_.Advance(seconds(1), loop_);
      return out.has_value();
    });
    return out.value_or("nothing came");
  }
  static Task<void> Keep(ObjectCache& cache, std::optional<std::string>* out) {
    const auto object = co_await cache.GetConfigMap("ns", "cm");
    *out = object.ok() ? (*object)->data().at("k") : std::string(object.status().message());
  }
  size_t Requests() const { return server_.CountRequests("GET /api/v1/namespaces/ns/configmaps/cm"); }
  static Pod PodWith(bool environment) {
    Pod pod;
    pod.mutable_metadata()->set_uid("u1");
    pod.mutable_metadata()->set_namespace_("ns");
    if (environment) {
      auto* from = pod.mutable_spec()->add_containers()->add_envfrom();
      from->mutable_configmapref()->mutable_localobjectreference()->set_name("cm");
    } else {
      auto* source = pod.mutable_spec()->add_volumes()->mutable_volumesource();
      source->mutable_configmap()->mutable_localobjectreference()->set_name("cm");
    }
    return pod;
  }

  asio::io_context loop_;
  FakeClock clock_;
  client::FakeApiServer server_{loop_.get_executor()};
  ObjectCache cache_{server_.NewRest(clock_), clock_};
  ConfigMap config_;
};

TEST_F(ObjectCacheTest, AReadIsSharedForAMoment) {
  EXPECT_EQ(Read(), "old");
  Change("new");
  EXPECT_EQ(Read(), "old");
  clock_.Advance(seconds(11), loop_);
  EXPECT_EQ(Read(), "new");
  EXPECT_EQ(Requests(), 2u);
}

TEST_F(ObjectCacheTest, ANewPodSeesNothingOlderThanItself) {
  EXPECT_EQ(Read(), "old");
  Change("new");
  clock_.Advance(seconds(1), loop_);
  cache_.RegisterPod(PodWith(true));
  EXPECT_EQ(Read(), "new");
}

TEST_F(ObjectCacheTest, AnImmutableObjectIsReadOnceWhileAPodRefersToIt) {
  config_.set_immutable(true);
  Change("for ever");
  cache_.RegisterPod(PodWith(false));
  EXPECT_EQ(Read(), "for ever");
  clock_.Advance(seconds(3600), loop_);
  EXPECT_EQ(Read(), "for ever");
  EXPECT_EQ(Requests(), 1u);
  cache_.UnregisterPod("u1");
  EXPECT_EQ(cache_.size(), 0u);
}

// security.md: api-outage. Upstream's kubelet has a watch with its own store; a restarting container gets its
// environment from there.
TEST_F(ObjectCacheTest, ApiOutage_ContainersStartWithWhatWasReadBefore) {
  cache_.RegisterPod(PodWith(true));
  EXPECT_EQ(Read(), "old");
  clock_.Advance(seconds(600), loop_);
  server_.FailNext(1000, 503);
  EXPECT_EQ(Read(), "old");
  server_.FailNext(0, 503);
  Change("new");
  EXPECT_EQ(Read(), "new") << "at the first chance";
  server_.Remove(config_, "ns/cm");
  clock_.Advance(seconds(600), loop_);
  EXPECT_EQ(Read(), "configmap \"cm\" not found") << "a server that answers is believed";
  cache_.UnregisterPod("u1");
  EXPECT_EQ(cache_.size(), 0u);
}

// An API server that issues tokens, with a clock of its own.
struct TokensTest : testing::Test {
  asio::io_context loop;
  FakeClock clock, servers_clock;
  int issued = 0;
  bool down = false;
  http::Server server{loop.get_executor(), [this](http::Exchange& e) { return Issue(e); }};
  std::unique_ptr<ObjectCache> cache;

  TokensTest() {
    client::Config config;
    config.server = absl::StrCat("http://127.0.0.1:", *server.Listen("127.0.0.1:0"));
    cache = std::make_unique<ObjectCache>(*client::Rest::Make(loop.get_executor(), config), clock);
  }
  Task<void> Issue(http::Exchange& exchange) {
    (void)co_await exchange.ReadBody();
    const nlohmann::json answer = {
        {"kind", "TokenRequest"},
        {"apiVersion", "authentication.k8s.io/v1"},
        {"spec", {{"expirationSeconds", 3600}}},
        {"status",
         {{"token", absl::StrCat("t", ++issued)},
          {"expirationTimestamp", api::FormatTime(api::ToTime(servers_clock.Now() + std::chrono::hours(1)))}}}};
    (co_await exchange.Respond(down ? 403 : 201, {{"Content-Type", "application/json"}}, answer.dump())).IgnoreError();
  }
  std::string Get() {
    TokenRequest request;
    request.ns = "ns";
    request.service_account = "sa";
    request.pod_uid = "u";
    auto token = RunTask(loop, cache->GetToken(request));
    return token.ok() ? token->token : "none";
  }
  void After(std::chrono::minutes time) {
    clock.Advance(time, loop);
    servers_clock.Advance(time, loop);
  }
};

TEST_F(TokensTest, AreRenewedAfterFourFifthsOfTheirLife) {
  EXPECT_EQ(Get(), "t1");
  After(std::chrono::minutes(47));
  EXPECT_EQ(Get(), "t1");
  After(std::chrono::minutes(2));
  down = true;
  EXPECT_EQ(Get(), "t1") << "which still lives";
  After(std::chrono::minutes(12));
  EXPECT_EQ(Get(), "none");
  down = false;
  EXPECT_EQ(Get(), absl::StrCat("t", issued));
}

// Reliability row clock-jump: no token is held beyond its life because the clock was set back; where it was set forward
// one is asked for, and not again and again.
TEST_F(TokensTest, clock_jump) {
  for (auto jump : {std::chrono::hours(-1), std::chrono::hours(1)}) {
    Get();
    After(std::chrono::minutes(30));
    const int before = issued;
    clock.JumpWall(jump);
    After(std::chrono::minutes(20));
    Get();
    EXPECT_EQ(issued, before + 1);
    After(std::chrono::minutes(40));
    for (int i = 0; i < 5; ++i) Get();
    EXPECT_EQ(issued, before + 1);
    After(std::chrono::minutes(9));
    Get();
    EXPECT_EQ(issued, before + 2);
    clock.JumpWall(-jump);
    After(std::chrono::minutes(50));
  }
}

TEST_F(ObjectCacheTest, WhatOnlyVolumesNameIsNotHeld) {
  cache_.RegisterPod(PodWith(false));
  EXPECT_EQ(Read(), "old");
  clock_.Advance(seconds(60), loop_);
  cache_.UnregisterPod("another");
  EXPECT_EQ(cache_.size(), 0u);
}

}  // namespace
}  // namespace skiff::kubelet
