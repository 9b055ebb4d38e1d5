// The recorded patches and applies, replayed: each from the answer of the one before it, to the recorded answer.
#include "api/patch.h"

#include <filesystem>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "api/errors.h"
#include "api/managed_fields.h"
#include "api/scheme.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api {
namespace {

namespace fs = std::filesystem;

json Read(const fs::path& path) {
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return ParseJson(text).value_or(json());
}

StatusOr<Object> Decode(const json& value) {
  ASSIGN_OR_RETURN(const GroupVersion gv, GroupVersion::Parse(value["apiVersion"].get<std::string>()));
  const GroupVersionKind gvk{gv.group, gv.version, value["kind"].get<std::string>()};
  if (const TypeOps* type = TypeOf(gvk)) {
    Object out = Object::New(*type);
    RETURN_IF_ERROR(out.AssignJson(value));
    return out;
  }
  return Object::OfJson(gvk, value);
}

// What this library decides, of an answer: the server's counters, times and controllers are left out.
json Decided(const json& answer) {
  json out = answer;
  json& meta = out["metadata"];
  for (const char* field : {"resourceVersion", "generation", "uid", "creationTimestamp"}) meta.erase(field);
  if (meta.contains("annotations")) {
    meta["annotations"].erase("deployment.kubernetes.io/revision");
    if (meta["annotations"].empty()) meta.erase("annotations");
  }
  json managers = json::array();
  for (json entry : meta.value("managedFields", json::array())) {
    if (entry["manager"].get<std::string>().starts_with("kube-")) continue;
    entry["time"] = entry.contains("time");
    managers.push_back(entry);
  }
  std::sort(managers.begin(), managers.end());
  meta["managedFields"] = managers;
  if (out["kind"] == "Deployment" || out["kind"] == "Pod") {
    json conditions = json::array();
    for (const json& condition : out["status"].value("conditions", json::array()))
      if (condition["type"] != "Available" && condition["type"] != "Progressing") conditions.push_back(condition);
    out["status"] = conditions;
  }
  if (out["kind"] == "Service") {
    for (const char* field : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}) out["spec"].erase(field);
  }
  return out;
}

std::string Query(const std::string& path, const std::string& name) {
  const size_t question = path.find('?');
  if (question == std::string::npos) return "";
  for (const std::string_view part : absl::StrSplit(path.substr(question + 1), '&'))
    if (part.starts_with(name + "=")) return std::string(part.substr(name.size() + 1));
  return "";
}

