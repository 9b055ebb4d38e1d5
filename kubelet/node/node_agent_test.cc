#include "kubelet/node/node_agent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/quantity.h"
#include "base/async_testing.h"
#include "client/fake_api_server.h"
#include "client/testing.h"
#include "cri/fake_runtime.h"

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;

const core::NodeCondition* FindCondition(const core::NodeStatus& status, std::string_view type) {
  for (const auto& c : status.conditions()) {
    if (c.type() == type) return &c;
  }
  return nullptr;
}

std::string Text(const ResourceList& list, const std::string& key) {
  const auto it = list.find(key);
  return it == list.end() ? "none" : api::Quantity::Of(it->second).ToString();
}

// The fake, and something that happens while the list of images is asked for.
class SlowRuntime final : public cri::Runtime {
 public:
  explicit SlowRuntime(cri::Runtime& inner) : inner_(inner) {}
  std::function<void()> on_list_images;

#define SKIFF_FORWARD(name)                                                                                         \
  Task<StatusOr<cri::v1::name##Response>> name(cri::v1::name##Request request, cri::CallOptions options) override { \
    if (std::string_view(#name) == "ListImages" && on_list_images) on_list_images();                                \
    return inner_.name(std::move(request), options);                                                                \
  }
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_FORWARD)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_FORWARD)
#undef SKIFF_FORWARD
  Task<absl::Status> WatchContainerEvents(std::function<void(const cri::v1::ContainerEventResponse&)> f) override {
    return inner_.WatchContainerEvents(std::move(f));
  }

 private:
  cri::Runtime& inner_;
};

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
    facts_.given_ips = *ParseNodeIp(config_.node_ip);
    agent_ = std::make_unique<NodeAgent>(loop_.get_executor(), std::move(rest), slow_, clock_, events_, config_, facts_,
                                         *ComputeNodeResources(config_, facts_));
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

  core::Node Stored() const {
    const auto node = server_.Get<core::Node>("n1");
    return node == nullptr ? core::Node() : *node;
  }
  std::string Ready() const {
    const core::Node node = Stored();
    const auto* c = FindCondition(node.status(), "Ready");
    return c == nullptr ? "" : c->status();
  }
  std::string ReadyMessage() const {
    const core::Node node = Stored();
    const auto* c = FindCondition(node.status(), "Ready");
    return c == nullptr ? "" : c->message();
  }
  void Pass(std::chrono::nanoseconds time) {
    const SteadyTime later = clock_.Steady() + time;
    ASSERT_TRUE(Until([&] { return clock_.Steady() >= later; }));
  }
  size_t Events(std::string_view reason) const {
    return static_cast<size_t>(
        std::count_if(events_.events.begin(), events_.events.end(), [&](const auto& e) { return e.reason == reason; }));
  }

  asio::io_context loop_;
  FakeClock clock_;
  client::FakeApiServer server_{loop_.get_executor()};
  cri::FakeRuntime runtime_{clock_};
  SlowRuntime slow_{runtime_};
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

// Both are upgraded while the kubelet runs; images get further names.
TEST_F(NodeAgentTest, TheRuntimeTheSystemAndNamesOfImagesAreAsTheyAreNow) {
  facts_.runtime_name = "fake";
  facts_.runtime_version = "0.9.0";
  facts_.os_image = "as it was once";
  runtime_.AddImage("first:1", 1000);
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_EQ(Stored().status().nodeinfo().containerruntimeversion(), "fake://1.0.0");
  EXPECT_EQ(Stored().status().nodeinfo().osimage(), OsImage());
  auto named = [&](std::string_view tag) {
    const core::Node node = Stored();
    for (const auto& image : node.status().images()) {
      if (std::find(image.names().begin(), image.names().end(), tag) != image.names().end()) return true;
    }
    return false;
  };
  EXPECT_TRUE(named("first:1"));
  const SteadyTime before = clock_.Steady();
  for (auto& [id, image] : runtime_.images) image.add_repo_tags("second:1");
  ASSERT_TRUE(Until([&] { return named("second:1"); }));
  EXPECT_LT(clock_.Steady() - before, seconds(30)) << "not with the report of every five minutes";
}

