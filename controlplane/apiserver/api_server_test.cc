#include "controlplane/apiserver/api_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/http_server.h"
#include "client/rest.h"
#include "controlplane/apiserver/api_server_fixture.h"
#include "k8s/io/api/authentication/v1/generated.pb.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"

namespace skiff::controlplane {
namespace {

namespace authn = ::k8s::io::api::authentication::v1;
namespace core = ::k8s::io::api::core::v1;
using ::testing::HasSubstr;

constexpr char kConfigMaps[] = "/api/v1/namespaces/default/configmaps";

TEST_F(ApiServerTest, AnonymousSeesHealthAndVersionOnly) {
  EXPECT_EQ(Call("GET", "/readyz", nullptr, "").body, "ok");
  EXPECT_EQ(Call("GET", "/version", nullptr, "").document["gitVersion"], "v1.36.2");
  const Answered refused = Call("GET", "/api/v1/pods", nullptr, "");
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(Message(refused),
            "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the "
            "cluster scope");
  EXPECT_EQ(Call("GET", "/api/v1/pods", nullptr, "", {}, {{"Authorization", "Bearer nonsense"}}).status, 401);
}

TEST_F(ApiServerTest, WritesCompareResourceVersions) {
  Answered created = Call("POST", kConfigMaps, {{"metadata", {{"name", "a"}}}, {"data", {{"k", "1"}}}});
  ASSERT_EQ(created.status, 201) << created.body;
  EXPECT_EQ(Message(Call("POST", kConfigMaps, {{"metadata", {{"name", "a"}}}})), "configmaps \"a\" already exists");
  json object = created.document;
  object["data"]["k"] = "2";
  const Answered updated = Call("PUT", absl::StrCat(kConfigMaps, "/a"), object);
  ASSERT_EQ(updated.status, 200) << updated.body;
  EXPECT_NE(updated.document["metadata"]["resourceVersion"], created.document["metadata"]["resourceVersion"]);
  const Answered conflict = Call("PUT", absl::StrCat(kConfigMaps, "/a"), object);
  EXPECT_EQ(conflict.status, 409);
  EXPECT_EQ(
      Message(conflict),
      "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes "
      "to the latest version and try again");
  // The same content again is no write.
  const Answered same = Call("PUT", absl::StrCat(kConfigMaps, "/a"), updated.document);
  EXPECT_EQ(same.document["metadata"]["resourceVersion"], updated.document["metadata"]["resourceVersion"]);
  EXPECT_EQ(Call("DELETE", absl::StrCat(kConfigMaps, "/a")).document["status"], "Success");
  EXPECT_EQ(Message(Call("GET", absl::StrCat(kConfigMaps, "/a"))), "configmaps \"a\" not found");
}

TEST_F(ApiServerTest, PatchOfWhatIsMissingIsNotFound) {
  const http::Headers merge = {{"Content-Type", "application/merge-patch+json"}};
  for (const char* path : {"/api/v1/namespaces/default/configmaps/x", "/api/v1/namespaces/default/services/x",
                           "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/x"})
    EXPECT_EQ(Call("PATCH", path, json::object(), "admin", {"system:masters"}, merge).status, 404) << path;
}

TEST_F(ApiServerTest, FinalizersHoldADeletion) {
  json object = {{"metadata", {{"name", "a"}, {"finalizers", {"example.com/f"}}}}};
  ASSERT_EQ(Call("POST", kConfigMaps, object).status, 201);
  const Answered deleted = Call("DELETE", absl::StrCat(kConfigMaps, "/a"));
  EXPECT_TRUE(deleted.document["metadata"].contains("deletionTimestamp")) << deleted.body;
  const Answered patched = Call("PATCH", absl::StrCat(kConfigMaps, "/a"), {{"metadata", {{"finalizers", nullptr}}}},
                                "admin", {"system:masters"}, {{"Content-Type", "application/merge-patch+json"}});
  EXPECT_EQ(patched.status, 200) << patched.body;
  EXPECT_EQ(Call("GET", absl::StrCat(kConfigMaps, "/a")).status, 404);
}

TEST_F(ApiServerTest, PodsGetGraceAndOnlyGoWhenForced) {
  MakeServiceAccount();
  json pod = Pod("p");
  pod["spec"]["nodeName"] = "n1";
  const Answered created = Call("POST", "/api/v1/namespaces/default/pods", pod);
  ASSERT_EQ(created.status, 201) << created.body;
  EXPECT_EQ(created.document["status"]["phase"], "Pending");
  EXPECT_EQ(created.document["spec"]["volumes"].size(), 1u);
  EXPECT_EQ(created.document["spec"]["tolerations"].size(), 2u);
  const Answered deleted = Call("DELETE", "/api/v1/namespaces/default/pods/p");
  EXPECT_EQ(deleted.document["metadata"]["deletionGracePeriodSeconds"], 30);
  EXPECT_EQ(deleted.document["metadata"]["generation"], 2);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/default/pods/p").status, 200);
  const Answered forced = AsNode("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0");
  EXPECT_EQ(forced.status, 200) << forced.body;
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/default/pods/p").status, 404);
}

TEST_F(ApiServerTest, ServicesHoldTheirAddressesOnce) {
  const std::string services = "/api/v1/namespaces/default/services";
  const json ports = {{{"port", 80}}};
  const Answered first =
      Call("POST", services, {{"metadata", {{"name", "a"}}}, {"spec", {{"ports", ports}, {"clusterIP", "10.96.5.5"}}}});
  ASSERT_EQ(first.status, 201) << first.body;
  const json second = {{"metadata", {{"name", "b"}}}, {"spec", {{"ports", ports}, {"clusterIP", "10.96.5.5"}}}};
  EXPECT_THAT(Message(Call("POST", services, second)),
              HasSubstr("failed to allocate IP 10.96.5.5: provided IP is already allocated"));
  EXPECT_EQ(Call("DELETE", services + "/a").status, 200);
  EXPECT_EQ(Call("POST", services, second).status, 201);
  const Answered node_port =
      Call("POST", services, {{"metadata", {{"name", "np"}}}, {"spec", {{"ports", ports}, {"type", "NodePort"}}}});
  const int port = node_port.document["spec"]["ports"][0]["nodePort"];
  EXPECT_GE(port, 30000);
  EXPECT_LE(port, 32767);
  EXPECT_EQ(Call("GET", services + "/kubernetes").document["spec"]["clusterIP"], "10.96.0.1");
}

TEST_F(ApiServerTest, NamespaceGoesWhenItIsFinalized) {
  const Answered created = Call("POST", "/api/v1/namespaces", {{"metadata", {{"name", "n"}}}});
  ASSERT_EQ(created.status, 201) << created.body;
  const Answered deleted = Call("DELETE", "/api/v1/namespaces/n");
  EXPECT_EQ(deleted.document["status"]["phase"], "Terminating");
  EXPECT_THAT(Message(Call("POST", "/api/v1/namespaces/n/configmaps", {{"metadata", {{"name", "x"}}}})),
              HasSubstr("unable to create new content in namespace n because it is being terminated"));
  json finalized = deleted.document;
  finalized["spec"]["finalizers"] = json::array();
  EXPECT_EQ(Call("PUT", "/api/v1/namespaces/n/finalize", finalized).status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/n").status, 404);
  EXPECT_EQ(Message(Call("DELETE", "/api/v1/namespaces/default")),
            "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

TEST_F(ApiServerTest, BindingSetsNodeAndCondition) {
  MakeServiceAccount();
  ASSERT_EQ(Call("POST", "/api/v1/namespaces/default/pods", Pod("p")).status, 201);
  json nominated = Call("GET", "/api/v1/namespaces/default/pods/p").document;
  nominated["status"]["nominatedNodeName"] = "n2";
  ASSERT_EQ(Call("PUT", "/api/v1/namespaces/default/pods/p/status", nominated).status, 200);
  const json binding = {{"metadata", {{"name", "p"}}}, {"target", {{"kind", "Node"}, {"name", "n1"}}}};
  const std::string path = "/api/v1/namespaces/default/pods/p/binding";
  ASSERT_EQ(Call("POST", path, binding).status, 201);
  const Answered pod = Call("GET", "/api/v1/namespaces/default/pods/p");
  EXPECT_EQ(pod.document["spec"]["nodeName"], "n1");
  EXPECT_EQ(pod.document["status"]["conditions"][0]["type"], "PodScheduled");
  EXPECT_FALSE(pod.document["status"].contains("nominatedNodeName"));
  EXPECT_EQ(pod.document["metadata"]["generation"], 1);
  EXPECT_EQ(Message(Call("POST", path, binding)),
            "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"");
}

TEST_F(ApiServerTest, NodeAuthorizer_ReadsOnlyWhatItsPodsNeed) {
  MakeServiceAccount();
  const std::string secrets = "/api/v1/namespaces/default/secrets";
  for (const char* name : {"mine", "other"})
    ASSERT_EQ(Call("POST", secrets, {{"metadata", {{"name", name}}}}).status, 201);
  EXPECT_EQ(AsNode("GET", secrets + "/mine").status, 403);
  json pod = Pod("p");
  pod["spec"]["nodeName"] = "n1";
  pod["spec"]["volumes"] = {{{"name", "v"}, {"secret", {{"secretName", "mine"}}}}};
  ASSERT_EQ(Call("POST", "/api/v1/namespaces/default/pods", pod).status, 201);
  EXPECT_EQ(AsNode("GET", secrets + "/mine").status, 200);
  const Answered refused = AsNode("GET", secrets + "/other");
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(Message(refused), HasSubstr("no relationship found between node 'n1' and this object"));
  EXPECT_EQ(AsNode("GET", secrets).status, 403);
  EXPECT_EQ(AsNode("GET", "/api/v1/pods").status, 403);
  EXPECT_EQ(AsNode("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").status, 200);
  EXPECT_EQ(AsNode("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2").status, 403);
  EXPECT_EQ(AsNode("GET", "/api/v1/nodes/n2").status, 403);
  EXPECT_EQ(AsNode("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2").status, 403);
  // A mirror pod, which a node makes itself, is its own and leads to nothing else.
  json mirror = Pod("m");
  mirror["metadata"]["annotations"] = {{"kubernetes.io/config.mirror", "h"}};
  mirror["spec"] = pod["spec"];
  mirror["spec"]["volumes"] = {{{"name", "v"}, {"configMap", {{"name", "settings"}}}}};
  ASSERT_EQ(Call("POST", "/api/v1/namespaces/default/pods", mirror).status, 201);
  EXPECT_EQ(AsNode("GET", "/api/v1/namespaces/default/pods/m").status, 200);
  EXPECT_EQ(AsNode("GET", "/api/v1/namespaces/default/configmaps/settings").status, 403);
  // Gone with the pod.
  ASSERT_EQ(Call("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0").status, 200);
  EXPECT_EQ(AsNode("GET", secrets + "/mine").status, 403);
}

TEST_F(ApiServerTest, NodeAuthorizer_FollowsBindingsAndTheClaimsThatStatusesName) {
  MakeServiceAccount();
  const std::string pods = "/api/v1/namespaces/default/pods";
  const std::string claim = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/made";
  const std::string settings = "/api/v1/namespaces/default/configmaps/settings";
  json pod = Pod("p");
  pod["spec"]["containers"][0]["resources"]["limits"] = {{"example.com/x", "1"}};
  pod["spec"]["resourceClaims"] = {{{"name", "c"}, {"resourceClaimTemplateName", "t"}}};
  pod["spec"]["volumes"] = {{{"name", "v"}, {"configMap", {{"name", "settings"}}}}};
  ASSERT_EQ(Call("POST", pods, pod).status, 201);
  EXPECT_EQ(AsNode("GET", settings).status, 403);
  ASSERT_EQ(
      Call("POST", pods + "/p/binding", {{"metadata", {{"name", "p"}}}, {"target", {{"kind", "Node"}, {"name", "n1"}}}})
          .status,
      201);
  EXPECT_EQ(AsNode("GET", settings).status, 404);
  pod = Call("GET", pods + "/p").document;
  pod["status"]["phase"] = "Running";
  ASSERT_EQ(Call("PUT", pods + "/p/status", pod).status, 200);
  EXPECT_EQ(AsNode("GET", settings).status, 404);
  EXPECT_EQ(AsNode("GET", claim).status, 403);
  pod = Call("GET", pods + "/p").document;
  pod["status"]["resourceClaimStatuses"] = {{{"name", "c"}, {"resourceClaimName", "made"}}};
  const Answered told = Call("PUT", pods + "/p/status", pod);
  ASSERT_EQ(told.status, 200) << told.body;
  EXPECT_EQ(AsNode("GET", claim).status, 404);
  const std::string extended = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/extended";
  EXPECT_EQ(AsNode("GET", extended).status, 403);
  pod = Call("GET", pods + "/p").document;
  pod["status"]["extendedResourceClaimStatus"] = {
      {"resourceClaimName", "extended"},
      {"requestMappings", {{{"containerName", "c"}, {"resourceName", "example.com/x"}, {"requestName", "r"}}}}};
  ASSERT_EQ(Call("PUT", pods + "/p/status", pod).status, 200);
  EXPECT_EQ(AsNode("GET", extended).status, 404);
  ASSERT_EQ(Call("DELETE", pods + "/p?gracePeriodSeconds=0").status, 200);
  EXPECT_EQ(AsNode("GET", claim).status, 403);
  EXPECT_EQ(AsNode("GET", settings).status, 403);
}

TEST_F(ApiServerTest, NodeAuthorizer_WritesOnlyItsOwnWithNodeRestriction) {
  MakeServiceAccount();
  StopServer();
  plugins_ = {"NodeRestriction"};
  StartServer();
  json own = Pod("own"), other = Pod("other");
  own["spec"]["nodeName"] = "n1";
  other["spec"]["nodeName"] = "n2";
  const std::string pods = "/api/v1/namespaces/default/pods";
  for (const json& pod : {own, other}) ASSERT_EQ(Call("POST", pods, pod).status, 201);
  const json status = {{"status", {{"phase", "Running"}}}};
  auto patch = [&](const std::string& path) {
    return Call("PATCH", path, status, "system:node:n1", {"system:nodes"},
                {{"Content-Type", "application/merge-patch+json"}})
        .status;
  };
  EXPECT_EQ(patch(pods + "/own/status"), 200);
  EXPECT_EQ(patch(pods + "/other/status"), 403);
  EXPECT_EQ(AsNode("DELETE", pods + "/other?gracePeriodSeconds=0").status, 403);
  EXPECT_EQ(AsNode("DELETE", pods + "/own?gracePeriodSeconds=0").status, 200);
  EXPECT_EQ(AsNode("POST", pods, own).status, 403);
  EXPECT_EQ(AsNode("POST", "/api/v1/nodes", {{"metadata", {{"name", "n2"}}}}).status, 403);
  EXPECT_EQ(AsNode("POST", "/api/v1/nodes", {{"metadata", {{"name", "n1"}}}}).status, 201);
}

TEST_F(ApiServerTest, NobodyGrantsWhatTheyDoNotHold) {
  const std::string base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
  auto role = [](const char* name, json rules) {
    return json{{"metadata", {{"name", name}}}, {"rules", std::move(rules)}};
  };
  const json manage = {
      {{"apiGroups", {"rbac.authorization.k8s.io"}}, {"resources", {"roles", "rolebindings"}}, {"verbs", {"create"}}},
      {{"apiGroups", {""}}, {"resources", {"pods"}}, {"verbs", {"get", "list"}}}};
  ASSERT_EQ(Call("POST", base + "roles", role("manage", manage)).status, 201);
  const json subject = {{{"kind", "User"}, {"apiGroup", "rbac.authorization.k8s.io"}, {"name", "bob"}}};
  auto binding = [&](const char* name, const char* kind, const char* to) {
    return json{{"metadata", {{"name", name}}},
                {"subjects", subject},
                {"roleRef", {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", kind}, {"name", to}}}};
  };
  ASSERT_EQ(Call("POST", base + "rolebindings", binding("b", "Role", "manage")).status, 201);
  const json get_pods = {{{"apiGroups", {""}}, {"resources", {"pods"}}, {"verbs", {"get"}}}};
  const json all = {{{"apiGroups", {"*"}}, {"resources", {"*"}}, {"verbs", {"*"}}}};
  EXPECT_EQ(Call("POST", base + "roles", role("ok", get_pods), "bob", {}).status, 201);
  const Answered refused = Call("POST", base + "roles", role("all", all), "bob", {});
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(Message(refused), HasSubstr("is attempting to grant RBAC permissions not currently held:\n"
                                          "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"));
  EXPECT_EQ(Call("POST", base + "rolebindings", binding("ok", "Role", "ok"), "bob", {}).status, 201);
  EXPECT_EQ(Call("POST", base + "rolebindings", binding("root", "ClusterRole", "cluster-admin"), "bob", {}).status,
            403);
}

TEST_F(ApiServerTest, TokensEndWithWhatTheyAreBoundTo) {
  MakeServiceAccount();
  json pod = Pod("p");
  pod["spec"]["nodeName"] = "n1";
  const Answered created = Call("POST", "/api/v1/namespaces/default/pods", pod);
  ASSERT_EQ(created.status, 201) << created.body;
  const json request = {
      {"spec",
       {{"boundObjectRef",
         {{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", "p"}, {"uid", created.document["metadata"]["uid"]}}}}}};
  const Answered token = AsNode("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", request);
  ASSERT_EQ(token.status, 201) << token.body;
  const json review = {{"spec", {{"token", token.document["status"]["token"]}}}};
  const std::string reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
  const Answered good = Call("POST", reviews, review);
  EXPECT_EQ(good.document["status"]["authenticated"], true) << good.body;
  EXPECT_EQ(good.document["status"]["user"]["username"], "system:serviceaccount:default:default");
  EXPECT_EQ(good.document["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"][0], "p");
  // A change of one letter of the signature.
  std::string forged = token.document["status"]["token"];
  forged[forged.size() - 10] = forged[forged.size() - 10] == 'A' ? 'B' : 'A';
  EXPECT_EQ(Call("POST", reviews, {{"spec", {{"token", forged}}}}).document["status"]["error"], "invalid bearer token");
  ASSERT_EQ(Call("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0").status, 200);
  EXPECT_FALSE(Call("POST", reviews, review).document["status"].contains("authenticated"));
}

TEST_F(ApiServerTest, ListsInPagesAtOneRevision) {
  for (int i = 0; i < 5; ++i)
    ASSERT_EQ(Call("POST", kConfigMaps,
                   {{"metadata", {{"name", absl::StrCat("c", i)}, {"labels", {{"even", i % 2 ? "n" : "y"}}}}}})
                  .status,
              201);
  const Answered first = Call("GET", absl::StrCat(kConfigMaps, "?limit=2"));
  ASSERT_EQ(first.document["items"].size(), 2u);
  EXPECT_EQ(first.document["metadata"]["remainingItemCount"], 3);
  ASSERT_EQ(Call("DELETE", absl::StrCat(kConfigMaps, "/c3")).status, 200);
  const std::string token = first.document["metadata"]["continue"];
  const Answered second = Call("GET", absl::StrCat(kConfigMaps, "?limit=10&continue=", token));
  ASSERT_EQ(second.document["items"].size(), 3u) << second.body;  // c3 as it was
  EXPECT_EQ(second.document["metadata"]["resourceVersion"], first.document["metadata"]["resourceVersion"]);
  EXPECT_EQ(Call("GET", absl::StrCat(kConfigMaps, "?labelSelector=even%3Dy")).document["items"].size(), 3u);
  EXPECT_EQ(Call("GET", absl::StrCat(kConfigMaps, "?resourceVersion=99999999")).status, 504);
}

// More objects than the store is asked for at a time, few of which are wanted.
TEST_F(ApiServerTest, SelectorsFillPagesFromHoweverManyObjects) {
  constexpr int kObjects = 520;
  for (int i = 0; i < kObjects; ++i) {
    const bool wanted = i < 2 || i >= kObjects - 12;
    ASSERT_EQ(
        Call("POST", kConfigMaps,
             {{"metadata", {{"name", absl::StrCat("c", 1000 + i)}, {"labels", {{"wanted", wanted ? "y" : "n"}}}}}})
            .status,
        201);
  }
  std::vector<size_t> pages;
  std::string token, last;
  do {
    const Answered page = Call("GET", absl::StrCat(kConfigMaps, "?limit=5&labelSelector=wanted%3Dy&continue=", token));
    ASSERT_EQ(page.status, 200) << page.body;
    pages.push_back(page.document["items"].size());
    for (const json& item : page.document["items"]) {
      const std::string name = item["metadata"]["name"];
      EXPECT_LT(last, name);
      last = name;
    }
    token = page.document["metadata"].value("continue", "");
  } while (!token.empty());
  EXPECT_THAT(pages, ::testing::ElementsAre(5, 5, 4));
  EXPECT_EQ(last, absl::StrCat("c", 1000 + kObjects - 1));
  EXPECT_EQ(Call("GET", absl::StrCat(kConfigMaps, "?labelSelector=wanted%3Dy")).document["items"].size(), 14u);
  const Answered one =
      Call("GET", absl::StrCat(kConfigMaps, "?labelSelector=wanted&fieldSelector=metadata.name%3Dc1300"));
  ASSERT_EQ(one.document["items"].size(), 1u) << one.body;
  EXPECT_EQ(one.document["items"][0]["metadata"]["name"], "c1300");
}

TEST_F(ApiServerTest, WatchGap_ResumesAcrossARestart) {
  const Answered created = Call("POST", kConfigMaps, {{"metadata", {{"name", "a"}}}});
  const std::string version = created.document["metadata"]["resourceVersion"];
  ASSERT_EQ(Call("POST", kConfigMaps, {{"metadata", {{"name", "b"}}}}).status, 201);
  StopServer();
  StartServer();
  ASSERT_EQ(Call("DELETE", absl::StrCat(kConfigMaps, "/a")).status, 200);
  const Answered watched =
      Call("GET", absl::StrCat(kConfigMaps, "?watch=1&timeoutSeconds=1&resourceVersion=", version));
  std::vector<std::string> events;
  for (size_t at = 0; at < watched.body.size();) {
    const size_t end = watched.body.find('\n', at);
    const json event = json::parse(watched.body.substr(at, end - at));
    events.push_back(
        absl::StrCat(event["type"].get<std::string>(), " ", event["object"]["metadata"]["name"].get<std::string>()));
    at = end + 1;
  }
  EXPECT_THAT(events, ::testing::ElementsAre("ADDED b", "DELETED a"));
}

TEST_F(ApiServerTest, TypedClientSpeaksProtobuf) {
  auto text = MakeKubeconfig(cert_dir_, server_->local_url(), "admin", {"system:masters"});
  ASSERT_TRUE(text.ok());
  auto config = client::ParseKubeconfig(*text, "test", cert_dir_);
  ASSERT_TRUE(config.ok());
  auto rest = client::Rest::Make(loop_->get_executor(), *config);
  ASSERT_TRUE(rest.ok()) << rest.status();
  core::Node node;
  node.mutable_metadata()->set_name("n1");
  auto created = Run((*rest)->Create(node));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(created->spec().taints(0).key(), "node.kubernetes.io/not-ready");
  auto* condition = created->mutable_status()->add_conditions();
  condition->set_type("Ready");
  condition->set_status("True");
  auto updated = Run((*rest)->UpdateStatus(*created));
  ASSERT_TRUE(updated.ok()) << updated.status();
  auto list = Run((*rest)->List<core::Node>(""));
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->items.size(), 1u);
  EXPECT_EQ(list->items[0]->metadata().resourceversion(), updated->metadata().resourceversion());
  EXPECT_TRUE(api::Equal(*list->items[0], *updated));
  auto watch =
      Run((*rest)->StartWatch(core::Node::default_instance(), "",
                              {.resource_version = created->metadata().resourceversion()}, std::chrono::seconds(5)));
  ASSERT_TRUE(watch.ok()) << watch.status();
  auto event = Run((*watch)->Next());
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->type, client::WatchEvent::kModified);
  EXPECT_TRUE(api::Equal(*event->object, *updated));
  EXPECT_EQ(list->items[0]->status().conditions(0).type(), "Ready");
  auto conflict = Run((*rest)->UpdateStatus(*created));
  EXPECT_TRUE(client::IsConflict(conflict.status())) << conflict.status();
}

TEST_F(ApiServerTest, BodyLimits_OfSizeAndDepth) {
  json big = {{"metadata", {{"name", "a"}}}, {"data", {{"k", std::string(3 * 1024 * 1024, 'x')}}}};
  const Answered answered = Call("POST", kConfigMaps, big);
  EXPECT_EQ(answered.status, 413);
  EXPECT_EQ(Message(answered), "Request entity too large: limit is 3145728");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  EXPECT_EQ(Call("POST", kConfigMaps, json(deep)).status, 400);
}

// A kubelet that answers with a redirect, to see that it is not followed, and shows what it was asked with.
struct Redirecting {
  http::Headers* seen;
  Task<void> operator()(http::Exchange& exchange) const {
    *seen = exchange.request().headers;
    (void)co_await exchange.Respond(302, {{"Location", "https://127.0.0.1:1/secret"}}, "moved");
  }
};

class KubeletTest : public ApiServerTest {
 protected:
  void SetUp() override {
    ApiServerTest::SetUp();
    MakeServiceAccount();
    auto pair = SelfSigned({.common_name = "n1", .ip_addresses = {"127.0.0.1"}, .server_auth = true});
    ASSERT_TRUE(pair.ok());
    auto tls = TlsServerConfig::Make(*pair);
    ASSERT_TRUE(tls.ok());
    kubelet_.emplace(loop_->get_executor(), Redirecting{&seen_});
    auto port = kubelet_->Listen("127.0.0.1:0", *tls);
    ASSERT_TRUE(port.ok());
    const json node = {{"metadata", {{"name", "n1"}}},
                       {"status",
                        {{"addresses", {{{"type", "InternalIP"}, {"address", "127.0.0.1"}}}},
                         {"daemonEndpoints", {{"kubeletEndpoint", {{"Port", *port}}}}}}}};
    ASSERT_EQ(Call("POST", "/api/v1/nodes", node).status, 201);
    json pod = Pod("p");
    pod["spec"]["nodeName"] = "n1";
    ASSERT_EQ(Call("POST", "/api/v1/namespaces/default/pods", pod).status, 201);
  }

  void TearDown() override {
    kubelet_.reset();  // it is on the server's loop
    ApiServerTest::TearDown();
  }

  Answered Exec(http::Headers headers) {
    headers.Set("Connection", "Upgrade");
    headers.Set("Upgrade", "websocket");
    return Call("GET", "/api/v1/namespaces/default/pods/p/exec?command=id&stdout=1", nullptr, "admin",
                {"system:masters"}, std::move(headers));
  }

  http::Headers seen_;
  std::optional<http::Server> kubelet_;
};

TEST_F(KubeletTest, Redirects_AreNotFollowed) {
  const Answered logs = Call("GET", "/api/v1/namespaces/default/pods/p/log");
  EXPECT_EQ(logs.status, 500) << logs.body;
  const Answered exec = Exec({});
  EXPECT_EQ(exec.status, 502) << exec.body;
  // A node that names the loopback address is not proxied to.
  const Answered proxied = Call("GET", "/api/v1/nodes/n1/proxy/healthz");
  EXPECT_EQ(proxied.status, 400);
  EXPECT_EQ(Message(proxied), "address not allowed");
}

TEST_F(KubeletTest, CredentialsOfTheClientAreNotPassedOn) {
  const std::string token = "base64url.bearer.authorization.k8s.io.Z29vZA";
  EXPECT_EQ(Exec({{"Authorization", "Basic eA=="}, {"Sec-WebSocket-Protocol", "v4.channel.k8s.io, " + token}}).status,
            502);
  EXPECT_FALSE(seen_.Has("Authorization"));
  EXPECT_EQ(seen_.Get("Sec-WebSocket-Protocol"), "v4.channel.k8s.io");
}

}  // namespace
}  // namespace skiff::controlplane