TEST(Patch, ReplaysTheRecordings) {
  const fs::path folder = "../shared/goldens/apiserver/04-patches";
  if (!fs::exists(folder)) GTEST_SKIP() << "no recordings at " << folder;
  const json crd = Read("../shared/goldens/apiserver/02-defaulting/crd.json");
  const json schema = crd["response"]["body"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
  std::map<std::string, json> state;
  int successes = 0, failures = 0;
  const json order = Read(folder / "ORDER.json");
  for (const json& step : order["order"]) {
    const std::string name = step;
    const json recording = Read(folder / (name + ".json"));
    const json& request = recording["request"];
    const json& answer = recording["response"]["body"];
    const int status = recording["response"]["status"];
    const std::string path = request["path"];
    std::string where = path.substr(0, path.find('?'));
    std::string subresource;
    if (where.ends_with("/status")) {
      subresource = "status";
      where.resize(where.size() - 7);
    }
    Manager manager{.name = "golden", .subresource = subresource, .now = {}};
    if (request["method"] == "POST") where += "/" + answer["metadata"]["name"].get<std::string>();
    if (request["method"] != "PATCH") {
      if (status < 300) state[where] = answer;
      continue;
    }
    std::string body;
    if (request["body"].is_string())
      body = request["body"].get<std::string>();
    else
      AppendJson(request["body"], &body);
    const std::string type = request["headers"]["Content-Type"];
    const std::string field_manager = Query(path, "fieldManager");
    if (!field_manager.empty()) manager.name = field_manager;
    if (absl::StrContains(where, "widgets")) manager.custom_schema = &schema;
    StatusOr<Object> result = Internal("");
    StatusOr<Object> current = NotFound("");
    if (state.contains(where)) current = Decode(state[where]);
    if (type == kApplyPatchType) {
      // Checks that come before, in the server.
      if (field_manager.empty() || absl::StrContains(name, "managedfields-set") ||
          absl::StrContains(name, "mismatch") || absl::StrContains(name, "missing") ||
          absl::StrContains(name, "rv-conflict"))
        continue;
      const auto as_json = YamlToJson(body);
      ASSERT_TRUE(as_json.ok()) << name;
      const json document = *ParseJson(*as_json);
      const auto gv = *GroupVersion::Parse(document["apiVersion"].get<std::string>());
      const TypeOps* ops = TypeOf({gv.group, gv.version, document["kind"].get<std::string>()});
      if (!current.ok() && document["kind"] == "Widget") {
        // The server prunes and defaults custom resources afterwards.
      }
      result =
          ServerSideApply(current.ok() ? &*current : nullptr, document, ops, manager, Query(path, "force") == "true");
    } else {
      if (absl::StrContains(name, "rv-conflict") || absl::StrContains(name, "rename") ||
          absl::StrContains(name, "force-on"))
        continue;
      if (!current.ok()) continue;  // the object was made before the recordings began
      result = PatchObject(*current, type, body, nullptr, Query(path, "fieldValidation") == "Strict");
      if (result.ok()) {
        SetDefaults(&*result);
        TrackUpdate(&*current, &*result, manager);
      }
    }
    if (status < 300) {
      ASSERT_TRUE(result.ok()) << name << ": " << result.status();
      json want = Decided(answer), got = Decided(result->ToJsonValue());
      if (want["kind"] == "Widget") {
        // Defaults of the custom resource's own schema are the server's to set.
        for (const char* field : {"color", "replicas"}) want["spec"].erase(field);
        for (const char* field : {"color", "replicas"}) got["spec"].erase(field);
      }
      if (!got["metadata"].contains("namespace")) want["metadata"].erase("namespace");
      EXPECT_EQ(got, want) << name << "\n" << json::diff(got, want).dump(1);
      if (!absl::StrContains(path, "dryRun")) state[where] = answer;
      ++successes;
    } else {
      ASSERT_FALSE(result.ok()) << name;
      const StatusMessage message = ToStatusMessage(result.status());
      EXPECT_EQ(message.code(), status) << name << message.message();
      const GroupVersionKind gvk{"", "v1", "Status"};
      json got = ToJsonValue(message, &gvk), want = answer;
      if (message.message().size() > 1000) {
        // The whole object is in the message: its head and tail must do.
        for (json* side : {&got, &want}) {
          const std::string text = (*side)["message"];
          (*side)["message"] = text.substr(0, 60) + text.substr(text.rfind("\": "));
          (*side).erase("details");
        }
      }
      EXPECT_EQ(got, want) << name << "\n" << json::diff(got, want).dump(1);
      ++failures;
    }
  }
  EXPECT_GE(successes, 40);
  EXPECT_GE(failures, 12);
}

TEST(ManagedFields, CreatesEqualTheRecordings) {
  const fs::path folder = "../shared/goldens/apiserver/02-defaulting";
  if (!fs::exists(folder)) GTEST_SKIP() << "no recordings at " << folder;
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const json recording = Read(entry.path());
    const json& answer = recording["response"]["body"];
    json body = recording["request"]["body"];
    if (!body.is_object() || !answer.contains("apiVersion") || recording["response"]["status"] != 201) continue;
    std::string text;
    AppendJson(body, &text);
    if (absl::StrContains(text, "scrubbed")) continue;
    body["apiVersion"] = answer["apiVersion"];
    body["kind"] = answer["kind"];
    StatusOr<Object> object = Decode(body);
    ASSERT_TRUE(object.ok()) << entry.path() << object.status();
    if (object->is_custom()) continue;
    SetDefaults(&*object);
    // "drivers": [] differs from no drivers in the recording; messages do not tell them apart.
    if (object->kind() == "CSINode") continue;
    TrackUpdate(nullptr, &*object, {.name = "golden", .subresource = {}, .now = {}});
    json got = ToJsonValue(object->meta()).value("managedFields", json::array());
    json want = answer["metadata"].value("managedFields", json::array());
    for (json* side : {&got, &want})
      for (json& field : *side) field.erase("time");
    EXPECT_EQ(got, want) << entry.path() << json::diff(got, want).dump(1);
    ++compared;
  }
  EXPECT_GT(compared, 70);
}