TEST_F(NodeAgentTest, VolumesInUseOfAnEarlierKubeletGoOnceThePodsAreKnown) {
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  node.mutable_status()->add_volumesinuse("kubernetes.io/csi/driver^volume");
  server_.Put(node);
  bool ready = false;
  Start(server_.NewRest(clock_));
  agent_->SetSourcesReady([&] { return ready; });
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_EQ(Stored().status().volumesinuse_size(), 1);
  ready = true;
  EXPECT_TRUE(Until([&] { return Stored().status().volumesinuse_size() == 0; }));
}

TEST_F(NodeAgentTest, WithoutIsolationOfLocalStorageItIsNoResource) {
  config_.local_storage_capacity_isolation = false;
  const auto resources = ComputeNodeResources(config_, facts_);
  ASSERT_TRUE(resources.ok()) << resources.status();
  EXPECT_EQ(Text(resources->capacity, "ephemeral-storage"), "none");
  EXPECT_EQ(Text(resources->allocatable, "ephemeral-storage"), "none");
  EXPECT_EQ(Text(resources->capacity, "cpu"), "2");
}

TEST_F(NodeAgentTest, ResourcesOfOthersStayInTheStatus) {
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  auto* status = node.mutable_status();
  (*status->mutable_capacity())["example.com/dongle"] = api::Quantity(4).ToProto();
  (*status->mutable_capacity())["cpu"] = api::Quantity(64).ToProto();
  (*status->mutable_capacity())["hugepages-32Mi"] = api::Quantity(0).ToProto();
  (*status->mutable_allocatable())["hugepages-32Mi"] = api::Quantity(0).ToProto();
  (*status->mutable_allocatable())["example.com/unplugged"] = api::Quantity(1).ToProto();
  server_.Put(node);
  facts_.huge_pages = {{"2Mi", 0}};
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));

  node = Stored();
  EXPECT_EQ(Text(node.status().capacity(), "example.com/dongle"), "4");
  EXPECT_EQ(Text(node.status().allocatable(), "example.com/dongle"), "4");
  EXPECT_EQ(Text(node.status().allocatable(), "example.com/unplugged"), "none") << "its capacity is gone";
  EXPECT_EQ(Text(node.status().capacity(), "cpu"), "2");
  EXPECT_EQ(Text(node.status().capacity(), "hugepages-2Mi"), "0");
  EXPECT_EQ(Text(node.status().capacity(), "hugepages-32Mi"), "none") << "the machine has none of that size";
  EXPECT_EQ(Text(node.status().allocatable(), "hugepages-32Mi"), "none");
}

TEST_F(NodeAgentTest, AddressesAreLookedForWithEachStatus) {
  Start(server_.NewRest(clock_));
  // On another thread, which may be at it still when the test has ended.
  struct Machine {
    std::atomic<int> asked = 0, address = 1;
  };
  const auto machine = std::make_shared<Machine>();
  std::atomic<int>&asked = machine->asked, &address = machine->address;
  agent_->SetAddresses([machine]() -> StatusOr<std::vector<std::string>> {
    ++machine->asked;
    const int last = machine->address;
    if (last == 0) return NotFound("can't get ip address of node n1");
    return std::vector<std::string>{absl::StrCat("10.0.0.", last)};
  });
  auto is = [&](std::string_view text) {
    return Stored().status().addresses_size() == 2 && Stored().status().addresses(0).address() == text;
  };
  ASSERT_TRUE(Until([&] { return is("10.0.0.1"); }));
  address = 2;
  ASSERT_TRUE(Until([&] { return is("10.0.0.2"); }));
  EXPECT_TRUE(Until([&] { return agent_->HostIps() == std::vector<std::string>{"10.0.0.2"}; }));
  address = 0;
  const int before = asked;
  ASSERT_TRUE(Until([&] { return asked > before + 2; }));
  EXPECT_TRUE(is("10.0.0.2")) << "the last that was found stays";
}

