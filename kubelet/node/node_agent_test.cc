#include "kubelet/node/node_agent.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "client/fake_api_server.h"
#include "client/testing.h"
#include "cri/fake_runtime.h"

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;

class NodeAgentTest : public testing::Test {
 protected:
  NodeAgentTest() {
    EXPECT_TRUE(ApplyConfig(DefaultConfig(false), &config_).ok());
    facts_.name = facts_.hostname = "n1";
    facts_.ips = {"10.0.0.1"};
    facts_.cpus = 2;
    facts_.memory = int64_t{8} << 30;
    facts_.disk_capacity = int64_t{100} << 30;
  }
  ~NodeAgentTest() override {
    group_.Cancel();
    client::RunUntil(loop_, [this] { return group_.size() == 0; });
  }
  void Start(std::shared_ptr<client::Rest> rest) {
    agent_ = std::make_unique<NodeAgent>(loop_.get_executor(), std::move(rest), runtime_, clock_, events_, config_,
                                         facts_, *ComputeNodeResources(config_, facts_));
    group_.Spawn("node", agent_->Run());
  }
  bool Until(const std::function<bool()>& condition) {
    return client::RunUntil(loop_, [&] {
      if (condition()) return true;
      if (clock_.sleepers() > 0) clock_.Advance(seconds(1), loop_);
      return false;
    });
  }
  size_t Told(const std::string& cidr) const { return runtime_.CountCalls("UpdateRuntimeConfig " + cidr); }
  void PutNode(std::vector<std::string> cidrs) {
    core::Node node;
    node.mutable_metadata()->set_name("n1");
    for (const std::string& cidr : cidrs) node.mutable_spec()->add_podcidrs(cidr);
    server_.Put(node);
  }

  asio::io_context loop_;
  FakeClock clock_;
  client::FakeApiServer server_{loop_.get_executor()};
  cri::FakeRuntime runtime_{clock_};
  client::FakeEventSink events_;
  Config config_;
  NodeFacts facts_;
  TaskGroup group_{loop_.get_executor()};
  std::unique_ptr<NodeAgent> agent_;
};

// As upstream's kubelet; a runtime with a template makes its CNI configuration of it, and is not ready before.
TEST_F(NodeAgentTest, TheRuntimeIsToldTheNodesPodSubnetsOnce) {
  PutNode({"10.244.1.0/24", "fd00:1::/64"});
  runtime_.failures["UpdateRuntimeConfig"] = {Unavailable("not yet")};
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Told("10.244.1.0/24,fd00:1::/64") == 2; })) << "again after a failure";
  const SteadyTime later = clock_.Steady() + seconds(60);
  ASSERT_TRUE(Until([&] { return clock_.Steady() >= later; }));
  EXPECT_EQ(Told(""), 2u);

  core::Node moved = agent_->node();
  moved.mutable_spec()->clear_podcidrs();
  moved.mutable_spec()->set_podcidr("10.244.7.0/24");
  agent_->Seen(moved);
  EXPECT_TRUE(Until([&] { return Told("10.244.7.0/24") == 1; }));
}

TEST_F(NodeAgentTest, StandaloneTheSubnetIsTheConfigurations) {
  config_.pod_cidr = "10.88.0.0/16";
  Start(nullptr);
  EXPECT_TRUE(Until([&] { return Told("10.88.0.0/16") == 1; }));
}

TEST_F(NodeAgentTest, WhatTheRuntimesHandlersCanIsAskedEachTime) {
  Start(nullptr);
  ASSERT_TRUE(Until([&] { return agent_->runtime_ready(); }));
  EXPECT_FALSE(agent_->RecursiveReadOnly(""));
  runtime_.recursive_read_only = true;  // a newer one in its place
  ASSERT_TRUE(Until([&] { return agent_->RecursiveReadOnly(""); }));
  EXPECT_FALSE(agent_->RecursiveReadOnly("another"));
}

}  // namespace
}  // namespace skiff::kubelet