TEST(StrategicPatch, WhatDiffMakesApplyTakes) {
  const auto* pod = k8s::io::api::core::v1::Pod::descriptor();
  const json from = *ParseJson(R"({"metadata":{"labels":{"a":"1","b":"2"},"finalizers":["x","y"]},
      "spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}],"volumes":[{"name":"v","emptyDir":{}}]},
      "status":{"conditions":[{"type":"Ready","status":"False"}]}})");
  const json to = *ParseJson(R"({"metadata":{"labels":{"a":"1","c":"3"},"finalizers":["y","z"]},
      "spec":{"containers":[{"name":"d","image":"j"},{"name":"e","image":"i"}],"volumes":[{"name":"v","hostPath":{"path":"/"}}]},
      "status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"},{"type":"X","status":"True"}]}})");
  const auto patch = CreateStrategicMergePatch(from, to, pod);
  ASSERT_TRUE(patch.ok());
  const auto got = ApplyStrategicMergePatch(from, *patch, pod);
  ASSERT_TRUE(got.ok()) << got.status() << patch->dump(1);
  EXPECT_EQ(*got, to) << patch->dump(1);
  EXPECT_EQ(CreateStrategicMergePatch(to, to, pod)->dump(), "{}");
  EXPECT_EQ(ApplyMergePatch(from, CreateMergePatch(from, to)), to);
}

// What a strategic merge patch breaks is told with the patch as Go prints it, in the words of a conversion.
TEST(Patch, StrategicConversionErrors) {
  const Object pod = Object::Of(k8s::io::api::core::v1::Pod());
  const std::pair<const char*, const char*> cases[] = {
      {R"({"spec":{"priority":"x"}})", R"("map[spec:map[priority:x]]": unrecognized type: int32)"},
      {R"({"spec":"x"})", R"("map[spec:x]": cannot restore struct from: string)"},
      {R"({"spec":{"nodeName":7}})", R"("map[spec:map[nodeName:7]]": cannot convert int64 to string)"},
      {R"({"metadata":{"labels":"x"}})", R"("map[metadata:map[labels:x]]": cannot restore map from string)"},
  };
  for (const auto& [patch, text] : cases) {
    const auto got = PatchObject(pod, kStrategicMergePatchType, patch, nullptr);
    EXPECT_THAT(std::string(got.status().message()), testing::HasSubstr(text)) << patch;
    EXPECT_EQ(HttpCodeOf(got.status()), 422) << patch;
  }
}

TEST(ManagedFields, OldUpdateManagersAreFolded) {
  k8s::io::api::core::v1::Pod pod;
  pod.mutable_metadata()->set_name("p");
  pod.mutable_metadata()->set_uid("u");
  Object now = Object::Of(pod);
  TrackUpdate(nullptr, &now, {.name = "creator", .subresource = {}, .now = {}});
  (*now.mutable_meta()->mutable_labels())["x"] = "y";
  TrackUpdate(nullptr, &now, {.name = "creator", .subresource = {}, .now = {}});
  for (int i = 0; i < 30; ++i) {
    Object next = now.Clone();
    (*next.mutable_meta()->mutable_labels())["k" + std::to_string(i)] = "v";
    const std::string name = "m" + std::to_string(i);
    TrackUpdate(&now, &next, {.name = name, .subresource = {}, .now = WallTime(std::chrono::seconds(i))});
    now = std::move(next);
  }
  EXPECT_LE(now.meta().managedfields_size(), 11);
  EXPECT_THAT(now.ToJson(), testing::HasSubstr("ancient-changes"));
}

}  // namespace
}  // namespace skiff::api