TEST_F(NodeAgentTest, WhatTheMachineIsCannotBeRelabelled) {
  facts_.architecture = "amd64";
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  core::Node node = Stored();
  auto& labels = *node.mutable_metadata()->mutable_labels();
  labels["kubernetes.io/os"] = "dummyOS";
  labels.erase("kubernetes.io/arch");
  labels["mine"] = "too";
  server_.Put(node);
  agent_->Seen(Stored());
  ASSERT_TRUE(Until([&] { return Stored().metadata().labels().at("kubernetes.io/os") == "linux"; }));
  EXPECT_EQ(Stored().metadata().labels().at("kubernetes.io/arch"), "amd64");
  EXPECT_EQ(Stored().metadata().labels().at("mine"), "too");
}

TEST_F(NodeAgentTest, CordonsAreEvents) {
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  for (const bool cordoned : {true, false}) {
    core::Node node = Stored();
    node.mutable_spec()->set_unschedulable(cordoned);
    server_.Put(node);
    agent_->Seen(Stored());
    ASSERT_TRUE(Until([&] { return Events(cordoned ? "NodeNotSchedulable" : "NodeSchedulable") == 1; }));
  }
}

TEST_F(NodeAgentTest, WhoMayNotMakeNodesMayHaveOne) {
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  server_.Put(node);
  server_.FailNext(1, 403);
  Start(server_.NewRest(clock_));
  EXPECT_TRUE(Until([&] { return Ready() == "True"; }));
}

void AddCondition(const char* type, const char* value, core::Node* node) {
  auto* c = node->mutable_status()->add_conditions();
  c->set_type(type);
  c->set_status(value);
}

TEST_F(NodeAgentTest, WhatOthersWriteWhileTheStatusIsMadeStays) {
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  slow_.on_list_images = [&] {
    slow_.on_list_images = nullptr;
    core::Node node = Stored();
    AddCondition("NetworkUnavailable", "False", &node);
    server_.Put(node);
    agent_->Seen(Stored());
    runtime_.AddImage("something/new:1");  // so that there is something to write
  };
  ASSERT_TRUE(Until([&] { return Stored().status().images_size() == 1; }));
  EXPECT_NE(FindCondition(Stored().status(), "NetworkUnavailable"), nullptr);
}

TEST_F(NodeAgentTest, WhatOthersWroteStaysAfterAConflict) {
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  bool interfered = false;
  server_.inspect = [&](const http::Request& request) {
    if (request.method == "PUT" && !std::exchange(interfered, true)) {
      core::Node node = Stored();
      AddCondition("KernelDeadlock", "False", &node);
      (*node.mutable_status()->mutable_capacity())["example.com/dongle"] = api::Quantity(4).ToProto();
      server_.Put(node);
    }
    return true;
  };
  runtime_.AddImage("something/new:1");
  ASSERT_TRUE(Until([&] { return Stored().status().images_size() == 1; }));
  EXPECT_TRUE(interfered);
  EXPECT_NE(FindCondition(Stored().status(), "KernelDeadlock"), nullptr);
  EXPECT_EQ(Text(Stored().status().allocatable(), "example.com/dongle"), "4");
}

// Not registered by us: the first status is laid over what is there as well.
TEST_F(NodeAgentTest, ANodeThatOthersMadeKeepsTheirConditions) {
  config_.register_node = false;
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  AddCondition("NetworkUnavailable", "False", &node);
  server_.Put(node);
  slow_.on_list_images = [&] { agent_->Seen(Stored()); };
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_NE(FindCondition(Stored().status(), "NetworkUnavailable"), nullptr);
}

TEST_F(NodeAgentTest, OneFailedCheckOfTheRuntimeDoesNotMakeTheNodeNotReady) {
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  runtime_.failures["Status"] = {Unavailable("busy")};
  const int reads = runtime_.reads["Status"];
  ASSERT_TRUE(Until([&] { return runtime_.reads["Status"] > reads + 3; }));
  EXPECT_EQ(Events("NodeNotReady"), 0u);
  EXPECT_EQ(Ready(), "True");
  EXPECT_TRUE(agent_->network_ready().ok());
}

