// Rules about writes, seen over HTTP: admission, warnings, conversion, and security rows that rest on them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "controlplane/apiserver/api_server_fixture.h"

namespace skiff::controlplane {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPods[] = "/api/v1/namespaces/default/pods";
constexpr char kMerge[] = "application/merge-patch+json";

class WritesTest : public ApiServerTest {
 protected:
  Answered Patch(const std::string& target, const json& body, const std::string& user = "admin",
                 const std::vector<std::string>& groups = {"system:masters"}) {
    return Call("PATCH", target, body, user, groups, {{"Content-Type", kMerge}});
  }
  Answered PatchAsNode(const std::string& target, const json& body) {
    return Patch(target, body, "system:node:n1", {"system:nodes"});
  }
  // The Warning headers of a request.
  std::vector<std::string> Warnings(const std::string& target, const json& body) {
    http::ClientRequest request{.method = "POST", .target = target};
    request.body = body.dump();
    request.headers.Set("Content-Type", "application/json");
    auto response = Run(ClientOf("admin", {"system:masters"}).Do(std::move(request)));
    EXPECT_TRUE(response.ok() && response->status == 201) << (response.ok() ? response->body : "no answer");
    std::vector<std::string> out;
    if (response.ok())
      for (std::string_view value : response->headers.All("Warning")) out.emplace_back(value);
    return out;
  }
};

TEST_F(WritesTest, BindingIsNoChangeOfTheSpecification) {
  MakeServiceAccount();
  EXPECT_EQ(Call("POST", kPods, Pod("p")).document["metadata"]["generation"], 1);
  const json binding = {{"metadata", {{"name", "p"}}}, {"target", {{"kind", "Node"}, {"name", "n1"}}}};
  ASSERT_EQ(Call("POST", std::string(kPods) + "/p/binding", binding).status, 201);
  EXPECT_EQ(Call("GET", std::string(kPods) + "/p").document["metadata"]["generation"], 1);
  ASSERT_EQ(Patch(std::string(kPods) + "/p/status", {{"status", {{"phase", "Running"}}}}).status, 200);
  EXPECT_EQ(Call("GET", std::string(kPods) + "/p").document["metadata"]["generation"], 1);
}

TEST_F(WritesTest, ResizingChangesProcessorTimeAndMemoryOnly) {
  MakeServiceAccount();
  json pod = Pod("p");
  pod["spec"]["containers"][0]["resources"] = {{"requests", {{"cpu", "10m"}, {"memory", "16Mi"}}}};
  ASSERT_EQ(Call("POST", kPods, pod).status, 201);
  const std::string resize = std::string(kPods) + "/p/resize";
  auto patch = [&](json resources) {
    return Call("PATCH", resize, {{"spec", {{"containers", {{{"name", "c"}, {"resources", std::move(resources)}}}}}}},
                "admin", {"system:masters"}, {{"Content-Type", "application/strategic-merge-patch+json"}});
  };
  const Answered resized = patch({{"requests", {{"cpu", "20m"}}}});
  ASSERT_EQ(resized.status, 200) << resized.body;
  EXPECT_EQ(resized.document["spec"]["containers"][0]["resources"]["requests"]["cpu"], "20m");
  EXPECT_EQ(resized.document["metadata"]["generation"], 2);
  EXPECT_EQ(Message(patch({{"limits", {{"example.com/foo", "1"}}}, {"requests", {{"example.com/foo", "1"}}}})),
            "Pod \"p\" is invalid: spec: Forbidden: only cpu and memory resources are mutable");
  EXPECT_EQ(Message(patch({{"requests", {{"cpu", nullptr}, {"memory", nullptr}}}})),
            "Pod \"p\" is invalid: [spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of "
            "resizing, spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed]");
  // The main resource takes no part in it.
  EXPECT_EQ(Patch(std::string(kPods) + "/p",
                  {{"spec", {{"containers", {{{"name", "c"}, {"image", "j"}, {"resources", json::object()}}}}}}})
                .status,
            422);
}

TEST_F(WritesTest, ResizesOfInitContainersAndOfThePod) {
  MakeServiceAccount();
  json pod = Pod("p");
  pod["metadata"]["labels"] = {{"a", "b"}};
  pod["spec"]["initContainers"] = {
      {{"name", "s"}, {"image", "i"}, {"resources", {{"requests", {{"cpu", "10m"}}}}}},
  };
  pod["spec"]["resources"] = {{"requests", {{"cpu", "1"}, {"memory", "1Gi"}}}, {"limits", {{"cpu", "2"}}}};
  ASSERT_EQ(Call("POST", kPods, pod).status, 201);
  const std::string at = std::string(kPods) + "/p", resize = at + "/resize";
  const json stored = Call("GET", at).document;
  EXPECT_EQ(stored["status"]["qosClass"], "Burstable");  // by the pod's own resources

  json wanted = stored;
  wanted["metadata"]["labels"] = {{"a", "c"}};
  wanted["spec"]["initContainers"][0]["image"] = "j";
  wanted["spec"]["initContainers"][0]["resources"]["requests"]["cpu"] = "20m";
  wanted["spec"]["resources"]["limits"]["cpu"] = "3";
  const Answered resized = Call("PUT", resize, wanted);
  ASSERT_EQ(resized.status, 200) << resized.body;
  const json& spec = resized.document["spec"];
  EXPECT_EQ(spec["initContainers"][0]["resources"]["requests"]["cpu"], "20m");
  EXPECT_EQ(spec["initContainers"][0]["image"], "i");
  EXPECT_EQ(spec["resources"]["limits"]["cpu"], "3");
  EXPECT_EQ(resized.document["metadata"]["labels"]["a"], "b");

  // A running container without resources says so: its node can resize.
  const json running = {{{"name", "c"}, {"state", {{"running", json::object()}}}, {"resources", json::object()}}};
  ASSERT_EQ(Patch(at + "/status", {{"status", {{"containerStatuses", running}}}}).status, 200);
  EXPECT_EQ(Call("PUT", resize, Call("GET", at).document).status, 200);

  auto refusal = [&](auto change) {
    json body = Call("GET", at).document;
    change(&body["spec"]);
    const Answered answered = Call("PUT", resize, body);
    EXPECT_EQ(answered.status, 422) << answered.body;
    return Message(answered);
  };
  EXPECT_EQ(refusal([](json* spec) { spec->erase("resources"); }),
            "Pod \"p\" is invalid: spec.resources: Forbidden: pod-level resources cannot be removed");
  EXPECT_EQ(refusal([](json* spec) { (*spec)["resources"].erase("limits"); }),
            "Pod \"p\" is invalid: spec.resources.limits: Forbidden: pod-level resource limits cannot be removed");
  EXPECT_EQ(refusal([](json* spec) { (*spec)["containers"][0]["name"] = "d"; }),
            "Pod \"p\" is invalid: spec.containers[0].name: Forbidden: containers may not be renamed or reordered on "
            "resize");
  EXPECT_EQ(refusal([](json* spec) {
              (*spec)["containers"].push_back({{"name", "d"}, {"image", "i"}});
            }),
            "Pod \"p\" is invalid: spec.containers: Forbidden: containers may not be added or removed on resize");
}

TEST_F(WritesTest, StatusesKeepWhatAClientDoesNotKnow) {
  MakeServiceAccount();
  json pod = Pod("p");
  pod["spec"]["nodeName"] = "n1";
  pod["spec"]["restartPolicy"] = "Never";
  ASSERT_EQ(Call("POST", kPods, pod).status, 201);
  const std::string at = std::string(kPods) + "/p", status = at + "/status";
  auto conditions = [](const json& generation) {
    json ready = {{"type", "Ready"}, {"status", "True"}};
    if (!generation.is_null()) ready["observedGeneration"] = generation;
    return json::array({ready});
  };
  ASSERT_EQ(Patch(status, {{"status", {{"observedGeneration", 3}, {"conditions", conditions(2)}}}}).status, 200);
  const Answered kept = Patch(
      status,
      {{"status", {{"observedGeneration", nullptr}, {"qosClass", nullptr}, {"conditions", conditions(nullptr)}}}});
  ASSERT_EQ(kept.status, 200) << kept.body;
  EXPECT_EQ(kept.document["status"]["observedGeneration"], 3);
  EXPECT_EQ(kept.document["status"]["conditions"][0]["observedGeneration"], 2);
  EXPECT_EQ(kept.document["status"]["qosClass"], "BestEffort");
  EXPECT_EQ(Patch(status, {{"status", {{"observedGeneration", 4}}}}).document["status"]["observedGeneration"], 4);

  // Old kubelets write the singular address: it holds.
  for (const char* ip : {"10.0.0.1", "10.0.0.2"}) {
    const Answered placed = Patch(status, {{"status", {{"podIP", ip}}}});
    EXPECT_EQ(placed.document["status"]["podIP"], ip) << placed.body;
    EXPECT_EQ(placed.document["status"]["podIPs"][0]["ip"], ip) << placed.body;
  }
  for (const char* ip : {"10.0.0.1", "10.0.0.2"}) {
    const Answered placed = Patch(status, {{"status", {{"hostIP", ip}}}});
    EXPECT_EQ(placed.document["status"]["hostIP"], ip) << placed.body;
    EXPECT_FALSE(placed.document["status"].contains("hostIPs")) << placed.body;
  }
  // As earlier servers stored it.
  ASSERT_EQ(Patch(status, {{"status", {{"hostIPs", {{{"ip", "10.0.0.2"}}}}}}}).status, 200);
  const Answered moved = Patch(status, {{"status", {{"hostIP", "10.0.0.3"}}}});
  EXPECT_EQ(moved.document["status"]["hostIPs"], json::parse(R"([{"ip":"10.0.0.3"}])")) << moved.body;

  EXPECT_EQ(Message(Patch(status, {{"status", {{"qosClass", "Guaranteed"}}}})),
            "Pod \"p\" is invalid: status.qosClass: Invalid value: \"Guaranteed\": field is immutable");
  auto containers = [](const char* state) {
    return json::array({{{"name", "c"},
                         {"image", "i"},
                         {"imageID", ""},
                         {"ready", false},
                         {"restartCount", 0},
                         {"state", {{state, json::object()}}}}});
  };
  ASSERT_EQ(Patch(status, {{"status", {{"containerStatuses", containers("terminated")}}}}).status, 200);
  EXPECT_EQ(Message(Patch(status, {{"status", {{"containerStatuses", containers("waiting")}}}})),
            "Pod \"p\" is invalid: status.containerStatuses[0].state: Forbidden: may not be transitioned to "
            "non-terminated state");
  for (const std::string& target : {at, status})
    EXPECT_EQ(Message(Patch(target, {{"metadata", {{"annotations", {{"kubernetes.io/config.mirror", "x"}}}}}})),
              "Pod \"p\" is invalid: metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror "
              "pod annotation");
}

TEST_F(WritesTest, NodeAuthorizer_NodesKeepToTheirOwnNodeLeaseAndPods) {
  MakeServiceAccount();
  StopServer();
  plugins_ = {"NodeRestriction"};
  StartServer();
  json node = {
      {"metadata", {{"name", "n1"}, {"labels", {{"kubernetes.io/hostname", "n1"}, {"own.example.com/x", "y"}}}}}};
  json steering = node;
  steering["metadata"]["labels"]["node-restriction.kubernetes.io/pool"] = "secret";
  EXPECT_THAT(Message(AsNode("POST", "/api/v1/nodes", steering)),
              HasSubstr("node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/pool"));
  const Answered registered = AsNode("POST", "/api/v1/nodes", node);
  ASSERT_EQ(registered.status, 201) << registered.body;
  EXPECT_THAT(
      Message(PatchAsNode("/api/v1/nodes/n1", {{"metadata", {{"labels", {{"node-role.kubernetes.io/x", ""}}}}}})),
      HasSubstr("is not allowed to modify labels: node-role.kubernetes.io/x"));
  EXPECT_THAT(Message(PatchAsNode("/api/v1/nodes/n1", {{"spec", {{"taints", nullptr}}}})),
              HasSubstr("node \"n1\" is not allowed to modify taints"));
  EXPECT_EQ(PatchAsNode("/api/v1/nodes/n1", {{"metadata", {{"labels", {{"own.example.com/x", "z"}}}}}}).status, 200);
  EXPECT_EQ(PatchAsNode("/api/v1/nodes/n1/status", {{"status", {{"phase", "Running"}}}}).status, 200);

  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
  EXPECT_EQ(AsNode("POST", leases, {{"metadata", {{"name", "n1"}}}}).status, 201);
  EXPECT_EQ(AsNode("POST", leases, {{"metadata", {{"name", "n2"}}}}).status, 403);
  const std::string drivers = "/apis/storage.k8s.io/v1/csinodes";
  EXPECT_EQ(AsNode("POST", drivers, {{"metadata", {{"name", "n1"}}}, {"spec", {{"drivers", json::array()}}}}).status,
            201);
  EXPECT_EQ(AsNode("POST", drivers, {{"metadata", {{"name", "n2"}}}, {"spec", {{"drivers", json::array()}}}}).status,
            403);

  // Mirror pods: of this node, owned by it, without anything from the API.
  json mirror = Pod("static-n1");
  mirror["metadata"]["annotations"] = {{"kubernetes.io/config.mirror", "1"}};
  mirror["spec"]["nodeName"] = "n1";
  EXPECT_THAT(Message(AsNode("POST", kPods, mirror)), HasSubstr("with an owner reference set to itself"));
  mirror["metadata"]["ownerReferences"] = {{{"apiVersion", "v1"},
                                            {"kind", "Node"},
                                            {"name", "n1"},
                                            {"uid", registered.document["metadata"]["uid"]},
                                            {"controller", true}}};
  json greedy = mirror;
  greedy["spec"]["volumes"] = {{{"name", "v"}, {"secret", {{"secretName", "s"}}}}};
  EXPECT_THAT(Message(AsNode("POST", kPods, greedy)), HasSubstr("a mirror pod may not reference secrets"));
  greedy["spec"]["volumes"] = {{{"name", "v"}, {"configMap", {{"name", "m"}}}}};
  EXPECT_THAT(Message(AsNode("POST", kPods, greedy)), HasSubstr("can not create pods that reference configmaps"));
  json elsewhere = mirror;
  elsewhere["spec"]["nodeName"] = "n2";
  EXPECT_EQ(AsNode("POST", kPods, elsewhere).status, 403);
  EXPECT_EQ(AsNode("POST", kPods, mirror).status, 201);
  EXPECT_EQ(PatchAsNode(std::string(kPods) + "/static-n1", {{"metadata", {{"labels", {{"a", "b"}}}}}}).status, 403);

  // Tokens for the accounts of its own pods, bound to them.
  json own = Pod("own"), other = Pod("other");
  own["spec"]["nodeName"] = "n1";
  other["spec"]["nodeName"] = "n2";
  std::map<std::string, std::string> uids;
  for (const json& pod : {own, other})
    uids[pod["metadata"]["name"]] = Call("POST", kPods, pod).document["metadata"]["uid"].get<std::string>();
  auto token = [&](const std::string& pod, const std::string& audience) {
    return AsNode("POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
                  {{"spec",
                    {{"audiences", {audience}},
                     {"boundObjectRef", {{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", pod}, {"uid", uids[pod]}}}}}})
        .status;
  };
  EXPECT_EQ(token("own", ""), 201);
  EXPECT_EQ(token("other", ""), 403);
  EXPECT_EQ(token("own", "https://elsewhere.example.com"), 403);
  EXPECT_EQ(
      AsNode("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {{"spec", json::object()}}).status,
      403);
  const json eviction = {{"apiVersion", "policy/v1"}, {"kind", "Eviction"}, {"metadata", {{"name", "other"}}}};
  EXPECT_EQ(AsNode("POST", std::string(kPods) + "/other/eviction", eviction).status, 403);
}

TEST_F(WritesTest, ExternalIpHijack_LoopbackAndLinkLocalAreRefused) {
  const char* const addresses[] = {"127.0.0.1", "127.8.8.8", "169.254.169.254", "0.0.0.0",
                                   "224.0.0.1", "::1",       "fe80::1",         "::ffff:127.0.0.1"};
  for (const std::string address : addresses) {
    const bool six = address.find(':') != std::string::npos;
    json slice = {{"metadata", {{"name", "s"}}},
                  {"addressType", six ? "IPv6" : "IPv4"},
                  {"endpoints", {{{"addresses", {address}}}}},
                  {"ports", {{{"port", 80}}}}};
    EXPECT_EQ(Call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).status, 422)
        << address;
    const json endpoints = {{"metadata", {{"name", "s"}}},
                            {"subsets", {{{"addresses", {{{"ip", address}}}}, {"ports", {{{"port", 80}}}}}}}};
    EXPECT_EQ(Call("POST", "/api/v1/namespaces/default/endpoints", endpoints).status, 422) << address;
    const json service = {{"metadata", {{"name", "s"}}},
                          {"spec", {{"ports", {{{"port", 80}}}}, {"externalIPs", {address}}}}};
    EXPECT_EQ(Call("POST", "/api/v1/namespaces/default/services", service).status, 422) << address;
  }
}

std::string* g_log = nullptr;

TEST_F(WritesTest, SecretsInLogs_AreNeverThere) {
  MakeServiceAccount();
  std::string seen;
  g_log = &seen;
  const int verbosity = log::Verbosity();
  log::SetVerbosity(10);
  log::SetSink([](std::string_view line) { g_log->append(line).push_back('\n'); });
  const std::string value = "c2VjcmV0LXZhbHVlLTEyMw==", plain = "secret-value-123";
  const std::string secrets = "/api/v1/namespaces/default/secrets";
  EXPECT_EQ(Call("POST", secrets, {{"metadata", {{"name", "s"}}}, {"data", {{"k", value}}}}).status, 201);
  EXPECT_EQ(Patch(secrets + "/s", {{"stringData", {{"k2", plain}}}}).status, 200);
  EXPECT_EQ(Call("GET", secrets).status, 200);
  // Refused, broken and failing requests say no more.
  EXPECT_EQ(Call("POST", secrets, json("{\"data\":{\"k\":\"" + value + "\"")).status, 400);
  EXPECT_EQ(Call("POST", secrets, {{"metadata", {{"name", "S"}}}, {"data", {{"k", value}}}}).status, 422);
  const json asked = Call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
                          {{"spec", {{"audiences", json::array()}}}})
                         .document;
  const std::string token = asked["status"]["token"].get<std::string>();
  EXPECT_EQ(Call("GET", kPods, nullptr, "", {}, {{"Authorization", "Bearer " + token}}).status, 403);
  EXPECT_EQ(Call("GET", kPods, nullptr, "", {}, {{"Authorization", "Bearer " + token + "x"}}).status, 401);
  EXPECT_EQ(Call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {{"spec", {{"token", token}}}}).status, 201);
  StopServer();
  StartServer();
  log::SetSink([](std::string_view) {});
  log::SetVerbosity(verbosity);
  EXPECT_THAT(seen, HasSubstr("Serving securely"));  // the log was looked at
  EXPECT_THAT(seen, HasSubstr("/api/v1/namespaces/default/secrets"));
  for (const std::string& hidden : {value, plain, token, token.substr(token.rfind('.') + 1)})
    EXPECT_THAT(seen, Not(HasSubstr(hidden)));
  EXPECT_THAT(seen, Not(HasSubstr("PRIVATE KEY")));
}

TEST_F(WritesTest, QuotasBoundWhatANamespaceTakes) {
  MakeServiceAccount();
  ASSERT_EQ(
      Call("POST", "/api/v1/namespaces/default/resourcequotas",
           {{"metadata", {{"name", "rq"}}},
            {"spec", {{"hard", {{"requests.cpu", "1"}, {"services.nodeports", "0"}, {"count/configmaps", "2"}}}}}})
          .status,
      201);
  json pod = Pod("a");
  EXPECT_EQ(Message(Call("POST", kPods, pod)),
            "pods \"a\" is forbidden: failed quota: rq: must specify requests.cpu for: c");
  pod["spec"]["containers"][0]["resources"] = {{"requests", {{"cpu", "600m"}}}};
  EXPECT_EQ(Call("POST", kPods, pod).status, 201);
  pod["metadata"]["name"] = "b";
  EXPECT_EQ(
      Message(Call("POST", kPods, pod)),
      "pods \"b\" is forbidden: exceeded quota: rq, requested: requests.cpu=600m, used: requests.cpu=600m, limited: "
      "requests.cpu=1");
  EXPECT_EQ(Call("DELETE", std::string(kPods) + "/a?gracePeriodSeconds=0").status, 200);
  EXPECT_EQ(Call("POST", kPods, pod).status, 201);
  const json service = {{"metadata", {{"name", "s"}}}, {"spec", {{"type", "NodePort"}, {"ports", {{{"port", 80}}}}}}};
  EXPECT_THAT(Message(Call("POST", "/api/v1/namespaces/default/services", service)),
              HasSubstr("exceeded quota: rq, requested: services.nodeports=1, used: services.nodeports=0"));
  const std::string maps = "/api/v1/namespaces/default/configmaps";
  for (const char* name : {"x", "y"}) EXPECT_EQ(Call("POST", maps, {{"metadata", {{"name", name}}}}).status, 201);
  EXPECT_EQ(Call("POST", maps, {{"metadata", {{"name", "z"}}}}).status, 403);
}

TEST_F(WritesTest, RuntimeClassesBringOverheadAndPlacement) {
  MakeServiceAccount();
  ASSERT_EQ(Call("POST", "/apis/node.k8s.io/v1/runtimeclasses",
                 {{"metadata", {{"name", "kata"}}},
                  {"handler", "kata"},
                  {"overhead", {{"podFixed", {{"cpu", "250m"}}}}},
                  {"scheduling", {{"nodeSelector", {{"kata", "yes"}}}}}})
                .status,
            201);
  json pod = Pod("a");
  pod["spec"]["runtimeClassName"] = "kata";
  const json made = Call("POST", kPods, pod).document;
  EXPECT_EQ(made["spec"]["overhead"]["cpu"], "250m");
  EXPECT_EQ(made["spec"]["nodeSelector"]["kata"], "yes");
  pod["metadata"]["name"] = "b";
  pod["spec"]["overhead"] = {{"cpu", "1"}};
  EXPECT_THAT(Message(Call("POST", kPods, pod)), HasSubstr("pod rejected: Pod's Overhead doesn't match"));
  pod["spec"].erase("runtimeClassName");
  EXPECT_THAT(Message(Call("POST", kPods, pod)), HasSubstr("Pod Overhead set without corresponding RuntimeClass"));
}

TEST_F(WritesTest, WarnsAboutPodsTemplatesAndServices) {
  MakeServiceAccount();
  json pod = Pod("w");
  pod["spec"]["nodeSelector"] = {{"beta.kubernetes.io/os", "linux"}};
  auto& container = pod["spec"]["containers"][0];
  container["env"] = {{{"name", "A"}, {"value", "1"}}, {{"name", "A"}, {"value", "2"}}};
  container["ports"] = {{{"containerPort", 80}}, {{"containerPort", 80}}};
  container["resources"] = {{"requests", {{"memory", "100m"}}}};
  EXPECT_THAT(
      Warnings(kPods, pod),
      ElementsAre(
          "299 - \"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\\"kubernetes.io/os\\\" "
          "instead\"",
          "299 - \"spec.containers[0].resources.requests[memory]: fractional byte value \\\"100m\\\" is invalid, "
          "must be an integer\"",
          "299 - \"spec.containers[0].env[1]: hides previous definition of \\\"A\\\", which may be dropped when "
          "using apply\"",
          "299 - \"spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]\""));
  const json deployment = {{"metadata", {{"name", "d"}}},
                           {"spec",
                            {{"selector", {{"matchLabels", {{"a", "b"}}}}},
                             {"template", {{"metadata", {{"labels", {{"a", "b"}}}}}, {"spec", pod["spec"]}}}}}};
  const auto said = Warnings("/apis/apps/v1/namespaces/default/deployments", deployment);
  ASSERT_EQ(said.size(), 4u);
  EXPECT_THAT(said[0], HasSubstr("spec.template.spec.nodeSelector[beta.kubernetes.io/os]"));
  const json service = {{"metadata", {{"name", "s"}}},
                        {"spec", {{"ports", {{{"port", 80}}}}, {"externalIPs", {"1.2.3.4"}}}}};
  EXPECT_THAT(
      Warnings("/api/v1/namespaces/default/services", service),
      ElementsAre("299 - \"spec.externalIPs is deprecated and may no longer be implemented in some clusters\""));
}

TEST_F(WritesTest, AutoscalersAreOneObjectInTwoVersions) {
  const std::string v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
  const std::string v2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
  const json target = {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", "d"}};
  const Answered made =
      Call("POST", v1,
           {{"metadata", {{"name", "a"}}},
            {"spec", {{"maxReplicas", 3}, {"targetCPUUtilizationPercentage", 50}, {"scaleTargetRef", target}}}});
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.document["spec"]["minReplicas"], 1);
  const json newer = Call("GET", v2 + "/a").document;
  EXPECT_EQ(newer["spec"]["metrics"], json::parse(R"([{"type":"Resource","resource":{"name":"cpu","target":
      {"type":"Utilization","averageUtilization":50}}}])"));
  EXPECT_EQ(newer["metadata"]["uid"], made.document["metadata"]["uid"]);
  json metric = {
      {"type", "Pods"},
      {"pods", {{"metric", {{"name", "q"}}}, {"target", {{"type", "AverageValue"}, {"averageValue", "5"}}}}}};
  ASSERT_EQ(Call("POST", v2,
                 {{"metadata", {{"name", "b"}}},
                  {"spec",
                   {{"maxReplicas", 4},
                    {"scaleTargetRef", target},
                    {"behavior", {{"scaleDown", {{"stabilizationWindowSeconds", 7}}}}},
                    {"metrics", {metric}}}}})
                .status,
            201);
  json older = Call("GET", v1 + "/b").document;
  EXPECT_EQ(json::parse(older["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].get<std::string>()),
            json::parse(R"([{"type":"Pods","pods":{"metricName":"q","targetAverageValue":"5"}}])"));
  // Written back as it was read, nothing is lost.
  older["spec"]["maxReplicas"] = 5;
  ASSERT_EQ(Call("PUT", v1 + "/b", older).status, 200);
  const json back = Call("GET", v2 + "/b").document;
  EXPECT_EQ(back["spec"]["maxReplicas"], 5);
  EXPECT_EQ(back["spec"]["metrics"][0], metric);
  EXPECT_EQ(back["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 7);
  EXPECT_FALSE(back["metadata"].contains("annotations"));
  EXPECT_EQ(Call("GET", v1).document["items"].size(), 2u);
  EXPECT_EQ(Call("GET", v1, nullptr, "admin", {"system:masters"},
                 {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}})
                .document["rows"][0]["cells"][1],
            "Deployment/d");
}

TEST_F(WritesTest, ComponentStatusesAreToldAndDeprecated) {
  const json listed = Call("GET", "/api/v1/componentstatuses").document;
  ASSERT_EQ(listed["items"].size(), 3u);
  EXPECT_EQ(listed["items"][0]["conditions"][0]["message"], "ok");
  // The controllers run elsewhere, if at all.
  EXPECT_EQ(Call("GET", "/api/v1/componentstatuses/scheduler").document["conditions"][0]["status"], "Unknown");
  EXPECT_EQ(Call("GET", "/api/v1/componentstatuses/none").status, 404);
}

}  // namespace
}  // namespace skiff::controlplane
