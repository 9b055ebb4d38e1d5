#include "cri/faulty_runtime.h"

#include "cri/fake_runtime.h"
#include "gtest/gtest.h"

namespace skiff::cri {
namespace {

using std::chrono::seconds;

struct FaultyRuntimeTest : ::testing::Test {
  void Make(FaultRates rates, uint64_t seed = 1) {
    plan = std::make_shared<FaultPlan>(seed, rates);
    line = std::make_unique<FaultyRuntime>(real, clock, plan);
  }
  static Task<void> Run(Runtime* runtime, seconds timeout, std::optional<Status>* out) {
    v1::RunPodSandboxRequest request;
    request.mutable_config()->mutable_metadata()->set_name("p");
    *out = (co_await runtime->RunPodSandbox(std::move(request), {.timeout = timeout})).status();
  }
  std::optional<Status> Call(seconds wait, seconds timeout = seconds(60)) {
    std::optional<Status> out;
    Spawn(loop.get_executor(), "call", Run(line.get(), timeout, &out));
    clock.Advance(wait, loop);
    return out;
  }

  asio::io_context loop;
  FakeClock clock;
  FakeRuntime real{clock};
  std::shared_ptr<FaultPlan> plan;
  std::unique_ptr<FaultyRuntime> line;
};

TEST_F(FaultyRuntimeTest, WithoutFaultsItIsTheRuntime) {
  Make({});
  EXPECT_TRUE(Call(seconds(0))->ok());
  EXPECT_EQ(real.sandboxes.size(), 1u);
  EXPECT_EQ(plan->drawn(), 0u);
}

TEST_F(FaultyRuntimeTest, ACallFailsBeforeItTakesEffectOrLosesItsAnswer) {
  Make({.fail = 1});
  EXPECT_FALSE(Call(seconds(0))->ok());
  EXPECT_TRUE(real.sandboxes.empty());
  Make({.lose = 1});
  const Status lost = *Call(seconds(0));
  EXPECT_FALSE(lost.ok());
  EXPECT_FALSE(absl::IsCancelled(lost)) << "that means the caller was";
  EXPECT_EQ(real.sandboxes.size(), 1u);
  plan->SetOn(false);
  EXPECT_TRUE(Call(seconds(0))->ok());
}

TEST_F(FaultyRuntimeTest, ACallComesTwiceAndStrictRuntimesRefuseTheSecond) {
  Make({.twice = 1});
  EXPECT_TRUE(Call(seconds(0)));
  EXPECT_EQ(real.sandboxes.size(), 2u);
  real.sandboxes.clear();
  real.strict = true;
  EXPECT_TRUE(Call(seconds(0)));
  EXPECT_EQ(real.sandboxes.size(), 1u);
}

TEST_F(FaultyRuntimeTest, ALateCallTakesEffectAfterItsCallerGaveUp) {
  Make({.freeze = 1, .longest_freeze = seconds(1000)});
  const auto answer = Call(seconds(5), seconds(2));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(absl::IsDeadlineExceeded(*answer));
  EXPECT_TRUE(real.sandboxes.empty());
  line->Cut();
  EXPECT_TRUE(absl::IsCancelled(*Call(seconds(0))));
  clock.Advance(seconds(2000), loop);
  EXPECT_EQ(real.sandboxes.size(), 1u);
}

TEST(FaultPlan, TheSameSeedDrawsTheSame) {
  FaultRates rates{.fail = 0.3, .lose = 0.3, .twice = 0.3, .delay = 0.5};
  FaultPlan a(7, rates), b(7, rates);
  for (int i = 0; i < 100; ++i) {
    const CallFaults x = a.Draw("m"), y = b.Draw("m");
    EXPECT_EQ(x.fail, y.fail);
    EXPECT_EQ(x.before, y.before);
    EXPECT_EQ(x.error, y.error);
  }
}

}  // namespace
}  // namespace skiff::cri