TEST_F(NodeAgentTest, NeitherDoesOneWhereChecksAreFarApart) {
  config_.node_status_update_frequency = seconds(60);
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  runtime_.failures["Status"] = {Unavailable("busy")};
  const int reads = runtime_.reads["Status"];
  bool always = true;
  ASSERT_TRUE(Until([&] {
    always = always && agent_->network_ready().ok();
    return runtime_.reads["Status"] > reads + 2;
  }));
  EXPECT_TRUE(always) << "pods need not wait";
  EXPECT_EQ(Events("NodeNotReady"), 0u);
}

TEST_F(NodeAgentTest, ARuntimeThatDoesNotAnswerForHalfAMinuteIsDown) {
  std::string relist;
  Start(server_.NewRest(clock_));
  agent_->AddHealthCheck([&] { return relist; });
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  const SteadyTime begin = clock_.Steady();
  runtime_.failures["Status"].assign(10000, Unavailable("no such socket"));
  ASSERT_TRUE(Until([&] { return Ready() == "False"; }));
  EXPECT_GE(clock_.Steady() - begin, seconds(19)) << "the last good check may be ten seconds old";
  EXPECT_EQ(ReadyMessage(), "container runtime is down");
  EXPECT_EQ(agent_->RuntimeErrors(), "container runtime is down");
  EXPECT_FALSE(agent_->network_ready().ok());
  relist = "PLEG is not healthy: pleg was last seen active 3m1s ago; threshold is 3m0s";
  ASSERT_TRUE(Until([&] { return ReadyMessage() == "[container runtime is down, " + relist + "]"; })) << ReadyMessage();

  relist.clear();
  runtime_.failures.clear();
  EXPECT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_TRUE(agent_->network_ready().ok());
  EXPECT_EQ(agent_->RuntimeErrors(), "");
}

TEST_F(NodeAgentTest, BeforeTheFirstGoodCheckTheNodeIsNotReady) {
  runtime_.failures["Status"].assign(10000, Unavailable("no such socket"));
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "False"; }));
  EXPECT_EQ(ReadyMessage(), "[container runtime status check may not have completed yet, network state unknown]");
  runtime_.failures.clear();
  runtime_.network_ready = false;
  EXPECT_TRUE(Until([&] {
    return ReadyMessage() ==
           "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network "
           "plugin "
           "returns error: cni plugin not initialized";
  })) << ReadyMessage();
}

// Whoever deletes a node that is still there wants it gone; a restart of the kubelet brings it back, as upstream's.
TEST_F(NodeAgentTest, ADeletedNodeIsNotMadeAnew) {
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  server_.Remove(core::Node(), "n1");
  runtime_.AddImage("something/new:1");  // so that there is something to write
  Pass(seconds(60));
  EXPECT_EQ(server_.CountRequests("POST /api/v1/nodes"), 1u);
  EXPECT_EQ(server_.Get<core::Node>("n1"), nullptr);
  EXPECT_EQ(agent_->uid(), "") << "nothing of it can own a lease or a mirror pod";
  EXPECT_EQ(Text(agent_->node().status().allocatable(), "cpu"), "2") << "pods that run are still judged by it";

  PutNode({});  // somebody made it again, and others' words are in it
  core::Node again = Stored();
  AddCondition("NetworkUnavailable", "False", &again);
  server_.Put(again);
  agent_->Seen(Stored());
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_NE(FindCondition(Stored().status(), "NetworkUnavailable"), nullptr);
  EXPECT_EQ(agent_->uid(), Stored().metadata().uid());
}

