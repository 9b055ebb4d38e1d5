// What admission does to pods and claims, seen over HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/apiserver/api_server_fixture.h"

namespace skiff::controlplane {
namespace {

using ::testing::HasSubstr;

constexpr char kPods[] = "/api/v1/namespaces/default/pods";

class AdmissionTest : public ApiServerTest {
 protected:
  void MakeNode() {
    const json labels = {{"topology.kubernetes.io/zone", "z1"}, {"topology.kubernetes.io/region", "r1"}, {"disk", "s"}};
    ASSERT_EQ(Call("POST", "/api/v1/nodes", {{"metadata", {{"name", "n1"}, {"labels", labels}}}}).status, 201);
    const json status = {{"allocatable", {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}}}};
    ASSERT_EQ(Call("PATCH", "/api/v1/nodes/n1/status", {{"status", status}}, "admin", {"system:masters"},
                   {{"Content-Type", "application/merge-patch+json"}})
                  .status,
              200);
  }
  Answered Resize(const std::string& pod, const json& resources) {
    const json patch = {{"spec", {{"containers", {{{"name", "c"}, {"resources", resources}}}}}}};
    return Call("PATCH", absl::StrCat(kPods, "/", pod, "/resize"), patch, "admin", {"system:masters"},
                {{"Content-Type", "application/strategic-merge-patch+json"}});
  }
  static json Resources(const char* request, const char* limit) {
    return {{"requests", {{"memory", request}}}, {"limits", {{"memory", limit}}}};
  }
};

TEST_F(AdmissionTest, ARuntimeClassesPlacementJoinsThePods) {
  MakeServiceAccount();
  const json toleration = {{"key", "t"}, {"operator", "Equal"}, {"value", "v"}, {"effect", "NoSchedule"}};
  const json wide = {{"key", "w"}, {"operator", "Exists"}};
  ASSERT_EQ(Call("POST", "/apis/node.k8s.io/v1/runtimeclasses",
                 {{"metadata", {{"name", "kata"}}},
                  {"handler", "kata"},
                  {"scheduling", {{"nodeSelector", {{"foo", "conflict"}}}, {"tolerations", {toleration, wide}}}}})
                .status,
            201);
  json pod = Pod("a");
  pod["spec"]["runtimeClassName"] = "kata";
  pod["spec"]["nodeSelector"] = {{"foo", "bar"}};
  const Answered refused = Call("POST", kPods, pod);
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(Message(refused),
            "pods \"a\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[foo] = conflict; "
            "pod.spec.nodeSelector[foo] = bar");
  pod["spec"]["nodeSelector"] = {{"own", "y"}};
  // One is the class's too, the other is within what the class tolerates.
  pod["spec"]["tolerations"] = {toleration, {{"key", "w"}, {"operator", "Exists"}, {"effect", "NoSchedule"}}};
  const json made = Call("POST", kPods, pod).document;
  EXPECT_EQ(made["spec"]["nodeSelector"], (json{{"foo", "conflict"}, {"own", "y"}}));
  json merged = json::array();
  for (const json& one : made["spec"]["tolerations"])
    if (one["key"].get<std::string>().size() == 1) merged.push_back(one);
  EXPECT_EQ(merged, (json{toleration, wide}));
}

TEST_F(AdmissionTest, LimitRangesBoundContainersPodsAndClaims) {
  MakeServiceAccount();
  const json limits = {
      {{"type", "Container"}, {"max", {{"cpu", "1"}}}, {"maxLimitRequestRatio", {{"memory", "2"}}}},
      {{"type", "Pod"}, {"max", {{"memory", "1Gi"}}}},
      {{"type", "PersistentVolumeClaim"}, {"min", {{"storage", "1Gi"}}}, {"max", {{"storage", "2Gi"}}}}};
  const Answered range = Call("POST", "/api/v1/namespaces/default/limitranges",
                              {{"metadata", {{"name", "l"}}}, {"spec", {{"limits", limits}}}});
  ASSERT_EQ(range.status, 201) << range.body;
  json pod = Pod("p");
  pod["spec"]["containers"][0]["resources"] = Resources("100Mi", "200Mi");
  json second = pod["spec"]["containers"][0];
  second["name"] = "d";

  json greedy = pod;
  greedy["spec"]["initContainers"] = json::array({second});
  greedy["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = "2";
  EXPECT_EQ(Message(Call("POST", kPods, greedy)),
            "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
  json uneven = pod;
  uneven["spec"]["containers"][0]["resources"] = Resources("100Mi", "300Mi");
  EXPECT_EQ(Message(Call("POST", kPods, uneven)),
            "pods \"p\" is forbidden: memory max limit to request ratio per Container is 2, but provided ratio is "
            "3.000000");
  uneven["spec"]["containers"][0]["resources"] = {{"limits", {{"cpu", "1"}}}};
  EXPECT_EQ(Message(Call("POST", kPods, uneven)),
            "pods \"p\" is forbidden: [memory max limit to request ratio per Container is 2, but no request is "
            "specified or request is 0, maximum memory usage per Pod is 1Gi.  No limit is specified]");
  json large = pod;
  large["spec"]["containers"].push_back(second);
  for (json& container : large["spec"]["containers"]) container["resources"] = Resources("600Mi", "600Mi");
  EXPECT_EQ(Message(Call("POST", kPods, large)),
            "pods \"p\" is forbidden: maximum memory usage per Pod is 1Gi, but limit is 1200Mi");

  // A resize keeps to them as well.
  ASSERT_EQ(Call("POST", kPods, pod).status, 201);
  const Answered resized = Resize("p", {{"limits", {{"cpu", "2"}}}, {"requests", {{"cpu", "1"}}}});
  EXPECT_EQ(resized.status, 403);
  EXPECT_EQ(Message(resized), "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
  EXPECT_EQ(Resize("p", {{"limits", {{"cpu", "800m"}}}, {"requests", {{"cpu", "500m"}}}}).status, 200);

  const auto claim = [&](const char* size) {
    return Call("POST", "/api/v1/namespaces/default/persistentvolumeclaims",
                {{"metadata", {{"name", "c"}}},
                 {"spec", {{"accessModes", {"ReadWriteOnce"}}, {"resources", {{"requests", {{"storage", size}}}}}}}});
  };
  EXPECT_EQ(Message(claim("500Mi")),
            "persistentvolumeclaims \"c\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but "
            "request is 500Mi");
  EXPECT_EQ(Message(claim("3Gi")),
            "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but "
            "request is 3Gi");
  EXPECT_EQ(claim("2Gi").status, 201);
}

TEST_F(AdmissionTest, PodsWaitForTheDefaultAccountOfANewNamespace) {
  ASSERT_EQ(Call("POST", "/api/v1/namespaces", {{"metadata", {{"name", "fresh"}}}}).status, 201);
  http::ClientRequest request{.method = "POST", .target = "/api/v1/namespaces/fresh/pods", .body = Pod("p").dump()};
  request.headers.Set("Content-Type", "application/json");
  std::optional<StatusOr<http::ClientResponse>> answer;
  ASSERT_EQ(Call("GET", "/version", nullptr, "early").status, 200);  // connected: nothing overtakes it below
  http::Client& early = ClientOf("early", {"system:masters"});
  asio::co_spawn(*loop_, Keep(early.Do(std::move(request)), &answer), asio::detached);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/fresh/pods").document["items"].size(), 0u);
  MakeServiceAccount("fresh");
  while (!answer && loop_->run_one() > 0) {
  }
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_EQ((*answer)->status, 201) << (*answer)->body;

  // Other accounts are not waited for, and nobody waits for ever.
  json pod = Pod("q");
  EXPECT_EQ(Message(Call("POST", kPods, pod)),
            "pods \"q\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not "
            "found");
}

TEST_F(AdmissionTest, MirrorPodsReferToNothing) {
  json pod = Pod("m");
  pod["metadata"]["annotations"] = {{"kubernetes.io/config.mirror", "x"}};
  pod["spec"]["nodeName"] = "n1";
  json secret = pod, token = pod;
  secret["spec"]["containers"][0]["envFrom"] = {{{"secretRef", {{"name", "s"}}}}};
  EXPECT_EQ(Message(Call("POST", kPods, secret)), "pods \"m\" is forbidden: a mirror pod may not reference secrets");
  token["spec"]["volumes"] = {
      {{"name", "v"}, {"projected", {{"sources", {{{"serviceAccountToken", {{"path", "t"}}}}}}}}}};
  EXPECT_EQ(Message(Call("POST", kPods, token)),
            "pods \"m\" is forbidden: a mirror pod may not use ServiceAccountToken volume projections");
  EXPECT_EQ(Call("POST", kPods, pod).status, 201);
}

TEST_F(AdmissionTest, PodsCarryTheTopologyOfTheirNode) {
  MakeServiceAccount();
  MakeNode();
  const json expected = {{"topology.kubernetes.io/region", "r1"}, {"topology.kubernetes.io/zone", "z1"}};
  json pod = Pod("placed");
  pod["spec"]["nodeName"] = "n1";
  EXPECT_EQ(Call("POST", kPods, pod).document["metadata"]["labels"], expected);
  EXPECT_FALSE(Call("POST", kPods, Pod("bound")).document["metadata"].contains("labels"));
  const json binding = {{"metadata", {{"name", "bound"}}}, {"target", {{"kind", "Node"}, {"name", "n1"}}}};
  ASSERT_EQ(Call("POST", std::string(kPods) + "/bound/binding", binding).status, 201);
  EXPECT_EQ(Call("GET", std::string(kPods) + "/bound").document["metadata"]["labels"], expected);
}

TEST_F(AdmissionTest, NoResizeGoesBeyondTheNode) {
  MakeServiceAccount();
  MakeNode();
  json pod = Pod("p");
  pod["spec"]["nodeName"] = "n1";
  pod["spec"]["containers"][0]["resources"] = {{"requests", {{"cpu", "1"}, {"memory", "1Gi"}}}};
  ASSERT_EQ(Call("POST", kPods, pod).status, 201);
  const Answered refused = Resize("p", {{"requests", {{"cpu", "5"}, {"memory", "9Gi"}}}});
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(Message(refused),
            "pods \"p\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 5000, "
            "allocatable: 4000; memory, requested: 9663676416, allocatable: 8589934592");
  EXPECT_EQ(refused.document["details"]["causes"][0]["reason"], "NodeCapacity");
  EXPECT_EQ(Resize("p", {{"requests", {{"cpu", "4"}}}}).status, 200);
}

}  // namespace
}  // namespace skiff::controlplane
