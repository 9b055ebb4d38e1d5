#include "kubelet/volume/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/codec.h"
#include "base/async_testing.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::kubelet {
namespace {

// Answers nothing before all that it will be asked for was asked.
struct PatientObjects final : ObjectSource {
  PatientObjects(asio::any_io_executor executor, size_t all) : executor(std::move(executor)), all(all) {}
  Task<void> Turn(std::string what) {
    asked.push_back(std::move(what));
    auto mine = std::make_shared<Wakeup>(executor);
    waiting.push_back(mine);
    if (asked.size() == all) {
      for (const auto& each : waiting) each->Notify();
    }
    (void)co_await mine->Wait();
  }
  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string, std::string name) override {
    co_await Turn(name);
    if (!there) co_return absl::NotFoundError(absl::StrCat("configmap \"", name, "\" not found"));
    ConfigMap map;
    (*map.mutable_data())["key"] = name;
    co_return std::make_shared<const ConfigMap>(map);
  }
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string, std::string name) override {
    co_await Turn(name);
    if (!there) co_return absl::NotFoundError(absl::StrCat("secret \"", name, "\" not found"));
    Secret secret;
    (*secret.mutable_data())["key"] = name;
    co_return std::make_shared<const Secret>(secret);
  }
  Task<StatusOr<Token>> GetToken(TokenRequest) override {
    co_await Turn("token");
    Token token;
    token.token = "t";
    co_return token;
  }
  void RegisterPod(const Pod&) override {}
  void UnregisterPod(const std::string&) override {}

  asio::any_io_executor executor;
  size_t all;
  bool there = true;
  std::vector<std::shared_ptr<Wakeup>> waiting;
  std::vector<std::string> asked;
};

struct CollectTest : testing::Test {
  StatusOr<Payload> Collect(PatientObjects* objects,
                            std::string_view sources = R"({"serviceAccountToken":{"path":"token"}},
                              {"configMap":{"name":"map"}},{"secret":{"name":"secret"}})") {
    auto pod = std::make_shared<Pod>();
    const std::string json = absl::StrCat(R"({"metadata":{"name":"p","namespace":"ns"},"spec":{"volumes":[)",
                                          R"({"name":"v","projected":{"sources":[)", sources, "]}}]}}");
    EXPECT_TRUE(api::FromJson(json, pod.get()).ok());
    StatusOr<Payload> out = absl::UnknownError("did not end");
    auto run = [&]() -> Task<void> {
      out = co_await CollectPayload(*objects, pod, pod->spec().volumes(0), VolumeKind::kProjected, {});
    };
    TaskGroup group(loop.get_executor());
    group.Spawn("collect", run());
    loop.poll();
    StatusOr<Payload> answered = out;
    group.Cancel();
    loop.restart();
    loop.poll();
    return answered;
  }
  asio::io_context loop;
};

TEST_F(CollectTest, TheSourcesOfAProjectedVolumeAreAskedForAtOnceAndTakeTheirTurns) {
  PatientObjects objects(loop.get_executor(), 3);
  const auto payload = Collect(&objects);
  ASSERT_TRUE(payload.ok()) << payload.status();
  EXPECT_THAT(objects.asked, testing::ElementsAre("token", "map", "secret"));
  EXPECT_EQ(payload->at("token").data, "t");
  EXPECT_EQ(payload->at("key").data, "secret") << "the later one stays";
}

TEST_F(CollectTest, ErrorsAreInTheSourcesOrder) {
  PatientObjects objects(loop.get_executor(), 3);
  objects.there = false;
  EXPECT_EQ(Collect(&objects).status().message(), "[configmap \"map\" not found, secret \"secret\" not found]");
}

// As upstream, which lets such a pod in and passes over the source.
TEST_F(CollectTest, ASourceOfNothingBringsNothing) {
  PatientObjects objects(loop.get_executor(), 1);
  const auto payload = Collect(&objects, R"({},{"configMap":{"name":"map"}})");
  ASSERT_TRUE(payload.ok()) << payload.status();
  EXPECT_EQ(payload->size(), 1u);
  EXPECT_EQ(payload->at("key").data, "map");
}

}  // namespace
}  // namespace skiff::kubelet