TEST_F(NodeAgentTest, TheDeletionOfAnEarlierNodeSaysNothingOfThisOne) {
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return !agent_->uid().empty(); }));
  core::Node earlier = Stored();
  earlier.mutable_metadata()->set_uid("another");
  agent_->Gone(earlier);
  EXPECT_EQ(agent_->uid(), Stored().metadata().uid());
  agent_->Gone(Stored());
  EXPECT_EQ(agent_->uid(), "");
}

TEST_F(NodeAgentTest, CsiNodeIsMadeThoughTheFirstStatusFails) {
  PutNode({});
  bool failed = false;
  server_.inspect = [&](const http::Request& request) {
    return !(request.target.ends_with("/nodes/n1/status") && !std::exchange(failed, true));
  };
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_TRUE(failed);
  EXPECT_EQ(server_.CountRequests("POST /apis/storage.k8s.io/v1/csinodes"), 1u);
}

std::string AddressesOf(const core::NodeStatus& status) {
  std::string out;
  for (const auto& a : status.addresses()) absl::StrAppend(&out, out.empty() ? "" : " ", a.type(), "=", a.address());
  return out;
}

TEST_F(NodeAgentTest, AnExternalCloudProviderIsWaitedFor) {
  config_.cloud_provider = "external";
  config_.register_with_taints_json = R"([{"key":"mine","effect":"NoExecute"}])";
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  core::Node node = Stored();
  ASSERT_EQ(node.spec().taints_size(), 2);
  EXPECT_EQ(node.spec().taints(0).key(), "mine");
  EXPECT_EQ(node.spec().taints(1).key(), "node.cloudprovider.kubernetes.io/uninitialized");
  EXPECT_EQ(node.spec().taints(1).value(), "true");
  EXPECT_EQ(node.spec().taints(1).effect(), "NoSchedule");
  EXPECT_EQ(AddressesOf(node.status()), "Hostname=n1");
  EXPECT_FALSE(node.metadata().annotations().contains(kProvidedNodeIp));

  // The provider's addresses are its own.
  auto* address = node.mutable_status()->add_addresses();
  address->set_type("ExternalIP");
  address->set_address("192.0.2.1");
  server_.Put(node);
  agent_->Seen(Stored());
  runtime_.AddImage("something/new:1");
  ASSERT_TRUE(Until([&] { return Stored().status().images_size() == 1; }));
  EXPECT_EQ(AddressesOf(Stored().status()), "Hostname=n1 ExternalIP=192.0.2.1");
}

TEST_F(NodeAgentTest, AnExternalCloudProviderIsToldTheAddressesOfNodeIp) {
  config_.cloud_provider = "external";
  config_.node_ip = "10.0.0.1,fd00::1";
  facts_.ips = {"10.0.0.1", "fd00::1"};
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_EQ(AddressesOf(Stored().status()), "InternalIP=10.0.0.1 InternalIP=fd00::1 Hostname=n1");
  EXPECT_EQ(Stored().metadata().annotations().at(kProvidedNodeIp), "10.0.0.1,fd00::1");
}

// An address of any interface names a family and nothing that a provider could be told.
TEST_F(NodeAgentTest, AnUnspecifiedNodeIpIsNotToldTheCloudProvider) {
  config_.cloud_provider = "external";
  config_.node_ip = "0.0.0.0";
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_EQ(AddressesOf(Stored().status()), "InternalIP=10.0.0.1 Hostname=n1");
  EXPECT_FALSE(Stored().metadata().annotations().contains(kProvidedNodeIp));
}

TEST_F(NodeAgentTest, AKnownNodeIsNotTaintedAgainForTheCloudProvider) {
  config_.cloud_provider = "external";
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  (*node.mutable_metadata()->mutable_annotations())[kProvidedNodeIp] = "10.9.9.9";
  server_.Put(node);
  Start(server_.NewRest(clock_));
  ASSERT_TRUE(Until([&] { return Ready() == "True"; }));
  EXPECT_EQ(Stored().spec().taints_size(), 0);
  EXPECT_FALSE(Stored().metadata().annotations().contains(kProvidedNodeIp)) << "of an earlier --node-ip";
}

}  // namespace
}  // namespace skiff::kubelet
