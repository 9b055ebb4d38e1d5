// The node object of a recording of upstream's kubelet (kubelet/12-node), made again from the facts that lie behind it.
#include <nlohmann/json.hpp>

#include "api/codec.h"
#include "api/time.h"
#include "base/files.h"
#include "gtest/gtest.h"
#include "kubelet/node/csi_node.h"
#include "kubelet/node/node_facts.h"

namespace skiff::kubelet {
namespace {

using Json = nlohmann::json;

class NodeReplay : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Exists("../shared/goldens/kubelet/12-node/node.json")) GTEST_SKIP() << "no recordings at ../shared/goldens";
  }
  static Json Load(const std::string& name) {
    auto text = ReadFile("../shared/goldens/kubelet/12-node/" + name);
    return Json::parse(text.value_or("{}"));
  }
};

// The settings and facts of the recorded node; see the recordings' README.
Config RecordedConfig() {
  Config config;
  EXPECT_TRUE(ApplyConfig(DefaultConfig(false), &config).ok());
  config.max_pods = 250;
  config.hostname_override = "n1";
  return config;
}

NodeFacts RecordedFacts(const Json& info) {
  NodeFacts f;
  f.name = f.hostname = "n1";
  f.ips = {"10.250.0.11"};
  f.machine_id = info["machineID"];
  f.system_uuid = info["systemUUID"];
  f.boot_id = info["bootID"];
  f.kernel_version = info["kernelVersion"];
  f.os_image = info["osImage"];
  f.architecture = "amd64";
  f.cpus = 2;
  f.memory = int64_t{24684092} << 10;
  f.disk_capacity = int64_t{264212084} << 10;
  f.huge_pages = {{"1Gi", 0}, {"2Mi", 0}};
  f.runtime_name = "containerd";
  f.runtime_version = "2.1.9+unknown";
  return f;
}

TEST_F(NodeReplay, Node) {
  Json recorded = Load("node.json")["response"]["body"];
  const Config config = RecordedConfig();
  const NodeFacts facts = RecordedFacts(recorded["status"]["nodeInfo"]);
  auto resources = ComputeNodeResources(config, facts);
  ASSERT_TRUE(resources.ok()) << resources.status();
  EXPECT_TRUE(ValidateReservations(config, *resources).ok());
  core::Node node = MakeNode(config, facts, *resources);
  ::runtime::v1::StatusResponse runtime;
  for (const char* name : {"runc", ""}) {
    auto* handler = runtime.add_runtime_handlers();
    handler->set_name(name);
    handler->mutable_features()->set_recursive_read_only_mounts(true);
  }
  runtime.mutable_features()->set_supplemental_groups_policy(true);
  SetRuntimeFeatures(runtime, node.mutable_status());
  ::runtime::v1::ListImagesResponse images;
  for (auto it = recorded["status"]["images"].rbegin(); it != recorded["status"]["images"].rend(); ++it) {
    auto* image = images.add_images();
    for (const auto& name : (*it)["names"]) image->add_repo_tags(name);
    image->set_size((*it)["sizeBytes"]);
  }
  SetImages(images, config.node_status_max_images, node.mutable_status());
  SetConditions({}, {}, WallTime(), node.mutable_status());

  Json ours = Json::parse(api::ToJson(node));
  EXPECT_EQ(ours["metadata"]["labels"], recorded["metadata"]["labels"]);
  EXPECT_EQ(ours["metadata"]["annotations"]["volumes.kubernetes.io/controller-managed-attach-detach"], "true");
  for (Json* status : {&ours["status"], &recorded["status"]}) {
    for (auto& c : (*status)["conditions"]) c.erase("lastHeartbeatTime"), c.erase("lastTransitionTime");
    // Images of one size may stand in either order.
    std::sort((*status)["images"].begin(), (*status)["images"].end(),
              [](const Json& a, const Json& b) { return a.dump() < b.dump(); });
  }
  // What upstream's kubelet can beyond this one is not declared.
  for (const auto& feature : ours["status"]["declaredFeatures"]) {
    const auto& theirs = recorded["status"]["declaredFeatures"];
    EXPECT_NE(std::find(theirs.begin(), theirs.end(), feature), theirs.end()) << feature;
  }
  ours["status"].erase("declaredFeatures");
  recorded["status"].erase("declaredFeatures");
  for (const auto& [key, value] : recorded["status"].items()) EXPECT_EQ(ours["status"][key], value) << key;
  for (const auto& [key, value] : ours["status"].items()) EXPECT_TRUE(recorded["status"].contains(key)) << key;
}

TEST_F(NodeReplay, CsiNode) {
  Json recorded = Load("csinode.json")["response"]["body"];
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  node.mutable_metadata()->set_uid(recorded["metadata"]["ownerReferences"][0]["uid"]);
  Json ours = Json::parse(api::ToJson(MakeCsiNode(node)));
  for (const char* key : {"name", "annotations", "ownerReferences"}) {
    EXPECT_EQ(ours["metadata"][key], recorded["metadata"][key]) << key;
  }
  EXPECT_EQ(ours["spec"], recorded["spec"]);
}

TEST(NodeResourcesTest, ReservationsBeyondCapacityAreNamed) {
  Config config;
  ASSERT_TRUE(ApplyConfig(DefaultConfig(false), &config).ok());
  config.system_reserved = {{"memory", "3Gi"}};
  config.kube_reserved = {{"memory", "2Gi"}, {"cpu", "3"}};
  NodeFacts facts;
  facts.cpus = 2;
  facts.memory = int64_t{4} << 30;
  facts.disk_capacity = 1 << 30;
  auto resources = ComputeNodeResources(config, facts);
  ASSERT_TRUE(resources.ok());
  EXPECT_EQ(
      ValidateReservations(config, *resources).message(),
      "invalid Node Allocatable configuration. Resource \"cpu\" has a reservation of 3 but capacity of 2. Expected "
      "capacity >= reservation. Resource \"memory\" has a reservation of 5220Mi but capacity of 4Gi. Expected "
      "capacity >= reservation.");
}

}  // namespace
}  // namespace skiff::kubelet
