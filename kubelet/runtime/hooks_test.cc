#include "kubelet/runtime/hooks.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "cri/fake_runtime.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

TEST(HooksTest, WhatTheRuntimeSaysIsShownAsUpstreamsGrpcShowsIt) {
  asio::io_context loop;
  FakeClock clock;
  cri::FakeRuntime runtime(clock);
  runtime.failures["ExecSync"] = {absl::NotFoundError("no running task found")};
  core::LifecycleHandler handler;
  handler.mutable_exec()->add_command("sh");
  handler.mutable_exec()->add_command("-c");
  HookTarget target;
  target.pod = std::make_shared<const Pod>(testing_pods::MakePod({"c"}));
  target.container = target.pod->spec().containers(0);
  const Status status = RunTask(loop, RunHook(runtime, clock, target, handler, [](std::string) {}));
  EXPECT_EQ(status.message(),
            "Exec lifecycle hook ([sh -c]) for Container \"c\" in Pod \"p_ns(u-1)\" failed - error: rpc error: code = "
            "NotFound desc = no running task found, message: \"\"");
}

}  // namespace
}  // namespace skiff::kubelet
