// Custom resources over HTTP: what a client of them sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/apiserver/api_server_fixture.h"

namespace skiff::controlplane {
namespace {

using ::testing::HasSubstr;

constexpr char kDefinitions[] = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
constexpr char kWidgets[] = "/apis/example.com/v1/namespaces/default/widgets";

class CustomResourcesTest : public ApiServerTest {
 protected:
  static json Definition() {
    return json::parse(R"json({
      "metadata": {"name": "widgets.example.com"},
      "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [{
          "name": "v1", "served": true, "storage": true,
          "subresources": {"status": {},
                           "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
          "additionalPrinterColumns": [{"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}],
          "selectableFields": [{"jsonPath": ".spec.color"}],
          "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object",
                     "x-kubernetes-validations": [{"rule": "self.color != 'blue' || self.replicas < 5",
                                                   "message": "blue is small"}],
                     "properties": {"replicas": {"type": "integer", "default": 1, "minimum": 0},
                                    "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                                    "list": {"type": "array", "x-kubernetes-list-type": "map",
                                             "x-kubernetes-list-map-keys": ["name"],
                                             "items": {"type": "object", "required": ["name"],
                                                       "properties": {"name": {"type": "string"},
                                                                      "v": {"type": "integer"}}}}}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}
        }]
      }
    })json");
  }
  // Creates a definition and waits until it is established.
  json Define(const json& definition) {
    const Answered made = Call("POST", kDefinitions, definition);
    EXPECT_EQ(made.status, 201) << made.body;
    const std::string path = absl::StrCat(kDefinitions, "/", definition["metadata"]["name"].get<std::string>());
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < until) {
      const json now = Call("GET", path).document;
      if (!now["status"]["conditions"].is_null()) return now;
    }
    ADD_FAILURE() << "no conditions";
    return {};
  }
  static json Widget(const std::string& name, json spec = json::object()) {
    return {{"apiVersion", "example.com/v1"}, {"kind", "Widget"}, {"metadata", {{"name", name}}}, {"spec", spec}};
  }
  Answered Patch(const std::string& target, const json& body, const std::string& type) {
    return Call("PATCH", target, body, "admin", {"system:masters"}, {{"Content-Type", type}});
  }
};

TEST_F(CustomResourcesTest, AreServedOnceEstablished) {
  EXPECT_EQ(Call("GET", "/apis/example.com").status, 404);
  const json defined = Define(Definition());
  EXPECT_EQ(defined["status"]["acceptedNames"]["plural"], "widgets");
  EXPECT_EQ(defined["status"]["conditions"][0]["reason"], "NoConflicts");
  EXPECT_EQ(defined["status"]["conditions"][1]["reason"], "InitialNamesAccepted");
  EXPECT_EQ(defined["status"]["storedVersions"], json::array({"v1"}));
  const json listed = Call("GET", "/apis/example.com/v1").document;
  EXPECT_EQ(listed["resources"][0]["name"], "widgets");
  EXPECT_EQ(listed["resources"][1]["name"], "widgets/status");
  EXPECT_EQ(listed["resources"][2]["name"], "widgets/scale");
  const json openapi = json::parse(Call("GET", "/openapi/v3/apis/example.com/v1").body);
  EXPECT_TRUE(openapi["components"]["schemas"].contains("com.example.v1.Widget"));
  EXPECT_TRUE(openapi["components"]["schemas"].contains("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));

  const Answered made = Call("POST", kWidgets, Widget("w", {{"unknown", 1}}));
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.document["spec"], json({{"color", "red"}, {"replicas", 1}}));
  EXPECT_EQ(made.document["metadata"]["generation"], 1);
  const Answered strict =
      Call("POST", std::string(kWidgets) + "?fieldValidation=Strict", Widget("v", {{"unknown", 1}}));
  EXPECT_EQ(strict.status, 400);
  EXPECT_THAT(Message(strict), HasSubstr("strict decoding error: unknown field \"spec.unknown\""));
  // Nobody but who may sees them.
  EXPECT_EQ(Call("GET", kWidgets, nullptr, "someone", {}).status, 403);
  // They have no protobuf form.
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "/w", nullptr, "admin", {"system:masters"},
                 {{"Accept", "application/vnd.kubernetes.protobuf"}})
                .status,
            406);
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "/w", nullptr, "admin", {"system:masters"},
                 {{"Accept", "application/vnd.kubernetes.protobuf,application/json"}})
                .status,
            200);
  const json table = Call("GET", kWidgets, nullptr, "admin", {"system:masters"},
                          {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}})
                         .document;
  EXPECT_EQ(table["rows"][0]["cells"], json::array({"w", 1}));

  // Across a restart.
  StopServer();
  StartServer();
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "/w").document["metadata"]["uid"], made.document["metadata"]["uid"]);
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "?fieldSelector=spec.color%3Dred").document["items"].size(), 1u);
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "?fieldSelector=spec.color%3Dblue").document["items"].size(), 0u);
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "?fieldSelector=spec.size%3D1").status, 400);
}

TEST_F(CustomResourcesTest, AreHeldToTheirSchema) {
  Define(Definition());
  Answered bad = Call("POST", kWidgets, Widget("w", {{"replicas", 9}, {"color", "blue"}}));
  EXPECT_EQ(bad.status, 422);
  EXPECT_EQ(Message(bad), "Widget.example.com \"w\" is invalid: spec: Invalid value: blue is small");
  bad = Call("POST", kWidgets, Widget("w", {{"replicas", "x"}}));
  EXPECT_THAT(Message(bad), HasSubstr(".spec.replicas accessor error: x is of the type string, expected int64"));
  json gadget = Widget("w");
  gadget["kind"] = "Gadget";
  EXPECT_EQ(Message(Call("POST", kWidgets, gadget)),
            "Gadget.example.com \"w\" is invalid: kind: Invalid value: \"Gadget\": must be Widget");
  gadget["apiVersion"] = "example.com/v2";
  EXPECT_EQ(Call("POST", kWidgets, gadget).status, 400);
}

TEST_F(CustomResourcesTest, ChangeByUpdatePatchApplyStatusAndScale) {
  Define(Definition());
  const std::string w = std::string(kWidgets) + "/w";
  json object = Call("POST", kWidgets, Widget("w")).document;
  object["spec"]["replicas"] = 2;
  object["status"] = {{"ignored", true}};
  json updated = Call("PUT", w, object).document;
  EXPECT_EQ(updated["metadata"]["generation"], 2);
  EXPECT_FALSE(updated.contains("status"));
  EXPECT_EQ(Call("PUT", w, object).status, 409);
  updated["metadata"].erase("resourceVersion");
  EXPECT_EQ(Call("PUT", w, updated).status, 422);  // no unconditional updates
  EXPECT_EQ(Patch(w, {{"spec", {{"replicas", 3}}}}, "application/merge-patch+json").document["spec"]["replicas"], 3);
  EXPECT_EQ(Patch(w, {{{"op", "replace"}, {"path", "/spec/replicas"}, {"value", 4}}}, "application/json-patch+json")
                .document["spec"]["replicas"],
            4);
  const Answered strategic = Patch(w, {{"spec", {{"replicas", 3}}}}, "application/strategic-merge-patch+json");
  EXPECT_EQ(strategic.status, 415);
  const json status =
      Patch(w + "/status", {{"spec", {{"replicas", 9}}}, {"status", {{"replicas", 4}}}}, "application/merge-patch+json")
          .document;
  EXPECT_EQ(status["spec"]["replicas"], 4);
  EXPECT_EQ(status["status"]["replicas"], 4);
  EXPECT_EQ(status["metadata"]["generation"], 4);
  json scale = Patch(w + "/scale", {{"spec", {{"replicas", 7}}}}, "application/merge-patch+json").document;
  EXPECT_EQ(scale["spec"]["replicas"], 7);
  EXPECT_EQ(scale["status"]["replicas"], 4);
  EXPECT_EQ(Call("GET", w).document["spec"]["replicas"], 7);

  auto apply = [&](const char* manager, json spec) {
    return Patch(std::string(kWidgets) + "/a?fieldManager=" + manager, Widget("a", std::move(spec)),
                 "application/apply-patch+yaml");
  };
  EXPECT_EQ(apply("alice", {{"list", {{{"name", "x"}, {"v", 1}}}}}).status, 201);
  const Answered second = apply("bob", {{"list", {{{"name", "y"}, {"v", 1}}}}});
  EXPECT_EQ(second.status, 200) << second.body;
  EXPECT_EQ(second.document["spec"]["list"].size(), 2u);
  const Answered conflict = apply("bob", {{"list", {{{"name", "x"}, {"v", 2}}}}});
  EXPECT_EQ(conflict.status, 409);
  EXPECT_THAT(Message(conflict), HasSubstr("conflict with \"alice\": .spec.list[name=\"x\"].v"));
  const Answered collection = Call("DELETE", kWidgets);
  EXPECT_EQ(collection.status, 200);
  EXPECT_EQ(collection.document["kind"], "WidgetList");
  EXPECT_EQ(Call("GET", kWidgets).document["items"].size(), 0u);
}

TEST_F(CustomResourcesTest, GoWithTheirDefinition) {
  Define(Definition());
  json held = Widget("w");
  held["metadata"]["finalizers"] = {"example.com/hold"};
  ASSERT_EQ(Call("POST", kWidgets, held).status, 201);
  ASSERT_EQ(Call("POST", kWidgets, Widget("x")).status, 201);
  const Answered deleted = Call("DELETE", std::string(kDefinitions) + "/widgets.example.com");
  EXPECT_EQ(deleted.status, 200);
  EXPECT_EQ(deleted.document["metadata"]["finalizers"][0], "customresourcecleanup.apiextensions.k8s.io");
  // Nothing new while they go; what holds one holds the definition.
  EXPECT_EQ(Call("POST", kWidgets, Widget("y")).status, 405);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Call("GET", std::string(kWidgets) + "/x").status != 404 && std::chrono::steady_clock::now() < until) continue;
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "/x").status, 404);
  EXPECT_EQ(Call("GET", std::string(kWidgets) + "/w").status, 200);
  EXPECT_EQ(
      Patch(std::string(kWidgets) + "/w", {{"metadata", {{"finalizers", nullptr}}}}, "application/merge-patch+json")
          .status,
      200);
  while (Call("GET", std::string(kDefinitions) + "/widgets.example.com").status != 404 &&
         std::chrono::steady_clock::now() < until)
    continue;
  EXPECT_EQ(Call("GET", std::string(kDefinitions) + "/widgets.example.com").status, 404);
  EXPECT_EQ(Call("GET", "/apis/example.com").status, 404);
}

TEST_F(CustomResourcesTest, NamesAreGivenOnce) {
  Define(Definition());
  json other = Definition();
  other["metadata"]["name"] = "gadgets.example.com";
  other["spec"]["names"] = {{"plural", "gadgets"}, {"kind", "Gadget"}, {"shortNames", {"wd"}}};
  const json second = Define(other);
  EXPECT_EQ(second["status"]["conditions"][0]["reason"], "ShortNamesConflict");
  EXPECT_EQ(second["status"]["conditions"][0]["message"], "\"wd\" is already in use");
  EXPECT_EQ(second["status"]["conditions"][1]["reason"], "NotAccepted");
  EXPECT_EQ(Call("GET", "/apis/example.com/v1/gadgets").status, 404);
}

TEST_F(CustomResourcesTest, DefinitionsThatCannotBeKeptAreRefused) {
  json webhook = Definition();
  webhook["spec"]["conversion"] = {{"strategy", "Webhook"}};
  EXPECT_THAT(Message(Call("POST", kDefinitions, webhook)),
              HasSubstr("spec.conversion.strategy: Forbidden: conversion webhooks are not called by this server"));
  json rule = Definition();
  rule["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = {{{"rule", "self.x.frob()"}}};
  EXPECT_THAT(Message(Call("POST", kDefinitions, rule)),
              HasSubstr("x-kubernetes-validations[0].rule: Invalid value: \"self.x.frob()\": compilation failed: "));
  json reserved = Definition();
  reserved["metadata"]["name"] = "widgets.x.k8s.io";
  reserved["spec"]["group"] = "x.k8s.io";
  EXPECT_THAT(Message(Call("POST", kDefinitions, reserved)), HasSubstr("api-approved.kubernetes.io"));
}

}  // namespace
}  // namespace skiff::controlplane
